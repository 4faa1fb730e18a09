package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// maxLog is how many entries of one gateway's log are kept; writing one more drops the oldest in the same transaction. Who asks for what
// came after a dropped one is told everything.
const maxLog = 4096

// scheduleHead is the one record that every change of a gateway's schedule touches, so that changes have one order.
type scheduleHead struct {
	Epoch      string    `json:"epoch"` // of the numbers: another store has another one
	Seq        uint64    `json:"seq"`
	Contract   string    `json:"contract,omitempty"` // entity tag that was told last
	Deliveries int       `json:"deliveries,omitempty"`
	Background int       `json:"background,omitempty"`
	Report     string    `json:"report,omitempty"` // the last one
	ReportedAt time.Time `json:"reportedAt,omitzero"`
}

// logEntry is one transaction's news: an event, and what of the list of deliveries is to be looked at again. It says where to look and
// not what is there, so an old entry is never wrong.
type logEntry struct {
	Type       string    `json:"type"`
	Object     string    `json:"object,omitempty"`
	At         time.Time `json:"at"`
	Owner      string    `json:"owner,omitempty"`      // the gateway of these
	Deliveries []string  `json:"deliveries,omitempty"` // written or removed
	Device     string    `json:"device,omitempty"`     // its mode changed: all its deliveries
}

func headKey(gateway string) string   { return "schedule/" + gateway }
func logPrefix(gateway string) string { return "schedule-log/" + gateway + "/" }
func logKey(gateway string, seq uint64) string {
	return fmt.Sprintf("%s%016d", logPrefix(gateway), seq)
}

// head reads a gateway's head, a new one if there is none.
func (s *Server) head(g store.Getter, gateway string) (scheduleHead, error) {
	h, there, err := store.FindJSON[scheduleHead](g, headKey(gateway))
	if !there {
		h.Epoch = s.epoch
	}
	return h, err
}

// note writes an entry into the logs of all gateways of a chain. edit, which may be nil, changes the first one's head besides.
func (s *Server) note(tx store.Tx, chain []string, e logEntry, edit func(*scheduleHead) error) error {
	for i, gateway := range chain {
		h, err := s.head(tx, gateway)
		if err != nil {
			return err
		}
		h.Seq++
		if edit != nil && i == 0 {
			if err := edit(&h); err != nil {
				return err
			}
		}
		if err := put(tx, logKey(gateway, h.Seq), e); err != nil {
			return err
		}
		if h.Seq > maxLog {
			if err := tx.Delete(logKey(gateway, h.Seq-maxLog)); err != nil {
				return err
			}
		}
		if err := put(tx, headKey(gateway), h); err != nil {
			return err
		}
	}
	return nil
}

// change runs an Update whose entry goes to a chain, and wakes those that wait for news.
func (s *Server) change(ctx context.Context, chain []string, fn func(store.Tx) error) error {
	if err := s.Store.Update(ctx, fn); err != nil {
		return refusalOr500(err)
	}
	s.news.wake(chain)
	return nil
}

// chain is the gateway and those that it is behind.
func (s *Server) chain(gateway string) ([]string, error) {
	tree, err := s.Folder.Tree()
	if err != nil {
		return nil, internal(err)
	}
	chain := tree.Chain(gateway)
	if chain == nil {
		return nil, refuse(404, ReasonNoGateway, "the region has no such gateway")
	}
	return chain, nil
}

// together holds other changes of the schedules of a chain's gateways off, so that what a change was checked against is what it changes.
// The server is the only writer of its store.
func (s *Server) together(chain []string) func() {
	gate := s.trees.of(chain[len(chain)-1])
	gate.Lock()
	return gate.Unlock
}

// deltaToken names a place in a gateway's log.
func deltaToken(h scheduleHead) string { return h.Epoch + "." + strconv.FormatUint(h.Seq, 10) }

// parseDelta returns the place that a token names, or false if the log does not reach back to it.
func parseDelta(h scheduleHead, token string) (seq uint64, ok bool) {
	epoch, number, _ := strings.Cut(token, ".")
	seq, err := strconv.ParseUint(number, 10, 64)
	return seq, err == nil && epoch == h.Epoch && h.reaches(seq)
}

// reaches reports whether all entries after seq are kept.
func (h scheduleHead) reaches(seq uint64) bool { return seq <= h.Seq && h.Seq-seq <= maxLog }

// entries reads up to limit log entries after seq.
func entries(at store.Snapshot, gateway string, seq uint64, limit int) (list []logEntry, last uint64, err error) {
	found, err := at.Scan(logPrefix(gateway), logKey(gateway, seq), limit)
	if err != nil {
		return nil, 0, err
	}
	last = seq
	for _, r := range found {
		e, err := decodeRecord[logEntry](r)
		if err != nil {
			return nil, 0, err
		}
		if last, err = strconv.ParseUint(r.Key[len(logPrefix(gateway)):], 10, 64); err != nil {
			return nil, 0, fmt.Errorf("record %q: %w", r.Key, err)
		}
		list = append(list, e)
	}
	return list, last, nil
}

// news lets long polls wait. What is told is in the store; a wake says only that there may be more.
type news struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
	polls   map[string]int
}

// maxPolls is how many long polls may wait for one gateway's news at once: each looks at the contract every second.
const maxPolls = 16

// enter counts a long poll in until leave is called, or returns false if there are too many.
func (n *news) enter(gateway string) (leave func(), ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.polls[gateway] >= maxPolls {
		return nil, false
	}
	n.polls[gateway]++
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.polls[gateway]--; n.polls[gateway] == 0 {
			delete(n.polls, gateway)
		}
	}, true
}

// of returns a channel that is closed at the gateway's next news.
func (n *news) of(gateway string) <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	c, ok := n.waiting[gateway]
	if !ok {
		c = make(chan struct{})
		n.waiting[gateway] = c
	}
	return c
}

func (n *news) wake(gateways []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range gateways {
		if c, ok := n.waiting[g]; ok {
			close(c)
			delete(n.waiting, g)
		}
	}
}

// event is an entry as a gateway sees it.
func (e logEntry) event(seq uint64) api.ScheduleEvent {
	return api.ScheduleEvent{Seq: seq, Type: e.Type, Object: e.Object, At: e.At}
}
