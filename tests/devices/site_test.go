package devices_test

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// TestMain lets more tests run beside each other than there are processors: they wait for networks and timers.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	rig.Main(m)
}

// site is a network with a gateway on its host 0. The devices are the test's, on hosts from 1.
type site struct {
	*lan.LAN
	gateway *rig.Gateway
}

// Parts of a configuration. A test puts together what it needs, keys of devices last. The range is small, for all networks of
// a machine share the kernel's table of neighbours, and with several /24 being scanned it overflows.
const (
	relay       = "  listen: [\"10.77.0.1:3128\"]\n  clients: [10.77.0.0/24]\n  allow: [{host: update.vendor.example, ports: [443]}]\n"
	devicesHead = "devices:\n  polling: {status: 2s, supplies: 2s, counters: 2s}\n"
	dnssd       = "  dns_sd: true\n"
	snmp        = "  snmp: {ranges: [10.77.0.0/28], communities: [" + lan.SNMPCommunity + "]}\n"
	polling     = "  monitoring: polling\n"
)

// start runs a gateway that finds what is there, on a network of so many hosts besides its own.
func start(t *testing.T, hosts int) *site {
	t.Helper()
	return startOn(t, lan.New(t, hosts+1), relay+devicesHead+dnssd+snmp)
}

// startOn runs a gateway with a configuration on the network's host 0.
func startOn(t *testing.T, l *lan.LAN, config string) *site {
	t.Helper()
	s := &site{LAN: l}
	s.gateway = rig.Start(t, config, s.Gateway().Inside(t))
	t.Cleanup(func() { // while the gateway runs
		if t.Failed() {
			t.Logf("the gateway knows: %s", s.describe(t))
		}
	})
	return s
}

// devices are what the gateway says now.
func (s *site) devices(t *testing.T) []mfpgate.Device {
	t.Helper()
	var list struct{ Items []mfpgate.Device }
	s.gateway.API(t, "devices", &list)
	return list.Items
}

// await waits until the gateway says that there is a device of which is holds, and returns it.
func (s *site) await(t *testing.T, what string, is func(mfpgate.Device) bool) (found mfpgate.Device) {
	t.Helper()
	rig.Until(t, what, func() bool {
		all := s.devices(t)
		i := slices.IndexFunc(all, is)
		if i >= 0 {
			found = all[i]
		}
		return i >= 0
	})
	return found
}

func (s *site) describe(t *testing.T) string {
	var b strings.Builder
	for _, d := range s.devices(t) {
		var all struct {
			Identity  mfpgate.Identity
			Sightings []mfpgate.Sighting
		}
		s.gateway.API(t, "devices/"+string(d.ID), &all)
		fmt.Fprintf(&b, "\n%+v\n  %+v", d, all.Identity)
		for _, sighting := range all.Sightings {
			fmt.Fprintf(&b, "\n  %+v", sighting)
		}
	}
	return b.String()
}

// online is a device of this model that answers at a host's address.
func online(model string, h *lan.Host) func(mfpgate.Device) bool {
	return func(d mfpgate.Device) bool {
		at := d.Address == h.V4.String() || d.Address == h.V6.String()
		return strings.Contains(d.Model, model) && d.State == mfpgate.DeviceOnline && at
	}
}

// now is the device of this id in this state.
func now(id mfpgate.DeviceID, state mfpgate.DeviceState) func(mfpgate.Device) bool {
	return func(d mfpgate.Device) bool { return d.ID == id && d.State == state }
}

// detail is all that the gateway says of one device.
func (s *site) detail(t *testing.T, id mfpgate.DeviceID) (d control.DeviceDetail) {
	t.Helper()
	s.gateway.API(t, "devices/"+string(id), &d)
	return d
}

// metrics reads series of the gateway's, and sums those whose name and labels begin so.
func (s *site) metrics(t *testing.T, prefix string) (sum float64) {
	t.Helper()
	resp, err := s.Gateway().Client().Get("http://" + s.gateway.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// polls are the polls that have ended, of all devices.
func (s *site) polls(t *testing.T) int { return int(s.metrics(t, "mfpgate_discovery_polls_total")) }

// byNextPoll does something to the site's only device and waits until the gateway says of it what is holds: at the latest
// with the first poll that began after it was done. It returns when that was.
func (s *site) byNextPoll(t *testing.T, what string, do func(), is func(control.DeviceDetail) bool) (done time.Time) {
	t.Helper()
	all := s.devices(t)
	if len(all) != 1 {
		t.Fatalf("there are %d devices, want one:%s", len(all), s.describe(t))
	}
	do()
	done, before := time.Now(), s.polls(t)
	rig.Until(t, what, func() bool {
		ended := s.polls(t) // first: what is said now is at least as new
		if is(s.detail(t, all[0].ID)) {
			return true
		}
		if ended > before+1 { // one poll may have been under way
			t.Fatalf("%d polls have ended, and still not: %s", ended-before, what)
		}
		return false
	})
	return done
}

// offline is a device that is away for this reason, of which nothing is said that was true before.
func offline(reason mfpgate.Reason) func(control.DeviceDetail) bool {
	return func(d control.DeviceDetail) bool { return d.State == mfpgate.DeviceOffline && d.Reason == reason }
}

// truthful fails the test if an offline device is said to do anything, or to be so from another time than since begin.
func truthful(t *testing.T, d control.DeviceDetail, begin time.Time) {
	t.Helper()
	if d.Reading != nil && d.Reading.Status != nil {
		t.Errorf("%s is %s and said to be %s", d.Name, d.State, d.Reading.Status.State)
	}
	if d.Since.Before(begin) || d.Since.After(time.Now()) {
		t.Errorf("%s is %s since %v, want after %v", d.Name, d.State, d.Since, begin)
	}
}

// relayed sends a CONNECT from a host to the relay, and returns which device the relay takes it for, and its refusal.
func (s *site) relayed(t *testing.T, from *lan.Host) (mfpgate.DeviceID, string) {
	t.Helper()
	conn, err := from.DialContext(t.Context(), "tcp", s.gateway.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rig.Deadline))
	if _, err := io.WriteString(conn, rig.ConnectRequest("cloud.example:443")); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(conn, make([]byte, 12)); err != nil {
		t.Fatalf("the relay answers %d bytes: %v", n, err)
	}
	e := s.gateway.Log.Event(t, event.RelayRefused, field.Client, conn.LocalAddr())
	return mfpgate.DeviceID(e.Str(field.Device)), e.Str(field.Reason)
}
