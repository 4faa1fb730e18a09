package scheduler_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler"
)

// simple is a planner for deliveries of one start each, that begin on full minutes: it finds what exceeds the first capacity,
// and moves what is movable to the next minute with room, in the order of ids.
type simple struct{}

func (simple) Make(s mfpgate.ScheduleSnapshot) (mfpgate.SchedulePlan, error) {
	if len(s.Deliveries) > 0 && s.Deliveries[0].Package == "unplannable" {
		return mfpgate.SchedulePlan{}, errors.New("not a snapshot")
	}
	proxied := map[mfpgate.DeviceID]bool{}
	for _, d := range s.Devices {
		proxied[d.ID] = d.MonitoringMode == mfpgate.MonitoringProxy
	}
	capacity := s.Capacity[0].Devices
	if s.Contract.MaxConcurrent > 0 {
		capacity = min(capacity, s.Contract.MaxConcurrent)
	}
	var p mfpgate.SchedulePlan
	load := map[time.Time]int{}
	each := func(d mfpgate.Delivery, at time.Time, n int) (peak int) {
		for m := at.Truncate(time.Minute); m.Before(at.Add(d.Duration.P95)); m = m.Add(time.Minute) {
			load[m] += n
			peak = max(peak, load[m])
		}
		return peak
	}
	var counted []mfpgate.Delivery
	for _, d := range s.Deliveries {
		switch {
		case d.State != mfpgate.DeliveryPlanned && d.State != mfpgate.DeliveryRunning:
		case !proxied[d.Device]:
			p.LeftOut = append(p.LeftOut, mfpgate.LeftOut{Delivery: d.ID, Device: d.Device, Reason: "polling-mode"})
		case d.Schedule.Start.Add(d.Duration.P95).After(s.Now):
			counted = append(counted, d)
			each(d, d.Schedule.Start, 1)
		}
	}
	var over []time.Time
	for at, n := range load {
		if n > capacity && at.Add(time.Minute).After(s.Now) {
			over = append(over, at)
		}
	}
	slices.SortFunc(over, time.Time.Compare)
	for _, at := range over {
		if n := len(p.Bands); n > 0 && p.Bands[n-1].To.Equal(at) {
			p.Bands[n-1].To, p.Bands[n-1].Peak = at.Add(time.Minute), max(p.Bands[n-1].Peak, load[at])
			continue
		}
		p.Bands = append(p.Bands, mfpgate.Band{From: at, To: at.Add(time.Minute), Capacity: capacity, Peak: load[at], Certainty: mfpgate.OverloadCertain, Probability: 1})
	}
	for i := range p.Bands {
		p.Bands[i].ID = "b-" + p.Bands[i].From.Format("021504") + p.Bands[i].To.Format("1504")
	}
	if s.Contract.Mode == mfpgate.ScheduleNotify || s.Contract.Mode == "" {
		return p, nil
	}
	slices.SortFunc(counted, func(a, b mfpgate.Delivery) int { return strings.Compare(a.ID, b.ID) })
	for _, d := range counted {
		at := d.Schedule.Start
		peak := each(d, at, 0)
		if peak <= capacity || !d.Movable || at.Before(s.Now.Add(s.Contract.LeadTime)) {
			continue
		}
		band := ""
		for _, b := range p.Bands {
			if b.From.Before(at.Add(d.Duration.P95)) && at.Before(b.To) {
				band = b.ID
			}
		}
		each(d, at, -1)
		to := at
		for each(d, to, 1) > capacity {
			each(d, to, -1)
			to = to.Add(time.Minute)
		}
		p.Proposal.Changes = append(p.Proposal.Changes, mfpgate.Change{ID: "c-" + d.ID, Delivery: d.ID, Version: d.Version, From: at, To: to, Code: mfpgate.ChangeOverload, Band: band})
	}
	p.Proposal.Quality.Solver = "simple"
	return p, nil
}

func (simple) Timeline(s mfpgate.ScheduleSnapshot, from, to time.Time, slot time.Duration) ([]scheduler.Slot, error) {
	return []scheduler.Slot{{From: from, To: to, Load: len(s.Deliveries)}}, nil
}

var _ = fmt.Sprint
