package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
)

// The site: nine of ten devices are configured by URI, and have an agent besides; one of ten has an agent alone, which the
// scan of its range finds.
const (
	statusEvery  = 5 * time.Second
	scaleWindow  = 4 * statusEvery
	scaleRounds  = 3
	scaleSettle  = statusEvery // after all are online: their first reports are stored
	scalePatient = 5 * time.Minute
	agentsOf     = 10 // one of as many has an agent alone
)

// scale compares what many devices cost with what a tenth of them do. What a gateway costs that has none is taken from both.
func scale(ctx context.Context, b *bench) ([]*series, error) {
	if err := b.build(ctx, "tests/bench/relayhost"); err != nil {
		return nil, err
	}
	few := fmt.Sprintf("%d devices", fewDevices)
	found := &series{name: "devices_found", unit: "1", targets: []target{{bound: manyDevices, least: true}}}
	finding := &series{name: "find_time", unit: "s"}
	findCPU := &series{name: "find_cpu", unit: "CPU s", targets: []target{{peer: few, bound: 11}}}
	pollCPU := &series{name: "poll_cpu", unit: "CPU s/min", targets: []target{{peer: few, bound: 11}}}
	each := &series{name: "cpu_per_poll", unit: "CPU us"}
	rss := &series{name: "rss_added", unit: "MiB", targets: []target{{peer: few, bound: 11}}}
	per := &series{name: "rss_per_device", unit: "KiB"}
	polls := &series{name: "polls_per_minute", unit: "1/min", targets: []target{{bound: perMinute(manyDevices)}}}
	ipp := &series{name: "ipp_per_minute", unit: "1/min", targets: []target{{bound: perMinute(manyDevices - manyDevices/agentsOf)}, {peer: "received", bound: 1.01}}}
	snmp := &series{name: "snmp_per_minute", unit: "1/min", targets: []target{{bound: 2 * perMinute(manyDevices/agentsOf)}, {peer: "received", bound: 1.01}}}
	for round := range scaleRounds {
		b.progress(round, scaleRounds, "scale")
		costs := map[int]footing{}
		for _, n := range turns([]int{0, fewDevices, manyDevices}, round) {
			f, err := b.foot(ctx, n)
			if err != nil {
				return nil, err
			}
			costs[n] = f
			fmt.Fprintf(b.out, "  %d devices: online after %.1f s; %.2f CPU s and %.0f polls until then; %.2f CPU s in the next %.1f s; %.1f MiB; %.0f polls, %.0f IPP and %.0f SNMP questions\n",
				n, f.finding.seconds(), f.finding.cpu.Seconds(), f.finding.polls, f.window.cpu.Seconds(), f.window.seconds(), f.rss/1024, f.window.polls, f.window.ipp, f.window.snmp)
		}
		none := costs[0]
		for n, who := range map[int]string{fewDevices: few, manyDevices: ours} {
			f := costs[n]
			minutes := f.window.seconds() / 60
			idle := none.window.cpu.Seconds() / none.window.seconds() * f.window.seconds()
			found.put(round, who, float64(n))
			finding.put(round, who, f.finding.seconds())
			turn := (f.window.cpu.Seconds() - idle) / f.window.polls
			// Those that are found early take further turns while the others are looked for.
			further := max(0, f.finding.polls-float64(n))
			findCPU.put(round, who, (f.finding.cpu-none.finding.cpu).Seconds()-further*turn)
			pollCPU.put(round, who, (f.window.cpu.Seconds()-idle)/minutes)
			each.put(round, who, turn*1e6)
			rss.put(round, who, (f.rss-none.rss)/1024)
			per.put(round, who, (f.rss-none.rss)/float64(n))
			polls.put(round, who, f.window.polls/minutes)
			ipp.put(round, who, f.window.ipp/minutes)
			snmp.put(round, who, f.window.snmp/minutes)
		}
		many := costs[manyDevices].window
		ipp.put(round, "received", many.gotIPP/many.seconds()*60)
		snmp.put(round, "received", many.gotSNMP/many.seconds()*60)
	}
	b.notes = append(b.notes, "note: what a gateway without devices costs is taken off find_cpu, poll_cpu, rss_added and what follows from them; off find_cpu also the turns of a device after its first")
	return []*series{found, finding, findCPU, pollCPU, each, rss, per, polls, ipp, snmp}, nil
}

// perMinute bounds the turns of so many devices: one an interval, and 2 % for those at either end of the window.
func perMinute(devices int) float64 {
	return float64(devices) * float64(time.Minute/statusEvery) * 1.02
}

// fleet is a gateway with simulated devices. The devices run in this process.
type fleet struct {
	gateway *peer
	devices int
	site    *printer.Site
	stop    func()
}

// census is what gateway and devices have counted.
type census struct {
	cpu             time.Duration
	ipp, snmp       float64 // questions sent
	gotIPP, gotSNMP float64 // received
	polls           float64
	at              time.Time
}

// startFleet starts devices and then, on a state directory of its own, the gateway that has to find them.
func (b *bench) startFleet(ctx context.Context, devices int) (_ *fleet, err error) {
	port, err := freeUDP()
	if err != nil {
		return nil, err
	}
	site, err := printer.New(printer.SiteOptions{Clock: b.clock, Interface: "lo", SNMPPort: port})
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // stop waits
		defer close(done)
		_ = site.Run(running) // ends with its context alone
	}()
	f := &fleet{devices: devices, site: site}
	f.stop = func() {
		if f.gateway != nil && f.gateway.cmd != nil {
			f.gateway.stop()
		}
		cancel()
		<-done
	}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	var static strings.Builder
	for n := range devices {
		alone := n < devices/agentsOf
		at := netip.AddrFrom4([4]byte{127, 1, byte(n / 250), byte(n%250 + 1)})
		if alone {
			at = netip.AddrFrom4([4]byte{127, 1, 200, byte(n + 1)})
		}
		p, err := site.Add(printer.Options{Addresses: []netip.Addr{at}, Serial: fmt.Sprintf("SIM%06d", n), Name: fmt.Sprintf("Copier %d", n), NoIPP: alone})
		if err != nil {
			return nil, err
		}
		if !alone {
			fmt.Fprintf(&static, "    - {name: \"Copier %d\", address: %s, uri: \"ipp://%s/ipp/print\"}\n", n, at, p.IPP())
		}
	}
	keys := fmt.Sprintf("devices:\n  monitoring: polling\n  snmp: {communities: [public], port: %d, ranges: [127.1.200.0/24]}\n  polling: {status: %s}\n",
		port, statusEvery)
	if static.Len() > 0 {
		keys += "  static:\n" + static.String()
	}
	f.gateway, err = b.gateway(ctx, "discovery", keys)
	return f, err
}

// gateway starts relayhost with what devices are.
func (b *bench) gateway(ctx context.Context, name, keys string) (*peer, error) {
	p := &peer{name: name}
	for _, at := range []*string{&p.address, &p.metrics, &p.debug} {
		var err error
		if *at, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	state, err := os.MkdirTemp(b.dir, name+"-state-")
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(state, nobody, nobody); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf(`site: {name: bench, region: jp}
state_dir: %s
relay:
  listen: ["%s"]
  clients: [127.0.0.0/8]
  allow: [{host: update.vendor.example, ports: [443]}]
metrics: {listen: "%s"}
%s`, state, p.address, p.metrics, keys)
	if err := os.WriteFile(state+".yaml", []byte(config), 0o644); err != nil {
		return nil, err
	}
	p.state = state
	return p, b.start(ctx, p, program{path: filepath.Join(b.dir, "relayhost"), args: []string{"-config", state + ".yaml", "-debug", p.debug}})
}

// metrics are the gateway's series by name with labels, as /metrics has them.
func (f *fleet) metrics(ctx context.Context) (map[string]float64, error) {
	text, err := fetch(ctx, http.MethodGet, "http://"+f.gateway.metrics+"/metrics")
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && !strings.HasPrefix(name, "#") {
			if all[name], err = strconv.ParseFloat(value, 64); err != nil {
				return nil, fmt.Errorf("read /metrics: %w", err)
			}
		}
	}
	return all, nil
}

func (f *fleet) count(ctx context.Context, b *bench) (c census, err error) {
	got := f.site.Stats()
	m, err := f.metrics(ctx)
	if err != nil {
		return c, err
	}
	c = census{ipp: m[`mfpgate_discovery_queries_total{protocol="ipp"}`], snmp: m[`mfpgate_discovery_queries_total{protocol="snmp"}`],
		gotIPP: float64(got.IPP), gotSNMP: float64(got.SNMP), polls: m[`mfpgate_discovery_polls_total{outcome="answered"}`], at: b.clock.Now()}
	c.cpu, err = f.gateway.cpu()
	return c, err
}

// found waits until every device is there and online, and nothing else is.
func (f *fleet) found(ctx context.Context, b *bench) error {
	for began := b.clock.Now(); ; {
		m, err := f.metrics(ctx)
		if err != nil {
			return err
		}
		all := 0.0
		for name, n := range m {
			if strings.HasPrefix(name, "mfpgate_devices{") {
				all += n
			}
		}
		online := m[`mfpgate_devices{attachment="network",state="online"}`]
		if int(all) == f.devices && int(online) == f.devices {
			return nil
		}
		if b.clock.Now().Sub(began) > scalePatient {
			return fmt.Errorf("of %d devices %.0f are found and %.0f online after %v", f.devices, all, online, scalePatient)
		}
		if err := mfpgate.Wait(ctx, b.clock, time.Second); err != nil {
			return err
		}
	}
}

// footing is what a fleet of one size cost.
type footing struct {
	finding, window census // differences
	rss             float64
}

func (b *bench) foot(ctx context.Context, devices int) (f footing, err error) {
	fleet, err := b.startFleet(ctx, devices)
	if err != nil {
		return f, err
	}
	defer fleet.stop()
	began, err := fleet.count(ctx, b)
	if err != nil {
		return f, err
	}
	if err := fleet.found(ctx, b); err != nil {
		return f, err
	}
	found, err := fleet.count(ctx, b)
	if err != nil {
		return f, err
	}
	if err := mfpgate.Wait(ctx, b.clock, scaleSettle); err != nil {
		return f, err
	}
	before, err := fleet.count(ctx, b)
	if err != nil {
		return f, err
	}
	if err := mfpgate.Wait(ctx, b.clock, scaleWindow); err != nil {
		return f, err
	}
	after, err := fleet.count(ctx, b)
	if err != nil {
		return f, err
	}
	if err := b.free(ctx, fleet.gateway); err != nil {
		return f, err
	}
	f.finding, f.window = found, after
	f.finding.less(began)
	f.finding.cpu = found.cpu // all that the process has used
	f.window.less(before)
	f.rss, err = fleet.gateway.rss()
	return f, err
}

func (c *census) less(o census) {
	took := c.at.Sub(o.at)
	*c = census{cpu: c.cpu - o.cpu, ipp: c.ipp - o.ipp, snmp: c.snmp - o.snmp, gotIPP: c.gotIPP - o.gotIPP, gotSNMP: c.gotSNMP - o.gotSNMP,
		polls: c.polls - o.polls, at: time.Time{}.Add(took)}
}

// seconds is how long a difference took.
func (c census) seconds() float64 { return c.at.Sub(time.Time{}).Seconds() }

// freeUDP is a port that no agent has now.
func freeUDP() (uint16, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port(), nil
}
