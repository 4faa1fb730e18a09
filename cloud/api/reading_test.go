package api_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

var reading = mfpgate.Reading{
	At:     time.Date(2026, 12, 1, 9, 0, 0, 5, time.FixedZone("JST", 9*3600)),
	Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterStopped, Reasons: []string{"com.example.Tray-2_jam-error", "media-jam-error"}, Message: "Papierstau, „Fach 2“"},
	Supplies: []mfpgate.Supply{
		{Index: "1.1", Name: "トナー (K)", Type: "toner", Color: "#000000", Unit: "percent", Level: 42, Max: 100},
		{Index: "2", Name: "Waste", Type: "wasteToner", Receives: true, Level: mfpgate.LevelSome, Max: mfpgate.LevelUnknown},
	},
	Counters: []mfpgate.Counter{{Name: "impressions", Value: 1 << 53}, {Name: "sheets", Value: 0}}, Firmware: "1.0 β",
}

// overWire is a document as its reader has it.
func overWire[T any](t testing.TB, v T) (out T) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReadingsKeepTheirMeaningOverTheWire(t *testing.T) {
	for rule, want := range map[string]mfpgate.Reading{
		"all parts": reading, "nothing but its time": {At: reading.At}, "a status that says little": {At: reading.At, Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterUnknown}},
	} {
		got := overWire(t, api.FromReading(want)).Root()
		if diff := cmp.Diff(want, got); diff != "" || got.At.Location() != time.UTC {
			t.Errorf("%s: %s in %s", rule, diff, got.At.Location())
		}
	}
	for rule, want := range map[string]mfpgate.Alert{
		"a begin": {ID: "alt_1", Device: "dev_1", At: reading.At, Code: "media-jam", Severity: mfpgate.AlertError, Text: "Fach 2"},
		"an end":  {ID: "alt_2", Device: "dev_1", At: reading.At, Code: "media-jam", Severity: mfpgate.AlertWarning, Cleared: true},
	} {
		if diff := cmp.Diff(want, overWire(t, api.FromAlert(want)).Root()); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
	}
}

func TestWhatDevicesSayIsClippedToTheSchema(t *testing.T) {
	long := strings.Repeat("ä", 9999)
	hostile := mfpgate.Reading{
		At: reading.At, Firmware: "1\x00\n" + long,
		Status:   &mfpgate.PrinterStatus{State: "on fire", Reasons: append(slices.Repeat([]string{"a-error"}, 99), long), Message: "\xff" + long},
		Supplies: slices.Repeat([]mfpgate.Supply{{Index: long, Name: long, Type: "a b", Color: long, Unit: long, Level: -9, Max: -9}}, 99),
		Counters: []mfpgate.Counter{{Name: "", Value: 1}, {Name: "-x", Value: 2}, {Name: "y", Value: -1}},
	}
	got := api.FromReading(hostile)
	type summary struct {
		Reasons, Supplies int
		State, Firmware   string
		Type              string
		Level             int64
		Counters          []api.Counter
	}
	want := summary{32, 40, "unknown", "1 " + strings.Repeat("ä", 126), "a-b", -3, []api.Counter{{Name: "x", Value: 2}}}
	diff := cmp.Diff(want, summary{len(got.Status.Reasons), len(got.Supplies), got.Status.State, got.Firmware, got.Supplies[0].Type, got.Supplies[0].Level, got.Counters})
	if diff != "" {
		t.Error(diff)
	}
	if faults := newSchema().faults(t, api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{{Sequence: 1, DeviceID: "dev_1", Reading: got}}}); faults != nil {
		t.Error(faults)
	}
}

func TestWhatDevicesSayOfThemselvesIsClippedToTheSchema(t *testing.T) {
	long := strings.Repeat("ä", 9999)
	got := api.FromDevice(mfpgate.Device{
		ID: "dev_1", Name: "\xff" + long, Make: long, Model: "a\x00\n" + long, Serial: long, Attachment: mfpgate.AttachmentNetwork, State: mfpgate.DeviceOnline,
		Reason: mfpgate.Reason(long), MonitoringMode: mfpgate.MonitoringPolling, Firmware: long, Location: "2F " + long,
	}, long, long, "Asia/Tokyo")
	if got.UUID != "" || got.Model != "a "+strings.Repeat("ä", 254) || got.Location != "2F "+strings.Repeat("ä", 253) {
		t.Errorf("uuid %q, model %q, location %q", got.UUID, got.Model, got.Location)
	}
	if faults := newSchema().faults(t, got); faults != nil {
		t.Error(faults)
	}
}

// schema checks documents as the server does.
type schema struct{ registry huma.Registry }

func newSchema() schema {
	return schema{huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)}
}

func (s schema) faults(t testing.TB, v any) []error {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		t.Fatal(err)
	}
	var result huma.ValidateResult
	huma.Validate(s.registry, s.registry.Schema(reflect.TypeOf(v), true, ""), huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, document, &result)
	return result.Errors
}

// Whatever a device says, the document made of it passes the server's schema, and making it again changes nothing.
func FuzzConversion(f *testing.F) {
	f.Add("Black Toner", "toner", "media-jam-error", int64(42), int64(1764547200), int64(100))
	f.Add("\xff\x00\u2028\U0001F5A8", "waste Toner", "-", int64(-9), int64(1<<62), int64(-1<<62))
	f.Add(strings.Repeat("x", 600), strings.Repeat("ü", 70), "none", int64(-3), int64(-1<<40), int64(1<<62))
	s := newSchema()
	f.Fuzz(func(t *testing.T, free, word, reason string, level, seconds, limit int64) {
		r := mfpgate.Reading{
			At: time.Unix(seconds, level), Firmware: free, Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterState(word), Reasons: []string{reason, word}, Message: free},
			Supplies: []mfpgate.Supply{{Index: word, Name: free, Type: word, Color: reason, Unit: word, Level: level, Max: limit}},
			Counters: []mfpgate.Counter{{Name: word, Value: level}, {Name: reason, Value: limit}},
		}
		a := mfpgate.Alert{ID: "alt_1", Device: "dev_1", At: r.At, Code: reason, Severity: mfpgate.AlertSeverity(word), Text: free}
		wire, alert := api.FromReading(r), api.FromAlert(a)
		for _, document := range []any{
			api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{{Sequence: 1, DeviceID: "dev_1", Reading: wire}}},
			api.AlertBatch{Stream: "a", Items: []api.AlertItem{{Sequence: 1, Alert: alert}}},
		} {
			if faults := s.faults(t, document); faults != nil {
				t.Errorf("%+v: %v", document, faults)
			}
		}
		if diff := cmp.Diff(wire, api.FromReading(overWire(t, wire).Root())); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(alert, api.FromAlert(overWire(t, alert).Root())); diff != "" {
			t.Error(diff)
		}
	})
}

// A batch that the schema lets through can be decoded, taken into the root's terms, and sent on.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(telemetryV1))
	f.Add([]byte(alertsV1))
	f.Add([]byte(`{"stream":"a","items":[{"sequence":18446744073709551615,"reading":{"supplies":[{"level":1e3}]}}]}`))
	s := newSchema()
	f.Fuzz(func(t *testing.T, data []byte) {
		var telemetry api.TelemetryBatch
		if s.takes(data, &telemetry) {
			for i, item := range telemetry.Items {
				item.Reading = api.FromReading(item.Reading.Root())
				telemetry.Items[i] = item
				if diff := cmp.Diff(item.Reading, api.FromReading(item.Reading.Root())); diff != "" {
					t.Errorf("item %d: %s", i, diff)
				}
			}
			if faults := s.faults(t, telemetry); faults != nil {
				t.Errorf("sent on: %v", faults)
			}
		}
		var alerts api.AlertBatch
		if s.takes(data, &alerts) {
			for i, item := range alerts.Items {
				alerts.Items[i].Alert = api.FromAlert(item.Alert.Root())
				if now := alerts.Items[i].Alert; now.Code != item.Alert.Code || now.Opens() != item.Alert.Opens() {
					t.Errorf("%+v became %+v", item.Alert, now)
				}
			}
			if faults := s.faults(t, alerts); faults != nil {
				t.Errorf("sent on: %v", faults)
			}
		}
	})
}

// takes decodes what the schema lets through.
func (s schema) takes(data []byte, v any) bool {
	var document any
	if json.Unmarshal(data, &document) != nil {
		return false
	}
	var result huma.ValidateResult
	huma.Validate(s.registry, s.registry.Schema(reflect.TypeOf(v).Elem(), true, ""), huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, document, &result)
	return result.Errors == nil && json.Unmarshal(data, v) == nil
}

// The documents of the first version that had them, as they were. They never change.
const (
	telemetryV1 = `{"stream":"str_1","items":[{"sequence":7,"deviceId":"dev_1","reading":{"at":"2026-12-01T00:00:00Z",
		"status":{"state":"stopped","reasons":["media-jam-error"],"message":"Tray 2","x":1},
		"supplies":[{"index":"1","name":"Black","type":"toner","color":"black","receives":false,"unit":"percent","level":42,"max":100,"x":1}],
		"counters":[{"name":"impressions","value":7}],"firmware":"1.0","tomorrow":{}}}]}`
	alertsV1  = `{"stream":"str_1","items":[{"sequence":7,"alert":{"alertId":"alt_1","deviceId":"dev_1","at":"2026-12-01T00:00:00Z","code":"media-jam","severity":"error","cleared":false,"text":"Tray 2","x":1}}],"x":1}`
	readingV1 = `{"deviceId":"dev_1","lastSeen":"2026-12-01T00:00:00Z","status":{"at":"2026-12-01T00:00:00Z","state":"idle"},
		"supplies":{"at":"2026-12-01T00:00:00Z","items":[]},"counters":{"at":"2026-12-01T00:00:00Z","items":[{"name":"impressions","value":7}]},
		"firmware":{"at":"2026-12-01T00:00:00Z","version":"1.0"},"counterHistory":[{"at":"2026-12-01T00:00:00Z","values":{"impressions":7}}],"x":1}`
	deviceV1 = `{"deviceId":"dev_1","model":"m","serial":"s","uuid":"12345678-9abc-def0-1234-56789abcdef0","monitoringMode":"polling","x":1}`
	// The first that had a location.
	locationV1 = `{"deviceId":"dev_1","model":"m","serial":"s","monitoringMode":"polling","location":"2F east","x":1}`
	contractV1 = `{"contractId":"c","mode":"notify","maxConcurrent":0,"capacityCalendar":[],"leadTime":"PT13H","slot":"PT5M","maxMove":"PT24H","notifyMinExcess":1,
		"fetchCron":"17 * * * *","timeZone":"UTC","services":[],"polling":{"status":"PT30S","supplies":"PT15M","counters":"PT4H","heartbeat":"P1D","x":1}}`
)

func TestFirstVersionOfTelemetryIsStillRead(t *testing.T) {
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	counters := []api.Counter{{Name: "impressions", Value: 7}}
	contract := api.DefaultContract("")
	contract.ContractID, contract.Mode, contract.MaxConcurrent, contract.Services = "c", "notify", 0, []string{}
	contract.Polling = &api.Polling{
		Status: api.Duration(30 * time.Second), Supplies: api.Duration(15 * time.Minute), Counters: api.Duration(4 * time.Hour), Heartbeat: api.Duration(24 * time.Hour),
	}
	for document, c := range map[string]struct{ got, want any }{
		telemetryV1: {&api.TelemetryBatch{}, &api.TelemetryBatch{Stream: "str_1", Items: []api.TelemetryItem{{Sequence: 7, DeviceID: "dev_1", Reading: api.Reading{
			At: at, Status: &api.Status{State: "stopped", Reasons: []string{"media-jam-error"}, Message: "Tray 2"}, Counters: counters, Firmware: "1.0",
			Supplies: []api.Supply{{Index: "1", Name: "Black", Type: "toner", Color: "black", Unit: "percent", Level: 42, Max: 100}},
		}}}}},
		alertsV1: {&api.AlertBatch{}, &api.AlertBatch{Stream: "str_1", Items: []api.AlertItem{{Sequence: 7, Alert: api.Alert{
			AlertID: "alt_1", DeviceID: "dev_1", At: at, Code: "media-jam", Severity: "error", Text: "Tray 2",
		}}}}},
		readingV1: {&api.DeviceReading{}, &api.DeviceReading{
			DeviceID: "dev_1", LastSeen: &at, Status: &api.StatusPart{At: at, Status: api.Status{State: "idle"}}, Supplies: &api.SuppliesPart{At: at, Items: []api.Supply{}},
			Counters: &api.CountersPart{At: at, Items: counters}, Firmware: &api.FirmwarePart{At: at, Version: "1.0"},
			CounterHistory: []api.CounterSnapshot{{At: at, Values: map[string]int64{"impressions": 7}}},
		}},
		deviceV1:                            {&api.Device{}, &api.Device{DeviceID: "dev_1", Model: "m", Serial: "s", UUID: "12345678-9abc-def0-1234-56789abcdef0", MonitoringMode: "polling"}},
		locationV1:                          {&api.Device{}, &api.Device{DeviceID: "dev_1", Model: "m", Serial: "s", Location: "2F east", MonitoringMode: "polling"}},
		contractV1:                          {&api.Contract{}, &contract},
		`{"stream":"a","accepted":7,"x":1}`: {&api.Accepted{}, &api.Accepted{Stream: "a", Accepted: 7}},
	} {
		if err := json.Unmarshal([]byte(document), c.got); err != nil {
			t.Errorf("%s: %v", document, err)
			continue
		}
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s: %s", document, diff)
		}
	}
	if err := contract.Check(calendar.Texts{}); err != nil {
		t.Error(err)
	}
}

func TestPollingRules(t *testing.T) {
	for _, c := range []struct {
		field       string
		at          func(*api.Polling) *api.Duration
		least, most time.Duration
	}{
		{"status", func(p *api.Polling) *api.Duration { return &p.Status }, 10 * time.Second, time.Hour},
		{"supplies", func(p *api.Polling) *api.Duration { return &p.Supplies }, time.Minute, 24 * time.Hour},
		{"counters", func(p *api.Polling) *api.Duration { return &p.Counters }, time.Minute, 7 * 24 * time.Hour},
		{"heartbeat", func(p *api.Polling) *api.Duration { return &p.Heartbeat }, time.Minute, 7 * 24 * time.Hour},
	} {
		for value, good := range map[time.Duration]bool{c.least: true, c.most: true, c.least - 1: false, c.most + 1: false, 0: false} {
			contract, polling := api.DefaultContract("gw"), api.DefaultPolling()
			*c.at(&polling) = api.Duration(value)
			contract.Polling = &polling
			if err := contract.Check(calendar.Texts{}); (err == nil) != good || err != nil && !strings.HasPrefix(err.Error(), "/polling/"+c.field) {
				t.Errorf("%s %s: got %v", c.field, value, err)
			}
		}
	}
}
