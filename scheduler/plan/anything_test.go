package plan_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/plan"

	"github.com/mfpgate/mfpgate/tests/need"
)

// randomSnap is a small schedule with a little of everything: nights on which the clock changes, leap days, devices that several things come
// to, background above the capacity, slots that do not divide the hour.
func randomSnap(r *rand.Rand) mfpgate.ScheduleSnapshot {
	days := []time.Time{time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC), time.Date(2028, 2, 28, 20, 0, 0, 0, time.UTC), time.Date(2038, 1, 18, 20, 0, 0, 0, time.UTC), time.Date(2099, 12, 31, 20, 0, 0, 0, time.UTC)}
	now := days[r.IntN(len(days))].Add(time.Duration(r.IntN(3600)) * time.Second)
	slots := []time.Duration{0, 5 * time.Minute, 7 * time.Minute, 15 * time.Minute, 37 * time.Minute, time.Hour, 11 * time.Second * 30}
	s := mfpgate.ScheduleSnapshot{Now: now, Horizon: time.Duration(6+r.IntN(30)) * time.Hour, Contract: mfpgate.Contract{Mode: mfpgate.ScheduleAuto, MaxConcurrent: 1 + r.IntN(3),
		Slot: slots[r.IntN(len(slots))], LeadTime: time.Duration(r.IntN(3)) * time.Hour, MaxMove: time.Duration(r.IntN(4)) * 3 * time.Hour, NotifyMinExcess: r.IntN(2), TimeZone: "Europe/Berlin"}}
	if r.IntN(3) == 0 {
		s.Contract.CapacityCalendar = []mfpgate.CapacityRule{{RRule: "FREQ=DAILY", Start: "01:00", End: fmt.Sprintf("0%d:30", 2+r.IntN(3)), TimeZone: "Europe/Berlin", MaxConcurrent: r.IntN(2)}}
	}
	if r.IntN(3) == 0 {
		s.Capacity = []mfpgate.CapacityStep{{At: now.Add(-time.Hour), Devices: r.IntN(4)}, {At: now.Add(7 * time.Hour), Devices: r.IntN(4)}}
	}
	n := 1 + r.IntN(14)
	for i := range n {
		d := mfpgate.Delivery{ID: fmt.Sprintf("d%02d", i), Device: mfpgate.DeviceID(fmt.Sprintf("m%02d", r.IntN(n+r.IntN(3*n)))), Version: "1", State: mfpgate.DeliveryPlanned, Movable: r.IntN(8) > 0, Batch: fmt.Sprint("b", r.IntN(3)), Priority: r.IntN(10)}
		at := now.Add(time.Duration(r.IntN(10)-1) * time.Hour).Truncate(time.Minute)
		d.Schedule.Start = at
		if r.IntN(3) == 0 {
			d.Schedule = mfpgate.LocalSchedule{Local: now.Add(6*time.Hour).Format("2006-01-02") + fmt.Sprintf("T0%d:%02d:00", 1+r.IntN(3), r.IntN(60)), TimeZone: "Europe/Berlin"}
		}
		if r.IntN(12) == 0 {
			d.Schedule = mfpgate.LocalSchedule{Local: now.Format("2006-01-02") + "T22:00:00", TimeZone: "Europe/Berlin", RRule: "FREQ=HOURLY;INTERVAL=3"}
		}
		d.Duration = mfpgate.DurationEstimate{P50: time.Duration(r.IntN(40)-1) * time.Minute, P95: time.Duration(r.IntN(90)-1) * time.Minute}
		if r.IntN(12) == 0 {
			d.State = mfpgate.DeliveryRunning
		}
		if r.IntN(2) == 0 {
			d.EarliestStart = at.Add(-time.Duration(r.IntN(200)) * time.Minute)
		}
		if r.IntN(2) == 0 {
			d.LatestEnd = at.Add(time.Duration(r.IntN(600)) * time.Minute)
		}
		for range r.IntN(3) {
			f := at.Add(time.Duration(r.IntN(300)-100) * time.Minute)
			d.Blackouts = append(d.Blackouts, mfpgate.Interval{From: f, To: f.Add(time.Duration(1+r.IntN(60)) * time.Minute)})
		}
		s.Deliveries = append(s.Deliveries, d)
	}
	for i := range r.IntN(3) {
		b := mfpgate.Background{ID: fmt.Sprint("s", i), Cron: fmt.Sprintf("%d */%d * * *", r.IntN(60), 1+r.IntN(4)), Duration: time.Duration(1+r.IntN(40)) * time.Minute, Jitter: time.Duration(r.IntN(20)) * time.Minute}
		switch r.IntN(3) {
		case 0:
			b.AllDevices = true
		case 1:
			b.Concurrency = 1 + r.IntN(5)
		default:
			b.Devices = []mfpgate.DeviceID{"m00", "m01", "other"}
		}
		s.Background = append(s.Background, b)
	}
	return s
}

func excess(bands []mfpgate.Band) (sum time.Duration) {
	for _, b := range bands {
		sum += b.Excess
	}
	return sum
}

// TestPlansOfAnything holds plans against what every plan promises, whatever there is to plan.
func TestPlansOfAnything(t *testing.T) {
	for seed := range need.Seeds(400) {
		r := rand.New(rand.NewPCG(seed, 99))
		s := randomSnap(r)
		o := plan.Options{Work: []int64{1, 1000, 3_000_000}[r.IntN(3)]}
		p, err := plan.Make(s, o)
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			continue
		}
		q := s
		q.Deliveries, q.Background = slices.Clone(s.Deliveries), slices.Clone(s.Background)
		r.Shuffle(len(q.Deliveries), func(i, j int) { q.Deliveries[i], q.Deliveries[j] = q.Deliveries[j], q.Deliveries[i] })
		r.Shuffle(len(q.Background), func(i, j int) { q.Background[i], q.Background[j] = q.Background[j], q.Background[i] })
		again, err := plan.Make(q, o)
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Errorf("seed %d: the order of the lists matters: %v %s", seed, err, diff)
		}
		by := map[string]mfpgate.Delivery{}
		for _, d := range s.Deliveries {
			by[d.ID] = d
		}
		for _, c := range p.Proposal.Changes {
			if broken := broken(s, by[c.Delivery], c); broken != "" {
				t.Errorf("seed %d: %s: %+v", seed, broken, c)
			}
		}
		// What is unresolved stays, and is not in the load that the others are planned against.
		aside := s
		aside.Deliveries = slices.DeleteFunc(slices.Clone(s.Deliveries), func(d mfpgate.Delivery) bool {
			return slices.ContainsFunc(p.Proposal.Unresolved, func(u mfpgate.Unresolved) bool { return u.Delivery == d.ID })
		})
		before, _, err := plan.Detect(aside)
		if err != nil {
			t.Fatal(err)
		}
		after, _, err := plan.Detect(plan.With(aside, p.Proposal.Changes))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(p.Proposal.Changes); n > 0 && (excess(after) > excess(before) || excess(after) == excess(before) && len(p.Proposal.Unresolved) == 0) {
			t.Errorf("seed %d: %d moves are in vain: %v above the capacity before, and %v after", seed, n, excess(before), excess(after))
		}
		if s.Contract.NotifyMinExcess <= 1 {
			for _, b := range after {
				if !slices.ContainsFunc(before, func(o mfpgate.Band) bool { return !b.From.After(o.To) && !o.From.After(b.To) }) {
					t.Errorf("seed %d: an overload that was not there: %s", seed, b.Text)
				}
			}
		}
		if len(p.Proposal.Unresolved) == 0 && len(p.Proposal.Changes) > 0 {
			next, err := plan.Make(plan.With(s, p.Proposal.Changes), o)
			if err != nil || len(next.Proposal.Changes) > 0 {
				t.Errorf("seed %d: what was planned is planned anew: %v %+v", seed, err, next.Proposal.Changes)
			}
		}
	}
}

// broken is the rule that a change breaks.
func broken(s mfpgate.ScheduleSnapshot, d mfpgate.Delivery, c mfpgate.Change) string {
	slot, freeze := s.Contract.Slot, s.Now.Add(s.Contract.LeadTime)
	if slot == 0 {
		slot = 5 * time.Minute
	}
	end := c.To.Add(plan.Estimate(d).P95)
	switch {
	case !d.Movable, d.State != mfpgate.DeliveryPlanned, d.Schedule.RRule != "":
		return "what may not move does"
	case c.To.UnixMilli()%slot.Milliseconds() != 0:
		return "between slots"
	case c.To.Before(freeze) || c.From.Before(freeze):
		return "before the lead time"
	case !d.EarliestStart.IsZero() && c.To.Before(d.EarliestStart), !d.LatestEnd.IsZero() && end.After(d.LatestEnd):
		return "outside its window"
	case s.Contract.MaxMove > 0 && c.To.Sub(c.From).Abs() > s.Contract.MaxMove:
		return "too far"
	}
	for _, b := range d.Blackouts {
		if c.To.Before(b.To) && b.From.Before(end) {
			return "in a blackout"
		}
	}
	return ""
}
