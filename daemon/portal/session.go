package portal

import (
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/mfpgate/mfpgate"
)

// How long a login lasts.
const (
	IdleTimeout = time.Hour      // without anything that the user did
	Lifetime    = 12 * time.Hour // in all: a working day
)

// maxSessions bounds memory. Beyond it the session that was unused for longest ends.
const maxSessions = 1024

// CookieName has the prefix that makes browsers insist on Secure, on Path=/ and on the very host (RFC 6265bis §4.1.3.2).
const CookieName = "__Host-mfpgate"

// What a session keeps: the account, and since when it is as it was at the login.
const (
	userKey    = "user"
	changedKey = "changed"
)

// sessions is scs's store. It goes by the injected clock, is bounded, and needs no goroutine; scs's own is none of these.
type sessions struct {
	clock mfpgate.Clock

	mu      sync.Mutex
	byToken map[string]session
}

type session struct {
	data       []byte
	made, used time.Time
	end        chan struct{} // closed when the session is taken away
}

var _ scs.Store = (*sessions)(nil)

func newSessions(clock mfpgate.Clock) (*sessions, *scs.SessionManager) {
	s := &sessions{clock: clock, byToken: map[string]session{}}
	// Not scs.New: it starts a goroutine that nothing can wait for.
	return s, &scs.SessionManager{Lifetime: Lifetime, Store: s, Codec: scs.GobCodec{},
		ErrorFunc: func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "The session cannot be read; log in again.", http.StatusInternalServerError)
		},
		Cookie: scs.SessionCookie{Name: CookieName, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode}}
}

// Find implements scs.Store.
func (s *sessions) Find(token string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byToken[token]
	if !ok || s.over(found) {
		s.drop(token)
		return nil, false, nil
	}
	return found.data, true, nil
}

// Commit implements scs.Store. The expiry is the store's own affair.
func (s *sessions) Commit(token string, data []byte, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	kept, ok := s.byToken[token]
	if !ok {
		s.makeRoom()
		kept.made, kept.end = now, make(chan struct{})
	}
	kept.data, kept.used = data, now
	s.byToken[token] = kept
	return nil
}

// Delete implements scs.Store.
func (s *sessions) Delete(token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(token)
	return nil
}

func (s *sessions) drop(token string) {
	if found, ok := s.byToken[token]; ok {
		close(found.end)
		delete(s.byToken, token)
	}
}

// ended is closed when the session is taken away: by a logout, a new login or for want of room. That its time is over is for the
// reader to ask, with alive.
func (s *sessions) ended(token string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byToken[token]
	if !ok {
		found.end = make(chan struct{})
		close(found.end)
	}
	return found.end
}

// alive reports whether the session goes on, without being something that the user did.
func (s *sessions) alive(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byToken[token]
	return ok && !s.over(found)
}

// touch starts the idle time anew.
func (s *sessions) touch(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, ok := s.byToken[token]; ok {
		found.used = s.clock.Now()
		s.byToken[token] = found
	}
}

func (s *sessions) over(x session) bool {
	now := s.clock.Now()
	return now.Sub(x.made) >= Lifetime || now.Sub(x.used) >= IdleTimeout
}

func (s *sessions) makeRoom() {
	if len(s.byToken) < maxSessions {
		return
	}
	var oldest string
	for token, x := range s.byToken {
		switch {
		case s.over(x):
			s.drop(token)
		case oldest == "" || x.used.Before(s.byToken[oldest].used):
			oldest = token
		}
	}
	if len(s.byToken) >= maxSessions {
		s.drop(oldest)
	}
}
