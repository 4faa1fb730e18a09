package approval

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	eventPause = time.Second // after an event, twice as long after each that came to nothing
	maxPause   = time.Minute
	minSilence = 5 * time.Second // before a connection that broke is made again
	maxSilence = 5 * time.Minute
)

// hearing is a code whose service tells of changes; the zero value is none.
type hearing struct {
	id   string
	code int
}

// hearingOf is what is to be listened to for a registration.
func hearingOf(r *record) hearing {
	if r.Events == "" || r.State != mfpgate.RegistrationAwaitingAdmin && r.State != mfpgate.RegistrationRedeeming && r.State != mfpgate.RegistrationCertifying {
		return hearing{}
	}
	return hearing{r.ID, r.Codes}
}

// hearings are the goroutines that wait for events; Run waits for them.
type hearings struct {
	hearMu  sync.Mutex
	heard   map[hearing]context.CancelFunc
	deaf    map[hearing]bool // the service said that it sends none
	running sync.WaitGroup
}

func newHearings() hearings {
	return hearings{heard: map[hearing]context.CancelFunc{}, deaf: map[hearing]bool{}}
}

func (h *hearings) wait() { h.running.Wait() }

// hear listens to what is to be listened to, as far as connections reach, and to nothing else.
func (b *Broker) hear(ctx context.Context) {
	b.view.mu.Lock()
	wanted := map[hearing]bool{}
	for _, g := range b.view.known {
		if g.hears.id != "" {
			wanted[g.hears] = true
		}
	}
	b.view.mu.Unlock()
	b.hearMu.Lock()
	defer b.hearMu.Unlock()
	for h, stop := range b.heard {
		if !wanted[h] {
			stop()
		}
	}
	for h := range b.deaf {
		if !wanted[h] {
			delete(b.deaf, h)
		}
	}
	for h := range wanted {
		if len(b.heard) >= MaxListeners || ctx.Err() != nil {
			return
		}
		if b.heard[h] != nil || b.deaf[h] {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		b.heard[h] = stop
		b.running.Go(func() {
			defer stop()
			never := b.listen(ctx, h)
			b.hearMu.Lock()
			defer b.hearMu.Unlock()
			delete(b.heard, h)
			if never {
				b.deaf[h] = true
			}
		})
	}
}

// listen hastens the next poll of a code whenever its service says that something has changed. Never says that there is no use
// in listening again.
func (b *Broker) listen(ctx context.Context, h hearing) (never bool) {
	silence, pause := minSilence, eventPause
	for {
		r, err := b.read(ctx, h.id)
		if err != nil || hearingOf(r) != h {
			return false
		}
		s, known := b.policy.Load().service(r.Service)
		if !known || !s.Push {
			return true
		}
		c, _, err := b.present(r)
		if err != nil {
			return true
		}
		switch err := s.Client.AwaitEvent(ctx, c); {
		case ctx.Err() != nil:
			return false
		case errors.Is(err, mfpgate.ErrNoEvents), errors.Is(err, mfpgate.ErrRefused):
			return true
		case err == nil:
			for _, kind := range []string{kindPoll, kindOperation} { // one of them is there
				b.journal.Hasten(h.id + "/" + kind)
			}
			silence = minSilence
			if mfpgate.Wait(ctx, b.Clock, pause) != nil {
				return false
			}
			pause = min(2*pause, maxPause) // it is as quick as can be for the first events, of which two matter
		default:
			if mfpgate.Wait(ctx, b.Clock, silence/2+b.jitter(silence/2)) != nil {
				return false
			}
			silence = min(2*silence, maxSilence)
		}
	}
}
