package ieee1284_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/protocol/ieee1284"
)

func TestParse(t *testing.T) {
	copier := ieee1284.ID{Make: "Acme", Model: "Copier 9", Serial: "A1"}
	for _, c := range []struct {
		rule, text string
		want       ieee1284.ID
	}{
		{"short names", "MFG:Acme;MDL:Copier 9;SN:A1;", copier},
		{"long names", "MANUFACTURER:Acme;MODEL:Copier 9;SERIALNUMBER:A1;", copier},
		{"keys in any case, blanks around them", " mfg: Acme ;\r\n Mdl :Copier  9;sern:A1", copier},
		{"no last semicolon", "MFG:Acme;MDL:Copier 9;SN:A1", copier},
		{"NULs behind the text", "MFG:Acme;MDL:Copier 9;SN:A1;\x00\x00\xff", copier},
		{"the length is there nevertheless", "\x00\x1eMFG:Acme;MDL:Copier 9;SN:A1;", copier},
		{"the length in the other byte order", "\x1e\x00MFG:Acme;MDL:Copier 9;SN:A1;", copier},
		{"UTF-16", wide("MFG:Acme;MDL:Copier 9;SN:A1;"), copier},
		{"the first value counts", "MFG:Acme;MDL:Copier 9;SN:A1;MFG:Other;", copier},
		{"the first colon splits", "MFG:Acme;DES:http://acme;", ieee1284.ID{Make: "Acme", Description: "http://acme"}},
		{"what turns the direction of text", "MFG:Ac\u202eme;MDL:\u2066x;", ieee1284.ID{Make: "Acme", Model: "x"}},
		{"Latin-1", "MFG:M\xfcller;", ieee1284.ID{Make: "Müller"}},
		{"a serial that only fills its place", "MFG:Acme;SN:000000;", ieee1284.ID{Make: "Acme"}},
		{"all the keys", "MFG:a;MDL:b;CMD:PDF, PCL,;CLS:PRINTER;CID:c;VID:03f0;PID:0001;",
			ieee1284.ID{Make: "a", Model: "b", CommandSet: []string{"PDF", "PCL"}, Class: "PRINTER", CompatibleID: "c", VID: "03f0", PID: "0001"}},
		{"nothing to read", "hello", ieee1284.ID{}},
	} {
		if diff := cmp.Diff(c.want, ieee1284.Parse(c.text)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.rule, diff)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	const text = "MFG:Acme;MDL:Copier 9;SN:A1;"
	want := ieee1284.ID{Make: "Acme", Model: "Copier 9", Serial: "A1"}
	for rule, answer := range map[string]string{
		"a big-endian length that counts itself": "\x00\x1e" + text,
		"rubbish behind the length":              "\x00\x1e" + text + "SN:B2;MFG:x",
		"a little-endian length":                 "\x1e\x00" + text,
		"a length that is wrong":                 "\xff\xff" + text,
		"a length of nothing":                    "\x00\x00" + text,
		"a length that no id has":                "\x00\x0d" + text,
	} {
		if diff := cmp.Diff(want, ieee1284.ParseAnswer([]byte(answer))); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", rule, diff)
		}
	}
	if got := ieee1284.ParseAnswer([]byte{1}); !got.IsZero() {
		t.Errorf("one octet: got %+v, want nothing", got)
	}
}

func wide(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte(0)
		b.WriteByte(c)
	}
	return b.String()
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("MFG:Acme;MDL:Copier 9;SN:A1;"))
	f.Add([]byte("\x00\x1eMFG:Acme;MDL:Copier 9;SN:A1;"))
	f.Add([]byte(wide("MFG:Acme;")))
	f.Add([]byte("CMD:,,,;:;;\xff\xfe:"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, id := range []ieee1284.ID{ieee1284.Parse(string(raw)), ieee1284.ParseAnswer(raw)} {
			for _, s := range append(id.CommandSet, id.Make, id.Model, id.Serial, id.Description, id.Class, id.CompatibleID, id.VID, id.PID) {
				if len(s) > ieee1284.MaxValue || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Fatalf("%q came out of %q", s, raw)
				}
			}
			if len(id.CommandSet) > 32 {
				t.Fatalf("%d languages", len(id.CommandSet))
			}
		}
	})
}
