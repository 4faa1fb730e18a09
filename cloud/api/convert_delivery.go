package api

import (
	"time"

	"github.com/mfpgate/mfpgate"
)

// Root returns the contract as far as schedules go. etag is its version, without quotes.
func (c Contract) Root(etag string) mfpgate.Contract {
	r := mfpgate.Contract{
		ID: c.ContractID, Version: etag, Mode: mfpgate.ScheduleMode(c.Mode), MaxConcurrent: c.MaxConcurrent,
		LeadTime: time.Duration(c.LeadTime), Slot: time.Duration(c.Slot), MaxMove: time.Duration(c.MaxMove),
		NotifyMinExcess: c.NotifyMinExcess, TimeZone: c.TimeZone, Services: c.Services,
	}
	for _, rule := range c.CapacityCalendar {
		r.CapacityCalendar = append(r.CapacityCalendar, mfpgate.CapacityRule(rule))
	}
	return r
}

// FromContract is the reverse of Root. What the root does not know of (fetch times, polling) is missing.
func FromContract(r mfpgate.Contract) Contract {
	c := Contract{
		ContractID: r.ID, Mode: string(r.Mode), MaxConcurrent: r.MaxConcurrent, CapacityCalendar: []CapacityRule{},
		LeadTime: Duration(r.LeadTime), Slot: Duration(r.Slot), MaxMove: Duration(r.MaxMove),
		NotifyMinExcess: r.NotifyMinExcess, TimeZone: r.TimeZone, Services: orEmpty(r.Services),
	}
	for _, rule := range r.CapacityCalendar {
		c.CapacityCalendar = append(c.CapacityCalendar, CapacityRule(rule))
	}
	return c
}

// Root returns the delivery. One without a state is planned, one that does not say so is movable.
func (d Delivery) Root() mfpgate.Delivery {
	r := mfpgate.Delivery{
		ID: d.DeliveryID, Device: mfpgate.DeviceID(d.DeviceID), Via: d.ViaGatewayID, Batch: d.BatchID, Kind: d.Kind,
		Model: d.Model, Package: d.PackageID, PackageVersion: d.PackageVersion,
		State: mfpgate.DeliveryState(d.State), Version: string(d.Version), Schedule: d.Schedule.root(),
		Bytes: d.Bytes, Priority: d.Priority, Movable: d.Movable == nil || *d.Movable, PinnedReason: d.PinnedReason,
	}
	if r.State == "" {
		r.State = mfpgate.DeliveryPlanned
	}
	if w := d.Window; w != nil {
		r.EarliestStart, r.LatestEnd = orZero(w.EarliestStart), orZero(w.LatestEnd)
		for _, b := range w.Blackouts {
			r.Blackouts = append(r.Blackouts, b.Root())
		}
	}
	if e := d.Duration; e != nil {
		r.Duration = mfpgate.DurationEstimate{P50: time.Duration(e.P50), P95: time.Duration(e.P95),
			Basis: mfpgate.DurationBasis(e.Basis), Samples: e.Samples}
	}
	if d.Retry != nil {
		r.Retry = mfpgate.Retry{Interval: time.Duration(d.Retry.Interval), Max: d.Retry.Max}
	}
	return r
}

// FromDelivery is the reverse of Root.
func FromDelivery(r mfpgate.Delivery) Delivery {
	d := Delivery{
		DeliveryID: r.ID, DeviceID: string(r.Device), ViaGatewayID: r.Via, BatchID: r.Batch, Kind: r.Kind, Model: r.Model,
		PackageID: r.Package, PackageVersion: r.PackageVersion, State: string(r.State), Version: Version(r.Version),
		Schedule: fromSchedule(r.Schedule), Bytes: r.Bytes, Priority: r.Priority, PinnedReason: r.PinnedReason,
	}
	if !r.Movable {
		d.Movable = new(bool)
	}
	if !r.EarliestStart.IsZero() || !r.LatestEnd.IsZero() || len(r.Blackouts) > 0 {
		d.Window = &StartWindow{EarliestStart: instant(r.EarliestStart), LatestEnd: instant(r.LatestEnd)}
		for _, b := range r.Blackouts {
			d.Window.Blackouts = append(d.Window.Blackouts, FromInterval(b))
		}
	}
	if r.Duration != (mfpgate.DurationEstimate{}) {
		d.Duration = &Estimate{P50: Duration(r.Duration.P50), P95: Duration(r.Duration.P95),
			Basis: string(r.Duration.Basis), Samples: r.Duration.Samples}
	}
	if r.Retry != (mfpgate.Retry{}) {
		d.Retry = &Retry{Interval: Duration(r.Retry.Interval), Max: r.Retry.Max}
	}
	return d
}

// Root returns the background schedule.
func (b BackgroundSchedule) Root() mfpgate.Background {
	r := mfpgate.Background{
		ID: b.ServiceID, Kind: b.Kind, Cron: b.Cron, RRule: b.RRule,
		Schedule:   mfpgate.LocalSchedule{Local: b.Local, TimeZone: b.TimeZone, Gap: b.Gap, Fold: b.Fold, Start: orZero(b.StartUTC)},
		AllDevices: b.Devices.Every(), Concurrency: b.Concurrency, Duration: time.Duration(b.Duration), Jitter: time.Duration(b.Jitter),
	}
	if !r.AllDevices {
		for _, id := range b.Devices {
			r.Devices = append(r.Devices, mfpgate.DeviceID(id))
		}
	}
	return r
}

// FromBackground is the reverse of Root.
func FromBackground(r mfpgate.Background) BackgroundSchedule {
	b := BackgroundSchedule{
		ServiceID: r.ID, Kind: r.Kind, Cron: r.Cron, RRule: r.RRule, TimeZone: r.Schedule.TimeZone, Local: r.Schedule.Local,
		StartUTC: instant(r.Schedule.Start), Gap: r.Schedule.Gap, Fold: r.Schedule.Fold,
		Concurrency: r.Concurrency, Duration: Duration(r.Duration), Jitter: Duration(r.Jitter),
	}
	if r.AllDevices {
		b.Devices = DeviceSelector{All}
	}
	for _, id := range r.Devices {
		b.Devices = append(b.Devices, string(id))
	}
	return b
}

func (s Schedule) root() mfpgate.LocalSchedule {
	return mfpgate.LocalSchedule{Local: s.Local, TimeZone: s.TimeZone, Gap: s.Gap, Fold: s.Fold, RRule: s.RRule, Start: orZero(s.StartUTC)}
}

func fromSchedule(r mfpgate.LocalSchedule) Schedule {
	return Schedule{Local: r.Local, TimeZone: r.TimeZone, Gap: r.Gap, Fold: r.Fold, RRule: r.RRule, StartUTC: instant(r.Start)}
}

// Root returns the interval.
func (s Span) Root() mfpgate.Interval { return mfpgate.Interval{From: s.From, To: s.To} }

// FromInterval is the reverse of Root.
func FromInterval(r mfpgate.Interval) Span { return Span{From: r.From.UTC(), To: r.To.UTC()} }

// orZero reads a missing time as zero.
func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// orEmpty writes no list as an empty one: readers in other languages stumble over null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
