package repair

import (
	"math"
	"math/rand/v2"
	"testing"
)

// fleetLong is a fleet whose deliveries take from minutes to hours.
func fleetLong(jobs int, utilisation float64) Problem {
	const slot = 300_000
	p := fleetWeek(jobs, slot, utilisation/2.5, false)
	rng := rand.New(rand.NewPCG(uint64(jobs), 8))
	for i := range p.Jobs {
		p.Jobs[i].Duration = max(60_000, int64(slot*2*math.Exp(rng.NormFloat64()*.6)))
		p.Jobs[i].Last += p.Jobs[i].Duration
	}
	return p
}

// BenchmarkBounds is about all three bounds together, on 100 000 jobs in one part.
func BenchmarkBounds(b *testing.B) {
	for _, utilisation := range []float64{.6, 1} {
		p := fleetLong(100_000, utilisation)
		part := newSolvePart(p, bruteJobs(p))
		var left int
		b.Run("", func(b *testing.B) {
			for b.Loop() {
				part.counted = false
				room := part.room()
				left, _ = boundEnergy(part.problem, part.jobs, room)
				boundDisplacement(part.problem, part.jobs, room, part.count(), left)
			}
			b.ReportMetric(float64(left), "unresolved")
			b.ReportMetric(float64(part.evictions), "evictions")
		})
	}
}
