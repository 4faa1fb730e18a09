package mfp

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// Options are a device. Cloud, Token, ID, Model, Firmware, Clock, Jitter and Notify are required.
type Options struct {
	Cloud    *url.URL
	RootCAs  *x509.CertPool // nil: the system's
	Proxy    *url.URL       // with user and password if the relay asks; nil: none
	Bind     netip.Addr     // source address of every connection; the zero value: the kernel's choice
	Token    mfpgate.Secret
	ID       string
	Name     string
	Model    string
	Serial   string
	Firmware string        // of a new device; a state file knows better
	Poll     time.Duration // between check-ins; 0: what the cloud says
	State    string        // file; "": all is forgotten at the end
	Stall    time.Duration // a transfer without a byte for so long is broken off; 0: 1 minute
	PushIdle time.Duration // the same for the push channel; 0: 2 minutes
	Clock    mfpgate.Clock
	Jitter   func(bound time.Duration) time.Duration // 0 to bound; called by two goroutines
	Notify   func(Event)                             // called by two goroutines
	Tally    bool                                    // tell at the end what became of its requests
	Residing
}

// Device is one simulated MFP.
type Device struct {
	o     Options
	home  atomic.Pointer[home]
	nudge chan struct{} // the push channel's word that there is work

	booted string // the firmware at the start

	// The rest belongs to the goroutine of work.
	state    state
	interval time.Duration
	settled  bool // the next check-in is worth no word
	plan     *api.PlannedDelivery
	living   living

	tally tally
}

// New reads the device's state. It makes no connection.
func New(o Options) (*Device, error) {
	o.Stall, o.PushIdle, o.Name = cmp.Or(o.Stall, time.Minute), cmp.Or(o.PushIdle, 2*time.Minute), cmp.Or(o.Name, o.ID)
	s, err := loadState(o.State, o.Firmware)
	if err != nil {
		return nil, fmt.Errorf("state of %s: %w", o.Name, err)
	}
	d := &Device{o: o, booted: s.Firmware, state: s, interval: cmp.Or(o.Poll, time.Second), nudge: make(chan struct{}, 1)}
	if err := d.settle(); err != nil {
		return nil, fmt.Errorf("state of %s: %w", o.Name, err)
	}
	return d, nil
}

// Firmware is what it runs when it starts. Later changes are told as Installed.
func (d *Device) Firmware() string { return d.booted }

// Run is the device's life until ctx ends. It returns nil then.
func (d *Device) Run(ctx context.Context) error {
	defer func() { d.home.Load().leave() }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { d.work(ctx); return nil })
	g.Go(func() error { d.listen(ctx); return nil })
	err := g.Wait()
	if d.o.Tally {
		d.tell(d.tally.event())
	}
	return err
}

func (d *Device) tell(e Event) {
	e.Time, e.Device = d.o.Clock.Now().UTC(), d.o.Name
	d.o.Notify(e)
}

func (d *Device) save() {
	if err := saveState(d.o.State, d.state); err != nil {
		d.tell(Event{Kind: StateTrouble, Text: "cannot keep its state: " + err.Error()})
	}
}

// work asks for work and does it, again and again.
func (d *Device) work(ctx context.Context) {
	pause := backoff{jitter: d.o.Jitter}
	for ctx.Err() == nil {
		err := d.turn(ctx)
		if ctx.Err() == nil {
			err = d.live(ctx, err)
		}
		if ctx.Err() != nil {
			return
		}
		wait, nudge := d.interval, d.nudge
		if err != nil {
			wait = d.tellTrouble(err, channelWork, &pause)
			d.settled, nudge = false, nil // a nudge is no reason to come sooner than the back-off says
		} else {
			pause.reset()
		}
		wait = d.until(wait)
		timer := d.o.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C():
		case <-nudge:
		}
		timer.Stop()
	}
}

// tellTrouble says why nothing came of an attempt, and returns how long to wait before the next.
func (d *Device) tellTrouble(err error, channel string, pause *backoff) time.Duration {
	var r *Refusal
	if !errors.As(err, &r) {
		wait := pause.next(0)
		d.tell(Event{Kind: Unreachable, Channel: channel, RetryMS: wait.Milliseconds(),
			Text: fmt.Sprintf("no connection (%v), retry in %s", err, round(wait))})
		return wait
	}
	wait := pause.next(r.RetryAfter)
	e := Event{Kind: Waiting, Channel: channel, Status: r.Status, RetryMS: wait.Milliseconds()}
	if r.Status == http.StatusServiceUnavailable {
		e.Text = fmt.Sprintf("waiting for its turn (%d, retry in %s)", r.Status, round(wait))
	} else {
		e.Text = fmt.Sprintf("refused: %v; retry in %s", r, round(wait))
	}
	d.tell(e)
	return wait
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// turn sends what is pending, checks in and does what it is told.
func (d *Device) turn(ctx context.Context) error {
	if err := d.sendReport(ctx); err != nil {
		return err
	}
	if d.due() {
		return d.begin(ctx)
	}
	var answer api.CheckInAnswer
	err := d.post(ctx, "/v1/devices/"+d.o.ID+"/check-ins", rand.Text(), api.CheckIn{
		Model: d.o.Model, Serial: d.o.Serial, Name: d.o.Name, Firmware: d.state.Firmware, State: "idle",
	}, &answer)
	if err != nil {
		return err
	}
	if d.o.Poll <= 0 && answer.PollInterval > 0 {
		d.interval = max(time.Duration(answer.PollInterval), time.Second)
	}
	if !d.settled {
		d.tell(Event{Kind: CheckedIn, Version: d.state.Firmware, Text: "checked in, runs " + d.state.Firmware})
		d.settled = true
	}
	d.hold(answer.Delivery)
	switch {
	case d.due():
		return d.begin(ctx)
	case d.plan != nil || answer.Package == nil:
		return nil
	}
	return d.install(ctx, *answer.Package, "")
}

// install fetches a package and says what became of it. delivery is "" for one that was not planned.
func (d *Device) install(ctx context.Context, p api.Package, delivery string) error {
	d.tell(Event{Kind: Offered, Package: p.PackageID, Version: p.Version, Text: "is to install " + p.Version})
	got, err := d.download(ctx, p)
	report := api.InstallReport{PackageID: p.PackageID, DeliveryID: delivery, Version: d.state.Firmware, SHA256: got.sha256, Size: got.size}
	switch {
	case errors.Is(err, ErrDigest):
		d.tell(Event{Kind: Rejected, Package: p.PackageID, Version: p.Version, Bytes: got.size, Text: "does not install " + p.Version + ": " + err.Error()})
		report.Outcome, report.Reason = api.OutcomeFailed, "digest-mismatch"
	case err != nil && delivery != "" && turnedAway(err):
		return d.fail(ctx, err)
	case err != nil:
		return d.interrupted(p, err)
	default:
		d.tell(Event{Kind: Downloaded, Package: p.PackageID, Version: p.Version, Bytes: got.size,
			Text: fmt.Sprintf("downloaded %s, %d bytes, SHA-256 is right", p.Version, got.size)})
		report.Outcome, report.Version = api.OutcomeInstalled, p.Version
		d.state.Firmware = p.Version
	}
	d.plan = nil
	d.state.Report = &pending{Key: rand.Text(), Report: report}
	d.save() // version and report together: a device that restarts here reports what it runs
	if report.Outcome == api.OutcomeInstalled {
		d.tell(Event{Kind: Installed, Package: p.PackageID, Version: p.Version, Text: "installed " + p.Version})
	}
	d.settled = false
	return d.sendReport(ctx)
}

func (d *Device) interrupted(p api.Package, err error) error {
	var r *Refusal
	if at := d.state.Part; at != nil && !errors.As(err, &r) {
		d.tell(Event{Kind: Interrupted, Package: p.PackageID, Version: p.Version, Bytes: at.Offset,
			Text: fmt.Sprintf("download of %s broke off at byte %d of %d", p.Version, at.Offset, p.Size)})
	}
	return err
}

// sendReport sends the pending report, if any. A report that the cloud will never take is dropped, and said so.
func (d *Device) sendReport(ctx context.Context) error {
	if d.state.Report == nil {
		return nil
	}
	outcome := d.state.Report.Report.Outcome
	var stored api.StoredReport
	err := d.post(ctx, "/v1/devices/"+d.o.ID+"/reports", d.state.Report.Key, d.state.Report.Report, &stored)
	var r *Refusal
	switch {
	case errors.As(err, &r) && !r.Relay && r.Status >= 400 && !r.passing() && r.Status != http.StatusUnauthorized:
		d.tell(Event{Kind: ReportLost, Status: r.Status, Text: "its report was not taken: " + r.Error()})
	case err != nil:
		return err
	default:
		d.tell(Event{Kind: Reported, Package: stored.PackageID, Version: stored.Version, Text: "reported: " + outcome})
	}
	d.state.Report = nil
	d.save()
	return nil
}
