package portal

import (
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/daemon/control"
)

// The chart of the schedules shows a day on either side of now; its table has a row for each hour.
const (
	daySpan  = 24 * time.Hour
	dayTicks = 12 * time.Hour
)

// dayChart is planned and observed concurrency against capacity, as lines, words and a table.
type dayChart struct {
	Observed, ObservedArea, Planned, Capacity, Over string // SVG path data; "" for none
	Levels                                          []level
	Hours                                           []tick
	Words                                           string
	Rows                                            []dayRow
	Empty                                           bool
}

type dayRow struct {
	From, To                    moment
	Planned, Observed, Capacity string
}

func newDayChart(load []control.Load, now time.Time, zone *time.Location) dayChart {
	c := dayChart{Empty: len(load) == 0, Rows: dayRows(load, now, zone), Words: dayWords(load, now, zone)}
	highest := 0
	for _, l := range load {
		highest = max(highest, l.Capacity, value(l.Planned), value(l.Observed))
	}
	p := dayPlotter{start: now.Add(-daySpan), top: niceTop(highest)}
	c.Observed, c.ObservedArea = p.steps(load, func(l control.Load) *int { return l.Observed }, nil)
	c.Planned, _ = p.steps(load, func(l control.Load) *int { return l.Planned }, nil)
	c.Capacity, _ = p.steps(load, func(l control.Load) *int { return &l.Capacity }, nil)
	_, c.Over = p.steps(load, func(l control.Load) *int {
		if value(l.Planned) > l.Capacity {
			return l.Planned
		}
		return nil
	}, func(l control.Load) int { return l.Capacity })
	for _, v := range []int{0, p.top / 2, p.top} {
		y := plotTop + plotShare*(1-float64(v)/float64(p.top))
		c.Levels = append(c.Levels, level{Y: fmt.Sprintf("%.2f%%", y), TextY: fmt.Sprintf("%.2f%%", y-1.8), Text: count(v)})
	}
	local := p.start.In(zone)
	for t := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, zone); t.Before(now.Add(daySpan)); t = t.Add(dayTicks) {
		x := 100 * float64(t.Sub(p.start)) / float64(2*daySpan)
		if x < 6 || x > 94 || x > 44 && x < 56 { // "now" stands in the middle
			continue
		}
		c.Hours = append(c.Hours, tick{X: fmt.Sprintf("%.2f%%", x), Text: t.Format("15:04")})
	}
	return c
}

func value(v *int) int {
	if v == nil {
		return 0
	}
	return *v
}

type dayPlotter struct {
	start time.Time
	top   int
}

// steps draws pieces as steps, and the area between them and a base, the axis if it is nil. A piece without a value, or one
// that does not begin where the one before ends, starts a new line.
func (p dayPlotter) steps(load []control.Load, of func(control.Load) *int, base func(control.Load) int) (line, area string) {
	var l, a strings.Builder
	var end time.Time
	last := -1
	for _, piece := range load {
		v := of(piece)
		if v == nil || !piece.To.After(p.start) {
			last = -1
			continue
		}
		from, to := p.x(piece.From), p.x(piece.To)
		switch {
		case last < 0 || !piece.From.Equal(end):
			fmt.Fprintf(&l, "M%.1f %.1f", from, p.y(*v))
		case *v != last:
			fmt.Fprintf(&l, "V%.1f", p.y(*v))
		}
		fmt.Fprintf(&l, "H%.1f", to)
		ground := 0
		if base != nil {
			ground = base(piece)
		}
		if *v != ground {
			fmt.Fprintf(&a, "M%.1f %.1fV%.1fH%.1fV%.1fZ", from, p.y(ground), p.y(*v), to, p.y(ground))
		}
		last, end = *v, piece.To
	}
	return thin(l.String()), a.String()
}

// thin joins level steps that follow on each other: H1H2 is H2.
func thin(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); {
		next := i + 1 + strings.IndexAny(path[i+1:]+"M", "MVH")
		if !(path[i] == 'H' && next < len(path) && path[next] == 'H') {
			out.WriteString(path[i:next])
		}
		i = next
	}
	return out.String()
}

func (p dayPlotter) x(t time.Time) float64 {
	return plotWidth * min(max(float64(t.Sub(p.start))/float64(2*daySpan), 0), 1)
}

func (p dayPlotter) y(v int) float64 { return plotHeight * (1 - float64(v)/float64(p.top)) }

// dayRows are the most planned, the most observed and the least capacity of each hour.
func dayRows(load []control.Load, now time.Time, zone *time.Location) (rows []dayRow) {
	for len(load) > 0 {
		hour := load[0].From.In(zone)
		hour = hour.Add(-time.Duration(hour.Minute())*time.Minute - time.Duration(hour.Second())*time.Second)
		to := hour.Add(time.Hour)
		capacity := load[0].Capacity
		var planned, observed *int
		n := 0
		for ; n < len(load) && load[n].From.Before(to); n++ {
			capacity = min(capacity, load[n].Capacity)
			planned, observed = most(planned, load[n].Planned), most(observed, load[n].Observed)
		}
		rows = append(rows, dayRow{From: at(hour, now, zone), To: at(to, now, zone), Planned: figure(planned), Observed: figure(observed), Capacity: count(capacity)})
		load = load[max(n, 1):]
	}
	return rows
}

func most(a, b *int) *int {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

func figure(v *int) string {
	if v == nil {
		return "–"
	}
	return count(*v)
}

// dayWords say what the lines show, for those who do not see them.
func dayWords(load []control.Load, now time.Time, zone *time.Location) string {
	var observed, planned *control.Load
	over := 0
	for i := range load {
		l := &load[i]
		if l.Observed != nil && (observed == nil || *l.Observed > *observed.Observed) {
			observed = l
		}
		if l.Planned == nil || !l.To.After(now) {
			continue
		}
		if planned == nil || *l.Planned > *planned.Planned {
			planned = l
		}
		if *l.Planned > l.Capacity {
			over++
		}
	}
	text := "Nothing was recorded in the last 24 hours. "
	if observed != nil {
		text = fmt.Sprintf("Most served at once in the last 24 hours: %d, at %s. ", *observed.Observed, at(observed.From, now, zone).Text)
	}
	if planned == nil {
		return text + "There is no plan for the next 24 hours."
	}
	text += fmt.Sprintf("Most planned at once in the next 24 hours: %d of %d, at %s. ", *planned.Planned, planned.Capacity, at(planned.From, now, zone).Text)
	if over == 0 {
		return text + "The plan stays within the capacity."
	}
	return text + "The plan exceeds the capacity for " + duration(time.Duration(over)*load[0].To.Sub(load[0].From)) + "."
}
