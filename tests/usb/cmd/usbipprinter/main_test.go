package main

import (
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRun: a server with a printer, and what cannot be; a kernel with vhci_hcd is tests/vm's.
func TestRun(t *testing.T) {
	for _, tc := range []struct {
		rule, say, want string
		args            []string
		code            int
	}{
		{"a server", "plug pairs S1 0\nunplug 0\nback 0\n", "ready\nok\nok\nok\n", []string{"-listen", "127.0.0.1:0"}, 0},
		{"a port that vhci_hcd has not", "plug pairs S1 8\n", "ready\nerror: plug: port \"8\" is none of 0 to 7\n", nil, 0},
		{"a flag that is none", "", "", []string{"-teapot"}, 2},
	} {
		var out, errs strings.Builder
		if code := run(tc.args, strings.NewReader(tc.say), &out, &errs); code != tc.code || out.String() != tc.want {
			t.Errorf("%s: %d %q %q, want %d %q", tc.rule, code, out.String(), errs.String(), tc.code, tc.want)
		}
	}
}
