package journal_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/storetest"
)

// receiver takes rows as the other end would: each once, by stream and sequence number.
type receiver struct {
	mu     sync.Mutex
	stream string
	next   uint64 // 0: it has never heard of the stream
	rows   []string
	gaps   uint64
	faults []string
}

func (r *receiver) take(stream string, first uint64, rows []string) (next uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if stream != r.stream {
		r.stream, r.next = stream, first
	}
	if first > r.next {
		r.gaps += first - r.next
		r.next = first
	}
	for i, row := range rows {
		if first+uint64(i) == r.next {
			r.rows = append(r.rows, row)
			r.next++
		}
	}
	return r.next
}

func (r *receiver) deliver(_ context.Context, b journal.Batch) (uint64, error) {
	rows := make([]string, len(b.Rows))
	for i, row := range b.Rows {
		if row.Seq != b.First+uint64(i) {
			r.faults = append(r.faults, fmt.Sprintf("row %d of batch from %d has number %d", i, b.First, row.Seq))
		}
		rows[i] = string(row.Data)
	}
	return r.take(b.Stream, b.First, rows), nil
}

func (h *site) deliver(q *journal.Queue, maxRows, maxBytes int, d journal.Deliverer) (stop func()) {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Deliver(ctx, maxRows, maxBytes, d) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Deliver: %v", err)
		}
	})
	h.t.Cleanup(stop)
	return stop
}

func (h *site) stats(q *journal.Queue) journal.QueueStats {
	h.t.Helper()
	st, err := q.Stats(h.t.Context())
	must(h.t, err)
	return st
}

func (h *site) append(q *journal.Queue, rows ...json.RawMessage) {
	h.t.Helper()
	h.update(func(tx store.Tx) error { return q.Append(tx, rows...) })
}

func numbers(from, to int) (rows []json.RawMessage) {
	for n := from; n <= to; n++ {
		rows = append(rows, number(n))
	}
	return rows
}

func texts(rows []json.RawMessage) (list []string) {
	for _, r := range rows {
		list = append(list, string(r))
	}
	return list
}

// records counts the queue's segments in the store.
func (h *site) records() (n int) {
	must(h.t, h.store.View(h.t.Context(), func(at store.Snapshot) error {
		n = 0
		for _, err := range store.All(at, "journal/queue/up/row/") {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	}))
	return n
}

var roomy = journal.QueueOptions{MaxRows: 100000, MaxBytes: 10 << 20, Overflow: journal.Refuse}

func TestQueueDeliversInOrderAndSweeps(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		h, r := newSite(t, s), &receiver{}
		q := h.Queue("up", roomy)
		h.append(q, numbers(1, 100)...)
		for n := 101; n <= 150; n++ {
			h.append(q, number(n))
		}
		if st := h.stats(q); st.Rows != 150 || st.Bytes != 9+2*90+3*51 || st.Next != 151 || !st.Oldest.Equal(start) || !strings.HasPrefix(st.Stream, "str_") {
			t.Errorf("stats: %+v", st)
		}
		var batches []int
		ready := make(chan struct{}, 100)
		h.deliver(q, 40, 1<<20, func(ctx context.Context, b journal.Batch) (uint64, error) {
			batches = append(batches, len(b.Rows))
			defer func() { ready <- struct{}{} }()
			return r.deliver(ctx, b)
		})
		for range 4 {
			<-ready
		}
		h.append(q, number(151)) // wakes it
		<-ready
		h.await(journal.Delivered, 5)
		if diff := cmp.Diff(texts(numbers(1, 151)), r.rows); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int{40, 40, 40, 30, 1}, batches); diff != "" || r.faults != nil {
			t.Errorf("batches (-want +got):\n%s%v", diff, r.faults)
		}
		if st := h.stats(q); st.Rows != 0 || st.Bytes != 0 || !st.Oldest.IsZero() || h.records() != 0 {
			t.Errorf("left: %+v, %d records", st, h.records())
		}
	})
}

func TestQueueBatchIsBoundedInBytesButNeverEmpty(t *testing.T) {
	h := newSite(t, memory.New())
	q := h.Queue("up", roomy)
	h.append(q, json.RawMessage(`"`+strings.Repeat("x", 98)+`"`), number(1), number(2), number(3))
	var batches []int
	stop := h.deliver(q, 100, 2, func(_ context.Context, b journal.Batch) (uint64, error) {
		batches = append(batches, len(b.Rows))
		return b.End(), nil
	})
	h.await(journal.Delivered, 3)
	stop()
	if diff := cmp.Diff([]int{1, 2, 1}, batches); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
}

func TestQueueOverflow(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		o        journal.QueueOptions
		first    uint64 // after twelve rows of two bytes
		bytes    uint64
		refused  bool
		appended []int // rows of each Append
	}{
		{"room for all", journal.QueueOptions{MaxRows: 12, MaxBytes: 24, Overflow: journal.Refuse}, 1, 24, false, []int{12}},
		{"no room for a row more", journal.QueueOptions{MaxRows: 11, MaxBytes: 99, Overflow: journal.Refuse}, 1, 12, true, []int{6, 6}},
		{"no room for a byte more", journal.QueueOptions{MaxRows: 99, MaxBytes: 23, Overflow: journal.Refuse}, 1, 12, true, []int{6, 6}},
		{"the oldest rows go", journal.QueueOptions{MaxRows: 5, MaxBytes: 99, Overflow: journal.DropOldest}, 8, 10, false, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"the oldest bytes go", journal.QueueOptions{MaxRows: 99, MaxBytes: 11, Overflow: journal.DropOldest}, 8, 10, false, []int{3, 1, 1, 3, 4}},
		{"from the middle of an append", journal.QueueOptions{MaxRows: 7, MaxBytes: 99, Overflow: journal.DropOldest}, 6, 14, false, []int{7, 5}},
		{"all of it", journal.QueueOptions{MaxRows: 6, MaxBytes: 99, Overflow: journal.DropOldest}, 7, 12, false, []int{2, 2, 2, 6}},
		{"more than it holds", journal.QueueOptions{MaxRows: 11, MaxBytes: 99, Overflow: journal.DropOldest}, 1, 0, true, []int{12}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			h := newSite(t, memory.New())
			q := h.Queue("up", tc.o)
			var err error
			row := 10
			for _, n := range tc.appended {
				rows := numbers(row, row+n-1)
				row += n
				err = h.store.Update(t.Context(), func(tx store.Tx) error { return q.Append(tx, rows...) })
			}
			if errors.Is(err, journal.ErrQueueFull) != tc.refused || !tc.refused && err != nil {
				t.Errorf("Append: %v, refused %v", err, tc.refused)
			}
			st := h.stats(q)
			if st.Next-st.Rows != tc.first || st.Bytes != tc.bytes || st.Dropped != tc.first-1 {
				t.Errorf("%+v, want the first to be %d and %d bytes", st, tc.first, tc.bytes)
			}
			if tc.refused {
				return
			}
			r := &receiver{stream: st.Stream, next: 1}
			h.deliver(q, 3, 1<<20, r.deliver)
			for delivered := uint64(0); delivered < st.Rows; {
				delivered += h.await(journal.Delivered, int(delivered/3)+1).Rows
			}
			if diff := cmp.Diff(texts(numbers(9+int(tc.first), 21)), r.rows); diff != "" || r.gaps != tc.first-1 {
				t.Errorf("rows (-want +got):\n%sgaps: %d", diff, r.gaps)
			}
		})
	}
}

func TestQueueDropsManySmallRowsForALargeOne(t *testing.T) {
	h := newSite(t, memory.New())
	q := h.Queue("up", journal.QueueOptions{MaxRows: 1 << 20, MaxBytes: journal.MaxAppend, Overflow: journal.DropOldest})
	for n := range 300 {
		h.append(q, number(n))
	}
	var large []json.RawMessage
	for range 8 {
		large = append(large, json.RawMessage(`"`+strings.Repeat("x", journal.MaxRow-2)+`"`))
	}
	for n := range 4 {
		h.append(q, large...)
		if st := h.stats(q); st.Rows != 8 || st.Bytes != journal.MaxAppend || st.Dropped != uint64(300+8*n) {
			t.Fatalf("after %d: %+v", n, st)
		}
	}
	if n := h.records(); n != 300-4*4 { // each swept what it added, and four more
		t.Errorf("%d records", n)
	}
	if done, err := q.Put(t.Context(), append(large, large...)...); done != 16 || err != nil {
		t.Errorf("Put: %d, %v", done, err)
	}
	h.deliver(q, 100, 1<<20, func(_ context.Context, b journal.Batch) (uint64, error) { return b.End(), nil })
	h.await(journal.Delivered, 1)
	if n := h.records(); n != 0 {
		t.Errorf("%d records: what was dropped is not swept", n)
	}
}

func TestAppendLimits(t *testing.T) {
	h := newSite(t, memory.New())
	q := h.Queue("up", roomy)
	for _, tc := range []struct {
		rule string
		rows []json.RawMessage
		want error
	}{
		{"no row", nil, nil},
		{"a thousand rows", numbers(1, journal.MaxAppendRows), nil},
		{"a row more", numbers(0, journal.MaxAppendRows), store.ErrTooLarge},
		{"a large row", []json.RawMessage{[]byte(`"` + strings.Repeat("x", journal.MaxRow-1) + `"`)}, store.ErrTooLarge},
		{"a row that grows when it is escaped", []json.RawMessage{[]byte(`"` + strings.Repeat("<", journal.MaxRow/2) + `"`)}, store.ErrTooLarge},
		{"a row that is no JSON", []json.RawMessage{number(1), []byte("x")}, journal.ErrInvalid},
		{"no text is null", []json.RawMessage{nil}, nil},
	} {
		err := h.store.Update(t.Context(), func(tx store.Tx) error { return q.Append(tx, tc.rows...) })
		if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", tc.rule, err, tc.want)
		}
	}
	if st := h.stats(q); st.Rows != 1001 {
		t.Errorf("stats: %+v", st)
	}
	must(t, h.store.Update(t.Context(), func(tx store.Tx) error { // two in one transaction
		return errors.Join(q.Append(tx, number(1)), q.Append(tx, number(2)))
	}))
	if st := h.stats(q); st.Rows != 1003 {
		t.Errorf("stats: %+v", st)
	}
}

func TestDeliveryFailsPartlyAndGoesOn(t *testing.T) {
	unsure := &storetest.Unsure{Store: memory.New()}
	h, r := newSite(t, unsure), &receiver{}
	q := h.Queue("up", roomy)
	h.append(q, numbers(1, 10)...)
	var firsts []uint64
	h.deliver(q, 100, 1<<20, func(ctx context.Context, b journal.Batch) (uint64, error) {
		firsts = append(firsts, b.First)
		switch len(firsts) {
		case 1: // half of it, and the outcome of the removal is not known
			unsure.Next(storetest.CommittedUnseen, storetest.LostUnseen)
			b.Rows = b.Rows[:5]
			next, _ := r.deliver(ctx, b)
			return next, journal.RetryAfter(errors.New("slow down"), time.Minute)
		case 2:
			return 0, errors.New("away")
		case 3:
			return b.First, nil // nothing, without a reason
		}
		return r.deliver(ctx, b)
	})
	for n, least := range []time.Duration{time.Minute, time.Second, 2 * time.Second} {
		e := h.await(journal.Undelivered, n+1)
		if wait := e.Next.Sub(h.clock.Now()); wait < least/2 || wait > 2*least {
			t.Errorf("pause %d is %v", n, wait)
		}
		h.clock.AwaitTimers(1)
		h.clock.Advance(time.Minute)
	}
	h.await(journal.Delivered, 2)
	if diff := cmp.Diff([]uint64{1, 6, 6, 6}, firsts); diff != "" {
		t.Errorf("batches begin at (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(texts(numbers(1, 10)), r.rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestDropDuringDeliveryIsCountedOnlyIfLost(t *testing.T) {
	h, r := newSite(t, memory.New()), &receiver{}
	q := h.Queue("up", journal.QueueOptions{MaxRows: 4, MaxBytes: 99, Overflow: journal.DropOldest})
	h.append(q, numbers(1, 4)...)
	first := true
	stop := h.deliver(q, 3, 99, func(ctx context.Context, b journal.Batch) (uint64, error) {
		if first {
			first = false
			h.append(q, numbers(5, 6)...) // 1 and 2 go, and yet they arrive
		}
		return r.deliver(ctx, b)
	})
	h.await(journal.Delivered, 2)
	stop()
	if st := h.stats(q); st.Dropped != 0 || st.Rows != 0 {
		t.Errorf("stats: %+v", st)
	}
	if diff := cmp.Diff(texts(numbers(1, 6)), r.rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestRestoredGatewayGetsANewStream(t *testing.T) {
	for _, renewed := range []bool{true, false} {
		h := newSite(t, memory.New())
		q := h.Queue("up", roomy)
		h.append(q, numbers(1, 10)...)
		old := h.stats(q).Stream
		r := &receiver{stream: old, next: 50} // it has seen more than this store knows of
		if renewed {
			must(t, h.RenewStreams(t.Context()))
		}
		h.deliver(q, 100, 99, r.deliver)
		if !renewed {
			h.await(journal.Undelivered, 1)
			h.clock.AwaitTimers(1)
			h.clock.Advance(time.Second)
		}
		h.await(journal.Delivered, 1)
		if diff := cmp.Diff(texts(numbers(1, 10)), r.rows); diff != "" || r.stream == old {
			t.Errorf("renewed %v: rows (-want +got):\n%s, stream %s", renewed, diff, r.stream)
		}
	}
}

func TestDeliverEnds(t *testing.T) {
	h := newSite(t, memory.New())
	q := h.Queue("up", roomy)
	h.append(q, number(1))
	gone := errors.New("gone for good")
	entered := make(chan struct{})
	leave := make(chan error)
	done := make(chan error)
	go func() {
		done <- q.Deliver(t.Context(), 1, 1, func(context.Context, journal.Batch) (uint64, error) {
			close(entered)
			return 0, <-leave
		})
	}()
	<-entered
	if err := q.Deliver(t.Context(), 1, 1, nil); !errors.Is(err, journal.ErrRunning) {
		t.Errorf("a second Deliver: %v", err)
	}
	leave <- journal.Permanent(gone)
	if err := <-done; !errors.Is(err, gone) {
		t.Errorf("Deliver: %v", err)
	}
	must(t, h.store.Close())
	if err := q.Deliver(t.Context(), 1, 1, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("on a closed store: %v", err)
	}
}

func TestManyAppenders(t *testing.T) {
	drivers(t, func(t *testing.T, s store.Store) {
		h, r := newSite(t, s), &receiver{}
		q := h.Queue("up", roomy)
		h.deliver(q, 7, 1<<20, r.deliver)
		var all sync.WaitGroup
		for a := range 4 {
			all.Go(func() {
				for n := range 25 {
					if err := s.Update(t.Context(), func(tx store.Tx) error { return q.Append(tx, number(100*a+n)) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for late := time.After(deadline); h.stats(q).Rows > 0; {
			select {
			case <-h.told:
			case <-late:
				t.Fatal("rows are left")
			}
		}
		if len(r.rows) != 100 || r.gaps != 0 {
			t.Errorf("%d rows, %d gaps", len(r.rows), r.gaps)
		}
	})
}
