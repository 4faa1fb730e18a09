package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/storetest"
)

const gwPath = "/v1/gateways/osaka-1"

// noon is a time in the past of any machine.
var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func status(n int, device, state string, at time.Time) api.TelemetryItem {
	return api.TelemetryItem{Sequence: uint64(n), DeviceID: device, Reading: api.Reading{At: at, Status: &api.Status{State: state}}}
}

func counters(n int, device string, impressions int64, at time.Time) api.TelemetryItem {
	return api.TelemetryItem{Sequence: uint64(n), DeviceID: device, Reading: api.Reading{At: at, Counters: []api.Counter{{Name: "impressions", Value: impressions}}}}
}

// send posts items under a key of its own and returns how far the stream is stored.
func (c caller) send(t *testing.T, stream string, items ...api.TelemetryItem) reply {
	t.Helper()
	key := fmt.Sprint(stream, items[0].Sequence, "-", len(items))
	return c.post(t, gwPath+"/telemetry", key, api.TelemetryBatch{Stream: stream, Items: items})
}

func (c caller) reading(t *testing.T, device string) api.DeviceReading {
	t.Helper()
	return decode[api.DeviceReading](t, c.do(t, http.MethodGet, gwPath+"/devices/"+device+"/reading", nil))
}

// history is what the counters of a device said, in order: each item that was stored, once.
func (c caller) history(t *testing.T, device string) (values []int64) {
	t.Helper()
	for _, e := range c.reading(t, device).CounterHistory {
		values = append(values, e.Values["impressions"])
	}
	return values
}

func TestEachItemIsStoredOnce(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	at := func(n int) api.TelemetryItem {
		return counters(n, "dev_1", int64(n), noon.Add(time.Duration(n)*time.Minute))
	}
	for _, c := range []struct {
		rule     string
		stream   string
		first    int
		last     int
		status   int
		reason   string
		accepted uint64
		stored   []int64
	}{
		{"the first", "a", 1, 2, 200, "", 2, []int64{1, 2}},
		{"the same again", "a", 1, 2, 200, "", 2, []int64{1, 2}},
		{"an overlap", "a", 2, 3, 200, "", 3, []int64{1, 2, 3}},
		{"a gap: the oldest were dropped", "a", 6, 6, 200, "", 6, []int64{1, 2, 3, 6}},
		{"what was in the gap comes too late", "a", 4, 5, 200, "", 6, []int64{1, 2, 3, 6}},
		{"another stream starts anew", "b", 7, 7, 200, "", 7, []int64{1, 2, 3, 6, 7}},
		{"a retry of the ended stream that is stored", "a", 6, 6, 200, "", 6, []int64{1, 2, 3, 6, 7}},
		{"one that is not", "a", 6, 8, 409, "stream-ended", 0, []int64{1, 2, 3, 6, 7}},
		{"the present stream goes on", "b", 8, 8, 200, "", 8, []int64{1, 2, 3, 6, 7, 8}},
	} {
		var items []api.TelemetryItem
		for n := c.first; n <= c.last; n++ {
			items = append(items, at(n))
		}
		got := gw.send(t, c.stream, items...)
		if got.status != c.status || got.reason(t) != c.reason {
			t.Errorf("%s: got %d %s", c.rule, got.status, got.body)
		}
		if want := (api.Accepted{Stream: c.stream, Accepted: c.accepted}); c.status == 200 && decode[api.Accepted](t, got) != want {
			t.Errorf("%s: got %s, want %v", c.rule, got.body, want)
		}
		if diff := cmp.Diff(c.stored, gw.history(t, "dev_1")); diff != "" {
			t.Errorf("%s: %s", c.rule, diff)
		}
	}
}

func TestBatchesThatAreRefusedWhole(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	one := status(1, "dev_1", "idle", noon)
	many := make([]api.TelemetryItem, 201)
	for i := range many {
		many[i] = status(i+1, "dev_1", "idle", noon)
	}
	bad := one
	bad.DeviceID = "../dev"
	for _, c := range []struct {
		rule   string
		key    string
		batch  any
		status int
		reason string
	}{
		{"no key", "", api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{one}}, 400, "idempotency-key-required"},
		{"sequences that do not rise", "k", api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{one, one}}, 422, "invalid-request"},
		{"sequence 0", "k", api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{{DeviceID: "dev_1"}}}, 422, "invalid-request"},
		{"no items", "k", api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{}}, 422, "invalid-request"},
		{"null items", "k", `{"stream":"a","items":null}`, 422, "invalid-request"},
		{"more items than a batch has", "k", api.TelemetryBatch{Stream: "a", Items: many}, 422, "invalid-request"},
		{"a stream that is no id", "k", api.TelemetryBatch{Stream: "a/b", Items: []api.TelemetryItem{one}}, 422, "invalid-request"},
		{"a device that is no id", "k", api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{bad}}, 422, "invalid-request"},
		{"a state that nobody knows", "k", api.TelemetryBatch{Stream: "a", Items: []api.TelemetryItem{status(1, "dev_1", "happy", noon)}}, 422, "invalid-request"},
		{"more than a batch may measure", "k", `{"stream":"a","items":[],"x":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "too-large"},
	} {
		got := gw.post(t, gwPath+"/telemetry", c.key, c.batch)
		if got.status != c.status || got.reason(t) != c.reason {
			t.Errorf("%s: got %d %.300s, want %d %s", c.rule, got.status, got.body, c.status, c.reason)
		}
	}
	if got := gw.do(t, http.MethodGet, gwPath+"/devices/dev_1/reading", nil); got.reason(t) != "unknown-reading" {
		t.Errorf("something of them was stored: %d %s", got.status, got.body)
	}
}

func TestReadingsAreMergedByPart(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	later, supply := noon.Add(time.Hour), api.Supply{Index: "1", Name: "Black Toner", Type: "toner", Color: "black", Unit: "percent", Level: 42, Max: 100}
	full := api.TelemetryItem{Sequence: 1, DeviceID: "dev_1", Reading: api.Reading{
		At: noon, Status: &api.Status{State: "stopped", Reasons: []string{"media-jam-error"}, Message: "Paper jam"},
		Supplies: []api.Supply{supply}, Counters: []api.Counter{{Name: "impressions", Value: 7}}, Firmware: "1.0",
	}}
	late := status(3, "dev_1", "processing", noon.Add(time.Minute)) // measured before what is there
	ahead := status(4, "dev_1", "idle", time.Now().UTC().Add(24*365*time.Hour))
	gw.send(t, "a", full, status(2, "dev_1", "idle", later), late)
	want := api.DeviceReading{
		DeviceID: "dev_1", LastSeen: &later, Status: &api.StatusPart{At: later, Status: api.Status{State: "idle"}},
		Supplies: &api.SuppliesPart{At: noon, Items: []api.Supply{supply}},
		Counters: &api.CountersPart{At: noon, Items: []api.Counter{{Name: "impressions", Value: 7}}}, Firmware: &api.FirmwarePart{At: noon, Version: "1.0"},
		CounterHistory: []api.CounterSnapshot{{At: noon, Values: map[string]int64{"impressions": 7}}},
	}
	answer := gw.do(t, http.MethodGet, gwPath+"/devices/dev_1/reading", nil)
	if diff := cmp.Diff(want, decode[api.DeviceReading](t, answer)); diff != "" {
		t.Error(diff)
	}
	tag := answer.header.Get("ETag")
	if got := gw.do(t, http.MethodGet, gwPath+"/devices/dev_1/reading", nil, "If-None-Match", tag); got.status != 304 {
		t.Errorf("unchanged: got %d, want 304", got.status)
	}
	// A clock that is a year ahead is told as it is, and does not outlast its own mistake.
	gw.send(t, "a", ahead)
	now := gw.reading(t, "dev_1")
	if got := gw.do(t, http.MethodGet, gwPath+"/devices/dev_1/reading", nil, "If-None-Match", tag); got.status != 200 {
		t.Errorf("changed: got %d, want 200", got.status)
	}
	if now.Status.At != ahead.Reading.At || now.LastSeen.After(time.Now()) {
		t.Errorf("a clock ahead: status of %s, last seen %s", now.Status.At, now.LastSeen)
	}
	gw.send(t, "a", status(5, "dev_1", "stopped", time.Now().UTC()))
	if got := gw.reading(t, "dev_1"); got.Status.State != "stopped" {
		t.Errorf("after it was set right: %q, want stopped", got.Status.State)
	}
}

func TestLastSeenMovesForwardUnderTheSameTag(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	const path = gwPath + "/devices/dev_1"
	d := api.Device{DeviceID: "dev_1", Model: "m", Serial: "s", MonitoringMode: "polling", LastSeen: &noon}
	gw.send(t, "a", status(1, "dev_1", "idle", noon.Add(-time.Hour)))
	decode[api.Device](t, gw.do(t, http.MethodPut, path, d, "If-None-Match", "*"))
	check := func(rule string, want time.Time, unchanged int) {
		t.Helper()
		got := decode[api.Device](t, gw.do(t, http.MethodGet, path, nil))
		list := decode[api.Page[api.DeviceEntry]](t, gw.do(t, http.MethodGet, gwPath+"/devices", nil))
		if !got.LastSeen.Equal(want) || !list.Items[0].LastSeen.Equal(want) {
			t.Errorf("%s: got %s, in the list %s, want %s", rule, got.LastSeen, list.Items[0].LastSeen, want)
		}
		if got := gw.do(t, http.MethodGet, path, nil, "If-None-Match", `"1"`); got.status != unchanged {
			t.Errorf("%s: If-None-Match: got %d, want %d", rule, got.status, unchanged)
		}
	}
	check("a reading before what was told", noon, 304)
	gw.send(t, "a", status(2, "dev_1", "idle", noon.Add(time.Hour)))
	check("a reading after it", noon.Add(time.Hour), 200)
	gw.send(t, "a", status(3, "dev_1", "idle", noon))
	check("an older reading again", noon.Add(time.Hour), 200)
	d.Name = "2F copier"
	if got := gw.do(t, http.MethodPut, path, d, "If-Match", `"1"`); got.status != 200 {
		t.Errorf("readings made the gateway's tag stale: %d %s", got.status, got.body)
	}
}

// hostile is the largest reading that the schema lets through.
func hostile(device string, n int) api.TelemetryItem {
	wide := func(n int) string { return strings.Repeat("\u2028", n) } // six bytes each in a record
	word := func(n int) string { return strings.Repeat("x", n) }
	reading := api.Reading{At: noon.Add(time.Duration(n) * time.Second), Firmware: wide(128), Status: &api.Status{State: "unknown", Message: wide(512)}}
	for i := range 40 {
		reading.Supplies = append(reading.Supplies, api.Supply{Index: wide(32), Name: wide(128), Type: word(64), Color: word(64), Unit: word(32), Level: 1 << 62, Max: 1<<62 + int64(i)})
	}
	for i := range 32 {
		reading.Status.Reasons = append(reading.Status.Reasons, fmt.Sprintf("%s%02d", word(126), i))
		reading.Counters = append(reading.Counters, api.Counter{Name: fmt.Sprintf("%s%02d", word(62), i), Value: 1<<62 + int64(n)})
	}
	return api.TelemetryItem{Sequence: uint64(n), DeviceID: device, Reading: reading}
}

func TestLargestReadingsFitIntoTheStore(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	const devices, rounds = 10, 3 // more than one transaction carries
	n := 0
	for range rounds {
		var items []api.TelemetryItem
		for i := range devices {
			n++
			items = append(items, hostile(fmt.Sprint("dev_", i), n))
		}
		if got := decode[api.Accepted](t, gw.send(t, "a", items...)); got.Accepted != uint64(n) {
			t.Fatalf("accepted %d, want %d", got.Accepted, n)
		}
	}
	for range 25 { // the history overflows its record
		n++
		item := hostile("dev_0", n)
		item.Reading.Supplies, item.Reading.Status = nil, nil
		decode[api.Accepted](t, gw.send(t, "a", item))
	}
	got := gw.reading(t, "dev_0")
	if diff := cmp.Diff(hostile("", 1+devices*(rounds-1)).Reading.Supplies, got.Supplies.Items); diff != "" {
		t.Error(diff)
	}
	last := got.CounterHistory[len(got.CounterHistory)-1]
	if diff := cmp.Diff(got.Counters.At, last.At); diff != "" || len(got.CounterHistory) < 10 || len(got.CounterHistory) >= 25 || len(last.Values) != 32 {
		t.Errorf("history of %d, the last of %d counters; %s", len(got.CounterHistory), len(last.Values), diff)
	}
}

func TestCounterHistoryIsBounded(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	const all = 600
	for first := 1; first <= all; first += 200 {
		var items []api.TelemetryItem
		for n := first; n < first+200; n++ {
			items = append(items, counters(n, "dev_1", int64(n/2), noon.Add(time.Duration(n)*time.Minute)))
		}
		gw.send(t, "a", items...)
	}
	got := gw.history(t, "dev_1")
	if len(got) != 301 || got[0] != 0 || got[300] != 300 { // every value once
		t.Errorf("got %d entries", len(got))
	}
	for n := all + 1; n <= all+400; n += 200 {
		var items []api.TelemetryItem
		for i := range 200 {
			items = append(items, counters(n+i, "dev_1", int64(n+i), noon.Add(time.Duration(n+i)*time.Minute)))
		}
		gw.send(t, "a", items...)
	}
	if got := gw.history(t, "dev_1"); len(got) != 400 || got[399] != all+400 {
		t.Errorf("got %d entries, want the last 400", len(got))
	}
}

func TestUnsureCommitsStoreEachItemOnce(t *testing.T) {
	unsure := &storetest.Unsure{Store: memory.New()}
	r := servertest.StartOn(t, unsure)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	var items []api.TelemetryItem
	var want []int64
	for n := 1; n <= 200; n++ {
		items = append(items, counters(n, "dev_1", int64(n), noon.Add(time.Duration(n)*time.Second)))
		want = append(want, int64(n))
	}
	for i := range items[:100] { // several chunks
		items[i*2].DeviceID = fmt.Sprint("dev_x", i)
	}
	unsure.Next(storetest.CommittedUnseen, storetest.LostUnseen)
	decode[api.Accepted](t, gw.send(t, "a", items...))
	unsure.Next(storetest.LostUnseen, storetest.LostUnseen, storetest.LostUnseen, storetest.LostUnseen)
	items = append(items[:0:0], counters(201, "dev_1", 201, noon.Add(time.Hour)))
	if got := gw.send(t, "a", items...); got.status != 500 {
		t.Errorf("a commit that is lost again and again: got %d, want 500", got.status)
	}
	decode[api.Accepted](t, gw.send(t, "a", items...))
	got := gw.history(t, "dev_1")
	var even []int64
	for _, v := range want {
		if v%2 == 0 {
			even = append(even, v)
		}
	}
	if diff := cmp.Diff(append(even, 201), got); diff != "" {
		t.Error(diff)
	}
}
