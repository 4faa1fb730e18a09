package schedule_test

import (
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestSixtyDeliveriesAndTenPlaces(t *testing.T) {
	for number, run := range []struct {
		rule     string
		mode     mfpgate.ScheduleMode
		operator func(*testing.T, *scene) (act func()) // nil: nobody acts
		least    int                                   // failures
		most     int
	}{
		{"without the gateway's help many fail", mfpgate.ScheduleNotify, nil, devices / 5, devices},
		{"with an operator at the warning screen none fails", mfpgate.ScheduleNotify, adjust, 0, 0},
		{"with proposals that an operator accepts none fails", mfpgate.SchedulePropose, accept, 0, 0},
		{"with changes that the gateway has applied none fails", mfpgate.ScheduleAuto, nil, 0, 0},
	} {
		t.Run(run.rule, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, number+1, run.mode)
			act, early := func() {}, ahead
			if run.operator != nil {
				act, early = run.operator(t, s), ahead+acting
			}
			s.plan(t, early)
			act()
			o := s.end(t, number+1)
			t.Logf("mode %s: %d of %d deliveries failed, and %d of %d devices of another service; at most %d devices were served at once, %v turns were waited for",
				run.mode, o.failed, devices, o.refused, serviceAtOnce, s.busiest, s.gateway.Metric(t, "mfpgate_relay_queue_turns_total"))
			if o.failed < run.least || o.failed > run.most {
				t.Errorf("%d deliveries failed, want %d to %d", o.failed, run.least, run.most)
				s.tell(t)
			}
			if o.refused > run.most {
				t.Errorf("%d devices of another service were never served", o.refused)
			}
			if s.busiest > capacity {
				t.Errorf("%d devices were served at once, %d may be", s.busiest, capacity)
			}
			s.received(t, devices-o.failed)
			s.shows(t)
		})
	}
}

// adjust opens a browser for an operator who sees the warning screen and nothing else.
func adjust(t *testing.T, s *scene) func() {
	t.Helper()
	b := openTab(t, s)
	return func() {
		t.Helper()
		moves := b.adjust(s.first)
		others, forms := b.asked()
		t.Logf("the operator moved %d deliveries with %d forms by %v before the first crowd", moves, forms, s.first.Sub(mfpgate.SystemClock{}.Now()))
		if len(others) > 0 || forms == 0 {
			t.Errorf("%d forms were sent; besides the pages the browser asked for %q", forms, others)
		}
	}
}

// accept accepts the proposals that the gateway makes, until it reports no overload.
func accept(t *testing.T, s *scene) func() {
	t.Helper()
	return func() {
		t.Helper()
		rig.Until(t, "a proposal is there, accepted and applied", func() bool {
			var list api.Page[api.ProposalState]
			s.call(t, "GET", "change-proposals", "", nil, &list)
			done := false
			for _, p := range list.Items {
				done = done || p.State == "decided"
				if p.State != "pending" {
					continue
				}
				var whole api.ProposalState
				tag := s.call(t, "GET", "change-proposals/"+p.ProposalID, "", nil, &whole)
				s.call(t, "POST", "change-proposals/"+p.ProposalID+"/decision", tag, map[string]any{"accept": "all"}, &whole)
				done = false
			}
			return done && s.warnings(t) == 0
		})
	}
}

// warnings is how many overloads are reported and open.
func (s *scene) warnings(t *testing.T) int {
	t.Helper()
	var list api.Page[api.Warning]
	s.call(t, "GET", "warnings?state=open", "", nil, &list)
	return len(list.Items)
}
