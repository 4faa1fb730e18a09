package server_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
)

func report(id string, at time.Time, supersedes string, bands ...string) api.OverloadReport {
	r := api.OverloadReport{ReportID: id, ComputedAt: at, Horizon: api.Span{From: at, To: at.Add(35 * 24 * time.Hour)}, Supersedes: supersedes, Bands: []api.Band{}}
	for n, b := range bands {
		from := tonight.Add(time.Duration(n) * time.Hour)
		r.Bands = append(r.Bands, api.Band{BandID: b, From: from, To: from.Add(time.Hour), Capacity: 2, Peak: 3, PeakAt: from, Certainty: "certain", Probability: 1,
			Contributors: []api.Contributor{{Type: "delivery", BatchID: "b", Count: 3, PeakShare: 3}}, MustMove: 1, Text: "3 devices, 2 at once"})
	}
	return r
}

func TestWarningsLiveAsReportsSay(t *testing.T) {
	d := newDesk(t, "osaka-1")
	put := func(r api.OverloadReport) reply {
		return d.as("osaka-1", "PUT", path("osaka-1", "overload-reports", r.ReportID), r)
	}
	warnings := func() map[string]string {
		out := map[string]string{}
		for cursor := ""; ; {
			page := decode[api.Page[api.Warning]](t, d.as("hana", "GET", path("osaka-1", "warnings?limit=500&cursor="+cursor), nil))
			for _, w := range page.Items {
				out[w.BandID] = w.State
			}
			if cursor = page.NextCursor; cursor == "" {
				return out
			}
		}
	}
	expect := func(rule string, want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, warnings()); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
	}
	act := func(band string, a api.WarningAction, headers ...string) reply {
		return d.as("hana", "POST", path("osaka-1", "warnings", band, "actions"), a, headers...)
	}
	first := report("r1", noon, "", "b1", "b2", "b3")
	if got := put(first); got.status != 201 {
		t.Fatalf("first: %d %s", got.status, got.body)
	}
	d.restart()
	if got := put(first); got.status != 200 {
		t.Errorf("the same again: %d", got.status)
	}
	d.refused("another content", put(report("r1", noon, "", "b1")), 409, "report-differs")
	expect("reported", map[string]string{"b1": "open", "b2": "open", "b3": "open"})
	if got := decode[api.Warning](t, act("b1", api.WarningAction{Action: "acknowledge"}, "Idempotency-Key", "k")); got.By != "hana" || got.State != "acknowledged" {
		t.Errorf("acknowledged: %+v", got)
	}
	if got := act("b1", api.WarningAction{Action: "acknowledge"}, "Idempotency-Key", "k"); got.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %d", got.status)
	}
	d.refused("the key for another band", act("b2", api.WarningAction{Action: "acknowledge"}, "Idempotency-Key", "k"), 422, "idempotency-key-reuse")
	soon, past := noon.Add(2*time.Hour), noon.Add(-time.Hour)
	act("b2", api.WarningAction{Action: "ignoreUntil", Until: &soon})
	d.refused("until when", act("b3", api.WarningAction{Action: "ignoreUntil"}), 422, "invalid-request")
	d.refused("until the past", act("b3", api.WarningAction{Action: "ignoreUntil", Until: &past}), 422, "invalid-request")
	d.refused("what is no action", act("b3", api.WarningAction{Action: "shout"}), 422, "invalid-request")
	d.refused("what nobody reported", act("b9", api.WarningAction{Action: "acknowledge"}), 404, "unknown-warning")
	d.clock.Advance(time.Hour)
	put(report("r2", d.clock.Now(), "r1", "b1", "b2", "b4"))
	expect("the operator's word stays, what is gone is closed", map[string]string{"b1": "acknowledged", "b2": "ignored", "b3": "closed", "b4": "open"})
	d.refused("a report that comes late", put(report("r0", noon, "", "b1")), 409, "stale-snapshot")
	d.clock.Advance(time.Hour)
	expect("ignored long enough", map[string]string{"b1": "acknowledged", "b2": "open", "b3": "closed", "b4": "open"})
	if got := decode[api.Page[api.Warning]](t, d.as("hana", "GET", path("osaka-1", "warnings?state=open&limit=1"), nil)); len(got.Items) != 1 || got.Items[0].BandID != "b2" || got.NextCursor == "" {
		t.Errorf("a page of those that are open: %+v", got)
	} else if rest := decode[api.Page[api.Warning]](t, d.as("hana", "GET", path("osaka-1", "warnings?state=open&cursor="+got.NextCursor), nil)); len(rest.Items) != 1 || rest.Items[0].BandID != "b4" {
		t.Errorf("the next: %+v", rest)
	}
	if got := act("b4", api.WarningAction{Action: "requestProposal"}); got.status != 200 {
		t.Errorf("request: %d %s", got.status, got.body)
	}
	events := decode[api.ScheduleEvents](t, d.as("osaka-1", "GET", path("osaka-1", "events"), nil))
	if len(events.Items) == 0 || events.Items[0].Type != "proposalRequested" || events.Items[0].Object != "b4" {
		t.Errorf("events: %+v", events)
	}
	put(report("r3", d.clock.Now(), "r2"))
	expect("nothing is left", map[string]string{"b1": "closed", "b2": "closed", "b3": "closed", "b4": "closed"})
	d.refused("what has ended", act("b1", api.WarningAction{Action: "acknowledge"}), 409, "already-decided")
	put(report("r4", d.clock.Now(), "r3", "b1"))
	if got := decode[api.Warning](t, d.as("hana", "GET", path("osaka-1", "warnings", "b1"), nil)); got.State != "open" || got.By != "" || got.ClosedAt != nil {
		t.Errorf("again: %+v", got)
	}
	d.clock.Advance(31 * 24 * time.Hour)
	if err := d.server.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("closed ones go in the end", map[string]string{"b1": "open"})
	many := report("r5", d.clock.Now(), "r4")
	for n := range 900 {
		b := first.Bands[0]
		b.BandID = fmt.Sprint("m", n)
		many.Bands = append(many.Bands, b)
	}
	if got := put(many); got.status != 201 || len(warnings()) != 901 {
		t.Errorf("many: %d, %d", got.status, len(warnings()))
	}
	odd := report("r6", d.clock.Now(), "r5", "b1")
	odd.Bands[0].To = odd.Bands[0].From
	d.refused("a band without time", put(odd), 422, "invalid-request")
	odd = report("r6", time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC), "r5", "b1")
	d.refused("a clock that is nonsense", put(odd), 422, "invalid-request")
}

func TestEventsComeWhenSomethingHappens(t *testing.T) {
	d := newDesk(t, "osaka-1")
	d.tell("osaka-1", "dev_1", "proxy")
	first := decode[api.ScheduleEvents](t, d.as("osaka-1", "GET", path("osaka-1", "events"), nil))
	if len(first.Items) != 1 || first.Items[0].Type != "contractChanged" {
		t.Fatalf("at first: %+v", first)
	}
	poll := func(do func()) api.ScheduleEvents {
		t.Helper()
		var got reply
		var wg sync.WaitGroup
		wg.Go(func() {
			got = d.as("osaka-1", "GET", path("osaka-1", fmt.Sprintf("events?after=%d&wait=PT30S", first.Next)), nil)
		})
		d.clock.AwaitTimers(2)
		do()
		wg.Wait()
		first = decode[api.ScheduleEvents](t, got)
		return first
	}
	if got := poll(func() { d.clock.Advance(30 * time.Second) }); len(got.Items) != 0 || got.Lost {
		t.Errorf("nothing: %+v", got)
	}
	for _, c := range []struct {
		do           func()
		kind, object string
	}{
		{func() { d.plan("osaka-1", at("d1", "dev_1", tonight)) }, "deliveryChanged", "d1"},
		{func() {
			d.as("hana", "PUT", path("osaka-1", "background-schedules", "meter"), api.BackgroundSchedule{ServiceID: "meter", Cron: "0 3 * * *", Duration: api.Duration(time.Minute), Devices: []string{"all"}}, "If-None-Match", "*")
		}, "backgroundChanged", "meter"},
		{func() {
			d.contract("osaka-1", func(c *api.Contract) { c.MaxConcurrent = 9 })
			d.clock.Advance(time.Second)
		}, "contractChanged", ""},
		{func() { d.tell("osaka-1", "dev_1", "polling") }, "deliveryChanged", ""},
	} {
		got := poll(c.do)
		if len(got.Items) != 1 || got.Items[0].Type != c.kind || got.Items[0].Object != c.object {
			t.Errorf("want %s %s, got %+v", c.kind, c.object, got)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if got := d.as("osaka-1", "GET", path("osaka-1", fmt.Sprintf("events?after=%d&wait=PT30S", first.Next)), nil); got.status != 200 {
			t.Errorf("at a shutdown: %d", got.status)
		}
	})
	d.clock.AwaitTimers(2)
	d.server.EndStreams()
	wg.Wait()
	d.refused("a wait that is none", d.as("osaka-1", "GET", path("osaka-1", "events?wait=soon"), nil), 422, "invalid-request")
}

func TestBackgroundSchedules(t *testing.T) {
	d := newDesk(t, "outer", "inner")
	d.tell("inner", "dev_1", "proxy")
	d.tell("inner", "dev_2", "polling")
	b := api.BackgroundSchedule{ServiceID: "meter", Cron: "0 3 * * *", Duration: api.Duration(10 * time.Minute), Devices: []string{"all"}}
	target := path("inner", "background-schedules", "meter")
	d.refused("without a condition", d.as("hana", "PUT", target, b), 428, "precondition-required")
	got := d.as("hana", "PUT", target, b, "If-None-Match", "*")
	if got.status != 201 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	list := d.as("inner", "GET", path("inner", "background-schedules"), nil)
	if diff := cmp.Diff([]api.BackgroundSchedule{b}, decode[api.Page[api.BackgroundSchedule]](t, list).Items); diff != "" {
		t.Error(diff)
	}
	if got := d.as("inner", "GET", path("inner", "background-schedules"), nil, "If-None-Match", list.header.Get("ETag")); got.status != 304 {
		t.Errorf("unchanged: %d", got.status)
	}
	outside := decode[api.Page[api.BackgroundSchedule]](t, d.as("outer", "GET", path("outer", "background-schedules"), nil)).Items
	if len(outside) != 1 || !cmp.Equal([]string(outside[0].Devices), []string{"dev_1"}) || outside[0].TimeZone != "UTC" {
		t.Errorf("from outside, all are the inner one's: %+v", outside)
	}
	for rule, change := range map[string]func(*api.BackgroundSchedule){
		"no time":                func(b *api.BackgroundSchedule) { b.Cron = "" },
		"a line that is no cron": func(b *api.BackgroundSchedule) { b.Cron = "soon" },
		"no duration":            func(b *api.BackgroundSchedule) { b.Duration = 0 },
		"devices and a number":   func(b *api.BackgroundSchedule) { b.Concurrency = 3 },
		"a year":                 func(b *api.BackgroundSchedule) { b.Duration = api.Duration(365 * 24 * time.Hour) },
	} {
		bad := b
		change(&bad)
		d.refused(rule, d.as("hana", "PUT", target, bad, "If-Match", `"1"`), 422, "invalid-request")
	}
	d.refused("a stale tag", d.as("hana", "DELETE", target, nil, "If-Match", `"7"`), 412, "precondition-failed")
	if got := d.as("hana", "DELETE", target, nil, "If-Match", `"1"`); got.status != 204 {
		t.Errorf("deleted: %d", got.status)
	}
	d.refused("gone", d.as("hana", "GET", target, nil), 404, "unknown-background-schedule")
}
