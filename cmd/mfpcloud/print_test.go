package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestPrintServiceFlags(t *testing.T) {
	dir := t.TempDir()
	serve := []string{"serve", "--region", "jp", "--listen", "127.0.0.1:0", "--state", dir}
	for _, c := range []struct {
		rule string
		args []string
		code int
		says string
	}{
		{"an administrator", []string{"administrator", "add", "it@example.jp", "--state", dir}, 0, ""},
		{"twice", []string{"administrator", "add", "it@example.jp", "--state", dir}, 1, "exists already"},
		{"no mail address", []string{"administrator", "add", "it", "--state", dir}, 1, "must be a mail address"},
		{"mail without a sender", append(serve, "--smtp", "127.0.0.1:25"), 1, "--smtp needs --mail-from"},
		{"a sender without a server", append(serve, "--mail-from", "a@example.jp"), 1, "need --smtp"},
		{"no TLS to a server elsewhere", append(serve, "--smtp", "smtp.example.jp:25", "--mail-from", "a@example.jp", "--mail-tls", "none"), 1, "loopback"},
		{"a public URL with a path", append(serve, "--public-url", "https://a.example/print"), 1, "write scheme and host alone"},
		{"a lifetime before now", append(serve, "--code-lifetime", "-1s"), 1, "must be positive"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), c.args, &out, &errs); code != c.code || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%s: %d %s", c.rule, code, errs.String())
		}
		if c.code == 0 && len(strings.TrimSpace(out.String())) < 20 {
			t.Errorf("%s: %q", c.rule, out.String())
		}
	}
}
