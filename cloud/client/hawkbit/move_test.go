package hawkbit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
)

// planned is one delivery of the nightly window, and its client.
func planned(t *testing.T) (*site, *hawkbit.Client, mfpgate.Delivery) {
	t.Helper()
	s := begin(t)
	s.Assign("dev_a", 1, hawkbit.Order{Type: "forced", Window: nightly()})
	c := s.connect(t, nil)
	return s, c, read(t, c)["11"]
}

func TestMoveHoldsTheAssignmentUntilItsStart(t *testing.T) {
	for _, old := range []bool{false, true} {
		testMove(t, old)
	}
}

func testMove(t *testing.T, old bool) {
	s, c, d := planned(t)
	s.Old = old
	if got := propose(t, c, move("p1", d, day(12, 19, 30))); got.State != mfpgate.ChangePending {
		t.Fatalf("proposed: %+v", got)
	}
	if len(s.Writes()) != 0 {
		t.Errorf("before the log is worked off, hawkBit was told %v", s.Writes())
	}
	if next := work(t, c); !next.Equal(day(12, 12, 1)) {
		t.Errorf("the device is asked for at %v", next)
	}
	if got := outcome(t, c, "p1"); got.State != mfpgate.ChangePending {
		t.Errorf("before the device has confirmed: %+v", got)
	}
	if got := read(t, c)["11"]; got.Movable || !got.Schedule.Start.Equal(day(12, 19, 30)) {
		t.Errorf("meanwhile: %+v", got)
	}
	s.Confirm()
	if next := work(t, c); !next.Equal(day(12, 19, 30)) {
		t.Errorf("held until %v", next)
	}
	held := read(t, c)["11"]
	if got := outcome(t, c, "p1"); got.State != mfpgate.ChangeApplied || got.Version != held.Version {
		t.Errorf("held: %+v; %+v", got, held)
	}
	if !held.Movable || !held.Schedule.Start.Equal(day(12, 19, 30)) || held.State != mfpgate.DeliveryPlanned {
		t.Errorf("held: %+v", held)
	}
	if diff := cmp.Diff([]string{"DELETE /rest/v1/targets/dev_a/actions/11"}, s.Writes()); diff != "" {
		t.Error(diff)
	}
	s.clock.Advance(7*time.Hour + 30*time.Minute)
	work(t, c)
	actions := s.Actions()
	want := hawkbit.Order{Type: "forced", Window: &hawkbit.Window{Schedule: "0 30 4 13 11 ? 2026", Duration: "01:30:00", Timezone: "+09:00"}}
	if diff := cmp.Diff(want, actions[1].Order); diff != "" || len(actions) != 2 {
		t.Errorf("%d actions; %s", len(actions), diff)
	}
	if got := read(t, c); len(got) != 1 || got["11"].State != mfpgate.DeliveryRunning {
		t.Errorf("assigned: %+v", got)
	}
	s.Report(12, "finished")
	if got := read(t, c); len(got) != 0 {
		t.Errorf("finished: %+v", got)
	}
	if rows, _ := s.log.Pending(t.Context()); len(rows) != 1 || rows[0].Move != nil {
		t.Errorf("the log has %+v", rows)
	}
	if got := outcome(t, c, "p1"); got.State != mfpgate.ChangeApplied {
		t.Errorf("in the end: %+v", got)
	}
}

func TestMoveOfWhatIsHeldNeedsNoCall(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	work(t, c)
	if got := propose(t, c, move("p2", read(t, c)["11"], day(12, 18, 0))); got.State != mfpgate.ChangeApplied {
		t.Errorf("got %+v", got)
	}
	if next := work(t, c); !next.Equal(day(12, 18, 0)) || len(s.Writes()) != 1 {
		t.Errorf("held until %v; %v", next, s.Writes())
	}
}

func TestForceTimeMoves(t *testing.T) {
	s := begin(t)
	s.Assign("dev_a", 1, hawkbit.Order{Type: "timeforced", ForceTime: day(13, 1, 0).UnixMilli()})
	c := s.connect(t, func(o *hawkbit.Options) { o.Ahead = 10 * time.Minute })
	propose(t, c, move("p1", read(t, c)["11"], day(13, 2, 0)))
	work(t, c)
	s.Confirm()
	if next := work(t, c); !next.Equal(day(13, 1, 50)) {
		t.Errorf("held until %v", next)
	}
	s.clock.Advance(14 * time.Hour)
	work(t, c)
	if got := s.Actions()[1].Order; got.ForceTime != day(13, 2, 0).UnixMilli() || got.Window != nil {
		t.Errorf("got %+v", got)
	}
}

func TestWhatIsNotMoved(t *testing.T) {
	for _, c := range []struct {
		rule string
		act  func(*site) // between reading and proposing
		late func(*site) // between proposing and the work
		to   time.Time
		want mfpgate.ChangeState
		why  string
	}{
		{"an action that has gone", func(s *site) { s.Report(11, "finished") }, nil, day(12, 19, 0), mfpgate.ChangeConflict, "no active action"},
		{"another version", func(s *site) { s.clock.Advance(24 * time.Hour) }, nil, day(13, 19, 0), mfpgate.ChangeConflict, "another version"},
		{"a download that has begun", func(s *site) { s.Report(11, "download") }, nil, day(12, 19, 0), mfpgate.ChangeRejected, "running"},
		{"a start in the past", nil, nil, day(12, 11, 0), mfpgate.ChangeRejected, "too near"},
		{"an action that ends before the work", nil, func(s *site) { s.Report(11, "finished") }, day(12, 19, 0), mfpgate.ChangeConflict, "finished"},
		{"a download that begins before the work", nil, func(s *site) { s.Report(11, "download") }, day(12, 19, 0), mfpgate.ChangeConflict, "download"},
		{"a window that passes before the work", nil, func(s *site) { s.clock.Advance(24 * time.Hour) }, day(12, 19, 0), mfpgate.ChangeConflict, "changed since"},
		{"an operator cancels before the work", nil, func(s *site) { s.Cancel(11) }, day(12, 19, 0), mfpgate.ChangeConflict, "somebody else"},
		{"an operator assigns another before the work", nil, func(s *site) {
			s.Assign("dev_a", 2, hawkbit.Order{Type: "forced"})
		}, day(12, 19, 0), mfpgate.ChangeConflict, "somebody else"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, client, d := planned(t)
			if c.act != nil {
				c.act(s)
			}
			got := propose(t, client, move("p1", d, c.to))
			if c.late != nil {
				c.late(s)
				work(t, client)
				got = outcome(t, client, "p1")
			}
			if got.State != c.want || !strings.Contains(got.Reason, c.why) || len(s.Writes()) != 0 {
				t.Errorf("got %+v, told %v; want %s, %q", got, s.Writes(), c.want, c.why)
			}
			if again := propose(t, client, move("p1", d, c.to)); again != got {
				t.Errorf("the same again: %+v, want %+v", again, got)
			}
		})
	}
}

func TestDeviceThatDoesNotLetGo(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Report(11, "running")
	work(t, c)
	if got := outcome(t, c, "p1"); got.State != mfpgate.ChangeRejected || !strings.Contains(got.Reason, "let go") {
		t.Errorf("got %+v", got)
	}
	if got := read(t, c)["11"]; got.Version != d.Version || !got.Movable {
		t.Errorf("it is not as it was: %+v", got)
	}
}

func TestDeliveryThatEndsWhileItIsCancelled(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Report(11, "finished")
	work(t, c)
	if got := outcome(t, c, "p1"); got.State != mfpgate.ChangeConflict || len(read(t, c)) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestOperatorTakesOverWhatIsHeld(t *testing.T) {
	for _, seen := range []bool{true, false} { // by reading, or at the start alone
		s, c, d := planned(t)
		propose(t, c, move("p1", d, day(12, 19, 30)))
		work(t, c)
		s.Confirm()
		work(t, c)
		s.Assign("dev_a", 2, hawkbit.Order{Type: "forced", Window: nightly()})
		if seen {
			read(t, c)
		}
		s.clock.Advance(8 * time.Hour)
		work(t, c)
		if got := read(t, c); len(got) != 1 || got["12"].PackageVersion != "2.2" || len(s.Actions()) != 2 {
			t.Errorf("seen %v: got %+v", seen, got)
		}
	}
}

func TestWithdrawnIsPutBack(t *testing.T) {
	for _, c := range []struct {
		rule  string
		until func(*testing.T, *site, *hawkbit.Client)
		sent  int
	}{
		{"before anything is sent", func(*testing.T, *site, *hawkbit.Client) {}, 0},
		{"while the device has not confirmed", func(t *testing.T, s *site, c *hawkbit.Client) { work(t, c) }, 2},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s, client, d := planned(t)
			propose(t, client, move("p1", d, day(12, 19, 30)))
			c.until(t, s, client)
			if err := client.Withdraw(t.Context(), "p1"); err != nil {
				t.Fatal(err)
			}
			s.Confirm()
			work(t, client)
			if o, err := client.Outcome(t.Context(), "p1"); err != nil || !o.Withdrawn || o.Open() {
				t.Errorf("got %+v, %v", o, err)
			}
			if len(s.Writes()) != c.sent {
				t.Errorf("hawkBit was told %v", s.Writes())
			}
			got := read(t, client)
			if len(got) != 1 {
				t.Fatalf("got %+v", got)
			}
			for _, now := range got {
				if !now.Movable || !now.Schedule.Start.Equal(d.Schedule.Start) || !now.LatestEnd.Equal(d.LatestEnd) {
					t.Errorf("it is not as it was: %+v", now)
				}
			}
		})
	}
}

func TestProposalForAPersonStaysPending(t *testing.T) {
	s, c, d := planned(t)
	p := move("p1", d, day(12, 19, 30))
	p.Apply = false
	if got := propose(t, c, p); got.State != mfpgate.ChangePending || !strings.Contains(got.Reason, "at the gateway") {
		t.Errorf("got %+v", got)
	}
	work(t, c)
	if len(s.Writes()) != 0 {
		t.Errorf("hawkBit was told %v", s.Writes())
	}
	if err := c.Withdraw(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	if got := propose(t, c, move("p2", d, day(12, 19, 30))); got.State != mfpgate.ChangePending || got.Reason != "" {
		t.Errorf("applied: %+v", got)
	}
	if rows, _ := s.log.Pending(t.Context()); len(rows) != 1 {
		t.Errorf("the log has %+v", rows)
	}
}

func TestAssignmentThatHawkBitRefusesIsMadeAsItWas(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	work(t, c)
	refuse := 1
	s.Hook(func(method, _ string) int {
		if method == "POST" && refuse > 0 {
			refuse--
			return 400
		}
		return 0
	}, nil)
	s.clock.Advance(7*time.Hour + 30*time.Minute)
	work(t, c)
	if diff := cmp.Diff(hawkbit.Order{Type: "forced", Window: nightly()}, s.Actions()[1].Order); diff != "" {
		t.Error(diff)
	}
	if got := outcome(t, c, "p1"); !strings.Contains(got.Reason, "400") {
		t.Errorf("got %+v", got)
	}
}

func TestAssignmentThatCannotBeMadeIsShown(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	s.RemoveSet(1)
	work(t, c)
	s.clock.Advance(7*time.Hour + 30*time.Minute)
	work(t, c)
	if got := read(t, c)["11"]; got.State != mfpgate.DeliveryFailed {
		t.Errorf("got %+v", got)
	}
	s.Assign("dev_a", 2, hawkbit.Order{Type: "forced", Window: nightly()}) // a person sees to it
	if got := read(t, c); len(got) != 1 || got["12"].State == "" {
		t.Errorf("got %+v", got)
	}
}

func TestOneShotThatPassesUnusedIsPutBack(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	work(t, c)
	s.clock.Advance(7*time.Hour + 30*time.Minute)
	if next := work(t, c); !next.Equal(day(12, 21, 1)) {
		t.Errorf("looked after at %v", next)
	}
	s.clock.Advance(2 * time.Hour)
	work(t, c)
	s.Confirm()
	work(t, c)
	got := read(t, c)
	if d := got["13"]; len(got) != 1 || !d.Schedule.Start.Equal(day(13, 17, 0)) || !d.Movable {
		t.Errorf("got %+v", got)
	}
}

func TestGatewayThatSleptThroughTheWindow(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	work(t, c)
	s.clock.Advance(20 * time.Hour)
	work(t, s.connect(t, nil))
	if got := s.Actions(); len(got) != 2 || got[1].Order.Window.Schedule != nightly().Schedule {
		t.Errorf("got %+v", got)
	}
}

// twice is a delivery that was moved to 18:00, is assigned, and is on its way to 20:00.
func twice(t *testing.T) (*site, *hawkbit.Client) {
	t.Helper()
	s, _, d := planned(t)
	c := s.connect(t, func(o *hawkbit.Options) { o.Ahead = time.Hour })
	propose(t, c, move("p1", d, day(12, 18, 0)))
	work(t, c)
	s.Confirm()
	work(t, c)
	s.clock.Advance(5 * time.Hour)
	work(t, c) // 17:00: assigned for 18:00
	assigned := read(t, c)["11"]
	if !assigned.Movable || !assigned.Schedule.Start.Equal(day(12, 18, 0)) || !assigned.EarliestStart.Equal(day(12, 17, 0)) {
		t.Fatalf("assigned: %+v", assigned)
	}
	propose(t, c, move("p2", assigned, day(12, 20, 0)))
	return s, c
}

func TestSecondMoveThatDoesNotHappen(t *testing.T) {
	for rule, act := range map[string]func(*site, *hawkbit.Client){
		"withdrawn before anything is sent": func(_ *site, c *hawkbit.Client) { _ = c.Withdraw(t.Context(), "p2") },
		"withdrawn while it is cancelled": func(s *site, c *hawkbit.Client) {
			work(t, c)
			_ = c.Withdraw(t.Context(), "p2")
			s.Confirm()
		},
		"the device does not let go": func(s *site, c *hawkbit.Client) {
			work(t, c)
			s.Report(12, "running")
		},
	} {
		s, c := twice(t)
		act(s, c)
		work(t, c)
		if got := read(t, c); len(got) != 1 || !got["11"].Schedule.Start.Equal(day(12, 18, 0)) || !got["11"].Movable {
			t.Errorf("%s: got %+v", rule, got)
		}
		if got := outcome(t, c, "p2"); got.State == mfpgate.ChangePending || got.State == mfpgate.ChangeApplied {
			t.Errorf("%s: %+v", rule, got)
		}
	}
}

func TestSecondMoveOfWhatIsAssigned(t *testing.T) {
	s, c := twice(t)
	work(t, c)
	s.Confirm()
	work(t, c)
	s.clock.Advance(2 * time.Hour)
	work(t, c)
	actions := s.Actions()
	if w := actions[2].Order.Window; len(actions) != 3 || w.Schedule != "0 0 5 13 11 ? 2026" || w.Duration != "01:00:00" {
		t.Errorf("got %+v", w)
	}
	if got := read(t, c); len(got) != 1 || !got["11"].Schedule.Start.Equal(day(12, 20, 0)) {
		t.Errorf("got %+v", got)
	}
}
