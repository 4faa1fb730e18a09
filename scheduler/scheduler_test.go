package scheduler_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler"
)

func TestModes(t *testing.T) {
	for _, c := range []struct {
		rule                 string
		configured, contract mfpgate.ScheduleMode
		effective            mfpgate.ScheduleMode
		want                 string
	}{
		{"notify reports", mfpgate.ScheduleNotify, mfpgate.ScheduleAuto, mfpgate.ScheduleNotify, "report of 1; "},
		{"propose waits for a person", mfpgate.SchedulePropose, mfpgate.ScheduleAuto, mfpgate.SchedulePropose, "report of 1; proposal of 3 3 pending; "},
		{"auto applies, and closes the warning", mfpgate.ScheduleAuto, mfpgate.ScheduleAuto, mfpgate.ScheduleAuto, "report of 1; report of 0; proposal of 3 3 applied; "},
		{"the contract narrows", mfpgate.ScheduleAuto, mfpgate.ScheduleNotify, mfpgate.ScheduleNotify, "report of 1; "},
		{"a mode that nobody knows allows the least", mfpgate.ScheduleAuto, "magic", mfpgate.ScheduleNotify, "report of 1; "},
	} {
		within(t, func(g *gateway) {
			g.policy.Mode, g.site.contract.Mode = c.configured, c.contract
			g.crowd(5)
			g.start()
			g.pass(3 * time.Hour)
			g.told(c.rule, c.want)
			st := g.Status()
			if st.Effective != c.effective || (st.Why != "") != (c.effective != c.configured) || st.Error != "" {
				g.t.Errorf("%s: %q because %q, error %q", c.rule, st.Effective, st.Why, st.Error)
			}
		})
	}
}

func TestNothingNewIsSaidOnce(t *testing.T) {
	within(t, func(g *gateway) {
		for i := range 5 {
			d := delivery(i, 0)
			d.Schedule.Start = d.Schedule.Start.AddDate(0, 0, 3)
			g.office.put(d)
		}
		g.start()
		g.pass(30 * time.Hour)
		g.told("thirty hours of hourly fetches", "report of 1; proposal of 3 3 pending; ")
		if n := g.office.calls["changes"]; n < 30 || n > 33 {
			g.t.Errorf("%d fetches in thirty hours", n)
		}
		if got := g.metrics.Value("mfpgate_scheduler_overload_bands", "certainty", "certain"); got != 1 {
			g.t.Errorf("%v bands in the metrics", got)
		}
		g.stop()
		g.start()
		g.pass(3 * time.Hour)
		g.told("and a restart", "report of 1; proposal of 3 3 pending; ")
	})
}

func TestIdle(t *testing.T) {
	for _, c := range []struct {
		why  mfpgate.Reason
		make func(*premises)
		mend func(*premises)
	}{
		{scheduler.NoContract, func(p *premises) { p.contract = nil }, func(p *premises) {
			p.contract = &mfpgate.Contract{Version: "c1", Services: []string{mfpgate.ServiceDelivery}}
		}},
		{scheduler.NotInContract, func(p *premises) { p.contract.Services = []string{"other"} }, func(p *premises) {
			c := *p.contract
			c.Services = []string{mfpgate.ServiceDelivery}
			p.contract = &c
		}},
		{scheduler.NoProxyDevices, func(p *premises) { p.devices = p.devices[:0:0] }, func(p *premises) {
			p.devices = []mfpgate.ScheduledDevice{{ID: device(1), MonitoringMode: mfpgate.MonitoringProxy}}
		}},
		{scheduler.ModesNotTold, func(p *premises) { p.untold = true }, func(p *premises) { p.untold = false }},
	} {
		within(t, func(g *gateway) {
			c.make(g.site)
			g.start()
			g.pass(5 * time.Hour)
			if st := g.Status(); st.Idle != c.why || st.IdleText == "" || len(g.office.calls) != 0 {
				g.t.Errorf("%q (%s), want %q and no call: %v", st.Idle, st.IdleText, c.why, g.office.calls)
			}
			if err := g.Refresh(g.t.Context()); !errors.Is(err, scheduler.ErrIdle) {
				g.t.Errorf("refresh: %v", err)
			}
			g.site.set(c.mend)
			g.Wake()
			g.pass(time.Second)
			if st := g.Status(); st.Idle != "" || g.office.calls["changes"] != 1 {
				g.t.Errorf("after %q ended: %q, %v", c.why, st.Idle, g.office.calls)
			}
			g.office.put(delivery(1, 0))
			g.pass(2 * time.Second)
			if g.office.calls["changes"] != 2 {
				g.t.Errorf("after %q ended, what was planned then was not heard of: %v", c.why, g.office.calls)
			}
		})
	}
}

func TestEventsWake(t *testing.T) {
	within(t, func(g *gateway) {
		g.start()
		g.pass(30 * time.Minute)
		g.told("no overload is reported once, so that what an earlier gateway reported is closed", "report of 0; ")
		g.crowd(5)
		g.pass(15 * time.Second)
		g.told("an event is heard within seconds", "report of 0; report of 1; proposal of 3 3 pending; ")
		g.office.remove("d0")
		g.office.remove("d1")
		g.office.remove("d2")
		g.pass(15 * time.Second)
		g.told("what is removed closes", "report of 0; report of 1; report of 0; proposal of 3 3 pending withdrawn; ")
	})
}

func TestAnOperatorAsks(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleNotify
		g.crowd(5)
		g.start()
		g.pass(30 * time.Minute)
		g.told("notify", "report of 1; ")
		g.office.request()
		g.pass(4 * time.Hour)
		g.told("what is asked for is proposed, not applied, and stays", "report of 1; proposal of 3 3 pending; ")
		g.office.rule(g.office.open()[0], func(string) bool { return true })
		g.pass(3 * time.Hour)
		g.told("and no more than once", "report of 1; report of 0; proposal of 3 3 applied; ")
	})
}

func TestRejectedStartsAreNotProposedAgain(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(4)
		g.start()
		g.pass(30 * time.Minute)
		g.told("two must leave", "report of 1; proposal of 2 2 pending; ")
		g.office.rule(g.office.open()[0], func(id string) bool { return false })
		g.pass(2 * time.Hour)
		g.told("others are proposed in their place", "report of 1; proposal of 2 2 rejected; proposal of 2 2 pending; ")
		if st := g.Status(); st.Rejected != 2 || st.Proposal.Changes[0].Delivery != "d2" {
			g.t.Errorf("%d rejected, then %v", st.Rejected, st.Proposal.Changes)
		}
		g.office.rule(g.office.open()[0], func(id string) bool { return false })
		g.stop()
		g.start()
		g.pass(2 * time.Hour)
		g.told("nobody may be moved, across a restart", "report of 1; proposal of 2 2 rejected; proposal of 2 2 rejected; ")
		d := delivery(1, 0)
		d.Priority = 3
		g.office.put(d)
		g.pass(time.Minute)
		g.told("a new version may", "report of 1; proposal of 2 2 rejected; proposal of 2 2 rejected; proposal of 1 1 pending; ")
		if got := g.metrics.Value("mfpgate_scheduler_changes_total", "state", "rejected"); got != 4 {
			g.t.Errorf("%v rejected changes in the metrics", got)
		}
	})
}

func TestAnotherOverloadMayMoveWhatWasRejected(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(3)
		g.start()
		g.pass(30 * time.Minute)
		g.office.rule(g.office.open()[0], func(id string) bool { return false })
		g.pass(time.Minute)
		g.site.set(func(p *premises) { p.capacity = 1 })
		g.pass(2 * time.Hour)
		if p := g.Status().Proposal; !p.Open || p.Changes[0].Delivery != "d0" {
			g.t.Errorf("got %v, want the rejected delivery's move: the room is smaller", p)
		}
	})
}

func TestConflictsAreReplanned(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleAuto
		g.crowd(5)
		once := false
		g.office.fail = func(call string) error { // between the fetch and the proposal
			if call == "propose" && !once {
				once = true
				g.office.mu.Lock()
				d := g.office.deliveries["d1"]
				d.Priority = 7
				g.office.set(d)
				g.office.mu.Unlock()
			}
			return nil
		}
		g.start()
		g.pass(10 * time.Minute)
		g.told("what conflicts is planned from its new version", "report of 1; report of 1; report of 0; proposal of 3 2 applied 1 conflict; proposal of 1 1 applied; ")
	})
}

func TestStaleProposalsAreBounded(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleAuto
		g.crowd(5)
		g.office.meet = func(mfpgate.Proposal) (*mfpgate.ProposalOutcome, error) {
			return nil, fmt.Errorf("snapshot: %w", mfpgate.ErrStale)
		}
		g.start()
		g.pass(10 * time.Minute)
		if n := g.office.calls["propose"]; n != 1+scheduler.MaxReplans {
			g.t.Errorf("%d proposals of stale versions, want %d", n, 1+scheduler.MaxReplans)
		}
		g.office.mu.Lock()
		g.office.meet = nil
		g.office.mu.Unlock()
		g.pass(time.Hour)
		g.told("the next scheduled run begins anew", "report of 1; report of 0; proposal of 3 3 applied; ")
	})
}

func TestConflictsWithoutEndAreBounded(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleAuto
		g.crowd(5)
		g.office.meet = func(p mfpgate.Proposal) (*mfpgate.ProposalOutcome, error) {
			out := &mfpgate.ProposalOutcome{ID: p.ID}
			for _, c := range p.Changes {
				out.Changes = append(out.Changes, mfpgate.ChangeOutcome{Change: c.ID, Delivery: c.Delivery, State: mfpgate.ChangeExpired})
			}
			g.office.tell(mfpgate.EventProposalDecided, p.ID)
			return out, nil
		}
		g.start()
		g.pass(4 * time.Hour)
		if n := g.office.calls["propose"]; n < 4 || n > 5*(1+scheduler.MaxReplans) {
			g.t.Errorf("%d proposals in four hours", n)
		}
	})
}

func TestANewerProposalTakesTheOldOnesPlace(t *testing.T) {
	within(t, func(g *gateway) {
		g.crowd(4)
		g.start()
		g.pass(time.Minute)
		g.office.put(delivery(4, 0))
		g.pass(time.Minute)
		g.told("withdrawn first", "report of 1; report of 1; proposal of 2 2 pending withdrawn; proposal of 3 3 pending; ")
		g.policy.Mode = mfpgate.ScheduleNotify
		g.Reconfigure(g.policy)
		g.pass(time.Minute)
		g.told("in mode notify none is left", "report of 1; report of 1; proposal of 2 2 pending withdrawn; proposal of 3 3 pending withdrawn; ")
	})
}

func TestByHand(t *testing.T) {
	within(t, func(g *gateway) {
		g.policy.Mode = mfpgate.ScheduleNotify
		g.start()
		g.pass(time.Minute)
		if _, err := g.Propose(g.t.Context()); !errors.Is(err, scheduler.ErrNothing) {
			g.t.Errorf("without an overload: %v", err)
		}
		g.crowd(5)
		p, err := g.Propose(g.t.Context())
		if err != nil || len(p.Changes) != 3 || !p.Open {
			g.t.Fatalf("%v, %v", p, err)
		}
		again, err := g.Propose(g.t.Context())
		if err != nil || again.ID != p.ID {
			g.t.Errorf("asked twice: %v, %v", again, err)
		}
		if _, err := g.Apply(g.t.Context(), "other"); !errors.Is(err, scheduler.ErrNoProposal) {
			g.t.Errorf("another id: %v", err)
		}
		g.site.set(func(s *premises) { c := *s.contract; c.Mode = mfpgate.SchedulePropose; s.contract = &c })
		if _, err := g.Apply(g.t.Context(), p.ID); !errors.Is(err, scheduler.ErrNotAllowed) {
			g.t.Errorf("a contract that does not allow it: %v", err)
		}
		g.site.set(func(s *premises) { c := *s.contract; c.Mode = mfpgate.ScheduleAuto; s.contract = &c })
		if _, err := g.Apply(g.t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		g.pass(time.Minute)
		if st := g.Status(); st.Proposal.Open || len(st.Proposal.Outcome.Changes) != 3 || st.Proposal.Outcome.Changes[2].State != mfpgate.ChangeApplied || len(st.Bands) != 0 {
			g.t.Errorf("%+v", st.Proposal)
		}
		g.pass(3 * time.Hour)
		g.told("applied once, the offer withdrawn", "report of 0; report of 1; report of 0; proposal of 3 3 pending withdrawn; proposal of 3 3 applied; ")
		if _, err := g.Apply(g.t.Context(), g.Status().Proposal.ID); !errors.Is(err, scheduler.ErrNoProposal) {
			g.t.Errorf("one that is decided: %v", err)
		}
	})
}
