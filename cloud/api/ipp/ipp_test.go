package ipp_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api/ipp"
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
		m, err := ipp.Decode(body)
		if err != nil {
			if !errors.Is(err, ipp.ErrMessage) || m != nil {
				t.Fatalf("%v, %v", m, err)
			}
			return
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
	})
}
