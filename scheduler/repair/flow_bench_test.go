package repair

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// fleetWeek is a week of a fleet whose deliveries are planned in batches at round hours, with windows of some hours around
// them, over a capacity that is smaller by day.
func fleetWeek(jobs int, slot int64, utilisation float64, short bool) Problem {
	const hour, week = 3_600_000, 168 * 3_600_000
	rng := rand.New(rand.NewPCG(uint64(jobs), 7))
	p := Problem{Slot: slot, Work: 1 << 30}
	duration := slot
	if short {
		duration = slot * 3 / 4
	}
	capacity := float64(jobs) * float64(duration) / (week * utilisation)
	for h := range int64(168) {
		free := int(2 * capacity)
		if h%24 >= 6 && h%24 < 22 {
			free = int(0.5 * capacity)
		}
		p.Capacity = append(p.Capacity, Step{1_800_000_000_000/slot*slot + h*hour, max(1, free)})
	}
	base := p.Capacity[0].At
	for range jobs {
		night := rng.Int64N(7)
		h := (night*24 + 22 + rng.Int64N(8)) % 168
		if rng.IntN(5) == 0 {
			h = rng.Int64N(168)
		}
		start := base + h*hour
		job := Job{Start: start, Duration: duration, Priority: rng.IntN(3), Group: rng.IntN(50)}
		job.First = max(base, start-rng.Int64N(5)*hour)
		job.Last = min(base+week-slot, start+(1+rng.Int64N(8))*hour)
		p.Jobs = append(p.Jobs, job)
	}
	return p
}

func BenchmarkFlow(b *testing.B) {
	for _, size := range []struct {
		jobs        int
		minutes     int64
		utilisation float64
	}{{1_000, 5, .5}, {10_000, 5, .5}, {100_000, 5, .5}, {100_000, 5, .8}, {100_000, 15, .8}, {100_000, 1, .5}, {1_000_000, 5, .5}} {
		b.Run(fmt.Sprintf("jobs=%d/slot=%dm/use=%.1f", size.jobs, size.minutes, size.utilisation), func(b *testing.B) {
			p := fleetWeek(size.jobs, size.minutes*60_000, size.utilisation, false)
			var r Result
			for b.Loop() {
				r = Solve(p)
			}
			if r.Solver != "flow" {
				b.Fatal(r.Solver)
			}
			b.ReportMetric(float64(len(r.Unresolved)), "unresolved")
			b.ReportMetric(float64(r.Moved), "moved")
			b.ReportMetric(float64(r.Displacement)/float64(p.Slot), "slots")
		})
	}
}
