package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// The night on which Berlin's clock goes back, at 01:00 UTC, from 03:00 to 02:00.
var night = time.Date(2026, 10, 24, 22, 0, 0, 0, time.UTC)

const (
	tick  = 10 * time.Second // all times are multiples of it
	ticks = 6 * 360          // the horizon: six hours
)

// drawing makes snapshots that are small enough to count every tick of them, and as tangled as they get.
type drawing struct{ *rand.Rand }

func (r drawing) one(percent int) bool { return r.IntN(100) < percent }

func (r drawing) pick(list ...string) string { return list[r.IntN(len(list))] }

func (r drawing) span(most int) api.Duration {
	return api.Duration(tick * time.Duration(1+r.IntN(most)))
}

func (r drawing) at(least, most int) time.Time {
	return night.Add(tick * time.Duration(least+r.IntN(most-least)))
}

func (r drawing) snapshot() api.Snapshot {
	var c api.SnapshotContract
	c.TimeZone, c.MaxConcurrent = "Europe/Berlin", 1+r.IntN(4)
	c.LeadTime, c.MaxMove = r.span(360), api.Duration(time.Duration(r.IntN(3))*time.Hour)
	c.Slot = []api.Duration{api.Duration(5 * time.Minute), api.Duration(15 * time.Minute), api.Duration(tick * 6)}[r.IntN(3)]
	c.NotifyMinExcess = 1 + max(0, r.IntN(5)-2)
	c.Mode = r.pick("propose", "propose", "auto", "notify")
	for range r.IntN(3) {
		c.CapacityCalendar = append(c.CapacityCalendar, api.CapacityRule{RRule: r.pick("FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SA", "FREQ=WEEKLY;BYDAY=SU"),
			Start: r.pick("00:30", "02:00", "02:15", "23:00"), End: r.pick("01:00", "02:30", "03:00", "23:30"),
			TimeZone: r.pick("Europe/Berlin", "UTC", "Asia/Tokyo"), MaxConcurrent: r.IntN(5)})
	}
	s := api.Snapshot{Now: night, Horizon: api.Duration(ticks * tick), Contract: c, DeltaToken: "t1"}
	devices := 4 + r.IntN(12)
	if r.one(50) {
		for i := range devices {
			s.Devices = append(s.Devices, api.SnapshotDevice{DeviceID: fmt.Sprintf("dev_%d", i), MonitoringMode: r.pick("proxy", "proxy", "proxy", "polling"),
				Attachment: r.pick("", "network", "network", "usb")})
		}
	}
	for i := range 1 + r.IntN(24) {
		device := fmt.Sprintf("dev_%d", r.IntN(devices+1)) // the last is not listed
		if r.one(40) {
			device = fmt.Sprintf("own_%d", i)
			if s.Devices != nil {
				s.Devices = append(s.Devices, api.SnapshotDevice{DeviceID: device, MonitoringMode: "proxy"})
			}
		}
		s.Deliveries = append(s.Deliveries, r.delivery(i, device))
	}
	for i := range r.IntN(3) {
		s.Background = append(s.Background, r.background(i))
	}
	for i := range r.IntN(3) {
		s.Capacity = append(s.Capacity, api.SnapshotCapacity{At: night.Add(time.Duration(i*90-60) * time.Minute), Devices: r.IntN(6)})
	}
	return s
}

func (r drawing) delivery(i int, device string) api.Delivery {
	d := api.Delivery{DeliveryID: fmt.Sprintf("d%02d", i), DeviceID: device, BatchID: r.pick("", "b1", "b2"), Version: api.Version(fmt.Sprint(i)),
		Priority: r.IntN(3), State: r.pick("", "planned", "planned", "planned", "planned", "running", "done"),
		Duration: &api.Estimate{P50: r.span(90), Basis: "history", Samples: 9}}
	d.Duration.P95 = d.Duration.P50 + api.Duration(tick*time.Duration(r.IntN(60)))
	switch at := r.at(-60, ticks+30); {
	case r.one(50): // crowds
		at = night.Add(time.Duration(1+r.IntN(4)) * time.Hour)
		d.Schedule.StartUTC = &at
	case r.one(40):
		d.Schedule.StartUTC = &at
	default:
		d.Schedule = api.Schedule{Local: fmt.Sprintf("2026-10-25T0%d:%d0:00", 1+r.IntN(3), r.IntN(6)), TimeZone: "Europe/Berlin", Fold: r.pick("", "first", "second")}
	}
	if r.one(50) {
		d.Window = &api.StartWindow{}
		early, late := r.at(-360, ticks/2), r.at(ticks/2, ticks+360)
		if r.one(70) {
			d.Window.EarliestStart = &early
		}
		if r.one(70) {
			d.Window.LatestEnd = &late
		}
		for range r.IntN(3) {
			from := r.at(0, ticks)
			d.Window.Blackouts = append(d.Window.Blackouts, api.Span{From: from, To: from.Add(time.Duration(r.span(120)))})
		}
	}
	if r.one(15) {
		d.Movable, d.PinnedReason = new(bool), "a customer's wish"
	}
	if r.one(10) {
		d.ViaGatewayID = "inner"
	}
	return d
}

func (r drawing) background(i int) api.BackgroundSchedule {
	b := api.BackgroundSchedule{ServiceID: fmt.Sprintf("s%d", i), Duration: r.span(60), TimeZone: "UTC"}
	if r.one(50) {
		b.Jitter = r.span(30)
	}
	if r.one(50) {
		b.Cron = r.pick("0 * * * *", "*/30 * * * *", "30 2 * * *")
	} else {
		at := r.at(0, ticks)
		b.StartUTC = &at
	}
	switch r.IntN(3) {
	case 0:
		b.Devices = api.DeviceSelector{api.All}
	case 1:
		b.Devices = api.DeviceSelector{"dev_0", "dev_1", "dev_2"}
	default:
		b.Concurrency = 1 + r.IntN(2)
	}
	return b
}
