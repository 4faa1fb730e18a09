package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

func TestCapacityFollowsTheContractsCalendar(t *testing.T) {
	rule := func(rrule, start, end, zone string, n int) mfpgate.CapacityRule {
		return mfpgate.CapacityRule{RRule: rrule, Start: start, End: end, TimeZone: zone, MaxConcurrent: n}
	}
	for _, c := range []struct {
		rule     string
		max      int
		calendar []mfpgate.CapacityRule
		from, to string
		want     []string
	}{
		{"no limit", 0, nil, "2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", []string{"12-01T00:00 unlimited"}},
		{"a rule's own figure holds inside it, larger too", 50, []mfpgate.CapacityRule{rule("FREQ=DAILY", "08:00", "18:00", "UTC", 60)},
			"2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", []string{"12-01T00:00 50", "12-01T08:00 60", "12-01T18:00 50"}},
		{"the smallest of rules that overlap", 0, []mfpgate.CapacityRule{rule("FREQ=DAILY", "08:00", "18:00", "UTC", 30), rule("FREQ=DAILY", "12:00", "20:00", "UTC", 40)},
			"2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", []string{"12-01T00:00 unlimited", "12-01T08:00 30", "12-01T18:00 40", "12-01T20:00 unlimited"}},
		{"a rule may serve none", 5, []mfpgate.CapacityRule{rule("FREQ=DAILY", "23:00", "24:00", "UTC", 0)},
			"2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z", []string{"12-01T00:00 5", "12-01T23:00 0"}},
		{"a night belongs to the day on which it begins", 9, []mfpgate.CapacityRule{rule("FREQ=WEEKLY;BYDAY=FR", "22:00", "06:00", "UTC", 3)},
			"2026-12-04T00:00:00Z", "2026-12-06T00:00:00Z", []string{"12-04T00:00 9", "12-04T22:00 3", "12-05T06:00 9"}},
		{"one that has begun holds", 9, []mfpgate.CapacityRule{rule("FREQ=WEEKLY;BYDAY=FR", "22:00", "06:00", "UTC", 3)},
			"2026-12-05T01:00:00Z", "2026-12-05T12:00:00Z", []string{"12-05T01:00 3", "12-05T06:00 9"}},
		{"the same start and end is a day", 9, []mfpgate.CapacityRule{rule("FREQ=WEEKLY;BYDAY=FR", "06:00", "06:00", "UTC", 3)},
			"2026-12-04T00:00:00Z", "2026-12-06T00:00:00Z", []string{"12-04T00:00 9", "12-04T06:00 3", "12-05T06:00 9"}},
		{"a rule's times do not count", 9, []mfpgate.CapacityRule{rule("FREQ=WEEKLY;BYDAY=FR;BYHOUR=9,11", "22:00", "23:00", "UTC", 3)},
			"2026-12-04T00:00:00Z", "2026-12-06T00:00:00Z", []string{"12-04T00:00 9", "12-04T22:00 3", "12-04T23:00 9"}},
		{"a rule ends", 9, []mfpgate.CapacityRule{rule("FREQ=DAILY;UNTIL=20261204T120000Z", "22:00", "23:00", "UTC", 3)},
			"2026-12-04T00:00:00Z", "2026-12-06T00:00:00Z", []string{"12-04T00:00 9", "12-04T22:00 3", "12-04T23:00 9"}},
		{"days are local", 9, []mfpgate.CapacityRule{rule("FREQ=WEEKLY;BYDAY=SA", "00:00", "24:00", "Asia/Tokyo", 3)},
			"2026-12-04T00:00:00Z", "2026-12-06T00:00:00Z", []string{"12-04T00:00 9", "12-04T15:00 3", "12-05T15:00 9"}},
		{"the zone is the contract's", 9, []mfpgate.CapacityRule{rule("FREQ=DAILY", "01:00", "02:00", "", 3)},
			"2026-12-04T00:00:00Z", "2026-12-04T12:00:00Z", []string{"12-04T00:00 3", "12-04T01:00 9"}},
		{"the hour that comes twice counts twice", 9, []mfpgate.CapacityRule{rule("FREQ=DAILY", "02:00", "02:30", "Europe/Berlin", 3)},
			"2026-10-24T22:00:00Z", "2026-10-25T06:00:00Z", []string{"10-24T22:00 9", "10-25T00:00 3", "10-25T00:30 9", "10-25T01:00 3", "10-25T01:30 9"}},
		{"a night with it is nine hours", 9, []mfpgate.CapacityRule{rule("FREQ=WEEKLY;BYDAY=SA", "22:00", "06:00", "Europe/Berlin", 3)},
			"2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", []string{"10-24T12:00 9", "10-24T20:00 3", "10-25T05:00 9"}},
		{"what the clock skips is not", 9, []mfpgate.CapacityRule{rule("FREQ=DAILY", "02:00", "03:00", "Europe/Berlin", 3)},
			"2026-03-28T22:00:00Z", "2026-03-29T06:00:00Z", []string{"03-28T22:00 9"}},
	} {
		steps, err := plan.Capacity(mfpgate.Contract{MaxConcurrent: c.max, CapacityCalendar: c.calendar, TimeZone: "Europe/Berlin"}, at(c.from), at(c.to))
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		var got []string
		for _, s := range steps {
			figure := fmt.Sprint(s.Devices)
			if s.Devices == plan.Unlimited {
				figure = "unlimited"
			}
			got = append(got, s.At.Format("01-02T15:04 ")+figure)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.rule, diff)
		}
	}
}

func TestTheSmallerCapacityHolds(t *testing.T) {
	s := crowd(3, 3)
	s.Capacity = []mfpgate.CapacityStep{{At: at("2026-12-02T01:10:00Z"), Devices: 2}, {At: at("2026-12-02T01:12:00Z"), Devices: 100}}
	bands, _, err := plan.Detect(s)
	if err != nil || len(bands) != 1 || !bands[0].From.Equal(at("2026-12-02T01:10:00Z")) || bands[0].To.Sub(bands[0].From) != 2*time.Minute || bands[0].Capacity != 2 {
		t.Errorf("got %v %+v", err, bands)
	}
}

// TestAWindowOverTheHourThatComesTwice plans into both showings of 02:30, which are an hour apart.
func TestAWindowOverTheHourThatComesTwice(t *testing.T) {
	s := crowd(2, 1)
	s.Now = at("2026-10-24T12:00:00Z")
	for i, fold := range []string{"first", "second"} {
		s.Deliveries[i].Schedule = mfpgate.LocalSchedule{Local: "2026-10-25T02:30:00", TimeZone: "Europe/Berlin", Fold: fold}
		s.Deliveries[i].LatestEnd = at("2026-10-25T02:00:00Z") // 03:00 after the change
	}
	if p := made(t, s); len(p.Bands) != 0 {
		t.Fatalf("an hour apart: got %s", p.Bands[0].Text)
	}
	s.Deliveries[1].Schedule.Fold = ""
	p := made(t, s)
	want := "02:30+02:00-02:46+02:00 Berlin time on 25 Oct: 2 devices at once where 1 can be served (2 of batch B1); at least 1 delivery must move"
	if len(p.Bands) != 1 || p.Bands[0].Text != want {
		t.Errorf("both at the first showing: got %+v", p.Bands)
	}
}
