package slots

import "sync/atomic"

// device is what admission knows of one device with a connection or a place in the queue.
//
// word says whether it holds a slot and is the only thing that Move of a holder touches: 0 is no slot; else the slot
// lapses at the time in all bits but the lowest, unless the lowest bit is set because a connection is being set up. The
// lock-free writer is hold, which only ever moves the time of a word that has not lapsed; 0 and the lowest bit are
// written under Admission.mu, by compare-and-swap. So a word that is not zero after settle(now) has not lapsed at now.
type device struct {
	word atomic.Int64
	debt atomic.Int64 // see rate.go

	// Guarded by Admission.mu.
	key       Key
	conns     int
	settingUp int     // connections; while it is not zero the lowest bit is set
	lapse     alarm   // set in lapses while a slot is held and settingUp is zero
	ticket    *ticket // its place in the queue, or nil; never while a slot is held
}

const pinned int64 = 1

// until is when a word that is not pinned lapses.
func until(word int64) int64 { return word &^ pinned }

// hold says whether d holds a slot at now and, if so, keeps it for linger. What would add less than a thousandth of
// linger is not written, so that the connections of a busy device do not fight for the word.
func (d *device) hold(now, linger int64) bool {
	end := (now + linger) &^ pinned
	for {
		w := d.word.Load()
		if w&pinned == 0 && w <= now {
			return false // no slot, or lapsed: whether it may have another is decided under the lock
		}
		if end-until(w) <= linger>>10 || d.word.CompareAndSwap(w, end|w&pinned) {
			return true
		}
	}
}

// ticket is a device's place in the queue.
type ticket struct {
	device  *device
	place   int  // in line
	kind    kind // when it was looked at last
	present bool // somebody waits; else the place is kept for a device that was told to come back
	since   int64
	waiters []*waiter
	promise int64 // until when the place is kept for a caller that was told so
	kept    alarm // set in kept while away
}

// waiter is one caller of SetUp or Move that waits.
type waiter struct {
	conn  *Conn
	setUp bool
	done  bool          // under mu: the wait is over, with err
	err   error         // written before over is closed
	over  chan struct{} // closed with done
}

func (w *waiter) end(err error) {
	w.done, w.err = true, err
	close(w.over)
}

// take gives d a slot. It has none, and none is given beyond capacity: the caller has looked.
func (a *Admission) take(d *device, now int64) {
	a.held++
	d.word.Store(now)
	a.lapses.insert(&d.lapse, now)
	if a.trace != nil {
		a.trace(d.key, true)
	}
}

// released accounts that d's word went to zero.
func (a *Admission) released(d *device) {
	a.held--
	a.lapses.remove(&d.lapse)
	if a.trace != nil {
		a.trace(d.key, false)
	}
}

// touch keeps the slot that d holds for the linger from now on.
func (a *Admission) touch(d *device, now int64) {
	end := (now + int64(a.set.Load().Linger)) &^ pinned
	for w := d.word.Load(); end > until(w) && !d.word.CompareAndSwap(w, end|w&pinned); w = d.word.Load() {
	}
	if d.lapse.set() {
		a.lapses.move(&d.lapse, until(d.word.Load()))
	}
}

// pin keeps the slot that d holds while c is being set up.
func (a *Admission) pin(c *Conn) {
	if c.settingUp {
		return // two callers of SetUp
	}
	d := c.device
	c.settingUp = true
	d.settingUp++
	d.word.Or(pinned)
	a.lapses.remove(&d.lapse)
}

// unpin ends the set-up of c: from now on only movement holds d's slot.
func (a *Admission) unpin(c *Conn) {
	d := c.device
	c.settingUp = false
	if d.settingUp--; d.settingUp == 0 {
		w := d.word.And(^pinned) &^ pinned
		a.lapses.insert(&d.lapse, w)
	}
}

// turn gives d, whose turn it is, a free slot, and lets all its callers go on.
func (a *Admission) turn(d *device, now int64) {
	t := d.ticket
	a.drop(d)
	a.take(d, now)
	for _, w := range t.waiters {
		a.admit(w.conn, w.setUp, now)
		w.end(nil)
	}
	a.turns.count++
	if m := a.set.Load().Metrics; m != nil {
		m.RelayQueueTurns.Inc()
		m.RelayQueueWait.Observe(float64(now-t.since) / 1e9)
	}
}

// admit lets one caller use the slot that its device holds.
func (a *Admission) admit(c *Conn, setUp bool, now int64) {
	if setUp {
		a.pin(c)
	} else {
		a.touch(c.device, now)
	}
}

// drop frees d's place in the queue and forgets d if nothing else is left of it.
func (a *Admission) drop(d *device) {
	if t := d.ticket; t != nil {
		a.queue.leave(t)
		a.kept.remove(&t.kept)
		d.ticket = nil
	}
	if d.conns == 0 {
		delete(a.devices, d.key)
	}
}

// keep holds d's place although nobody waits in it, until the ticket's promise runs out.
func (a *Admission) keep(t *ticket) {
	// The bound on places without a connection; the one that gives way would have been lost soonest anyway.
	if limit := a.set.Load().QueueLimit; limit <= 0 {
		a.drop(t.device)
		return
	} else if len(a.kept) >= limit {
		a.drop(a.kept[0].device)
	}
	a.queue.setPresent(t, false)
	a.kept.insert(&t.kept, t.promise)
}
