package api_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		want       time.Duration
		written    string // "" if as read
	}{
		{"hours", "PT13H", 13 * time.Hour, ""},
		{"minutes", "PT5M", 5 * time.Minute, ""},
		{"all parts", "PT1H2M3S", time.Hour + 2*time.Minute + 3*time.Second, ""},
		{"a fraction of a second", "PT0.25S", 250 * time.Millisecond, ""},
		{"a day is 24 hours", "P1D", 24 * time.Hour, "PT24H"},
		{"days and hours", "P1DT1H", 25 * time.Hour, "PT25H"},
		{"more minutes than an hour has", "PT90M", 90 * time.Minute, "PT1H30M"},
		{"nothing", "PT0S", 0, ""},
		{"whole tens of seconds keep their zero", "PT30S", 30 * time.Second, ""},
	} {
		got, err := api.ParseDuration(c.text)
		if err != nil || time.Duration(got) != c.want {
			t.Errorf("%s: ParseDuration(%q) = %v, %v; want %v", c.rule, c.text, time.Duration(got), err, c.want)
		}
		if c.written == "" {
			c.written = c.text
		}
		if got.String() != c.written {
			t.Errorf("%s: written as %q, want %q", c.rule, got, c.written)
		}
	}
	for rule, text := range map[string]string{
		"empty": "", "no part": "P", "no part of the time": "PT", "no part of the time after days": "P1DT", "a year": "P1Y", "a month": "P1M", "a week": "P1W",
		"negative": "-PT1H", "Go's form": "13h", "lower case": "pt1h", "order": "PT1S1H", "a fraction of an hour": "PT1.5H",
		"beyond 292 years": "P999999999D", "a long text": "PT" + strings.Repeat("1", 99) + "S",
	} {
		if got, err := api.ParseDuration(text); !errors.Is(err, api.ErrDuration) {
			t.Errorf("%s: ParseDuration(%q) = %v, %v; want ErrDuration", rule, text, got, err)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"PT13H", "P1DT2H3M4.5S", "PT0S", "P", "PT999999999S", "-PT1S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := api.ParseDuration(s)
		if err != nil {
			return
		}
		again, err := api.ParseDuration(d.String())
		if err != nil || again != d || d < 0 {
			t.Errorf("%q is %d, written %q, read again %d, %v", s, d, d, again, err)
		}
	})
}

func TestDeviceKeepsItsMeaningOverTheWire(t *testing.T) {
	want := mfpgate.Device{
		ID: "dev_1", Name: "2F copier", Make: "Example", Model: "SIM-100", Serial: "1", Attachment: mfpgate.AttachmentUSB,
		State: mfpgate.DeviceOnline, Reason: "sighted", Since: time.Date(2026, 12, 1, 9, 0, 0, 0, time.FixedZone("JST", 9*3600)),
		MonitoringMode: mfpgate.MonitoringPolling, Market: "us", Home: "jp", Firmware: "1.0", Address: "10.1.0.9",
		Location: "2F east", LastSeen: time.Date(2026, 12, 1, 0, 5, 0, 0, time.UTC),
	}
	data, err := json.Marshal(api.FromDevice(want, "4509a320-00a0-008f-00b6-002673123456", "osaka-branch", "Asia/Tokyo"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), want.Address) || !strings.Contains(string(data), `"since":"2026-12-01T00:00:00Z"`) {
		t.Errorf("the address leaves the site, or the time is not UTC: %s", data)
	}
	var wire api.Device
	if err := json.Unmarshal(data, &wire); err != nil {
		t.Fatal(err)
	}
	want.Address = ""
	if diff := cmp.Diff(want, wire.Root()); diff != "" || wire.UUID != "4509a320-00a0-008f-00b6-002673123456" {
		t.Errorf("uuid %q: %s", wire.UUID, diff)
	}
}

// The documents of the first version, as they were. They never change: what is added to /v1 is optional.
func TestFirstVersionIsStillRead(t *testing.T) {
	const contract = `{"contractId":"c-1","mode":"auto","maxConcurrent":50,"capacityCalendar":[{"rrule":"FREQ=WEEKLY;BYDAY=MO",
		"start":"08:00","end":"18:00","timeZone":"Asia/Tokyo","maxConcurrent":30}],"leadTime":"PT13H","slot":"PT5M","maxMove":"PT24H",
		"notifyMinExcess":1,"fetchCron":"17 * * * *","timeZone":"Asia/Tokyo","services":["software-delivery"],"tomorrow":{"x":1}}`
	var got api.Contract
	if err := json.Unmarshal([]byte(contract), &got); err != nil {
		t.Fatal(err)
	}
	want := api.Contract{
		ContractID: "c-1", Mode: "auto", MaxConcurrent: 50, LeadTime: api.Duration(13 * time.Hour), Slot: api.Duration(5 * time.Minute),
		CapacityCalendar: []api.CapacityRule{{RRule: "FREQ=WEEKLY;BYDAY=MO", Start: "08:00", End: "18:00", TimeZone: "Asia/Tokyo", MaxConcurrent: 30}},
		MaxMove:          api.Duration(24 * time.Hour), NotifyMinExcess: 1, FetchCron: "17 * * * *", TimeZone: "Asia/Tokyo", Services: []string{"software-delivery"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Check(calendar.Texts{}); err != nil || !got.Has(api.ServiceDelivery) {
		t.Errorf("Check: %v; has delivery: %v", err, got.Has(api.ServiceDelivery))
	}
}

func TestContractRules(t *testing.T) {
	for rule, change := range map[string]func(*api.Contract){
		"/mode":            func(c *api.Contract) { c.Mode = "often" },
		"/maxConcurrent":   func(c *api.Contract) { c.MaxConcurrent = -1 },
		"/notifyMinExcess": func(c *api.Contract) { c.NotifyMinExcess = 0 },
		"/timeZone":        func(c *api.Contract) { c.TimeZone = "Local" },
		"/capacityCalendar/0/start": func(c *api.Contract) {
			c.CapacityCalendar = []api.CapacityRule{{RRule: "FREQ=DAILY", Start: "25:00", End: "18:00"}}
		},
		"/capacityCalendar/0/end": func(c *api.Contract) {
			c.CapacityCalendar = []api.CapacityRule{{RRule: "FREQ=DAILY", Start: "08:00", End: "18"}}
		},
		"/capacityCalendar/0/maxConcurrent": func(c *api.Contract) {
			c.CapacityCalendar = []api.CapacityRule{{RRule: "FREQ=DAILY", Start: "08:00", End: "18:00", MaxConcurrent: -1}}
		},
	} {
		c := api.DefaultContract("gw")
		if err := c.Check(calendar.Texts{}); err != nil {
			t.Fatalf("the default: %v", err)
		}
		change(&c)
		if err := c.Check(calendar.Texts{}); err == nil || !strings.HasPrefix(err.Error(), rule) {
			t.Errorf("%s: got %v", rule, err)
		}
	}
}
