package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// Batch is some consecutive rows of a queue, the first that it holds.
type Batch struct {
	// Stream is new when the gateway has lost its store or was given an old one back (RenewStreams): sequence numbers of
	// another stream say nothing about those of this one.
	Stream  string
	First   uint64 // sequence number of Rows[0]; greater than the receiver expects if rows were dropped
	Dropped uint64 // rows that were dropped ever
	Rows    []Row

	tail *tail // when it was read
}

// Row is a row of a queue.
type Row struct {
	Seq  uint64
	At   time.Time // when it was appended
	Data json.RawMessage
}

// End is the sequence number behind the last row.
func (b Batch) End() uint64 { return b.First + uint64(len(b.Rows)) }

// Deliverer hands a batch to the receiver and returns what the receiver has then: all rows before sequence number accepted. A
// receiver remembers (stream, accepted) with what it stores, ignores rows before that, and answers with it; so that it sees
// each row once although a batch may come again. An error does not undo what was accepted.
type Deliverer func(ctx context.Context, b Batch) (accepted uint64, err error)

// Deliver hands the rows of the queue to the receiver, in order, in batches of up to maxRows rows and maxBytes bytes (but at least
// one row), until ctx ends; then it returns nil. After an error, or a call that accepted nothing, it waits as for an intent:
// RetryAfter names the delay. It returns an error that is Permanent, and one of a store that is closed or cannot be followed.
//
// A receiver that has more than was ever sent shows that the gateway's store is an old one: the queue gets a new stream, in
// which it sends all it has, so that nothing is lost and rows of the time between may come twice.
func (q *Queue) Deliver(ctx context.Context, maxRows, maxBytes int, deliver Deliverer) error {
	if !q.delivering.CompareAndSwap(false, true) {
		return fmt.Errorf("deliver queue %s: %w", q.n, ErrRunning)
	}
	defer q.delivering.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer cancel()
	appended, followed := make(chan struct{}, 1), make(chan error, 1)
	follower.Go(func() { followed <- q.follow(ctx, appended) })
	for failures := 0; ; {
		b, err := q.batch(ctx, maxRows, maxBytes)
		if err == nil && len(b.Rows) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case err := <-followed:
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("follow queue %s: %w", q.n, err)
			case <-appended:
			}
			continue
		}
		if err == nil {
			err = q.offer(ctx, b, deliver)
		}
		switch {
		case err == nil:
			failures = 0
			continue
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, store.ErrClosed), errors.As(err, new(permanent)):
			return fmt.Errorf("deliver queue %s: %w", q.n, err)
		}
		failures++
		pause := q.j.delay(failures, err)
		q.j.Observe(Event{What: Undelivered, Queue: q.n, Attempts: failures, Next: q.j.Clock.Now().Add(pause), Err: err})
		if mfpgate.Wait(ctx, q.j.Clock, pause) != nil {
			return nil
		}
	}
}

// follow tells of each Append.
func (q *Queue) follow(ctx context.Context, appended chan<- struct{}) error {
	for _, err := range q.j.store.Watch(ctx, q.key("tail")) {
		if err != nil {
			return err
		}
		select {
		case appended <- struct{}{}:
		default:
		}
	}
	return store.ErrClosed // unless ctx ended
}

// batch reads the first rows. Beside them it keeps the tail of that instant.
func (q *Queue) batch(ctx context.Context, maxRows, maxBytes int) (b Batch, err error) {
	err = q.j.store.View(ctx, func(at store.Snapshot) error {
		t, h, err := q.ends(at)
		if err != nil {
			return err
		}
		b = Batch{Stream: t.Stream, First: h.Seq, Dropped: h.Dropped, tail: t}
		bytes := 0
		for n := h.Segment; n < t.Segment; n++ {
			s, err := q.segment(at, n)
			if err != nil {
				return err
			}
			for i, data := range s.Rows {
				seq := s.Seq + uint64(i)
				if seq < h.Seq {
					continue
				}
				bytes += len(data)
				if len(b.Rows) > 0 && (len(b.Rows) >= maxRows || bytes > maxBytes) {
					return nil
				}
				if seq != b.End() {
					return fmt.Errorf("queue %s: row %d follows row %d: %w", q.n, seq, b.End()-1, store.ErrDamaged)
				}
				b.Rows = append(b.Rows, Row{Seq: seq, At: s.At, Data: data})
			}
		}
		return nil
	})
	return b, err
}

// offer makes the call, and stores how far the receiver is.
func (q *Queue) offer(ctx context.Context, b Batch, deliver Deliverer) error {
	call, cancel := context.WithTimeout(ctx, q.j.Timeout)
	defer cancel()
	began := q.j.Clock.Now()
	accepted, err := deliver(call, b)
	took := q.j.Clock.Now().Sub(began)
	ended := errors.Is(err, ErrStreamEnded)
	if ended {
		accepted = math.MaxUint64
	}
	if accepted <= b.First {
		if err == nil {
			err = fmt.Errorf("the receiver took nothing of rows %d to %d", b.First, b.End()-1)
		}
		return err
	}
	keep, cancelKeep := context.WithTimeout(context.WithoutCancel(ctx), settling) // what is done is kept, also when stopping
	defer cancelKeep()
	switch known, unkept := q.accept(keep, b, accepted); {
	case unkept != nil:
		return errors.Join(err, unkept)
	case ended:
		return err
	case !known:
		return errors.Join(err, fmt.Errorf("the receiver has rows up to %d of %s, of which %d were sent: stream renewed", accepted-1, b.Stream, b.End()-1))
	}
	q.j.Observe(Event{What: Delivered, Queue: q.n, Rows: min(accepted, b.End()) - b.First, Took: took})
	return err
}

// accept moves the head behind what the receiver has. known is false if that was never sent, and the stream is a new one.
func (q *Queue) accept(ctx context.Context, b Batch, accepted uint64) (known bool, err error) {
	var next *head
	fn := func(tx store.Tx) error {
		t := b.tail // an old one is as good, and its key is not touched: an Append does not conflict
		if accepted > t.Seq {
			if t, err = q.tail(tx); err != nil {
				return err
			}
		}
		if known = accepted <= t.Seq && t.Stream == b.Stream; !known {
			if t.Stream == b.Stream {
				t.Stream = q.j.newStream()
			}
			return store.SetJSON(tx, q.key("tail"), t)
		}
		h, err := q.head(tx)
		if err != nil {
			return err
		}
		if next = h; accepted <= h.Acked {
			return nil // by an Update whose outcome was not known
		}
		if h.Seq > b.First { // dropped during the call; some of it is not lost after all
			h.Dropped -= min(accepted, h.Seq) - b.First
		}
		if accepted > h.Seq {
			if next, err = q.advance(tx, t, h, func(seq, _ uint64) bool { return seq >= accepted }); err != nil {
				return err
			}
		}
		next.Acked = accepted
		if err := q.sweep(tx, next, sweptByDeliver); err != nil {
			return err
		}
		return store.SetJSON(tx, q.key("head"), next)
	}
	if _, err := q.j.update(ctx, fn); err != nil || !known {
		return known, err
	}
	for n := 0; err == nil && next.Swept < next.Segment && n < maxSweeps; n++ { // what is left, the next batch's does
		_, err = q.j.update(ctx, func(tx store.Tx) error {
			if next, err = q.head(tx); err != nil {
				return err
			}
			if err := q.sweep(tx, next, sweptByDeliver); err != nil {
				return err
			}
			return store.SetJSON(tx, q.key("head"), next)
		})
	}
	q.known.Store(next)
	return true, nil
}

func (j *Journal) newStream() string { return mfpgate.NewID(j.Clock, "str") }

// RenewStreams gives every queue of the journal a new stream. It is to be called once, before Deliver and Append, in a store that
// was restored from a backup: it may use sequence numbers again that the receiver has seen.
func (j *Journal) RenewStreams(ctx context.Context) error {
	var tails []string
	err := j.store.View(ctx, func(at store.Snapshot) error {
		tails = nil
		for after := ""; ; { // from queue to queue, past their rows
			page, err := at.Scan(queuePrefix, after, 1)
			if err != nil || len(page) == 0 {
				return err
			}
			queue, _, _ := strings.Cut(strings.TrimPrefix(page[0].Key, queuePrefix), "/")
			tails = append(tails, queuePrefix+queue+"/tail")
			after = queuePrefix + queue + "0" // what comes after "/"
		}
	})
	for _, key := range tails {
		if err != nil {
			break
		}
		err = j.store.Update(ctx, func(tx store.Tx) error {
			data, err := tx.Get(key)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			t, err := decodeTail(key, data)
			if err != nil {
				return err
			}
			t.Stream = j.newStream()
			return store.SetJSON(tx, key, t)
		})
	}
	if err != nil {
		return fmt.Errorf("renew streams: %w", err)
	}
	return nil
}
