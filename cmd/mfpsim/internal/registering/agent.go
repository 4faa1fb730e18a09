package registering

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// agent carries out what the gateway asks for, and reports. One goroutine follows the gateway, one works.
type agent struct {
	*Registrar
	lists   chan api.RegistrationRequests // what is open at the gateway
	changes chan struct{}                 // capacity 1: a registration here is in another state

	// The rest belongs to the goroutine of work.
	rows map[string]*row // by the gateway's id
	list *api.RegistrationRequests
}

func newAgent(r *Registrar) *agent {
	return &agent{Registrar: r, lists: make(chan api.RegistrationRequests), changes: make(chan struct{}, 1)}
}

func (a *agent) run(ctx context.Context) (err error) {
	if a.rows, err = a.loadRows(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { a.follow(ctx); return nil })
	g.Go(func() error { return a.work(ctx) })
	g.Go(func() error {
		for range a.Changes(ctx) {
			select {
			case a.changes <- struct{}{}:
			default: // one waits already
			}
		}
		return nil
	})
	return g.Wait()
}

// pause is an exponential back-off with full jitter.
type pause struct {
	agent    *agent
	failures int
}

const (
	firstPause   = time.Second
	longestPause = time.Minute
)

// after says why nothing came of a call, and returns how long to wait before the next.
func (p *pause) after(what string, err error) time.Duration {
	bound := min(firstPause<<min(p.failures, 10), longestPause)
	p.failures++
	wait := bound/4 + time.Duration(p.agent.jitter(int64(bound*3/4)))
	var no *refusal
	if errors.As(err, &no) && no.after > 0 {
		wait += no.after
	}
	p.agent.Notify(Event{Kind: Unreachable, Text: fmt.Sprintf("%s: %v; retry in %s", what, err, wait.Round(100*time.Millisecond))})
	return wait
}

// follow hands over what is open at the gateway, again and again.
func (a *agent) follow(ctx context.Context) {
	failed := pause{agent: a}
	etag := ""
	for ctx.Err() == nil {
		wait, err := time.Duration(0), error(nil)
		if a.Session {
			err = a.Gateway.session(ctx, func(list api.RegistrationRequests) {
				failed.failures = 0
				a.hand(ctx, list)
			})
			if errors.Is(err, io.EOF) && failed.failures == 0 {
				err, wait = nil, firstPause // the gateway ends each stream after a while
			}
		} else {
			etag, wait, err = a.ask(ctx, etag)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			wait = failed.after("no requests from the gateway", err)
		} else {
			failed.failures = 0
		}
		if mfpgate.Wait(ctx, a.Clock, wait) != nil {
			return
		}
	}
}

// ask polls once. The first time it wants the answer at once, to know what was withdrawn meanwhile.
func (a *agent) ask(ctx context.Context, etag string) (next string, wait time.Duration, err error) {
	hold := pollWait
	if etag == "" {
		hold = 0
	}
	p, err := a.Gateway.poll(ctx, etag, hold)
	if err != nil {
		return etag, 0, err
	}
	if p.same {
		return etag, p.after, nil
	}
	a.hand(ctx, p.list)
	if p.etag == "" || p.etag == etag {
		p.after = max(p.after, firstPause) // a gateway that does not hold answers back is not asked all the time
	}
	return p.etag, p.after, nil
}

func (a *agent) hand(ctx context.Context, list api.RegistrationRequests) {
	select {
	case a.lists <- list:
	case <-ctx.Done():
	}
}

// work takes requests in and reports, until ctx ends or the store does.
func (a *agent) work(ctx context.Context) error {
	failed := pause{agent: a}
	timer := a.Clock.NewTimer(longestPause)
	defer timer.Stop()
	for {
		var changes <-chan struct{} = a.changes
		if failed.failures > 0 {
			changes = nil // a change is no reason to come sooner than the back-off says
		}
		select {
		case <-ctx.Done():
			return nil
		case list := <-a.lists:
			a.list = &list
		case <-changes:
		case <-timer.C():
		}
		err := a.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed.failures = 0
			timer.Reset(longestPause)
		case errors.Is(err, errOwn):
			return err
		default:
			timer.Reset(failed.after("not reported", err))
		}
	}
}

// errOwn marks a failure of the device itself.
var errOwn = errors.New("the device's own store")

func own(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errOwn, err)
}

func (a *agent) turn(ctx context.Context) error {
	if a.list != nil {
		if err := a.take(ctx, *a.list); err != nil {
			return own(err)
		}
		a.list = nil
	}
	var first error
	for _, id := range slices.Sorted(maps.Keys(a.rows)) {
		if err := a.report(ctx, a.rows[id]); err != nil {
			if errors.Is(err, errOwn) || ctx.Err() != nil {
				return err
			}
			first = errors.Join(first, err)
			break // the others fare no better now
		}
	}
	return first
}

// take begins what is new and ends what is open no more.
func (a *agent) take(ctx context.Context, list api.RegistrationRequests) error {
	if err := a.keepSelf(ctx, list.DeviceID); err != nil {
		return err
	}
	open := map[string]bool{}
	for _, item := range list.Items {
		open[item.RegistrationID] = true
		if a.rows[item.RegistrationID] == nil {
			if err := a.begin(ctx, item); err != nil {
				return err
			}
		}
	}
	for id, w := range a.rows {
		if open[id] {
			continue
		}
		if !w.Over && w.Local != "" && !a.shared(w) {
			if err := a.withdraw(ctx, w, "withdrawn at the gateway"); err != nil {
				return err
			}
		}
		if err := a.dropRow(ctx, id); err != nil {
			return err
		}
		delete(a.rows, id)
	}
	return nil
}

// shared reports whether another request of the gateway goes by the same registration.
func (a *agent) shared(w *row) bool {
	for _, other := range a.rows {
		if other != w && other.Local == w.Local && !other.Over {
			return true
		}
	}
	return false
}

// begin asks for what the gateway wants. A refusal is the end of it, which is reported.
func (a *agent) begin(ctx context.Context, item api.RegistrationRequest) error {
	w := &row{Request: item.RegistrationID}
	service, ok := a.service(item.Service.Kind, item.Service.URL)
	if !ok {
		w.Failure = failure(approval.NoService, fmt.Sprintf("the device does not know the print service %s (%s at %s); give it to the device, or let the gateway register it",
			item.Service.Name, item.Service.Kind, item.Service.URL))
	} else {
		a.allow(item.Admin)
		// The gateway's id makes it the same request after a crash between this call and the next.
		g, _, err := a.broker.Request(ctx, mfpgate.RegistrationRequest{Device: a.Device.ID, Service: service.Name, User: item.User, Admin: item.Admin,
			Retries: item.Retries, From: item.From, Quiet: true}, "gateway", item.RegistrationID)
		var no mfpgate.Refused
		switch {
		case errors.As(err, &no):
			w.Failure = failure(no.Why(), no.Error())
		case err != nil:
			return err
		}
		w.Local = g.ID
	}
	if err := a.saveRow(ctx, w); err != nil {
		return err
	}
	a.rows[w.Request] = w
	text := fmt.Sprintf("the gateway asks for a registration in %s for %s, to be approved by %s", item.Service.Name, item.User, item.Admin)
	if w.Failure != nil {
		text += "; refused: " + w.Failure.Detail
	}
	a.Notify(Event{Asked, w.Local, text})
	return nil
}

func failure(why mfpgate.Reason, detail string) *api.RegistrationResult {
	return &api.RegistrationResult{State: mfpgate.RegistrationFailed, Reason: why, Detail: clip(detail, 1000)}
}

func (a *agent) withdraw(ctx context.Context, w *row, why string) error {
	err := a.broker.Cancel(ctx, w.Local, "gateway")
	var no mfpgate.Refused
	switch {
	case err == nil:
		a.Notify(Event{Withdrawn, w.Local, why})
	case errors.As(err, &no), errors.Is(err, approval.ErrNotFound): // it has ended
	default:
		return err
	}
	return nil
}

// report tells the gateway how far a request is, if that is news.
func (a *agent) report(ctx context.Context, w *row) error {
	if w.Over {
		return nil
	}
	result := w.Failure
	if result == nil {
		g, err := a.broker.Get(ctx, w.Local)
		switch {
		case errors.Is(err, approval.ErrNotFound):
			result = failure("forgotten", "the device has forgotten the registration; ask for it anew")
		case err != nil:
			return own(err)
		default:
			result = resultOf(g)
		}
	}
	if result == nil || result.State == w.Told {
		return nil
	}
	err := a.Gateway.report(ctx, w.Request, *result)
	var no *refusal
	switch {
	case err == nil:
		a.Notify(Event{Reported, w.Local, "reported to the gateway: " + string(result.State)})
		w.Told, w.Over = result.State, result.State.Ended()
	case errors.As(err, &no) && (no.Status == http.StatusNotFound || no.Status == http.StatusConflict):
		w.Over = true
		if w.Local != "" && !a.shared(w) {
			if err := a.withdraw(ctx, w, "the gateway wants no result any more"); err != nil {
				return own(err)
			}
		}
	case errors.As(err, &no) && no.never():
		a.Notify(Event{Unreportable, w.Local, no.Error()})
		w.Over = true
	default:
		return err
	}
	return own(a.saveRow(ctx, w))
}

// resultOf is how far a registration is, as the gateway is told; nil is nothing to tell.
func resultOf(g mfpgate.Registration) *api.RegistrationResult {
	switch g.State {
	case mfpgate.RegistrationAwaitingAdmin:
		return &api.RegistrationResult{State: g.State}
	case mfpgate.RegistrationRegistered:
		return &api.RegistrationResult{State: g.State, Reason: g.Reason, PrinterID: g.PrinterID, PrinterURI: g.PrinterURI, Certificate: g.Certificate,
			CertificateExpires: g.CertificateExpires}
	case mfpgate.RegistrationFailed:
		reason := g.Reason
		if reason == "" {
			reason = approval.ByDevice
		}
		return failure(reason, g.Detail)
	case mfpgate.RegistrationCancelled:
		return failure("cancelled", "cancelled at the device")
	}
	return nil
}
