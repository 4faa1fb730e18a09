package mfpgate_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/mfpgate/mfpgate"
)

func TestParseHost(t *testing.T) {
	for _, tc := range []struct {
		rule, in, want string // an empty want is a refusal
	}{
		{"a name is lower-cased", "Cloud.Example", "cloud.example"},
		{"the root's dot is dropped", "cloud.example.", "cloud.example"},
		{"a U-label becomes an A-label", "bücher.example", "xn--bcher-kva.example"},
		{"a dotted quad is an address", "192.0.2.1", "192.0.2.1"},
		{"brackets are optional in IPv6", "[2001:DB8::1]", "2001:db8::1"},
		{"a mapped address stays mapped, to be judged by what it embeds", "[::ffff:127.0.0.1]", "::ffff:127.0.0.1"},
		{"decimal spelling", "2130706433", ""},
		{"hexadecimal spelling", "0x7f000001", ""},
		{"hexadecimal part", "127.0.0.0x1", ""},
		{"octal spelling", "0177.0.0.1", ""},
		{"leading zeros", "127.000.000.001", ""},
		{"short spelling", "127.1", ""},
		{"digits with the root's dot", "2130706433.", ""},
		{"bare 0x", "0x", ""},
		{"full-width digits", "１２７.0.0.1", ""},
		{"IPv4 in brackets", "[127.0.0.1]", ""},
		{"zone", "fe80::1%eth0", ""},
		{"empty", "", ""},
		{"empty label", "a..example", ""},
		{"user info", "a@b.example", ""},
		{"percent escape", "127%2e0.0.1", ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got, err := mfpgate.ParseHost(tc.in)
			if tc.want == "" {
				if !errors.Is(err, mfpgate.ErrHost) {
					t.Fatalf("ParseHost(%q) = %q, %v; want ErrHost", tc.in, got, err)
				}
				return
			}
			if err != nil || got.String() != tc.want {
				t.Fatalf("ParseHost(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
			}
		})
	}
}

func TestHostPattern(t *testing.T) {
	for _, tc := range []struct {
		rule, pattern, host string
		want                bool
	}{
		{"an exact name", "a.example", "A.example", true},
		{"an exact name is not its parent", "a.example", "example", false},
		{"a wildcard takes one label", "*.a.example", "b.a.example", true},
		{"a wildcard takes several labels", "*.a.example", "c.b.a.example", true},
		{"a wildcard is not its domain", "*.a.example", "a.example", false},
		{"a wildcard does not cut a label", "*.a.example", "ba.example", false},
		{"a network holds its addresses", "10.0.0.0/8", "10.1.2.3", true},
		{"a network holds no mapped form", "10.0.0.0/8", "::ffff:10.1.2.3", false},
		{"an address", "2001:db8::1", "[2001:db8::1]", true},
		{"a name pattern takes no address", "*.0.0.example", "127.0.0.1", false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			pattern, err := mfpgate.ParseHostPattern(tc.pattern)
			if err != nil {
				t.Fatal(err)
			}
			host, err := mfpgate.ParseHost(tc.host)
			if err != nil {
				t.Fatal(err)
			}
			if got := pattern.Matches(host); got != tc.want {
				t.Errorf("%q matches %q: %v, want %v", tc.pattern, tc.host, got, tc.want)
			}
			if pattern.String() != tc.pattern {
				t.Errorf("String() = %q, want %q", pattern, tc.pattern)
			}
		})
	}
	for _, bad := range []string{"*", "", "*.10.0.0.1", "a.*.example", "10.1.0.0/8", "0x7f.1", "http://a.example"} {
		if p, err := mfpgate.ParseHostPattern(bad); err == nil {
			t.Errorf("ParseHostPattern(%q) = %q, want an error", bad, p)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"a.example", "[::1]", "127.0.0.1", "0x7f.1", "bücher.example", "1.2.3.4."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := mfpgate.ParseHost(s)
		if err != nil {
			return
		}
		again, err := mfpgate.ParseHost(host.String())
		if err != nil || again != host {
			t.Fatalf("ParseHost(%q) = %q, which reads as %q, %v", s, host, again, err)
		}
		if _, literal := host.Address(); !literal {
			if _, err := netip.ParseAddr(host.String()); err == nil {
				t.Fatalf("%q is a name that reads as an address", host)
			}
		}
	})
}
