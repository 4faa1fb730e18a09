package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/mail"
)

// What is wrong with registrations.
const (
	// MailFailed is the degradation while the mail server does not take letters; they are kept and tried again.
	MailFailed mfpgate.Reason = "mail-failed"
	// PrintServiceAway is the degradation while a print service gave no usable answer for serviceAway.
	PrintServiceAway mfpgate.Reason = "print-service-away"
)

const (
	serviceAway = 5 * time.Minute
	// serviceForgotten is how long after the last call nothing is said of a service any more: nobody needs it now.
	serviceForgotten = time.Hour
)

// letters is the mail server, which a reload may replace.
type letters struct {
	daemon *Daemon
	now    atomic.Pointer[mailServer]
}

type mailServer struct {
	*mail.Sender
	name string
}

func (l *letters) use(s *mail.Sender, name string) {
	l.now.Store(&mailServer{s, name})
	l.daemon.health.clear(MailFailed) // of the one before, perhaps
}

// Send implements approval.Mailer.
func (l *letters) Send(ctx context.Context, letter mfpgate.Letter) error {
	s := l.now.Load()
	err := s.Send(ctx, letter)
	switch {
	case err == nil:
		l.daemon.health.clear(MailFailed)
	case !errors.Is(err, mfpgate.ErrRefused) && ctx.Err() == nil: // what is refused is the letter's fault
		l.daemon.health.set(MailFailed, fmt.Sprintf("the mail server %s takes no letters, which wait and are tried again; check mail: %s", s.name, err))
	}
	return err
}

// reach knows which print services answer.
type reach struct {
	daemon *Daemon

	mu   sync.Mutex
	away map[string]*silence // by service; none while it answers
}

type silence struct {
	since, last time.Time
	err         error
}

func newReach(d *Daemon) *reach { return &reach{daemon: d, away: map[string]*silence{}} }

// heard notes how a call ended.
func (r *reach) heard(ctx context.Context, service string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.daemon.Clock.Now()
	switch {
	case err == nil || answered(err):
		delete(r.away, service)
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return // broken off here
	case r.away[service] == nil:
		r.away[service] = &silence{now, now, err}
	default:
		r.away[service].last, r.away[service].err = now, err
	}
	r.say(now)
}

// answered reports whether an error is the service's own word.
func answered(err error) bool {
	for _, word := range []error{mfpgate.ErrPending, mfpgate.ErrSlowDown, mfpgate.ErrCodeExpired, mfpgate.ErrDenied, mfpgate.ErrInvalidGrant,
		mfpgate.ErrNobodyAsked, mfpgate.ErrNoPrinter, mfpgate.ErrNoEvents, mfpgate.ErrRefused} {
		if errors.Is(err, word) {
			return true
		}
	}
	return false
}

// keep forgets services that are configured no more.
func (r *reach) keep(services map[string]openService) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.away, func(name string, _ *silence) bool { _, there := services[name]; return !there })
	r.say(r.daemon.Clock.Now())
}

// look says what time alone has made of it.
func (r *reach) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.daemon.Clock.Now()
	maps.DeleteFunc(r.away, func(_ string, s *silence) bool { return now.Sub(s.last) > serviceForgotten })
	r.say(now)
}

func (r *reach) say(now time.Time) {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(r.away)) {
		if s := r.away[name]; now.Sub(s.since) >= serviceAway {
			texts = append(texts, name+" since "+s.since.In(r.daemon.config.Load().Site.TimeZone).Format("2006-01-02 15:04")+": "+s.err.Error())
		}
	}
	if len(texts) == 0 {
		r.daemon.health.clear(PrintServiceAway)
		return
	}
	r.daemon.health.set(PrintServiceAway, "a print service gives no usable answer; registrations wait, and it is asked again: "+strings.Join(texts, "; "))
}

// watch notes how the calls of a print service end. What only waits for events says nothing of it.
func (r *reach) watch(name string, s approval.PrintService) approval.PrintService {
	return watched{PrintService: s, heard: func(ctx context.Context, err error) { r.heard(ctx, name, err) }}
}

type watched struct {
	approval.PrintService
	heard func(context.Context, error)
}

func (w watched) RequestCode(ctx context.Context, q mfpgate.CodeRequest) (mfpgate.Code, error) {
	c, err := w.PrintService.RequestCode(ctx, q)
	w.heard(ctx, err)
	return c, err
}

func (w watched) Redeem(ctx context.Context, c mfpgate.Code, verifier mfpgate.Secret) (mfpgate.Grant, error) {
	g, err := w.PrintService.Redeem(ctx, c, verifier)
	w.heard(ctx, err)
	return g, err
}

func (w watched) Enter(ctx context.Context, g mfpgate.Grant, q mfpgate.PrinterRequest) (mfpgate.Entering, error) {
	e, err := w.PrintService.Enter(ctx, g, q)
	w.heard(ctx, err)
	return e, err
}

func (w watched) Entered(ctx context.Context, g mfpgate.Grant, operation string) (mfpgate.Entering, error) {
	e, err := w.PrintService.Entered(ctx, g, operation)
	w.heard(ctx, err)
	return e, err
}

func (w watched) AllowUser(ctx context.Context, g mfpgate.Grant, printer, user string) (mfpgate.PrintUser, error) {
	became, err := w.PrintService.AllowUser(ctx, g, printer, user)
	w.heard(ctx, err)
	return became, err
}
