package devices_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/rig"
)

const refuseStrangers = "  unknown_devices: refuse\n"

// What the sources say of one device is one device, and the administrator's name for it holds.
func TestOneDeviceOfEverySource(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 3)
	h, other := l.Host(1), l.Host(2)
	h.Printer(t, copier)
	h.SNMP(t, console)
	other.SNMP(t, lan.SNMPOptions{Make: "Ricoh", Model: "IM C3000", Serial: "3100R100"})
	s := startOn(t, l, relay+refuseStrangers+devicesHead+dnssd+snmp+"  static: [{address: 10.77.0.2, name: Reception}]\n")
	id, why := s.relayed(t, h) // before anything is found
	if why != "destination-not-allowed" {
		t.Errorf("a configured device is refused: %s", why)
	}
	sources := func() map[mfpgate.Source]bool {
		found := map[mfpgate.Source]bool{}
		for _, sighting := range s.detail(t, id).Sightings {
			found[sighting.ID.Source()] = true
		}
		return found
	}
	rig.Until(t, "all sources show it", func() bool {
		found := sources()
		return found[mfpgate.SourceDNSSD] && found[mfpgate.SourceIPP] && found[mfpgate.SourceSNMP]
	})
	s.await(t, "the other is found", online("IM C3000", other))
	if now, why := s.relayed(t, h); now != id || why != "destination-not-allowed" {
		t.Errorf("the relay takes it for %s, %s; want %s", now, why, id)
	}
	d := s.detail(t, id)
	if d.Name != "Reception" || d.Serial != "JPBCN1Q0AB" || d.Identity.MAC != h.MAC.String() || d.State != mfpgate.DeviceOnline {
		t.Errorf("it is %+v, %+v", d.Device, d.Identity)
	}
	if all := s.devices(t); len(all) != 2 {
		t.Errorf("there are %d devices, want 2", len(all))
	}
	// To be found does not make a device known.
	if _, why := s.relayed(t, other); why != "device-unknown" {
		t.Errorf("a device that nobody configured is refused with %q", why)
	}
}

// Two devices with one name are two: over DNS-SD, where the second must take another, and over SNMP, where it need not.
func TestTwoOfOneName(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 5)
	for i := 1; i <= 2; i++ {
		l.Host(i).Announce(t, "Copier", "_ipp._tcp", 631, "rp=ipp/print", "ty=HP E52645")
		l.Host(i+2).SNMP(t, lan.SNMPOptions{Name: "copier", Make: "Ricoh", Model: "IM C3000"}) // and no serial number
	}
	s := startOn(t, l, relay+devicesHead+dnssd+snmp)
	for i := 1; i <= 2; i++ {
		h := l.Host(i)
		s.await(t, "the copier of "+h.Name+" is found", func(d mfpgate.Device) bool {
			return d.Model == "E52645" && (d.Address == h.V4.String() || d.Address == h.V6.String())
		})
		s.await(t, "the agent of "+l.Host(i+2).Name+" is found", online("IM C3000", l.Host(i+2)))
	}
	names := map[string]int{}
	for _, d := range s.devices(t) {
		names[d.Name]++
	}
	if names["Copier"] != 1 || names["Copier #2"] != 1 || names["copier"] != 2 || len(names) != 3 {
		t.Errorf("the devices' names are %v", names)
	}
}

// Two devices that exchange their addresses keep their ids, and the relay follows them.
func TestAddressesAreExchanged(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 3)
	a, b := l.Host(1), l.Host(2)
	for i, h := range []*lan.Host{a, b} {
		h.Printer(t, lan.PrinterOptions{Name: fmt.Sprint("Copier ", i), Make: "HP", Model: "E52645", Serial: fmt.Sprint("JPBCN1Q0A", i)})
	}
	s := startOn(t, l, relay+devicesHead+dnssd)
	ids := map[*lan.Host]mfpgate.DeviceID{}
	serials := map[*lan.Host]string{a: "JPBCN1Q0A0", b: "JPBCN1Q0A1"}
	agrees := func(h *lan.Host) func(mfpgate.Device) bool {
		return func(d mfpgate.Device) bool { return d.Serial == serials[h] && online("E52645", h)(d) }
	}
	follows := func(h *lan.Host) {
		t.Helper()
		rig.Until(t, "the relay knows "+h.Name+" by its address", func() bool {
			id, _ := s.relayed(t, h)
			return id == ids[h]
		})
	}
	for _, h := range []*lan.Host{a, b} {
		ids[h] = s.await(t, h.Name+" is found", agrees(h)).ID
		follows(h)
	}
	l.Swap(t, a, b)
	for _, h := range []*lan.Host{a, b} {
		d := s.await(t, h.Name+" is at its new address", func(d mfpgate.Device) bool { return d.Address == h.V4.String() && agrees(h)(d) })
		if d.ID != ids[h] {
			t.Errorf("%s is %s now, and was %s", h.Name, d.ID, ids[h])
		}
		follows(h)
	}
	if all := s.devices(t); len(all) != 2 {
		t.Errorf("there are %d devices, want 2", len(all))
	}
}

// An agent that lets in users alone is asked as one.
func TestAUserOfSNMPv3(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 2)
	l.Host(1).SNMP(t, console)
	dir := rig.Dir(t)
	auth, priv := rig.WriteFile(t, dir, "auth", lan.SNMPAuthKey), rig.WriteFile(t, dir, "priv", lan.SNMPPrivKey)
	user := func(auth string) string {
		return relay + devicesHead + "  snmp: {ranges: [10.77.0.0/28], users: [{name: " + lan.SNMPUser + ", auth: sha, auth_password: {file: " + auth +
			"}, privacy: aes, privacy_password: {file: " + priv + "}}]}\n"
	}
	s := startOn(t, l, user(auth))
	d := s.await(t, "it is found", online("E52645", l.Host(1)))
	rig.Until(t, "it is asked", func() bool { r := s.detail(t, d.ID).Reading; return r != nil && r.Status != nil })
	s.gateway.Reload(t, user(priv)) // another password
	s.byNextPoll(t, "the user is refused", func() {}, offline("not-authorized"))
}

// What an administrator says holds, also after a restart.
func TestAnAdministratorsWordHolds(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 4)
	l.Host(1).Printer(t, copier)
	l.Host(1).SNMP(t, console)
	for i := 2; i <= 3; i++ {
		l.Host(i).SNMP(t, lan.SNMPOptions{Make: "Ricoh", Model: "IM C3000", Serial: fmt.Sprint("3100R10", i)})
	}
	s := startOn(t, l, relay+devicesHead+dnssd+snmp)
	says := func(args ...string) string {
		t.Helper()
		code, out, complaint := rig.Run(t, append(append([]string{"devices"}, args...), "--socket", s.gateway.Socket)...)
		if code != 0 {
			t.Fatalf("%q: exit code %d: %s", args, code, complaint)
		}
		return out
	}
	const split = "snmp:10.77.0.2"
	// shown are how often an IPP service, the agent's address and other agents' show a device.
	shown := func(id mfpgate.DeviceID) (n struct{ ipp, split, others int }) {
		for _, sighting := range s.detail(t, id).Sightings {
			switch {
			case sighting.ID == split:
				n.split++
			case sighting.ID.Source() == mfpgate.SourceIPP:
				n.ipp++
			case sighting.ID.Source() == mfpgate.SourceSNMP:
				n.others++
			}
		}
		return n
	}
	one := s.await(t, "the copier is found", func(d mfpgate.Device) bool {
		return online("E52645", l.Host(1))(d) && shown(d.ID).ipp > 0 && shown(d.ID).split == 1
	})
	two, three := s.await(t, "the second is found", online("IM C3000", l.Host(2))), s.await(t, "the third is found", online("IM C3000", l.Host(3)))

	says("rename", string(one.ID), "Reception")
	says("pin", string(two.ID), string(three.ID))
	var made struct{ DeviceID mfpgate.DeviceID }
	if err := json.Unmarshal([]byte(says("split", string(one.ID), split, "--json")), &made); err != nil {
		t.Fatal(err)
	}
	holds := func(when string) {
		t.Helper()
		s.await(t, when+", the copier has its name", func(d mfpgate.Device) bool {
			return d.ID == one.ID && d.Name == "Reception" && d.State == mfpgate.DeviceOnline && shown(d.ID).ipp > 0 && shown(d.ID).split == 0
		})
		s.await(t, when+", its agent is another device", func(d mfpgate.Device) bool {
			return d.ID == made.DeviceID && d.State == mfpgate.DeviceOnline && shown(d.ID).split == 1 && shown(d.ID).ipp == 0
		})
		rig.Until(t, when+", both agents are one device", func() bool { return len(s.detail(t, two.ID).Sightings) == 2 })
		if all := s.devices(t); len(all) != 3 {
			t.Errorf("%s, there are %d devices, want 3: %s", when, len(all), s.describe(t))
		}
	}
	holds("at first")
	restart := func() {
		t.Helper()
		s.gateway.Stop(t)
		s.gateway = rig.StartIn(t, s.gateway.Dir, relay+devicesHead+dnssd+snmp, s.Gateway().Inside(t))
	}
	restart()
	s.gateway.Log.Event(t, event.DeviceScanned) // all sources have had their say again
	rig.Until(t, "all are asked", func() bool { return s.polls(t) > 5 })
	holds("after a restart")

	says("forget", string(two.ID))
	if code, _, _ := rig.Run(t, "devices", "show", string(two.ID), "--socket", s.gateway.Socket); code != 1 {
		t.Errorf("a forgotten device is shown, exit code %d", code)
	}
	restart()
	// What is forgotten is met anew: with other ids, and without what the administrator had said of it.
	for i := 2; i <= 3; i++ {
		d := s.await(t, "a forgotten one is found", online("IM C3000", l.Host(i)))
		if d.ID == two.ID || d.ID == three.ID {
			t.Errorf("a forgotten device has its id again: %s", d.ID)
		}
	}
}
