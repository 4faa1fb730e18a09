package api

import (
	"reflect"
	"strings"
	"time"
)

// The longest times that anybody means.
const (
	longestDuration = 24 * 24 * time.Hour
	longestHorizon  = 400 * 24 * time.Hour
)

// Check returns every rule that the delivery breaks, as Faults, or nil.
func (d Delivery) Check(cal Calendar) error { return checked(d, cal, (*checker).delivery) }

// Check returns every rule that the schedule breaks, as Faults, or nil.
func (b BackgroundSchedule) Check(cal Calendar) error { return checked(b, cal, (*checker).background) }

// Check returns every rule that the page breaks, as Faults, or nil. Deliveries may be checked one by one instead, so that one
// that is no good does not cost the others.
func (d Deliveries) Check(cal Calendar) error {
	return checked(d, cal, func(c *checker, p *place, d Deliveries) {
		for i := range d.Items {
			c.delivery(p.field("items").at(i), d.Items[i])
		}
		for i, id := range d.Removed {
			if id == "" {
				c.add(p.field("removed").at(i), "is empty; write a delivery's id")
			}
		}
	})
}

// Check returns every rule that the state breaks, as Faults, or nil.
func (s ProposalState) Check() error {
	return checked(s, nil, func(c *checker, p *place, s ProposalState) {
		for i, change := range s.Changes {
			at := p.field("changes").at(i)
			if change.ChangeID == "" {
				c.add(at.field("changeId"), "is empty; write the change's id")
			}
			if change.DeliveryID == "" {
				c.add(at.field("deliveryId"), "is empty; write the delivery's id")
			}
		}
	})
}

// Check returns every rule that the events break, as Faults, or nil: their numbers ascend, and the next poll goes on from them.
func (e ScheduleEvents) Check() error {
	return checked(e, nil, func(c *checker, p *place, e ScheduleEvents) {
		for i := range e.Items {
			at := p.field("items").at(i)
			if i > 0 && e.Items[i].Seq <= e.Items[i-1].Seq {
				c.add(at.field("seq"), "is %d after %d; numbers must ascend", e.Items[i].Seq, e.Items[i-1].Seq)
			}
			if e.Items[i].Seq > e.Next {
				c.add(at.field("seq"), "is %d, beyond next, which is %d", e.Items[i].Seq, e.Next)
			}
		}
	})
}

// checked holds a document against its tags and then against the rules that tags cannot say. The calendar may be nil for
// documents without texts that say when.
func checked[T any](doc T, cal Calendar, rules func(*checker, *place, T)) error {
	c := newChecker(cal)
	c.tags(nil, reflect.ValueOf(doc), &member{items: maxItems, longest: maxLongest})
	rules(c, nil, doc)
	return c.err()
}

func (c *checker) delivery(p *place, d Delivery) {
	s := d.Schedule
	at := p.field("schedule")
	c.intent(at, intent{local: s.Local, zone: s.TimeZone, gap: s.Gap, fold: s.Fold, rrule: s.RRule, start: s.StartUTC})
	if w := d.Window; w != nil {
		if w.EarliestStart != nil && w.LatestEnd != nil && !w.EarliestStart.Before(*w.LatestEnd) {
			c.add(p.field("window").field("latestEnd"), "is not after earliestStart")
		}
		for i, b := range w.Blackouts {
			c.span(p.field("window").field("blackouts").at(i), b)
		}
	}
	if e := d.Duration; e != nil {
		at := p.field("duration")
		if e.P95 > 0 && e.P95 < e.P50 {
			c.add(at.field("p95"), "is %s, less than p50, which is %s", e.P95, e.P50)
		}
		c.atMost(at.field("p50"), e.P50, longestDuration)
		c.atMost(at.field("p95"), e.P95, longestDuration)
	}
	if r := d.Retry; r != nil && r.Max > 0 && r.Interval == 0 {
		c.add(p.field("retry").field("interval"), "is PT0S; write how long the device waits")
	}
}

func (c *checker) background(p *place, b BackgroundSchedule) {
	c.intent(p, intent{local: b.Local, zone: b.TimeZone, gap: b.Gap, fold: b.Fold, rrule: b.RRule, cron: b.Cron, start: b.StartUTC, flat: true})
	if b.Duration == 0 {
		c.add(p.field("duration"), "is PT0S; write how long a device is served")
	}
	c.atMost(p.field("duration"), b.Duration, longestDuration/2)
	c.atMost(p.field("jitter"), b.Jitter, longestDuration/2)
	if b.Devices.Every() {
		return
	}
	seen := make(map[string]bool, len(b.Devices))
	for i, id := range b.Devices {
		at := p.field("devices").at(i)
		switch {
		case id == "":
			c.add(at, "is empty; write a device's id")
		case seen[id]:
			c.add(at, "is listed twice")
		}
		seen[id] = true
	}
}

func (c *checker) span(p *place, s Span) {
	if !s.From.Before(s.To) {
		c.add(p.field("to"), "is not after from")
	}
}

func (c *checker) atMost(p *place, d Duration, most time.Duration) {
	if time.Duration(d) > most {
		c.add(p, "is %s; at most %s", d, Duration(most))
	}
}

// intent is when something is planned, in words.
type intent struct {
	local, zone, gap, fold, rrule, cron string
	start                               *time.Time
	flat                                bool // one of cron, rrule or start is enough
}

func (c *checker) intent(p *place, s intent) {
	loc := time.UTC
	if s.zone != "" {
		if loc = c.zone(p.field("timeZone"), s.zone); loc == nil {
			loc = time.UTC
		}
	}
	if s.cron != "" {
		if s.rrule != "" {
			c.add(p.field("rrule"), "stands beside cron; write one of them")
		}
		if err := c.calendar.Cron(s.cron, loc, s.gap, s.fold); err != nil {
			c.add(p.field("cron"), "%s", reason(err))
		}
		return
	}
	if s.local == "" && s.start == nil {
		c.add(p.field("startUtc"), "is missing; write when it is planned, here or as a local time")
		return
	}
	first := s.local
	if first == "" {
		first = s.start.In(loc).Format("2006-01-02T15:04:05")
	} else {
		if err := c.calendar.LocalTime(first); err != nil {
			c.add(p.field("local"), "%s", reason(err))
			return
		}
		if year := first[:4]; year < "1970" || year > "2100" {
			c.add(p.field("local"), "is in the year %s; must be in %d to %d", year, firstYear, lastYear)
			return
		}
	}
	if s.rrule != "" {
		if err := c.calendar.RRULE(first, s.rrule, loc, s.gap, s.fold); err != nil {
			c.add(p.field("rrule"), "%s", reason(err))
		}
	}
}

// reason is an error's text on one line.
func reason(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// zone returns a zone, or tells of its name and returns nil. Each is looked up once.
func (c *checker) zone(p *place, name string) *time.Location {
	loc, known := c.zones[name]
	if !known {
		var err error
		if loc, err = c.calendar.Zone(name); err != nil {
			c.add(p, "%s", reason(err))
			return nil
		}
		c.zones[name] = loc
	}
	return loc
}
