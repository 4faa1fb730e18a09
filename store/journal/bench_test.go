package journal_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

func line() json.RawMessage { return json.RawMessage(`{"text":"` + strings.Repeat("x", 188) + `"}`) }

func benchmarkAppend(b *testing.B, rows int, parallel bool) {
	s := openBadger(b, b.TempDir())
	h := newSite(b, s)
	q := h.Queue("up", journal.QueueOptions{MaxRows: 100000, MaxBytes: 64 << 20, Overflow: journal.DropOldest})
	batch := make([]json.RawMessage, rows)
	for i := range batch {
		batch[i] = line()
	}
	add := func() {
		if err := s.Update(context.Background(), func(tx store.Tx) error { return q.Append(tx, batch...) }); err != nil {
			b.Error(err)
		}
	}
	if parallel {
		b.SetParallelism(4)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				add()
			}
		})
	} else {
		for b.Loop() {
			add()
		}
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkAppend1(b *testing.B)         { benchmarkAppend(b, 1, false) }
func BenchmarkAppend50(b *testing.B)        { benchmarkAppend(b, 50, false) }
func BenchmarkAppend1Parallel(b *testing.B) { benchmarkAppend(b, 1, true) }

func BenchmarkDeliver(b *testing.B) {
	for name, at := range map[string]int{"appended in 50s": 50, "appended one by one": 1} {
		b.Run(name, func(b *testing.B) {
			s := openBadger(b, b.TempDir())
			h := newSite(b, s)
			q := h.Queue("up", roomy)
			const rows = 5000
			for b.Loop() {
				b.StopTimer()
				batch := make([]json.RawMessage, at)
				for i := range batch {
					batch[i] = line()
				}
				for range rows / at {
					h.append(q, batch...)
				}
				b.StartTimer()
				ctx, cancel := context.WithCancel(b.Context())
				got := 0
				if err := q.Deliver(ctx, 500, 1<<20, func(_ context.Context, batch journal.Batch) (uint64, error) {
					if got += len(batch.Rows); got == rows {
						cancel()
					}
					return batch.End(), nil
				}); err != nil {
					b.Fatal(err)
				}
				cancel()
			}
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
