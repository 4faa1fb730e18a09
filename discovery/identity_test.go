package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
)

func announced(label, service, host string, port uint16, i mfpgate.Identity, addresses ...string) mfpgate.Sighting {
	s := mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceDNSSD, label+"."+service+"._tcp.local"), Name: label, Identity: i}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, mfpgate.Endpoint{Protocol: mfpgate.Protocol(service[1:]), Host: host, Path: "ipp/print",
			Address: netip.AddrPortFrom(netip.MustParseAddr(a), port)})
	}
	return s
}

func answeredIPP(at string, i mfpgate.Identity) mfpgate.Sighting {
	e := mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort(at), Path: "ipp/print"}
	return mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceIPP, "ipp://"+at+"/ipp/print"), Identity: i, Answered: true, Endpoints: []mfpgate.Endpoint{e}}
}

func answeredSNMP(at string, i mfpgate.Identity) mfpgate.Sighting {
	a := netip.MustParseAddr(at)
	return mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceSNMP, at), Identity: i, Answered: true,
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolSNMP, Address: netip.AddrPortFrom(a, 161)}}}
}

// What the devices of these tests say of themselves.
var (
	hp    = mfpgate.Identity{UUID: "11111111-aaaa-4b6c-9000-000000000001", Make: "HP", Model: "LaserJet MFP E52645"}
	hp2   = mfpgate.Identity{UUID: "11111111-aaaa-4b6c-9000-000000000002", Make: "HP", Model: "LaserJet MFP E52645"}
	hp161 = mfpgate.Identity{Make: "HP", Model: "HP LaserJet MFP E52645", Serial: "JPBCN1Q0AB", SysObjectID: "1.3.6.1.4.1.11.2.3.9.1", MAC: "3c:2a:f4:00:00:01"}
	ricoh = mfpgate.Identity{Make: "Ricoh", Model: "IM C3000", Serial: "3109R200001", SysObjectID: "1.3.6.1.4.1.367.1.1"}
)

// sheet writes who the devices are, one line each: name, address, and how many sightings.
func sheet(r *discovery.Registry) string {
	var lines []string
	for _, d := range r.Details() {
		lines = append(lines, fmt.Sprintf("%s %s %s/%s %d", d.Device.Name, d.Device.Address, d.Identity.UUID[max(0, len(d.Identity.UUID)-2):], d.Identity.Serial, len(d.Sightings)))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestManySightingsAreOneDevice(t *testing.T) {
	dnssd := announced("Copier", "_ipp", "mfp1.local", 8631, hp, "10.1.0.9", "10.1.9.9")
	flagship := announced("Copier", "_printer", "mfp1.local", 0, mfpgate.Identity{})
	scan := announced("Copier", "_uscan", "mfp1.local", 80, mfpgate.Identity{}, "10.1.0.9")
	ipp := answeredIPP("10.1.0.9:8631", hp)
	snmp := answeredSNMP("10.1.0.9", hp161)
	all := []mfpgate.Sighting{dnssd, flagship, scan, ipp, snmp}
	const want = "2F copier 10.1.0.9 01/JPBCN1Q0AB 5"
	// In whatever order they come.
	permutations(all, func(order []mfpgate.Sighting) {
		s := newSite(t)
		r, stop := s.open(static)
		defer stop()
		id, _, _ := r.Identify(copierAt, "")
		for range 2 { // sources show again what they know; the flagship alone tells neither who nor where
			for _, sighting := range order {
				s.clock.Advance(time.Second)
				r.Sight(sighting)
			}
		}
		if diff := cmp.Diff(want, sheet(r)); diff != "" {
			var ids []string
			for _, o := range order {
				ids = append(ids, string(o.ID))
			}
			t.Fatalf("in the order %v: -want +got\n%s", ids, diff)
		}
		if got, _, known := r.Identify(copierAt, ""); got != id || !known {
			t.Errorf("the relay's device became %s (known %v), it was %s", got, known, id)
		}
	})
}

func permutations[T any](items []T, visit func([]T)) {
	var walk func(int)
	walk = func(k int) {
		if k == len(items) {
			visit(slices.Clone(items))
			return
		}
		for i := k; i < len(items); i++ {
			items[k], items[i] = items[i], items[k]
			walk(k + 1)
			items[k], items[i] = items[i], items[k]
		}
	}
	walk(0)
}

func TestWhoIsWho(t *testing.T) {
	renamed := func(s mfpgate.Sighting, name string) mfpgate.Sighting { s.Name = name; return s }
	gone := func(s mfpgate.Sighting) mfpgate.Sighting { s.Gone, s.Endpoints = true, nil; return s }
	serial := func(i mfpgate.Identity, s string) mfpgate.Identity { i.Serial = s; return i }
	for _, c := range []struct {
		rule      string
		sightings []mfpgate.Sighting
		want      string
	}{
		{"two devices with one name are two", []mfpgate.Sighting{
			renamed(answeredIPP("10.1.0.9:631", hp), "Copier"), renamed(answeredIPP("10.1.0.10:631", hp2), "Copier")},
			"Copier 10.1.0.10 02/ 1\nCopier 10.1.0.9 01/ 1"},
		{"printers of one machine at one address are as many as their UUIDs", []mfpgate.Sighting{
			answeredIPP("10.1.0.9:8631", hp), answeredIPP("10.1.0.9:8632", hp2)},
			"10.1.0.9 10.1.0.9 01/ 1\n10.1.0.9 10.1.0.9 02/ 1"},
		{"a device that took another name is the same", []mfpgate.Sighting{
			announced("Copier", "_ipp", "a.local", 631, hp, "10.1.0.9"), announced("Lobby", "_ipp", "a.local", 631, hp, "10.1.0.9"),
			gone(announced("Copier", "_ipp", "a.local", 631, hp))},
			"Lobby 10.1.0.9 01/ 1"},
		{"a device that took another UUID with its name is known by its serial number", []mfpgate.Sighting{
			announced("Copier", "_ipp", "a.local", 631, hp, "10.1.0.9"), answeredIPP("10.1.0.9:631", serial(hp, "S111")),
			gone(announced("Copier", "_ipp", "a.local", 631, hp)), announced("Lobby", "_ipp", "a.local", 631, hp2, "10.1.0.9"),
			answeredIPP("10.1.0.9:631", serial(hp2, "S111"))},
			"Lobby 10.1.0.9 02/S111 2"},
		{"a device at another address is the same", []mfpgate.Sighting{
			answeredIPP("10.1.0.9:631", hp), answeredIPP("10.1.0.77:631", hp)},
			"10.1.0.77 10.1.0.77 01/ 2"},
		{"SNMP alone knows a device by its serial number at another address", []mfpgate.Sighting{
			answeredSNMP("10.1.0.9", ricoh), answeredSNMP("10.1.0.10", ricoh)},
			"10.1.0.10 10.1.0.10 /3109R200001 2"},
		{"another device at the address of one is another", []mfpgate.Sighting{
			answeredIPP("10.1.0.9:631", hp), answeredIPP("10.1.0.9:631", hp2)},
			"10.1.0.9 10.1.0.9 02/ 1"},
		{"placeholders prove nothing", []mfpgate.Sighting{
			answeredSNMP("10.1.0.9", serial(ricoh, "00000000")), answeredSNMP("10.1.0.10", serial(ricoh, "00000000")),
			answeredSNMP("10.1.0.11", serial(ricoh, "N/A")), answeredSNMP("10.1.0.12", serial(ricoh, "123456789"))},
			"10.1.0.10 10.1.0.10 /00000000 1\n10.1.0.11 10.1.0.11 /N/A 1\n10.1.0.12 10.1.0.12 /123456789 1\n10.1.0.9 10.1.0.9 /00000000 1"},
		{"a serial number that differs keeps an address's agent and printer apart", []mfpgate.Sighting{
			answeredIPP("10.1.0.9:631", serial(hp, "AAA111")), answeredSNMP("10.1.0.9", ricoh)},
			"10.1.0.9 10.1.0.9 /3109R200001 1\n10.1.0.9 10.1.0.9 01/AAA111 1"},
		{"a queue of a print server has its own path at the shared port", []mfpgate.Sighting{
			func() mfpgate.Sighting {
				s := announced("Queue A", "_ipp", "srv.local", 631, mfpgate.Identity{}, "10.1.0.5")
				s.Endpoints[0].Path = "printers/A"
				return s
			}(), func() mfpgate.Sighting {
				s := announced("Queue B", "_ipp", "srv.local", 631, mfpgate.Identity{}, "10.1.0.5")
				s.Endpoints[0].Path = "printers/B"
				return s
			}()},
			"Queue A 10.1.0.5 / 1\nQueue B 10.1.0.5 / 1"},
		{"a device that withdrew everything is still known", []mfpgate.Sighting{
			announced("Copier", "_ipp", "a.local", 631, hp, "10.1.0.9"), gone(announced("Copier", "_ipp", "a.local", 631, hp))},
			"Copier  01/ 1"},
	} {
		s := newSite(t)
		r, stop := s.open(policy())
		for _, sighting := range c.sightings {
			s.clock.Advance(time.Second)
			r.Sight(sighting)
		}
		if diff := cmp.Diff(c.want, sheet(r)); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.rule, diff)
		}
		stop()
		before := sheet(r)
		r, stop = s.open(policy())
		if diff := cmp.Diff(before, sheet(r)); diff != "" {
			t.Errorf("%s, after a restart: -want +got\n%s", c.rule, diff)
		}
		stop()
	}
}

func TestAConfiguredAddressNamesWhoAnswersThere(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	defer stop()
	r.Sight(answeredIPP("10.1.0.9:631", hp))
	old, name, _ := r.Identify(copierAt, "")
	if name != "2F copier" {
		t.Fatalf("the device is %q", name)
	}
	// It moves: the entry stays with it while nobody else answers at the configured address. To the relay that is no leave:
	// any machine may say that it is this device.
	r.Sight(answeredIPP("10.1.0.77:631", hp))
	r.Unanswered(mfpgate.NewSightingID(mfpgate.SourceIPP, "ipp://10.1.0.9:631/ipp/print"))
	if id, name, known := r.Identify(netip.MustParseAddr("10.1.0.77"), ""); id != old || name != "2F copier" || known {
		t.Errorf("after the move it is %s %q, known %v", id, name, known)
	}
	// Another device answers there: the configured name is its own from now on, and the relay knows it by its address.
	r.Sight(answeredIPP("10.1.0.9:631", hp2))
	taken, name, known := r.Identify(copierAt, "")
	if taken == old || name != "2F copier" || !known {
		t.Errorf("the configured address is %s %q, known %v; the moved device is %s", taken, name, known, old)
	}
	if id, name, known := r.Identify(netip.MustParseAddr("10.1.0.77"), ""); id != old || name == "2F copier" || known {
		t.Errorf("the moved device is %s %q, known %v", id, name, known)
	}
}

func TestAdministratorsOverrule(t *testing.T) {
	ctx := context.Background()
	s := newSite(t)
	r, stop := s.open(policy())
	r.Sight(answeredIPP("10.1.0.9:631", hp))
	s.clock.Advance(time.Second)
	r.Sight(answeredSNMP("10.1.0.20", ricoh))
	id := func(address string) mfpgate.DeviceID {
		id, _, _ := r.Identify(netip.MustParseAddr(address), "")
		return id
	}
	first, second := id("10.1.0.9"), id("10.1.0.20")
	for _, err := range []error{r.Pin(ctx, "dev_none", nil), r.Pin(ctx, first, []mfpgate.DeviceID{"dev_none"}), r.Rename(ctx, "dev_none", "x"), r.Forget(ctx, "dev_none")} {
		if !errors.Is(err, discovery.ErrNoDevice) {
			t.Errorf("an unknown id: %v", err)
		}
	}
	if err := r.Pin(ctx, second, []mfpgate.DeviceID{first}); err != nil {
		t.Fatal(err)
	}
	if id("10.1.0.9") != second || id("10.1.0.20") != second {
		t.Errorf("pinned to %s: %s and %s", second, id("10.1.0.9"), id("10.1.0.20"))
	}
	// What they say of themselves does not part them, nor does a restart.
	stop()
	r, stop = s.open(policy())
	defer func() { stop() }()
	r.Sight(answeredIPP("10.1.0.9:631", hp2))
	if id("10.1.0.9") != second {
		t.Error("a pinned sighting left")
	}
	if err := r.Rename(ctx, second, "Lobby"); err != nil {
		t.Fatal(err)
	}
	if err := r.Rename(ctx, second, "two\nlines"); !errors.Is(err, discovery.ErrAdmin) {
		t.Errorf("a name of two lines: %v", err)
	}
	made, err := r.Split(ctx, second, "ipp:ipp://10.1.0.9:631/ipp/print")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Split(ctx, made, "ipp:ipp://10.1.0.9:631/ipp/print"); !errors.Is(err, discovery.ErrAdmin) {
		t.Errorf("a device's only sighting was split: %v", err)
	}
	// Split devices stay apart even when they say that they are one.
	r.Sight(answeredIPP("10.1.0.9:631", mfpgate.Identity{Make: ricoh.Make, Model: ricoh.Model, Serial: ricoh.Serial}))
	stop()
	r, stop = s.open(policy())
	if id("10.1.0.9") != made || id("10.1.0.20") != second {
		t.Errorf("split in %s and %s: %s and %s", made, second, id("10.1.0.9"), id("10.1.0.20"))
	}
	if _, name, _ := r.Identify(netip.MustParseAddr("10.1.0.20"), ""); name != "Lobby" {
		t.Errorf("renamed to Lobby, it is %q", name)
	}
	if err := r.Forget(ctx, second); err != nil {
		t.Fatal(err)
	}
	if got := id("10.1.0.20"); got == second {
		t.Error("a forgotten device came back under its id")
	}
	r.Configure(static)
	if err := r.Forget(ctx, id("10.1.0.9")); !errors.Is(err, discovery.ErrAdmin) || !strings.Contains(err.Error(), "devices.static") {
		t.Errorf("a configured device was forgotten: %v", err)
	}
}

func TestForeignWordsAreBounded(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	for i := range discovery.MaxSightings + 10 {
		long := answeredIPP(fmt.Sprintf("10.1.0.9:%d", 1000+i), hp)
		long.Name, long.Location = strings.Repeat("ü", 5000)+"\x00\n", strings.Repeat("x", 70_000)
		for range 100 {
			long.Endpoints = append(long.Endpoints, long.Endpoints[0])
		}
		r.Sight(long)
	}
	all := r.Details()
	if len(all) != 1 || len(all[0].Sightings) != discovery.MaxSightings {
		t.Fatalf("%d devices, the first with %d sightings; want 1 with %d", len(all), len(all[0].Sightings), discovery.MaxSightings)
	}
	if s := all[0].Sightings[0]; len(s.Name) != 256 || len(s.Location) != 256 || len(s.Endpoints) != 8 {
		t.Errorf("name %d, location %d bytes, %d endpoints", len(s.Name), len(s.Location), len(s.Endpoints))
	}
}

// Of what devices say no more is kept than the store takes, so that none keeps others out; pinned sightings stay, shorter.
func TestTheLongestRecordsFitTheStore(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	long := strings.Repeat("<", 256) // which JSON writes in six bytes each
	sight := func(n, i int, long string) {
		one := announced(fmt.Sprintf("Copier %d of %d", i, n), "_ipp", long, 631, mfpgate.Identity{Make: long, Model: long,
			UUID: fmt.Sprintf("11111111-aaaa-4b6c-9000-0000000000%02d", n)}, "10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4")
		one.Location = long
		for k := range one.Endpoints {
			one.Endpoints[k].Path = long
		}
		r.Sight(one)
	}
	for n := range 20 {
		for i := range discovery.MaxSightings / 2 {
			sight(n, i, long)
		}
	}
	ids := r.IDs()
	for i := range discovery.MaxSightings / 2 {
		sight(20, i, "")
		sight(21, i, "")
	}
	pinned := slices.DeleteFunc(r.IDs(), func(id mfpgate.DeviceID) bool { return slices.Contains(ids, id) })
	if len(ids) != 20 || len(pinned) != 2 {
		t.Fatalf("%d devices and %d to pin, want 20 and 2", len(ids), len(pinned))
	}
	if err := r.Pin(t.Context(), pinned[0], pinned[1:]); err != nil {
		t.Fatal(err)
	}
	for i := range discovery.MaxSightings / 2 {
		sight(20, i, long)
		sight(21, i, long)
	}
	for _, id := range r.IDs() {
		if err := r.Rename(t.Context(), id, "Lobby"); err != nil {
			t.Fatal(err)
		}
	}
	if d, _ := r.Detail(pinned[0]); len(d.Sightings) != discovery.MaxSightings {
		t.Errorf("%d sightings are pinned, want %d", len(d.Sightings), discovery.MaxSightings)
	}
}
