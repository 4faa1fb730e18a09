package console

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// What is drawn at most, and the plot's places in pixels. Across, everything is in per cent of the width that it gets.
const (
	drawnSteps  = 288 // of the load: five minutes of a day
	batchSteps  = 144
	drawnRows   = 24
	singleRows  = 40 // deliveries that have a row each
	plotTop     = 18
	plotBottom  = 158
	rowHeight   = 32
	barTop      = 17
	barHeight   = 11
	labelLength = 44 // runes; more do not fit a narrow screen
)

// bar is a rectangle.
type bar struct{ X, Y, W, H, Class, Title string }

// line is a line from one place to another.
type line struct{ X1, Y1, X2, Y2 string }

// tick is a text at a place.
type tick struct{ X, Y, Text string }

// drawing is a day: the load against the capacity, and below it who causes it.
type drawing struct {
	Load, Full, Over []bar
	Limit            []line
	Bands            []bar
	Levels, Hours    []tick
	Now              string // per cent; "" if it is not in sight
	Words            string
	Rows             []drawnRow
	Height           int // of the rows
	MoreRows         int
	Batches          bool // a row is a batch, not a delivery
}

// drawnRow is one device's delivery, or a batch.
type drawnRow struct {
	Label  string
	TextY  string
	Window *bar
	Bars   []bar
}

// axis places instants.
type axis struct{ from, to time.Time }

func (a axis) at(t time.Time) float64 {
	return 100 * min(max(float64(t.Sub(a.from))/float64(a.to.Sub(a.from)), 0), 1)
}

func percent(v float64) string { return strconv.FormatFloat(v, 'f', 3, 64) + "%" }

// across is a bar that can be seen, however short.
func (a axis) across(from, to time.Time, y, h float64, class, title string) bar {
	x := a.at(from)
	return bar{percent(x), pixel(y), percent(min(max(a.at(to)-x, 0.25), 100-x+0.25)), pixel(h), class, title}
}

func pixel(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

// draw makes the picture of what lies between from and to.
func (d desk) draw(from, to time.Time, slots []api.CapacitySlot, bands []api.Band, deliveries []api.Delivery) drawing {
	a := axis{from, to}
	out := drawing{}
	out.hours(d, a)
	out.load(d, a, coarse(slots, a), bands)
	if !d.now.Before(from) && d.now.Before(to) {
		out.Now = percent(a.at(d.now))
	}
	if out.Batches = len(deliveries) > singleRows; out.Batches {
		out.batches(d, a, deliveries)
	} else {
		out.singles(d, a, deliveries)
	}
	out.Height = rowHeight*len(out.Rows) + 4
	return out
}

// hours writes every third hour of the place's clock.
func (o *drawing) hours(d desk, a axis) {
	y, m, day := a.from.In(d.zone).Date()
	first := a.from.In(d.zone).Hour()
	for n := 0; n <= 48; n += 3 {
		t := d.hour(y, m, day, first+n)
		if !t.Before(a.to) {
			break
		}
		if len(o.Hours) == 0 || percent(a.at(t)) != o.Hours[len(o.Hours)-1].X {
			o.Hours = append(o.Hours, tick{X: percent(a.at(t)), Text: t.In(d.zone).Format("15")})
		}
	}
}

// coarse joins slots until they can be drawn: the most load and the least capacity of each piece.
func coarse(slots []api.CapacitySlot, a axis) []api.CapacitySlot {
	step := a.to.Sub(a.from) / drawnSteps
	var out []api.CapacitySlot
	for _, s := range slots {
		if !s.From.Before(a.to) || !s.To.After(a.from) {
			continue
		}
		last := len(out) - 1
		switch {
		case last >= 0 && s.Load == out[last].Load && s.Limit == out[last].Limit:
			out[last].To = s.To
		case last >= 0 && s.To.Sub(out[last].From) <= step:
			o := &out[last]
			o.To, o.Load, o.Limit = s.To, max(o.Load, s.Load), min(o.Limit, s.Limit)
			if o.State = cmp.Or(o.State, s.State); s.State == api.SlotOver || s.State == api.SlotFull && o.State == api.SlotFree {
				o.State = s.State
			}
		default:
			out = append(out, s)
		}
	}
	return out
}

func (o *drawing) load(d desk, a axis, slots []api.CapacitySlot, bands []api.Band) {
	highest, peakAt, limits := 1, a.from, map[int]bool{}
	for _, s := range slots {
		if s.Load > highest {
			highest, peakAt = s.Load, s.From
		}
		if s.Limit < plan.Unlimited {
			limits[s.Limit] = true
		}
	}
	top := highest
	for limit := range limits {
		top = max(top, min(limit, 4*highest)) // a capacity far above needs no place
	}
	top += top/8 + 1
	y := func(n int) float64 {
		return plotBottom - (plotBottom-plotTop)*min(float64(n)/float64(top), 1)
	}
	var before *api.CapacitySlot
	for i := range slots {
		s := &slots[i]
		title := fmt.Sprintf("%s: %s", d.hourly(s.From, s.To), loadText(*s))
		switch {
		case s.Load > 0 && s.State == api.SlotFull:
			o.Full = append(o.Full, a.across(s.From, s.To, y(s.Load), plotBottom-y(s.Load), "full", title))
		case s.Load > 0:
			o.Load = append(o.Load, a.across(s.From, s.To, y(min(s.Load, s.Limit)), plotBottom-y(min(s.Load, s.Limit)), "load", title))
		}
		if s.Load > s.Limit {
			o.Over = append(o.Over, a.across(s.From, s.To, y(s.Load), y(s.Limit)-y(s.Load), "over", title))
		}
		if s.Limit <= top {
			o.Limit = append(o.Limit, line{percent(a.at(s.From)), pixel(y(s.Limit)), percent(a.at(s.To)), pixel(y(s.Limit))})
			if before != nil && before.Limit != s.Limit && before.Limit <= top {
				o.Limit = append(o.Limit, line{percent(a.at(s.From)), pixel(y(before.Limit)), percent(a.at(s.From)), pixel(y(s.Limit))})
			}
		}
		before = s
	}
	for _, b := range bands {
		o.Bands = append(o.Bands, a.across(b.From, b.To, plotTop-6, 5, "band", fmt.Sprintf("Overload %s: %d devices where %d can be served", d.hourly(b.From, b.To), b.Peak, b.Capacity)))
	}
	for _, n := range slices.Compact([]int{0, top / 2, top}) {
		o.Levels = append(o.Levels, tick{Y: pixel(y(n)), Text: count(int64(n))})
	}
	o.Words = "Nothing is planned."
	if len(o.Load)+len(o.Full)+len(o.Over) > 0 {
		o.Words = fmt.Sprintf("At most %s at once, first at %s.", plural(highest, "device", "devices"), peakAt.In(d.zone).Format("15:04"))
		if len(bands) == 0 {
			o.Words += " The capacity is not exceeded."
		} else {
			o.Words += " It has " + plural(len(bands), "overload", "overloads") + "."
		}
	}
}

// hourly is a piece of a day without its date.
func (d desk) hourly(from, to time.Time) string {
	return from.In(d.zone).Format("15:04") + "–" + to.In(d.zone).Format("15:04")
}

func loadText(s api.CapacitySlot) string {
	if s.Limit >= plan.Unlimited {
		return plural(s.Load, "device", "devices") + ", without a limit"
	}
	return count(int64(s.Load)) + " of " + plural(s.Limit, "device", "devices")
}

func stateClass(state string) string {
	if slices.Contains([]string{"running", "done", "failed", "cancelled"}, state) {
		return state
	}
	return "planned"
}

func (o *drawing) singles(d desk, a axis, deliveries []api.Delivery) {
	for _, v := range deliveries {
		p := d.planned(d.gateway, v, d.contract)
		row := o.row(v.DeviceID + " · " + p.State.Word)
		y := float64(rowHeight*(len(o.Rows)-1) + barTop)
		row.window(a, v.Window, y)
		e := plan.Estimate(v.Root())
		for start := range startsOf(v.Schedule, a.from.Add(-e.P95), a.to) {
			if len(row.Bars) >= 2*48 {
				break
			}
			title := fmt.Sprintf("%s, %s %s, %s", v.DeviceID, p.Package, d.hourly(start, start.Add(e.P95)), p.State.Word)
			row.Bars = append(row.Bars, a.across(start, start.Add(e.P95), y, barHeight, "bar-"+stateClass(v.State), title))
			if e.Basis != mfpgate.DurationAssumed && e.P50 < e.P95 {
				row.Bars = append(row.Bars, a.across(start, start.Add(e.P50), y, barHeight, "half", title))
			}
		}
	}
}

func (o *drawing) row(label string) *drawnRow {
	o.Rows = append(o.Rows, drawnRow{Label: clip(label, labelLength), TextY: strconv.Itoa(rowHeight*len(o.Rows) + barTop - 4)})
	return &o.Rows[len(o.Rows)-1]
}

func clip(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

func (r *drawnRow) window(a axis, w *api.StartWindow, y float64) {
	if w == nil {
		return
	}
	from, to := a.from, a.to
	if w.EarliestStart != nil {
		from = later(from, *w.EarliestStart)
	}
	if w.LatestEnd != nil {
		to = earlier(to, *w.LatestEnd)
	}
	if from.Before(to) {
		b := a.across(from, to, y-2, barHeight+4, "window", "")
		r.Window = &b
	}
}

// batches draws how many devices of each batch are served over time; the tallest bar is the batch's own most.
func (o *drawing) batches(d desk, a axis, deliveries []api.Delivery) {
	all := batchesOf(d, deliveries)
	o.MoreRows = max(0, len(all)-drawnRows)
	step := a.to.Sub(a.from) / batchSteps
	for _, b := range all[:len(all)-o.MoreRows] {
		row := o.row(clip(b.Name, 24) + " · " + b.Devices)
		y := float64(rowHeight*(len(o.Rows)-1) + barTop)
		row.window(a, b.window(), y)
		var at [batchSteps + 1]int
		for _, v := range b.list {
			lasts, _ := lastsOf(v)
			for start := range startsOf(v.Schedule, a.from.Add(-lasts), a.to) {
				first := min(max(int(start.Sub(a.from)/step), 0), batchSteps)
				last := min(max(int((start.Add(lasts).Sub(a.from)-1)/step)+1, first+1), batchSteps)
				if first < batchSteps {
					at[first]++
					at[last]--
				}
			}
		}
		var loads [batchSteps]int
		most, now := 1, 0
		for i := range loads {
			now += at[i]
			loads[i] = now
			most = max(most, now)
		}
		for i := 0; i < batchSteps; {
			from, n := i, loads[i]
			for i < batchSteps && loads[i] == n {
				i++
			}
			if n > 0 {
				h := max(barHeight*float64(n)/float64(most), 2)
				begin, end := a.from.Add(time.Duration(from)*step), a.from.Add(time.Duration(i)*step)
				row.Bars = append(row.Bars, a.across(begin, end, y+barHeight-h, h, "bar-"+b.class, fmt.Sprintf("%s, %s: %s", b.Name, d.hourly(begin, end), plural(n, "device", "devices"))))
			}
		}
	}
}
