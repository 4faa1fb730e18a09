package store

import (
	"context"
	"errors"
	"fmt"
)

// A group is several Updates in one commit of the driver, one after the other: each sees what those before it wrote. Whoever comes
// while another writer is being synced would have to wait for that anyway, and then for its own; in a group all that waited are
// synced at once, and those that write the same key, such as the head of one audit chain, do not get in each other's way.
const (
	groupMembers = 64
	groupBytes   = 256 << 10 // of keys and values; a group ends with the member that reaches it, and so stays below this and MaxUpdate
)

// member is an Update that waits to be in a group, or is in one. Its function runs in its caller's goroutine.
type member struct {
	ctx  context.Context
	fn   func(Tx) error
	turn chan Tx       // the group's transaction, for one run of fn
	ran  chan struct{} // follows turn
	left chan struct{} // closed when the caller does not wait any more
	done chan error    // capacity 1; how it ended

	// Of the last run; guarded by turn and ran.
	own    error    // of fn, of ctx, or a breach of limits
	final  bool     // own is fn's
	writes *overlay // nil unless all is well
	size   int
	dirty  bool // it has seen what was not committed then
}

func newMember(ctx context.Context, fn func(Tx) error) *member {
	return &member{ctx: ctx, fn: fn, turn: make(chan Tx), ran: make(chan struct{}), left: make(chan struct{}), done: make(chan error, 1)}
}

// joined makes m wait for a group, if it must or if a writer is being synced now, and reports whether it does. Else it writes beside
// others.
func (f *front) joined(m *member, must bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !must && !f.leading && f.committing == 0 {
		f.beside++
		return false
	}
	f.queue = append(f.queue, m)
	if !f.leading {
		f.leading = true
		f.running.Add(1)
		go f.lead() // ends when nobody waits; Close waits for it
	}
	return true
}

// inGroup is m's caller until m has ended.
func (f *front) inGroup(m *member) error {
	ran := false
	for {
		select {
		case tx := <-m.turn:
			m.run(tx)
			ran = m.writes != nil
		case err := <-m.done:
			return err
		case <-m.ctx.Done():
			close(m.left)
			if ran {
				return fmt.Errorf("%w: %w", ErrUnknown, m.ctx.Err())
			}
			return m.ctx.Err()
		}
	}
}

// run is one run of fn, which may panic.
func (m *member) run(d Tx) {
	m.own, m.final, m.writes, m.size = nil, false, nil, 0
	returned := false
	defer func() {
		if !returned {
			close(m.left) // nobody waits for it
		}
		m.ran <- struct{}{}
	}()
	if m.own = m.ctx.Err(); m.own == nil {
		m.writes, m.size, m.own, m.final = perform(d, m.fn)
		if m.own == nil && m.ctx.Err() != nil {
			m.writes, m.own = nil, m.ctx.Err()
		}
	}
	returned = true
}

// lead makes groups of those that wait until nobody does.
func (f *front) lead() {
	defer f.running.Done()
	for more := true; more; {
		f.mu.Lock()
		for f.beside > 0 {
			f.alone.Wait()
		}
		n := min(len(f.queue), groupMembers)
		group := append([]*member{}, f.queue[:n]...)
		f.mu.Unlock()
		n, err := f.together(group)
		f.mu.Lock()
		f.queue = append([]*member{}, f.queue[n:]...)
		more = len(f.queue) > 0
		f.leading = more // before anybody is told: a writer that is alone again is in no group
		f.mu.Unlock()
		for _, m := range group[:n] {
			m.done <- m.result(err)
		}
	}
}

// together commits the first n of a group, and returns n and what became of the commit.
func (f *front) together(group []*member) (n int, err error) {
	for try := 1; ; try++ {
		err = f.driver.Update(context.Background(), func(d Tx) error {
			var written int
			n, written = 0, 0
			for n < len(group) && (n == 0 || written < groupBytes) {
				m := group[n]
				n++
				select {
				case m.turn <- d:
					<-m.ran
				case <-m.left:
					m.own, m.writes = context.Canceled, nil // nobody reads it
					continue
				}
				m.dirty = written > 0
				if m.writes == nil {
					continue
				}
				written += m.size
				if err := m.writes.apply(d); err != nil {
					return err
				}
			}
			return nil
		})
		for _, m := range group[:n] {
			if m.writes != nil {
				f.observe(outcome(err))
			} else if m.own != nil && !m.final {
				f.observe(outcome(m.own))
			}
		}
		switch {
		case errors.Is(err, ErrTooLarge) && n > 1:
			group = group[:1]
		case !errors.Is(err, ErrConflict):
			return n, err
		case try == maxTries-1: // the first was beside others
			return n, fmt.Errorf("update: %d tries: %w", maxTries, err)
		}
	}
}

// result is what a member's caller is told of the group's commit. What it has seen of a commit that failed never was.
func (m *member) result(err error) error {
	if m.own != nil && (err == nil || !m.dirty) {
		return m.own
	}
	return err
}

// perform runs fn above d, and returns what it wrote with its size, or its error. final says that the error is fn's own.
func perform(d Tx, fn func(Tx) error) (writes *overlay, size int, err error, final bool) {
	over := &overlay{under: d, writes: map[string]Change{}}
	tx := &limitedTx{tx: over, sizes: map[string]int{}}
	switch err := fn(tx); {
	case tx.err != nil: // also when fn overlooked it
		return nil, 0, tx.err, false
	case err != nil:
		return nil, 0, err, true
	}
	return over, tx.total, nil, false
}

// overlay keeps what one caller writes apart, until it is known to be good: each key once.
type overlay struct {
	under  Tx
	writes map[string]Change
	order  []string // of first writes
}

func (o *overlay) Get(key string) ([]byte, error) {
	c, written := o.writes[key]
	switch {
	case !written:
		return o.under.Get(key)
	case c.Deleted:
		return nil, ErrNotFound
	}
	return append([]byte{}, c.Value...), nil
}

func (o *overlay) Set(key string, value []byte) error { return o.note(Change{Key: key, Value: value}) }

func (o *overlay) Delete(key string) error { return o.note(Change{Key: key, Deleted: true}) }

func (o *overlay) note(c Change) error {
	if _, written := o.writes[c.Key]; !written {
		o.order = append(o.order, c.Key)
	}
	o.writes[c.Key] = c
	return nil
}

func (o *overlay) apply(d Tx) error {
	for _, key := range o.order {
		c := o.writes[key]
		var err error
		if c.Deleted {
			err = d.Delete(key)
		} else {
			err = d.Set(key, c.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
