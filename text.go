package mfpgate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// CleanText is a foreign text as one line that can be kept, logged and shown, of at most limit bytes: valid UTF-8 in whole characters,
// single spaces between its words, and nothing that ends the line, moves a cursor, cannot be seen, or turns the direction of what stands
// beside it (Unicode Cc, Cf, Zl, Zp). What is no UTF-8 becomes U+FFFD.
func CleanText(s string, limit int) string {
	s = cut(s, 4*limit) // what is left out may stand before what is kept, but not without bound
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Cf, r):
			return -1
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ") // Zl and Zp are spaces
	return strings.TrimSuffix(cut(s, limit), " ")
}

// cut is s without its last characters, if it has more than limit bytes.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
