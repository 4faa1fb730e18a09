package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// Nights on which little fits cost no more than others: this took most of a minute where each unresolved delivery looked at all.
func TestCrowdedNightsEnd(t *testing.T) {
	const n = 100_000
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	s := mfpgate.ScheduleSnapshot{Now: now, Horizon: 14 * 24 * time.Hour, Contract: mfpgate.Contract{Mode: mfpgate.ScheduleAuto, MaxConcurrent: 20, LeadTime: time.Hour, NotifyMinExcess: 1}}
	for i := range n {
		at := now.Add(26*time.Hour + time.Duration(i%300)*10*time.Minute)
		s.Deliveries = append(s.Deliveries, mfpgate.Delivery{ID: fmt.Sprintf("d%06d", i), Device: mfpgate.DeviceID(fmt.Sprintf("m%06d", i%(n/2))),
			State: mfpgate.DeliveryPlanned, Version: "1", Movable: true, Schedule: mfpgate.LocalSchedule{Start: at},
			EarliestStart: at.Add(-3 * time.Hour), LatestEnd: at.Add(8 * time.Hour),
			Duration: mfpgate.DurationEstimate{P50: 5 * time.Minute, P95: time.Duration(2+i%20) * time.Minute}})
	}
	began := time.Now()
	p, err := plan.Make(s, plan.Options{Work: 10_000_000})
	if took := time.Since(began); err != nil || len(p.Proposal.Unresolved) < n/2 || took > 15*time.Second {
		t.Errorf("%d unresolved after %v, %v", len(p.Proposal.Unresolved), took, err)
	}
	t.Logf("%d changes, %d unresolved, %v", len(p.Proposal.Changes), len(p.Proposal.Unresolved), time.Since(began))
}
