package main

import (
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// counted is a snapshot counted tick by tick, by nothing but what its documents say.
type counted struct {
	s     api.Snapshot
	room  []int
	left  map[string]string // why a delivery does not count
	start map[string]time.Time
	end   map[string]time.Time
	fixed map[string]bool
}

func index(t time.Time) int { return int(t.Sub(night) / tick) }

func ceilIndex(t time.Time) int { return int((t.Sub(night) + tick - 1) / tick) }

func count(s api.Snapshot) *counted {
	c := &counted{s: s, left: map[string]string{}, start: map[string]time.Time{}, end: map[string]time.Time{}, fixed: map[string]bool{}}
	zones := map[string]*time.Location{}
	for _, r := range s.Contract.CapacityCalendar {
		zones[r.TimeZone], _ = time.LoadLocation(r.TimeZone)
	}
	for i := range ticks {
		c.room = append(c.room, c.capacity(night.Add(tick*time.Duration(i)), zones))
	}
	for _, d := range s.Deliveries {
		c.delivery(d)
	}
	return c
}

// capacity asks every rule what it says of one moment.
func (c *counted) capacity(t time.Time, zones map[string]*time.Location) int {
	limit, ruled := c.s.Contract.MaxConcurrent, false
	for _, r := range c.s.Contract.CapacityCalendar {
		local := t.In(zones[r.TimeZone])
		wall := local.Format("15:04")
		holds := false
		if day := local.Weekday(); r.Start < r.End {
			holds = wall >= r.Start && wall < r.End && falls(r.RRule, day)
		} else {
			holds = wall >= r.Start && falls(r.RRule, day) || wall < r.End && falls(r.RRule, (day+6)%7)
		}
		if holds && (!ruled || r.MaxConcurrent < limit) {
			limit, ruled = r.MaxConcurrent, true
		}
	}
	relay := 1 << 30
	for _, step := range c.s.Capacity {
		if !step.At.After(t) {
			relay = step.Devices
		}
	}
	return min(limit, relay)
}

func falls(rrule string, day time.Weekday) bool {
	_, days, weekly := strings.Cut(rrule, "BYDAY=")
	return !weekly || strings.Contains(days, strings.ToUpper(day.String()[:2]))
}

// moment finds when a clock shows a local time by looking at every minute.
func moment(s api.Schedule) time.Time {
	if s.Local == "" {
		return *s.StartUTC
	}
	loc, _ := time.LoadLocation(s.TimeZone)
	var found []time.Time
	for t := night.Add(-3 * time.Hour); t.Before(night.Add(12 * time.Hour)); t = t.Add(time.Minute) {
		if t.In(loc).Format("2006-01-02T15:04:05") == s.Local {
			found = append(found, t)
		}
	}
	if s.Fold == "second" {
		slices.Reverse(found)
	}
	return found[0]
}

// mode is that of a device's own traffic, or that of its deliveries, which the gateway fetches for what is on USB.
func (c *counted) mode(device string, deliveries bool) string {
	if c.s.Devices == nil {
		return "proxy"
	}
	for _, d := range c.s.Devices {
		if d.DeviceID == device {
			if deliveries && d.Attachment == "usb" {
				return "proxy"
			}
			return d.MonitoringMode
		}
	}
	return ""
}

func (c *counted) delivery(d api.Delivery) {
	start := moment(d.Schedule)
	end := start.Add(time.Duration(d.Duration.P95))
	running := d.State == "running"
	if running {
		if start.After(night) {
			start = night
		}
		end = start.Add(time.Duration(d.Duration.P95))
		if least := night.Add(time.Duration(c.s.Contract.Slot)); end.Before(least) {
			end = least
		}
	}
	mode := c.mode(d.DeviceID, true)
	switch {
	case d.State == "done":
		c.left[d.DeliveryID] = "finished"
	case mode == "polling":
		c.left[d.DeliveryID] = "polling-mode"
	case mode == "" && d.ViaGatewayID == "":
		c.left[d.DeliveryID] = "unknown-device"
	case !end.After(night):
		c.left[d.DeliveryID] = "past"
	case !start.Before(night.Add(ticks * tick)):
		c.left[d.DeliveryID] = "beyond-horizon"
	default:
		c.start[d.DeliveryID], c.end[d.DeliveryID] = start, end
		c.fixed[d.DeliveryID] = running || d.Movable != nil && !*d.Movable || start.Before(night.Add(time.Duration(c.s.Contract.LeadTime)))
	}
}

// load is how many devices are served in each tick, with some deliveries elsewhere, or nowhere (zero). Of fixed ones only, if so.
func (c *counted) load(moves map[string]time.Time, fixedOnly bool) []int {
	busy := make([]map[string]bool, ticks)
	load := make([]int, ticks)
	for i := range busy {
		busy[i] = map[string]bool{}
	}
	serve := func(device string, from, to time.Time) {
		for i := max(0, index(from)); i < min(ticks, ceilIndex(to)); i++ {
			if device == "" {
				load[i]++
			} else if !busy[i][device] {
				busy[i][device] = true
				load[i]++
			}
		}
	}
	for _, d := range c.s.Deliveries {
		start, ok := c.start[d.DeliveryID]
		length := c.end[d.DeliveryID].Sub(start)
		if to, moved := moves[d.DeliveryID]; moved {
			start, ok = to, ok && !to.IsZero()
		}
		if ok && (!fixedOnly || c.fixed[d.DeliveryID]) {
			serve(d.DeviceID, start, start.Add(length))
		}
	}
	for _, b := range c.s.Background {
		for _, at := range starts(b) {
			to := at.Add(time.Duration(b.Duration + b.Jitter))
			for range b.Concurrency {
				serve("", at, to)
			}
			for _, device := range c.served(b) {
				serve(device, at, to)
			}
		}
	}
	return load
}

func (c *counted) served(b api.BackgroundSchedule) []string {
	var list []string
	switch {
	case !b.Devices.Every():
		list = b.Devices
	case c.s.Devices == nil:
		for _, d := range c.s.Deliveries {
			list = append(list, d.DeviceID)
		}
	default:
		for _, d := range c.s.Devices {
			list = append(list, d.DeviceID)
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return c.mode(id, false) != "proxy" })
}

// starts reads the three cron lines that are drawn.
func starts(b api.BackgroundSchedule) []time.Time {
	if b.Cron == "" {
		return []time.Time{*b.StartUTC}
	}
	var list []time.Time
	for t := night.Add(-time.Hour); t.Before(night.Add(ticks * tick)); t = t.Add(time.Minute) {
		if b.Cron == "0 * * * *" && t.Minute() == 0 || b.Cron == "*/30 * * * *" && t.Minute()%30 == 0 || b.Cron == "30 2 * * *" && t.Hour() == 2 && t.Minute() == 30 {
			list = append(list, t)
		}
	}
	return list
}

// over lists the stretches in which the load exceeds one capacity.
func (c *counted) over(load []int, least int) []api.Band {
	var bands []api.Band
	var now *api.Band
	flush := func() {
		if now != nil && now.Peak-now.Capacity >= least {
			bands = append(bands, *now)
		}
		now = nil
	}
	for i := range load {
		at := night.Add(tick * time.Duration(i))
		if now != nil && (load[i] <= c.room[i] || c.room[i] != now.Capacity) {
			flush()
		}
		if load[i] <= c.room[i] {
			continue
		}
		if now == nil {
			now = &api.Band{From: at, Capacity: c.room[i]}
		}
		if load[i] > now.Peak {
			now.Peak, now.PeakAt = load[i], at
		}
		now.To = at.Add(tick)
		now.ExcessDeviceSeconds += float64(load[i]-c.room[i]) * tick.Seconds()
	}
	flush()
	return bands
}
