package printer_test

import (
	"net/netip"
	"testing"

	"github.com/OpenPrinting/goipp"
	"github.com/gosnmp/gosnmp"
	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
)

// target is a site with one printer.
func target(t testing.TB, o printer.SiteOptions) (*printer.Site, *printer.Printer) {
	t.Helper()
	s := printertest.Start(t, o)
	p := printertest.Add(t, s, printer.Options{Addresses: []netip.Addr{netip.MustParseAddr("127.0.9.70")}, Serial: "S", Name: "Copier", DNSSD: true, Scanner: true})
	return s, p
}

func FuzzSNMP(f *testing.F) {
	s, p := target(f, printer.SiteOptions{})
	for _, version := range []gosnmp.SnmpVersion{gosnmp.Version1, gosnmp.Version2c} {
		g := &gosnmp.GoSNMP{Version: version, Community: "public"}
		for _, kind := range []gosnmp.PDUType{gosnmp.GetRequest, gosnmp.GetNextRequest, gosnmp.GetBulkRequest, gosnmp.SetRequest, gosnmp.Trap} {
			packet, err := g.SnmpEncodePacket(kind, []gosnmp.SnmpPDU{{Name: ".1.3.6.1.2.1.1.5.0", Type: gosnmp.Null}}, 0, 5)
			if err == nil {
				f.Add(packet)
			}
		}
	}
	f.Add([]byte("\x30\x84\xff\xff\xff\xff\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if answer := printer.AnswerSNMP(s, p, packet); len(answer) > 1472 {
			t.Errorf("an answer of %d bytes", len(answer))
		}
	})
}

func FuzzDNSSD(f *testing.F) {
	s, _ := target(f, printer.SiteOptions{DNSSD: dnssd(f)})
	for _, name := range []string{"_ipp._tcp.local.", "_universal._sub._ipp._tcp.local.", "_services._dns-sd._udp.local.", "Copier._ipp._tcp.local."} {
		for _, kind := range []uint16{dns.TypePTR, dns.TypeSRV, dns.TypeANY} {
			packet, err := question(name, kind).Pack()
			must(f, err)
			f.Add(packet)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		for _, m := range printer.AnswerDNS(s, packet) {
			data, err := m.Pack()
			if err != nil || len(data) > 1400 {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		}
	})
}

func FuzzIPP(f *testing.F) {
	_, p := target(f, printer.SiteOptions{})
	for _, names := range [][]string{nil, {"all"}, {"printer-state", "media-col-database"}} {
		data, err := getAttributes(names...).EncodeBytes()
		must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		answer := printer.AnswerIPP(p, packet)
		if answer == nil {
			return
		}
		data, err := answer.EncodeBytes()
		must(t, err)
		var again goipp.Message
		must(t, again.DecodeBytes(data))
	})
}

func FuzzDNSSDNames(f *testing.F) {
	f.Add("Kopierer 2. OG (Süd)")
	f.Add(`back\slash "quoted" @;`)
	f.Fuzz(func(t *testing.T, name string) {
		label := printer.Label(name)
		if label == "" {
			return
		}
		m := question(printer.Escape(label)+"._ipp._tcp.local.", dns.TypeSRV)
		data, err := m.Pack()
		if err != nil {
			t.Fatalf("%q: %v", label, err)
		}
		var again dns.Msg
		must(t, again.Unpack(data))
		if again.Question[0].Name != m.Question[0].Name {
			t.Errorf("%q is sent as %q and read as %q", label, m.Question[0].Name, again.Question[0].Name)
		}
	})
}
