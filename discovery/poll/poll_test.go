package poll_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/discovery/ipp"
	"github.com/mfpgate/mfpgate/discovery/poll"
	"github.com/mfpgate/mfpgate/discovery/snmp"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
)

// printer is what answers at an endpoint.
type printer struct {
	identity mfpgate.Identity
	fails    error         // what asking it returns
	takes    time.Duration // before it answers or fails
}

// network is IPP and SNMP of a site: who answers where. It counts the questions.
type network struct {
	mu    sync.Mutex
	at    map[string]*printer // "ipp 10.1.0.9:631", "snmp 10.1.0.9"
	asked map[string]int      // by kind of question: "ipp read 1 10.1.0.9:631"
}

func (n *network) ask(ctx context.Context, where, question string) (*printer, error) {
	n.mu.Lock()
	n.asked[question]++
	p := n.at[where]
	if p == nil {
		p = &printer{fails: fmt.Errorf("dial: %w", syscall.ECONNREFUSED)}
	}
	copied := *p
	n.mu.Unlock()
	if copied.takes > 0 {
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, copied.takes); err != nil {
			return nil, err
		}
	}
	return &copied, copied.fails
}

func (n *network) put(where string, p *printer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at[where] = p
}

// count adds up the questions whose text contains all of the words, and forgets them with reset.
func (n *network) count(words ...string) (sum int) {
	n.mu.Lock()
	defer n.mu.Unlock()
next:
	for question, times := range n.asked {
		for _, w := range words {
			if !strings.Contains(question, w) {
				continue next
			}
		}
		sum += times
	}
	return sum
}

func (n *network) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = map[string]int{}
}

type ippSide struct{ *network }

func (s ippSide) Identify(ctx context.Context, e mfpgate.Endpoint) (mfpgate.Sighting, error) {
	p, err := s.ask(ctx, "ipp "+e.Address.String(), "ipp identify "+e.Address.String())
	if err != nil {
		return mfpgate.Sighting{}, err
	}
	return mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceIPP, "ipp://"+e.Address.String()), Identity: p.identity, Answered: true,
		Endpoints: []mfpgate.Endpoint{e}}, nil
}

func (s ippSide) Find(ctx context.Context, a netip.Addr) (mfpgate.Sighting, error) {
	return s.Identify(ctx, mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(a, 631)})
}

func (s ippSide) Read(ctx context.Context, e mfpgate.Endpoint, parts mfpgate.Parts) (r mfpgate.Reading, err error) {
	if _, err := s.ask(ctx, "ipp "+e.Address.String(), fmt.Sprintf("ipp read parts=%03b %s", parts, e.Address)); err != nil {
		return r, err
	}
	if parts.Has(mfpgate.PartStatus) {
		r.Status = &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}
	}
	if parts.Has(mfpgate.PartSupplies) {
		r.Supplies = []mfpgate.Supply{{Index: "1", Name: "black", Level: 50, Max: 100}}
	}
	return r, nil // counters are rare in IPP
}

type snmpSide struct{ *network }

func (s snmpSide) Identify(ctx context.Context, a netip.Addr) (mfpgate.Sighting, error) {
	p, err := s.ask(ctx, "snmp "+a.String(), "snmp identify "+a.String())
	if err != nil {
		return mfpgate.Sighting{}, err
	}
	return mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceSNMP, a.String()), Identity: p.identity, Answered: true,
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolSNMP, Address: netip.AddrPortFrom(a, 161)}}}, nil
}

func (s snmpSide) Read(ctx context.Context, a netip.Addr, parts mfpgate.Parts) (r mfpgate.Reading, err error) {
	if _, err := s.ask(ctx, "snmp "+a.String(), fmt.Sprintf("snmp read parts=%03b %s", parts, a)); err != nil {
		return r, err
	}
	if parts.Has(mfpgate.PartStatus) {
		r.Status = &mfpgate.PrinterStatus{State: mfpgate.PrinterProcessing}
	}
	if parts.Has(mfpgate.PartCounters) {
		r.Counters = []mfpgate.Counter{{Name: "impressions", Value: 7}}
	}
	return r, nil
}

// site is a registry that is polled, in virtual time.
type site struct {
	*network
	t       *testing.T
	devices *discovery.Registry
	metrics *telemetry.Metrics
	took    map[mfpgate.DeviceID][]mfpgate.Reading
	mu      sync.Mutex
}

var every = poll.Intervals{Status: time.Minute, Supplies: 15 * time.Minute, Counters: time.Hour}

// run runs a test of a site in virtual time.
func run(t *testing.T, p *discovery.Policy, test func(*site)) {
	t.Helper()
	runBy(t, p, func(n *network) poll.SNMP { return snmpSide{n} }, test)
}

// runBy runs it with another SNMP.
func runBy(t *testing.T, p *discovery.Policy, agents func(*network) poll.SNMP, test func(*site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{network: &network{at: map[string]*printer{}, asked: map[string]int{}}, t: t, metrics: telemetry.NewMetrics(),
			took: map[mfpgate.DeviceID][]mfpgate.Reading{}}
		db := memory.New()
		defer db.Close()
		var err error
		s.devices, err = discovery.New(t.Context(), discovery.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: s.metrics, Store: db}, p)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = s.devices.Run(ctx) })
		running.Go(func() {
			err := poll.New(poll.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: s.metrics, Devices: s.devices,
				IPP: ippSide{s.network}, SNMP: agents(s.network), USB: usbSide{s.network}, Intervals: func() poll.Intervals { return every }, Took: s.take}).Run(ctx)
			if err != nil {
				t.Error(err)
			}
		})
		test(s)
		cancel()
		running.Wait()
	})
}

func (s *site) take(_ context.Context, d mfpgate.Device, r mfpgate.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[d.ID] = append(s.took[d.ID], r)
}

// pass lets virtual time pass.
func (s *site) pass(d time.Duration) {
	_ = mfpgate.Wait(s.t.Context(), mfpgate.SystemClock{}, d)
	synctest.Wait()
}

// device is the only one, in a line.
func (s *site) device() string {
	s.t.Helper()
	all := s.devices.List()
	if len(all) != 1 {
		s.t.Fatalf("%d devices: %+v", len(all), all)
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", all[0].Address, all[0].State, all[0].Reason))
}

func announced(addresses ...string) mfpgate.Sighting {
	s := mfpgate.Sighting{ID: "dns-sd:Copier._ipp._tcp.local", Name: "Copier", Identity: mfpgate.Identity{UUID: "11111111-aaaa-4b6c-9000-000000000001"}}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(netip.MustParseAddr(a), 631), Host: "copier.local"})
	}
	return s
}

func copier() *printer {
	return &printer{identity: mfpgate.Identity{UUID: "11111111-aaaa-4b6c-9000-000000000001", Make: "HP", Model: "E52645", Serial: "S111"}}
}

func TestQuestionsGrowWithDevicesAlone(t *testing.T) {
	const devices = 300
	p := &discovery.Policy{Monitoring: mfpgate.MonitoringPolling}
	run(t, p, func(s *site) {
		for i := range devices {
			a := netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(1 + i%250)})
			identity := mfpgate.Identity{UUID: fmt.Sprintf("11111111-aaaa-4b6c-9000-%012d", i)}
			s.put("ipp "+a.String()+":631", &printer{identity: identity})
			sighting := announced(a.String())
			sighting.ID, sighting.Identity = mfpgate.NewSightingID(mfpgate.SourceDNSSD, fmt.Sprintf("Copier %d._ipp._tcp.local", i)), identity
			sighting.Name = fmt.Sprintf("Copier %d", i)
			s.devices.Sight(sighting)
		}
		s.pass(2 * time.Minute)
		s.reset()
		s.pass(time.Hour)
		// Once a minute the status; with it every 15 minutes the supplies, every hour the counters; every hour who it is.
		if reads := s.count("ipp read"); reads < 59*devices || reads > 61*devices {
			t.Errorf("%d status questions in an hour, want %d", reads, 60*devices)
		}
		if supplies := s.count("ipp read parts=01"); supplies < 3*devices || supplies > 5*devices {
			t.Errorf("%d questions for supplies in an hour, want %d", supplies, 4*devices)
		}
		if identify := s.count("identify"); identify > 3*devices { // IPP, and whether SNMP answers at the address
			t.Errorf("%d times asked who it is in an hour, want at most %d", identify, 2*devices)
		}
		// No ten seconds have more than a fair part: every device has a moment of its own.
		s.pass(30 * time.Second)
		s.reset()
		s.pass(10 * time.Second)
		if reads := s.count("ipp read"); reads < devices/6/2 || reads > devices/6*2 {
			t.Errorf("%d status questions in ten seconds, want about %d", reads, devices/6)
		}
		for _, d := range s.devices.List() {
			if d.State != mfpgate.DeviceOnline {
				t.Fatalf("%s is %s %s", d.Name, d.State, d.Reason)
			}
		}
	})
}

func TestEachPartComesFromWhoHasIt(t *testing.T) {
	p := &discovery.Policy{Monitoring: mfpgate.MonitoringPolling, Agents: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}}
	run(t, p, func(s *site) {
		s.put("ipp 10.1.0.9:631", copier())
		s.put("snmp 10.1.0.9", copier())
		s.devices.Sight(announced("10.1.0.9"))
		s.pass(2 * time.Minute)
		d := s.devices.Details()[0]
		if len(d.Sightings) != 3 || d.Reading == nil || d.Reading.Status.State != mfpgate.PrinterIdle || len(d.Reading.Supplies) != 1 || len(d.Reading.Counters) != 1 {
			t.Errorf("status and supplies of IPP and counters of SNMP are wanted: %+v", d)
		}
		if n := s.count("snmp read parts=001"); n > 0 {
			t.Errorf("SNMP was asked %d times for what IPP had said", n)
		}
	})
}

func TestADeviceThatReportsForItselfIsAskedForItsStateOnly(t *testing.T) {
	run(t, &discovery.Policy{Monitoring: mfpgate.MonitoringProxy}, func(s *site) {
		s.put("ipp 10.1.0.9:631", copier())
		s.devices.Sight(announced("10.1.0.9"))
		s.pass(2 * time.Hour)
		if n := s.count("read parts=1"); n > 0 {
			t.Errorf("asked %d times for counters", n)
		}
		if got := s.device(); got != "10.1.0.9 online" {
			t.Error(got)
		}
	})
}

func TestADeviceThatOnlySNMPCanAskIsNotToBlameForItBeingOff(t *testing.T) {
	runBy(t, &discovery.Policy{}, func(*network) poll.SNMP { return nil }, func(s *site) {
		s.devices.Sight(mfpgate.Sighting{ID: "snmp:10.1.0.9", Identity: copier().identity, Answered: true,
			Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolSNMP, Address: netip.MustParseAddrPort("10.1.0.9:161")}}})
		s.pass(2 * time.Minute)
		if got := s.device(); got != "10.1.0.9 offline snmp-off" {
			t.Error(got)
		}
	})
}

func TestWhyADeviceIsOffline(t *testing.T) {
	for _, c := range []struct {
		rule string
		put  *printer
		want string
	}{
		{"nothing listens", nil, "10.1.0.9 offline refused"},
		{"no route", &printer{fails: fmt.Errorf("dial: %w", &os.SyscallError{Err: syscall.EHOSTUNREACH})}, "10.1.0.9 offline no-route"},
		{"no answer ever", &printer{takes: time.Hour}, "10.1.0.9 offline no-answer"},
		{"TLS", &printer{fails: fmt.Errorf("x: %w", ipp.ErrTLS)}, "10.1.0.9 offline tls-failed"},
		{"busy", &printer{fails: ipp.ErrBusy}, "10.1.0.9 offline busy"},
		{"a login is wanted", &printer{fails: ipp.ErrAuth}, "10.1.0.9 offline not-authorized"},
		{"ten megabytes", &printer{fails: ipp.ErrTooLarge}, "10.1.0.9 offline bad-answer"},
		{"a web server", &printer{fails: ipp.ErrNotIPP}, "10.1.0.9 offline not-a-printer"},
	} {
		run(t, &discovery.Policy{}, func(s *site) {
			s.put("ipp 10.1.0.9:631", copier())
			s.devices.Sight(announced("10.1.0.9"))
			s.pass(2 * time.Minute)
			if got := s.device(); got != "10.1.0.9 online" {
				t.Errorf("%s: before: %s", c.rule, got)
			}
			s.put("ipp 10.1.0.9:631", c.put)
			s.pass(every.Status + 2*5*time.Second)
			if got := s.device(); got != c.want {
				t.Errorf("%s: after an interval and two questions: %s, want %s", c.rule, got, c.want)
			}
			if r := s.devices.Details()[0].Reading; r == nil || r.Status != nil {
				t.Errorf("%s: a device that is offline has status %+v", c.rule, r)
			}
			s.put("ipp 10.1.0.9:631", copier())
			s.pass(every.Status + 5*time.Second)
			if got := s.device(); got != "10.1.0.9 online" {
				t.Errorf("%s: when it is back: %s", c.rule, got)
			}
		})
	}
	for rule, silence := range map[string]*printer{"its own patience": {fails: snmp.ErrSilent}, "the poller's": {takes: time.Hour}} {
		run(t, &discovery.Policy{}, func(s *site) {
			s.put("snmp 10.1.0.9", copier())
			sighting, _ := snmpSide{s.network}.Identify(t.Context(), netip.MustParseAddr("10.1.0.9"))
			s.devices.Sight(sighting)
			s.pass(2 * time.Minute)
			s.put("snmp 10.1.0.9", silence)
			s.pass(every.Status + 10*time.Second)
			if got := s.device(); got != "10.1.0.9 offline snmp-silent" {
				t.Errorf("%s: %s", rule, got)
			}
		})
	}
	// Of a device that never answered, what keeps it from being asked over SNMP says more than that it has no IPP.
	run(t, &discovery.Policy{Monitoring: mfpgate.MonitoringPolling, Static: []discovery.Static{{Name: "x", Address: netip.MustParseAddr("10.1.0.9")}}}, func(s *site) {
		s.put("snmp 10.1.0.9", &printer{fails: snmp.ErrSilent})
		s.pass(2 * time.Minute)
		if got := s.device(); !strings.HasSuffix(got, " offline snmp-silent") {
			t.Error(got)
		}
	})
}

func TestADeviceThatMovedIsFoundAtOnce(t *testing.T) {
	run(t, &discovery.Policy{}, func(s *site) {
		s.put("ipp 10.1.0.9:631", copier())
		s.devices.Sight(announced("10.1.0.9"))
		s.pass(90 * time.Second)
		before := s.devices.List()[0].ID
		s.put("ipp 10.1.0.9:631", &printer{takes: time.Hour})
		s.put("ipp 10.1.0.77:631", copier())
		s.devices.Sight(announced("10.1.0.77"))
		s.pass(15 * time.Second) // no interval: the announcement is a reason to ask
		if got := s.device(); got != "10.1.0.77 online" {
			t.Error(got)
		}
		if id, _, _ := s.devices.Identify(netip.MustParseAddr("10.1.0.77"), ""); id != before {
			t.Errorf("the relay takes it for %s, it is %s", id, before)
		}
		if _, _, _, ok := s.devices.Lookup(netip.MustParseAddr("10.1.0.9"), ""); ok {
			t.Error("the relay still knows it by the address that it left")
		}
	})
}

// A question over SNMP gives the community away: it goes to the networks that the configuration names, and nowhere else.
func TestTheCommunityGoesToNoAddressThatADeviceMadeUp(t *testing.T) {
	p := &discovery.Policy{Monitoring: mfpgate.MonitoringPolling, Agents: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}}
	run(t, p, func(s *site) {
		s.devices.Sight(announced("10.9.9.1"))
		s.put("ipp 10.9.9.1:631", copier())
		s.pass(2 * time.Hour)
		if n := s.count("snmp"); n > 0 {
			t.Errorf("asked %d times over SNMP", n)
		}
	})
}

// A device that answers at one of its addresses only is asked there, and not at the others again and again.
func TestAddressesThatDoNotAnswerAreLeftAlone(t *testing.T) {
	run(t, &discovery.Policy{}, func(s *site) {
		s.put("ipp 10.1.0.9:631", copier())
		s.devices.Sight(announced("10.9.9.1", "10.9.9.2", "10.1.0.9"))
		s.pass(2 * time.Minute)
		s.reset()
		s.pass(30 * time.Minute)
		if got := s.device(); got != "10.1.0.9 online" {
			t.Error(got)
		}
		if n := s.count("10.9.9."); n > 0 {
			t.Errorf("addresses that never answered were asked %d times in half an hour", n)
		}
	})
}

// One device that takes for ever delays no other, and Run ends while it is asked.
func TestASlowDeviceIsNobodyElsesMatter(t *testing.T) {
	run(t, &discovery.Policy{}, func(s *site) {
		for i := range 64 {
			a := netip.AddrFrom4([4]byte{10, 1, 0, byte(1 + i)})
			identity := mfpgate.Identity{UUID: fmt.Sprintf("11111111-aaaa-4b6c-9000-%012d", i)}
			p := &printer{identity: identity}
			if i < 16 {
				p.takes = time.Hour
			}
			s.put("ipp "+a.String()+":631", p)
			sighting := announced(a.String())
			sighting.ID, sighting.Identity = mfpgate.NewSightingID(mfpgate.SourceDNSSD, fmt.Sprintf("Copier %d._ipp._tcp.local", i)), identity
			s.devices.Sight(sighting)
		}
		s.pass(5 * time.Minute)
		s.reset()
		s.pass(5 * time.Minute)
		for i := 16; i < 64; i++ {
			if n := s.count("ipp read", fmt.Sprintf(" 10.1.0.%d:", 1+i)); n < 4 || n > 6 {
				t.Errorf("10.1.0.%d was asked %d times in five minutes", 1+i, n)
			}
		}
		s.pass(50 * time.Second)
	})
}
