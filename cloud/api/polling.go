package api

import "time"

// Polling is how often a gateway polls its devices, and how often it tells of them though nothing has changed.
type Polling struct {
	Status    Duration `json:"status" format:"duration" doc:"10 s to 1 h"`
	Supplies  Duration `json:"supplies" format:"duration" doc:"1 min to 24 h"`
	Counters  Duration `json:"counters" format:"duration" doc:"1 min to 7 days"`
	Heartbeat Duration `json:"heartbeat" format:"duration" doc:"1 min to 7 days"`
}

// DefaultPolling is what an operator's change of one interval begins with.
func DefaultPolling() Polling {
	return Polling{
		Status: Duration(time.Minute), Supplies: Duration(15 * time.Minute), Counters: Duration(4 * time.Hour), Heartbeat: Duration(24 * time.Hour),
	}
}

func (p Polling) check(c *checker, at *place) {
	const day = 24 * time.Hour
	for _, i := range []struct {
		name        string
		value       Duration
		least, most time.Duration
	}{
		{"status", p.Status, 10 * time.Second, time.Hour},
		{"supplies", p.Supplies, time.Minute, day},
		{"counters", p.Counters, time.Minute, 7 * day},
		{"heartbeat", p.Heartbeat, time.Minute, 7 * day},
	} {
		if d := time.Duration(i.value); d < i.least || d > i.most {
			c.add(at.field(i.name), "is %s; must be %s to %s", i.value, Duration(i.least), Duration(i.most))
		}
	}
}
