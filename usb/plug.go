package usb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

const (
	comesBack  = 10 * time.Second       // how long a printer may be away after a reset
	lookAgain  = 200 * time.Millisecond // meanwhile
	watchOther = 10 * time.Second       // whether the other program still drives it
	firstRetry = time.Second            // doubled each time
	lastRetry  = time.Minute
	calm       = 2 * time.Minute // a printer that worked for so long has recovered, and is retried soon again
)

// plug is one printer from its plug to its unplug. Its goroutine (run) does all but what look and Share do.
type plug struct {
	m      *Printers
	port   bus.Port
	cancel context.CancelCauseFunc // bus.ErrGone: it was unplugged
	ended  chan struct{}
	// sighting is held while a sighting is told.
	sighting sync.Mutex

	// Of the goroutine.
	tries    int  // that failed since it last worked
	wasReset bool // as its quirk wants it, since it was plugged in
	silences int  // how often it did not answer on 7/1/4
	deaf     bool // it never does, and is driven raw

	// Guarded by m.mu.
	device    bus.Device
	epoch     int  // changes with device and resetting
	resetting bool // it may leave the bus now
	said      mfpgate.Identity
	shown     Printer
	noises    map[string]string // what was remarked last, by what it is about
	served    netip.AddrPort    // its endpoint, the gateway's or the daemon's
	session   session           // nil: it is not driven
	jobs      int               // under way
	idle      chan struct{}     // closed when there are none any more; nil: nobody waits for that
}

// plugIn begins with a printer, after the one that had the port. m.mu is locked.
func (m *Printers) plugIn(ctx context.Context, d bus.Device, before *plug) *plug {
	p := &plug{m: m, port: d.Port, device: d, ended: make(chan struct{})}
	p.shown = Printer{Sighting: mfpgate.NewSightingID(mfpgate.SourceUSB, string(d.Port)), Port: d.Port,
		USB: mfpgate.USBPort{Bus: string(d.Port), ID: d.ID(), Mode: mfpgate.USBModeUnused, Reason: ReasonOpening, Detail: "it was plugged in just now"}}
	p.shown.Identity = mfpgate.Identity{USB: d.ID() + ":"}
	p.shown.Name = name(p.shown.Identity, d)
	ctx, p.cancel = context.WithCancelCause(ctx)
	m.o.Log.Info().Str(field.Port, string(d.Port)).Str(field.Text, d.ID()).Msg(event.USBAttached)
	m.running.Go(func() { // leave waits for it
		defer close(p.ended)
		if before != nil {
			<-before.ended
		}
		p.run(ctx)
	})
	return p
}

func (p *plug) name() string {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.shown.Name
}

// run drives the printer until it is unplugged, or all ends.
func (p *plug) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := p.drive(ctx)
		over, stop := p.after(pause)
		select {
		case <-ctx.Done():
		case <-over:
		}
		stop()
	}
	if errors.Is(context.Cause(ctx), bus.ErrGone) {
		p.m.o.Log.Info().Str(field.Port, string(p.port)).Str(field.DeviceName, p.name()).Msg(event.USBDetached)
		p.sighting.Lock() // behind what another plug's goroutine tells of it
		defer p.sighting.Unlock()
		p.m.o.Sighted(mfpgate.Sighting{ID: p.sightingID(), At: p.m.o.Clock.Now(), Gone: true})
	}
}

// never is a pause that only the unplug ends.
const never = time.Duration(-1)

// after is closed after a pause, unless stop comes first.
func (p *plug) after(pause time.Duration) (over <-chan struct{}, stop func() bool) {
	end := make(chan struct{})
	if pause < 0 {
		return end, func() bool { return true }
	}
	return end, p.m.o.Clock.AfterFunc(pause, func() { close(end) })
}

// printed ends a job.
func (p *plug) printed() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	if p.jobs--; p.jobs == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// finish lets nobody begin with the session any more, and waits for the jobs that are under way until ctx ends.
func (p *plug) finish(ctx context.Context) {
	p.m.mu.Lock()
	p.session, p.served = nil, netip.AddrPort{}
	idle := make(chan struct{})
	if p.jobs == 0 {
		close(idle)
	} else {
		p.idle = idle
	}
	p.m.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// ending is how long what is under way may go on: for Options.Grace, but not once the plug is pulled, which is its cause then.
func (p *plug) ending(ctx context.Context) (context.Context, context.CancelFunc) {
	bounded, done := p.m.within(context.WithoutCancel(ctx), p.m.o.Grace)
	ending, end := context.WithCancelCause(bounded)
	pulled := func() {
		if why := context.Cause(ctx); errors.Is(why, bus.ErrGone) {
			end(why)
		}
	}
	pulled() // AfterFunc would do it in a goroutine, after who closes has begun
	unbind := context.AfterFunc(ctx, pulled)
	return ending, func() {
		unbind()
		end(context.Canceled)
		done()
	}
}

// retry is the pause after one more failure.
func (p *plug) retry() time.Duration {
	p.tries++
	return min(firstRetry<<min(p.tries-1, 10), lastRetry)
}

func (p *plug) sightingID() mfpgate.SightingID {
	return mfpgate.NewSightingID(mfpgate.SourceUSB, string(p.port))
}

func (p *plug) dev() bus.Device {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return p.device
}

// drive opens the printer and drives it for as long as that goes well. It returns how long to wait before the next try.
func (p *plug) drive(ctx context.Context) (pause time.Duration) {
	d := p.dev()
	q := p.m.o.Quirks.Of(d)
	if q.Ignore {
		p.unused(ReasonUnsupported, "it is no printer that can be driven", q)
		return never
	}
	h, err := p.m.o.Bus.Open(ctx, d)
	if err != nil {
		if port, yes := p.other(ctx, ""); yes {
			return p.lend(ctx, port, q)
		}
		return p.failed(ctx, err, q)
	}
	defer func() { _ = h.Close() }() // nothing can be done about it, and the printer is given back in any case
	if q.Reset == quirk.ResetHard && !p.wasReset {
		if _, yes := p.other(ctx, ""); !yes { // who drives it would lose it
			p.wasReset = true
			return p.reset(ctx, h, "its quirk wants it")
		}
	}
	w, err := p.ask(ctx, h, d)
	if err != nil {
		return p.failed(ctx, err, q)
	}
	q = p.m.o.Quirks.Of(d, w.names()...)
	p.meet(ctx, w, d, q)
	if q.Ignore {
		p.unused(ReasonUnsupported, "it is no printer that can be driven", q)
		return never
	}
	if port, yes := p.other(ctx, w.serial); yes {
		_ = h.Close()
		return p.lend(ctx, port, q)
	}
	s, err := p.begin(ctx, h, d, q, w)
	if errors.Is(err, bus.ErrBusy) {
		if port, yes := p.other(ctx, w.serial); yes {
			_ = h.Close()
			return p.lend(ctx, port, q)
		}
	}
	if errors.Is(err, errHung) {
		return p.reset(ctx, h, err.Error())
	}
	if err != nil {
		return p.failed(ctx, err, q)
	}
	return p.serve(ctx, h, s, q)
}

// failed shows why the printer is not driven.
func (p *plug) failed(ctx context.Context, err error, q quirk.Quirks) time.Duration {
	if ctx.Err() != nil || errors.Is(err, bus.ErrGone) {
		p.m.hasten() // it sees the unplug, or the next try opens what took its place
		return p.retry()
	}
	countError(p.m.o.Metrics, err)
	why, text := explain(err, p.dev())
	p.unused(why, text, q)
	return p.retry()
}

// serve has the printer driven by a session until that breaks, the plug is pulled, or all ends.
func (p *plug) serve(ctx context.Context, h bus.Handle, s session, q quirk.Quirks) time.Duration {
	begun := p.m.o.Clock.Now()
	p.drivenBy(s, q)
	var broken error
	select {
	case <-ctx.Done():
	case broken = <-s.broken():
	}
	closing, done := p.ending(ctx)
	defer done()
	if broken != nil {
		done() // nothing can come of it any more
	}
	p.finish(closing)
	hung := s.close(closing)
	if p.m.o.Clock.Now().Sub(begun) > calm {
		p.tries = 0
	}
	if errors.Is(broken, errNotIPP) {
		p.deaf = len(rawFaces(p.dev(), q)) > 0
	}
	switch {
	case ctx.Err() != nil:
		if hung && !errors.Is(context.Cause(ctx), bus.ErrGone) {
			p.resetLast(ctx, h)
		}
		return 0
	case errors.Is(broken, bus.ErrGone):
		p.m.hasten() // look says what became of it
		return p.retry()
	case errors.Is(broken, errNotIPP) && !hung:
		p.unused(ReasonUnsupported, broken.Error(), q)
		if p.deaf {
			return 0
		}
		return lastRetry
	}
	countError(p.m.o.Metrics, broken)
	why, text := explain(broken, p.dev())
	p.unused(why, text, q)
	return p.reset(ctx, h, broken.Error())
}

// resetLast leaves a printer that was broken off in the midst of a message as the next program wants it.
func (p *plug) resetLast(ctx context.Context, h bus.Handle) {
	ctx, done := p.m.within(context.WithoutCancel(ctx), askPatience)
	defer done()
	p.m.o.Metrics.USBResets.Inc()
	p.m.o.Log.Info().Str(field.Port, string(p.port)).Str(field.DeviceName, p.name()).Str(field.Text, "a document was broken off").Msg(event.USBReset)
	_ = h.Reset(ctx) // the gateway ends
}

// reset resets the printer and waits until it is back. Its handle is of no use afterwards.
func (p *plug) reset(ctx context.Context, h bus.Handle, why string) time.Duration {
	p.m.mu.Lock()
	p.resetting = true
	p.epoch++
	d := p.device
	p.m.mu.Unlock()
	defer func() {
		p.m.mu.Lock()
		defer p.m.mu.Unlock()
		p.resetting = false
		p.epoch++
	}()
	p.m.o.Metrics.USBResets.Inc()
	p.m.o.Log.Info().Str(field.Port, string(p.port)).Str(field.DeviceName, p.name()).Str(field.Text, why).Msg(event.USBReset)
	bounded, done := p.m.within(ctx, comesBack)
	defer done()
	_ = h.Reset(bounded) // what came of it is whether it comes back
	_ = h.Close()
	same := func(o bus.Device) bool { return o.Port == d.Port && o.Vendor == d.Vendor && o.Product == d.Product }
	for bounded.Err() == nil {
		if found, err := p.m.o.Bus.Printers(bounded, same); err == nil && len(found) > 0 {
			p.m.mu.Lock()
			p.device = found[0]
			p.m.mu.Unlock()
			return p.retry()
		}
		if mfpgate.Wait(bounded, p.m.o.Clock, lookAgain) != nil {
			break
		}
	}
	return p.retry() // look sees that it is gone
}

// detail is the text for people, with the quirks that count.
func (p *plug) detail(text string, q quirk.Quirks) string {
	parts := []string{}
	if text != "" {
		parts = append(parts, text)
	}
	for _, a := range effective(p.dev(), q) {
		parts = append(parts, fmt.Sprintf("quirk %v", a))
	}
	return strings.Join(parts, "; ")
}
