package printer_test

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
)

func knock(t *testing.T, c *http.Client, at netip.AddrPort) error {
	t.Helper()
	body, err := getAttributes("printer-state").EncodeBytes()
	must(t, err)
	res, err := post(c, at, body)
	if err == nil {
		_ = res.Body.Close()
	}
	return err
}

func answersSNMP(t *testing.T, p *printer.Printer) bool {
	t.Helper()
	g := manager(t, p.SNMP(), gosnmp.Version2c)
	g.Timeout, g.Retries = 200*time.Millisecond, 0
	_, err := g.Get([]string{"1.3.6.1.2.1.1.5.0"})
	return err == nil
}

func TestPower(t *testing.T) {
	for _, own := range []bool{false, true} {
		name := map[bool]string{false: "shared sockets", true: "own sockets"}[own]
		t.Run(name, func(t *testing.T) {
			s := printertest.Start(t, printer.SiteOptions{OwnSockets: own})
			p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.10"), Serial: "S"})
			other := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.11"), Serial: "T"})
			kept := &http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{}} // keeps its connection
			must(t, knock(t, kept, p.IPP()))

			p.Unplug()
			var timeout net.Error
			if err := knock(t, &http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{}}, p.IPP()); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("unplugged: got %v, want silence", err)
			}
			if c, err := net.DialTimeout("tcp", p.IPP().String(), 200*time.Millisecond); err == nil {
				_ = c.Close()
				t.Error("unplugged: a connection opened")
			}
			if err := knock(t, kept, p.IPP()); !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Errorf("unplugged, on a connection from before: got %v, want silence", err)
			}
			if answersSNMP(t, p) {
				t.Error("unplugged: SNMP answered")
			}
			must(t, knock(t, client, other.IPP()))

			must(t, p.On())
			must(t, knock(t, client, p.IPP()))
			if !answersSNMP(t, p) {
				t.Error("plugged in: no SNMP")
			}

			at := p.IPP()
			p.AddCounter(printer.Impressions, 5)
			p.PowerOff()
			err := knock(t, client, at)
			if own && !errors.Is(err, syscall.ECONNREFUSED) || err == nil {
				t.Errorf("off: got %v", err)
			}
			if answersSNMP(t, p) {
				t.Error("off: SNMP answered")
			}
			must(t, knock(t, client, other.IPP()))
			must(t, p.On())
			if p.IPP() != at {
				t.Errorf("on again at %s, was at %s", p.IPP(), at)
			}
			if got := says(t, p.IPP(), "printer-impressions-completed"); got["printer-impressions-completed"] != "5" {
				t.Errorf("after power-off: %v", got)
			}
			r, err := manager(t, p.SNMP(), gosnmp.Version2c).Get([]string{"1.3.6.1.2.1.43.10.2.1.4.1.1", "1.3.6.1.2.1.43.10.2.1.5.1.1"})
			must(t, err)
			if r.Variables[0].Value != uint(5) || r.Variables[1].Value != uint(0) {
				t.Errorf("life count %v, since power-on %v; want 5 and 0", r.Variables[0].Value, r.Variables[1].Value)
			}
		})
	}
}

func TestMovedPrinterAnswersAtItsNewAddress(t *testing.T) {
	for _, own := range []bool{false, true} {
		s := printertest.Start(t, printer.SiteOptions{OwnSockets: own})
		p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.20"), Serial: "S"})
		printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.21"), Serial: "T"})
		old := p.IPP()
		if err := p.SetAddress(netip.MustParseAddr("127.0.9.21")); !errors.Is(err, printer.ErrTaken) {
			t.Errorf("own %v: another's address: %v", own, err)
		}
		must(t, knock(t, client, old))
		must(t, p.SetAddress(netip.MustParseAddr("127.0.9.22")))
		if err := knock(t, client, old); err == nil {
			t.Errorf("own %v: it still answers at its old address", own)
		}
		if got := says(t, p.IPP(), "printer-serial-number"); got["printer-serial-number"] != "S" {
			t.Errorf("own %v: at its new address %v", own, got)
		}
	}
}
