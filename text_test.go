package mfpgate_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

func TestCleanText(t *testing.T) {
	for _, c := range []struct{ rule, in, want string }{
		{"a text is itself", "Copier 9, 複合機", "Copier 9, 複合機"},
		{"one line, single spaces", " a\t\tb\r\nc\u2028d\u2029e\u00a0 f\x00g ", "a b c d e f g"},
		{"no terminal's commands", "\x1b[31mred\x1b[0m\x07", "[31mred [0m"},
		{"the direction is nobody's to turn", "evil\u202egpj.exe\u2066\u200b", "evilgpj.exe"},
		{"no half characters in", "caf\xe9", "caf\uFFFD"},
		{"no half characters out", strings.Repeat("é", 20), strings.Repeat("é", 12)},
		{"no space at the cut", strings.Repeat("x", 24) + " y", strings.Repeat("x", 24)},
		{"nothing", " \u200b\n", ""},
	} {
		if got := mfpgate.CleanText(c.in, 25); got != c.want {
			t.Errorf("%s: %q, want %q", c.rule, got, c.want)
		}
	}
}

func FuzzCleanText(f *testing.F) {
	f.Add("a\u202e\xff b", 3)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		limit = 1 + int(uint(limit)%300)
		got := mfpgate.CleanText(in, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.TrimSpace(got) != got || strings.Contains(got, "  ") {
			t.Errorf("%q of %q within %d", got, in, limit)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) }) {
			t.Errorf("%q", got)
		}
		if again := mfpgate.CleanText(got, limit); again != got {
			t.Errorf("%q becomes %q", got, again)
		}
	})
}
