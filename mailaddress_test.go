package mfpgate_test

import (
	"errors"
	"net/mail"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
)

func TestMailAddress(t *testing.T) {
	for _, c := range []struct{ rule, text, want string }{
		{"a plain address", "it@example.jp", "it@example.jp"},
		{"the domain's case does not matter, the local part's may", "Taro.Yamada+mfp@Example.JP", "Taro.Yamada+mfp@example.jp"},
		{"a domain of another script in its A-labels", "it@xn--wgv71a.example", "it@xn--wgv71a.example"},
		{"the same in its own script", "it@日本.example", ""},
		{"a letter that is another's lower case", "x@\u212Ayoto.example", ""},
		{"a local part of another script", "係@example.jp", ""},
		{"a quoted local part", `"a b"@example.jp`, ""},
		{"a route of percent signs", "user%other.example@example.jp", ""},
		{"a route of bangs", "other.example!user@example.jp", ""},
		{"a name beside it", "IT <it@example.jp>", ""},
		{"brackets", "<it@example.jp>", ""},
		{"a comment", "it@example.jp (comment)", ""},
		{"two", "a@example.jp,b@example.jp", ""},
		{"a second @", "it@evil.example@example.jp", ""},
		{"an address literal", "it@[192.0.2.1]", ""},
		{"an address for a domain", "it@192.0.2.1", ""},
		{"two dots", "a..b@example.jp", ""},
		{"a dot at the end", "a.@example.jp", ""},
		{"a dot after the domain", "a@example.jp.", ""},
		{"no domain", "it", ""},
		{"nobody", "@example.jp", ""},
		{"an end of line", "it@example.jp\r\nBcc: x@evil.example", ""},
		{"a NUL", "it@example.jp\x00", ""},
		{"a local part of 64 bytes", strings.Repeat("x", 64) + "@example.jp", strings.Repeat("x", 64) + "@example.jp"},
		{"and of one more", strings.Repeat("x", 65) + "@example.jp", ""},
		{"255 bytes", "x@" + strings.Repeat(strings.Repeat("y", 49)+".", 5) + "com", ""},
		{"nothing", "", ""},
	} {
		got, err := mfpgate.MailAddress(c.text)
		if got != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, mfpgate.ErrMailAddress) {
			t.Errorf("%s: MailAddress(%.40q) = %q, %v; want %q", c.rule, c.text, got, err, c.want)
		}
	}
}

func FuzzMailAddress(f *testing.F) {
	for _, text := range []string{"it@example.jp", "a@b, c@d", "\"x\"@y", "a@b\r\nBcc: c@d", "=?utf-8?q?a?= <a@b>", "a@xn--wgv71a", "a.b+c@D.example"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := mfpgate.MailAddress(text)
		if err != nil {
			return
		}
		if again, err := mfpgate.MailAddress(got); err != nil || again != got {
			t.Errorf("MailAddress(%q) = %q, which is itself %q, %v", text, got, again, err)
		}
		if a, err := mail.ParseAddress(got); err != nil || a.Name != "" || a.Address != got {
			t.Errorf("MailAddress(%q) = %q, which net/mail reads as %v, %v", text, got, a, err)
		}
	})
}
