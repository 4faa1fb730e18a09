package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
)

func TestDeliveriesArePlannedUnderTheirTag(t *testing.T) {
	d := newDesk(t, "osaka-1")
	d.tell("osaka-1", "dev_1", "proxy")
	want := at("d1", "dev_1", tonight)
	local := api.Schedule{Local: "2026-12-02T02:00:00", TimeZone: "Europe/Berlin"}
	want.Schedule = local
	target := path("osaka-1", "deliveries", "d1")

	d.refused("a change without a condition", d.as("hana", "PUT", target, want), 428, "precondition-required")
	got := d.as("hana", "PUT", target, want, "If-None-Match", "*")
	made := decode[api.Delivery](t, got)
	if got.status != 201 || got.header.Get("ETag") != `"1"` || made.Version != "1" || made.State != "planned" || made.Model != "SIM-100" {
		t.Errorf("created: %d, tag %s, %+v", got.status, got.header.Get("ETag"), made)
	}
	if start := time.Date(2026, 12, 2, 1, 0, 0, 0, time.UTC); !made.Schedule.StartUTC.Equal(start) {
		t.Errorf("02:00 in Berlin is %s, want %s", made.Schedule.StartUTC, start)
	}
	d.refused("created twice", d.as("hana", "PUT", target, want, "If-None-Match", "*"), 412, "precondition-failed")
	if got := d.as("hana", "GET", target, nil, "If-None-Match", `"1"`); got.status != 304 {
		t.Errorf("unchanged: %d", got.status)
	}
	made.Priority = 5
	if got := d.as("hana", "PUT", target, made, "If-Match", `"1"`); got.status != 200 || got.header.Get("ETag") != `"2"` {
		t.Errorf("changed: %d %s", got.status, got.body)
	}
	d.refused("a stale tag", d.as("hana", "PUT", target, made, "If-Match", `"1"`), 412, "precondition-failed")
	d.refused("a stale tag", d.as("hana", "DELETE", target, nil, "If-Match", `"1"`), 412, "precondition-failed")
	d.refused("no tag", d.as("hana", "DELETE", target, nil), 428, "precondition-required")
	made.State = "cancelled"
	if got := decode[api.Delivery](t, d.as("hana", "PUT", target, made, "If-Match", `"2"`)); got.State != "cancelled" {
		t.Errorf("cancelled: %+v", got)
	}
	if got := d.as("hana", "DELETE", target, nil, "If-Match", `"3"`); got.status != 204 {
		t.Errorf("deleted: %d %s", got.status, got.body)
	}
	d.refused("what is not there", d.as("hana", "GET", target, nil), 404, "unknown-delivery")
	d.refused("what is not there", d.as("hana", "DELETE", target, nil, "If-Match", "*"), 404, "unknown-delivery")
}

func TestDeliveriesThatBreakARule(t *testing.T) {
	d := newDesk(t, "osaka-1", "osaka-2")
	d.tell("osaka-1", "dev_1", "proxy")
	d.tell("osaka-2", "dev_2", "proxy")
	d.plan("osaka-2", at("theirs", "dev_2", tonight))
	with := func(change func(*api.Delivery)) api.Delivery {
		w := at("d1", "dev_1", tonight)
		change(&w)
		return w
	}
	hour := func(n int) *time.Time { t := tonight.Add(time.Duration(n) * time.Hour); return &t }
	for _, c := range []struct {
		rule     string
		delivery api.Delivery
		status   int
		reason   string
		pointer  string
	}{
		{"a device that nobody told of", with(func(w *api.Delivery) { w.DeviceID = "dev_9" }), 404, "unknown-device", ""},
		{"a device of another gateway", with(func(w *api.Delivery) { w.DeviceID = "dev_2" }), 404, "unknown-device", ""},
		{"a package that is not there", with(func(w *api.Delivery) { w.PackageID = "pkg_9" }), 422, "unknown-package", ""},
		{"another gateway's id", with(func(w *api.Delivery) { w.DeliveryID = "theirs" }), 409, "delivery-taken", ""},
		{"an id that is a path", with(func(w *api.Delivery) { w.DeliveryID = "../d" }), 422, "invalid-request", ""},
		{"no time", with(func(w *api.Delivery) { w.Schedule = api.Schedule{} }), 422, "invalid-request", "body.schedule.startUtc"},
		{"a zone that is none", with(func(w *api.Delivery) { w.Schedule = api.Schedule{Local: "2026-12-02T02:00:00", TimeZone: "Mars/Base"} }),
			422, "invalid-request", "body.schedule.timeZone"},
		{"a time that the clock skips", with(func(w *api.Delivery) {
			w.Schedule = api.Schedule{Local: "2027-03-28T02:30:00", TimeZone: "Europe/Berlin", Gap: "skip"}
		}), 422, "invalid-request", "body.schedule.local"},
		{"a recurrence that never is", with(func(w *api.Delivery) {
			w.Schedule = api.Schedule{Local: "2026-12-02T02:00:00", TimeZone: "UTC", RRule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}
		}), 422, "invalid-request", "body.schedule.rrule"},
		{"the year 3000", with(func(w *api.Delivery) { y := time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC); w.Schedule.StartUTC = &y }),
			422, "invalid-request", "body.schedule.startUtc"},
		{"sooner than the lead time", with(func(w *api.Delivery) { w.Schedule.StartUTC = hour(-10) }), 422, "lead-time-violation", "body.schedule"},
		{"before the window", with(func(w *api.Delivery) { w.Window = &api.StartWindow{EarliestStart: hour(1)} }),
			422, "window-violation", "body.window.earliestStart"},
		{"too long for the window", with(func(w *api.Delivery) { e := tonight.Add(14 * time.Minute); w.Window = &api.StartWindow{LatestEnd: &e} }),
			422, "window-violation", "body.window.latestEnd"},
		{"in a blackout", with(func(w *api.Delivery) {
			w.Window = &api.StartWindow{Blackouts: []api.Span{{From: tonight.Add(10 * time.Minute), To: *hour(1)}}}
		}), 422, "window-violation", "body.window.blackouts"},
		{"a window that ends first", with(func(w *api.Delivery) { w.Window = &api.StartWindow{EarliestStart: hour(1), LatestEnd: hour(0)} }),
			422, "invalid-request", "body.window.latestEnd"},
		{"a state that devices set", with(func(w *api.Delivery) { w.State = "done" }), 422, "invalid-request", ""},
	} {
		got := d.as("hana", "POST", path("osaka-1", "deliveries"), c.delivery)
		p := d.refused(c.rule, got, c.status, c.reason)
		if c.pointer != "" && (len(p.Errors) == 0 || p.Errors[0].Pointer != c.pointer) {
			t.Errorf("%s: points at %+v, want %s", c.rule, p.Errors, c.pointer)
		}
	}
	p := d.refused("in a batch, with its place", d.as("hana", "POST", path("osaka-1", "deliveries:batch"), map[string]any{"items": []api.Delivery{
		at("x1", "dev_1", tonight), with(func(w *api.Delivery) { w.DeliveryID, w.Schedule.StartUTC = "x2", hour(-10) })}}), 422, "lead-time-violation")
	if len(p.Errors) != 1 || p.Errors[0].Pointer != "body.items[1].schedule" {
		t.Errorf("got %+v", p.Errors)
	}
	d.refused("and nothing of the batch is there", d.as("hana", "GET", path("osaka-1", "deliveries", "x1"), nil), 404, "unknown-delivery")
	for _, c := range []struct{ rule, body string }{
		{"nothing", ``}, {"no JSON", `{`}, {"a list", `[]`}, {"deep", strings.Repeat(`{"a":`, 20_000)}, {"a time that is none", `{"deviceId":"dev_1","schedule":{"startUtc":"soon"}}`},
		{"a number too large", `{"deviceId":"dev_1","bytes":1e400,"schedule":{}}`}, {"too long", `{"deviceId":"` + strings.Repeat("x", 70<<10) + `"}`},
	} {
		if got := d.as("hana", "POST", path("osaka-1", "deliveries"), c.body); got.status < 400 || got.status >= 500 || got.reason(t) == "" {
			t.Errorf("%s: %d %.200s", c.rule, got.status, got.body)
		}
	}
}

func TestWhoMayPlan(t *testing.T) {
	d := newDesk(t, "osaka-1")
	d.tell("osaka-1", "dev_1", "proxy")
	d.plan("osaka-1", at("d1", "dev_1", tonight))
	for _, c := range []struct{ who, method, path string }{
		{"osaka-1", "POST", "deliveries"}, {"osaka-1", "POST", "deliveries:batch"}, {"osaka-1", "PUT", "deliveries/d1"}, {"osaka-1", "DELETE", "deliveries/d1"},
		{"osaka-1", "PUT", "background-schedules/s"}, {"osaka-1", "POST", "warnings/b/actions"}, {"osaka-1", "POST", "change-proposals/p/decision"},
		{"hana", "PUT", "overload-reports/r"}, {"hana", "POST", "change-proposals"}, {"hana", "DELETE", "change-proposals/p"},
		{"mfp-1", "GET", "deliveries"}, {"mfp-1", "GET", "events"},
	} {
		d.refused(c.who+" "+c.method+" "+c.path, d.as(c.who, c.method, path("osaka-1", c.path), "{}"), 403, "wrong-role")
	}
	d.refused("a gateway that is none", d.as("hana", "GET", path("nobody", "deliveries"), nil), 404, "unknown-gateway")
	d.refused("a cursor that is none", d.as("hana", "GET", path("osaka-1", "deliveries?cursor=eHl6"), nil), 400, "invalid-cursor")
}

func TestBatchIsAllOrNothingAndCountsOnce(t *testing.T) {
	d := newDesk(t, "osaka-1")
	var items []api.Delivery
	for n := range 30 {
		id := fmt.Sprintf("dev_%d", n)
		d.tell("osaka-1", id, "proxy")
		w := at("", id, tonight.Add(time.Duration(n)*15*time.Minute))
		w.BatchID = "b1"
		items = append(items, w)
	}
	body := map[string]any{"items": items}
	const key = "the-batch"
	first := d.as("hana", "POST", path("osaka-1", "deliveries:batch"), body, "Idempotency-Key", key)
	made := decode[api.Page[api.Delivery]](t, first)
	if len(made.Items) != 30 {
		t.Fatalf("%d made", len(made.Items))
	}
	d.restart()
	again := d.as("hana", "POST", path("osaka-1", "deliveries:batch"), body, "Idempotency-Key", key)
	if diff := cmp.Diff(made, decode[api.Page[api.Delivery]](t, again)); diff != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s", diff)
	}
	body["items"] = items[:29]
	d.refused("another body", d.as("hana", "POST", path("osaka-1", "deliveries:batch"), body, "Idempotency-Key", key), 422, "idempotency-key-reuse")
	d.refused("no key", d.as("hana", "POST", path("osaka-1", "deliveries:batch"), body, "Idempotency-Key", ""), 400, "idempotency-key-required")
	list := decode[api.Deliveries](t, d.as("osaka-1", "GET", path("osaka-1", "deliveries?limit=7"), nil))
	count := len(list.Items)
	for list.NextCursor != "" {
		list = decode[api.Deliveries](t, d.as("osaka-1", "GET", path("osaka-1", "deliveries?limit=7&cursor="+list.NextCursor), nil))
		count += len(list.Items)
	}
	if count != 30 {
		t.Errorf("%d listed", count)
	}
}

func TestSavesThatOverload(t *testing.T) {
	d := newDesk(t, "osaka-1")
	for n := range 5 {
		d.tell("osaka-1", fmt.Sprintf("dev_%d", n), "proxy")
	}
	d.plan("osaka-1", at("d0", "dev_0", tonight), at("d1", "dev_1", tonight))
	third := at("d2", "dev_2", tonight)
	p := d.refused("one device more than fits", d.as("hana", "POST", path("osaka-1", "deliveries"), third), 409, "would-overload")
	if len(p.Bands) != 1 || p.Bands[0].Peak != 3 || p.Bands[0].Capacity != capacity || !p.Bands[0].From.Equal(tonight) {
		t.Errorf("bands: %+v", p.Bands)
	}
	if len(p.Alternatives) != 5 || p.Alternatives[0].StartUTC.Sub(tonight).Abs() != 15*time.Minute {
		t.Fatalf("alternatives: %+v", p.Alternatives)
	}
	third.Schedule.StartUTC = &p.Alternatives[0].StartUTC
	if got := d.as("hana", "POST", path("osaka-1", "deliveries"), third); got.status != 201 {
		t.Errorf("an alternative: %d %s", got.status, got.body)
	}
	d.refused("a move into the others", d.as("hana", "PUT", path("osaka-1", "deliveries", "d2"), at("d2", "dev_2", tonight), "If-Match", `"1"`), 409, "would-overload")
	fourth := at("d3", "dev_3", tonight)
	if got := d.as("hana", "POST", path("osaka-1", "deliveries?allowOverload=true"), fourth); got.status != 201 {
		t.Errorf("all the same: %d %s", got.status, got.body)
	}
	fourth.Priority = 3
	if got := d.as("hana", "PUT", path("osaka-1", "deliveries", "d3"), fourth, "If-Match", `"1"`); got.status != 200 {
		t.Errorf("a change that adds nothing to an overload that is there: %d %s", got.status, got.body)
	}
	d.refused("a batch that overloads", d.as("hana", "POST", path("osaka-1", "deliveries:batch"), map[string]any{
		"items": []api.Delivery{at("x", "dev_0", tonight.Add(5*time.Hour)), at("y", "dev_1", tonight.Add(5*time.Hour)), at("z", "dev_4", tonight.Add(5*time.Hour))}}), 409, "would-overload")
	d.tell("osaka-1", "dev_4", "polling")
	if got := d.as("hana", "POST", path("osaka-1", "deliveries"), at("d4", "dev_4", tonight)); got.status != 201 {
		t.Errorf("a device that does not pass the relay: %d %s", got.status, got.body)
	}

	slots := decode[api.Capacity](t, d.as("osaka-1", "GET", path("osaka-1", "capacity?from="+tonight.Add(-30*time.Minute).Format(time.RFC3339)+
		"&to="+tonight.Add(15*time.Minute).Format(time.RFC3339)), nil)).Slots
	var states []string
	for _, s := range slots {
		states = append(states, fmt.Sprintf("%s %d/%d", s.State, s.Load, s.Limit))
	}
	want := "free 0/2,free 0/2,free 0/2,free 0/2,free 0/2,free 0/2,over 3/2,over 3/2,over 3/2"
	if got := strings.Join(states, ","); got != want {
		t.Errorf("capacity:\n got %s\nwant %s", got, want)
	}
	d.refused("too many slots", d.as("hana", "GET", path("osaka-1", "capacity?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z"), nil), 422, "invalid-request")
}

func TestInnerGatewaysCountOnTheOuterOne(t *testing.T) {
	d := newDesk(t, "outer", "inner")
	d.contract("inner", func(c *api.Contract) { c.MaxConcurrent = 10 })
	for _, id := range []string{"dev_o1", "dev_o2"} {
		d.tell("outer", id, "proxy")
	}
	for _, id := range []string{"dev_i1", "dev_i2"} {
		d.tell("inner", id, "proxy")
	}
	d.plan("outer", at("o1", "dev_o1", tonight), at("o2", "dev_o2", tonight))
	d.plan("inner", at("i1", "dev_i1", tonight.Add(time.Hour)))
	list := decode[api.Deliveries](t, d.as("outer", "GET", path("outer", "deliveries"), nil))
	via := map[string]string{}
	for _, w := range list.Items {
		via[w.DeliveryID] = w.ViaGatewayID
	}
	if diff := cmp.Diff(map[string]string{"o1": "", "o2": "", "i1": "inner"}, via); diff != "" {
		t.Error(diff)
	}
	if got := decode[api.Deliveries](t, d.as("inner", "GET", path("inner", "deliveries"), nil)); len(got.Items) != 1 || got.Items[0].ViaGatewayID != "" {
		t.Errorf("the inner one's: %+v", got.Items)
	}
	if got := d.as("outer", "GET", path("outer", "deliveries", "i1"), nil); got.status != 200 {
		t.Errorf("one of the inner's: %d", got.status)
	}
	d.refused("the outer's from inside", d.as("inner", "GET", path("inner", "deliveries", "o1"), nil), 404, "unknown-delivery")
	p := d.refused("room inside and none outside", d.as("hana", "POST", path("inner", "deliveries"), at("i2", "dev_i2", tonight)), 409, "would-overload")
	if len(p.Bands) != 1 || p.Bands[0].Capacity != capacity || len(p.Alternatives) == 0 {
		t.Errorf("%+v", p)
	}
	// A change inside is news outside.
	since := list.DeltaToken
	moved := d.get("inner", "i1")
	later := tonight.Add(2 * time.Hour)
	moved.Schedule = api.Schedule{StartUTC: &later}
	if got := d.as("hana", "PUT", path("inner", "deliveries", "i1"), moved, "If-Match", `"1"`); got.status != 200 {
		t.Fatalf("move: %d %s", got.status, got.body)
	}
	got := decode[api.Deliveries](t, d.as("outer", "GET", path("outer", "deliveries?since="+since), nil))
	if got.Whole || len(got.Items) != 1 || got.Items[0].DeliveryID != "i1" || got.Items[0].ViaGatewayID != "inner" {
		t.Errorf("delta: %+v", got)
	}
	if got := d.as("outer", http.MethodGet, path("outer", "deliveries?since="+got.DeltaToken), nil); len(decode[api.Deliveries](t, got).Items) != 0 {
		t.Errorf("nothing has changed: %s", got.body)
	}
}
