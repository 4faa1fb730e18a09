package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate/store"
)

const queuePrefix = "journal/queue/"

// What an Append may measure. As a rule it touches three keys; the first that drops many small rows at once touches up to 60.
// It adds at most 320 KiB to the caller's Update.
const (
	MaxRow         = 32 << 10  // bytes of a row
	MaxAppend      = 256 << 10 // bytes of the rows together
	MaxAppendRows  = 1000
	maxSegment     = 48 << 10 // bytes of the rows of one record
	sweptByAppend  = 4        // segments that an Append which drops deletes, beside as many as it adds
	sweptByDeliver = 32       // in each of its Updates
	maxSweeps      = 64       // of these after a batch
)

// Overflow is what happens to rows for which a queue has no room.
type Overflow string

// The overflows.
const (
	DropOldest Overflow = "drop-oldest" // they take the place of the oldest, which are counted
	Refuse     Overflow = "refuse"      // Append returns ErrQueueFull
)

// QueueOptions bound a queue.
type QueueOptions struct {
	MaxRows  uint64 // required
	MaxBytes uint64 // of the rows; required. Records and keys come on top, about 150 bytes for each Append; and what was dropped until it is swept, never more than MaxBytes
	Overflow Overflow
}

// Queue is an ordered outbox. The rows of a queue have consecutive sequence numbers from 1, never used again in its stream.
type Queue struct {
	j *Journal
	n string
	o QueueOptions

	delivering atomic.Bool
	// known is the newest head known to be committed. A head only moves on, so that an Append that finds room with it need not
	// read the true one, which would make it conflict with each Deliver.
	known atomic.Pointer[head]
}

// tail is the record of what was appended.
type tail struct {
	Schema  int    `json:"schema"`
	Stream  string `json:"stream"`
	Seq     uint64 `json:"seq"`     // of the next row
	Segment uint64 `json:"segment"` // the next
	Bytes   uint64 `json:"bytes"`   // of all rows ever
}

// head is the record of what left the queue.
type head struct {
	Schema  int    `json:"schema"`
	Seq     uint64 `json:"seq"`     // of the first row that is in the queue
	Segment uint64 `json:"segment"` // that holds it
	Bytes   uint64 `json:"bytes"`   // of all rows before it
	Dropped uint64 `json:"dropped"`
	Acked   uint64 `json:"acked"` // the receiver has all rows before this that were not dropped
	Swept   uint64 `json:"swept"` // the first segment that is not deleted
}

// segment is the record of some rows. Segments are numbered, so that a transaction finds a row without a scan.
type segment struct {
	Schema int               `json:"schema"`
	Seq    uint64            `json:"seq"`   // of the first row
	Bytes  uint64            `json:"bytes"` // of all rows before it
	At     time.Time         `json:"at"`
	Rows   []json.RawMessage `json:"rows"`
}

func decodeTail(key string, data []byte) (*tail, error) {
	return decode(key, data, func(t *tail) int { return t.Schema }, func(t *tail) bool { return t.Stream != "" && t.Seq > 0 })
}

func decodeHead(key string, data []byte) (*head, error) {
	return decode(key, data, func(h *head) int { return h.Schema }, func(h *head) bool {
		return h.Seq > 0 && h.Swept <= h.Segment && h.Dropped < h.Seq && h.Acked <= h.Seq
	})
}

func decodeSegment(key string, data []byte) (*segment, error) {
	return decode(key, data, func(s *segment) int { return s.Schema }, func(s *segment) bool {
		return s.Seq > 0 && len(s.Rows) > 0 && s.Seq+uint64(len(s.Rows)) > s.Seq
	})
}

// Queue declares a queue. Its name (64 bytes, no slash) is part of its keys. Declaring one twice, or without bounds, is a
// mistake in the program, and panics.
func (j *Journal) Queue(named string, o QueueOptions) *Queue {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, twice := j.queues[named]; twice || name("queue", named, 64) != nil || strings.Contains(named, "/") ||
		o.MaxRows == 0 || o.MaxBytes == 0 || o.Overflow != DropOldest && o.Overflow != Refuse {
		panic("journal: queue " + named + " has no name, no bounds, no rule for overflow, or is declared twice")
	}
	q := &Queue{j: j, n: named, o: o}
	j.queues[named] = q
	return q
}

func (q *Queue) key(part string) string { return queuePrefix + q.n + "/" + part }

func (q *Queue) segmentKey(n uint64) string { return q.key(fmt.Sprintf("row/%020d", n)) }

// ends reads both ends; before the first Append both are at the first row, and stream is empty.
func (q *Queue) ends(g store.Getter) (t *tail, h *head, err error) {
	if t, err = q.tail(g); err == nil {
		h, err = q.head(g)
	}
	if err == nil && (h.Seq > t.Seq || h.Segment > t.Segment || h.Bytes > t.Bytes) {
		err = fmt.Errorf("queue %s: its head is behind its tail: %w", q.n, store.ErrDamaged)
	}
	return t, h, err
}

func (q *Queue) tail(g store.Getter) (*tail, error) {
	data, err := g.Get(q.key("tail"))
	if errors.Is(err, store.ErrNotFound) {
		return &tail{Schema: schema, Seq: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeTail(q.key("tail"), data)
}

func (q *Queue) head(g store.Getter) (*head, error) {
	data, err := g.Get(q.key("head"))
	if errors.Is(err, store.ErrNotFound) {
		return &head{Schema: schema, Seq: 1, Acked: 1}, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeHead(q.key("head"), data)
}

func (q *Queue) segment(g store.Getter, n uint64) (*segment, error) {
	data, err := g.Get(q.segmentKey(n))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("queue %s: segment %d is missing: %w", q.n, n, store.ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	return decodeSegment(q.segmentKey(n), data)
}

// Append adds rows, which are JSON texts, in the caller's transaction; they are in the queue if that commits. More than
// MaxAppend, MaxAppendRows or MaxRow is store.ErrTooLarge: see Put. Appends to one queue conflict with each other, so that a
// caller with many rows appends them at once, and one row of several callers costs re-runs.
func (q *Queue) Append(tx store.Tx, rows ...json.RawMessage) error {
	texts, err := measure(rows)
	if err != nil {
		return fmt.Errorf("append to queue %s: %w", q.n, err)
	}
	if len(rows) == 0 {
		return nil
	}
	t, err := q.tail(tx)
	if err != nil {
		return fmt.Errorf("append to queue %s: %w", q.n, err)
	}
	if t.Stream == "" {
		t.Stream = q.j.newStream()
	}
	packed := pack(texts)
	if err := q.makeRoom(tx, t, uint64(len(rows)), size(texts), sweptByAppend+len(packed)); err != nil {
		return fmt.Errorf("append to queue %s: %w", q.n, err)
	}
	now := q.j.Clock.Now().Round(0).UTC()
	for _, rows := range packed {
		if err := store.SetJSON(tx, q.segmentKey(t.Segment), segment{schema, t.Seq, t.Bytes, now, rows}); err != nil {
			return err
		}
		t.Seq += uint64(len(rows))
		t.Bytes += size(rows)
		t.Segment++
	}
	return store.SetJSON(tx, q.key("tail"), t)
}

// pack cuts rows into segments.
func pack(rows []json.RawMessage) (packed [][]json.RawMessage) {
	for len(rows) > 0 {
		n, bytes := 1, len(rows[0])
		for n < len(rows) && bytes+len(rows[n])+1 <= maxSegment {
			bytes += len(rows[n]) + 1
			n++
		}
		packed, rows = append(packed, rows[:n]), rows[n:]
	}
	return packed
}

func size(rows []json.RawMessage) (bytes uint64) {
	for _, r := range rows {
		bytes += uint64(len(r))
	}
	return bytes
}

// measure returns the rows as they are stored.
func measure(rows []json.RawMessage) (texts []json.RawMessage, err error) {
	if len(rows) > MaxAppendRows {
		return nil, fmt.Errorf("%d rows, at most %d at once: %w", len(rows), MaxAppendRows, store.ErrTooLarge)
	}
	texts = make([]json.RawMessage, len(rows))
	for i, r := range rows {
		if texts[i], err = canonical(r); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
		if len(texts[i]) > MaxRow {
			return nil, fmt.Errorf("row %d: %d bytes, at most %d: %w", i, len(texts[i]), MaxRow, store.ErrTooLarge)
		}
	}
	if n := size(texts); n > MaxAppend {
		return nil, fmt.Errorf("%d bytes, at most %d at once: %w", n, MaxAppend, store.ErrTooLarge)
	}
	return texts, nil
}

// makeRoom moves the head on until there is room for more rows, and sweeps so many segments then, or refuses.
func (q *Queue) makeRoom(tx store.Tx, t *tail, rows, bytes uint64, sweep int) error {
	if rows > q.o.MaxRows || bytes > q.o.MaxBytes {
		return fmt.Errorf("%d rows of %d bytes, it holds %d and %d: %w", rows, bytes, q.o.MaxRows, q.o.MaxBytes, ErrQueueFull)
	}
	fits := func(seq, before uint64) bool {
		return t.Seq+rows-seq <= q.o.MaxRows && t.Bytes+bytes-before <= q.o.MaxBytes
	}
	if h := q.known.Load(); h != nil && h.Seq <= t.Seq && fits(h.Seq, h.Bytes) {
		return nil
	}
	_, h, err := q.ends(tx)
	if err != nil || fits(h.Seq, h.Bytes) {
		return err
	}
	if q.o.Overflow == Refuse {
		return fmt.Errorf("%d rows of %d bytes wait for delivery: %w", t.Seq-h.Seq, t.Bytes-h.Bytes, ErrQueueFull)
	}
	next, err := q.advance(tx, t, h, fits)
	if err != nil {
		return err
	}
	next.Dropped += next.Seq - h.Seq
	if err := q.sweep(tx, next, sweep); err != nil {
		return err
	}
	return store.SetJSON(tx, q.key("head"), next)
}

// advance returns h at the first row at which enough says so; a row is the better the later it is. It finds the segment in
// steps that double, then halve, so that it reads few keys whether one row is passed or all.
func (q *Queue) advance(g store.Getter, t *tail, h *head, enough func(seq, before uint64) bool) (*head, error) {
	at := func(n uint64) (bool, error) { // the beginning of segment n, or the end
		if n == t.Segment {
			return enough(t.Seq, t.Bytes), nil
		}
		s, err := q.segment(g, n)
		return err == nil && enough(s.Seq, s.Bytes), err
	}
	low, high := h.Segment, h.Segment // not enough at low; enough at high once found
	for step := uint64(1); ; step *= 2 {
		if high == t.Segment { // the end must do
			break
		}
		high = min(low+step, t.Segment)
		ok, err := at(high)
		if err != nil {
			return nil, err
		}
		if ok {
			break
		}
		low = high
	}
	for high-low > 1 {
		middle := low + (high-low)/2
		ok, err := at(middle)
		if err != nil {
			return nil, err
		}
		if ok {
			high = middle
		} else {
			low = middle
		}
	}
	next := *h
	if low == t.Segment {
		return &next, nil
	}
	s, err := q.segment(g, low)
	if err != nil {
		return nil, err
	}
	next.Seq, next.Bytes, next.Segment = s.Seq, s.Bytes, low
	for _, r := range s.Rows {
		if next.Seq >= h.Seq && enough(next.Seq, next.Bytes) {
			return &next, nil
		}
		next.Seq++
		next.Bytes += uint64(len(r))
	}
	next.Segment++
	return &next, nil
}

// sweep deletes up to most segments that no row of the queue is in.
func (q *Queue) sweep(tx store.Tx, h *head, most int) error {
	for ; most > 0 && h.Swept < h.Segment; most-- {
		if err := tx.Delete(q.segmentKey(h.Swept)); err != nil {
			return err
		}
		h.Swept++
	}
	return nil
}

// Put appends rows in as many Updates of its own as they need, for callers that have no fact to write with them. done tells how
// many of them, from the first, are in the queue; after an error (store.ErrUnknown among them) the others may be put again.
func (q *Queue) Put(ctx context.Context, rows ...json.RawMessage) (done int, err error) {
	for done < len(rows) {
		n, size := 0, 0
		for done+n < len(rows) && n < MaxAppendRows && (n == 0 || size+len(rows[done+n]) <= MaxAppend/2) {
			size += len(rows[done+n])
			n++
		}
		if err := q.j.store.Update(ctx, func(tx store.Tx) error { return q.Append(tx, rows[done:done+n]...) }); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// QueueStats tells how a queue is.
type QueueStats struct {
	Stream  string // empty before the first Append
	Rows    uint64
	Bytes   uint64
	Dropped uint64    // ever, in this store
	Missed  uint64    // of them since the receiver last took a row
	Next    uint64    // the sequence number of the next row
	Oldest  time.Time // when the oldest row was appended; zero if there is none
}

// Stats reads the state of the queue.
func (q *Queue) Stats(ctx context.Context) (st QueueStats, err error) {
	err = q.j.store.View(ctx, func(at store.Snapshot) error {
		t, h, err := q.ends(at)
		if err != nil {
			return err
		}
		st = QueueStats{Stream: t.Stream, Rows: t.Seq - h.Seq, Bytes: t.Bytes - h.Bytes, Dropped: h.Dropped, Missed: h.Seq - h.Acked, Next: t.Seq}
		if st.Rows > 0 {
			s, err := q.segment(at, h.Segment)
			if err != nil {
				return err
			}
			st.Oldest = s.At
		}
		return nil
	})
	return st, err
}
