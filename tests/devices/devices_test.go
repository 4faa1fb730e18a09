package devices_test

import (
	"net/netip"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/lan"
)

var (
	copier  = lan.PrinterOptions{Name: "Copier 2F", Make: "HP", Model: "E52645", Serial: "JPBCN1Q0AB", Firmware: "10.02"}
	console = lan.SNMPOptions{Description: "HP ETHERNET MULTI-ENVIRONMENT", Make: "HP", Model: "E52645", Serial: "JPBCN1Q0AB", Impressions: 1000}
)

// A device that shows itself over DNS-SD and over SNMP is one.
func TestADeviceIsOneWhateverShowsIt(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 3)
	l.Host(1).Printer(t, copier)
	l.Host(1).SNMP(t, console)
	l.Host(2).SNMP(t, lan.SNMPOptions{Make: "Ricoh", Model: "IM C3000", Serial: "3100R100"})
	s := startOn(t, l, relay+devicesHead+dnssd+snmp) // which scans once
	s.await(t, "the agent is found", online("IM C3000", s.Host(2)))
	s.await(t, "the copier is one, with what each source says", func(d mfpgate.Device) bool {
		return online("E52645", s.Host(1))(d) && d.Serial == "JPBCN1Q0AB" && d.Firmware == "10.02" && d.Name == "Copier 2F" && len(s.devices(t)) == 2
	})
}

// A device that falls silent is offline, and itself again when it comes back.
func TestADeviceFallsSilent(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	s := start(t, 2)
	for i, h := range []*lan.Host{s.Host(1), s.Host(2)} {
		p := copier
		p.Serial += string(rune('0' + i))
		p.Name += string(rune('0' + i))
		h.Printer(t, p)
	}
	pulled := s.await(t, "the first is found", online("E52645", s.Host(1)))
	dead := s.await(t, "the second is found", online("E52645", s.Host(2)))
	s.Host(1).Unplug(t)
	s.Host(2).PowerOff(t)
	s.await(t, "the first is offline", now(pulled.ID, mfpgate.DeviceOffline))
	s.await(t, "the second is offline", now(dead.ID, mfpgate.DeviceOffline))
	s.Host(1).Plug(t)
	s.await(t, "the first is online again", now(pulled.ID, mfpgate.DeviceOnline))
}

// Another address and another name make no other device.
func TestADeviceMoves(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	s := start(t, 1)
	h := s.Host(1)
	p := h.Printer(t, copier)
	before := s.await(t, "the copier is found", online("E52645", h))
	h.Readdress(t, netip.MustParseAddr("10.77.0.200"))
	same := func(d mfpgate.Device) bool { return online("E52645", h)(d) && d.ID == before.ID }
	s.await(t, "the copier is at its other address", same)
	p.Restart(t, "Copier 5F")
	s.await(t, "the copier has its other name", func(d mfpgate.Device) bool { return same(d) && d.Name == "Copier 5F" })
	h.IPv6Only(t)
	s.await(t, "the copier is there over IPv6", same)
	if all := s.devices(t); len(all) != 1 {
		t.Errorf("there are %d devices, want 1: %s", len(all), s.describe(t))
	}
}
