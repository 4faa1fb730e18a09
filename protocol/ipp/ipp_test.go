package ipp_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/protocol/ipp"
)

func text(name string, syntax goipp.Tag, values ...string) goipp.Attribute {
	a := goipp.Attribute{Name: name}
	for _, v := range values {
		a.Values.Add(syntax, goipp.String(v))
	}
	return a
}

func TestTexts(t *testing.T) {
	long := "ipps://print.example/" + strings.Repeat("a", 600)
	group := goipp.Attributes{
		text("name", goipp.TagName, "2F\u202e co\x00pier\n"),
		goipp.MakeAttribute("language", goipp.TagTextLang, goipp.TextWithLang{Lang: "ja", Text: "複合機"}),
		text("long", goipp.TagText, strings.Repeat("語", 200)),
		text("uri", goipp.TagURI, long),
		text("spaced", goipp.TagURI, "ipps://print.example/a b"),
		text("endless", goipp.TagURI, "ipps://"+strings.Repeat("a", ipp.MaxURI)),
		text("two", goipp.TagKeyword, "a", "b"),
		{Name: "mixed", Values: append(text("", goipp.TagKeyword, "a").Values, text("", goipp.TagName, "b").Values...)},
		goipp.MakeAttribute("none", goipp.TagNoValue, goipp.Void{}),
	}
	for _, tc := range []struct {
		name     string
		syntaxes []goipp.Tag
		want     []string
	}{
		{"name", ipp.Words(), []string{"2F co pier"}},
		{"language", ipp.Words(), []string{"複合機"}},
		{"long", ipp.Words(), []string{strings.Repeat("語", 85)}},
		{"uri", []goipp.Tag{goipp.TagURI}, []string{long}},
		{"uri", ipp.Words(), nil},
		{"spaced", []goipp.Tag{goipp.TagURI}, nil},
		{"endless", []goipp.Tag{goipp.TagURI}, nil},
		{"two", []goipp.Tag{goipp.TagKeyword}, []string{"a", "b"}},
		{"mixed", []goipp.Tag{goipp.TagKeyword}, nil},
		{"none", []goipp.Tag{goipp.TagURI}, nil},
		{"absent", ipp.Words(), nil},
	} {
		if diff := cmp.Diff(tc.want, ipp.Texts(group, tc.name, tc.syntaxes...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	if got := ipp.Text(group, "two", goipp.TagKeyword); got != "" {
		t.Errorf("one value of two: %q", got)
	}
}

func TestUUID(t *testing.T) {
	const id = "99999999-0000-4000-8000-00000000000a"
	for in, want := range map[string]string{
		"urn:uuid:" + id:                  id,
		"URN:UUID:" + strings.ToUpper(id): id,
		id:                                "",
		"urn:uuid:" + id + "0":            "",
		"urn:uuid:{9999999-0000-4000-8000-00000000000a":  "",
		"urn:uuid:99999999-0000-4000-8000-00000000000g":  "",
		"urn:uuid:99999999000040008000-00000000000a0000": "",
		"": "",
	} {
		if got := ipp.UUID(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzDecode takes any bytes: what comes out is within the bounds and can be made again.
func FuzzDecode(f *testing.F) {
	m := goipp.NewRequest(goipp.MakeVersion(2, 0), goipp.OpRegisterOutputDevice, 1)
	m.Operation.Add(text("attributes-charset", goipp.TagCharset, "utf-8"))
	m.Printer.Add(goipp.MakeAttribute("printer-xri-supported", goipp.TagBeginCollection, goipp.Collection{text("xri-uri", goipp.TagURI, "ipps://print.example/p")}))
	m.Printer.Add(goipp.MakeAttribute("printer-info", goipp.TagTextLang, goipp.TextWithLang{Lang: "ja", Text: "複合機"}))
	body, err := m.EncodeBytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, of := range []ipp.Limits{ipp.System, ipp.Printer} {
			m, err := ipp.Decode(body, of)
			if err != nil {
				if !errors.Is(err, ipp.ErrMessage) || m != nil {
					t.Fatalf("%v, %v", m, err)
				}
				continue
			}
			if _, _, id, ok := ipp.Header(body); !ok || id != m.RequestID {
				t.Errorf("request id %d, want %d", id, m.RequestID)
			}
			for _, a := range m.Operation {
				ipp.Integers(m.Operation, a.Name)
				ipp.Collections(m.Operation, a.Name)
				for _, s := range ipp.Texts(m.Operation, a.Name, append(ipp.Words(), goipp.TagURI)...) {
					if len(s) > ipp.MaxURI || !utf8.ValidString(s) || strings.ContainsAny(s, "\n\x00") {
						t.Errorf("text %q", s)
					}
				}
			}
		}
	})
}

// TestLimits: what is refused of a service, and of a printer, whose software is older than the person who reads this.
func TestLimits(t *testing.T) {
	const header, group, end, keyword, begin, over = "\x02\x00\x00\x00\x00\x00\x00\x01", "\x04", "\x03", "\x44\x00\x01a\x00\x01b", "\x34\x00\x01a\x00\x00", "\x37\x00\x00\x00\x00"
	for _, c := range []struct {
		rule            string
		body            string
		system, printer bool
	}{
		{"one keyword", header + group + keyword + end, true, true},
		{"shorter than its header", header[:7], false, false},
		{"another version", "\x03" + header[1:] + end, false, false},
		{"no end", header + group + keyword, false, false},
		{"breaks off in a value", header + group + keyword[:5], false, false},
		{"a value before the first group", header + keyword + end, false, false}, // goipp's own word
		{"bytes behind the end", header + group + keyword + end + "\x00", false, true},
		{"a collection", header + group + begin + over + end, true, true},
		{"one that has not begun", header + group + over + end, false, false},
		{"one in which a group begins", header + group + begin + group + keyword + end, false, false},
		{"4 levels", header + group + strings.Repeat(begin, 4) + end, false, false}, // without their ends
		{"9 levels", header + group + strings.Repeat(begin, 9) + end, false, false},
		{"4,000 values", header + group + strings.Repeat(keyword, 4000) + end, true, true},
		{"4,097 values", header + group + strings.Repeat(keyword, 4097) + end, false, true},
		{"16,385 values", header + group + strings.Repeat(keyword, 16385) + end, false, false},
		{"16,385 groups", header + strings.Repeat(group, 16385) + end, false, false},
	} {
		for _, of := range []struct {
			name  string
			limit ipp.Limits
			taken bool
		}{{"system", ipp.System, c.system}, {"printer", ipp.Printer, c.printer}} {
			if _, err := ipp.Decode([]byte(c.body), of.limit); (err == nil) != of.taken || err != nil && !errors.Is(err, ipp.ErrMessage) {
				t.Errorf("%s, of a %s: %v", c.rule, of.name, err)
			}
		}
	}
}
