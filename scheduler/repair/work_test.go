package repair

import (
	"testing"
	"time"
)

// What a problem costs is bounded by its Work however its windows are made. The times here are thirty times what the bounds
// allow, and a thirtieth of what such problems took without them.
func TestWorkBoundsAdversaries(t *testing.T) {
	const minute, hour = 60_000, 3_600_000
	const start = 1_796_169_600_000
	within := func(t *testing.T, most time.Duration, solve func()) {
		began := time.Now()
		solve()
		if took := time.Since(began); took > most {
			t.Errorf("took %v, more than %v", took, most)
		}
	}
	t.Run("each job has blackouts of its own, all in one overload", func(t *testing.T) {
		p := Problem{Slot: 5 * minute, Work: 1, Capacity: []Step{{At: 0, Free: 5}}}
		all := make([]int32, 20_000)
		for i := range all {
			all[i] = int32(i)
			job := Job{Start: start, Duration: 5 * minute, First: start - 24*hour, Last: start + 12*24*hour}
			for k := range int64(64) {
				from := start + k*hour + int64(i%37)*minute
				job.Closed = append(job.Closed, Span{from, from + 50*minute})
			}
			p.Jobs = append(p.Jobs, job)
		}
		within(t, 5*time.Second, func() {
			if _, _, _, ok := solveFlow(p, all, 50_000_000); ok {
				t.Error("the flow answered: that is more than the work")
			}
		})
	})
	t.Run("few jobs that last long and may go to millions of places", func(t *testing.T) {
		p := Problem{Slot: 10_000, Work: 50_000_000, Capacity: []Step{{At: 0, Free: 5}}}
		for i := range int64(40) {
			p.Jobs = append(p.Jobs, Job{Start: start, Duration: (60 + i) * hour, First: start - hour, Last: start + 300*24*hour})
		}
		within(t, 20*time.Second, func() {
			if r := Solve(p); len(r.Unresolved) > 0 || Feasible(p, r) != nil {
				t.Errorf("%d unresolved, %v", len(r.Unresolved), Feasible(p, r))
			}
		})
	})
}
