package quirk_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

var update = flag.Bool("update", false, "write the golden files")

func parse(t *testing.T, text string) quirk.Table {
	t.Helper()
	table, err := quirk.Parse(strings.NewReader(text), "site.txt")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func device(vendor, product uint16) bus.Device {
	return bus.Device{Vendor: vendor, Product: product, Release: 0x0100}
}

const table = `
# all of a vendor
1111:*
	unidirectional
	reset soft
	reason vendor
1111:* "Acme Laser*"   # by name
1111:* "*Jet * Pro"
	reset hard
	interfaces 2
	write-delay 1ms over 512
	reason name
1111:0001
	unidirectional no
	connection close
	answer-within 20s
	reason product
1111:0002 release 0200-0300
	ignore
	package-raw
	reason release
3333:0001
	no-pjl
	no-port-status
	no-soft-reset
	reason flags
`

func TestTheMoreSpecialEntryCounts(t *testing.T) {
	tests := []struct {
		rule  string
		of    bus.Device
		names []string
		want  quirk.Quirks
	}{
		{rule: "nothing is said of others", of: device(0x2222, 1)},
		{rule: "a vendor's entry is for all of its products", of: device(0x1111, 9), want: quirk.Quirks{Unidirectional: true, Reset: quirk.ResetSoft}},
		{rule: "a name comes before a vendor, case aside", of: device(0x1111, 9), names: []string{"", "acme laser 9"},
			want: quirk.Quirks{Unidirectional: true, Reset: quirk.ResetHard, Interfaces: 2, WriteDelay: time.Millisecond, WriteDelayOver: 512}},
		{rule: "wildcards stand anywhere", of: device(0x1111, 9), names: []string{"OfficeJet 12 Pro"},
			want: quirk.Quirks{Unidirectional: true, Reset: quirk.ResetHard, Interfaces: 2, WriteDelay: time.Millisecond, WriteDelayOver: 512}},
		{rule: "a name is for its vendor alone", of: device(0x2222, 9), names: []string{"Acme Laser 9"}},
		{rule: "what it must not be sent", of: device(0x3333, 1), want: quirk.Quirks{NoPJL: true, NoPortStatus: true, NoSoftReset: true}},
		{rule: "a pattern fits the whole name", of: device(0x1111, 9), names: []string{"OfficeJet 12 Pro 2"},
			want: quirk.Quirks{Unidirectional: true, Reset: quirk.ResetSoft}},
		{rule: "a product comes before its vendor, and takes back", of: device(0x1111, 1),
			want: quirk.Quirks{Reset: quirk.ResetSoft, Connection: "close", AnswerWithin: 20 * time.Second}},
		{rule: "a release before the range is another device", of: device(0x1111, 2), want: quirk.Quirks{Unidirectional: true, Reset: quirk.ResetSoft}},
		{rule: "a release in the range counts", of: bus.Device{Vendor: 0x1111, Product: 2, Release: 0x0300},
			want: quirk.Quirks{Ignore: true, RawPackage: true, Unidirectional: true, Reset: quirk.ResetSoft}},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			got := parse(t, table).Of(tt.of, tt.names...)
			if d := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(quirk.Quirks{}, "Applied")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestWhatAppliedIsSaid(t *testing.T) {
	q := parse(t, table).With(parse(t, "1111:0001\n reset none\n reason here it needs none")).Of(device(0x1111, 1))
	want := []quirk.Applied{
		{Words: []string{"answer-within 20s", "connection close", "unidirectional no"}, Match: "1111:0001", Reason: "product", Place: "site.txt:13"},
		{Words: []string{"reset none"}, Match: "1111:0001", Reason: "here it needs none", Place: "site.txt:1"},
	}
	if d := cmp.Diff(want, q.Applied); d != "" {
		t.Error(d)
	}
	if got, want := q.Applied[1].String(), "reset none for 1111:0001: here it needs none"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestASitesEntryWins: of two that are equally special, the later table's counts.
func TestASitesEntryWins(t *testing.T) {
	site := parse(t, "04e8:*\n reset-after-job no\n reason ours do not need it")
	if q := quirk.Known().With(site).Of(device(0x04e8, 1)); q.ResetAfterJob {
		t.Error("the known entry counts before the site's")
	}
	if q := site.With(quirk.Known()).Of(device(0x04e8, 1)); !q.ResetAfterJob {
		t.Error("the earlier table counts before the later")
	}
}

// TestBadTablesAreRefused pins the text for each file of testdata/bad, beside it.
func TestBadTablesAreRefused(t *testing.T) {
	files, _ := filepath.Glob("testdata/bad/*.txt")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			table, err := quirk.Parse(f, "site.txt")
			if err == nil {
				t.Fatal("it is taken")
			}
			if table.Len() != 0 {
				t.Errorf("%d entries beside an error", table.Len())
			}
			golden := strings.TrimSuffix(file, ".txt") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, _ := os.ReadFile(golden)
			if d := cmp.Diff(string(want), err.Error()+"\n"); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestKnownQuirks: the table of this program is read, and says what its sources do of some devices.
func TestKnownQuirks(t *testing.T) {
	known := quirk.Known()
	if known.Len() < 25 {
		t.Errorf("%d entries; quirks.txt has more", known.Len())
	}
	tests := []struct {
		rule  string
		of    bus.Device
		names []string
		is    func(quirk.Quirks) bool
	}{
		{"HP's vendor class is IPP over USB", device(0x03f0, 0xffff), nil, func(q quirk.Quirks) bool { return q.VendorIPP && !q.NoIPP }},
		{"HP Laser 107a is driven raw", device(0x03f0, 0xffff), []string{"HP Laser 107a"}, func(q quirk.Quirks) bool { return q.NoIPP }},
		{"HP Laser 107a with its make", device(0x03f0, 0xffff), []string{"HP Inc. HP Laser 107a"}, func(q quirk.Quirks) bool { return q.NoIPP }},
		{"a LaserJet 1070 is not a Laser 107", device(0x03f0, 0xffff), []string{"HP LaserJet 1070"}, func(q quirk.Quirks) bool { return !q.NoIPP }},
		{"Canon MX320 is not read", device(0x04a9, 0x1736), nil, func(q quirk.Quirks) bool { return q.Unidirectional }},
		{"a SELPHY CP900 is left alone", device(0x04a9, 0x3255), nil, func(q quirk.Quirks) bool { return q.Ignore }},
		{"a LaserJet 1020 takes firmware as a job", device(0x03f0, 0x2b17), nil, func(q quirk.Quirks) bool { return q.RawPackage }},
		{"a Xerox B210 is reset", device(0x0924, 0x42ea), nil, func(q quirk.Quirks) bool { return q.Reset == quirk.ResetHard }},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			q := known.Of(tt.of, tt.names...)
			if !tt.is(q) {
				t.Errorf("%+v", q)
			}
			for _, a := range q.Applied {
				if a.Reason == "" || a.Place == "" || a.Match == "" || len(a.Words) == 0 {
					t.Errorf("incomplete: %+v", a)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add(table)
	f.Add("1111:* \"*\" \n ignore\n reason #")
	f.Add("\"\n\xff:\n\t#\n1111:2222 release \"\n zlp x")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := quirk.Parse(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		q := table.Of(device(0x1111, 1), "Acme Laser 1")
		for _, a := range q.Applied {
			if a.Reason == "" || len(a.Words) == 0 {
				t.Errorf("an entry without a reason or a word was taken: %+v", a)
			}
		}
	})
}
