package devices_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/lan"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// accept runs f for each connection.
func accept(t *testing.T, l net.Listener, f func(net.Conn)) {
	t.Helper()
	done := make(chan struct{})
	go func() { // the cleanup waits for it
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			f(conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		rig.Wait(t, "nobody is accepted", done)
	})
}

// maxResident bounds the gateway's memory in bytes. Built with the race detector it has some 135 MB here.
const maxResident = 400 << 20

// What answers as no printer would is offline and says why; it costs the gateway little, and the other devices nothing.
func TestHostileDevices(t *testing.T) {
	t.Parallel() // it waits for the network most of the time
	l := lan.New(t, 8)
	good := l.Host(1)
	good.Printer(t, copier)
	huge := bytes.Repeat([]byte("\x02\x00\x00\x00\x00\x00\x00\x01\x01"), 10<<20/9)
	serve(t, l.Host(2).Listen(t, ":631"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/ipp")
		_, _ = w.Write(huge)
	}))
	accept(t, l.Host(3).Listen(t, ":631"), func(c net.Conn) { t.Cleanup(func() { _ = c.Close() }) })
	accept(t, l.Host(4).Listen(t, ":631"), func(c net.Conn) { _ = c.Close() })
	accept(t, l.Host(5).Listen(t, ":631"), func(c net.Conn) {
		go func() { // until the gateway, or the test, has enough
			for range 64 {
				if _, err := c.Write(huge); err != nil {
					break
				}
			}
			_ = c.Close()
		}()
		t.Cleanup(func() { _ = c.Close() })
	})
	for i := 2; i <= 5; i++ {
		l.Host(i).Announce(t, "Printer of "+l.Host(i).Name, "_ipp._tcp", 631, "rp=ipp/print", "ty=Evil 1")
	}
	// Garbage in place of SNMP.
	garbage := l.Host(6).ListenPacket(t, 161)
	go func() { // ends when the socket is closed
		packet, seed := make([]byte, 9000), rand.New(rand.NewPCG(1, 2))
		for {
			n, from, err := garbage.ReadFromUDPAddrPort(packet)
			if err != nil {
				return
			}
			_, _ = garbage.WriteToUDPAddrPort(mutate(seed, packet[:n]), from)
		}
	}()
	l.Host(7).SNMP(t, lan.SNMPOptions{Make: "Evil", Model: "Endless", Serial: "E1", Endless: true})
	s := startOn(t, l, relay+devicesHead+polling+dnssd+snmp+"  static: [{address: 10.77.0.7, name: garbage}]\n")

	id := s.await(t, "the copier is found", online("E52645", good)).ID
	named := func(name string, reasons ...mfpgate.Reason) {
		t.Helper()
		d := s.await(t, fmt.Sprint(name, " is away: ", reasons), func(d mfpgate.Device) bool {
			return d.Name == name && d.State == mfpgate.DeviceOffline && slices.Contains(reasons, d.Reason)
		})
		if r := s.detail(t, d.ID).Reading; r != nil && r.Status != nil {
			t.Errorf("%s is offline and said to be %s", name, r.Status.State)
		}
	}
	named("Printer of h2", "bad-answer")
	named("Printer of h3", "no-answer")
	named("Printer of h4", "not-a-printer", "bad-answer") // by whether the end or a reset comes first
	named("Printer of h5", "not-a-printer")
	named("garbage", "snmp-silent")
	endless := s.await(t, "the agent without end is known", func(d mfpgate.Device) bool { return d.Model == "Endless" })
	rig.Until(t, "it is asked for its supplies", func() bool {
		d := s.detail(t, endless.ID)
		return d.State == mfpgate.DeviceOffline && d.Reason == "bad-answer" || d.Reading != nil && d.Reading.Status != nil
	})
	if d := s.detail(t, endless.ID); d.Reading != nil && len(d.Reading.Supplies) > 64 {
		t.Errorf("%d supplies are taken", len(d.Reading.Supplies))
	}

	flood(t, l.Host(2), 20_000)
	done := s.polls(t)
	rig.Until(t, "all are asked again", func() bool { return s.polls(t) > done+14 })
	var d control.DeviceDetail
	rig.Until(t, "the copier is asked", func() bool {
		before := d.ReadAt.Status
		d = s.detail(t, id)
		return !before.IsZero() && d.ReadAt.Status.After(before)
	})
	if d.State != mfpgate.DeviceOnline || d.Name != copier.Name {
		t.Errorf("the copier is %s, %s", d.Name, d.State)
	}
	if all := s.devices(t); len(all) != 7 {
		t.Errorf("there are %d devices, want 7: %s", len(all), s.describe(t))
	}
	if got := s.metrics(t, "process_resident_memory_bytes"); got > maxResident {
		t.Errorf("the gateway has %.0f MB in memory", got/(1<<20))
	} else {
		t.Logf("the gateway has %.0f MB in memory", got/(1<<20))
	}
}

// mutate changes some bytes of a packet, or its length.
func mutate(seed *rand.Rand, packet []byte) []byte {
	out := bytes.Clone(packet)
	for range 1 + seed.IntN(8) {
		out[seed.IntN(len(out))] = byte(seed.Uint32())
	}
	return out[:1+seed.IntN(len(out))]
}

// flood sends malformed packets of mDNS: announcements of a printer that are damaged in many ways.
func flood(t *testing.T, from *lan.Host, n int) {
	t.Helper()
	conn := from.ListenPacket(t, 5353, mdnsGroup)
	const name = "\x04Evil\x04_ipp\x04_tcp\x05local\x00"
	packet := []byte("\x00\x00\x84\x00\x00\x00\x00\x03\x00\x00\x00\x00" +
		"\x04_ipp\x04_tcp\x05local\x00\x00\x0c\x00\x01\x00\x00\x11\x94\x00\x16" + name +
		name + "\x00\x21\x80\x01\x00\x00\x11\x94\x00\x0f\x00\x00\x00\x00\x02\x77\x02h2\x05local\x00" +
		name + "\x00\x10\x80\x01\x00\x00\x11\x94\x00\x02\x01x")
	seed := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		bad := mutate(seed, packet)
		switch i % 4 {
		case 0: // more records than there are
			bad = append([]byte("\x00\x00\x84\x00\xff\xff\xff\xff\xff\xff\xff\xff"), bad[:min(len(bad), 30)]...)
		case 1: // a name that points to itself
			bad = append([]byte("\x00\x00\x84\x00\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x0c\x00\x01\xc0\x0c"), bad...)
		case 2: // random
			for k := range bad {
				bad[k] = byte(seed.Uint32())
			}
		default: // cut off in the middle of a record
			bad = packet[:13+seed.IntN(len(packet)-14)]
		}
		if _, err := conn.WriteToUDPAddrPort(bad, netip.AddrPortFrom(mdnsGroup, 5353)); err != nil && err != io.ErrShortWrite {
			t.Fatal(err)
		}
	}
}
