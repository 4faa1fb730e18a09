package api

import (
	"fmt"
	"strings"
	"time"
)

// Check returns every rule that the contract breaks, as Faults, or nil.
func (c Contract) Check(cal Calendar) error { return checked(c, cal, (*checker).contract) }

func (c *checker) contract(p *place, k Contract) {
	c.zone(p.field("timeZone"), k.TimeZone)
	c.between(p.field("slot"), k.Slot, time.Second, 24*time.Hour)
	c.atMost(p.field("leadTime"), k.LeadTime, 30*24*time.Hour)
	c.atMost(p.field("maxMove"), k.MaxMove, longestHorizon)
	for i, r := range k.CapacityCalendar {
		c.capacityRule(p.field("capacityCalendar").at(i), r)
	}
	if k.FetchCron != "" {
		if err := c.calendar.Cron(k.FetchCron, time.UTC, "", ""); err != nil {
			c.add(p.field("fetchCron"), "%s", reason(err))
		}
	}
	if k.Polling != nil {
		k.Polling.check(c, p.field("polling"))
	}
}

func (c *checker) between(p *place, d Duration, least, most time.Duration) {
	if v := time.Duration(d); v < least || v > most {
		c.add(p, "is %s; must be %s to %s", d, Duration(least), Duration(most))
	}
}

func (c *checker) capacityRule(p *place, r CapacityRule) {
	if start, err := c.calendar.TimeOfDay(r.Start); err != nil {
		c.add(p.field("start"), "%s", reason(err))
	} else if start == 24*time.Hour {
		c.add(p.field("start"), "is the end of a day; write 00:00")
	}
	if _, err := c.calendar.TimeOfDay(r.End); err != nil {
		c.add(p.field("end"), "%s", reason(err))
	}
	if r.TimeZone != "" {
		c.zone(p.field("timeZone"), r.TimeZone)
	}
	if strings.Contains(strings.ToUpper(r.RRule), "COUNT=") {
		c.add(p.field("rrule"), "has a COUNT, and no first day to count from; write UNTIL")
		return
	}
	if err := c.calendar.RRULE("1970-01-01T00:00", r.RRule, time.UTC, "", ""); err != nil {
		c.add(p.field("rrule"), "%s", reason(err))
	}
}

// Check returns every rule that the snapshot breaks, as Faults, or nil.
func (s Snapshot) Check(cal Calendar) error { return checked(s, cal, (*checker).snapshot) }

func (c *checker) snapshot(p *place, s Snapshot) {
	c.atMost(p.field("horizon"), s.Horizon, longestHorizon)
	c.contract(p.field("contract"), s.Contract.whole())
	devices := make(map[string]bool, len(s.Devices))
	for i, d := range s.Devices {
		c.once(p.field("devices").at(i).field("deviceId"), devices, d.DeviceID)
	}
	deliveries := make(map[string]bool, len(s.Deliveries))
	for i, d := range s.Deliveries {
		at := p.field("deliveries").at(i)
		c.once(at.field("deliveryId"), deliveries, d.DeliveryID)
		c.delivery(at, d)
	}
	services := make(map[string]bool, len(s.Background))
	for i, b := range s.Background {
		at := p.field("background").at(i)
		c.once(at.field("serviceId"), services, b.ServiceID)
		c.background(at, b)
	}
	for i := range s.Capacity {
		if i > 0 && !s.Capacity[i-1].At.Before(s.Capacity[i].At) {
			c.add(p.field("capacity").at(i).field("at"), "is not after the step before")
		}
	}
}

// once tells of an id that was there before.
func (c *checker) once(p *place, seen map[string]bool, id string) {
	if seen[id] && id != "" {
		c.add(p, "%.64q is there twice", id)
	}
	seen[id] = true
}

// MaxSnapshot is how long a snapshot may be, in bytes.
const MaxSnapshot = 64 << 20

// ReadSnapshot reads a snapshot and returns it, or every rule that it breaks, as Faults. It refuses what encoding/json lets
// pass: fields that are missing or given twice. Fields that are not known are ignored.
func ReadSnapshot(data []byte, cal Calendar) (Snapshot, error) {
	var s Snapshot
	if len(data) > MaxSnapshot {
		return s, Faults{{"", fmt.Sprintf("has %d bytes; at most %d are read", len(data), MaxSnapshot)}}
	}
	c := newChecker(cal)
	c.read(data, &s)
	if err := c.err(); err != nil {
		return s, err
	}
	return s, s.Check(cal)
}
