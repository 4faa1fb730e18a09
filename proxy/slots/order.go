package slots

import (
	"iter"
	"time"
)

const (
	// share is of how many turns one at least goes to a device outside its planned slot, if one waits: the first of them.
	share = 4
	// lookAgain is how long a device's kind is taken for true while it waits.
	lookAgain = time.Second
)

// kindOf asks which kind a device is of now.
func (a *Admission) kindOf(d *device) kind {
	if p := a.set.Load().Planned; p != nil && p(d.key, a.wall) {
		return planned
	}
	return unplanned
}

// lookAll asks it of all who stand in the queue, if that was not done lately: a planned slot may begin or end meanwhile.
func (a *Admission) lookAll(now int64) {
	if a.set.Load().Planned == nil && a.queue.of[planned] == 0 || now < a.looked+int64(lookAgain) {
		return
	}
	a.looked = now
	for _, t := range a.queue.places {
		if t != nil {
			a.queue.setKind(t, a.kindOf(t.device))
		}
	}
}

// next takes the ticket whose turn it is: the first in its planned slot, else the first. Somebody is present. passing says
// that somebody who came before it goes on waiting.
//
// The first outside a planned slot is passed at most share-1 times before it has its turn. Whoever is passed stands behind it
// or is it, so a device before which B devices stood sees at most (share-1)(B+1) others pass, as long as its kind stays.
func (a *Admission) next() (t *ticket, passing bool) {
	t, other := a.queue.first(planned), a.queue.first(unplanned)
	switch {
	case t == nil:
		a.passed = 0
		return other, false
	case other == nil:
		a.passed = 0
		return t, false
	case t.place < other.place:
		return t, false
	case a.passed == share-1:
		a.passed = 0
		return other, false
	}
	a.passed++
	return t, true
}

// position is when t has its turn if nobody else comes: 1 is the next.
func (a *Admission) position(t *ticket) int {
	n := a.queue.before(t) + 1
	if t.kind == planned {
		return n + min((n-1+a.passed)/(share-1), a.queue.of[unplanned])
	}
	return n + min(n*(share-1), a.queue.of[planned])
}

// inOrder gives all tickets in the order of their turns, as next would take them. One that is away stands before the next of
// its kind that is present.
func (a *Admission) inOrder() iter.Seq[*ticket] {
	return func(yield func(*ticket) bool) {
		var present, all [kinds][]*ticket
		for _, t := range a.queue.places {
			if t == nil {
				continue
			}
			all[t.kind] = append(all[t.kind], t)
			if t.present {
				present[t.kind] = append(present[t.kind], t)
			}
		}
		for passed := a.passed; len(present[planned])+len(present[unplanned]) > 0; {
			take := planned
			switch p, u := present[planned], present[unplanned]; {
			case len(p) == 0:
				take = unplanned
			case len(u) == 0 || p[0].place < u[0].place:
			case passed == share-1:
				take = unplanned
			default:
				passed++
			}
			if take == unplanned || len(present[unplanned]) == 0 {
				passed = 0
			}
			t := present[take][0]
			present[take] = present[take][1:]
			for len(all[take]) > 0 && all[take][0].place <= t.place {
				if !yield(all[take][0]) {
					return
				}
				all[take] = all[take][1:]
			}
		}
		for _, rest := range all {
			for _, t := range rest {
				if !yield(t) {
					return
				}
			}
		}
	}
}
