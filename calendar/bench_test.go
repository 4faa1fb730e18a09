package calendar_test

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/teambition/rrule-go"

	"github.com/mfpgate/mfpgate/calendar"
)

// BenchmarkDaily prints what one occurrence of a daily rule at 02:15 in Berlin costs: ours, and the libraries in the same run.
func BenchmarkDaily(b *testing.B) {
	loc := MustZone(b, "Europe/Berlin")
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, loc)
	to := from.AddDate(10, 0, 0)
	per := func(b *testing.B, once func() int) {
		n := 0
		for b.Loop() {
			n += once()
		}
		if n < b.N*3000 {
			b.Fatalf("%d occurrences in %d runs", n, b.N)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/occurrence")
		b.ReportMetric(0, "ns/op")
	}
	ours, err := calendar.ParseCron("15 2 * * *", loc, calendar.Policy{})
	if err != nil {
		b.Fatal(err)
	}
	count := func(next func(time.Time) time.Time) int {
		n := 0
		for at := next(from); at.Before(to); at = next(at) {
			n++
		}
		return n
	}
	between := func(r calendar.Recurrence) int {
		n := 0
		for range r.Between(from, to) {
			n++
		}
		return n
	}
	b.Run("cron/Between", func(b *testing.B) { per(b, func() int { return between(ours) }) })
	ruled := MustRRULE(b, "2026-01-01T02:15:00", "FREQ=DAILY", "Europe/Berlin")
	b.Run("rrule/Between", func(b *testing.B) { per(b, func() int { return between(ruled) }) })
	b.Run("cron/Next", func(b *testing.B) { b.ReportAllocs(); per(b, func() int { return count(ours.Next) }) })
	b.Run("robfig/Next", func(b *testing.B) {
		schedule, err := cron.ParseStandard("CRON_TZ=Europe/Berlin 15 2 * * *")
		if err != nil {
			b.Fatal(err)
		}
		per(b, func() int { return count(schedule.Next) })
	})
	b.Run("rrule-go/Iterator", func(b *testing.B) {
		r, err := rrule.NewRRule(rrule.ROption{Freq: rrule.DAILY, Dtstart: time.Date(2026, 1, 1, 2, 15, 0, 0, loc)})
		if err != nil {
			b.Fatal(err)
		}
		per(b, func() int {
			n := 0
			next := r.Iterator()
			for at, ok := next(); ok && at.Before(to); at, ok = next() {
				n++
			}
			return n
		})
	})
}
