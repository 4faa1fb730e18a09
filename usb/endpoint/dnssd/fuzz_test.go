package dnssd_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/protocol/multicast"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

// FuzzPacket has a stranger say anything. It may cost a name, and a few packets; nothing else.
func FuzzPacket(f *testing.F) {
	conflict, _ := dns.NewRR(copier + " 120 IN SRV 0 0 631 other.local.")
	host, _ := dns.NewRR("printers.local. 120 IN A 10.1.0.77")
	probe := question(copier, dns.TypeANY)
	probe.Ns = []dns.RR{conflict}
	known := question("_ipp._tcp.local.", dns.TypePTR)
	known.Truncated = true
	for _, m := range []*dns.Msg{question("_ipp._tcp.local.", dns.TypePTR), question(copier, dns.TypeANY), question("printers.local.", dns.TypeAAAA),
		question("_services._dns-sd._udp.local.", dns.TypeANY), probe, known, response(conflict), response(host)} {
		packet, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet, uint16(5353))
		f.Add(packet, uint16(40000))
	}
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, packet []byte, port uint16) {
		synctest.Test(t, func(t *testing.T) {
			w := newWire()
			h := w.host(t, "printers", "10.1.0.1")
			h.publish(t, "Copier 2F")
			after(settle)
			n := w.count()
			h.conn.packets <- multicast.Packet{Data: slices.Clone(packet), From: netip.AddrPortFrom(netip.MustParseAddr("10.1.0.9"), port), Interface: eth0.Index,
				TTL: 255, Multicast: true}
			after(10 * time.Second)
			if sent := w.count() - n; sent > 20 {
				t.Errorf("%d packets for one", sent)
			}
			if got := h.named(); len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "Copier 2F") {
				t.Errorf("named %q", got)
			}
			h.stop()
		})
	})
}

// FuzzName publishes what a device may call itself and say: it comes out as it went in, within the bounds.
func FuzzName(f *testing.F) {
	for _, s := range []string{"Copier 2F", "", " ", "a.b\\c\"d;e(f)@g$h", strings.Repeat("é", 200), "\x00\xff\n", "Copier (2)", "Copier (007)", "複合機 3階"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		synctest.Test(t, func(t *testing.T) {
			w := newWire()
			h := w.host(t, "printers", "10.1.0.1")
			defer h.stop()
			note := "note=" + name[:min(len(name), 200)]
			_, err := h.Publish(dnssd.Publication{Name: name, Named: func(n string) { h.names = append(h.names, n) },
				Services: []dnssd.Service{{Type: "_ipp._tcp", Port: 1, Text: func(string) []string { return []string{note} }}}})
			if err != nil {
				return
			}
			after(settle)
			heard := w.since(0, "")
			last := heard[len(heard)-1]
			for _, p := range heard {
				if len(p.Answer) > 0 {
					last = p
				}
				for _, rr := range p.Answer {
					if txt, ok := rr.(*dns.TXT); ok && unescape(txt.Txt[0]) != note {
						t.Errorf("text %q came as %q", note, txt.Txt)
					}
					if srv, ok := rr.(*dns.SRV); ok {
						label, _, _ := strings.Cut(srv.Hdr.Name, "._ipp._tcp.local.")
						if got := unescape(label); len(h.names) == 0 || got != h.names[0] || len(got) > dnssd.MaxName {
							t.Errorf("named %q, published %q", h.names, got)
						}
					}
				}
			}
			if len(last.Answer) == 0 {
				t.Error("nothing was announced")
			}
		})
	})
}

// unescape undoes RFC 1035 §5.1.
func unescape(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			b = append(b, s[i])
		case i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
			b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
			i += 3
		default:
			i++
			b = append(b, s[i])
		}
	}
	return string(b)
}
