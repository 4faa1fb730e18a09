package repair

import (
	"cmp"
	"slices"
)

// ruiner takes some jobs out that are near each other and places them anew, again and again.
type ruiner struct {
	*search
	taken []int32 // what is out in this round besides what was out before
	old   []int32 // their positions
	all   bool    // there are so few jobs that each round looks at all of them
	key   []int64 // by index in taken, for sorting
	loose bool    // only who is out matters
}

// ruin improves an answer until the work is spent. Its rounds begin at unresolved jobs, while there are any, two times of three.
func (s *search) ruin(work int64) {
	r := &ruiner{search: s, all: len(s.pos) <= 1024}
	for s.work < work && (s.cost.out > 0 || s.cost.moved > 0) {
		s.work += 500
		r.round()
	}
}

// wander does the same with an eye on the unresolved jobs only: it passes answers that are otherwise worse.
func (s *search) wander(work int64) {
	r := &ruiner{search: s, all: len(s.pos) <= 1024, loose: true}
	for s.work < work && s.cost.out > 0 {
		s.work += 500
		r.round()
	}
}

func (r *ruiner) round() {
	s := r.search
	var seed int32
	switch {
	case len(s.out) > 0 && (len(s.moved) == 0 || s.rng.IntN(3) < 2):
		seed = s.out[s.rng.IntN(len(s.out))]
	case len(s.moved) > 0 && s.rng.IntN(8) > 0:
		seed = s.moved[s.rng.IntN(len(s.moved))]
	default:
		seed = s.rng.Int32N(int32(len(s.pos)))
	}
	r.taken, r.old = r.taken[:0], r.old[:0]
	before := s.cost
	wasOut := s.pos[seed] == gridOut
	r.remove(seed, 2+s.rng.IntN(3)*s.rng.IntN(6))
	if wasOut && s.pos[seed] == gridOut {
		r.taken, r.old = append(r.taken, seed), append(r.old, gridOut)
	}
	if len(s.out) > 0 && s.cost.out > 0 {
		for range 2 {
			if k := s.out[s.rng.IntN(len(s.out))]; !slices.Contains(r.taken, k) {
				r.taken, r.old = append(r.taken, k), append(r.old, gridOut)
			}
		}
	}
	r.recreate()
	if r.loose && before.out < s.cost.out || !r.loose && before.less(s.cost) {
		r.restore()
	}
}

// middle is a cell about which to ruin: of a job's home, its place or, if it is out, any place that it could have.
func (r *ruiner) middle(seed int32) int32 {
	s := r.search
	g := s.g
	job := &g.jobs[seed]
	pos := s.pos[seed]
	switch {
	case pos >= 0 && s.rng.IntN(2) == 0:
		pos = gridHome
	case pos == gridOut && job.to > job.from:
		piece := g.pieces[job.from+s.rng.Int32N(job.to-job.from)]
		pos = piece.lo + s.rng.Int32N(piece.hi-piece.lo+1)
	}
	if pos == gridOut {
		pos = gridHome
	}
	a, b := g.cells(seed, pos)
	return a + s.rng.Int32N(b-a)
}

// remove takes out the seed and about count jobs near one of its places.
func (r *ruiner) remove(seed int32, count int) {
	s := r.search
	middle := r.middle(seed)
	drop := func(j int32) {
		if s.pos[j] != gridOut {
			r.taken, r.old = append(r.taken, j), append(r.old, s.pos[j])
			s.take(j)
		}
	}
	if s.pos[seed] != gridOut {
		drop(seed)
	}
	if r.all {
		// Those that take the middle or begin or end near it.
		width := s.rng.Int32N(4)
		width *= width
		near := 0
		s.work += int64(len(s.pos)) * 4
		for j := range s.pos {
			if s.pos[j] != gridOut && s.a[j] <= middle+width && s.b[j] > middle-width {
				near++
			}
		}
		for j := range s.pos {
			if s.pos[j] != gridOut && s.a[j] <= middle+width && s.b[j] > middle-width {
				if s.rng.IntN(near) < count {
					drop(int32(j))
					count--
				}
				near--
			}
		}
		return
	}
	for d := int32(0); d < 96 && count > 0; d++ {
		for _, c := range [2]int32{middle - d, middle + d} {
			s.work += 2
			if c < 0 || int(c) >= len(s.begin) || (d == 0 && c != middle) {
				continue
			}
			for tries := min(len(s.begin[c]), 4); tries > 0 && count > 0 && len(s.begin[c]) > 0; tries-- {
				j := s.begin[c][s.rng.IntN(len(s.begin[c]))]
				// A job at home that does not reach the middle is seldom in the way.
				if s.pos[j] == gridHome && (s.b[j] <= middle || s.a[j] > middle) && s.rng.IntN(4) > 0 {
					continue
				}
				drop(j)
				count--
			}
		}
	}
}

// recreate places what was taken, in one of several orders.
func (r *ruiner) recreate() {
	s := r.search
	order := s.rng.IntN(6)
	r.key = r.key[:0]
	jobs := s.g.jobs
	for i, j := range r.taken {
		noise := s.rng.Int64N(1 << 20)
		switch order {
		case 0: // those that were out first
			noise -= int64(-min(r.old[i], 0)) << 30
		case 1: // the longest first
			noise -= jobs[j].duration / 1000 << 20
		case 2: // the shortest first
			noise += jobs[j].duration / 1000 << 20
		case 3: // the least flexible first
			noise += s.g.flexibility(j) << 20
		}
		r.key = append(r.key, noise)
	}
	for i := 1; i < len(r.taken); i++ { // few enough for insertion
		for k := i; k > 0 && cmp.Less(r.key[k], r.key[k-1]); k-- {
			r.key[k], r.key[k-1] = r.key[k-1], r.key[k]
			r.taken[k], r.taken[k-1] = r.taken[k-1], r.taken[k]
			r.old[k], r.old[k-1] = r.old[k-1], r.old[k]
		}
	}
	how := s.rng.IntN(8)
	packed := 0
	for i := range r.old {
		if r.old[i] == gridOut {
			packed++
		}
	}
	for _, j := range r.taken {
		pos := gridOut
		switch {
		case packed > 0 && how == 1:
			pos = s.earliest(j)
		case packed > 0 && how == 2:
			pos = s.latest(j)
		case s.rng.IntN(16) == 0:
			pos = s.nearestMove(j)
		default:
			pos = s.nearest(j)
		}
		if pos != gridOut {
			s.put(j, pos)
		}
	}
}

// restore undoes a round.
func (r *ruiner) restore() {
	for _, j := range r.taken {
		if r.search.pos[j] != gridOut {
			r.search.take(j)
		}
	}
	for i, j := range r.taken {
		if r.old[i] != gridOut {
			r.search.put(j, r.old[i])
		}
	}
}
