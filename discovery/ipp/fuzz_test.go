package ipp_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/ipp"
)

const everything = mfpgate.PartStatus | mfpgate.PartSupplies | mfpgate.PartCounters

// FuzzAnswer reads any body. Its corpus begins with what CUPS's printer answers.
func FuzzAnswer(f *testing.F) {
	for _, path := range recorded(f) {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(nested(8))
	f.Add(many(100))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, r, err := ipp.DecodeForTest(body, everything)
		if err == nil {
			checkBounds(t, s, r)
		}
	})
}

// recorded are the answers of CUPS's printer, by what was asked for.
func recorded(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.ipp")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recorded answers: %v", err)
	}
	return paths
}

// checkBounds fails if anything in a sighting or a reading is beyond the bounds that the package promises.
func checkBounds(t testing.TB, s mfpgate.Sighting, r mfpgate.Reading) {
	t.Helper()
	checkTexts(t, reflect.ValueOf(s))
	checkTexts(t, reflect.ValueOf(r))
	if len(r.Supplies) > 64 || len(r.Counters) > 64 || len(r.Status.Reasons) > 64 {
		t.Errorf("%d supplies, %d counters, %d reasons", len(r.Supplies), len(r.Counters), len(r.Status.Reasons))
	}
	if !slices.IsSorted(r.Status.Reasons) || len(slices.Compact(slices.Clone(r.Status.Reasons))) != len(r.Status.Reasons) {
		t.Errorf("reasons %q", r.Status.Reasons)
	}
	indexes := map[string]bool{}
	for _, supply := range r.Supplies {
		if indexes[supply.Index] || supply.Index == "" || supply.Level < mfpgate.LevelSome || supply.Max < mfpgate.LevelUnknown {
			t.Errorf("supply %+v", supply)
		}
		indexes[supply.Index] = true
	}
	names := map[string]bool{}
	for _, counter := range r.Counters {
		if counter.Value < 0 || names[counter.Name] {
			t.Errorf("counter %+v", counter)
		}
		names[counter.Name] = true
	}
}

// checkTexts walks over every string.
func checkTexts(t testing.TB, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); len(s) > 256+len("impressions-") || !utf8.ValidString(s) {
			t.Errorf("text of %d bytes: %q", len(s), s)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			checkTexts(t, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkTexts(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				checkTexts(t, v.Field(i))
			}
		}
	}
}
