package printer_test

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
)

// Bounds that leave room for a slow machine and the race detector's bookkeeping; the figures are printed.
const (
	mostPerPrinter = 6 << 10 // bytes of heap
	mostNewFiles   = 16
)

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func files(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// processor is the time that this process has had, with the asking side's.
func processor(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestTwoThousandPrinters(t *testing.T) {
	const count = 2000
	before, filesBefore := heap(), files(t)
	s := printertest.Start(t, printer.SiteOptions{DNSSD: dnssd(t), JobsPerHour: 60})
	for i := range count {
		printertest.Add(t, s, printer.Options{
			Addresses: addr(fmt.Sprintf("127.3.%d.%d", i/250, i%250+1)), Serial: fmt.Sprintf("SIM%06d", i), Name: fmt.Sprintf("Copier %d", i), DNSSD: true,
		})
	}
	perPrinter, newFiles := (heap()-before)/count, files(t)-filesBefore
	t.Logf("%d bytes of heap a printer, %d file descriptors for all %d", perPrinter, newFiles, count)
	if perPrinter > mostPerPrinter || newFiles > mostNewFiles {
		t.Errorf("at most %d bytes and %d descriptors are expected", mostPerPrinter, mostNewFiles)
	}
	printers := s.Printers()
	status := []string{".1.3.6.1.2.1.25.3.2.1.5.1", ".1.3.6.1.2.1.25.3.5.1.1.1", ".1.3.6.1.2.1.25.3.5.1.2.1"}
	measure := func(what string, one func(at *printer.Printer)) {
		t.Helper()
		begin := processor(t)
		for i := range 1000 {
			one(printers[i*2])
		}
		t.Logf("1000 %s: %v of processor time, asking included", what, processor(t)-begin)
	}
	measure("SNMP GET of 3", func(p *printer.Printer) {
		at := p.SNMP()
		g := &gosnmp.GoSNMP{Target: at.Addr().String(), Port: at.Port(), Community: "public", Version: gosnmp.Version2c, Timeout: 5 * time.Second, Transport: "udp"}
		must(t, g.Connect())
		_, err := g.Get(status)
		must(t, err)
		must(t, g.Close())
	})
	measure("IPP of 6, a connection each", func(p *printer.Printer) {
		got := says(t, p.IPP(), "printer-state", "printer-state-reasons", "printer-state-message", "printer-is-accepting-jobs", "queued-job-count", "printer-up-time")
		if len(got) != 6 {
			t.Fatalf("got %v", got)
		}
	})
	if got := s.Stats(); got.SNMP != 1000 || got.IPP != 1000 {
		t.Errorf("stats: %+v", got)
	}
}

func BenchmarkAnswers(b *testing.B) {
	s, p := target(b, printer.SiteOptions{})
	g := &gosnmp.GoSNMP{Version: gosnmp.Version2c, Community: "public"}
	get, err := g.SnmpEncodePacket(gosnmp.GetRequest, []gosnmp.SnmpPDU{{Name: ".1.3.6.1.2.1.25.3.5.1.1.1", Type: gosnmp.Null}}, 0, 0)
	must(b, err)
	bulk, err := g.SnmpEncodePacket(gosnmp.GetBulkRequest, []gosnmp.SnmpPDU{{Name: ".1.3.6.1.2.1.43.11", Type: gosnmp.Null}}, 0, 20)
	must(b, err)
	some, err := getAttributes("printer-state", "printer-state-reasons", "printer-supply").EncodeBytes()
	must(b, err)
	all, err := getAttributes().EncodeBytes()
	must(b, err)
	for name, packet := range map[string][]byte{"snmp/get": get, "snmp/bulk20": bulk} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				printer.AnswerSNMP(s, p, packet)
			}
		})
	}
	for name, packet := range map[string][]byte{"ipp/three": some, "ipp/all": all} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				printer.AnswerIPP(p, packet)
			}
		})
	}
}
