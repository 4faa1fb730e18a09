package mdns_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/mdns"
	"github.com/mfpgate/mfpgate/telemetry"
)

// header of a response with n answers.
func header(n int) []byte {
	return []byte{0, 0, 0x84, 0, 0, 0, byte(n >> 8), byte(n), 0, 0, 0, 0}
}

// bare is a record with a name and data as they are on the wire.
func bare(name []byte, kind uint16, ttl uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(bytes.Clone(name), kind)
	b = append(b, 0x80, 1)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// hostile are packets that a querier must survive.
func hostile(t testing.TB) map[string][]byte {
	service := []byte("\x04_ipp\x04_tcp\x05local\x00")
	repeat := func(n int, record []byte) []byte { return append(header(n), bytes.Repeat(record, n)...) }
	deep := bytes.Repeat([]byte("\x3f"+strings.Repeat("a", 63)), 3)
	many := make([]dns.RR, 0, 250)
	for range 250 {
		many = append(many, parse(t, "_ipp._tcp.local. 4500 IN PTR Copier._ipp._tcp.local.")[0])
	}
	return map[string][]byte{
		"a name that points at itself":     append(header(1), 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 9, 0, 0),
		"names that point at each other":   append(header(1), 0xc0, 14, 0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 9, 0, 0),
		"a pointer ahead":                  append(header(1), 0xc0, 0xff, 0, 12, 0, 1, 0, 0, 0, 9, 0, 0),
		"truncated data":                   append(header(1), bare(service, dns.TypeSRV, 120, []byte{0, 0, 0})...),
		"data shorter than it says":        append(header(1), bare(service, dns.TypeTXT, 120, []byte("\xffshort"))...),
		"a TXT record of 64 KiB":           append(header(1), bare([]byte("\x06Copier\x04_ipp\x04_tcp\x05local\x00"), dns.TypeTXT, 120, bytes.Repeat([]byte("\xff"+strings.Repeat("x", 255)), 255))...),
		"a TXT record of 8.9 KB":           append(header(1), bare([]byte("\x06Copier\x04_ipp\x04_tcp\x05local\x00"), dns.TypeTXT, 120, bytes.Repeat([]byte("\xfe"+strings.Repeat("x", 254)), 34))...),
		"thousands of records":             repeat(800, []byte{0, 0, 12, 0, 1, 0, 0, 0, 9, 0, 0}),
		"counts that lie":                  header(65535),
		"long names again and again":       append(append(header(700), bare(append(deep, 0), 16, 9, nil)...), bytes.Repeat(bare([]byte{0xc0, 12}, 16, 9, nil), 699)...),
		"a name beyond 255 bytes":          append(header(1), bare(append(bytes.Repeat(deep, 2), 0), 12, 9, nil)...),
		"a PTR to the root":                append(header(1), bare(service, dns.TypePTR, 120, []byte{0})...),
		"a PTR to the service":             append(header(1), bare(service, dns.TypePTR, 120, []byte{0xc0, 12})...),
		"an instance that is no text":      append(header(1), bare(service, dns.TypePTR, 120, []byte("\x04\xff\x00.\\\xc0\x0c"))...),
		"a SRV record that names the root": append(header(1), bare([]byte("\x06Copier\x04_ipp\x04_tcp\x05local\x00"), dns.TypeSRV, 120, []byte{0, 0, 0, 0, 2, 119, 0})...),
		"the same record many times":       answer(t, many),
		"a device":                         answer(t, parse(t, copier("Copier", "10.1.0.9")...)),
		"a device's goodbye":               answer(t, parse(t, "_ipp._tcp.local. 0 IN PTR Copier._ipp._tcp.local.", "copier.local. 0 IN A 10.1.0.9")),
		"loopback":                         answer(t, parse(t, "copier.local. 120 CH AAAA ::1", "copier.local. 120 IN A 127.0.0.1")),
		"what a host has not":              answer(t, parse(t, "copier.local. 120 CH NSEC copier.local. A", "Copier._ipp._tcp.local. 9 CH NSEC Copier._ipp._tcp.local. SRV")),
		"nothing":                          {},
	}
}

// pipe is a Conn without any link behind it.
type pipe struct{ packets chan mdns.Packet }

func (p pipe) Join(net.Interface, mdns.Family) error         { return nil }
func (p pipe) Leave(net.Interface, mdns.Family)              {}
func (p pipe) Send(net.Interface, mdns.Family, []byte) error { return nil }
func (p pipe) Packets() <-chan mdns.Packet                   { return p.packets }
func (p pipe) Unicast(mdns.Family) bool                      { return true }
func (p pipe) Close() error                                  { return nil }

// digest gives packets to a querier that knows one device, and returns what it sighted and counted.
func digest(t testing.TB, packets ...[]byte) (sighted []mfpgate.Sighting, counts map[mdns.Event]int) {
	counts = map[mdns.Event]int{}
	p := pipe{make(chan mdns.Packet)}
	q, err := mdns.New(mdns.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Rand: rand.New(rand.NewPCG(1, 2)),
		Interfaces: func() ([]net.Interface, error) { return []net.Interface{eth0}, nil },
		Open:       func() (mdns.Conn, error) { return p, nil },
		Sighted:    func(x mfpgate.Sighting) { sighted = append(sighted, x) },
		Count:      func(e mdns.Event, n int) { counts[e] += n }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	for _, data := range packets {
		p.packets <- mdns.Packet{Data: data, From: source(mdns.IPv4, 5353), Interface: eth0.Index, TTL: 255, Multicast: true}
	}
	p.packets <- mdns.Packet{} // taken once the others are done with
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return sighted, counts
}

func check(t testing.TB, sighted []mfpgate.Sighting) {
	for _, x := range sighted {
		name := string(x.ID)
		if !strings.HasPrefix(name, "dns-sd:") || !strings.HasSuffix(name, "._tcp.local") {
			t.Errorf("id %q", name)
		}
		for _, text := range []string{name, x.Name, x.Location, x.Identity.Make, x.Identity.Model, x.Identity.UUID} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%q is no text", text)
			}
		}
		for _, e := range x.Endpoints {
			a := e.Address.Addr()
			if !e.Address.IsValid() || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() || strings.HasPrefix(e.Path, "/") {
				t.Errorf("endpoint %+v", e)
			}
		}
	}
}

func TestHostilePacketsChangeNothing(t *testing.T) {
	device := answer(t, parse(t, copier("Copier", "10.1.0.9")...))
	for rule, data := range hostile(t) {
		t.Run(rule, func(t *testing.T) {
			sighted, _ := digest(t, device, data)
			check(t, sighted)
			if rule == "a SRV record that names the root" { // the service is not to be had (RFC 2782)
				if n := len(sighted); n != 2 || len(sighted[n-1].Endpoints) > 0 {
					t.Errorf("sighted %+v", sighted)
				}
			} else if len(sighted) != 1 || len(sighted[0].Endpoints) != 1 {
				t.Errorf("sighted %+v", sighted)
			}
		})
	}
	for _, rule := range []string{"a name that points at itself", "truncated data", "a TXT record of 64 KiB", "counts that lie", "a name beyond 255 bytes"} {
		if _, counts := digest(t, hostile(t)[rule]); counts[mdns.Malformed] != 1 {
			t.Errorf("%s: %v, want it to be malformed", rule, counts)
		}
	}
	if _, counts := digest(t, device, hostile(t)["a TXT record of 8.9 KB"]); counts[mdns.OutOfBounds] != 1 {
		t.Errorf("a TXT record of 8.9 KB: %v, want it to be out of bounds", counts)
	}
}

func FuzzPacket(f *testing.F) {
	for _, data := range hostile(f) {
		f.Add(data)
	}
	device := answer(f, parse(f, copier("Copier", "10.1.0.9")...))
	f.Fuzz(func(t *testing.T, data []byte) {
		sighted, _ := digest(t, bytes.Clone(data), device, bytes.Clone(data))
		check(t, sighted)
	})
}
