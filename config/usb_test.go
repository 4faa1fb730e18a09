package config_test

import (
	"errors"
	"testing"

	"github.com/mfpgate/mfpgate/config"
)

func TestAProgramWithoutUSBRefusesIt(t *testing.T) {
	without := machine()
	without.NoUSB = errors.New("this build has no USB; build another, or set usb.enabled: false")
	small := string(source(t, "testdata/good/smallest.yaml"))
	for _, tc := range []struct{ rule, text, want string }{
		{"where it is wanted", "usb:\n  enabled: true\n", "mfpgate.yaml:7:12: usb.enabled: this build has no USB; build another, or set usb.enabled: false"},
		{"and not where it is off", "usb:\n  enabled: false\n  share: lan\n", ""},
		{"or not named", "", ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, err := config.Parse("mfpgate.yaml", []byte(small+tc.text), without)
			if got := text(err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
