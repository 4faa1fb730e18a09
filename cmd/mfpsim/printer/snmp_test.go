package printer_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
)

func TestSNMPRules(t *testing.T) {
	s := printertest.Start(t, printer.SiteOptions{})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.50"), Serial: "S"})
	const name, missing = ".1.3.6.1.2.1.1.5.0", ".1.3.6.1.2.1.1.99.0"
	v1, v2 := manager(t, p.SNMP(), gosnmp.Version1), manager(t, p.SNMP(), gosnmp.Version2c)

	r, err := v1.Get([]string{name, missing})
	must(t, err)
	if r.Error != gosnmp.NoSuchName || r.ErrorIndex != 2 {
		t.Errorf("v1 GET of what is not there: %v at %d", r.Error, r.ErrorIndex)
	}
	r, err = v2.Get([]string{name, missing})
	must(t, err)
	if r.Error != gosnmp.NoError || r.Variables[0].Type != gosnmp.OctetString || r.Variables[1].Type != gosnmp.NoSuchInstance {
		t.Errorf("v2c GET of what is not there: %v %v", r.Error, r.Variables)
	}
	r, err = v2.GetNext([]string{".1.3.6.1.4.1.99999"})
	must(t, err)
	if r.Variables[0].Type != gosnmp.EndOfMibView {
		t.Errorf("v2c GETNEXT at the end: %v", r.Variables)
	}
	r, err = v2.Set([]gosnmp.SnmpPDU{{Name: name, Type: gosnmp.OctetString, Value: "x"}})
	must(t, err)
	if r.Error != gosnmp.NotWritable {
		t.Errorf("SET: %v", r.Error)
	}
	r, err = v2.GetBulk([]string{".1.3.6.1.2.1.1.1", ".1.3.6.1.2.1.43.11.1.1.9", ".1.3.6.1.2.1.43.12.1.1.4"}, 1, 2)
	must(t, err)
	var names []string
	for _, v := range r.Variables {
		names = append(names, v.Name)
	}
	want := []string{".1.3.6.1.2.1.1.1.0", ".1.3.6.1.2.1.43.11.1.1.9.1.1", ".1.3.6.1.2.1.43.12.1.1.4.1.1", ".1.3.6.1.2.1.43.11.1.1.9.1.2", ".1.3.6.1.2.1.43.12.1.1.4.1.2"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("GETBULK (-want +got):\n%s", diff)
	}
	r, err = v2.GetBulk([]string{".1.3"}, 0, 10_000)
	must(t, err)
	if n := len(r.Variables); n < 30 || n > 100 {
		t.Errorf("GETBULK of all in one message: %d variables", n)
	}
	bulk, err := v2.BulkWalkAll(".1.3")
	must(t, err)
	walk, err := v1.WalkAll(".1.3")
	must(t, err)
	if len(bulk) != len(walk) || len(walk) < 90 {
		t.Errorf("bulk walk %d variables, walk %d", len(bulk), len(walk))
	}
	other := manager(t, p.SNMP(), gosnmp.Version2c)
	other.Community, other.Timeout, other.Retries = "private", 200*time.Millisecond, 0
	if _, err := other.Get([]string{name}); err == nil {
		t.Error("another community was answered")
	}
}

func TestSNMPShowsStateAndAlerts(t *testing.T) {
	s := printertest.Start(t, printer.SiteOptions{})
	p := printertest.Add(t, s, printer.Options{Addresses: addr("127.0.9.51"), Serial: "S"})
	v2 := manager(t, p.SNMP(), gosnmp.Version2c)
	status := func() []any {
		t.Helper()
		r, err := v2.Get([]string{".1.3.6.1.2.1.25.3.2.1.5.1", ".1.3.6.1.2.1.25.3.5.1.1.1", ".1.3.6.1.2.1.25.3.5.1.2.1", ".1.3.6.1.2.1.43.16.5.1.2.1.1"})
		must(t, err)
		return []any{r.Variables[0].Value, r.Variables[1].Value, r.Variables[2].Value, string(r.Variables[3].Value.([]byte))}
	}
	for _, c := range []struct {
		rule    string
		state   mfpgate.PrinterState
		reasons []string
		want    []any
	}{
		{"idle", mfpgate.PrinterIdle, nil, []any{2, 3, []byte{0}, "Ready"}},
		{"printing", mfpgate.PrinterProcessing, nil, []any{2, 4, []byte{0}, "Printing"}},
		{"warned", mfpgate.PrinterIdle, []string{"toner-low-warning"}, []any{3, 3, []byte{0x20}, "Toner low"}},
		{"stopped for two reasons, one in the second octet", mfpgate.PrinterStopped, []string{"media-empty-error", "door-open-error"}, []any{5, 1, []byte{0x48, 0x04}, "Stopped"}},
		{"unknown", mfpgate.PrinterUnknown, nil, []any{2, 2, []byte{0}, "Ready"}},
	} {
		p.SetState(c.state, "")
		p.SetReasons(c.reasons...)
		if diff := cmp.Diff(c.want, status()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
	for _, keyword := range printer.Conditions() {
		p.SetReasons(keyword + "-error")
		r, err := v2.Get([]string{".1.3.6.1.2.1.43.18.1.1.2.1.1", ".1.3.6.1.2.1.43.18.1.1.7.1.1", ".1.3.6.1.2.1.43.18.1.1.7.1.2"})
		must(t, err)
		if r.Variables[0].Value != 3 || r.Variables[1].Value.(int) < 1 || r.Variables[2].Type != gosnmp.NoSuchInstance {
			t.Errorf("%s: alerts %v", keyword, r.Variables)
		}
	}
}
