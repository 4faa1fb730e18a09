// Package loadtest makes fleets with which the load's detection is tested and measured. It is for tests only and refuses nothing.
package loadtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/scheduler/load"
)

// Rule is a recurrence and what runs at each of its instants.
type Rule struct {
	Recurrence calendar.Recurrence
	Occurrence load.Occurrence
}

// Fleet is what some sites have planned for 35 days. Problem has no occurrences: Expand makes them.
type Fleet struct {
	Rules   []Rule
	Problem load.Problem
}

// New returns the fleet of a seed, of rules that occur about n times, at least 60. Most are daily or several times a day, in
// the nights of five zones, in batches that start at round hours as operators plan them; a twentieth of the devices have two
// rules, and a fiftieth of the rules serve devices that nobody knows. Room is such that the load exceeds it in some of the peaks.
func New(seed uint64, n int) Fleet {
	random := rand.New(rand.NewPCG(seed, 35))
	zones := make([]*time.Location, 0, 5)
	for _, name := range []string{"Europe/Berlin", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "America/Santiago"} {
		loc, err := calendar.ParseZone(name)
		if err != nil {
			panic(err) // a defect of the list above
		}
		zones = append(zones, loc)
	}
	from := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC) // clocks change on the 29th and on 5 April
	f := Fleet{Problem: load.Problem{From: from.UnixMilli(), To: from.AddDate(0, 0, 35).UnixMilli()}}
	const batches, services = 40, 8
	for i := range batches + services {
		f.Problem.Movable = append(f.Problem.Movable, i < batches)
	}
	for total := 0; total < n; {
		zone, source := zones[random.IntN(len(zones))], random.IntN(batches)
		hour, minute := (22+random.IntN(8))%24, 0
		if random.IntN(2) == 0 {
			minute = random.IntN(60)
		}
		line, times := fmt.Sprintf("%d %d * * *", minute, hour), 35
		switch random.IntN(10) {
		case 0:
			line, times, source = fmt.Sprintf("%d %d-23/4 * * *", random.IntN(60), random.IntN(4)), 210, batches+random.IntN(services)
		case 1, 2:
			line, times, source = fmt.Sprintf("%d %d,%d * * *", random.IntN(60), hour%12, hour%12+12), 70, batches+random.IntN(services)
		case 3:
			line, times = fmt.Sprintf("%d %d * * %d", minute, hour, random.IntN(7)), 5
		}
		rule, err := calendar.ParseCron(line, zone, calendar.Policy{})
		if err != nil {
			panic(err) // a defect of the lines above
		}
		likely := 60_000 * math.Exp(random.NormFloat64()/2) * 6
		longest := likely * (1.3 + random.Float64())
		o := load.Occurrence{Duration: int32(longest), Likely: int32(likely), Device: int32(f.Problem.Devices), Source: int32(source)}
		if source >= batches {
			o.Likely, o.Duration = o.Likely/4, o.Likely/4
		}
		switch {
		case random.IntN(50) == 0:
			o.Device = load.Anonymous(1 + random.IntN(20))
		case f.Problem.Devices > 0 && random.IntN(20) == 0:
			o.Device = int32(random.IntN(f.Problem.Devices))
		default:
			f.Problem.Devices++
		}
		f.Rules = append(f.Rules, Rule{rule, o})
		total += times
	}
	office, night := 2+n/2500, 2+n/1900
	for day := from; day.UnixMilli() < f.Problem.To; day = day.AddDate(0, 0, 1) {
		f.Problem.Capacity = append(f.Problem.Capacity,
			load.Step{At: day.UnixMilli(), Devices: night},
			load.Step{At: day.Add(7 * time.Hour).UnixMilli(), Devices: office},
			load.Step{At: day.Add(17 * time.Hour).UnixMilli(), Devices: night})
	}
	return f
}

// Expand returns the fleet's problem with its occurrences.
func (f Fleet) Expand() load.Problem {
	p := f.Problem
	p.Occurrences = make([]load.Occurrence, 0, 60*len(f.Rules))
	for _, r := range f.Rules {
		p.Occurrences = load.Expand(p.Occurrences, r.Recurrence, p.From, p.To, r.Occurrence)
	}
	return p
}
