package schedule_test

import (
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestSixtyDeliveriesAndTenPlaces(t *testing.T) {
	for number, run := range []struct {
		rule  string
		mode  mfpgate.ScheduleMode
		act   func(*testing.T, *scene)
		least int // failures
		most  int
	}{
		{"without the gateway's help many fail", mfpgate.ScheduleNotify, nil, devices / 5, devices},
		{"with proposals that an operator accepts none fails", mfpgate.SchedulePropose, accept, 0, 0},
		{"with changes that the gateway has applied none fails", mfpgate.ScheduleAuto, nil, 0, 0},
	} {
		t.Run(run.rule, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, number+1, run.mode)
			s.plan(t)
			if run.act != nil {
				run.act(t, s)
			}
			failed := s.end(t)
			t.Logf("mode %s: %d of %d deliveries failed; at most %d devices were served at once, %v turns waited for", run.mode, failed, devices, s.busiest,
				s.gateway.Metric(t, "mfpgate_relay_queue_turns_total"))
			for _, name := range []string{"scheduler.ran","scheduler.reported","scheduler.proposed","scheduler.decided"} {
				for _, e := range s.gateway.Log.Events(name) {
					t.Log(e)
				}
			}
			s.tell(t)
			if failed < run.least || failed > run.most {
				t.Errorf("%d deliveries failed, want %d to %d", failed, run.least, run.most)
				s.tell(t)
			}
			if s.busiest > capacity {
				t.Errorf("%d devices were served at once, %d may be", s.busiest, capacity)
			}
		})
	}
}

// accept accepts the proposals that the gateway makes, until it reports no overload.
func accept(t *testing.T, s *scene) {
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

// warnings is how many overloads are reported and open.
func (s *scene) warnings(t *testing.T) int {
	t.Helper()
	var list api.Page[api.Warning]
	s.call(t, "GET", "warnings?state=open", "", nil, &list)
	return len(list.Items)
}
