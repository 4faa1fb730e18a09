package ipp

import (
	"strings"
	"unicode/utf8"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// The bounds of what leaves this package.
const (
	maxText  = 256 // bytes of a text
	maxItems = 64  // values of a list: reasons, supplies, counters
)

// attributes are a printer's, by name.
type attributes struct {
	values map[string]goipp.Values
	latin1 bool // the texts' charset is ISO 8859-1: a printer that ignores which charset it was asked for
}

// texts are an attribute's values that are texts or octet strings, cleaned, at their places: parallel attributes are
// matched by place, so a value that is no text is an empty one.
func (a attributes) texts(name string) []string {
	values := a.values[name]
	out := make([]string, 0, min(len(values), maxItems))
	for _, value := range values[:min(len(values), maxItems)] {
		out = append(out, mfpgate.CleanText(a.raw(value.V), maxText))
	}
	return out
}

// text is the first value of a text attribute.
func (a attributes) text(name string) string {
	values := a.values[name]
	if len(values) == 0 {
		return ""
	}
	return mfpgate.CleanText(a.raw(values[0].V), maxText)
}

// first is the text of the first of the names that has one.
func (a attributes) first(names ...string) string {
	for _, name := range names {
		if text := a.text(name); text != "" {
			return text
		}
	}
	return ""
}

// raw is a value's text in UTF-8 as far as its charset is known.
func (a attributes) raw(value goipp.Value) string {
	var s string
	switch value := value.(type) {
	case goipp.String:
		s = string(value)
	case goipp.TextWithLang:
		s = value.Text
	case goipp.Binary:
		s = string(value)
	}
	if !a.latin1 || isASCII(s) {
		return s
	}
	var b strings.Builder
	for i := range min(len(s), maxText) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// integer is the first value of an integer or enum attribute.
func (a attributes) integer(name string) (int64, bool) {
	if values := a.values[name]; len(values) > 0 {
		n, ok := values[0].V.(goipp.Integer)
		return int64(n), ok
	}
	return 0, false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// keyword is s as an IPP keyword (RFC 8011 §5.1.4), or empty if it is none. Upper case is folded: some printers send it.
func keyword(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if s == "" || len(s) > maxText {
		return ""
	}
	for i := range len(s) {
		if !wordByte(s[i]) && s[i] != '.' {
			return ""
		}
	}
	return s
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}
