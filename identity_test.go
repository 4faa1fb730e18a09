package mfpgate_test

import (
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
)

func TestCleanUUID(t *testing.T) {
	const whole = "0a1b2c3d-0000-1000-8000-001122334455"
	for _, c := range []struct{ rule, text, want string }{
		{"as it is", whole, whole},
		{"with its prefix, in capitals", " URN:UUID:" + strings.ToUpper(whole), whole},
		{"without dashes", strings.ReplaceAll(whole, "-", ""), whole},
		{"dashes elsewhere", "0a1b2c3d0000-1000-8000-0011-22334455", ""},
		{"a digit short", whole[1:], ""},
		{"no hex", "g" + whole[1:], ""},
		{"nil", "00000000-0000-0000-0000-000000000000", ""},
		{"max", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", ""},
		{"nothing", "", ""},
		{"many bytes", strings.Repeat("ü", 5000), ""},
	} {
		if got := mfpgate.CleanUUID(c.text); got != c.want {
			t.Errorf("%s: got %q, want %q", c.rule, got, c.want)
		}
	}
}

func TestCleanSerial(t *testing.T) {
	for _, real := range []string{"JPBCN1Q0AB", "A1", "3109R200001", "0000012", "1234567891"} {
		if got := mfpgate.CleanSerial(" " + real + "\n"); got != real {
			t.Errorf("%q became %q", real, got)
		}
	}
	for _, filler := range []string{"", " ", "0", "0000000", strings.Repeat("X", 4) + "-0000", "----", "ffff", "FFFF", "1111", "N/A", "Unknown", "Serial Number",
		"0123456789", "123456789", "12345", "To be filled by O.E.M."} {
		if got := mfpgate.CleanSerial(filler); got != "" {
			t.Errorf("%q is taken for a serial number: %q", filler, got)
		}
	}
}
