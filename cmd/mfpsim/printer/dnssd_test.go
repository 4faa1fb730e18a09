package printer_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
)

// dnssd announces on lo, at a port that keeps the test apart from the machine's responders.
func dnssd(t testing.TB) printer.DNSSD {
	t.Helper()
	conn, err := net.ListenUDP("udp4", nil)
	must(t, err)
	must(t, conn.Close())
	return printer.DNSSD{Interfaces: []string{"lo"}, Port: uint16(conn.LocalAddr().(*net.UDPAddr).Port)}
}

// ear hears what is sent to the group, and asks from the group's port.
type ear struct {
	t    testing.TB
	conn *net.UDPConn
	to   *net.UDPAddr
}

func listen(t testing.TB, o printer.DNSSD) *ear {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	must(t, err)
	group := &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: int(o.Port)}
	conn, err := net.ListenMulticastUDP("udp4", lo, group)
	must(t, err)
	must(t, conn.SetReadBuffer(4<<20))
	pc := ipv4.NewPacketConn(conn)
	must(t, pc.SetMulticastInterface(lo))
	must(t, pc.SetMulticastLoopback(true))
	t.Cleanup(func() { _ = conn.Close() })
	return &ear{t: t, conn: conn, to: group}
}

func (e *ear) ask(m *dns.Msg) {
	e.t.Helper()
	data, err := m.Pack()
	must(e.t, err)
	_, err = e.conn.WriteTo(data, e.to)
	must(e.t, err)
}

// hear collects records until done says that they suffice.
func (e *ear) hear(done func(rr dns.RR) bool) (sizes []int) {
	e.t.Helper()
	must(e.t, e.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buffer := make([]byte, 65536)
	for {
		n, err := e.conn.Read(buffer)
		if err != nil {
			e.t.Fatalf("after %d messages: %v", len(sizes), err)
		}
		var m dns.Msg
		must(e.t, m.Unpack(buffer[:n]))
		if !m.Response {
			continue
		}
		sizes = append(sizes, n)
		for _, rr := range append(m.Answer, m.Extra...) {
			if done(rr) {
				return sizes
			}
		}
	}
}

func question(name string, kind uint16) *dns.Msg {
	m := &dns.Msg{}
	m.SetQuestion(name, kind)
	m.Id, m.RecursionDesired = 0, false
	return m
}

func announcing(t *testing.T, s *printer.Site, i int, name string) *printer.Printer {
	t.Helper()
	return printertest.Add(t, s, printer.Options{Addresses: addr(fmt.Sprintf("127.2.%d.%d", i/250, i%250+1)), Serial: fmt.Sprint("S", i), Name: name, DNSSD: true, Scanner: i%2 == 0})
}

func TestAnnouncementAndGoodbye(t *testing.T) {
	o := dnssd(t)
	e := listen(t, o)
	s := printertest.Start(t, printer.SiteOptions{DNSSD: o})
	p := announcing(t, s, 0, "Kopierer 2. OG (Süd)")
	instance := printer.Escape("Kopierer 2. OG (Süd)") + "._ipp._tcp.local."
	left := map[string]bool{"PTR": true, "SRV": true, "TXT": true, "A": true}
	e.hear(func(rr dns.RR) bool {
		kind := dns.TypeToString[rr.Header().Rrtype]
		switch rr := rr.(type) {
		case *dns.PTR:
			if rr.Ptr != instance || rr.Hdr.Name != "_ipp._tcp.local." {
				return false
			}
			if rr.Hdr.Ttl != 4500 || rr.Hdr.Class != dns.ClassINET {
				t.Errorf("PTR is %s", rr)
			}
		case *dns.SRV:
			if rr.Hdr.Name == instance && (rr.Port != p.IPP().Port() || rr.Hdr.Ttl != 120 || rr.Hdr.Class != dns.ClassINET|1<<15) {
				t.Errorf("SRV is %s", rr)
			}
		case *dns.TXT:
			if rr.Hdr.Name == instance && (!slices.Contains(rr.Txt, "rp=ipp/print") || rr.Hdr.Ttl != 4500) {
				t.Errorf("TXT is %s", rr)
			}
		}
		delete(left, kind)
		return len(left) == 0
	})
	withdrawn := func(name string) {
		t.Helper()
		e.hear(func(rr dns.RR) bool {
			ptr, ok := rr.(*dns.PTR)
			return ok && ptr.Hdr.Ttl == 0 && ptr.Ptr == name
		})
	}
	must(t, p.SetName("New name"))
	withdrawn(instance)
	instance = `New\ name._ipp._tcp.local.`
	e.hear(func(rr dns.RR) bool { ptr, ok := rr.(*dns.PTR); return ok && ptr.Ptr == instance && ptr.Hdr.Ttl > 0 })
	p.PowerOff()
	withdrawn(instance)
	must(t, p.On())
	e.hear(func(rr dns.RR) bool { ptr, ok := rr.(*dns.PTR); return ok && ptr.Ptr == instance && ptr.Hdr.Ttl > 0 })
	if _, err := s.Add(printer.Options{Addresses: addr("127.2.3.4"), Serial: "other", Name: "new NAME", DNSSD: true}); !errors.Is(err, printer.ErrTaken) {
		t.Errorf("a second printer of the same name: %v", err)
	}
}

func TestBrowseOfManyIsCompleteAndSuppressed(t *testing.T) {
	const count = 1000
	o := dnssd(t)
	s := printertest.Start(t, printer.SiteOptions{DNSSD: o})
	for i := range count {
		announcing(t, s, i, fmt.Sprint("Copier ", i))
	}
	for !printer.Idle(s) { // the announcements pass first
		runtime.Gosched()
	}
	e := listen(t, o)
	e.ask(question("_ipp._tcp.local.", dns.TypePTR))
	pointers, hosts := map[string]*dns.PTR{}, map[string]bool{}
	sizes := e.hear(func(rr dns.RR) bool {
		switch rr := rr.(type) {
		case *dns.PTR:
			pointers[rr.Ptr] = rr
		case *dns.A:
			hosts[rr.A.String()] = true
		}
		return len(pointers) == count && len(hosts) == count
	})
	if largest := slices.Max(sizes); largest > 1400 {
		t.Errorf("a message of %d bytes", largest)
	}
	t.Logf("%d printers in %d messages, largest %d bytes", count, len(sizes), slices.Max(sizes))

	// All but one are known, told in messages that say that more come; only that one is answered.
	var known []dns.RR
	for _, ptr := range pointers {
		if ptr.Ptr != `Copier\ 7._ipp._tcp.local.` {
			known = append(known, ptr)
		}
	}
	first := true
	for chunk := range slices.Chunk(known, 20) {
		m := &dns.Msg{Answer: chunk}
		if first {
			m.Question = question("_ipp._tcp.local.", dns.TypePTR).Question
		}
		first = false
		m.Truncated = len(chunk) == 20
		e.ask(m)
	}
	var got []string
	e.ask(question("_universal._sub._ipp._tcp.local.", dns.TypePTR)) // not known under this name
	others := 0
	e.hear(func(rr dns.RR) bool {
		if ptr, ok := rr.(*dns.PTR); ok {
			if ptr.Hdr.Name == "_ipp._tcp.local." {
				got = append(got, ptr.Ptr)
			} else {
				others++
			}
		}
		return others == count && len(got) > 0
	})
	if diff := cmp.Diff([]string{`Copier\ 7._ipp._tcp.local.`}, got); diff != "" {
		t.Errorf("with known answers (-want +got):\n%s", diff)
	}
	if got := s.Printers()[7].Stats().DNSSD; got < 2 {
		t.Errorf("printer 7 counts %d questions", got)
	}
}

func TestLegacyAndDirectQuestions(t *testing.T) {
	o := dnssd(t)
	s := printertest.Start(t, printer.SiteOptions{DNSSD: o})
	p := announcing(t, s, 0, "Copier")
	c := &dns.Client{Net: "udp4", Timeout: 5 * time.Second}
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), o.Port).String()
	exchange := func(name string, kind uint16) *dns.Msg {
		t.Helper()
		m := question(name, kind)
		m.Id = 4711
		answer, _, err := c.Exchange(m, to)
		must(t, err)
		return answer
	}
	srv := exchange(`copier._IPP._tcp.local.`, dns.TypeSRV)
	if len(srv.Answer) != 1 || srv.Answer[0].Header().Ttl != 10 || srv.Answer[0].Header().Class != dns.ClassINET || len(srv.Extra) != 1 || srv.Id != 4711 {
		t.Fatalf("legacy SRV: %s", srv)
	}
	a := exchange(srv.Answer[0].(*dns.SRV).Target, dns.TypeA)
	if len(a.Answer) != 1 || a.Answer[0].(*dns.A).A.String() != p.IPP().Addr().String() {
		t.Errorf("legacy A: %s", a)
	}
	var types []string
	for _, rr := range exchange("_services._dns-sd._udp.local.", dns.TypePTR).Answer {
		types = append(types, rr.(*dns.PTR).Ptr)
	}
	if diff := cmp.Diff([]string{"_ipp._tcp.local.", "_printer._tcp.local.", "_uscan._tcp.local."}, types); diff != "" {
		t.Errorf("service types (-want +got):\n%s", diff)
	}
	if port := exchange(`Copier._printer._tcp.local.`, dns.TypeSRV).Answer[0].(*dns.SRV).Port; port != 0 {
		t.Errorf("the flagship's port is %d", port)
	}
}

func TestGoodbyeAtStop(t *testing.T) {
	o := dnssd(t)
	e := listen(t, o)
	t.Run("site", func(t *testing.T) {
		s := printertest.Start(t, printer.SiteOptions{DNSSD: o})
		announcing(t, s, 1, "Stopping")
		e.hear(func(rr dns.RR) bool { ptr, ok := rr.(*dns.PTR); return ok && strings.HasPrefix(ptr.Ptr, "Stopping.") })
	})
	e.hear(func(rr dns.RR) bool {
		ptr, ok := rr.(*dns.PTR)
		return ok && ptr.Ptr == "Stopping._printer._tcp.local." && ptr.Hdr.Ttl == 0
	})
}
