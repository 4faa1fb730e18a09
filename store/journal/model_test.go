package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/storetest"
)

// TestQueueAgainstModel runs random appends, deliveries, overflows, lost answers, unknown outcomes and restarts against a list.
func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		s := memory.New()
		unsure := &storetest.Unsure{Store: s}
		o := journal.QueueOptions{MaxRows: 1 + random.Uint64N(12), MaxBytes: 4 + random.Uint64N(40), Overflow: journal.DropOldest}
		if random.IntN(3) == 0 {
			o.Overflow = journal.Refuse
		}
		h := newSite(t, unsure)
		q, r := h.Queue("up", o), &receiver{next: 1}
		// The model: the rows in the queue, the number of the first of them, what the receiver must have, and what is lost.
		var waiting, arrived []string
		first, lost, heard := uint64(1), uint64(0), uint64(1) // heard: the receiver's next
		value := 0
		size := func() (n uint64) {
			for _, w := range waiting {
				n += uint64(len(w))
			}
			return n
		}
		trace := ""
		for range 60 {
			switch op := random.IntN(10); {
			case op < 5: // append
				var rows []json.RawMessage
				for range 1 + random.IntN(5) {
					value++
					rows = append(rows, number(value*[]int{1, 1000}[random.IntN(2)]))
				}
				err := h.store.Update(t.Context(), func(tx store.Tx) error { return q.Append(tx, rows...) })
				trace += fmt.Sprintf("append %s: %v\n", rows, err)
				var bytes uint64
				for _, row := range rows {
					bytes += uint64(len(row))
				}
				never := uint64(len(rows)) > o.MaxRows || bytes > o.MaxBytes
				full := uint64(len(waiting)+len(rows)) > o.MaxRows || size()+bytes > o.MaxBytes
				if refused := never || full && o.Overflow == journal.Refuse; refused != (err != nil) {
					t.Fatalf("seed %d: refused %v, want %v\n%s", seed, err, refused, trace)
				} else if refused {
					continue
				}
				waiting = append(waiting, texts(rows)...)
				for uint64(len(waiting)) > o.MaxRows || size() > o.MaxBytes {
					waiting = waiting[1:]
					first++
					lost++
				}
			case op < 9: // deliver one batch; the answer may be lost, the outcome unknown
				if len(waiting) == 0 {
					continue
				}
				answerLost := random.IntN(3) == 0
				ctx, cancel := context.WithCancel(t.Context())
				var batch journal.Batch
				err := q.Deliver(ctx, 1+random.IntN(6), 1+random.IntN(30), func(ctx context.Context, b journal.Batch) (uint64, error) {
					defer cancel() // after this batch
					batch = b
					if r.stream == "" {
						r.stream = b.Stream
					}
					next, err := r.deliver(ctx, b)
					if answerLost {
						return 0, context.Canceled
					}
					for range random.IntN(3) { // each is met by the Updates that follow the call
						unsure.Next(storetest.Fate(random.IntN(2) == 0))
					}
					return next, err
				})
				must(t, err)
				trace += fmt.Sprintf("deliver %d rows from %d, answer lost %v\n", len(batch.Rows), batch.First, answerLost)
				if batch.First != first || batch.Dropped != lost {
					t.Fatalf("seed %d: batch from %d, %d dropped; want %d and %d\n%s", seed, batch.First, batch.Dropped, first, lost, trace)
				}
				for i := range batch.Rows {
					if seq := first + uint64(i); seq >= heard {
						arrived = append(arrived, waiting[i])
						heard = seq + 1
					}
				}
				if !answerLost {
					n := r.next - first
					waiting = waiting[n:]
					first += n
				}
			default: // a restart: a new journal on the same facts
				h = newSite(t, unsure)
				q = h.Queue("up", o)
				trace += "restart\n"
			}
			st := h.stats(q)
			if st.Rows != uint64(len(waiting)) || st.Bytes != size() || st.Dropped != lost || st.Next != first+st.Rows {
				t.Fatalf("seed %d: %+v; want first %d, rows %q, lost %d\n%s", seed, st, first, waiting, lost, trace)
			}
			if diff := cmp.Diff(arrived, r.rows); diff != "" || r.faults != nil {
				t.Fatalf("seed %d: arrived (-want +got):\n%s%v\n%s", seed, diff, r.faults, trace)
			}
		}
	}
}
