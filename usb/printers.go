package usb

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// Options are what Printers are built from.
type Options struct {
	Clock   mfpgate.Clock
	Log     telemetry.Logger
	Metrics *telemetry.Metrics
	Bus     bus.Bus     // stays the caller's, which closes it when Run has returned
	Store   store.Store // this gateway's own; nil: what was found out of serial numbers ends with the program
	Quirks  quirk.Table
	// Endpoints serve printers over HTTP. nil: none are served, which leaves a printer in mode ipp-usb to Print alone.
	Endpoints Endpoints
	// Daemon is the other program that may drive printers; nil: there is none.
	Daemon Daemon
	// Sighted is told what is plugged in, what is known of it, and when it is gone: of one port after another, in order, from several
	// goroutines. It may call Port and Behind.
	Sighted func(mfpgate.Sighting)
	// Own says whether an address is this machine's, for Behind. nil: the loopback ones are.
	Own func(netip.Addr) bool

	Shared bool          // what Share says at first
	Every  time.Duration // how often the bus is looked at; 0 is a second
	Grace  time.Duration // how long what prints may go on when Run ends; 0 is a minute
}

// Printers are those on the gateway's USB. It is safe for concurrent use.
type Printers struct {
	o       Options
	serials serials
	now     chan struct{} // capacity 1: the bus is to be looked at now

	mu       sync.Mutex
	shared   bool
	open     chan struct{}      // closed while shared
	plugs    map[bus.Port]*plug // what is plugged in
	looked   bool               // the bus could be looked at since the start
	hindered error              // why the bus cannot be looked at, as it was last said
	running  sync.WaitGroup     // goroutines of plugs
}

// Printer is one printer that is plugged in.
type Printer struct {
	Sighting mfpgate.SightingID
	Port     bus.Port
	Name     string
	Identity mfpgate.Identity
	USB      mfpgate.USBPort
	// CommandSet are the languages of its device id.
	CommandSet []string
	// RawPackage says that it takes a software package as a print job.
	RawPackage bool
}

// New returns the printers of a bus. Nothing is looked at before Run.
func New(o Options) *Printers {
	o.Every, o.Grace = cmp.Or(o.Every, time.Second), cmp.Or(o.Grace, time.Minute)
	if o.Own == nil {
		o.Own = netip.Addr.IsLoopback
	}
	m := &Printers{o: o, serials: serials{store: o.Store}, plugs: map[bus.Port]*plug{}, now: make(chan struct{}, 1), open: make(chan struct{})}
	m.Share(o.Shared)
	return m
}

// Share says whether the endpoints are open to the site's network, for Printer.USB.
func (m *Printers) Share(shared bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if shared == m.shared {
		return
	}
	if m.shared = shared; shared {
		close(m.open)
	} else {
		m.open = make(chan struct{})
	}
	for _, p := range m.plugs {
		p.shown.USB.Shared = shared && p.shown.USB.Mode == mfpgate.USBModeIPP && p.shown.USB.URL != ""
	}
}

// isShared is closed while endpoints are open to the site's network.
func (m *Printers) isShared() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// Run looks at the bus and drives what is plugged in until ctx ends. Then what prints may go on for Options.Grace, every interface is
// given back, and Run returns nil.
func (m *Printers) Run(ctx context.Context) error {
	if err := m.serials.load(ctx); err != nil {
		return fmt.Errorf("read which serial numbers are of no use: %w", err)
	}
	defer m.leave()
	timer := m.o.Clock.NewTimer(m.o.Every)
	defer timer.Stop()
	for {
		m.look(ctx)
		timer.Reset(m.o.Every)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C():
		case <-m.now:
		}
	}
}

// hasten has the bus looked at now.
func (m *Printers) hasten() {
	select {
	case m.now <- struct{}{}:
	default:
	}
}

// leave waits for all that Run started, which the end of its context ends.
func (m *Printers) leave() {
	m.running.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	for port := range m.plugs {
		m.serials.leave(port)
	}
	clear(m.plugs)
	m.count()
}

// mark is what look must know of a plug from before it read the list, to tell what changed since from what the list is too old for.
type mark struct {
	epoch     int
	resetting bool
}

// look compares what is plugged in with what was.
func (m *Printers) look(ctx context.Context) {
	m.mu.Lock()
	before := map[bus.Port]mark{}
	for port, p := range m.plugs {
		before[port] = mark{p.epoch, p.resetting}
	}
	m.mu.Unlock()
	listed, err := m.o.Bus.Printers(ctx, wanted(m.o.Quirks))
	if m.hinder(ctx, err); err != nil {
		return
	}
	slices.SortFunc(listed, func(a, b bus.Device) int { return cmp.Compare(a.Port, b.Port) })
	now := map[bus.Port]bus.Device{}
	for _, d := range listed {
		now[d.Port] = d
	}

	// Who left is dealt with before who came: it may be the same printer on another port.
	m.mu.Lock()
	defer m.mu.Unlock()
	left := map[bus.Port]*plug{}
	for port, p := range m.plugs {
		was, known := before[port]
		if !known || p.resetting || (mark{p.epoch, p.resetting}) != was {
			delete(now, port) // the list is older than what is known
			continue
		}
		if d, there := now[port]; there && d.Plug() == p.device.Plug() {
			delete(now, port)
			continue
		}
		left[port] = p
		delete(m.plugs, port)
		m.serials.leave(port)
		p.cancel(bus.ErrGone)
	}
	for _, d := range listed {
		if _, new := now[d.Port]; new {
			m.plugs[d.Port] = m.plugIn(ctx, d, left[d.Port])
		}
	}
	m.looked = true
	m.count()
}

// hinder says once that the bus cannot be looked at, and once that it can again.
func (m *Printers) hinder(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch was := m.hindered; {
	case err != nil && (was == nil || was.Error() != err.Error()):
		m.o.Log.Warn().Str(field.Outcome, "failed").Str(field.Error, err.Error()).Msg(event.USBHindered)
	case err == nil && was != nil:
		m.o.Log.Info().Str(field.Outcome, "ended").Msg(event.USBHindered)
	}
	m.hindered = err
}

// count sets the gauges. m.mu is locked.
func (m *Printers) count() {
	modes := map[mfpgate.USBMode]int{mfpgate.USBModeIPP: 0, mfpgate.USBModeRaw: 0, mfpgate.USBModeOther: 0, mfpgate.USBModeUnused: 0}
	for _, p := range m.plugs {
		modes[p.shown.USB.Mode]++
	}
	for mode, n := range modes {
		m.o.Metrics.USBPrinters.WithLabelValues(string(mode)).Set(float64(n))
	}
}

// List is what is plugged in now, by port.
func (m *Printers) List() []Printer {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Printer, 0, len(m.plugs))
	for _, p := range m.plugs {
		all = append(all, p.shown)
	}
	slices.SortFunc(all, func(a, b Printer) int { return cmp.Compare(a.Port, b.Port) })
	return all
}

// Looked reports whether all that is plugged in has been sighted: what was before the start and is not among it was unplugged.
func (m *Printers) Looked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.plugs {
		if p.shown.USB.Reason == ReasonOpening {
			return false
		}
	}
	return m.looked
}

// Hindered is why the bus could not be looked at the last time, nil if it could: what was plugged in since is not seen.
func (m *Printers) Hindered() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hindered
}

// Port is how the printer of a sighting is plugged in, nil if it is not.
func (m *Printers) Port(id mfpgate.SightingID) *mfpgate.USBPort {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.find(id); p != nil {
		port := p.shown.USB
		return &port
	}
	return nil
}

// find is the plug of a sighting. m.mu is locked.
func (m *Printers) find(id mfpgate.SightingID) *plug {
	for _, p := range m.plugs {
		if p.shown.Sighting == id {
			return p
		}
	}
	return nil
}

// Behind is the sighting of the printer that is served at one of this machine's addresses, "" if none is.
func (m *Printers) Behind(a netip.AddrPort) mfpgate.SightingID {
	if !m.o.Own(a.Addr().Unmap()) {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.plugs {
		if p.served.IsValid() && p.served.Port() == a.Port() {
			return p.shown.Sighting
		}
	}
	return ""
}

// Served are the ports at which printers are served over HTTP on this machine, at any of its addresses.
func (m *Printers) Served() (ports []netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.plugs {
		if p.served.IsValid() {
			ports = append(ports, netip.AddrPortFrom(netip.IPv4Unspecified(), p.served.Port()))
		}
	}
	return ports
}

// Print sends a document to the printer of a sighting, after those that were there before, and returns what became of it, as
// told was. A printer that is not driven is a Refusal.
func (m *Printers) Print(ctx context.Context, id mfpgate.SightingID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	p, s, err := m.driven(id, 1)
	if err != nil {
		return mfpgate.JobStatus{}, err
	}
	defer p.printed()
	if told == nil {
		told = func(mfpgate.JobStatus) {}
	}
	begun := m.o.Clock.Now()
	status, err := s.print(ctx, doc, told)
	outcome := string(status.State)
	if !status.State.Ended() {
		outcome = string(mfpgate.JobAborted)
	}
	m.o.Metrics.USBJobs.WithLabelValues(string(s.mode()), outcome).Inc()
	e := m.o.Log.Info().Str(field.Port, string(p.port)).Str(field.DeviceName, p.name()).Str(field.Mode, string(s.mode())).Str(field.Outcome, outcome).
		Int64(field.BytesDown, status.Sent).Int64(field.Duration, m.o.Clock.Now().Sub(begun).Milliseconds())
	if err != nil {
		e = e.Str(field.Error, err.Error())
	}
	e.Msg(event.USBPrinted)
	return status, err
}

// Read asks the printer on a port how it is. Only one in mode raw is asked here: others are IPP printers at their endpoints.
func (m *Printers) Read(ctx context.Context, port string, parts mfpgate.Parts) (mfpgate.Reading, error) {
	_, s, err := m.driven(mfpgate.NewSightingID(mfpgate.SourceUSB, port), 0)
	if err != nil {
		return mfpgate.Reading{}, err
	}
	return s.read(ctx, parts)
}

// driven is the session of a printer. It is not closed before as many jobs as are begun here have ended (plug.printed), or there is no
// more time for them.
func (m *Printers) driven(id mfpgate.SightingID, jobs int) (*plug, session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.find(id)
	switch {
	case p == nil:
		return nil, nil, refusal(ReasonGone, "no printer is plugged in at %s", id)
	case p.session == nil:
		return nil, nil, refusal(p.shown.USB.Reason, "the printer at %s is not driven: %s", id, p.shown.USB.Detail)
	}
	p.jobs += jobs
	return p, p.session, nil
}

// within is a context that ends after d by the clock, with context.DeadlineExceeded.
func (m *Printers) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := m.o.Clock.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}
