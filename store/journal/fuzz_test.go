package journal_test

import (
	"context"
	"errors"
	"testing"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/store/memory"
)

// FuzzRecords puts hostile bytes in the place of a record and uses it in every way: nothing may panic or hang, and what is not
// refused must leave the queue in a state that can be read.
func FuzzRecords(f *testing.F) {
	keys := []string{
		"journal/intent/i", "journal/queue/up/tail", "journal/queue/up/head", "journal/queue/up/row/00000000000000000000",
		"journal/queue/up/row/00000000000000000001", "audit/osaka-1/room/00000000000000000001", "audit/osaka-1/room/head", "idempotency/s",
	}
	fill := func(h *site, q *journal.Queue) {
		h.intend(journal.Intent{ID: "i", Kind: "k"})
		h.append(q, numbers(1, 2)...)
		h.append(q, numbers(3, 4)...)
		h.update(func(tx store.Tx) error { return h.Audit(tx, journal.Entry{Action: "a"}) })
	}
	whole := newSite(f, memory.New())
	fill(whole, whole.Queue("up", journal.QueueOptions{MaxRows: 4, MaxBytes: 99, Overflow: journal.DropOldest}))
	for n, key := range keys {
		f.Add(uint8(n), []byte(whole.read(key)))
	}
	f.Add(uint8(1), []byte(`{"schema":1,"stream":"s","seq":18446744073709551615,"segment":18446744073709551615,"bytes":18446744073709551615}`))
	f.Add(uint8(2), []byte(`{"schema":1,"seq":4,"segment":1,"bytes":3,"swept":1}`))
	f.Add(uint8(3), []byte(`{"schema":1,"seq":18446744073709551615,"rows":[1,2]}`))
	f.Fuzz(func(t *testing.T, n uint8, data []byte) {
		if len(data) > store.MaxValue {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h := newSite(t, memory.New(), func(o *journal.Options) {
			o.Observe = func(e journal.Event) {
				if e.What == journal.Undelivered { // what cannot be read is not waited for
					cancel()
				}
			}
		})
		q := h.Queue("up", journal.QueueOptions{MaxRows: 4, MaxBytes: 99, Overflow: journal.DropOldest})
		fill(h, q)
		h.update(func(tx store.Tx) error { return tx.Set(keys[int(n)%len(keys)], data) })
		h.list()
		_, _ = h.ListAudit(t.Context(), 0, 10)
		if _, err := journal.VerifyAudit(t.Context(), h.store, "audit/"); err != nil {
			t.Error(err)
		}
		_ = h.store.Update(t.Context(), func(tx store.Tx) error {
			_, _, err := journal.Once(tx, "s", "k", 1, func() (int, error) { return 1, nil })
			return err
		})
		_ = h.store.Update(t.Context(), func(tx store.Tx) error { return h.Audit(tx, journal.Entry{Action: "b"}) })
		for range 2 {
			if err := h.store.Update(ctx, func(tx store.Tx) error { return q.Append(tx, number(5)) }); err == nil {
				_, err := q.Stats(ctx)
				if err != nil && !errors.Is(err, store.ErrDamaged) {
					t.Errorf("stats: %v", err)
				}
			}
		}
		st, err := q.Stats(ctx)
		if err != nil || st.Rows == 0 {
			return
		}
		stop := errors.New("stop")
		calls := 0
		err = q.Deliver(ctx, 3, 99, func(_ context.Context, b journal.Batch) (uint64, error) {
			if calls++; calls == 2 {
				return b.End(), journal.Permanent(stop)
			}
			if b.End() >= st.Next {
				cancel()
			}
			return b.End(), nil
		})
		if err != nil && !errors.Is(err, stop) {
			t.Errorf("Deliver: %v", err)
		}
	})
}
