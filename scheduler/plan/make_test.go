package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func contract(max int) mfpgate.Contract {
	return mfpgate.Contract{ID: "c1", Mode: mfpgate.SchedulePropose, MaxConcurrent: max, LeadTime: time.Hour, Slot: 5 * time.Minute,
		MaxMove: 24 * time.Hour, NotifyMinExcess: 1, TimeZone: "Europe/Berlin", Services: []string{mfpgate.ServiceDelivery}}
}

func TestX(t *testing.T) {
	s := mfpgate.ScheduleSnapshot{Now: now, Contract: contract(50)}
	for i := range 63 {
		s.Deliveries = append(s.Deliveries, mfpgate.Delivery{ID: fmt.Sprintf("d%02d", i), Device: mfpgate.DeviceID(fmt.Sprintf("dev_%02d", i)),
			Batch: "B1", State: mfpgate.DeliveryPlanned, Movable: true, Version: "7",
			Schedule: mfpgate.LocalSchedule{Local: "2026-12-02T02:00:00", TimeZone: "Europe/Berlin"},
			Duration: mfpgate.DurationEstimate{P50: 9 * time.Minute, P95: 16 * time.Minute}})
	}
	p, err := plan.Make(s, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range p.Bands {
		t.Log(b.ID, b.Text)
	}
	for _, c := range p.Proposal.Changes {
		t.Log(c.Delivery, c.Text)
	}
	t.Logf("%+v", p.Proposal.Quality)
	t.Log(len(p.BandsLeft))
	x, err := plan.Explain(s, p, p.Proposal.Changes[0].Delivery)
	t.Log(x, err)
}
