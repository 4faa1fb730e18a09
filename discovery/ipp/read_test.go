package ipp_test

import (
	"testing"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
)

func TestStatus(t *testing.T) {
	for _, tc := range []struct {
		rule  string
		attrs goipp.Attributes
		want  mfpgate.PrinterStatus
	}{
		{
			"reasons are sorted keywords, each once, without none",
			goipp.Attributes{
				enum("printer-state", 5), words("printer-state-reasons", "toner-low-warning", "none", "media-jam-error", "bad word", "", "Toner-Low-Warning"),
				text("printer-state-message", " Paper\tjam "), text("printer-alert-description", "not this"),
			},
			mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{"media-jam-error", "toner-low-warning"}, Message: "Paper jam"},
		},
		{
			"the alerts' words stand in for a message",
			goipp.Attributes{enum("printer-state", 4), text("printer-alert-description", "Door open", "", "Toner low")},
			mfpgate.PrinterStatus{State: mfpgate.PrinterProcessing, Message: "Door open; Toner low"},
		},
		{
			"a state that is none is unknown",
			goipp.Attributes{enum("printer-state", 9), words("printer-state-reasons", "none")},
			mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown},
		},
		{
			"so is one that is missing",
			goipp.Attributes{words("printer-state-reasons", "paused")},
			mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown, Reasons: []string{"paused"}},
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got := reading(t, &printer{attrs: tc.attrs}, mfpgate.PartStatus)
			if diff := cmp.Diff(mfpgate.Reading{At: got.At, Status: &tc.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// reading is what the client reads of a printer.
func reading(t *testing.T, p *printer, parts mfpgate.Parts) mfpgate.Reading {
	t.Helper()
	p.t = t
	client, sent := newClient(t)
	r, err := client.Read(t.Context(), serve(t, "", p, false), parts)
	if err != nil {
		t.Fatal(err)
	}
	if sent.Load() != 1 || r.At.IsZero() {
		t.Errorf("%d requests, at %s", sent.Load(), r.At)
	}
	return r
}

func TestCharset(t *testing.T) {
	p := &printer{charset: "ISO-8859-1", attrs: goipp.Attributes{enum("printer-state", 3), text("printer-state-message", "Pr\xeat")}}
	if got := reading(t, p, mfpgate.PartStatus).Status.Message; got != "Prêt" {
		t.Errorf("Latin 1 as announced: %q", got)
	}
	p = &printer{attrs: goipp.Attributes{enum("printer-state", 3), text("printer-state-message", "Pr\xeat")}}
	if got := reading(t, p, mfpgate.PartStatus).Status.Message; got != "Pr\uFFFDt" {
		t.Errorf("Latin 1 announced as UTF-8: %q", got)
	}
}

func TestSupplies(t *testing.T) {
	for _, tc := range []struct {
		rule  string
		attrs goipp.Attributes
		want  []mfpgate.Supply
	}{
		{"a printer without supplies has none", nil, nil},
		{
			"printer-supply goes before the markers",
			goipp.Attributes{
				octets("printer-supply",
					"index=7;class=supplyThatIsConsumed;type=tonerCartridge;unit=tenthsOfGrams;maxcapacity=2500;level=75;colorantname=Black;",
					"INDEX = 9; class=receptacleThatIsFilled;type=wasteToner;unit=percent;level=-3;colorantname=none"),
				text("printer-supply-description", "Black Toner"),
				text("marker-names", "not this"),
			},
			[]mfpgate.Supply{
				{Index: "7", Name: "Black Toner", Type: "tonerCartridge", Color: "black", Unit: "tenthsOfGrams", Level: 75, Max: 2500},
				{Index: "9", Name: "wasteToner", Type: "wasteToner", Receives: true, Unit: "percent", Level: mfpgate.LevelSome, Max: 100},
			},
		},
		{
			"levels that are no amount keep their sense, nonsense is unknown",
			goipp.Attributes{octets("printer-supply",
				"index=1;type=toner;level=-1;maxcapacity=-1", "index=2;type=toner;level=-2;maxcapacity=-2",
				"index=3;type=toner;level=-4;maxcapacity=-3", "index=4;type=toner;level=99999999999999999999;maxcapacity=x",
				"", "garbage", "index=<b>;type=<script>;level=5;maxcapacity=10")},
			[]mfpgate.Supply{
				{Index: "1", Name: "toner", Type: "toner", Level: mfpgate.LevelOther, Max: mfpgate.LevelOther},
				{Index: "2", Name: "toner", Type: "toner", Level: mfpgate.LevelUnknown, Max: mfpgate.LevelUnknown},
				{Index: "3", Name: "toner", Type: "toner", Level: mfpgate.LevelUnknown, Max: mfpgate.LevelUnknown},
				{Index: "4", Name: "toner", Type: "toner", Level: mfpgate.LevelUnknown, Max: mfpgate.LevelUnknown},
				{Index: "7", Level: 5, Max: 10},
			},
		},
		{
			"an index of two supplies names neither",
			goipp.Attributes{octets("printer-supply", "index=1;type=ink;level=1;maxcapacity=10", "index=1;type=opc;level=2;maxcapacity=10")},
			[]mfpgate.Supply{
				{Index: "1", Name: "ink", Type: "ink", Level: 1, Max: 10},
				{Index: "2", Name: "opc", Type: "opc", Level: 2, Max: 10},
			},
		},
		{
			"markers are per cent, and their -1 is unknown",
			goipp.Attributes{
				strs("marker-names", goipp.TagName, []string{"Black", "Tri-color", "Waste", "Fuser"}),
				words("marker-types", "toner-cartridge", "ink", "waste-toner"),
				strs("marker-colors", goipp.TagName, []string{"#000000", "#00ffff#FF00FF#FFFF00", "none"}),
				number("marker-levels", 40, -1, -3, 300),
			},
			[]mfpgate.Supply{
				{Index: "1", Name: "Black", Type: "tonerCartridge", Color: "#000000", Unit: "percent", Level: 40, Max: 100},
				{Index: "2", Name: "Tri-color", Type: "ink", Color: "#00FFFF#FF00FF#FFFF00", Unit: "percent", Level: mfpgate.LevelUnknown, Max: 100},
				{Index: "3", Name: "Waste", Type: "wasteToner", Receives: true, Unit: "percent", Level: mfpgate.LevelSome, Max: 100},
				{Index: "4", Name: "Fuser", Unit: "percent", Level: 100, Max: 100},
			},
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			got := reading(t, &printer{attrs: append(tc.attrs, enum("printer-state", 3))}, mfpgate.PartSupplies)
			if diff := cmp.Diff(mfpgate.Reading{At: got.At, Supplies: tc.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCounters(t *testing.T) {
	kinds := goipp.Collection{
		number("monochrome", 700), number("full-color", 300), number("highlight-color", -1), text("blank", "5"), number("full-color", 9),
		goipp.MakeAttribute("deep", goipp.TagBeginCollection, goipp.Collection{number("deeper", 1)}),
		goipp.MakeAttribute("monochrome-two-sided", goipp.TagNoValue, goipp.Void{}),
	}
	attrs := goipp.Attributes{
		enum("printer-state", 3), number("printer-impressions-completed", 1000),
		goipp.MakeAttribute("printer-impressions-completed-col", goipp.TagBeginCollection, kinds),
		number("printer-media-sheets-completed", 600), number("printer-pages-completed", -2),
		text("printer-firmware-name", "System"), text("printer-firmware-string-version", "1.02"),
	}
	got := reading(t, &printer{attrs: attrs}, mfpgate.PartCounters)
	want := mfpgate.Reading{
		At: got.At, Firmware: "1.02",
		Counters: []mfpgate.Counter{
			{Name: "impressions", Value: 1000}, {Name: "impressions-monochrome", Value: 700}, {Name: "impressions-full-color", Value: 300},
			{Name: "sheets", Value: 600},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
