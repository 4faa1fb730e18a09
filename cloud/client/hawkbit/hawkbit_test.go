package hawkbit_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit/hawkbittest"
	"github.com/mfpgate/mfpgate/scheduler"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var _ scheduler.DeliverySystem = (*hawkbit.Client)(nil)

func day(d, hour, minute int) time.Time { return time.Date(2026, 11, d, hour, minute, 0, 0, time.UTC) }

// site is a hawkBit with a gateway's three targets and one of another, and a log.
type site struct {
	*hawkbittest.Server
	clock *fakeclock.Clock
	log   *hawkbittest.Log
}

func begin(t testing.TB) *site {
	t.Helper()
	clock := fakeclock.New(day(12, 12, 0))
	s := &site{hawkbittest.Start(t, clock), clock, &hawkbittest.Log{}}
	s.AddSet(1, "MFP firmware:2.1")
	s.AddSet(2, "MFP firmware:2.2")
	for _, id := range []string{"dev_a", "dev_b", "dev/c"} {
		s.AddTarget(hawkbittest.Target{ID: id, Attributes: map[string]string{"gateway": "osaka-1"}})
	}
	s.AddTarget(hawkbittest.Target{ID: "dev_x", Attributes: map[string]string{"gateway": "tokyo-1"}})
	return s
}

func (s *site) connect(t testing.TB, set func(*hawkbit.Options)) *hawkbit.Client {
	t.Helper()
	o := hawkbit.Options{
		URL: s.URL, User: hawkbittest.User, Password: hawkbittest.Password, Clock: s.clock, Log: s.log, Logger: telemetry.Logger{},
		Targets: "attribute.gateway==osaka-1", Timeout: 20 * time.Second,
		Duration: mfpgate.DurationEstimate{P50: 9 * time.Minute, P95: 16 * time.Minute, Basis: mfpgate.DurationAssumed},
	}
	if set != nil {
		set(&o)
	}
	c, err := hawkbit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// nightly is from two to six in the morning in Osaka: 17:00 to 21:00 UTC.
func nightly() *hawkbit.Window {
	return &hawkbit.Window{Schedule: "0 0 2 * * ?", Duration: "04:00:00", Timezone: "+09:00"}
}

func read(t testing.TB, c *hawkbit.Client) map[string]mfpgate.Delivery {
	t.Helper()
	got, err := c.Changes(t.Context(), mfpgate.Interval{From: day(11, 0, 0), To: day(30, 0, 0)}, "")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]mfpgate.Delivery{}
	for _, d := range got.Deliveries {
		out[d.ID] = d
	}
	if !got.Whole || got.Token == "" || len(out) != len(got.Deliveries) {
		t.Errorf("whole %v, token %q, %d deliveries of which %d differ", got.Whole, got.Token, len(got.Deliveries), len(out))
	}
	return out
}

func move(id string, d mfpgate.Delivery, to time.Time) mfpgate.Proposal {
	return mfpgate.Proposal{ID: id, Apply: true, Changes: []mfpgate.Change{{ID: "c-" + d.ID, Delivery: d.ID, Version: d.Version, From: d.Schedule.Start, To: to}}}
}

func propose(t testing.TB, c *hawkbit.Client, p mfpgate.Proposal) mfpgate.ChangeOutcome {
	t.Helper()
	o, err := c.Propose(t.Context(), p)
	if err != nil || len(o.Changes) != 1 {
		t.Fatalf("propose: %+v, %v", o, err)
	}
	return o.Changes[0]
}

func work(t testing.TB, c *hawkbit.Client) time.Time {
	t.Helper()
	next, err := c.Work(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func outcome(t testing.TB, c *hawkbit.Client, id string) mfpgate.ChangeOutcome {
	t.Helper()
	o, err := c.Outcome(t.Context(), id)
	if err != nil || len(o.Changes) != 1 {
		t.Fatalf("outcome: %+v, %v", o, err)
	}
	return o.Changes[0]
}

func TestWhatAnActionMeans(t *testing.T) {
	weight := 640
	once := hawkbit.Window{Schedule: "0 30 2 13 11 ? 2026", Duration: "01:00:00", Timezone: "+09:00"}
	for _, old := range []bool{false, true} {
		for _, c := range []struct {
			rule string
			make func(*site) int64
			want mfpgate.Delivery
		}{
			{"a recurring window gives start and end", func(s *site) int64 {
				return s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: nightly(), Weight: &weight})
			}, mfpgate.Delivery{State: mfpgate.DeliveryPlanned, Schedule: mfpgate.LocalSchedule{Start: day(12, 17, 0)}, EarliestStart: day(12, 17, 0), LatestEnd: day(12, 21, 0), Priority: 6, Movable: true}},
			{"a one-shot window", func(s *site) int64 { return s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: &once}) },
				mfpgate.Delivery{State: mfpgate.DeliveryPlanned, Schedule: mfpgate.LocalSchedule{Start: day(12, 17, 30)}, EarliestStart: day(12, 17, 30), LatestEnd: day(12, 18, 30), Movable: true}},
			{"a force time", func(s *site) int64 {
				return s.Assign("dev_a", 1, hawkbit.Order{Type: "timeforced", ForceTime: day(14, 1, 0).UnixMilli()})
			}, mfpgate.Delivery{State: mfpgate.DeliveryPlanned, Schedule: mfpgate.LocalSchedule{Start: day(14, 1, 0)}, Movable: true}},
			{"no time: hawkBit offers it", func(s *site) int64 { return s.Assign("dev_a", 1, hawkbit.Order{Type: "forced"}) },
				mfpgate.Delivery{State: mfpgate.DeliveryRunning, Schedule: mfpgate.LocalSchedule{Start: day(12, 12, 0)}}},
			{"a rollout's start", func(s *site) int64 { return s.AddRollout(7, day(15, 3, 0), "dev_a", 1) },
				mfpgate.Delivery{State: mfpgate.DeliveryPlanned, Batch: "rollout-7", Schedule: mfpgate.LocalSchedule{Start: day(15, 3, 0)}, PinnedReason: "its rollout starts it"}},
			{"a download has begun", func(s *site) int64 {
				id := s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: nightly()})
				s.Report(id, "download")
				return id
			}, mfpgate.Delivery{State: mfpgate.DeliveryRunning, Schedule: mfpgate.LocalSchedule{Start: day(12, 17, 0)}, EarliestStart: day(12, 17, 0), LatestEnd: day(12, 21, 0)}},
			{"a device that knows of it", func(s *site) int64 {
				id := s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: nightly()})
				s.Report(id, "retrieved")
				return id
			}, mfpgate.Delivery{State: mfpgate.DeliveryPlanned, Schedule: mfpgate.LocalSchedule{Start: day(12, 17, 0)}, EarliestStart: day(12, 17, 0), LatestEnd: day(12, 21, 0), Movable: true}},
			{"it is downloaded", func(s *site) int64 {
				id := s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: nightly()})
				s.Report(id, "downloaded")
				return id
			}, mfpgate.Delivery{State: mfpgate.DeliveryPlanned, Schedule: mfpgate.LocalSchedule{Start: day(12, 17, 0)}, EarliestStart: day(12, 17, 0), LatestEnd: day(12, 21, 0), PinnedReason: "the device has downloaded it"}},
			{"an operator cancels", func(s *site) int64 {
				id := s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: nightly()})
				s.Cancel(id)
				return id
			}, mfpgate.Delivery{State: mfpgate.DeliveryCancelled, Schedule: mfpgate.LocalSchedule{Start: day(12, 17, 0)}, EarliestStart: day(12, 17, 0), LatestEnd: day(12, 21, 0)}},
		} {
			t.Run(c.rule+map[bool]string{true: ", told by an old version"}[old], func(t *testing.T) {
				s := begin(t)
				s.Old = old
				id := strconv.FormatInt(c.make(s), 10)
				got := read(t, s.connect(t, nil))
				c.want.ID, c.want.Device, c.want.Kind, c.want.Model, c.want.Package, c.want.PackageVersion = id, "dev_a", "firmware", "SIM-100", "MFP firmware", "2.1"
				c.want.Duration = mfpgate.DurationEstimate{P50: 9 * time.Minute, P95: 16 * time.Minute, Basis: mfpgate.DurationAssumed}
				if c.want.Batch == "" {
					c.want.Batch = "ds-1"
				}
				c.want.Version = got[id].Version
				if diff := cmp.Diff(map[string]mfpgate.Delivery{id: c.want}, got); diff != "" || c.want.Version == "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestOnlyTheGatewaysTargets(t *testing.T) {
	s := begin(t)
	s.PageMax = 2
	for _, id := range []string{"dev_a", "dev_b", "dev/c", "dev_x"} {
		s.Assign(id, 1, hawkbit.Order{Type: "forced", Window: nightly()})
	}
	devices := map[mfpgate.DeviceID]bool{}
	for _, d := range read(t, s.connect(t, nil)) {
		devices[d.Device] = true
	}
	if diff := cmp.Diff(map[mfpgate.DeviceID]bool{"dev_a": true, "dev_b": true, "dev/c": true}, devices); diff != "" {
		t.Error(diff)
	}
}

func TestAttributesNameDeviceAndWindow(t *testing.T) {
	s := begin(t)
	s.AddTarget(hawkbittest.Target{ID: "SN-77", Metadata: map[string]string{"gateway": "nara"}, Attributes: map[string]string{
		"mfpgate": "dev_77", "starts": "2026-11-12T15:00:00Z/2026-11-13T15:00:00Z"}})
	s.AddTarget(hawkbittest.Target{ID: "SN-78", Metadata: map[string]string{"gateway": "nara"}})
	for _, id := range []string{"SN-77", "SN-78"} {
		s.Assign(id, 1, hawkbit.Order{Type: "forced", Window: nightly()})
	}
	got := read(t, s.connect(t, func(o *hawkbit.Options) {
		o.Targets, o.DeviceAttribute, o.WindowAttribute = "metadata.gateway==nara", "mfpgate", "starts"
	}))
	if d := got["11"]; len(got) != 1 || d.Device != "dev_77" || !d.EarliestStart.Equal(day(12, 15, 0)) || !d.LatestEnd.Equal(day(13, 15, 0)) {
		t.Errorf("got %+v", got)
	}
}

func TestTokenFollowsFromTheContent(t *testing.T) {
	s := begin(t)
	c := s.connect(t, nil)
	token := func() string {
		got, err := c.Changes(t.Context(), mfpgate.Interval{}, "")
		if err != nil {
			t.Fatal(err)
		}
		return got.Token
	}
	empty := token()
	s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: nightly()})
	if one := token(); one == empty || one != token() {
		t.Error("the token does not follow from the content")
	}
}

func TestWhatHawkBitHasNot(t *testing.T) {
	s := begin(t)
	c := s.connect(t, nil)
	list, version, err := c.Background(t.Context(), "")
	if len(list) != 0 || version == "" || err != nil {
		t.Errorf("background: %v, %q, %v", list, version, err)
	}
	if _, _, err := c.Background(t.Context(), version); !errors.Is(err, mfpgate.ErrUnchanged) {
		t.Errorf("background again: %v", err)
	}
	if err := c.Report(t.Context(), mfpgate.OverloadReport{ID: "r"}); err != nil {
		t.Error(err)
	}
	if _, err := c.Outcome(t.Context(), "nobody's"); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("outcome of what is unknown: %v", err)
	}
	if err := c.Withdraw(t.Context(), "nobody's"); err != nil {
		t.Error(err)
	}
	go func() { s.clock.AwaitTimers(1); s.clock.Advance(30 * time.Second) }() // Events below waits for it
	events, next, lost, err := c.Events(t.Context(), 7, 30*time.Second)
	if len(events) != 0 || next != 7 || lost || err != nil {
		t.Errorf("events: %v, %d, %v, %v", events, next, lost, err)
	}
	if len(s.Writes()) != 0 {
		t.Errorf("hawkBit was told %v", s.Writes())
	}
}

func TestNewRefuses(t *testing.T) {
	good := hawkbit.Options{URL: "https://hawkbit.example", User: "u", Password: "hunter2", Clock: mfpgate.SystemClock{}, Log: &hawkbittest.Log{}, Targets: "tag==x"}
	if _, err := hawkbit.New(good); err != nil {
		t.Fatal(err)
	}
	for rule, set := range map[string]func(*hawkbit.Options){
		"https://":     func(o *hawkbit.Options) { o.URL = "http://hawkbit.example" },
		"nothing more": func(o *hawkbit.Options) { o.URL = "https://u:hunter2@hawkbit.example" },
		"a password":   func(o *hawkbit.Options) { o.Password = "" },
		"a user":       func(o *hawkbit.Options) { o.User = "a:b" },
		"the query":    func(o *hawkbit.Options) { o.Targets = "" },
		"a log":        func(o *hawkbit.Options) { o.Log = nil },
		"ahead":        func(o *hawkbit.Options) { o.Ahead = 2 * time.Hour },
	} {
		o := good
		set(&o)
		if _, err := hawkbit.New(o); err == nil || !strings.Contains(err.Error(), rule) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", rule, err)
		}
	}
}

func TestPasswordThatIsNone(t *testing.T) {
	s := begin(t)
	_, err := s.connect(t, func(o *hawkbit.Options) { o.Password = "wrong" }).Changes(context.Background(), mfpgate.Interval{}, "")
	var refused *hawkbit.Error
	if !errors.As(err, &refused) || refused.Status != 401 {
		t.Errorf("got %v", err)
	}
}
