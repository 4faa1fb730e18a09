package repair

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// The bounds of a Problem. They keep every sum that is formed of it within 62 bits, and its slots within memory.
const (
	minSlot    = 1000    // milliseconds
	maxInstant = 1 << 42 // milliseconds; in the year 2109
	maxJobs    = 1 << 20
	maxSteps   = 1 << 22
	maxSlots   = 1 << 22 // from the earliest place of any job to the end of the latest
	maxFree    = 1 << 40
)

// ErrProblem is what Check returns, wrapped with the place, when a problem cannot be solved as it stands.
var ErrProblem = errors.New("not a schedule that can be repaired")

// ErrInfeasible is what Feasible returns, wrapped with the place, when an answer breaks a job's bounds or the capacity, or does
// not count what it does.
var ErrInfeasible = errors.New("not an answer to this schedule")

// Check tells whether the problem is one: Slot at least 1000 ms; instants from 0 to 2^42 ms (the year 2109); durations above 0;
// capacity steps and closed spans ascending, the latter disjoint; priorities 0 to 9; at most 2^20 jobs over at most 2^22 slots.
// Its error wraps ErrProblem. Solve answers only what Check accepts.
func (p Problem) Check() error {
	if p.Slot < minSlot || p.Slot > maxInstant {
		return fmt.Errorf("slot of %d ms, not %d to %d: %w", p.Slot, minSlot, int64(maxInstant), ErrProblem)
	}
	if len(p.Jobs) > maxJobs || len(p.Capacity) > maxSteps {
		return fmt.Errorf("%d jobs and %d capacity steps, more than %d and %d: %w", len(p.Jobs), len(p.Capacity), maxJobs, maxSteps, ErrProblem)
	}
	if p.Work < 0 {
		return fmt.Errorf("work of %d, below 0: %w", p.Work, ErrProblem)
	}
	for i, step := range p.Capacity {
		if !isInstant(step.At) || step.Free > maxFree || step.Free < -maxFree || i > 0 && step.At <= p.Capacity[i-1].At {
			return fmt.Errorf("capacity step %d: at %d, free %d: %w", i, step.At, step.Free, ErrProblem)
		}
	}
	from, to := int64(maxInstant), int64(0)
	for i := range p.Jobs {
		job := &p.Jobs[i]
		if err := job.check(); err != nil {
			return fmt.Errorf("job %d: %w", i, err)
		}
		from, to = min(from, job.Start), max(to, job.Start+job.Duration)
		if job.First <= job.Last {
			from, to = min(from, job.First), max(to, job.Last+job.Duration)
		}
	}
	if len(p.Jobs) > 0 && to/p.Slot-from/p.Slot >= maxSlots-1 {
		return fmt.Errorf("jobs from %d to %d, more than %d slots of %d ms: %w", from, to, maxSlots, p.Slot, ErrProblem)
	}
	return nil
}

func (job *Job) check() error {
	switch {
	case !isInstant(job.Start) || !isInstant(job.First) || !isInstant(job.Last) || !isInstant(job.Proposed):
		return fmt.Errorf("start %d, first %d, last %d or proposed %d is no instant: %w", job.Start, job.First, job.Last, job.Proposed, ErrProblem)
	case job.Duration < 1 || job.Duration > maxInstant:
		return fmt.Errorf("duration of %d ms: %w", job.Duration, ErrProblem)
	case job.Priority < 0 || job.Priority > 9:
		return fmt.Errorf("priority %d, not 0 to 9: %w", job.Priority, ErrProblem)
	}
	for i, span := range job.Closed {
		if !isInstant(span.From) || !isInstant(span.To) || span.From >= span.To || i > 0 && span.From < job.Closed[i-1].To {
			return fmt.Errorf("closed span %d, from %d to %d: %w", i, span.From, span.To, ErrProblem)
		}
	}
	return nil
}

func isInstant(at int64) bool { return at >= 0 && at <= maxInstant }

// allows tells whether the job may be proposed a start there, whatever else is served then.
func (job *Job) allows(start, slot int64) bool {
	if start < job.First || start > job.Last || start%slot != 0 {
		return false
	}
	// The first closed span that ends after the start is the only one that the job can touch first.
	i, _ := slices.BinarySearchFunc(job.Closed, start+1, func(s Span, at int64) int { return cmp.Compare(s.To, at) })
	return i == len(job.Closed) || job.Closed[i].From >= start+job.Duration
}

// Feasible tells whether an answer may be given to anyone: every resolved job stays where it is planned or starts where it is
// allowed to, together they never exceed the capacity, unresolved jobs keep their planned start, and Moved, Displacement and
// LongestMove are what the starts say. The problem must pass Check. Its error wraps ErrInfeasible. It takes O(n log n).
func Feasible(p Problem, r Result) error {
	if len(r.Starts) != len(p.Jobs) {
		return fmt.Errorf("%d starts for %d jobs: %w", len(r.Starts), len(p.Jobs), ErrInfeasible)
	}
	unresolved := make([]bool, len(p.Jobs))
	for i, job := range r.Unresolved {
		if job < 0 || job >= len(p.Jobs) || i > 0 && job <= r.Unresolved[i-1] {
			return fmt.Errorf("unresolved job %d: %w", job, ErrInfeasible)
		}
		unresolved[job] = true
	}
	for i := range p.Jobs {
		job, start := &p.Jobs[i], r.Starts[i]
		if start == job.Start {
			continue
		}
		if unresolved[i] {
			return fmt.Errorf("job %d is unresolved and moved to %d: %w", i, start, ErrInfeasible)
		}
		if !job.allows(start, p.Slot) {
			return fmt.Errorf("job %d may not start at %d: %w", i, start, ErrInfeasible)
		}
	}
	counted := tally(p, r.Starts, r.Unresolved)
	if r.Moved != counted.Moved || r.Displacement != counted.Displacement || r.LongestMove != counted.LongestMove {
		return fmt.Errorf("moved %d, displaced %d, longest %d; counted %d, %d, %d: %w", r.Moved, r.Displacement, r.LongestMove,
			counted.Moved, counted.Displacement, counted.LongestMove, ErrInfeasible)
	}
	return feasibleLoad(p, r.Starts, unresolved)
}

// feasibleLoad sweeps over the starts and ends of the resolved jobs and over the capacity steps.
func feasibleLoad(p Problem, starts []int64, unresolved []bool) error {
	var begin, end []int64
	for i, start := range starts {
		if !unresolved[i] {
			begin, end = append(begin, start), append(end, start+p.Jobs[i].Duration)
		}
	}
	slices.Sort(begin)
	slices.Sort(end)
	load, free, step, ended := 0, 0, 0, 0
	check := func(at int64) error {
		for ended < len(end) && end[ended] <= at {
			ended++
			load--
		}
		if load > 0 && load > free {
			return fmt.Errorf("%d devices at %d, where there is room for %d: %w", load, at, free, ErrInfeasible)
		}
		return nil
	}
	for i := 0; i < len(begin); {
		at := begin[i]
		for step < len(p.Capacity) && p.Capacity[step].At <= at {
			free = p.Capacity[step].Free
			if p.Capacity[step].At < at {
				if err := check(p.Capacity[step].At); err != nil {
					return err
				}
			}
			step++
		}
		for i < len(begin) && begin[i] == at {
			i++
			load++
		}
		if err := check(at); err != nil {
			return err
		}
	}
	for ; step < len(p.Capacity); step++ {
		free = p.Capacity[step].Free
		if err := check(p.Capacity[step].At); err != nil {
			return err
		}
	}
	return nil
}

// tally counts what the starts mean; the rest of the result is left to the caller.
func tally(p Problem, starts []int64, unresolved []int) Result {
	r := Result{Starts: starts, Unresolved: unresolved}
	for i, start := range starts {
		r.count(start - p.Jobs[i].Start)
	}
	return r
}

// count adds one job's move, if it is one.
func (r *Result) count(by int64) {
	if by = max(by, -by); by > 0 {
		r.Moved++
		r.Displacement += by
		r.LongestMove = max(r.LongestMove, by)
	}
}
