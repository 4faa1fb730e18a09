package load_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mfpgate/mfpgate/scheduler/load"
)

// problemOf makes a small problem of random numbers: times of some tens of milliseconds, so that all coincidences occur.
func problemOf(next func(n int) int) load.Problem {
	p := load.Problem{From: int64(next(8)), Devices: 1 + next(10), MinExcess: next(4)}
	p.To = p.From + int64(next(50))
	for range 1 + next(4) {
		p.Movable = append(p.Movable, next(3) > 0)
	}
	at := int64(next(12)) - 4
	for range next(4) {
		p.Capacity = append(p.Capacity, load.Step{At: at, Devices: next(5) - next(2)})
		at += 1 + int64(next(20))
	}
	for range next(16) {
		o := load.Occurrence{Start: int64(next(70) - 10), Duration: int32(next(25)), Source: int32(next(len(p.Movable)))}
		o.Likely = int32(next(int(o.Duration) + 1))
		if o.Device = int32(next(p.Devices)); next(6) == 0 {
			o.Device = load.Anonymous(1 + next(3))
		}
		p.Occurrences = append(p.Occurrences, o)
	}
	if next(2) == 0 { // devices of one's own, as most have
		p.Devices = len(p.Occurrences)
		for i := range p.Occurrences {
			if p.Occurrences[i].Device >= 0 {
				p.Occurrences[i].Device = int32(i)
			}
		}
	}
	return p
}

// check holds Detect and the timeline against counting, and returns the number of bands.
func check(tb testing.TB, p load.Problem) int {
	tb.Helper()
	got, err := load.Detect(p)
	if err != nil {
		tb.Fatal(err)
	}
	b := brute{p}
	if diff := cmp.Diff(b.bands(), got, cmpopts.IgnoreFields(load.Band{}, "MustLeave", "Probability"), cmpopts.EquateEmpty()); diff != "" {
		tb.Fatalf("%+v (-want +got):\n%s", p, diff)
	}
	for _, band := range got {
		sum := 0
		for _, c := range band.Contributors {
			sum += c.PeakShare
		}
		if sum != band.Peak {
			tb.Fatalf("%+v: shares of %d do not add up to the peak of %+v", p, sum, band)
		}
		if least, ok := b.mustLeave(band); ok {
			if exact := !shared(p); band.MustLeave > least || exact && band.MustLeave != least {
				tb.Fatalf("%+v: must leave %d, want %d (exactly: %v), of %+v", p, band.MustLeave, least, exact, band)
			}
		}
		if band.Certainty == load.Certain {
			if band.Probability != 1 {
				tb.Fatalf("%+v: probability %v of the certain %+v", p, band.Probability, band)
			}
		} else if want := b.probability(band); math.Abs(band.Probability-want) > 1e-9 {
			tb.Fatalf("%+v: probability %v, want %v, of %+v", p, band.Probability, want, band)
		}
	}
	checkTimeline(tb, p)
	return len(got)
}

// shared reports whether occurrences of one device overlap.
func shared(p load.Problem) bool {
	for i, a := range p.Occurrences {
		for _, b := range p.Occurrences[:i] {
			if a.Device >= 0 && a.Device == b.Device && max(a.Start, b.Start) < min(a.Start+int64(a.Duration), b.Start+int64(b.Duration)) {
				return true
			}
		}
	}
	return false
}

func checkTimeline(tb testing.TB, p load.Problem) {
	tb.Helper()
	timeline, err := load.NewTimeline(p)
	if err != nil {
		tb.Fatal(err)
	}
	b := brute{p}
	var want []load.Point
	for t := p.From; t < p.To; t++ {
		if at := (load.Point{At: t, Load: b.count(t, b.active), Limit: b.room(t)}); t == p.From || want[len(want)-1].Load != at.Load || want[len(want)-1].Limit != at.Limit {
			want = append(want, at)
		}
	}
	if diff := cmp.Diff(want, slices.Collect(timeline.Steps())); diff != "" {
		tb.Fatalf("%+v: steps (-want +got):\n%s", p, diff)
	}
	from, to, slot := p.From-1+int64(len(want)%4), p.To+1-int64(len(want)%3), int64(1+len(want)%7)
	var slots []load.Slot
	for at := max(from, p.From); at < min(to, p.To); at += slot {
		s := load.Slot{From: at, To: min(at+slot, to, p.To), Limit: 1 << 30}
		for t := s.From; t < s.To; t++ {
			planned, room := b.count(t, b.active), b.room(t)
			s.Load, s.Limit, s.Over = max(s.Load, planned), min(s.Limit, room), s.Over || planned > room
		}
		slots = append(slots, s)
	}
	if diff := cmp.Diff(slots, slices.Collect(timeline.Series(from, to, slot))); diff != "" {
		tb.Fatalf("%+v: series (-want +got):\n%s", p, diff)
	}
}

func TestDetectEqualsCounting(t *testing.T) {
	bands, overlapping := 0, 0
	for seed := range uint64(4000) {
		p := problemOf(rand.New(rand.NewPCG(seed, 1)).IntN)
		bands += check(t, p)
		if shared(p) {
			overlapping++
		}
	}
	if bands < 4000 || overlapping < 500 {
		t.Errorf("only %d bands, and overlapping devices in %d problems: the problems are too easy", bands, overlapping)
	}
}

func FuzzDetect(f *testing.F) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 2))
		data := make([]byte, 100)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, problemOf(func(n int) int {
			if len(data) == 0 || n == 0 {
				return 0
			}
			v := int(data[0]) % n
			data = data[1:]
			return v
		}))
	})
}
