package hawkbit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit/hawkbittest"
)

func asDelay(err error, out *interface{ Delay() time.Duration }) bool { return errors.As(err, out) }

func TestOneShotHasTheOffsetOfItsDate(t *testing.T) {
	for _, c := range []struct {
		rule, zone, from, to string
		want                 hawkbit.Window
	}{
		{"summer", "Europe/Berlin", "2026-10-24T00:30:00Z", "2026-10-24T02:00:00Z", hawkbit.Window{Schedule: "0 30 2 24 10 ? 2026", Duration: "01:30:00", Timezone: "+02:00"}},
		{"the first half past two of the night that has two", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z", hawkbit.Window{Schedule: "0 30 2 25 10 ? 2026", Duration: "02:30:00", Timezone: "+02:00"}},
		{"the second", "Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T03:00:00Z", hawkbit.Window{Schedule: "0 30 2 25 10 ? 2026", Duration: "01:30:00", Timezone: "+01:00"}},
		{"winter", "Europe/Berlin", "2026-11-13T01:30:00Z", "2026-11-13T02:00:00Z", hawkbit.Window{Schedule: "0 30 2 13 11 ? 2026", Duration: "00:30:00", Timezone: "+01:00"}},
		{"another day where it is", "Asia/Tokyo", "2026-11-12T17:30:00Z", "2026-11-12T18:00:00Z", hawkbit.Window{Schedule: "0 30 2 13 11 ? 2026", Duration: "00:30:00", Timezone: "+09:00"}},
		{"west, by half an hour", "America/St_Johns", "2027-01-01T00:00:00Z", "2027-01-01T00:00:01Z", hawkbit.Window{Schedule: "0 30 20 31 12 ? 2026", Duration: "00:00:01", Timezone: "-03:30"}},
		{"a day is too long", "UTC", "2026-11-13T00:00:00Z", "2026-11-15T00:00:00Z", hawkbit.Window{Schedule: "0 0 0 13 11 ? 2026", Duration: "23:59:59", Timezone: "+00:00"}},
		{"parts of a second stay inside", "UTC", "2026-11-13T00:00:00.2Z", "2026-11-13T01:00:00.1Z", hawkbit.Window{Schedule: "1 0 0 13 11 ? 2026", Duration: "00:59:59", Timezone: "+00:00"}},
		{"no length", "UTC", "2026-11-13T00:00:00Z", "2026-11-13T00:00:00Z", hawkbit.Window{}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			zone, err1 := calendar.ParseZone(c.zone)
			from, err2 := time.Parse(time.RFC3339Nano, c.from)
			to, err3 := time.Parse(time.RFC3339Nano, c.to)
			if err := errors.Join(err1, err2, err3); err != nil {
				t.Fatal(err)
			}
			got, err := hawkbit.OneShot(from, to, zone)
			if diff := cmp.Diff(c.want, got); diff != "" || (err != nil) != (c.want.Schedule == "") {
				t.Errorf("%v; %s", err, diff)
			}
		})
	}
}

func TestZoneOfTheSiteOutranksTheOffset(t *testing.T) {
	zone, err := calendar.ParseZone("Australia/Sydney")
	if err != nil {
		t.Fatal(err)
	}
	s, _, _ := planned(t)
	c := s.connect(t, func(o *hawkbit.Options) { o.Zone = zone })
	propose(t, c, move("p1", read(t, c)["11"], day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	work(t, c)
	s.clock.Advance(8 * time.Hour)
	work(t, c)
	want := &hawkbit.Window{Schedule: "0 30 6 13 11 ? 2026", Duration: "01:30:00", Timezone: "+11:00"}
	if diff := cmp.Diff(want, s.Actions()[1].Order.Window); diff != "" {
		t.Error(diff)
	}
}

func TestListThatChangesWhileItIsRead(t *testing.T) {
	s := begin(t)
	s.PageMax = 2
	for n := range 6 {
		id := fmt.Sprintf("dev_%d", n)
		s.AddTarget(hawkbittest.Target{ID: id, Attributes: map[string]string{"gateway": "osaka-1"}})
		s.Assign(id, 1, hawkbit.Order{Type: "forced", Window: nightly()})
	}
	pages := 0
	s.Hook(func(_, path string) int {
		if path == "/rest/v1/actions" {
			if pages++; pages == 3 {
				s.Report(11, "finished") // all that come later move up
			}
		}
		return 0
	}, nil)
	if got := read(t, s.connect(t, nil)); len(got) != 5 || pages < 7 {
		t.Errorf("%d deliveries from %d pages", len(got), pages)
	}
}

func TestHostileAnswers(t *testing.T) {
	action := func(change string) string {
		return `{"total":1,"content":[{"id":11,"active":true,"status":"running","createdAt":1,"forceType":"forced",` + change + `"_links":{"target":{"href":"https://h/rest/v1/targets/dev_a"},"distributionset":{"href":"https://h/rest/v1/distributionsets/1","name":"a:1"}}}]}`
	}
	for rule, body := range map[string]string{
		"no JSON":                  "<html>",
		"a number as list":         `{"content":7}`,
		"twice the same action":    `{"total":2,"content":[` + strings.Repeat(`{"id":11,"_links":{"target":{"href":"/t/a"},"distributionset":{"href":"/d/1"}}},`, 1) + `{"id":11,"_links":{"target":{"href":"/t/a"},"distributionset":{"href":"/d/1"}}}]}`,
		"an action below zero":     strings.Replace(action(""), `"id":11`, `"id":-1`, 1),
		"a window of no length":    action(`"maintenanceWindow":{"schedule":"0 0 2 * * ?","duration":"a","timezone":"+09:00"},`),
		"a window in no zone":      action(`"maintenanceWindow":{"schedule":"0 0 2 * * ?","duration":"01:00:00","timezone":"Asia/Tokyo"},`),
		"a window in no year":      action(`"maintenanceWindow":{"schedule":"0 0 2 * * ?","duration":"01:00:00","timezone":"Z","nextStartAt":9223372036854775807},`),
		"a weight beyond all":      action(`"weight":1001,`),
		"a target that climbs":     strings.Replace(action(""), "targets/dev_a", "targets/%2e%2e", 1),
		"a set that is no number":  strings.Replace(action(""), "distributionsets/1", "distributionsets/x", 1),
		"a status with a newline":  strings.Replace(action(""), `"running"`, `"run\nning"`, 1),
		"a name beyond all":        strings.Replace(action(""), `"a:1"`, `"`+strings.Repeat("a", 2000)+`"`, 1),
		"a total that is negative": `{"total":-1,"content":[]}`,
		"more than a page":         `{"total":501,"content":[` + strings.Repeat(`{"id":1},`, 500) + `{"id":1}]}`,
		"an endless answer":        "",
		"a redirect":               "",
	} {
		t.Run(rule, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.HasSuffix(r.URL.Path, "/targets"):
					_, _ = io.WriteString(w, `{"total":1,"content":[{"controllerId":"dev_a"}]}`)
				case rule == "an endless answer":
					_, _ = io.WriteString(w, `"`+strings.Repeat(" ", 9<<20))
				case rule == "a redirect":
					http.Redirect(w, r, "/elsewhere", http.StatusFound)
				default:
					_, _ = io.WriteString(w, body)
				}
			}))
			defer web.Close()
			s := begin(t)
			c := s.connect(t, func(o *hawkbit.Options) { o.URL = web.URL })
			if _, err := c.Changes(t.Context(), mfpgate.Interval{}, ""); !errors.Is(err, hawkbit.ErrAnswer) {
				t.Errorf("got %v, want ErrAnswer", err)
			}
		})
	}
}

func TestRunMakesMovesByItself(t *testing.T) {
	s, c, d := planned(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }() // ended below
	s.clock.AwaitTimers(1)
	asked, away := make(chan struct{}, 100), true
	s.Hook(func(method, path string) int {
		if method == "GET" && path == "/rest/v1/targets/dev_a/actions/11" {
			asked <- struct{}{}
		}
		if method == "DELETE" && away { // a hawkBit that is away for a moment
			away = false
			return 503
		}
		return 0
	}, nil)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	<-asked
	s.clock.AwaitTimers(1) // there is none while it works
	s.clock.Advance(5 * time.Second)
	<-asked // it is still the version that may be moved
	<-asked // and is being cancelled
	s.clock.AwaitTimers(1)
	s.Confirm()
	s.clock.Advance(time.Minute)
	events, next, lost, err := c.Events(ctx, 3, time.Hour)
	if diff := cmp.Diff([]mfpgate.ScheduleEvent{{Seq: 4, Type: mfpgate.EventProposalDecided}}, events); diff != "" || next != 4 || lost || err != nil {
		t.Errorf("%d, %v, %v; %s", next, lost, err, diff)
	}
	if got := outcome(t, c, "p1"); got.State != mfpgate.ChangeApplied {
		t.Errorf("got %+v", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzAnswers gives the adapter anything for a page of actions. What it takes must be fit for the scheduler.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"total":1,"content":[{"id":11,"active":true,"status":"running","createdAt":1791000000000,"forceType":"forced","weight":7,"maintenanceWindow":{"schedule":"0 0 2 * * ?","duration":"04:00:00","timezone":"+09:00","nextStartAt":1794502800000},"_links":{"target":{"href":"https://h/rest/v1/targets/dev_a"},"distributionset":{"href":"https://h/rest/v1/distributionsets/1","name":"a:1"}}}]}`))
	f.Add([]byte(`{"total":1,"content":[{"id":11,"status":"pending","detailStatus":"scheduled","rollout":0,"forceType":"timeforced","forceTime":1794502800000,"_links":{"target":{"href":"targets/dev_a"},"distributionset":{"href":"d/1"}}}]}`))
	f.Add([]byte(`{"total":0,"content":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := hawkbit.Decode(body, day(12, 12, 0))
		if err != nil {
			return
		}
		for _, d := range got {
			text, err := json.Marshal(d)
			switch {
			case err != nil || len(text) > 16<<10:
				t.Errorf("a record of %d bytes, %v", len(text), err)
			case d.ID == "" || len(d.ID) > 64 || len(d.Batch) > 64 || len(d.PinnedReason) > 1024 || d.Version == "" || d.Schedule.Start.IsZero():
				t.Errorf("got %+v", d)
			case !d.LatestEnd.IsZero() && !d.LatestEnd.After(d.EarliestStart), d.Schedule.Start.Year() < 1970, d.LatestEnd.Year() > 9998:
				t.Errorf("times of %+v", d)
			case d.Movable && (d.PinnedReason != "" || d.State != mfpgate.DeliveryPlanned || !d.Schedule.Start.After(day(12, 12, 0))):
				t.Errorf("movable %+v", d)
			case d.Priority < 0 || d.Priority > 9:
				t.Errorf("priority %d", d.Priority)
			}
		}
	})
}

func TestWhatHawkBitSays(t *testing.T) {
	s := begin(t)
	for status, at := range map[string]time.Duration{"0": 0, "7": 7 * time.Second, "999999": time.Hour, "Thu, 12 Nov 2026 12:00:30 GMT": 30 * time.Second, "soon": 0} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", status)
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, `{"errorCode":"hawkbit.busy","message":"line\nbreak `+strings.Repeat("x", 500)+`"}`)
		}))
		c := s.connect(t, func(o *hawkbit.Options) { o.URL = web.URL })
		_, err := c.Changes(t.Context(), mfpgate.Interval{}, "")
		web.Close()
		var refused *hawkbit.Error
		if !errors.As(err, &refused) || refused.Delay() != at || strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 || !strings.Contains(err.Error(), "hawkbit.busy") {
			t.Errorf("Retry-After %q: got %v", status, err)
		}
	}
}
