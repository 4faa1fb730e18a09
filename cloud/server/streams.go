package server

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

const (
	// endedStreams is how many streams before the present one are remembered, to tell a late retry from a new stream.
	endedStreams = 64
	// chunkKeys is how many keys a chunk may touch besides its stream's.
	chunkKeys = store.MaxUpdateKeys - 4
)

// kind is what a gateway's stream brings.
type kind string

const (
	kindTelemetry kind = "telemetry"
	kindAlerts    kind = "alerts"
)

// streamRecord is how far one kind of a gateway's items has come. It is written in the same transaction as the items, so
// that an item is stored if and only if Last says so.
type streamRecord struct {
	Stream  string    `json:"stream"`
	Last    uint64    `json:"last"`
	Missing uint64    `json:"missing"` // sequences that never came, over all streams
	At      time.Time `json:"at"`      // when the last item came
	Ended   []ended   `json:"ended,omitempty"`
	Alerts  uint64    `json:"alerts,omitempty"` // kindAlerts: how many were stored, which numbers the list
}

type ended struct {
	Stream string `json:"stream"`
	Last   uint64 `json:"last"`
}

func streamKey(gateway string, k kind) string { return "stream/" + gateway + "/" + string(k) }

// batch is what the two kinds have in common.
type batch[I any] struct {
	gateway  string
	kind     kind
	stream   string
	items    []I
	sequence func(I) uint64
	// cost is how many keys an item touches that no item before it in the chunk does.
	cost func(I, map[string]bool) int
	// keep stores the items of a chunk and says so in the record, which the caller writes.
	keep func(store.Tx, *streamRecord, []I) error
}

// gates keep batches of one gateway and kind from overtaking one another between their chunks: an item that was overtaken would
// be taken for one that is stored. The server is the only writer of its store, so a lock in memory is enough.
type gates struct {
	seed maphash.Seed
	each [64]sync.Mutex
}

func (g *gates) of(key string) *sync.Mutex {
	return &g.each[maphash.String(g.seed, key)%uint64(len(g.each))]
}

// take stores a batch in chunks that each fit into one transaction, with the stream's place. A crash between two chunks leaves
// the stored ones stored, and the caller's retry goes on behind them.
func take[I any](ctx context.Context, s *Server, b batch[I]) (api.Accepted, error) {
	last := uint64(0)
	for _, i := range b.items {
		if b.sequence(i) <= last {
			return api.Accepted{}, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the sequences of a batch must rise")
		}
		last = b.sequence(i)
	}
	gate := s.gates.of(streamKey(b.gateway, b.kind))
	gate.Lock()
	defer gate.Unlock()
	accepted, rest, limit := uint64(0), b.items, len(b.items)
	for {
		chunk := rest[:b.chunk(rest, limit)]
		err := store.UpdateUntilKnown(ctx, s.Store, func(tx store.Tx) (err error) {
			accepted, err = b.store(tx, s.Clock.Now().UTC(), chunk)
			return err
		})
		if errors.Is(err, store.ErrTooLarge) && len(chunk) > 1 {
			limit = len(chunk) / 2 // one item always fits
			continue
		}
		if err != nil {
			return api.Accepted{}, refusalOr500(err)
		}
		if rest = rest[len(chunk):]; len(rest) == 0 {
			return api.Accepted{Stream: b.stream, Accepted: accepted}, nil
		}
	}
}

// chunk is how many of the items, at most limit and at least one, touch few enough keys for one transaction.
func (b batch[I]) chunk(items []I, limit int) int {
	touched, keys := map[string]bool{}, 0
	for n, i := range items[:min(len(items), limit)] {
		if keys += b.cost(i, touched); keys > chunkKeys && n > 0 {
			return n
		}
	}
	return min(len(items), limit)
}

// store is one transaction. It returns how far the stream is stored.
func (b batch[I]) store(tx store.Tx, now time.Time, items []I) (uint64, error) {
	r, there, err := store.FindJSON[streamRecord](tx, streamKey(b.gateway, b.kind))
	if err != nil {
		return 0, err
	}
	if !there || r.Stream != b.stream {
		if i := slices.IndexFunc(r.Ended, func(e ended) bool { return e.Stream == b.stream }); i >= 0 {
			// A retry whose first answer was lost. What is stored is acknowledged; what is not has been given up by the gateway.
			if b.sequence(items[len(items)-1]) <= r.Ended[i].Last {
				return r.Ended[i].Last, nil
			}
			return 0, refuse(http.StatusConflict, ReasonStreamEnded,
				"the gateway has begun stream "+r.Stream+" since; what is not stored of this one must be sent under the new one")
		}
		if there {
			r.Ended = append(r.Ended, ended{r.Stream, r.Last})
			r.Ended = r.Ended[max(0, len(r.Ended)-endedStreams):]
		}
		r.Stream, r.Last = b.stream, 0
	}
	fresh := items[:0:0]
	for _, i := range items {
		n := b.sequence(i)
		if n <= r.Last {
			continue
		}
		r.Missing += n - r.Last - 1
		r.Last = n
		fresh = append(fresh, i)
	}
	if len(fresh) == 0 {
		return r.Last, nil
	}
	r.At = now
	if err := b.keep(tx, &r, fresh); err != nil {
		return 0, err
	}
	return r.Last, put(tx, streamKey(b.gateway, b.kind), r)
}
