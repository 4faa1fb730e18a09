package plan

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"sort"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/load"
	"github.com/mfpgate/mfpgate/scheduler/repair"
)

// answer is a repair that is being explained.
type answer struct {
	r          *room
	jobs       []repair.Job
	starts     []int64
	unresolved []int
	proofs     []repair.Certificate
	bands      []mfpgate.Band
	why        []why // by job
	quality    mfpgate.Quality
	ground     []load.Point // the layout that was solved on
	kept       profile      // everything in its new place, what is unresolved left aside
	longest    int64        // duration of a job
	urgent     int          // the highest priority
	byStart    []int        // jobs by planned start
}

// why is the reason of a move.
type why struct {
	code    string
	band    int // in bands, -1: none
	freedBy int // job, -1: none
}

func (r *room) answer(p repair.Problem, result repair.Result, bands []mfpgate.Band, ground []load.Point) *answer {
	a := r.frame(p.Jobs, slices.Clone(result.Starts), bands)
	a.ground = ground
	a.unresolved, a.proofs = result.Unresolved, result.Certificates
	a.settle()
	if a.spare() > 0 { // fewer of them could remain, and nothing is known of the moves of as many
		result.Bound, result.Optimal = repair.Bound{Unresolved: result.Bound.Unresolved}, false
	}
	a.rate(p, result)
	a.lay()
	return a
}

// frame prepares an answer whose starts are known.
func (r *room) frame(jobs []repair.Job, starts []int64, bands []mfpgate.Band) *answer {
	a := &answer{r: r, jobs: jobs, starts: starts, bands: bands, ground: r.fixed}
	a.byStart = make([]int, len(jobs))
	for k := range jobs {
		a.byStart[k] = k
		a.longest, a.urgent = max(a.longest, jobs[k].Duration), max(a.urgent, jobs[k].Priority)
	}
	slices.SortStableFunc(a.byStart, func(x, y int) int { return cmp.Compare(jobs[x].Start, jobs[y].Start) })
	return a
}

// lay puts everything that is resolved into the profile.
func (a *answer) lay() {
	var spans []span
	for k := range a.jobs {
		if _, gone := slices.BinarySearch(a.unresolved, k); !gone {
			spans = append(spans, a.place(k))
		}
	}
	a.kept = profile(a.ground).with(spans)
}

func (a *answer) item(k int) *item { return &a.r.c.items[a.r.jobs[k]] }

func (a *answer) planned(k int) span {
	return span{a.jobs[k].Start, a.jobs[k].Start + a.jobs[k].Duration}
}

func (a *answer) place(k int) span { return span{a.starts[k], a.starts[k] + a.jobs[k].Duration} }

func (a *answer) moved(k int) bool { return a.starts[k] != a.jobs[k].Start }

// bandOf returns the first band that a span touches, or -1.
func bandOf(bands []mfpgate.Band, s span) int {
	i := sort.Search(len(bands), func(i int) bool { return bands[i].To.UnixMilli() > s.from })
	if i < len(bands) && bands[i].From.UnixMilli() < s.to {
		return i
	}
	return -1
}

// settle finds the reason of each move: its delivery was in a band, or makes room for one that moves with a reason. A move
// without one is taken back: where the delivery was there was room, and nobody who has a reason has come.
func (a *answer) settle() {
	a.why = make([]why, len(a.jobs))
	var queue, idle []int
	for _, k := range a.byStart {
		if !a.moved(k) {
			continue
		}
		if b := bandOf(a.bands, a.planned(k)); b >= 0 {
			a.why[k] = why{mfpgate.ChangeOverload, b, -1}
			queue = append(queue, k)
		} else {
			idle = append(idle, k)
		}
	}
	for len(queue) > 0 && len(idle) > 0 {
		k := queue[0]
		queue = queue[1:]
		came := a.place(k)
		first := sort.Search(len(idle), func(i int) bool { return a.jobs[idle[i]].Start > came.from-a.longest })
		last := sort.Search(len(idle), func(i int) bool { return a.jobs[idle[i]].Start >= came.to })
		for i := first; i < last; i++ {
			other := idle[i]
			if a.why[other].code != "" || a.planned(other).to <= came.from {
				continue
			}
			code := mfpgate.ChangeSwap
			if a.why[k].code != mfpgate.ChangeOverload {
				code = mfpgate.ChangeChain
			}
			a.why[other] = why{code, a.why[k].band, k}
			queue = append(queue, other)
		}
	}
	for _, k := range idle {
		if a.why[k].code == "" {
			a.starts[k] = a.jobs[k].Start
		}
	}
}

// rate says how good the answer is.
func (a *answer) rate(p repair.Problem, result repair.Result) {
	q := mfpgate.Quality{
		Unresolved: len(a.unresolved), UnresolvedBound: result.Bound.Unresolved, MovedBound: result.Bound.Moved,
		DisplacementBound: time.Duration(result.Bound.Displacement) * time.Millisecond, Optimal: result.Optimal,
		Solver: result.Solver, Seed: seed(p),
	}
	for k := range a.jobs {
		if a.moved(k) {
			q.Moved++
			q.Displacement += time.Duration(distance(a.starts[k], a.jobs[k].Start)) * time.Millisecond
		}
	}
	if !q.Optimal {
		slot := time.Duration(a.r.c.slot) * time.Millisecond
		q.Gap = max(ratio(q.Unresolved-q.UnresolvedBound, q.UnresolvedBound), ratio(q.Moved-q.MovedBound, q.MovedBound),
			ratio(int((q.Displacement-q.DisplacementBound)/slot), int(q.DisplacementBound/slot)))
	}
	a.quality = q
}

// ratio is how far something is above its bound, relative to it.
func ratio(above, bound int) float64 {
	return float64(max(0, above)) / float64(max(1, bound))
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// seed names the problem. It has 53 bits, so that readers whose numbers are floating point keep it whole.
func seed(p repair.Problem) uint64 {
	h := fnv.New64a()
	var b []byte
	put := func(list ...int64) {
		b = b[:0]
		for _, v := range list {
			b = binary.LittleEndian.AppendUint64(b, uint64(v))
		}
		_, _ = h.Write(b) // a hash takes all
	}
	put(p.Slot, p.Work)
	for _, s := range p.Capacity {
		put(s.At, int64(s.Free))
	}
	for i := range p.Jobs {
		j := &p.Jobs[i]
		put(j.Start, j.Duration, j.First, j.Last, int64(j.Priority), j.Proposed, int64(j.Group), int64(len(j.Closed)))
		for _, s := range j.Closed {
			put(s.From, s.To)
		}
	}
	return h.Sum64() >> 11
}

// guard holds the answer against the load anew: starts are where they are allowed, and nothing is above what there is room for
// but for what cannot move.
func (a *answer) guard() error {
	c := a.r.c
	p := c.problem
	p.Occurrences = slices.Clone(p.Occurrences)
	for k := range a.jobs {
		j, to := &a.jobs[k], a.starts[k]
		o := &p.Occurrences[a.item(k).first]
		if _, gone := slices.BinarySearch(a.unresolved, k); gone {
			o.Duration, o.Likely = 0, 0
			continue
		}
		o.Start = to
		if !a.moved(k) {
			continue
		}
		if to < j.First || to > j.Last || to%c.slot != 0 || to < c.freeze ||
			slices.ContainsFunc(j.Closed, func(s repair.Span) bool { return to < s.To && s.From < to+j.Duration }) {
			return fmt.Errorf("%w: delivery %q may not start at %s", ErrBroken, a.item(k).d.ID, c.clock(to))
		}
	}
	line, err := load.NewTimeline(p)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	i := 0
	for s := range line.Steps() {
		end := s.At
		for i+1 < len(a.r.fixed) && a.r.fixed[i+1].At <= end {
			i++
		}
		if f := a.r.fixed[i]; s.Load > max(f.Limit, f.Load) {
			return fmt.Errorf("%w: %d devices at %s, where %d can be served", ErrBroken, s.Load, c.clock(s.At), f.Limit)
		}
	}
	return nil
}
