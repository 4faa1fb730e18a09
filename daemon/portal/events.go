package portal

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api/sse"
)

// The bounds of the streams of events. One is one open page.
const (
	maxStreams     = 128
	maxUserStreams = 8 // of one account

	heartbeat  = 15 * time.Second
	eventGap   = 500 * time.Millisecond // between two events: of many changes at once the page hears once
	retryAfter = 3 * time.Second        // that a browser waits before it comes back
)

// streams counts who listens.
type streams struct {
	mu     sync.Mutex
	all    int
	byUser map[string]int
}

func (s *streams) enter(user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStreams || s.byUser[user] >= maxUserStreams {
		return false
	}
	s.all++
	s.byUser[user]++
	return true
}

func (s *streams) leave(user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.byUser[user]--; s.byUser[user] == 0 {
		delete(s.byUser, user)
	}
}

// events tells a page that something has changed in what it shows: all registrations that the account may see, or the one of the
// address.
func (p *Portal) events(w http.ResponseWriter, r *http.Request) {
	v, id := p.visitor(r), r.PathValue("id")
	if id != "" {
		if _, ok := p.ownRegistration(w, r); !ok {
			return
		}
	}
	p.stream(w, r, "registrations", func(ctx context.Context, changed chan<- struct{}) { p.listen(ctx, v, id, changed) })
}

// stream tells a page, as server-sent events, that something has changed of what listen hears. It says nothing of what; the page asks
// for that, through the same guards as ever. It ends with the session, and when the account changes.
func (p *Portal) stream(w http.ResponseWriter, r *http.Request, what string, listen func(context.Context, chan<- struct{})) {
	v := p.visitor(r)
	if !p.streams.enter(v.Name) {
		w.Header().Set("Retry-After", "15")
		http.Error(w, "Too many pages follow the gateway; close some.", http.StatusServiceUnavailable)
		return
	}
	defer p.streams.leave(v.Name)
	token := p.manager.Token(r.Context())
	ctx, cancel := context.WithCancel(r.Context())
	var listening sync.WaitGroup
	defer listening.Wait()
	defer cancel()
	changed := make(chan struct{}, 1)
	listening.Go(func() { listen(ctx, changed) })

	s := sse.Open(w)
	// The browser comes back by itself, and then hears of a change at once, so nothing is missed in between.
	if s.Retry(retryAfter) != nil {
		return
	}
	beat, pause := p.Clock.NewTimer(heartbeat), p.Clock.NewTimer(0)
	defer beat.Stop()
	defer pause.Stop()
	ended := p.sessions.ended(token)
	heard := changed
	for {
		send := func() error { return s.Comment("still here") }
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-pause.C():
			heard = changed
			continue
		case <-heard:
			heard, send = nil, func() error { return s.Event("changed", []byte(what)) }
			pause.Reset(eventGap)
		case <-beat.C():
		}
		if !p.follows(ctx, v, token) || send() != nil {
			return
		}
		beat.Reset(heartbeat)
	}
}

// api serves the control API. What of it has no end, its own streams of events, ends as ours do: with the session, and when the account
// changes; and is counted with them.
func (p *Portal) api(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/events") {
		p.API.ServeHTTP(w, r)
		return
	}
	v, token := p.visitor(r), p.manager.Token(r.Context())
	if !p.streams.enter(v.Name) {
		w.Header().Set("Retry-After", "15")
		apiProblem(w, http.StatusServiceUnavailable, `{"title":"Service Unavailable","status":503,"detail":"too many streams are open; close some, or ask for the registration itself"}`)
		return
	}
	defer p.streams.leave(v.Name)
	ctx, cancel := context.WithCancel(r.Context())
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() { // ends with ctx
		p.outlast(ctx, v, token)
		cancel()
		if r.Context().Err() == nil {
			_ = http.NewResponseController(w).SetWriteDeadline(p.Clock.Now()) // frees a write that nobody reads
		}
	})
	p.API.ServeHTTP(w, r.WithContext(ctx))
}

// outlast returns when the session is over, the account is another one, or ctx ends.
func (p *Portal) outlast(ctx context.Context, v visitor, token string) {
	ended, beat := p.sessions.ended(token), p.Clock.NewTimer(heartbeat)
	defer beat.Stop()
	for p.follows(ctx, v, token) {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-beat.C():
			beat.Reset(heartbeat)
		}
	}
}

// listen passes on that something has changed, once for however many changes nobody has heard of.
func (p *Portal) listen(ctx context.Context, v visitor, id string, changed chan<- struct{}) {
	for which := range p.Gateway.RegistrationChanges(ctx) {
		if which != "" && (id != "" && which != id || id == "" && !p.concerns(ctx, v, which)) {
			continue
		}
		tell(changed)
	}
}

// tell leaves a word for who listens, unless there is one already.
func tell(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// concerns reports whether v may know that something happens to this registration. What cannot be read may concern everybody.
func (p *Portal) concerns(ctx context.Context, v visitor, id string) bool {
	if v.administrator() {
		return true
	}
	g, err := p.Gateway.Registration(ctx, id)
	return err != nil || v.mine(g)
}

// follows reports whether the session goes on, with the account as it was when the stream began.
func (p *Portal) follows(ctx context.Context, v visitor, token string) bool {
	if !p.sessions.alive(token) {
		return false
	}
	u, good, err := p.account(ctx, v.Name, stamp(v.User))
	return err == nil && good && u == v.User
}
