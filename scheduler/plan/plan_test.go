package plan_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// crowd plans n deliveries of 16 minutes for 02:00 in Berlin, where capacity devices can be served.
func crowd(n, capacity int) mfpgate.ScheduleSnapshot {
	s := mfpgate.ScheduleSnapshot{Now: now, Horizon: 48 * time.Hour, DeltaToken: "t", Contract: mfpgate.Contract{ID: "c", Mode: mfpgate.SchedulePropose,
		MaxConcurrent: capacity, LeadTime: time.Hour, Slot: 5 * time.Minute, MaxMove: 24 * time.Hour, NotifyMinExcess: 1,
		TimeZone: "Europe/Berlin", Services: []string{mfpgate.ServiceDelivery}}}
	for i := range n {
		s.Deliveries = append(s.Deliveries, mfpgate.Delivery{ID: fmt.Sprintf("d%02d", i), Device: mfpgate.DeviceID(fmt.Sprintf("dev_%02d", i)),
			Batch: "B1", State: mfpgate.DeliveryPlanned, Movable: true, Version: "7",
			Schedule: mfpgate.LocalSchedule{Local: "2026-12-02T02:00:00", TimeZone: "Europe/Berlin"},
			Duration: mfpgate.DurationEstimate{P50: 9 * time.Minute, P95: 16 * time.Minute, Basis: mfpgate.DurationHistory, Samples: 412}})
	}
	return s
}

func made(t *testing.T, s mfpgate.ScheduleSnapshot) mfpgate.SchedulePlan {
	t.Helper()
	p, err := plan.Make(s, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnOverloadIsToldInTheOperatorsWords(t *testing.T) {
	s := crowd(60, 50)
	s.Background = []mfpgate.Background{{ID: "meter-read", Cron: "0 2 * * *", Schedule: mfpgate.LocalSchedule{TimeZone: "Europe/Berlin"},
		Concurrency: 3, Duration: 10 * time.Minute}}
	p := made(t, s)
	if len(p.Bands) != 1 {
		t.Fatalf("%d bands", len(p.Bands))
	}
	b := p.Bands[0]
	want := "02:00-02:16 Berlin time on 2 Dec: 63 devices at once where 50 can be served (60 of batch B1, 3 of meter-read); at least 13 deliveries must move"
	if b.Text != want || b.Certainty != mfpgate.OverloadCertain || b.Probability != 1 || b.MustMove != 13 {
		t.Errorf("got %+v", b)
	}
	contributors := []mfpgate.Contributor{{Type: "delivery", ID: "B1", Count: 60, PeakShare: 60}, {Type: "background", ID: "meter-read", Count: 3, PeakShare: 3}}
	if diff := cmp.Diff(contributors, b.Contributors); diff != "" {
		t.Error(diff)
	}
	if len(p.Proposal.Changes) != 13 || len(p.BandsLeft) != 0 || !p.Proposal.Quality.Optimal || p.Proposal.Quality.Displacement != p.Proposal.Quality.DisplacementBound {
		t.Fatalf("%d changes, %d bands left, %+v", len(p.Proposal.Changes), len(p.BandsLeft), p.Proposal.Quality)
	}
	c := p.Proposal.Changes[0]
	if c.Band != b.ID || c.Code != mfpgate.ChangeOverload || c.Version != "7" || !strings.Contains(c.Text, "63 devices at once where 50 can be served, and at least 13 must leave") ||
		!strings.Contains(c.Text, "nearer starts have no room: 02:05 (50 of 50)") {
		t.Errorf("got %+v", c)
	}
	text, err := plan.Explain(s, p, c.Delivery)
	for _, part := range []string{"planned: 02:00-02:16 Berlin time on 2 Dec", "overload: " + want, "decision: moves (OVERLOAD)", "02:05  no room: 50 of 50", "chosen"} {
		if err != nil || !strings.Contains(text, part) {
			t.Errorf("the explanation lacks %q: %v\n%s", part, err, text)
		}
	}
}

func TestOverloadsThatNeedLongRunsAreRisks(t *testing.T) {
	s := crowd(1, 1)
	s.Deliveries = append(s.Deliveries, crowd(2, 1).Deliveries[1])
	s.Deliveries[1].Schedule.Local = "2026-12-02T02:12:00" // after the first one's median, before its end
	p := made(t, s)
	if len(p.Bands) != 1 || p.Bands[0].Certainty != mfpgate.OverloadRisk || p.Bands[0].Probability <= 0.01 || p.Bands[0].Probability >= 0.5 ||
		!strings.Contains(p.Bands[0].Text, "if they take long (") || len(p.Proposal.Changes) != 1 {
		t.Errorf("got %+v", p.Bands)
	}
}

// TestWhatMayNotMoveStays changes one thing of a crowd that fits but for one delivery.
func TestWhatMayNotMoveStays(t *testing.T) {
	for rule, change := range map[string]func(s *mfpgate.ScheduleSnapshot){
		"pinned": func(s *mfpgate.ScheduleSnapshot) {
			s.Deliveries[0].Movable, s.Deliveries[0].PinnedReason = false, "visit"
		},
		"running": func(s *mfpgate.ScheduleSnapshot) {
			s.Deliveries[0].State, s.Now = mfpgate.DeliveryRunning, at("2026-12-02T01:05:00Z")
		},
		"within lead time": func(s *mfpgate.ScheduleSnapshot) { s.Contract.LeadTime = 14 * time.Hour },
		"recurring":        func(s *mfpgate.ScheduleSnapshot) { s.Deliveries[0].Schedule.RRule = "FREQ=DAILY;COUNT=1" },
	} {
		s := crowd(2, 1)
		s.Deliveries[1].Movable = false
		change(&s)
		p := made(t, s)
		if len(p.Bands) != 1 || len(p.Proposal.Changes) != 0 || len(p.BandsLeft) != 1 || !strings.HasSuffix(p.Bands[0].Text, "; none of them can be moved") {
			t.Errorf("%s: got %+v", rule, p)
		}
		if text, err := plan.Explain(s, p, "d00"); err != nil || !strings.Contains(text, "decision: stays, for it ") {
			t.Errorf("%s: explained as %v %s", rule, err, text)
		}
	}
}

func TestWhatDoesNotCountIsLeftOutForAReason(t *testing.T) {
	for _, c := range []struct {
		want   mfpgate.Reason
		change func(s *mfpgate.ScheduleSnapshot)
	}{
		{plan.ReasonFinished, func(s *mfpgate.ScheduleSnapshot) { s.Deliveries[0].State = mfpgate.DeliveryCancelled }},
		{plan.ReasonPast, func(s *mfpgate.ScheduleSnapshot) { s.Deliveries[0].Schedule.Local = "2026-12-01T12:00:00" }},
		{plan.ReasonBeyond, func(s *mfpgate.ScheduleSnapshot) { s.Deliveries[0].Schedule.Local = "2026-12-04T12:00:00" }},
		{plan.ReasonNeverStarts, func(s *mfpgate.ScheduleSnapshot) {
			s.Deliveries[0].Schedule = mfpgate.LocalSchedule{Local: "2027-03-28T02:30:00", TimeZone: "Europe/Berlin", Gap: "skip"}
		}},
		{plan.ReasonNeverStarts, func(s *mfpgate.ScheduleSnapshot) { s.Deliveries[0].Schedule = mfpgate.LocalSchedule{} }},
		{plan.ReasonNotReadable, func(s *mfpgate.ScheduleSnapshot) { s.Deliveries[0].Schedule.TimeZone = "Mars/Phobos" }},
		{plan.ReasonUnknownDevice, func(s *mfpgate.ScheduleSnapshot) { s.Devices = []mfpgate.ScheduledDevice{} }},
		{plan.ReasonPolling, func(s *mfpgate.ScheduleSnapshot) {
			s.Devices = []mfpgate.ScheduledDevice{{ID: "dev_00", MonitoringMode: mfpgate.MonitoringPolling}}
		}},
		{plan.ReasonNotInContract, func(s *mfpgate.ScheduleSnapshot) { s.Contract.Services = []string{"meter-read"} }},
	} {
		s := crowd(1, 1)
		s.Contract.MaxConcurrent = 1
		s.Background = []mfpgate.Background{{ID: "b", Cron: "0 2 * * *", Concurrency: 1, Duration: time.Hour}}
		c.change(&s)
		bands, left, err := plan.Detect(s)
		want := []mfpgate.LeftOut{{Delivery: "d00", Device: "dev_00", Reason: c.want}}
		if diff := cmp.Diff(want, left); err != nil || len(bands) != 0 || diff != "" {
			t.Errorf("%s: %v, %d bands%s", c.want, err, len(bands), diff)
		}
	}
}

func TestDevicesBehindAnInnerGatewayCount(t *testing.T) {
	s := crowd(2, 1)
	s.Devices = []mfpgate.ScheduledDevice{{ID: "dev_00", MonitoringMode: mfpgate.MonitoringProxy}}
	s.Deliveries[1].Via = "inner"
	if p := made(t, s); len(p.Bands) != 1 || len(p.LeftOut) != 0 || len(p.BandsLeft) != 0 {
		t.Errorf("got %+v", p)
	}
}

func TestDeviceOnUSBCountsWithItsDeliveriesAlone(t *testing.T) {
	s := crowd(2, 1)
	s.Devices = []mfpgate.ScheduledDevice{{ID: "dev_00", MonitoringMode: mfpgate.MonitoringProxy},
		{ID: "dev_01", MonitoringMode: mfpgate.MonitoringPolling, Attachment: mfpgate.AttachmentUSB}}
	if p := made(t, s); len(p.Bands) != 1 || len(p.LeftOut) != 0 || len(p.Proposal.Changes) != 1 {
		t.Errorf("got %+v", p)
	}
	s.Deliveries = s.Deliveries[:1]
	s.Contract.MaxConcurrent = 1
	s.Background = []mfpgate.Background{{ID: "b", Cron: "0 12 * * *", AllDevices: true, Duration: time.Minute},
		{ID: "named", Cron: "0 12 * * *", Devices: []mfpgate.DeviceID{"dev_00", "dev_01"}, Duration: time.Minute}}
	if p := made(t, s); len(p.Bands) != 0 {
		t.Errorf("background of what is on USB counts: %+v", p.Bands)
	}
}

func TestModesDoNotMoreThanTheyMay(t *testing.T) {
	s := crowd(3, 2)
	s.Contract.Mode = mfpgate.ScheduleNotify
	if p := made(t, s); len(p.Bands) != 1 || p.Proposal.ID != "" || len(p.Proposal.Changes) != 0 || len(p.BandsLeft) != 1 {
		t.Errorf("notify: got %+v", p)
	}
	s.Contract.Mode = mfpgate.ScheduleAuto
	if p := made(t, s); !p.Proposal.Apply || len(p.Proposal.Changes) != 1 {
		t.Errorf("auto: got %+v", p)
	}
	s.Contract.Mode, s.Contract.NotifyMinExcess = mfpgate.SchedulePropose, 2
	if p := made(t, s); len(p.Bands) != 0 || len(p.Proposal.Changes) != 0 {
		t.Errorf("an overload that is too small to be told of: got %+v", p)
	}
}

func TestWhatFindsNoPlaceIsProved(t *testing.T) {
	s := crowd(3, 1)
	for i := range s.Deliveries {
		s.Deliveries[i].EarliestStart, s.Deliveries[i].LatestEnd = at("2026-12-02T01:00:00Z"), at("2026-12-02T01:40:00Z")
	}
	p := made(t, s)
	if len(p.Proposal.Unresolved) != 1 || len(p.Proposal.Changes) != 1 || len(p.BandsLeft) != 1 {
		t.Fatalf("got %+v", p)
	}
	u := p.Proposal.Unresolved[0]
	want := "3 deliveries need 48 of 36 device-minutes between 02:00 and 02:36 Berlin time on 2 Dec: at least 1 cannot run"
	if u.Text != want || u.Certificate == nil || u.Certificate.AtLeastUnresolved != 1 || p.BandsLeft[0].Certificate == nil {
		t.Errorf("got %+v", u)
	}
	if diff := cmp.Diff([]string{"widenWindow", "raiseCapacity"}, u.Options); diff != "" {
		t.Error(diff)
	}
}

func TestNamesAreThoseOfContents(t *testing.T) {
	s := crowd(4, 2)
	a, b := made(t, s), made(t, s)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("twice the same: %s", diff)
	}
	s.Now = s.Now.Add(time.Minute) // nothing of the plan changes with it
	if c := made(t, s); c.Bands[0].ID != a.Bands[0].ID || c.Proposal.ID != a.Proposal.ID {
		t.Error("a minute later the same overload has another name")
	}
	s.Deliveries[0].Version = "8"
	s.Deliveries[1].Version = "8"
	s.Deliveries[2].Version = "8"
	if c := made(t, s); c.Bands[0].ID != a.Bands[0].ID || c.Proposal.ID == a.Proposal.ID {
		t.Error("other versions: the overload must keep its name and the proposal change it")
	}
}

func TestAlternativesOverloadNothing(t *testing.T) {
	s := crowd(3, 2)
	s.Deliveries[0].Movable = false // a person may
	s.Deliveries[0].Blackouts = []mfpgate.Interval{{From: at("2026-12-02T01:20:00Z"), To: at("2026-12-02T01:30:00Z")}}
	got, err := plan.Alternatives(s, "d00", 3)
	want := []time.Time{at("2026-12-02T00:40:00Z"), at("2026-12-02T00:35:00Z"), at("2026-12-02T01:30:00Z")}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := plan.Alternatives(s, "d99", 3); !errors.Is(err, plan.ErrDelivery) {
		t.Errorf("no such delivery: got %v", err)
	}
}

func TestTimelinesShowLoadAndLimit(t *testing.T) {
	s := crowd(3, 2)
	slots, err := plan.Timeline(s, at("2026-12-02T00:50:00Z"), at("2026-12-02T01:20:00Z"), 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range slots {
		got = append(got, fmt.Sprintf("%s %d/%d %v", x.From.Format("15:04"), x.Load, x.Limit, x.Over))
	}
	if diff := cmp.Diff([]string{"00:50 0/2 false", "01:00 3/2 true", "01:10 3/2 true"}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := plan.Timeline(s, now, now.Add(300*24*time.Hour), time.Second); !errors.Is(err, plan.ErrSnapshot) {
		t.Errorf("too many slots: got %v", err)
	}
}

func TestSnapshotsThatCannotBePlannedAreRefused(t *testing.T) {
	for rule, change := range map[string]func(s *mfpgate.ScheduleSnapshot){
		"the clock is set":       func(s *mfpgate.ScheduleSnapshot) { s.Now = time.Time{} },
		"the zone is known":      func(s *mfpgate.ScheduleSnapshot) { s.Contract.TimeZone = "Mars/Phobos" },
		"ids are unique":         func(s *mfpgate.ScheduleSnapshot) { s.Deliveries[1].ID = s.Deliveries[0].ID },
		"cron lines can be read": func(s *mfpgate.ScheduleSnapshot) { s.Background = []mfpgate.Background{{ID: "b", Cron: "x"}} },
		"the horizon is bounded": func(s *mfpgate.ScheduleSnapshot) { s.Horizon = 401 * 24 * time.Hour },
		"a slot is a second":     func(s *mfpgate.ScheduleSnapshot) { s.Contract.Slot = time.Millisecond },
		"calendar rules are read": func(s *mfpgate.ScheduleSnapshot) {
			s.Contract.CapacityCalendar = []mfpgate.CapacityRule{{RRule: "x", Start: "00:00", End: "01:00"}}
		},
		"occurrences are bounded": func(s *mfpgate.ScheduleSnapshot) { s.Horizon = 400 * 24 * time.Hour; s.Background = minutely(20) },
		"a service has an instant": func(s *mfpgate.ScheduleSnapshot) {
			s.Background = []mfpgate.Background{{ID: "b", Duration: time.Minute}}
		},
	} {
		s := crowd(3, 2)
		change(&s)
		if _, err := plan.Make(s, plan.Options{}); !errors.Is(err, plan.ErrSnapshot) {
			t.Errorf("%s: got %v", rule, err)
		}
	}
}

func minutely(n int) (list []mfpgate.Background) {
	for i := range n {
		list = append(list, mfpgate.Background{ID: fmt.Sprint(i), Cron: "* * * * *", Duration: time.Second, Concurrency: 1})
	}
	return list
}

func TestEstimatesFillWhatIsMissing(t *testing.T) {
	const m = time.Minute
	for _, c := range []struct {
		rule      string
		d         mfpgate.Delivery
		p50, p95  time.Duration
		wantBasis mfpgate.DurationBasis
	}{
		{"both are taken", mfpgate.Delivery{Duration: mfpgate.DurationEstimate{P50: m, P95: 2 * m, Basis: "history"}}, m, 2 * m, "history"},
		{"p95 is p50", mfpgate.Delivery{Duration: mfpgate.DurationEstimate{P50: m, Basis: "history"}}, m, m, "history"},
		{"p50 is p95", mfpgate.Delivery{Duration: mfpgate.DurationEstimate{P95: m, Basis: "history"}}, m, m, "history"},
		{"p95 is not less", mfpgate.Delivery{Duration: mfpgate.DurationEstimate{P50: 2 * m, P95: m}}, 2 * m, 2 * m, ""},
		{"size at 1 MiB a second", mfpgate.Delivery{Bytes: 600 << 20}, 10 * m, 10 * m, "size"},
		{"no size is less than a minute", mfpgate.Delivery{Bytes: 1}, m, m, "size"},
		{"nothing is known", mfpgate.Delivery{}, 15 * m, 15 * m, "assumed"},
	} {
		if e := plan.Estimate(c.d); e.P50 != c.p50 || e.P95 != c.p95 || e.Basis != c.wantBasis {
			t.Errorf("%s: got %+v", c.rule, e)
		}
	}
}
