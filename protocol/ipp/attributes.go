package ipp

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// MaxText is how many bytes of a text are kept, the most that an IPP name may have (RFC 8011 §5.1.3).
const MaxText = 255

// MaxURI is how long a URI may be, in bytes (RFC 8011 §5.1.6).
const MaxURI = 1023

// Find returns the attribute of this name that is first in its group; one occurs once (RFC 8011 §4.1.1).
func Find(group goipp.Attributes, name string) (goipp.Attribute, bool) {
	for _, a := range group {
		if a.Name == name {
			return a, true
		}
	}
	return goipp.Attribute{}, false
}

// Texts are the values of an attribute of which all have one of the syntaxes; none otherwise, and none for out-of-band values such
// as no-value.
func Texts(group goipp.Attributes, name string, syntaxes ...goipp.Tag) []string {
	a, _ := Find(group, name)
	var out []string
	for _, v := range a.Values {
		text, ok := textOf(v.T, v.V, syntaxes)
		if !ok {
			return nil
		}
		out = append(out, text)
	}
	return out
}

// Text is the attribute's one value, or "" if it has another count or syntax.
func Text(group goipp.Attributes, name string, syntaxes ...goipp.Tag) string {
	if all := Texts(group, name, syntaxes...); len(all) == 1 {
		return all[0]
	}
	return ""
}

// Words are the syntaxes of what people read.
func Words() []goipp.Tag {
	return []goipp.Tag{goipp.TagText, goipp.TagName, goipp.TagTextLang, goipp.TagNameLang}
}

func textOf(tag goipp.Tag, value goipp.Value, syntaxes []goipp.Tag) (string, bool) {
	if !slices.Contains(syntaxes, tag) {
		return "", false
	}
	switch v := value.(type) {
	case goipp.TextWithLang:
		return mfpgate.CleanText(v.Text, MaxText), true
	case goipp.String:
		if slices.Contains(Words(), tag) {
			return mfpgate.CleanText(string(v), MaxText), true
		}
		return string(v), plain(string(v))
	}
	return "", false
}

// plain reports whether a text is as a URI, keyword, charset or language is: ASCII that shows, at most MaxURI bytes.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= MaxURI
}

// Integers are the values of an attribute of which all are integers or all are enums.
func Integers(group goipp.Attributes, name string) []int {
	a, _ := Find(group, name)
	var out []int
	for _, v := range a.Values {
		n, ok := v.V.(goipp.Integer)
		if !ok || v.T != goipp.TagInteger && v.T != goipp.TagEnum {
			return nil
		}
		out = append(out, int(n))
	}
	return out
}

// Collections are the values of an attribute of which all are collections.
func Collections(group goipp.Attributes, name string) []goipp.Attributes {
	a, _ := Find(group, name)
	var out []goipp.Attributes
	for _, v := range a.Values {
		c, ok := v.V.(goipp.Collection)
		if !ok {
			return nil
		}
		out = append(out, goipp.Attributes(c))
	}
	return out
}

// UUID is the UUID (RFC 9562 §4) in a urn:uuid: URI, of 36 characters in lower case; "" if the text is none.
func UUID(urn string) string {
	const prefix = "urn:uuid:"
	if len(urn) != len(prefix)+36 || !strings.EqualFold(urn[:len(prefix)], prefix) {
		return ""
	}
	id := strings.ToLower(urn[len(prefix):])
	for i := range len(id) {
		if (i == 8 || i == 13 || i == 18 || i == 23) != (id[i] == '-') {
			return ""
		}
	}
	if raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", "")); err != nil || len(raw) != 16 {
		return ""
	}
	return id
}
