package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/libusb"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// Lookups are how a configuration reaches outside its text, in this build.
func Lookups() config.Lookups {
	look := config.System()
	if !libusb.Built {
		look.NoUSB = libusb.ErrNotBuilt
	}
	return look
}

// lookups are those of the daemon, which tests may have given another USB.
func (d *Daemon) lookups() config.Lookups {
	if d.USB != nil {
		return config.System()
	}
	return Lookups()
}

// OpenUSB opens the machine's USB; nil: this build has none.
func OpenUSB() func() (bus.Bus, error) {
	if !libusb.Built {
		return nil
	}
	return func() (bus.Bus, error) { return libusb.Open(libusb.Options{Log: telemetry.Discard()}) }
}

// printers runs the printers on USB, as the configuration says.
type printers struct {
	daemon   *Daemon
	quirks   atomic.Pointer[siteQuirks]   // in force
	reloaded chan struct{}                // capacity 1
	room     atomic.Pointer[usb.Printers] // nil: off
}

func newPrinters(d *Daemon, cfg *config.Config) (*printers, error) {
	p := &printers{daemon: d, reloaded: make(chan struct{}, 1)}
	q, err := quirks(cfg)
	p.quirks.Store(q)
	return p, err
}

// siteQuirks are those of this program and of the site's file.
type siteQuirks struct {
	text  string // of the file
	table quirk.Table
}

func quirks(cfg *config.Config) (*siteQuirks, error) {
	if cfg.USB.Quirks == "" {
		return &siteQuirks{table: quirk.Known()}, nil
	}
	text, err := os.ReadFile(cfg.USB.Quirks) // whose size the configuration has judged
	if err != nil {
		return nil, fmt.Errorf("usb.quirks: %w", err)
	}
	site, err := quirk.Parse(bytes.NewReader(text), cfg.USB.Quirks)
	if err != nil {
		return nil, fmt.Errorf("usb.quirks: %w", err)
	}
	return &siteQuirks{string(text), quirk.Known().With(site)}, nil
}

// reload makes run look at the configuration.
func (p *printers) reload(q *siteQuirks) {
	p.quirks.Store(q)
	poke(p.reloaded)
}

// plugged is what the registry asks.
func (p *printers) plugged() discovery.USB {
	return discovery.USB{
		Port: func(id mfpgate.SightingID) *mfpgate.USBPort {
			if room := p.room.Load(); room != nil {
				return room.Port(id)
			}
			return nil
		},
		Behind: func(at netip.AddrPort) mfpgate.SightingID {
			if room := p.room.Load(); room != nil {
				return room.Behind(at)
			}
			return ""
		},
	}
}

// served are the ports of printers, where the relay leads nobody: at one of them the gateway itself would be the client, whom
// usb.share: off lets in.
func (p *printers) served() []netip.AddrPort {
	if room := p.room.Load(); room != nil {
		return room.Served()
	}
	return nil
}

// Read implements poll.USB.
func (p *printers) Read(ctx context.Context, port string, parts mfpgate.Parts) (mfpgate.Reading, error) {
	if room := p.room.Load(); room != nil {
		return room.Read(ctx, port, parts)
	}
	return mfpgate.Reading{}, &usb.Refusal{Word: usb.ReasonOff, Text: "usb.enabled is off"}
}

// Print implements packagePrinters.
func (p *printers) Print(ctx context.Context, id mfpgate.SightingID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	if room := p.room.Load(); room != nil {
		return room.Print(ctx, id, doc, told)
	}
	return mfpgate.JobStatus{State: mfpgate.JobAborted}, errUnplugged
}

// TakesPackages implements packagePrinters.
func (p *printers) TakesPackages(id mfpgate.SightingID) bool {
	room := p.room.Load()
	return room != nil && slices.ContainsFunc(room.List(), func(one usb.Printer) bool { return one.Sighting == id && one.RawPackage })
}

// again is how long after USB could not be opened, or a printer not be shared, it is tried anew.
const again = time.Minute

// run drives the printers until ctx ends. Those that print then are given relay.timeouts.drain, as tunnels are.
func (p *printers) run(ctx context.Context) error {
	for ctx.Err() == nil {
		cfg := p.daemon.config.Load()
		if !cfg.USB.Enabled {
			p.daemon.registry.USBOff()
			p.sound()
			select {
			case <-ctx.Done():
			case <-p.reloaded:
			}
			continue
		}
		if err := p.drive(ctx, cfg); err != nil {
			return err
		}
	}
	return nil
}

// drive drives the printers until ctx ends or the configuration wants it otherwise.
func (p *printers) drive(ctx context.Context, cfg *config.Config) error {
	d := p.daemon
	open := d.USB
	if open == nil {
		open = func() (bus.Bus, error) { return libusb.Open(libusb.Options{Clock: d.Clock, Log: d.log}) }
	}
	host, err := open()
	if err != nil {
		p.unopened(err)
		d.registry.USBOff()
		timer := d.Clock.NewTimer(again)
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-p.reloaded:
		case <-timer.C():
		}
		return nil
	}
	d.health.clear(USBFailed)
	served, err := endpoint.New(endpoint.Options{Clock: d.Clock, Log: d.log, Store: d.local, Share: endpoint.Share(cfg.USB.Share), Clients: p.clients})
	if err != nil {
		return errors.Join(fmt.Errorf("endpoints of printers on USB: %w", err), host.Close())
	}
	q := p.quirks.Load()
	room := usb.New(usb.Options{Clock: d.Clock, Log: d.log, Metrics: d.metrics, Bus: host, Store: d.local, Quirks: q.table, Endpoints: served,
		Daemon: usb.IPPUSB{Clock: d.Clock, Socket: usb.IPPUSBSocket, State: usb.IPPUSBState}, Sighted: d.registry.Sight, Own: d.relay.Own,
		Shared: cfg.USB.Share == config.USBShareLAN, Grace: max(cfg.Relay.Timeouts.Drain, time.Second)})
	p.room.Store(room)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, part := errgroup.WithContext(ctx)
	g.Go(func() error { return room.Run(part) })
	g.Go(func() error { return served.Run(part) })
	g.Go(func() error { return p.watch(part, room) })
	p.follow(part, q.text, room, served)
	stop()
	err = g.Wait()
	p.room.Store(nil)
	p.sound()
	return errors.Join(err, host.Close())
}

// shared are printers' endpoints: *endpoint.Endpoints.
type shared interface{ Reconfigure(endpoint.Share) error }

// follow puts changes of the configuration in force, until one wants the printers to be begun with anew, or not at all. text is of
// the site's quirks in force.
func (p *printers) follow(ctx context.Context, text string, room *usb.Printers, served shared) {
	timer := p.daemon.Clock.NewTimer(again)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.reloaded:
		case <-timer.C():
		}
		timer.Reset(again)
		of := p.daemon.config.Load().USB
		if !of.Enabled || p.quirks.Load().text != text {
			return
		}
		p.sharing(served.Reconfigure(endpoint.Share(of.Share)))
		room.Share(of.Share == config.USBShareLAN)
	}
}

// clients are who may use shared printers, by the configuration in force.
func (p *printers) clients(a netip.Addr) bool { return MayPrint(p.daemon.config.Load(), a) }

// MayPrint reports whether an address may use printers that are shared with the site's network: whether it may use the relay. Of the
// machine's own addresses, DNS-SD tells of those that may.
func MayPrint(cfg *config.Config, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(cfg.Relay.Clients, func(n netip.Prefix) bool { return n.Contains(a) })
}
