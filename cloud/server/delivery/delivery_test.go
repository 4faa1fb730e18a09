package delivery_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/delivery"
)

func utc(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func TestStartsFollowLocalTime(t *testing.T) {
	for _, c := range []struct {
		rule string
		s    api.Schedule
		want string // "": refused
	}{
		{"winter", api.Schedule{Local: "2026-12-02T02:00:00", TimeZone: "Europe/Berlin"}, "2026-12-02T01:00:00Z"},
		{"summer", api.Schedule{Local: "2026-07-02T02:00:00", TimeZone: "Europe/Berlin"}, "2026-07-02T00:00:00Z"},
		{"in a gap, next", api.Schedule{Local: "2027-03-28T02:30:00", TimeZone: "Europe/Berlin"}, "2027-03-28T01:00:00Z"},
		{"in a gap, shifted", api.Schedule{Local: "2027-03-28T02:30:00", TimeZone: "Europe/Berlin", Gap: "shift"}, "2027-03-28T01:30:00Z"},
		{"in a gap, skipped", api.Schedule{Local: "2027-03-28T02:30:00", TimeZone: "Europe/Berlin", Gap: "skip"}, ""},
		{"shown twice, first", api.Schedule{Local: "2026-10-25T02:30:00", TimeZone: "Europe/Berlin"}, "2026-10-25T00:30:00Z"},
		{"shown twice, second", api.Schedule{Local: "2026-10-25T02:30:00", TimeZone: "Europe/Berlin", Fold: "second"}, "2026-10-25T01:30:00Z"},
		{"a rule that its own start does not match", api.Schedule{Local: "2026-12-02T02:00:00", TimeZone: "UTC", RRule: "FREQ=WEEKLY;BYDAY=SU"}, "2026-12-06T02:00:00Z"},
		{"an instant alone", api.Schedule{StartUTC: ptr(utc("2026-12-02T02:00:00Z"))}, "2026-12-02T02:00:00Z"},
		{"a local time outranks it", api.Schedule{Local: "2026-12-02T02:00:00", TimeZone: "UTC", StartUTC: ptr(utc("2026-01-01T00:00:00Z"))}, "2026-12-02T02:00:00Z"},
		{"nothing", api.Schedule{}, ""},
		{"no zone", api.Schedule{Local: "2026-12-02T02:00:00"}, ""},
		{"another century", api.Schedule{StartUTC: ptr(utc("2150-12-02T02:00:00Z"))}, ""},
	} {
		got, err := delivery.Resolve(c.s)
		if (err != nil) != (c.want == "") || err == nil && !got.StartUTC.Equal(utc(c.want)) {
			t.Errorf("%s: got %v, %v, want %s", c.rule, got.StartUTC, err, c.want)
		}
	}
}

func ptr[T any](v T) *T { return &v }

func TestMovedStartsKeepTheirWords(t *testing.T) {
	berlin, err := delivery.Resolve(api.Schedule{Local: "2026-10-25T01:00:00", TimeZone: "Europe/Berlin"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule        string
		from        api.Schedule
		to          string
		local, fold string
	}{
		{"local stays local", berlin, "2026-10-25T08:00:00Z", "2026-10-25T09:00:00", ""},
		{"the hour that is shown twice, first", berlin, "2026-10-25T00:30:00Z", "2026-10-25T02:30:00", ""},
		{"the hour that is shown twice, second", berlin, "2026-10-25T01:30:00Z", "2026-10-25T02:30:00", "second"},
		{"UTC stays UTC", api.Schedule{StartUTC: ptr(utc("2026-10-25T00:00:00Z"))}, "2026-10-25T08:00:00Z", "", ""},
	} {
		got := delivery.Moved(c.from, utc(c.to))
		if !got.StartUTC.Equal(utc(c.to)) || got.Local != c.local || got.Fold != c.fold {
			t.Errorf("%s: got %+v", c.rule, got)
		}
	}
}

func TestWindowsAreHalfOpen(t *testing.T) {
	start := utc("2026-12-02T01:00:00Z")
	d := mfpgate.Delivery{EarliestStart: start, LatestEnd: start.Add(time.Hour), Blackouts: []mfpgate.Interval{{From: start.Add(30 * time.Minute), To: start.Add(40 * time.Minute)}},
		Duration: mfpgate.DurationEstimate{P50: 5 * time.Minute, P95: 10 * time.Minute}}
	for after, fits := range map[time.Duration]bool{
		-time.Millisecond: false, 0: true, 20 * time.Minute: true, 20*time.Minute + time.Millisecond: false, 39 * time.Minute: false, 40 * time.Minute: true,
		50 * time.Minute: true, 50*time.Minute + time.Millisecond: false,
	} {
		if err := delivery.Window(d, start.Add(after)); (err == nil) != fits {
			t.Errorf("%s after its earliest start: %v, want it to fit: %t", after, err, fits)
		}
	}
}

func TestOnlyNewOverloadCounts(t *testing.T) {
	band := func(from, to int, excess time.Duration, peak int) mfpgate.Band {
		return mfpgate.Band{From: time.Unix(int64(from), 0), To: time.Unix(int64(to), 0), Excess: excess, Peak: peak, Capacity: 10}
	}
	for _, c := range []struct {
		rule          string
		before, after []mfpgate.Band
		want          int
	}{
		{"none at all", nil, nil, 0},
		{"a new one", nil, []mfpgate.Band{band(0, 10, 10, 11)}, 1},
		{"the same", []mfpgate.Band{band(0, 10, 10, 11)}, []mfpgate.Band{band(0, 10, 10, 11)}, 0},
		{"a smaller one", []mfpgate.Band{band(0, 10, 10, 12)}, []mfpgate.Band{band(2, 5, 3, 11)}, 0},
		{"one that falls into two", []mfpgate.Band{band(0, 10, 10, 12)}, []mfpgate.Band{band(0, 3, 3, 11), band(6, 9, 3, 11)}, 0},
		{"a longer one", []mfpgate.Band{band(0, 10, 10, 11)}, []mfpgate.Band{band(0, 12, 12, 11)}, 1},
		{"a higher one, as large", []mfpgate.Band{band(0, 10, 10, 11)}, []mfpgate.Band{band(0, 5, 10, 12)}, 1},
		{"less here, new there", []mfpgate.Band{band(0, 10, 100, 20)}, []mfpgate.Band{band(0, 5, 10, 12), band(20, 30, 10, 11)}, 1},
	} {
		if got := delivery.Added(c.before, c.after); len(got) != c.want {
			t.Errorf("%s: %s", c.rule, cmp.Diff(c.want, len(got)))
		}
	}
}
