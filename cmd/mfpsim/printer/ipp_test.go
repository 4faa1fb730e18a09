package printer_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestIPPSaysWhatThePrinterIs(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC))
	s := printertest.Start(t, printer.SiteOptions{Clock: clock})
	p := printertest.Add(t, s, printer.Options{
		Addresses: addr("127.0.9.40"), Serial: "JPBC1", Make: "Make", Model: "M1", Name: "Copier", Location: "2F", Firmware: "3.1", UUID: "u",
		Impressions: 300,
	})
	clock.Advance(30 * time.Second)
	p.SetState(mfpgate.PrinterStopped, "Open the drawer")
	p.SetReasons("media-jam-error", "media-low-warning")
	must(t, p.SetSupply("2", 5))
	must(t, p.SetSupply("3", 0))
	must(t, p.SetSupply("4", mfpgate.LevelSome))
	must(t, p.SetSupply("5", 95))
	p.AddCounter(printer.Pages, 7)
	p.SetFirmware("3.2")
	clock.Advance(30 * time.Second)
	got := says(t, p.IPP(), "printer-uuid", "printer-device-id", "printer-make-and-model", "printer-name", "printer-location", "printer-serial-number",
		"printer-firmware-string-version", "printer-firmware-version", "printer-state", "printer-state-reasons", "printer-state-message", "printer-state-change-time",
		"printer-up-time", "marker-levels", "marker-types", "marker-colors", "printer-supply", "printer-impressions-completed", "printer-pages-completed", "printer-alert")
	want := map[string]string{
		"printer-uuid": "urn:uuid:u", "printer-device-id": "MFG:Make;MDL:M1;CMD:PDF,PWGRaster,URF,PCL,PS;CLS:PRINTER;SN:JPBC1;", "printer-make-and-model": "Make M1",
		"printer-name": "Copier", "printer-location": "2F", "printer-serial-number": "JPBC1", "printer-firmware-string-version": "3.2", "printer-firmware-version": "3.2",
		"printer-state": "5", "printer-state-message": "Open the drawer", "printer-state-change-time": "31", "printer-up-time": "61",
		"printer-state-reasons": "marker-waste-almost-full-warning,media-jam-error,media-low-warning,toner-empty-error,toner-low-warning",
		"marker-levels":         "80,5,0,-3,95,80", "marker-types": "toner,toner,toner,toner,waste-toner,fuser",
		"marker-colors": "#000000,#00FFFF,#FF00FF,#FFFF00,none,none",
		"printer-supply": "index=1;class=supplyThatIsConsumed;type=toner;unit=percent;maxcapacity=100;level=80;colorantname=black;," +
			"index=2;class=supplyThatIsConsumed;type=toner;unit=percent;maxcapacity=100;level=5;colorantname=cyan;," +
			"index=3;class=supplyThatIsConsumed;type=toner;unit=percent;maxcapacity=100;level=0;colorantname=magenta;," +
			"index=4;class=supplyThatIsConsumed;type=toner;unit=percent;maxcapacity=100;level=-3;colorantname=yellow;," +
			"index=5;class=receptacleThatIsFilled;type=wasteToner;unit=percent;maxcapacity=100;level=95;," +
			"index=6;class=supplyThatIsConsumed;type=fuser;unit=impressions;maxcapacity=225000;level=180000;",
		"printer-impressions-completed": "300", "printer-pages-completed": "307",
		"printer-alert": "code=1107;index=1;severity=warning;group=11;groupindex=1;,code=8;index=2;severity=critical;group=13;groupindex=1;," +
			"code=807;index=3;severity=warning;group=8;groupindex=1;,code=1101;index=4;severity=critical;group=11;groupindex=1;," +
			"code=1104;index=5;severity=warning;group=11;groupindex=1;",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := p.SetSupply("7", 1); err == nil {
		t.Error("a supply that it does not have was set")
	}
	p.ResetCounters()
	if got := says(t, p.IPP(), "printer-pages-completed")["printer-pages-completed"]; got != "0" {
		t.Errorf("after a reset: %s pages", got)
	}
}

func TestRequestedAttributes(t *testing.T) {
	s := printertest.Start(t, printer.SiteOptions{})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.41"), Serial: "S"})
	has := func(requested ...string) (state, media, database bool) {
		got := says(t, p.IPP(), requested...)
		return got["printer-state"] != "", got["media-default"] != "", got["media-col-database"] != ""
	}
	for _, c := range []struct {
		rule                   string
		requested              []string
		state, media, database bool
	}{
		{"nothing said means all but the database", nil, true, true, false},
		{"all means all but the database", []string{"all"}, true, true, false},
		{"the description group", []string{"printer-description"}, true, false, false},
		{"the template group", []string{"job-template"}, false, true, false},
		{"a name", []string{"media-col-database"}, false, false, true},
		{"what it does not have is left out", []string{"no-such", "printer-state"}, true, false, false},
	} {
		if state, media, database := has(c.requested...); state != c.state || media != c.media || database != c.database {
			t.Errorf("%s: got %v %v %v", c.rule, state, media, database)
		}
	}
}

func TestIPPRefusals(t *testing.T) {
	s := printertest.Start(t, printer.SiteOptions{})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.42"), Serial: "S"})
	for _, c := range []struct {
		rule   string
		change func(*goipp.Message)
		want   goipp.Status
	}{
		{"a version that is not known", func(m *goipp.Message) { m.Version = goipp.MakeVersion(3, 0) }, goipp.StatusErrorVersionNotSupported},
		{"request-id 0", func(m *goipp.Message) { m.RequestID = 0 }, goipp.StatusErrorBadRequest},
		{"no charset first", func(m *goipp.Message) { m.Operation = m.Operation[1:] }, goipp.StatusErrorBadRequest},
		{"another charset", func(m *goipp.Message) { m.Operation[0].Values[0].V = goipp.String("iso-8859-1") }, goipp.StatusErrorCharset},
		{"no printer-uri", func(m *goipp.Message) { m.Operation = m.Operation[:2] }, goipp.StatusErrorBadRequest},
		{"it prints nothing", func(m *goipp.Message) { m.Code = goipp.Code(goipp.OpPrintJob) }, goipp.StatusErrorOperationNotSupported},
		{"it has no jobs", func(m *goipp.Message) { m.Code = goipp.Code(goipp.OpGetJobs) }, goipp.StatusOk},
	} {
		m := getAttributes()
		c.change(m)
		if got := goipp.Status(ask(t, p.IPP(), m).Code); got != c.want {
			t.Errorf("%s: got %s, want %s", c.rule, got, c.want)
		}
	}
	for _, c := range []struct {
		rule, method, path, kind, body string
		want                           int
	}{
		{"another path", "POST", "/other", goipp.ContentType, "", 404},
		{"another method", "GET", "/ipp/print", "", "", 405},
		{"another type", "POST", "/ipp/print", "text/plain", "x", 415},
		{"no IPP", "POST", "/ipp/print", goipp.ContentType, "nonsense", 400},
		{"too large", "POST", "/ipp/print", goipp.ContentType, "\x02\x00\x00\x0b\x00\x00\x00\x01\x01" + strings.Repeat("\x42\x00\x00\x7f\xff"+strings.Repeat("a", 0x7fff), 3), 400},
		{"its page", "GET", "/", "", "", 200},
	} {
		r, err := http.NewRequest(c.method, "http://"+p.IPP().String()+c.path, strings.NewReader(c.body))
		must(t, err)
		r.Header.Set("Content-Type", c.kind)
		res, err := client.Do(r)
		must(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != c.want {
			t.Errorf("%s: got %d, want %d", c.rule, res.StatusCode, c.want)
		}
	}
}
