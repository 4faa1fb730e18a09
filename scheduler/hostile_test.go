package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler"
)

func TestBadAnswersKeepThePlan(t *testing.T) {
	long := strings.Repeat("x", 65)
	for rule, bend := range map[string]func(*mfpgate.ScheduleChanges){
		"no token":         func(c *mfpgate.ScheduleChanges) { c.Token = "" },
		"an endless token": func(c *mfpgate.ScheduleChanges) { c.Token = strings.Repeat("t", 300) },
		"twice":            func(c *mfpgate.ScheduleChanges) { c.Deliveries = []mfpgate.Delivery{delivery(7, 0), delivery(7, 1)} },
		"there and removed": func(c *mfpgate.ScheduleChanges) {
			c.Deliveries, c.Removed = []mfpgate.Delivery{delivery(7, 0)}, []string{"d7"}
		},
		"too many": func(c *mfpgate.ScheduleChanges) {
			c.Deliveries = make([]mfpgate.Delivery, scheduler.MaxDeliveries+1)
		},
		"a removed id too long":  func(c *mfpgate.ScheduleChanges) { c.Removed = []string{long} },
		"an id too long":         one(func(d *mfpgate.Delivery) { d.ID = long }),
		"no id":                  one(func(d *mfpgate.Delivery) { d.ID = "" }),
		"control characters":     one(func(d *mfpgate.Delivery) { d.Batch = "a\x00b" }),
		"not UTF-8":              one(func(d *mfpgate.Delivery) { d.Model = "\xff" }),
		"no version":             one(func(d *mfpgate.Delivery) { d.Version = "" }),
		"a state of its own":     one(func(d *mfpgate.Delivery) { d.State = "lost" }),
		"no start":               one(func(d *mfpgate.Delivery) { d.Schedule = mfpgate.LocalSchedule{} }),
		"the year 1":             one(func(d *mfpgate.Delivery) { d.Schedule.Start = time.Date(1, 2, 3, 4, 5, 6, 0, time.UTC) }),
		"the year 10000":         one(func(d *mfpgate.Delivery) { d.LatestEnd = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }),
		"a backward window":      one(func(d *mfpgate.Delivery) { d.EarliestStart, d.LatestEnd = epoch.Add(time.Hour), epoch }),
		"a negative duration":    one(func(d *mfpgate.Delivery) { d.Duration.P50 = -1 }),
		"a month's duration":     one(func(d *mfpgate.Delivery) { d.Duration.P95 = 31 * 24 * time.Hour }),
		"negative bytes":         one(func(d *mfpgate.Delivery) { d.Bytes = -1 }),
		"priority 10":            one(func(d *mfpgate.Delivery) { d.Priority = 10 }),
		"a backward blackout":    one(func(d *mfpgate.Delivery) { d.Blackouts = []mfpgate.Interval{{From: epoch.Add(1), To: epoch}} }),
		"too many blackouts":     one(func(d *mfpgate.Delivery) { d.Blackouts = make([]mfpgate.Interval, 65) }),
		"what cannot be planned": one(func(d *mfpgate.Delivery) { d.ID, d.Package = "a", "unplannable" }),
	} {
		within(t, func(g *gateway) {
			g.crowd(5)
			g.start()
			g.pass(time.Minute)
			before := g.Status()
			g.office.mu.Lock()
			g.office.bend = bend
			g.office.mu.Unlock()
			g.pass(65 * time.Minute)
			st := g.Status()
			if st.Error == "" || len(st.Bands) != 1 || st.Deliveries != 5 || !st.Succeeded.Equal(before.Succeeded) {
				g.t.Errorf("%s: error %q, %d bands, %d deliveries", rule, st.Error, len(st.Bands), st.Deliveries)
			}
			if rule != "what cannot be planned" && (st.Reason != scheduler.AnswerRefused || g.metrics.Value("mfpgate_scheduler_refusals_total", "of", "answer") < 2) {
				g.t.Errorf("%s: reason %q", rule, st.Reason)
			}
			g.told(rule, "report of 1; proposal of 3 3 pending; ")
			g.office.mu.Lock()
			g.office.bend = func(c *mfpgate.ScheduleChanges) {}
			g.office.mu.Unlock()
			g.office.remove("a")
			g.pass(time.Hour)
			if st := g.Status(); st.Error != "" || st.Deliveries != 5 {
				g.t.Errorf("%s: a good answer after it: %q, %d deliveries", rule, st.Error, st.Deliveries)
			}
		})
	}
}

// TestWhatTheWireTakesIsTaken has a delivery at the wire's bounds.
func TestWhatTheWireTakesIsTaken(t *testing.T) {
	within(t, func(g *gateway) {
		d := delivery(7, 0)
		d.Batch, d.Model, d.Package = strings.Repeat("秋", 64), strings.Repeat("複", 256), strings.Repeat("版", 128)
		d.Duration.P95 = 24 * 24 * time.Hour
		g.office.put(d)
		g.start()
		g.pass(time.Minute)
		if st := g.Status(); st.Error != "" || st.Deliveries != 1 {
			g.t.Errorf("%d deliveries: %s", st.Deliveries, st.Error)
		}
	})
}

func one(change func(*mfpgate.Delivery)) func(*mfpgate.ScheduleChanges) {
	return func(c *mfpgate.ScheduleChanges) {
		d := delivery(7, 0)
		change(&d)
		c.Deliveries = append(c.Deliveries, d)
	}
}
