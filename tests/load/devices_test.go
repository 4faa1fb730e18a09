package load_test

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// Every device is configured by URI and asked over IPP. SNMP is left out, for the gateway sends 200 of its packets a second at
// most, whatever the number of devices; `make bench BENCH=discovery` has it.
//
// There are 2,000, and a quarter with the race detector, under which each question costs several times as much.
var (
	population = map[bool]int{false: 2000, true: 500}[need.Racing]
	switched   = population / 10
)

func copier(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 1, byte(n / 250), byte(n%250 + 1)})
}

func serial(n int) string { return fmt.Sprintf("SIM%06d", n) }

// fleet is a gateway and its simulated devices, each with sockets of its own, so that one that is off refuses connections.
type fleet struct {
	gateway  *rig.Gateway
	printers []*printer.Printer
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	need.That(t, files.Cur >= uint64(3*population), fmt.Sprintf("a limit of %d open files; raise it with ulimit -n", 3*population))
	s := printertest.Start(t, printer.SiteOptions{OwnSockets: true})
	f := &fleet{}
	var static strings.Builder
	for n := range population {
		o := printer.Options{Addresses: []netip.Addr{copier(n)}, Serial: serial(n), Name: fmt.Sprintf("Copier %d", n),
			NoSNMP: true}
		p := printertest.Add(t, s, o)
		f.printers = append(f.printers, p)
		fmt.Fprintf(&static, "    - {name: %q, address: %s, uri: \"ipp://%s/ipp/print\"}\n", o.Name, copier(n), p.IPP())
	}
	f.gateway = rig.Start(t, fmt.Sprintf(`  allow: [{host: update.vendor.example, ports: [443]}]
devices:
  polling: {status: 8s}
  static:
%s`, &static))
	return f
}

// slowly waits for what takes the gateway a while, and looks seldom: to list all devices costs it something, too.
func slowly(t *testing.T, what string, reached func() (bool, string)) {
	t.Helper()
	late := time.NewTimer(3 * rig.Deadline)
	defer late.Stop()
	again := time.NewTicker(250 * time.Millisecond)
	defer again.Stop()
	for {
		ok, state := reached()
		if ok {
			return
		}
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("still not: %s; %s", what, state)
		}
	}
}

func (f *fleet) devices(t *testing.T) []mfpgate.Device {
	t.Helper()
	var list struct{ Items []mfpgate.Device }
	f.gateway.API(t, "devices", &list)
	return list.Items
}

// await waits until as many are online, and as many offline.
func (f *fleet) await(t *testing.T, what string, online, offline int) {
	t.Helper()
	slowly(t, what, func() (bool, string) {
		is := func(s mfpgate.DeviceState) int {
			return int(f.gateway.Metric(t, fmt.Sprintf("mfpgate_devices{attachment=%q,state=%q}", mfpgate.AttachmentNetwork, s)))
		}
		now, away := is(mfpgate.DeviceOnline), is(mfpgate.DeviceOffline)
		return now == online && away == offline, fmt.Sprintf("%d are online and %d offline", now, away)
	})
}

// asked is what the gateway and the devices have counted.
type asked struct {
	polls, ipp float64 // the gateway's
	received   []int64 // by device, over IPP
}

func (f *fleet) asked(t *testing.T) (a asked) {
	t.Helper()
	a.polls = f.gateway.Metric(t, `mfpgate_discovery_polls_total{outcome="answered"}`)
	a.ipp = f.gateway.Metric(t, `mfpgate_discovery_queries_total{protocol="ipp"}`)
	for _, p := range f.printers {
		a.received = append(a.received, p.Stats().IPP)
	}
	return a
}

func TestTwoThousandDevices(t *testing.T) {
	f := newFleet(t)
	began := time.Now()
	f.await(t, "all devices are online", population, 0)
	t.Logf("%d devices are found and online after %v", population, time.Since(began).Round(100*time.Millisecond))

	serials := map[string]int{}
	ids := map[string]mfpgate.DeviceID{}
	for _, d := range f.devices(t) {
		serials[d.Serial]++
		ids[d.Serial] = d.ID
	}
	if len(serials) != population { // and the metric has counted no more devices
		t.Errorf("%d devices are found, want %d", len(serials), population)
	}
	for s, n := range serials {
		if n != 1 {
			t.Errorf("%s is there %d times", s, n)
		}
	}
	f.questions(t)

	t.Logf("%v: some are switched off", time.Since(began).Round(time.Second))
	off := map[mfpgate.DeviceID]bool{}
	for n := 0; n < population; n += population / switched {
		f.printers[n].PowerOff()
		off[ids[serial(n)]] = true
	}
	f.await(t, "those that are off are offline", population-switched, switched)
	for _, d := range f.devices(t) {
		if d.State == mfpgate.DeviceOffline && d.Reason != discovery.Refused {
			t.Errorf("%s is offline because of %s, want %s", d.Name, d.Reason, discovery.Refused)
		}
		if (d.State == mfpgate.DeviceOffline) != off[d.ID] {
			t.Errorf("%s is %s, and switched off is %v", d.Name, d.State, off[d.ID])
		}
	}
	for n := 0; n < population; n += population / switched {
		if err := f.printers[n].On(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%v: switched on again", time.Since(began).Round(time.Second))
	f.await(t, "all are online again", population, 0)
	t.Logf("%v: all are online again", time.Since(began).Round(time.Second))
	for _, d := range f.devices(t) {
		if ids[d.Serial] != d.ID {
			t.Errorf("%s has another id than before", d.Serial)
		}
	}
}

// questions watches an interval and a half, counted in polls, so that a slow machine just takes longer.
func (f *fleet) questions(t *testing.T) {
	t.Helper()
	before := f.asked(t)
	slowly(t, "every device is asked once more", func() (bool, string) {
		polls := f.asked(t).polls - before.polls
		return polls >= float64(population)*3/2, fmt.Sprintf("%.0f polls", polls)
	})
	after := f.asked(t)
	polls, sent, got := after.polls-before.polls, after.ipp-before.ipp, int64(0)
	each := make([]int64, 0, population)
	for n := range population {
		each = append(each, after.received[n]-before.received[n])
		got += each[n]
	}
	t.Logf("%.0f polls: %.0f questions over IPP, %d received; from %d to %d a device", polls, sent, got, slices.Min(each), slices.Max(each))
	// One question a turn; a second one would be a difference of one and a half for each device. A quarter is for turns that are
	// on one side of a reading only, for the counts are read one after the other.
	most := float64(population) / 4
	if math.Abs(sent-polls) > most || math.Abs(float64(got)-sent) > most {
		t.Errorf("a turn of a device is one question; these are not")
	}
	if slices.Min(each) < 1 || slices.Max(each)-slices.Min(each) > 2 {
		t.Errorf("the devices do not take turns")
	}
}
