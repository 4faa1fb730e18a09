package journal

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// index knows what is due, in memory. follow tells it of every change in the order of commits; a call may know of a newer one
// before, and tells it by advance, which gives way to follow. It may lag behind the store: a call begins by reading its row.
type index struct {
	mu      sync.Mutex // put, drop, remove and order are called with it
	entries map[string]*entry
	lanes   map[string]*lane
	ready   pile[*lane]   // those that do not run, the first due at the top
	wake    chan struct{} // capacity 1
}

type entry struct {
	id   string
	lane *lane
	due  time.Time
	wait time.Duration
	rank int64
	version

	place    int                // in its lane
	taken    version            // when its call began
	was      time.Time          // when that call was due
	hastened bool               // it is wanted before its time
	early    bool               // its call began before its time
	cancel   context.CancelFunc // of the call that runs
}

// version names one state of a row.
type version struct {
	gen      uint64
	attempts int
}

func (r *row) version() version { return version{r.Gen, r.Attempts} }

// lane is what one object has to do; an intent without an object has a lane of its own.
type lane struct {
	name    string
	entries pile[*entry]
	running bool
	place   int // in ready, or -1
}

func newIndex() *index {
	x := &index{entries: map[string]*entry{}, lanes: map[string]*lane{}, wake: make(chan struct{}, 1)}
	x.ready.less = func(a, b *lane) bool { return a.entries.items[0].due.Before(b.entries.items[0].due) }
	x.ready.moved = func(l *lane, to int) { l.place = to }
	return x
}

func earlier(a, b *entry) bool {
	switch {
	case a.rank != b.rank:
		return a.rank < b.rank
	case a.version.gen != b.version.gen:
		return a.version.gen < b.version.gen
	}
	return a.id < b.id
}

// put makes the entry of a row that is to be called.
func (x *index) put(r *row, now time.Time) {
	name := "object " + r.Object
	if r.Object == "" {
		name = "intent " + r.ID
	}
	e := x.entries[r.ID]
	if e != nil && e.lane.name != name {
		x.remove(e)
		e = nil
	}
	if e != nil {
		e.due, e.wait, e.rank, e.version = r.due(now), r.Wait, r.Rank, r.version()
		if e.hastened && e.due.After(now) {
			e.due = now
		}
		heap.Fix(&e.lane.entries, e.place)
		x.order(e.lane)
		return
	}
	l := x.lanes[name]
	if l == nil {
		l = &lane{name: name, place: -1}
		l.entries.less, l.entries.moved = earlier, func(e *entry, to int) { e.place = to }
		x.lanes[name] = l
	}
	e = &entry{id: r.ID, lane: l, due: r.due(now), wait: r.Wait, rank: r.Rank, version: r.version()}
	x.entries[r.ID] = e
	heap.Push(&l.entries, e)
	x.order(l)
}

// advance brings a taken entry from one version of its row to the next, nil if that is not to be called, unless follow has done
// so.
func (x *index) advance(e *entry, from version, r *row, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.entries[e.id] != e || e.version != from:
	case r == nil:
		x.remove(e)
	default:
		x.put(r, now)
	}
}

// drop forgets an id, and ends its call if one runs.
func (x *index) drop(id string) {
	if e := x.entries[id]; e != nil {
		if e.cancel != nil {
			e.cancel()
		}
		x.remove(e)
	}
}

func (x *index) remove(e *entry) {
	heap.Remove(&e.lane.entries, e.place)
	delete(x.entries, e.id)
	x.order(e.lane)
}

// order puts a lane where it belongs among those that are ready, after a change.
func (x *index) order(l *lane) {
	able := !l.running && len(l.entries.items) > 0
	switch {
	case able && l.place >= 0:
		heap.Fix(&x.ready, l.place)
	case able:
		heap.Push(&x.ready, l)
	case l.place >= 0:
		heap.Remove(&x.ready, l.place) // compares nothing with l, whose top may be gone
	}
	if len(l.entries.items) == 0 && !l.running {
		delete(x.lanes, l.name)
	}
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// take returns the id that is due first and marks its lane as running, or says how long that will be.
func (x *index) take(now time.Time) (e *entry, wait time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.ready.items) == 0 {
		return nil, maxSleep
	}
	l := x.ready.items[0]
	e = l.entries.items[0]
	if wait := e.due.Sub(now); wait > 0 {
		return nil, min(wait, maxSleep)
	}
	l.running, e.taken, e.was = true, e.version, e.due
	e.early, e.hastened = e.hastened, false
	x.order(l)
	return e, 0
}

// release lets the lane of a taken entry go on.
func (x *index) release(e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.cancel = nil
	e.lane.running = false
	x.order(e.lane)
}

// cancelWith keeps how to end the call of a taken entry.
func (x *index) cancelWith(e *entry, cancel context.CancelFunc) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e.cancel = cancel
}

// hasten makes an id due.
func (x *index) hasten(id string, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.entries[id]
	if e == nil {
		return
	}
	e.hastened = true
	if e.due.After(now) {
		e.due = now
		x.order(e.lane)
	}
}

// hold puts a taken entry off though its row says otherwise.
func (x *index) hold(e *entry, from version, until time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.entries[e.id] == e && e.version == from {
		e.due = until // its lane runs, so that it is in no order by due
	}
}

// postpone is hold for one that nobody has hastened meanwhile.
func (x *index) postpone(e *entry, from version, until time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.entries[e.id] == e && e.version == from && !e.hastened {
		e.due = until
	}
}

// rewind does for the index what row.due does for a row, after the clock was set back to now.
func (x *index) rewind(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.entries {
		if e.wait > 0 && e.due.Sub(now) > e.wait {
			e.due = now
		}
	}
	heap.Init(&x.ready)
}

// pile is a heap whose items know their place.
type pile[T any] struct {
	items []T
	less  func(a, b T) bool
	moved func(item T, to int)
}

func (p *pile[T]) Len() int           { return len(p.items) }
func (p *pile[T]) Less(a, b int) bool { return p.less(p.items[a], p.items[b]) }
func (p *pile[T]) Swap(a, b int) {
	p.items[a], p.items[b] = p.items[b], p.items[a]
	p.moved(p.items[a], a)
	p.moved(p.items[b], b)
}

// Push is for container/heap.
func (p *pile[T]) Push(item any) {
	p.items = append(p.items, item.(T))
	p.moved(item.(T), len(p.items)-1)
}

// Pop is for container/heap.
func (p *pile[T]) Pop() any {
	last := len(p.items) - 1
	item := p.items[last]
	p.items = p.items[:last]
	p.moved(item, -1)
	return item
}
