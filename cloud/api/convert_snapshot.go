package api

import (
	"time"

	"github.com/mfpgate/mfpgate"
)

// Root returns the snapshot. Its contract has no version.
func (s Snapshot) Root() mfpgate.ScheduleSnapshot {
	r := mfpgate.ScheduleSnapshot{
		Now: s.Now, Horizon: time.Duration(s.Horizon), Contract: s.Contract.whole().Root(""), DeltaToken: s.DeltaToken, Proposed: s.Proposed,
		Deliveries: make([]mfpgate.Delivery, 0, len(s.Deliveries)),
	}
	for _, c := range s.Capacity {
		r.Capacity = append(r.Capacity, mfpgate.CapacityStep(c))
	}
	if s.Devices != nil { // an empty list is another thing than none
		r.Devices = make([]mfpgate.ScheduledDevice, 0, len(s.Devices))
	}
	for _, d := range s.Devices {
		r.Devices = append(r.Devices, mfpgate.ScheduledDevice{ID: mfpgate.DeviceID(d.DeviceID), Model: d.Model,
			MonitoringMode: mfpgate.MonitoringMode(d.MonitoringMode), Attachment: mfpgate.Attachment(d.Attachment)})
	}
	for _, d := range s.Deliveries {
		r.Deliveries = append(r.Deliveries, d.Root())
	}
	for _, b := range s.Background {
		r.Background = append(r.Background, b.Root())
	}
	return r
}

// FromSnapshot writes a snapshot, so that a plan can be made again anywhere.
func FromSnapshot(r mfpgate.ScheduleSnapshot) Snapshot {
	s := Snapshot{
		Now: r.Now.UTC(), Horizon: Duration(r.Horizon), Contract: snapshotContract(FromContract(r.Contract)), DeltaToken: r.DeltaToken,
		Deliveries: make([]Delivery, 0, len(r.Deliveries)),
	}
	for _, c := range r.Capacity {
		s.Capacity = append(s.Capacity, SnapshotCapacity{At: c.At.UTC(), Devices: c.Devices})
	}
	if r.Devices != nil {
		s.Devices = make([]SnapshotDevice, 0, len(r.Devices))
	}
	for _, d := range r.Devices {
		s.Devices = append(s.Devices, SnapshotDevice{DeviceID: string(d.ID), Model: d.Model, MonitoringMode: string(d.MonitoringMode),
			Attachment: string(d.Attachment)})
	}
	for _, d := range r.Deliveries {
		s.Deliveries = append(s.Deliveries, FromDelivery(d))
	}
	for _, b := range r.Background {
		s.Background = append(s.Background, FromBackground(b))
	}
	if len(r.Proposed) > 0 {
		s.Proposed = make(map[string]time.Time, len(r.Proposed))
		for id, at := range r.Proposed {
			s.Proposed[id] = at.UTC()
		}
	}
	return s
}

// FromPlan writes a plan.
func FromPlan(r mfpgate.SchedulePlan) Plan {
	p := Plan{Bands: FromBands(r.Bands), Proposal: FromProposal(r.Proposal), BandsAfter: FromBands(r.BandsLeft),
		LeftOut: make([]LeftOut, 0, len(r.LeftOut))}
	for _, l := range r.LeftOut {
		p.LeftOut = append(p.LeftOut, LeftOut{DeliveryID: l.Delivery, DeviceID: string(l.Device), Reason: string(l.Reason)})
	}
	return p
}
