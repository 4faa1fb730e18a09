package portal

import (
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/daemon/control"
)

// The chart shows the last hour; its table has a row for every five minutes. A gap longer than this is shown as one.
const (
	chartSpan = time.Hour
	tableStep = 5 * time.Minute
	chartGap  = time.Minute
)

// The plot's own units. It is stretched to the place it gets; texts and lines keep their size.
const (
	plotWidth  = 1000.0
	plotHeight = 100.0
	plotTop    = 9.0  // per cent of the chart above the plot
	plotShare  = 79.0 // per cent of the chart that the plot is high
)

// chart is the last hour as lines, words and a table.
type chart struct {
	Served, ServedArea, Queued, Capacity string // SVG path data; "" for none
	Levels                               []level
	Hours                                []tick
	Words                                string
	Rows                                 []chartRow
	Empty                                bool
}

type level struct {
	Y, TextY string // per cent of the chart
	Text     string
}

type tick struct {
	X    string // per cent
	Text string
}

type chartRow struct {
	From, To                 string
	Served, Queued, Capacity int
	Empty                    bool
}

func newChart(samples []control.Sample, now time.Time, zone *time.Location) chart {
	start := now.Add(-chartSpan)
	samples = since(samples, start)
	c := chart{Empty: len(samples) == 0, Rows: chartRows(samples, now, zone), Words: chartWords(samples, now, zone)}
	highest := 0
	for _, s := range samples {
		highest = max(highest, s.Served, s.Queued, s.Capacity)
	}
	top := niceTop(highest)
	p := plotter{start: start, now: now, top: top}
	c.Served, c.ServedArea = p.lines(samples, func(s control.Sample) int { return s.Served })
	c.Queued, _ = p.lines(samples, func(s control.Sample) int { return s.Queued })
	c.Capacity, _ = p.lines(samples, func(s control.Sample) int { return s.Capacity })
	for _, v := range []int{0, top / 2, top} {
		y := plotTop + plotShare*(1-float64(v)/float64(top))
		c.Levels = append(c.Levels, level{Y: fmt.Sprintf("%.2f%%", y), TextY: fmt.Sprintf("%.2f%%", y-1.8), Text: count(v)})
	}
	for t := quarter(start.In(zone)).Add(15 * time.Minute); t.Before(now); t = t.Add(15 * time.Minute) {
		if x := 100 * float64(t.Sub(start)) / float64(chartSpan); x >= 8 && x <= 83 {
			c.Hours = append(c.Hours, tick{X: fmt.Sprintf("%.2f%%", x), Text: t.Format("15:04")})
		}
	}
	return c
}

// quarter is the quarter of an hour that t is in, by its zone's clock: some zones are off by less than one.
func quarter(t time.Time) time.Time {
	return t.Add(-time.Duration(t.Minute()%15)*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
}

// since keeps the samples from start on, and the last one before it, moved there: what it says held until the next.
func since(samples []control.Sample, start time.Time) []control.Sample {
	first := 0
	for first < len(samples) && samples[first].Time.Before(start) {
		first++
	}
	if first > 0 && first < len(samples) && samples[first].Time.Sub(samples[first-1].Time) <= chartGap {
		first--
		moved := samples[first]
		moved.Time = start
		return append([]control.Sample{moved}, samples[first+1:]...)
	}
	return samples[first:]
}

// niceTop is the even, round number at the top of the scale.
func niceTop(highest int) int {
	for unit := 1; ; unit *= 10 {
		for _, n := range []int{2, 4, 6, 8, 10, 12, 16} {
			if n*unit >= highest {
				return n * unit
			}
		}
	}
}

type plotter struct {
	start, now time.Time
	top        int
}

// lines draws steps, with a point only where the value changes, and the area below them. A gap starts a new line.
func (p plotter) lines(samples []control.Sample, value func(control.Sample) int) (line, area string) {
	var l, a strings.Builder
	for len(samples) > 0 {
		n := 1
		for n < len(samples) && samples[n].Time.Sub(samples[n-1].Time) <= chartGap {
			n++
		}
		run := samples[:n]
		samples = samples[n:]
		end := p.x(run[n-1].Time)
		if len(samples) == 0 && p.now.Sub(run[n-1].Time) <= chartGap {
			end = p.x(p.now)
		}
		from, last := p.x(run[0].Time), value(run[0])
		var steps strings.Builder
		for _, s := range run[1:] {
			if v := value(s); v != last {
				fmt.Fprintf(&steps, "H%.1fV%.1f", p.x(s.Time), p.y(v))
				last = v
			}
		}
		fmt.Fprintf(&steps, "H%.1f", end)
		fmt.Fprintf(&l, "M%.1f %.1f%s", from, p.y(value(run[0])), steps.String())
		fmt.Fprintf(&a, "M%.1f %.1fV%.1f%sV%.1fZ", from, plotHeight, p.y(value(run[0])), steps.String(), plotHeight)
	}
	return l.String(), a.String()
}

func (p plotter) x(t time.Time) float64 {
	return plotWidth * min(max(float64(t.Sub(p.start))/float64(chartSpan), 0), 1)
}

func (p plotter) y(v int) float64 { return plotHeight * (1 - float64(v)/float64(p.top)) }

// chartRows are the most served, the most waiting and the least capacity of each five minutes, the newest first, as far
// back as anything was recorded.
func chartRows(samples []control.Sample, now time.Time, zone *time.Location) []chartRow {
	var rows []chartRow
	for to := now.Truncate(tableStep).Add(tableStep).In(zone); len(samples) > 0 && to.After(samples[0].Time); to = to.Add(-tableStep) {
		from := to.Add(-tableStep)
		row := chartRow{From: from.Format("15:04"), To: to.Format("15:04"), Empty: true}
		for _, s := range samples {
			if s.Time.Before(from) || !s.Time.Before(to) {
				continue
			}
			if row.Empty {
				row.Capacity = s.Capacity
			}
			row.Empty = false
			row.Served, row.Queued, row.Capacity = max(row.Served, s.Served), max(row.Queued, s.Queued), min(row.Capacity, s.Capacity)
		}
		rows = append(rows, row)
	}
	return rows
}

// chartWords say what the lines show, for those who do not see them.
func chartWords(samples []control.Sample, now time.Time, zone *time.Location) string {
	if len(samples) == 0 {
		return "Nothing was recorded in the last hour."
	}
	served, queued, last := samples[0], samples[0], samples[len(samples)-1]
	for _, s := range samples {
		if s.Served > served.Served {
			served = s
		}
		if s.Queued > queued.Queued {
			queued = s
		}
	}
	text := fmt.Sprintf("Recorded from %s to %s. Now %d of %d devices are served and %d wait. ",
		samples[0].Time.In(zone).Format("15:04"), now.In(zone).Format("15:04"), last.Served, last.Capacity, last.Queued)
	if served.Served == 0 {
		return text + "No device was served."
	}
	text += fmt.Sprintf("Most served at once: %d, at %s. ", served.Served, served.Time.In(zone).Format("15:04"))
	if queued.Queued == 0 {
		return text + "No device had to wait."
	}
	return text + fmt.Sprintf("Most waiting at once: %d, at %s.", queued.Queued, queued.Time.In(zone).Format("15:04"))
}
