package console

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// draft is a delivery as the form has it. What is in it goes back to the operator as it was typed.
type draft struct {
	ID, Device, Kind, Package, PackageVersion, Batch string
	Start, Zone, Fold, Earliest, Latest, P50, P95    string
	Priority, Pinned, Version, Seen                  string
	Movable                                          bool
}

var kinds = [...]string{"firmware", "application", "licence", "settings"}

func draftFrom(form url.Values) draft {
	text := func(name string) string { return strings.TrimSpace(form.Get(name)) }
	return draft{ID: text("id"), Device: text("device"), Kind: text("kind"), Package: text("package"), PackageVersion: text("packageVersion"), Batch: text("batch"),
		Start: text("start"), Zone: text("zone"), Fold: text("fold"), Earliest: text("earliest"), Latest: text("latest"), P50: text("p50"), P95: text("p95"),
		Priority: text("priority"), Pinned: text("pinned"), Version: text("version"), Seen: form.Get("seen"), Movable: form.Has("movable")}
}

// draftOf shows a delivery in the form, by the clock of its own zone.
func (d desk) draftOf(v api.Delivery) draft {
	own := d.own(v.Schedule.TimeZone)
	out := draft{ID: v.DeliveryID, Device: v.DeviceID, Kind: v.Kind, Package: v.PackageID, PackageVersion: v.PackageVersion, Batch: v.BatchID, Zone: own.zone.String(),
		Fold: v.Schedule.Fold, Priority: strconv.Itoa(v.Priority), Pinned: v.PinnedReason, Version: string(v.Version), Seen: d.seen(v), Movable: v.Movable == nil || *v.Movable}
	if start, ok := startOf(v.Schedule); ok {
		out.Start = own.local(start)
	}
	if w := v.Window; w != nil {
		if w.EarliestStart != nil {
			out.Earliest = own.local(*w.EarliestStart)
		}
		if w.LatestEnd != nil {
			out.Latest = own.local(*w.LatestEnd)
		}
	}
	if e := v.Duration; e != nil {
		out.P50, out.P95 = minutes(e.P50), minutes(e.P95)
	}
	return out
}

// own is the clock of another zone, the gateway's if there is no such zone.
func (d desk) own(zone string) clock {
	if loc, err := calendar.ParseZone(zone); err == nil {
		return clock{loc, d.now}
	}
	return d.clock
}

func minutes(of api.Duration) string {
	if of <= 0 {
		return ""
	}
	return strconv.FormatFloat(time.Duration(of).Minutes(), 'f', -1, 64)
}

// apply puts the draft over a delivery. What the operator left as it was shown stays exact: an input shows no seconds. The errors name
// the form's own labels.
func (d desk) apply(f draft, v api.Delivery) (api.Delivery, []string) {
	var errs []string
	was := d.draftOf(v)
	wrong := func(label, rule string) { errs = append(errs, label+": "+rule) }
	zone, err := calendar.ParseZone(cmp.Or(f.Zone, d.zone.String()))
	if err != nil {
		wrong("Time zone", "must be an IANA name such as Asia/Tokyo")
		zone = d.zone
	}
	own := clock{zone, d.now}
	sameZone := was.Zone == zone.String()
	v.DeviceID, v.Kind, v.PackageID, v.PackageVersion, v.BatchID = f.Device, f.Kind, f.Package, f.PackageVersion, f.Batch
	if v.DeviceID == "" || len(v.DeviceID) > 64 {
		wrong("Device", "is the id of one of the gateway's devices")
	}
	if v.Kind != "" && !slices.Contains(kinds[:], v.Kind) {
		wrong("Kind", "must be one of the list")
	}
	if f.Start != was.Start || !sameZone || f.Fold != was.Fold {
		l, err := calendar.ParseLocalTime(f.Start)
		if err != nil {
			wrong("Start", "must be a date and a time")
		}
		v.Schedule.Local, v.Schedule.TimeZone, v.Schedule.StartUTC, v.Schedule.Fold = l.String(), zone.String(), nil, ""
		if f.Fold == "second" {
			v.Schedule.Fold = f.Fold
		}
	}
	window := api.StartWindow{}
	if v.Window != nil {
		window = *v.Window
	}
	instant := func(label, typed, shown string, old *time.Time) *time.Time {
		switch {
		case typed == "":
			return nil
		case typed == shown && sameZone:
			return old
		}
		t, err := own.instant(typed)
		if err != nil {
			wrong(label, "must be a date and a time, or empty")
		}
		return &t
	}
	window.EarliestStart = instant("Earliest start", f.Earliest, was.Earliest, window.EarliestStart)
	window.LatestEnd = instant("Latest end", f.Latest, was.Latest, window.LatestEnd)
	if v.Window = &window; window.EarliestStart == nil && window.LatestEnd == nil && len(window.Blackouts) == 0 {
		v.Window = nil
	}
	if f.P50 != was.P50 || f.P95 != was.P95 {
		e := api.Estimate{P50: lengthOf(f.P50, "Usual duration", wrong), P95: lengthOf(f.P95, "Longest duration", wrong), Basis: "assumed"}
		if v.Duration = &e; e.P50 == 0 && e.P95 == 0 {
			v.Duration = nil
		}
		if e.P50 > 0 && e.P95 > 0 && e.P95 < e.P50 {
			wrong("Longest duration", "must not be below the usual one")
		}
	}
	if v.Priority, err = strconv.Atoi(cmp.Or(f.Priority, "0")); err != nil || v.Priority < 0 || v.Priority > 9 {
		wrong("Priority", "must be 0 to 9")
	}
	if f.Movable != was.Movable || f.Pinned != was.Pinned {
		v.Movable, v.PinnedReason = &f.Movable, f.Pinned
		if f.Movable {
			v.PinnedReason = ""
		}
	}
	return v, errs
}

func lengthOf(text, label string, wrong func(label, rule string)) api.Duration {
	if text == "" {
		return 0
	}
	m, err := strconv.ParseFloat(text, 64)
	if err != nil || !(m > 0 && m <= 10080) {
		wrong(label, "must be minutes, up to a week, or empty")
		return 0
	}
	return api.Duration(time.Duration(m * float64(time.Minute)).Round(time.Second))
}

// fill puts an instant into the draft.
func (d desk) fill(f *draft, at time.Time) {
	own := d.own(f.Zone)
	f.Start, f.Fold = own.local(at), ""
	if back, err := own.instant(f.Start); err == nil && own.twice(at) && !back.Equal(at.Truncate(time.Minute)) {
		f.Fold = "second"
	}
}

// hourView is an hour of the day beside the form.
type hourView struct {
	Text     string // 02:00
	State    mark
	Load     string
	Percent  int
	Class    string // of its bar
	Known    bool
	Pick     string // of the button; "" if the hour cannot be chosen
	Clock    string // what the button says
	Selected bool
}

// hoursOf are the hours of the day by the place's clock, with the room that each has.
func (d desk) hoursOf(slots []api.CapacitySlot, from, to, start time.Time) []hourView {
	var out []hourView
	freeze := d.now.Add(time.Duration(d.contract.LeadTime))
	y, m, day := from.In(d.zone).Date()
	for h := range 24 {
		begin, end := d.hour(y, m, day, h), d.hour(y, m, day, h+1)
		if h == 23 {
			end = to
		}
		if !begin.Before(end) { // the clock skips it
			continue
		}
		v := hourView{Text: begin.In(d.zone).Format("15:04"), Selected: !start.Before(begin) && start.Before(end)}
		load, limit, free, over, full := 0, -1, time.Time{}, false, false
		for _, s := range slots {
			if !s.From.Before(end) || !s.To.After(begin) {
				continue
			}
			load = max(load, s.Load)
			if limit < 0 || s.Limit < limit {
				limit = s.Limit
			}
			over, full = over || s.State == api.SlotOver, full || s.State == api.SlotFull
			if at := later(s.From, begin); s.State == api.SlotFree && free.IsZero() && !at.Before(freeze) {
				free = at
			}
		}
		v.Load = count(int64(load))
		if v.Known = limit > 0 && limit < plan.Unlimited; v.Known {
			v.Load += " of " + count(int64(limit))
			v.Percent = min(100*load/limit, 100)
		}
		v.Class = "load"
		switch {
		case limit < 0:
			v.State, v.Load = mark{"quiet", "○", "Not known"}, "–"
		case !end.After(freeze):
			v.State, free = mark{"quiet", "○", "Too soon"}, time.Time{}
		case over:
			v.State, v.Class = mark{"bad", "✕", "Over"}, "over"
		case full && free.IsZero():
			v.State, v.Class = mark{"warn", "■", "Full"}, "full"
		case full:
			v.State, v.Class = mark{"warn", "◧", "Full at times"}, "full"
		default:
			v.State = mark{"good", "●", "Free"}
		}
		if !free.IsZero() && !over {
			v.Pick, v.Clock = valueOf(free), free.In(d.zone).Format("15:04")
		}
		out = append(out, v)
	}
	return out
}

func lead(d desk) string {
	return fmt.Sprintf("Devices ask for their schedule seldom: a start must be at least %s from now.", lasting(time.Duration(d.contract.LeadTime)))
}
