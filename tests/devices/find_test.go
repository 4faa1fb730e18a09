package devices_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/rig"
)

var mdnsGroup = netip.MustParseAddr("224.0.0.251")

// browses counts the questions for IPP printers that a host's neighbour hears from it, and calls fourth at the fourth.
func browses(t *testing.T, hears *lan.Host, from netip.Addr, fourth func()) *atomic.Int64 {
	t.Helper()
	conn := hears.ListenPacket(t, 5353, mdnsGroup)
	var n atomic.Int64
	done := make(chan struct{})
	go func() { // ends when the socket is closed
		defer close(done)
		packet := make([]byte, 9000)
		for {
			size, who, err := conn.ReadFromUDPAddrPort(packet)
			if err != nil {
				return
			}
			p := packet[:size]
			isQuery := size > 12 && binary.BigEndian.Uint16(p[2:])&0x8000 == 0
			// A question for single names begins with one of them; the services' is the first of its packet (RFC 1035 §4.1.2).
			if who.Addr().Unmap() == from && isQuery && strings.HasPrefix(string(p[12:]), "\x04_ipp\x04_tcp\x05local\x00\x00\x0c") && n.Add(1) == 4 {
				fourth()
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); rig.Wait(t, "nobody hears any more", done) })
	return &n
}

// Devices that are there are found by the third question for them, and by a scan, each once.
func TestWhatIsThereIsFound(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 5)
	names := []string{"Copier 1F", "Copier 2F", "Copier 3F"}
	for i, name := range names {
		p := lan.PrinterOptions{Name: name, Make: "HP", Model: "E52645"}
		if i == 2 {
			p.Serial = "JPBCN1Q0AB"
		}
		l.Host(i+1).Printer(t, p)
	}
	l.Host(4).SNMP(t, lan.SNMPOptions{Make: "Ricoh", Model: "IM C3000", Serial: "3100R100"})
	rig.Until(t, "avahi announces all printers", func() bool {
		out, _ := l.Host(3).Try(t, "avahi-browse", "-rpt", "_ipp._tcp")
		return strings.Contains(out, ";10.77.0.2;631") && strings.Contains(out, ";10.77.0.3;631") && strings.Contains(out, ";10.77.0.4;631")
	})
	late, fourth := context.WithCancel(context.Background())
	var at atomic.Pointer[time.Time]
	asked := browses(t, l.Host(4), l.Gateway().V4, func() {
		now := time.Now()
		at.Store(&now)
		fourth()
	})
	s := startOn(t, l, relay+devicesHead+dnssd+snmp)
	s.await(t, "the agent is found", online("IM C3000", s.Host(4)))
	for i, name := range names {
		s.await(t, name+" is found", online("E52645", s.Host(i+1)))
	}
	<-late.Done() // so that the count is known to count
	for _, name := range names {
		e := s.gateway.Log.Event(t, event.DeviceSighted, field.Text, "dns-sd:"+name+"._ipp._tcp.local")
		found, err := time.Parse(time.RFC3339, e.Str("time"))
		if err != nil || found.After(*at.Load()) {
			t.Errorf("%s is found at %v (%v), after the fourth question at %v", name, found, err, *at.Load())
		}
	}
	if asked.Load() < 4 || s.metrics(t, `mfpgate_discovery_queries_total{protocol="dns-sd"}`) < 4 {
		t.Errorf("%d questions were heard, and the metric is not more", asked.Load())
	}
	if all := s.devices(t); len(all) != 4 {
		t.Errorf("there are %d devices, want 4", len(all))
	}
}

// A host without IPv4 is found and asked: by the address of the network, or the link's alone.
func TestIPv6Only(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 3)
	l.Host(1).IPv6Only(t)
	l.Host(2).LinkLocalOnly(t)
	for i := 1; i <= 2; i++ {
		l.Host(i).Printer(t, lan.PrinterOptions{Name: fmt.Sprint("Copier ", i), Make: "HP", Model: "E52645", Serial: fmt.Sprint("JPBCN1Q0A", i)})
	}
	s := startOn(t, l, relay+devicesHead+dnssd)
	six := s.await(t, "the one with an address is found", online("E52645", l.Host(1)))
	link := s.await(t, "the one with a link-local address is found", func(d mfpgate.Device) bool {
		return d.State == mfpgate.DeviceOnline && strings.HasPrefix(d.Address, "fe80::") && strings.HasSuffix(d.Address, "%eth0")
	})
	for _, d := range []mfpgate.Device{six, link} {
		rig.Until(t, d.Address+" is asked", func() bool {
			detail := s.detail(t, d.ID)
			return detail.Reading != nil && detail.Reading.Status != nil && detail.Reading.Status.State == mfpgate.PrinterIdle
		})
	}
	if all := s.devices(t); len(all) != 2 {
		t.Errorf("there are %d devices, want 2", len(all))
	}
}

// Our querier and an avahi on the same host hear the same devices come and go, whichever began first.
func TestBesideAvahi(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 2)
	h := l.Host(1)
	p := h.Printer(t, copier)
	s := startOn(t, l, relay+devicesHead+dnssd)
	d := s.await(t, "the copier is found", online("E52645", h))
	l.Gateway().Avahi(t)
	shows := func(name string) bool {
		out, _ := l.Gateway().Try(t, "avahi-browse", "-rpt", "_ipp._tcp") // fails while its host's name is probed for
		return strings.Contains(out, ";"+name+";") && strings.Contains(out, ";h1.local;10.77.0.2;631;")
	}
	rig.Until(t, "avahi shows the copier, too", func() bool { return shows(`Copier\0322F`) })
	p.Restart(t, "Copier 5F")
	s.await(t, "the copier has its other name", func(now mfpgate.Device) bool { return now.ID == d.ID && now.Name == "Copier 5F" })
	rig.Until(t, "avahi shows the other name, too", func() bool { return shows(`Copier\0325F`) && !shows(`Copier\0322F`) })
	l.Gateway().Announce(t, "Beside us", "_ipp._tcp", 9, "ty=Rigworks Composite 100") // with port 5353 in other hands
	s.await(t, "what this host announces is found", func(d mfpgate.Device) bool { return d.Name == "Beside us" })
	p.Stop(t)
	s.await(t, "its goodbye is heard", func(now mfpgate.Device) bool { return now.ID == d.ID && now.State == mfpgate.DeviceOffline })
	rig.Until(t, "avahi hears it, too", func() bool { return !shows(`Copier\0325F`) })
}
