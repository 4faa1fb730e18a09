package print

import (
	"net/http"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api/sse"
	"github.com/mfpgate/mfpgate/store"
)

// streams are who listens for changes, by code.
type streams struct {
	mu  sync.Mutex
	all int
	of  map[string]map[chan struct{}]bool
}

// join adds a listener of a code, or nil if there are too many.
func (s *streams) join(code string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStreams || len(s.of[code]) >= maxStreamsOfCode {
		return nil
	}
	if s.of[code] == nil {
		s.of[code] = map[chan struct{}]bool{}
	}
	c := make(chan struct{}, 1)
	s.of[code][c] = true
	s.all++
	return c
}

func (s *streams) leave(code string, c chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of[code], c)
	if len(s.of[code]) == 0 {
		delete(s.of, code)
	}
	s.all--
}

// changed wakes who listens. One that has not looked since the last time is woken once: the poll says what changed.
func (s *streams) changed(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.of[code] {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// deviceEvents tells when something changed: a decision, or the end of an operation. It ends with the code's time.
func (s *Service) deviceEvents(w http.ResponseWriter, r *http.Request) {
	deviceCode, ok := bearer(r)
	if !ok {
		s.problem(w, r, s.askToken(ReasonNoToken, "Send the device_code as `Authorization: Bearer DEVICE_CODE`.", ""))
		return
	}
	hash := s.codeHash(deviceCode.Reveal())
	woken := s.streams.join(hash)
	if woken == nil {
		s.problem(w, r, refuse(http.StatusServiceUnavailable, ReasonTooMany, "Too many event streams are open; poll instead.").after(time.Minute))
		return
	}
	defer s.streams.leave(hash, woken)
	// Read after joining: what changes from here on wakes us, and what changed before is seen here.
	var c codeRecord
	err := s.Store.View(r.Context(), func(at store.Snapshot) error {
		found, there, err := get[codeRecord](at, codeKey(hash))
		if c = found; err == nil && !there {
			return s.askToken(ReasonBadToken, "This device_code is not known.", "invalid_token")
		}
		return err
	})
	left := c.Expires.Sub(s.Clock.Now())
	if err == nil && left <= 0 {
		err = s.askToken(ReasonExpired, "The code has expired.", "invalid_token")
	}
	if err != nil {
		s.problem(w, r, err)
		return
	}
	out := sse.Open(w)
	if out.Comment("open") == nil && (c.State == codePending || changed(out) == nil) {
		s.listen(r, out, woken, left)
	}
}

func changed(out *sse.Stream) error { return out.Event("changed", []byte("{}")) }

// listen passes on what wakes it, until the client has gone.
func (s *Service) listen(r *http.Request, out *sse.Stream, woken <-chan struct{}, left time.Duration) {
	end, beat := s.Clock.NewTimer(left), s.Clock.NewTimer(s.Heartbeat)
	defer end.Stop()
	defer beat.Stop()
	for {
		var err error
		select {
		case <-woken:
			err = changed(out)
		case <-beat.C():
			err = out.Comment("beat")
		case <-end.C():
			_ = changed(out) // the code has expired; the end of the stream says it too
			return
		case <-s.Ending:
			return
		case <-r.Context().Done():
			return
		}
		if err != nil {
			return
		}
		beat.Reset(s.Heartbeat)
	}
}
