package systemd_test

import (
	"bufio"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

const rules = "70-mfpgate.rules"

// term is one of a rule: ENV{DEVTYPE}!="usb_device".
var term = regexp.MustCompile(`^([A-Z]+(?:\{[^}]+\})?)(==|!=|=|\+=)"([^"]*)"$`)

// apply walks the rules as udev does (udev(7)), and returns what they set.
func apply(t *testing.T, device map[string]string) map[string]string {
	t.Helper()
	f, err := os.Open(rules)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	set, to := map[string]string{}, ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		assign, label, holds := map[string]string{}, "", true
		for part := range strings.SplitSeq(line, ", ") {
			m := term.FindStringSubmatch(part)
			if m == nil {
				t.Fatalf("%q is no term of a rule", part)
			}
			matches, err := path.Match(m[3], device[m[1]]) // no value of ours has a slash
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case m[2] == "==":
				holds = holds && matches
			case m[2] == "!=":
				holds = holds && !matches
			case m[1] == "LABEL":
				label = m[3]
			default:
				assign[m[1]] = m[3]
			}
		}
		if to != "" && label != to {
			continue
		}
		if to = ""; holds {
			to = assign["GOTO"]
			delete(assign, "GOTO")
			for key, value := range assign {
				set[key] = value
			}
		}
	}
	if to != "" {
		t.Errorf("the rules go to %s, which is nowhere", to)
	}
	return set
}

func TestTheGatewaysGroupGetsPrintersAlone(t *testing.T) {
	for _, tc := range []struct {
		rule, action, subsystem, kind, vendor, interfaces string
		want                                              bool
	}{
		{"a printer of bytes", "add", "usb", "usb_device", "04b8", ":070102:", true},
		{"one that answers nothing", "add", "usb", "usb_device", "04b8", ":070101:", true},
		{"IPP over USB, after a scanner", "add", "usb", "usb_device", "04a9", ":ffffff:070104:", true},
		{"one that changed", "bind", "usb", "usb_device", "04b8", ":070102:", true},
		{"HP's IPP over USB of before its number", "add", "usb", "usb_device", "03f0", ":ff0901:", true},
		{"another maker's ff/09/01", "add", "usb", "usb_device", "1234", ":ff0901:", false},
		{"a disk", "add", "usb", "usb_device", "03f0", ":080650:", false},
		{"a device whose interfaces only look like it", "add", "usb", "usb_device", "04b8", ":ff0701:020701:", false},
		{"a printer's interface, which has no node", "add", "usb", "usb_interface", "04b8", ":070102:", false},
		{"another subsystem", "add", "tty", "usb_device", "04b8", ":070102:", false},
		{"one that goes", "remove", "usb", "usb_device", "04b8", ":070102:", false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			set := apply(t, map[string]string{"ACTION": tc.action, "SUBSYSTEM": tc.subsystem, "ENV{DEVTYPE}": tc.kind, "ATTR{idVendor}": tc.vendor, "ENV{ID_USB_INTERFACES}": tc.interfaces})
			got := set["GROUP"] == "mfpgate-usb" && set["MODE"] == "0660"
			if got != tc.want || !tc.want && len(set) > 0 {
				t.Errorf("the rules set %v, want its group: %v", set, tc.want)
			}
		})
	}
}
