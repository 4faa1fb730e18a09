package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

const goodSnapshot = `{"now":"2026-12-01T12:00:00Z","horizon":"PT48H","deltaToken":"t",
"contract":{"contractId":"c","mode":"propose","maxConcurrent":50,"capacityCalendar":[{"rrule":"FREQ=WEEKLY;BYDAY=MO,TU","start":"22:00","end":"06:00",
 "timeZone":"Europe/Berlin","maxConcurrent":30}],"leadTime":"PT13H","slot":"PT5M","maxMove":"PT24H","notifyMinExcess":1,"fetchCron":"17 * * * *",
 "timeZone":"Europe/Berlin","services":["software-delivery"]},
"devices":[{"deviceId":"dev_1","monitoringMode":"proxy"}],
"deliveries":[{"deliveryId":"d1","deviceId":"dev_1","version":7,"schedule":{"local":"2026-12-02T02:00:00","timeZone":"Europe/Berlin"},
 "window":{"earliestStart":"2026-12-01T22:00:00Z","latestEnd":"2026-12-02T05:00:00Z","blackouts":[{"from":"2026-12-02T03:00:00Z","to":"2026-12-02T04:00:00Z"}]},
 "duration":{"p50":"PT9M","p95":"PT16M","basis":"history","samples":412},"retry":{"interval":"PT6H","max":4},"movable":null,"tomorrow":{"x":[1,{}]}}],
"background":[{"serviceId":"meter-read","cron":"0 3 * * *","timeZone":"UTC","devices":"all","duration":"PT10M","jitter":"PT2M"}],
"proposed":{"d1":"2026-12-02T02:30:00Z"},"capacity":[{"at":"2026-12-01T00:00:00Z","devices":40}]}`

func TestSnapshotsComeBackAsTheyWere(t *testing.T) {
	s, err := api.ReadSnapshot([]byte(goodSnapshot), calendar.Texts{})
	if err != nil {
		t.Fatal(err)
	}
	root := s.Root()
	again := api.FromSnapshot(root)
	text, err := json.Marshal(again)
	if err != nil {
		t.Fatal(err)
	}
	reread, err := api.ReadSnapshot(text, calendar.Texts{})
	if err != nil {
		t.Fatalf("what we write ourselves: %v\n%s", err, text)
	}
	if diff := cmp.Diff(root, reread.Root()); diff != "" {
		t.Error(diff)
	}
	if d := root.Deliveries[0]; !d.Movable || d.Version != "7" || d.State != "planned" || root.Devices == nil || !root.Background[0].AllDevices {
		t.Errorf("read as %+v", root)
	}
	s.Devices = []api.SnapshotDevice{}
	if text, _ = json.Marshal(s); !strings.Contains(string(text), `"devices":[]`) {
		t.Error("a list of no device is written as no list: every device would count")
	}
}

// TestFaultsAreToldWithTheirPlace changes one thing of a good snapshot.
func TestFaultsAreToldWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ rule, old, new, want string }{
		{"a time is needed", `"now":"2026-12-01T12:00:00Z",`, ``, `/now: is missing; must be a time in RFC 3339`},
		{"a time is a time", `"now":"2026-12-01T12:00:00Z"`, `"now":"yesterday"`, `/now: must be a time in RFC 3339`},
		{"a time is no number", `"now":"2026-12-01T12:00:00Z"`, `"now":7`, `/now: must be a time in RFC 3339`},
		{"the clock is set", `"now":"2026-12-01T12:00:00Z"`, `"now":"0001-01-01T00:00:00Z"`, `/now: is in the year 1; must be in 1970 to 2100`},
		{"no time is after all times", `"2026-12-02T05:00:00Z"`, `"9999-12-31T00:00:00Z"`, `/deliveries/0/window/latestEnd: is in the year 9999`},
		{"a local time has such years too", `"local":"2026-12-02T02:00:00"`, `"local":"9999-12-02T02:00:00"`, `/deliveries/0/schedule/local: is in the year 9999`},
		{"a contract is an object", `"contract":{`, `"contract":[],"x":{`, `/contract: must be an object`},
		{"the contract is needed", `"contract":{`, `"another":{`, `/contract: is missing; must be an object`},
		{"null is no value", `"contract":{`, `"contract":null,"another":{`, `/contract: must be an object`},
		{"a duration is not negative", `"leadTime":"PT13H"`, `"leadTime":"-PT13H"`, `/contract/leadTime: must be a duration in ISO 8601`},
		{"a slot is a second or more", `"slot":"PT5M"`, `"slot":"PT0.5S"`, `/contract/slot: is PT0.5S; must be PT1S to PT24H`},
		{"the mode is a word of three", `"mode":"propose"`, `"mode":"perhaps"`, `/contract/mode: must be notify, propose or auto`},
		{"a count is whole", `"maxConcurrent":50`, `"maxConcurrent":50.5`, `/contract/maxConcurrent: must be a whole number`},
		{"a count is not negative", `"maxConcurrent":50`, `"maxConcurrent":-1`, `/contract/maxConcurrent: must be 0 to 100000`},
		{"a number fits", `"maxConcurrent":50`, `"maxConcurrent":1e99`, `/contract/maxConcurrent: must be a whole number`},
		{"the zone is known", `"timeZone":"Europe/Berlin","services"`, `"timeZone":"Mars/Phobos","services"`, `/contract/timeZone: unknown time zone "Mars/Phobos"`},
		{"a rule is well written", `FREQ=WEEKLY;BYDAY=MO,TU`, `FREQ=SOMETIMES`, `/contract/capacityCalendar/0/rrule: `},
		{"a rule occurs", `FREQ=WEEKLY;BYDAY=MO,TU`, `FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30`, `never occurs`},
		{"a rule of capacity has no first day", `FREQ=WEEKLY;BYDAY=MO,TU`, `FREQ=DAILY;COUNT=3`, `/contract/capacityCalendar/0/rrule: has a COUNT`},
		{"a time of day is one", `"start":"22:00"`, `"start":"29:59"`, `/contract/capacityCalendar/0/start: `},
		{"a device is listed once", `{"deviceId":"dev_1","monitoringMode":"proxy"}`, `{"deviceId":"dev_1","monitoringMode":"proxy"},{"deviceId":"dev_1","monitoringMode":"proxy"}`,
			`/devices/1/deviceId: "dev_1" is there twice`},
		{"a mode is proxy or polling", `"monitoringMode":"proxy"`, `"monitoringMode":"both"`, `/devices/0/monitoringMode: must be proxy or polling`},
		{"deliveries are needed", `"deliveries":`, `"deliverie":`, `/deliveries: is missing; must be a list`},
		{"a delivery has an id", `"deliveryId":"d1"`, `"deliveryId":""`, `/deliveries/0/deliveryId: is empty`},
		{"names are told from others by case", `"deliveryId":"d1"`, `"DeliveryId":"d1"`, `/deliveries/0/deliveryId: is missing`},
		{"a name stands once", `"deliveryId":"d1"`, `"deliveryId":"d1","deliveryId":"d2"`, `/deliveries/0/deliveryId: is given twice`},
		{"an id is short", `"deliveryId":"d1"`, `"deliveryId":"` + strings.Repeat("x", 65) + `"`, `/deliveries/0/deliveryId: has 65 characters; at most 64 are read`},
		{"a delivery is planned sometime", `"schedule":{"local":"2026-12-02T02:00:00","timeZone":"Europe/Berlin"}`, `"schedule":{}`, `/deliveries/0/schedule/startUtc: is missing`},
		{"a local time is one", `"local":"2026-12-02T02:00:00"`, `"local":"2026-12-02T02:00:00Z"`, `/deliveries/0/schedule/local: not a local time`},
		{"a delivery's rule occurs", `"local":"2026-12-02T02:00:00"`, `"local":"2026-12-02T02:00:00","rrule":"FREQ=DAILY;UNTIL=20200101T000000Z"`, `/deliveries/0/schedule/rrule: `},
		{"the window opens before it closes", `"earliestStart":"2026-12-01T22:00:00Z"`, `"earliestStart":"2026-12-02T05:00:00Z"`, `/deliveries/0/window/latestEnd: is not after earliestStart`},
		{"a blackout has a length", `"to":"2026-12-02T04:00:00Z"`, `"to":"2026-12-02T03:00:00Z"`, `/deliveries/0/window/blackouts/0/to: is not after from`},
		{"p95 is not below p50", `"p95":"PT16M"`, `"p95":"PT8M"`, `/deliveries/0/duration/p95: is PT8M, less than p50, which is PT9M`},
		{"a delivery ends within weeks", `"p95":"PT16M"`, `"p95":"PT9999H"`, `/deliveries/0/duration/p95: is PT9999H; at most`},
		{"priorities are ten", `"version":7`, `"priority":10`, `/deliveries/0/priority: must be 0 to 9`},
		{"a version is text or number", `"version":7`, `"version":[7]`, `/deliveries/0/version: a version is a text or a number`},
		{"a retry waits", `"interval":"PT6H"`, `"interval":"PT0S"`, `/deliveries/0/retry/interval: is PT0S`},
		{"a cron line is one", `"cron":"0 3 * * *"`, `"cron":"0 25 * * *"`, `/background/0/cron: `},
		{"a cron line occurs", `"cron":"0 3 * * *"`, `"cron":"0 3 30 2 *"`, `/background/0/cron: `},
		{"a service comes sometime", `"cron":"0 3 * * *",`, ``, `/background/0/startUtc: is missing`},
		{"cron or rrule", `"cron":"0 3 * * *"`, `"cron":"0 3 * * *","rrule":"FREQ=DAILY"`, `/background/0/rrule: stands beside cron`},
		{"devices are all, or some", `"devices":"all"`, `"devices":"some"`, `/background/0/devices: "some": must be "all" or a list of ids`},
		{"a service lasts", `"duration":"PT10M"`, `"duration":"PT0S"`, `/background/0/duration: is PT0S`},
		{"a proposed start is a time", `"proposed":{"d1":"2026-12-02T02:30:00Z"}`, `"proposed":{"d/~1":1}`, `/proposed/d~1~01: must be a time`},
		{"steps ascend", `{"at":"2026-12-01T00:00:00Z","devices":40}`, `{"at":"2026-12-01T00:00:00Z","devices":40},{"at":"2026-12-01T00:00:00Z","devices":41}`,
			`/capacity/1/at: is not after the step before`},
		{"the horizon is at most 400 days", `"horizon":"PT48H"`, `"horizon":"P401D"`, `/horizon: is PT9624H; at most PT9600H`},
		{"nesting has an end", `"now":"2026-12-01T12:00:00Z"`, `"now":` + strings.Repeat("[", 20000), `is not JSON`},
		{"JSON has an end", `"capacity":[{"at":"2026-12-01T00:00:00Z","devices":40}]}`, ``, `is not JSON: it ends too early, at byte`},
		{"nothing comes after it", `"devices":40}]}`, `"devices":40}]} {}`, `the document: goes on after its end, at byte`},
	} {
		text := strings.Replace(goodSnapshot, c.old, c.new, 1)
		if text == goodSnapshot {
			t.Fatalf("%s: %q is not there", c.rule, c.old)
		}
		_, err := api.ReadSnapshot([]byte(text), calendar.Texts{})
		if faults, ok := errors.AsType[api.Faults](err); !ok || !strings.Contains(faults.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.rule, err, c.want)
		}
	}
}

func TestFaultsAreToldTogetherAndNotWithoutEnd(t *testing.T) {
	text := strings.Replace(goodSnapshot, `"slot":"PT5M"`, `"slot":5`, 1)
	text = strings.Replace(text, `"p95":"PT16M"`, `"p95":16`, 1)
	text = strings.Replace(text, `"duration":"PT10M"`, `"duration":10`, 1)
	_, err := api.ReadSnapshot([]byte(text), calendar.Texts{})
	want := "/contract/slot: must be a duration in ISO 8601, such as \"PT5M\"\n" +
		"/deliveries/0/duration/p95: must be a duration in ISO 8601, such as \"PT5M\"\n" +
		"/background/0/duration: must be a duration in ISO 8601, such as \"PT5M\""
	if fmt.Sprint(err) != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	_, err = api.ReadSnapshot([]byte(`{"deliveries":[`+strings.Repeat(`{},`, 999)+`{}]}`), calendar.Texts{})
	if faults, ok := errors.AsType[api.Faults](err); !ok || len(faults) != 101 || faults[100].Rule != "has 2902 more faults" {
		t.Errorf("got %d faults, the last is %v", len(faults), faults[len(faults)-1])
	}
	if _, err := api.ReadSnapshot(make([]byte, api.MaxSnapshot+1), calendar.Texts{}); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too long: got %v", err)
	}
}

// TestHostileAnswersAreRefused checks what a cloud may answer.
func TestHostileAnswersAreRefused(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		rule string
		err  error
		want string
	}{
		{"a page's delivery is checked", api.Deliveries{Items: []api.Delivery{{DeliveryID: "d", DeviceID: "x"}}}.Check(calendar.Texts{}), "/items/0/schedule/startUtc: is missing"},
		{"a page's removed has a name", api.Deliveries{Removed: []string{""}}.Check(calendar.Texts{}), "/removed/0: is empty"},
		{"a text is not without end", api.Deliveries{DeltaToken: long}.Check(calendar.Texts{}), "/deltaToken: has 5000 characters"},
		{"a state is a word of four", api.ProposalState{ProposalID: "p", State: "lost"}.Check(), "/state: must be pending, decided, withdrawn or expired"},
		{"a change has a name", api.ProposalState{ProposalID: "p", State: "pending", Changes: []api.ChangeStatus{{State: "pending"}}}.Check(), "/changes/0/changeId: is empty"},
		{"a change's state is one", api.ProposalState{ProposalID: "p", State: "pending", Changes: []api.ChangeStatus{{ChangeID: "c", DeliveryID: "d", State: "?"}}}.Check(),
			"/changes/0/state: must be pending"},
		{"events do not go back", api.ScheduleEvents{Items: []api.ScheduleEvent{{Seq: 2}, {Seq: 1}}, Next: 2}.Check(), "/items/1/seq: is 1 after 2"},
		{"events are not beyond the next", api.ScheduleEvents{Items: []api.ScheduleEvent{{Seq: 2}}, Next: 1}.Check(), "/items/0/seq: is 2, beyond next"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.rule, c.err, c.want)
		}
	}
}

// FuzzReadSnapshot holds that reading never panics, that what is refused has a reason, and that what is read can be written
// and read again as the same.
func FuzzReadSnapshot(f *testing.F) {
	f.Add([]byte(goodSnapshot))
	f.Add([]byte(`{"now":"2026-12-01T12:00:00Z","contract":null,"deliveries":[null,[],{"schedule":7}]}`))
	f.Add([]byte(`{"proposed":{"":"2026-12-02T02:30:00Z","a":null},"capacity":{}}`))
	f.Add([]byte("[[[[{\"a\":\xff\"b\"}]]]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := api.ReadSnapshot(data, calendar.Texts{})
		if err != nil {
			if faults, ok := errors.AsType[api.Faults](err); !ok || len(faults) == 0 || len(faults) > 101 {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		text, err := json.Marshal(api.FromSnapshot(s.Root()))
		if err != nil {
			t.Fatal(err)
		}
		again, err := api.ReadSnapshot(text, calendar.Texts{})
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(s.Root(), again.Root()); diff != "" {
			t.Error(diff)
		}
	})
}
