package load_test

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/scheduler/load"
)

func TestProblemsThatDoNotFitAreRefused(t *testing.T) {
	good := func() load.Problem {
		return load.Problem{
			Occurrences: []load.Occurrence{{Start: 10, Duration: 5, Likely: 5}},
			Capacity:    []load.Step{{At: 0, Devices: 1}, {At: 50, Devices: 2}},
			To:          100, Devices: 1, Movable: []bool{true},
		}
	}
	if _, err := load.Detect(good()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		rule  string
		spoil func(p *load.Problem)
	}{
		{"a horizon must not run backwards", func(p *load.Problem) { p.From = 101 }},
		{"a horizon must lie in years that are written with four digits", func(p *load.Problem) { p.To = math.MaxInt64 }},
		{"an occurrence must not start before the year 1", func(p *load.Problem) { p.Occurrences[0].Start = math.MinInt64 }},
		{"an occurrence must not end before it starts", func(p *load.Problem) { p.Occurrences[0].Duration = -1 }},
		{"the p50 end must not be after the planned end", func(p *load.Problem) { p.Occurrences[0].Likely = 6 }},
		{"the p50 end must not be before the start", func(p *load.Problem) { p.Occurrences[0].Likely = -1 }},
		{"a device must be one of those that there are", func(p *load.Problem) { p.Occurrences[0].Device = 1 }},
		{"anonymous devices are bounded in number", func(p *load.Problem) { p.Occurrences[0].Device = load.Anonymous(load.MaxAnonymous + 1) }},
		{"a source must be one of those that there are", func(p *load.Problem) { p.Occurrences[0].Source = 1 }},
		{"a source must not be negative", func(p *load.Problem) { p.Occurrences[0].Source = -1 }},
		{"capacity steps must ascend", func(p *load.Problem) { p.Capacity[1].At = 0 }},
		{"capacity is bounded", func(p *load.Problem) { p.Capacity[1].Devices = math.MinInt }},
		{"the number of devices must not be negative", func(p *load.Problem) { p.Devices = -1 }},
		{"the excess must not overflow", func(p *load.Problem) {
			p.From, p.To = -60000000000000, 250000000000000
			p.Capacity[0].Devices = -1 << 40
		}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			p := good()
			tt.spoil(&p)
			if bands, err := load.Detect(p); !errors.Is(err, load.ErrProblem) {
				t.Errorf("Detect gives %v, %v; want ErrProblem", bands, err)
			}
			if _, err := load.NewTimeline(p); !errors.Is(err, load.ErrProblem) {
				t.Errorf("NewTimeline gives %v; want ErrProblem", err)
			}
		})
	}
}

func TestExpandTakesWhatIsInTheHorizon(t *testing.T) {
	loc, err := calendar.ParseZone("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	r, err := calendar.ParseCron("30 2 * * *", loc, calendar.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	millis := func(s string) int64 {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixMilli()
	}
	o := load.Occurrence{Duration: 600_000, Likely: 300_000, Device: 7, Source: 3}
	at := func(s string) load.Occurrence {
		o := o
		o.Start = millis(s)
		return o
	}
	for _, tt := range []struct {
		rule, from, to string
		want           []load.Occurrence
	}{
		{"the clock change is the recurrence's", "2026-03-28T12:00:00+01:00", "2026-03-30T12:00:00+02:00",
			[]load.Occurrence{at("2026-03-29T03:00:00+02:00"), at("2026-03-30T02:30:00+02:00")}},
		{"what started before and still runs belongs to it", "2026-06-01T02:39:59+02:00", "2026-06-01T12:00:00+02:00",
			[]load.Occurrence{at("2026-06-01T02:30:00+02:00")}},
		{"what has just ended does not", "2026-06-01T02:40:00+02:00", "2026-06-01T12:00:00+02:00", nil},
		{"what starts at its end does not", "2026-06-01T03:00:00+02:00", "2026-06-02T02:30:00+02:00", nil},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, load.Expand(nil, r, millis(tt.from), millis(tt.to), o)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Ten jobs start together where there is room for four, and two more devices come later: all figures are worked out by hand.
func TestBandOfOneBatch(t *testing.T) {
	const minute = 60_000
	p := load.Problem{Capacity: []load.Step{{At: 0, Devices: 4}}, To: 60 * minute, Devices: 10, Movable: []bool{true, false}}
	for device := range int32(10) {
		p.Occurrences = append(p.Occurrences, load.Occurrence{Start: 10 * minute, Duration: 16 * minute, Likely: 9 * minute, Device: device})
	}
	p.Occurrences = append(p.Occurrences, load.Occurrence{Start: 12 * minute, Duration: minute, Likely: minute, Device: load.Anonymous(2), Source: 1})
	got, err := load.Detect(p)
	if err != nil {
		t.Fatal(err)
	}
	want := []load.Band{
		{From: 10 * minute, To: 19 * minute, Capacity: 4, Peak: 12, PeakAt: 12 * minute, Excess: (9*6 + 2) * minute, Certainty: load.Certain, Probability: 1,
			MustLeave: 8, Contributors: []load.Contributor{{Source: 0, Count: 10, PeakShare: 10}, {Source: 1, Count: 1, PeakShare: 2}}},
		// At its p50 end each of ten runs on with one half: more than four of ten is 638/1024.
		{From: 19 * minute, To: 26 * minute, Capacity: 4, Peak: 10, PeakAt: 19 * minute, Excess: 7 * 6 * minute, Certainty: load.Risk, Probability: 638. / 1024,
			MustLeave: 6, Contributors: []load.Contributor{{Source: 0, Count: 10, PeakShare: 10}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, want := want[0].Excess, int64(3360_000); got != want {
		t.Errorf("excess of %v device-seconds, want %v", got, want)
	}
	timeline, err := load.NewTimeline(p)
	if err != nil {
		t.Fatal(err)
	}
	slots := slices.Collect(timeline.Series(0, 30*minute, 15*minute))
	if diff := cmp.Diff([]load.Slot{{0, 15 * minute, 12, 4, true}, {15 * minute, 30 * minute, 10, 4, true}}, slots); diff != "" {
		t.Error(diff)
	}
}
