package region

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// MaxPage is the most moves that Changes returns at once.
const MaxPage = 100

// MaxList is the most moves that Page returns at once.
const MaxList = 500

// Changes returns the moves of a gateway that have changed since cursor, in the order of their last changes, at most limit (0 and
// what is more than MaxPage is that), and the cursor to go on from. The cursor "" is before all; one that this store has not given
// is taken as that, too: the store may be an old one that was restored.
func (s *Saga) Changes(ctx context.Context, gateway, cursor string, limit int) (moves []mfpgate.Move, next string, err error) {
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		moves = []mfpgate.Move{}
		from, last, err := position(at, gateway, cursor)
		if err != nil {
			return err
		}
		page, err := at.Scan(feedOf(gateway), feedKey(gateway, from), limit)
		if err != nil {
			return err
		}
		for _, rec := range page {
			var c change
			if err := json.Unmarshal(rec.Value, &c); err != nil {
				return fmt.Errorf("record %q: %w: %w", rec.Key, store.ErrDamaged, err)
			}
			r, err := getRecord(at, c.Move)
			if err != nil {
				return err
			}
			moves, next = append(moves, r.Move), strconv.FormatUint(r.Position, 10)
		}
		if len(page) < limit { // the last position may be of a move that was swept
			next = strconv.FormatUint(last, 10)
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("changes of moves: %w", err)
	}
	return moves, next, nil
}

// position reads a cursor, and the last position of the gateway's feed.
func position(g store.Getter, gateway, cursor string) (from, last uint64, err error) {
	last, _, err = store.FindJSON[uint64](g, feedHead(gateway))
	if err != nil {
		return 0, 0, err
	}
	from, bad := strconv.ParseUint(cursor, 10, 64)
	if bad != nil || from > last {
		from = 0
	}
	return from, last, nil
}

// Await returns when a move of the gateway has changed since cursor, or with ctx's error. It waits as long as ctx if the saga does
// not run.
func (s *Saga) Await(ctx context.Context, gateway, cursor string) error {
	for {
		changed := s.hub.wait(gateway)
		var from, last uint64
		err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
			from, last, err = position(at, gateway, cursor)
			return err
		})
		if err != nil || last > from {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// follow tells of each change.
func (s *Saga) follow(ctx context.Context) error {
	for batch, err := range s.Store.Watch(ctx, feedPrefix) {
		if err != nil {
			return err
		}
		if batch.Reset {
			s.hub.tellAll()
			s.Changed("")
			continue
		}
		for _, c := range batch.Changes {
			var is change
			if c.Deleted || json.Unmarshal(c.Value, &is) != nil {
				continue
			}
			gateway, _, _ := strings.Cut(strings.TrimPrefix(c.Key, feedPrefix), "/")
			if gateway, err = url.PathUnescape(gateway); err == nil {
				s.hub.tell(gateway)
			}
			s.Log.Info().Str(field.Move, string(is.Move)).Str(field.Gateway, gateway).Str(field.State, string(is.State)).
				Str(field.Step, string(is.Step)).Str(field.Reason, string(is.Reason)).Msg(event.MoveChanged)
			s.Changed(is.Move)
		}
	}
	if ctx.Err() == nil {
		return errors.New("changes of moves are not told of any more")
	}
	return nil
}

// hub wakes who waits for a change of a gateway's moves.
type hub struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
}

func (h *hub) wait(gateway string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.waiting[gateway]
	if c == nil {
		c = make(chan struct{})
		h.waiting[gateway] = c
	}
	return c
}

func (h *hub) tell(gateway string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.waiting[gateway]; c != nil {
		close(c)
		delete(h.waiting, gateway)
	}
}

func (h *hub) tellAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for gateway, c := range h.waiting {
		close(c)
		delete(h.waiting, gateway)
	}
}
