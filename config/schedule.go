package config

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
)

// Schedule is how the gateway looks after the deliveries that its cloud plans.
type Schedule struct {
	Fetch      string              // a cron line in site.time_zone; each gateway comes a steady while later than it says
	Due        calendar.Recurrence // of Fetch
	Horizon    time.Duration
	Mode       mfpgate.ScheduleMode // the contract may only narrow it
	Background []Background
	Hawkbit    Hawkbit
}

// Hawkbit is an Eclipse hawkBit that plans the deliveries in the cloud's place. URL is nil: there is none.
type Hawkbit struct {
	URL             *url.URL
	User            string
	Password        mfpgate.Secret
	Targets         string // RSQL
	DeviceAttribute string
	WindowAttribute string
	Ahead, LeadTime time.Duration
}

// Background is traffic through the relay that the cloud does not plan. One of Cron and RRule is set, or neither: then it
// comes once, at Start.
type Background struct {
	Name        string
	Cron, RRule string
	Start       string // local time of an RRule's first occurrence, or of the only one
	Devices     Selector
	Concurrency int // devices at once, where Devices is not set
	Duration    time.Duration
	Jitter      time.Duration
}

// Selector says which devices come: all, or those with these names or addresses.
type Selector struct {
	All   bool
	Named []string
}

// Set reports whether it says anything.
func (s Selector) Set() bool { return s.All || len(s.Named) > 0 }

func schedule(s *Schedule) object {
	return object{
		may("fetch", "cron line: when the cloud's schedules are fetched whatever else tells of a change", one(&s.Fetch, cronLine()).or("17 * * * *")),
		may("horizon", "how far ahead schedules are looked at; or to the end of the last window, if that is later", one(&s.Horizon, duration(day, 90*day)).or("14d")),
		may("mode", "what is done about overloads: report them, propose other times too, or have these applied; the contract may only narrow it",
			one(&s.Mode, enum(mfpgate.ScheduleNotify, mfpgate.SchedulePropose, mfpgate.ScheduleAuto)).or("propose")),
		may("background", "traffic through the relay that the cloud does not plan", each(&s.Background, 1000, func(b *Background) kind {
			return object{
				must("name", "its name, unique", one(&b.Name, id())),
				may("cron", "when it comes, by the local clock", one(&b.Cron, cronLine())),
				may("rrule", "when it comes, as RFC 5545 writes it; needs start", one(&b.RRule, line(256))),
				may("start", "local time of the first occurrence of rrule; without cron and rrule it comes once, then", one(&b.Start, localTime())),
				must("duration", "how long a device takes", one(&b.Duration, duration(time.Second, 7*day))),
				may("devices", "all, or names and addresses", selector{&b.Devices}),
				may("concurrency", "devices at once, where it is not known which", one(&b.Concurrency, whole(1, 100_000))),
				may("jitter", "devices come up to this later", one(&b.Jitter, duration(0, day)).or("0s")),
			}
		})),
		may("hawkbit", "an Eclipse hawkBit that plans the deliveries in the cloud's place", object{
			must("url", "https://, or http:// on loopback", one(&s.Hawkbit.URL, cloudURL())),
			must("user", "who reads targets, cancels and assigns; tenant\\user where there are several", one(&s.Hawkbit.User, line(200))),
			must("password", "of the user", secret(&s.Hawkbit.Password)),
			must("targets", "RSQL that selects this gateway's targets, such as attribute.gateway==osaka-1", one(&s.Hawkbit.Targets, line(1024))),
			may("device_attribute", "the target's attribute that has the gateway's device id; without it the controllerId is that", one(&s.Hawkbit.DeviceAttribute, line(64))),
			may("window_attribute", "the target's attribute with the times that a start may be moved to, from/to in RFC 3339", one(&s.Hawkbit.WindowAttribute, line(64))),
			may("ahead", "how long before its new start an assignment is made", one(&s.Hawkbit.Ahead, duration(0, time.Hour)).or("5m")),
			may("lead_time", "starts nearer than this stay: devices must have polled hawkBit meanwhile", one(&s.Hawkbit.LeadTime, duration(0, 7*day)).or("1h")),
		}).restart(),
	}
}

func cronLine() form[string] {
	return form[string]{yaml: "string", what: "a cron line of five fields", example: `one such as "17 * * * *"`, pattern: textPattern,
		parse: func(s string) (string, error) {
			_, err := calendar.ParseCron(s, time.UTC, calendar.Policy{})
			return s, err
		}}
}

func localTime() form[string] {
	return form[string]{yaml: "string", what: "a local date and time", example: `it such as "2026-12-02T02:00"`, pattern: textPattern,
		parse: func(s string) (string, error) {
			t, err := calendar.ParseLocalTime(s)
			if err != nil {
				return "", errForm
			}
			return t.String(), nil
		}}
}

// selector is "all", or a list of names and addresses.
type selector struct{ to *Selector }

const selectorAll = "all"

func (s selector) fill() { *s.to = Selector{} }

func (s selector) named() list[string] { return many(&s.to.Named, 1, 100_000, line(200)) }

func (s selector) read(r *reader, at string, node ast.Node) {
	switch n := node.(type) {
	case *ast.SequenceNode:
		s.named().read(r, at, n)
		return
	case *ast.StringNode:
		if n.Value == selectorAll {
			s.to.All = true
			return
		}
	}
	r.fail(at, `must be all, or a list of names and addresses; write all, or [first, second]`)
}

func (s selector) schema() schema {
	return schema{AnyOf: []schema{{Type: "string", Enum: []string{selectorAll}}, s.named().schema()}}
}

func (s selector) differs(other kind) bool { return !reflect.DeepEqual(*s.to, *other.(selector).to) }

// checkSchedule judges what needs the site's zone, and what stands beside what.
func (r *reader) checkSchedule(c *Config) {
	if zone := c.Site.TimeZone; zone != nil && c.Schedule.Fetch != "" {
		var err error
		if c.Schedule.Due, err = calendar.ParseCron(c.Schedule.Fetch, zone, calendar.Policy{}); err != nil {
			r.fail("schedule.fetch", "%s", err)
		}
	}
	name := r.once()
	for i, b := range c.Schedule.Background {
		at := fmt.Sprintf("schedule.background[%d]", i)
		name(at+".name", b.Name)
		if !r.good(at) {
			continue
		}
		switch {
		case b.Devices.Set() && b.Concurrency > 0:
			r.fail(at+".concurrency", "says how many devices beside devices, which says which; keep one of them")
		case !b.Devices.Set() && b.Concurrency == 0:
			r.fail(at, "says neither devices nor concurrency; add devices: all, or how many devices come at once")
		case b.Cron != "" && b.RRule != "":
			r.fail(at+".rrule", "stands beside cron; keep one of them")
		case b.Cron != "" && b.Start != "":
			r.fail(at+".start", "stands beside cron, which has no start; remove it, or write an rrule")
		case b.RRule != "" && b.Start == "":
			r.fail(at+".rrule", `needs start; add the local time of the first occurrence, such as "2026-12-02T02:00"`)
		case b.Cron == "" && b.Start == "":
			r.fail(at, `says not when; add cron, such as "0 3 * * *"`)
		}
		if r.good(at) && b.RRule != "" {
			if err := rruleError(b, c.Site.TimeZone); err != nil {
				r.fail(at+".rrule", "%s", err)
			}
		}
	}
}

func rruleError(b Background, zone *time.Location) error {
	start, err := calendar.ParseLocalTime(b.Start)
	if err != nil || zone == nil {
		return nil // reported where it stands
	}
	_, err = calendar.ParseRRULE(start, b.RRule, zone, calendar.Policy{})
	if errors.Is(err, calendar.ErrNeverOccurs) {
		return fmt.Errorf("%w; correct it, or its start", err)
	}
	return err
}
