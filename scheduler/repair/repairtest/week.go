package repairtest

import (
	"math/rand/v2"

	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// Week makes a week of n deliveries of one slot each, planned in batches at round hours of the night and a fifth of them by day, with
// windows of some hours around them, where by day there is a quarter of the room. utilisation is that of the week's mean room; at
// 0.5 the crowded nights cannot hold all.
func Week(seed uint64, n int, utilisation float64) repair.Problem {
	const hour, hours = 3_600_000, 168
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	p := repair.Problem{Slot: Slot, Work: 1_000_000_000}
	mean := float64(n) * float64(Slot) / (hours * hour * utilisation)
	for h := range int64(hours) {
		free := int(2 * mean)
		if h%24 >= 6 && h%24 < 22 {
			free = int(mean / 2)
		}
		p.Capacity = append(p.Capacity, repair.Step{At: Origin + h*hour, Free: max(1, free)})
	}
	for range n {
		h := (rng.Int64N(7)*24 + 22 + rng.Int64N(8)) % hours
		if rng.IntN(5) == 0 {
			h = rng.Int64N(hours)
		}
		start := Origin + h*hour
		p.Jobs = append(p.Jobs, repair.Job{
			Start: start, Duration: Slot, Priority: rng.IntN(3), Group: rng.IntN(50),
			First: max(Origin, start-rng.Int64N(5)*hour), Last: min(Origin+hours*hour-Slot, start+(1+rng.Int64N(8))*hour),
		})
	}
	return p
}
