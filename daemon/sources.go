package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/discovery/mdns"
	"github.com/mfpgate/mfpgate/discovery/poll"
	"github.com/mfpgate/mfpgate/discovery/snmp"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// sources run what finds devices and what asks them, as the configuration says.
type sources struct {
	daemon   *Daemon
	reloaded chan struct{} // capacity 1
	scan     chan struct{} // capacity 1
	querier  atomic.Pointer[mdns.Querier]
}

func newSources(d *Daemon) *sources {
	return &sources{daemon: d, reloaded: make(chan struct{}, 1), scan: make(chan struct{}, 1)}
}

// reload makes run look at the configuration.
func (s *sources) reload() { poke(s.reloaded) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run runs the sources until ctx ends, and starts them anew when their part of the configuration changes.
func (s *sources) run(ctx context.Context) error {
	for ctx.Err() == nil {
		of := s.daemon.config.Load().Devices
		part, stop := context.WithCancel(ctx)
		g, part := errgroup.WithContext(part)
		s.start(g, part, of)
		changed := false
		for !changed {
			select {
			case <-part.Done():
				changed = true
			case <-s.reloaded:
				now := s.daemon.config.Load().Devices
				changed = now.DNSSD != of.DNSSD || !reflect.DeepEqual(now.SNMP, of.SNMP)
			}
		}
		stop()
		if err := g.Wait(); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// start starts what one configuration asks for.
func (s *sources) start(g *errgroup.Group, ctx context.Context, of config.Devices) {
	d := s.daemon
	asks := poll.Options{Clock: d.Clock, Log: d.log, Metrics: d.metrics, Devices: d.registry, Intervals: s.intervals, Took: d.reporter.Took, USB: d.printers}
	printers := ipp.New(ipp.Options{Clock: d.Clock, UserAgent: "mfpgate/" + d.Build.Version,
		Sent: d.metrics.DiscoveryQueries.WithLabelValues("ipp").Inc})
	asks.IPP = printers
	if snmpOn(&of) {
		agents, err := snmp.New(snmpOptions(d, of.SNMP))
		if err != nil { // the configuration was checked: a fault of ours
			g.Go(func() error { return err })
			return
		}
		asks.SNMP = agents
		g.Go(func() error { return s.scans(ctx, agents, of.SNMP) })
	}
	if of.DNSSD {
		g.Go(func() error { return s.browse(ctx) })
	}
	g.Go(func() error {
		defer printers.Close()
		return poll.New(asks).Run(ctx)
	})
}

func snmpOptions(d *Daemon, of config.SNMP) snmp.Options {
	o := snmp.Options{Clock: d.Clock, Communities: of.Communities, Port: of.Port, Sent: d.metrics.DiscoveryQueries.WithLabelValues("snmp").Inc}
	for _, u := range of.Users {
		o.Users = append(o.Users, snmp.User{Name: u.Name, Auth: u.Auth, AuthPassword: u.AuthPassword, Privacy: u.Privacy,
			PrivacyPassword: u.PrivacyPassword, ContextName: u.Context})
	}
	return o
}

// browse runs the DNS-SD querier. A machine without a usable network keeps everything else.
func (s *sources) browse(ctx context.Context) error {
	d := s.daemon
	q, err := mdns.New(mdns.Options{Clock: d.Clock, Log: d.log, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Sighted: d.registry.Sight, Count: func(e mdns.Event, n int) {
			if e == mdns.QuerySent {
				d.metrics.DiscoveryQueries.WithLabelValues("dns-sd").Add(float64(n))
			}
		}})
	if err != nil {
		return err
	}
	s.querier.Store(q)
	defer s.querier.Store(nil)
	defer d.health.clear(BrowseFailed) // what is switched off does not fail
	for {
		err := q.Run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		d.health.set(BrowseFailed, "devices are not found by DNS-SD: "+err.Error())
		if mfpgate.Wait(ctx, d.Clock, time.Minute) != nil {
			return nil
		}
		d.health.clear(BrowseFailed)
	}
}

// BrowseFailed is the degradation while the querier of DNS-SD cannot run.
const BrowseFailed mfpgate.Reason = "dns-sd-failed"

// scans asks the configured ranges at the start, from time to time, and when an administrator wants it.
func (s *sources) scans(ctx context.Context, agents *snmp.Client, of config.SNMP) error {
	d := s.daemon
	if len(of.Ranges) == 0 {
		return nil
	}
	for {
		began := d.Clock.Now()
		found := 0
		asked, err := agents.Scan(ctx, of.Ranges, func(sighting mfpgate.Sighting) {
			found++
			d.registry.Sight(sighting)
		})
		if ctx.Err() != nil {
			return nil
		}
		e := d.log.Info()
		if err != nil {
			e = d.log.Warn().Err(err)
		}
		e.Int(field.Count, found).Int(field.Limit, asked).Int64(field.Duration, d.Clock.Now().Sub(began).Milliseconds()).Msg(event.DeviceScanned)
		timer := d.Clock.NewTimer(of.ScanEvery)
		select {
		case <-ctx.Done():
		case <-s.scan:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// intervals are the contract's, where it has any, else the configuration's.
func (s *sources) intervals() poll.Intervals {
	cfg := s.daemon.config.Load()
	p := cfg.Devices.Polling
	out := poll.Intervals{Status: p.Status, Supplies: p.Supplies, Counters: p.Counters}
	if kept := s.daemon.contracts.of(cfg.Cloud); kept != nil && kept.Contract.Polling != nil {
		c := kept.Contract.Polling
		out = poll.Intervals{Status: time.Duration(c.Status), Supplies: time.Duration(c.Supplies), Counters: time.Duration(c.Counters)}
	}
	return out
}

// heartbeat is the longest time without a report.
func (s *sources) heartbeat() time.Duration {
	cfg := s.daemon.config.Load()
	if kept := s.daemon.contracts.of(cfg.Cloud); kept != nil && kept.Contract.Polling != nil {
		return time.Duration(kept.Contract.Polling.Heartbeat)
	}
	return cfg.Devices.Polling.Heartbeat
}

// errNoSource is for a scan where nothing would be asked.
var errNoSource = errors.New("neither devices.dns_sd nor devices.snmp.ranges is configured; add one to the configuration and reload")

// scanNow asks every source now.
func (s *sources) scanNow() (control.Scan, error) {
	of := s.daemon.config.Load().Devices
	var out control.Scan
	if q := s.querier.Load(); q != nil {
		q.Refresh()
		out.Sources = append(out.Sources, string(mfpgate.SourceDNSSD))
	}
	if snmpOn(&of) && len(of.SNMP.Ranges) > 0 {
		poke(s.scan)
		out.Sources = append(out.Sources, string(mfpgate.SourceSNMP))
		for _, p := range of.SNMP.Ranges {
			out.Addresses += rangeSize(p)
		}
	}
	if len(out.Sources) == 0 {
		return out, errNoSource
	}
	return out, nil
}

// rangeSize is how many addresses a range of the configuration has.
func rangeSize(p netip.Prefix) int { return 1 << (p.Addr().BitLen() - p.Bits()) }
