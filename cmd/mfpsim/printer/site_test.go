package printer_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/tests/need"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func addr(text string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(text)} }

// client gives every request a connection of its own.
var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func getAttributes(requested ...string) *goipp.Message {
	m := goipp.NewRequest(goipp.DefaultVersion, goipp.OpGetPrinterAttributes, 7)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String("ipp://printer/ipp/print")))
	if len(requested) > 0 {
		a := goipp.Attribute{Name: "requested-attributes"}
		for _, name := range requested {
			a.Values.Add(goipp.TagKeyword, goipp.String(name))
		}
		m.Operation.Add(a)
	}
	return m
}

func post(c *http.Client, at netip.AddrPort, body []byte) (*http.Response, error) {
	return c.Post("http://"+at.String()+"/ipp/print", goipp.ContentType, bytes.NewReader(body))
}

func ask(t testing.TB, at netip.AddrPort, m *goipp.Message) *goipp.Message {
	t.Helper()
	body, err := m.EncodeBytes()
	must(t, err)
	res, err := post(client, at, body)
	must(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d: %s", res.StatusCode, data)
	}
	var answer goipp.Message
	must(t, answer.DecodeBytes(data))
	return &answer
}

// says asks for some attributes and returns them as text.
func says(t testing.TB, at netip.AddrPort, names ...string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, a := range ask(t, at, getAttributes(names...)).Printer {
		for i, v := range a.Values {
			text := v.V.String()
			if b, ok := v.V.(goipp.Binary); ok {
				text = string(b)
			}
			if i > 0 {
				text = got[a.Name] + "," + text
			}
			got[a.Name] = text
		}
	}
	return got
}

func manager(t testing.TB, at netip.AddrPort, version gosnmp.SnmpVersion) *gosnmp.GoSNMP {
	t.Helper()
	g := &gosnmp.GoSNMP{Target: at.Addr().String(), Port: at.Port(), Community: "public", Version: version, Timeout: 2 * time.Second, MaxOids: 60, Transport: "udp"}
	must(t, g.Connect())
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func TestOneSocketServesManyAddresses(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own=%v", own), func(t *testing.T) {
			s := printertest.Start(t, printer.SiteOptions{OwnSockets: own})
			for i := 1; i <= 3; i++ {
				p := printertest.Add(t, s, printer.Options{Addresses: addr(fmt.Sprintf("127.0.9.%d", i)), Serial: fmt.Sprint("S", i), Name: fmt.Sprint("Copier ", i)})
				if got := says(t, p.IPP(), "printer-serial-number", "printer-name"); got["printer-serial-number"] != fmt.Sprint("S", i) || len(got) != 2 {
					t.Errorf("IPP at %s: %v", p.IPP(), got)
				}
				r, err := manager(t, p.SNMP(), gosnmp.Version1).Get([]string{"1.3.6.1.2.1.43.5.1.1.17.1"}) // a connected socket: the reply comes from the address asked
				must(t, err)
				if got := string(r.Variables[0].Value.([]byte)); got != fmt.Sprint("S", i) {
					t.Errorf("SNMP at %s: %q", p.SNMP(), got)
				}
				if got := p.Stats(); got != (printer.Stats{IPP: 1, SNMP: 1}) {
					t.Errorf("stats: %+v", got)
				}
			}
			if got := s.Stats(); got != (printer.Stats{IPP: 3, SNMP: 3}) {
				t.Errorf("stats of all: %+v", got)
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	need.That(t, err == nil, "the machine has no IPv6; enable it on lo")
	must(t, l.Close())
	s := printertest.Start(t, printer.SiteOptions{IPv6: true})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("::1"), Serial: "S6"})
	if got := says(t, p.IPP(), "printer-uri-supported"); got["printer-uri-supported"] != fmt.Sprintf("ipp://[::1]:%d/ipp/print", p.IPP().Port()) {
		t.Errorf("IPP: %v", got)
	}
	r, err := manager(t, p.SNMP(), gosnmp.Version2c).Get([]string{"1.3.6.1.2.1.43.5.1.1.17.1"})
	must(t, err)
	if got := string(r.Variables[0].Value.([]byte)); got != "S6" {
		t.Errorf("SNMP: %q", got)
	}
}
