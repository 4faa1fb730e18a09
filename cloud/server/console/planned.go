package console

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// plannedView is a delivery as every page of the schedule shows it.
type plannedView struct {
	api.Delivery
	Path, DevicePath string
	Package          string
	Batch            string
	State            mark
	Starts           time.Time // zero: never
	Start            moment
	Ends             moment // by the duration that is planned with
	Lasts            string
	Window           string
	Fixed            string // why it is not moved; "" if it may be
}

func (c clock) planned(gateway string, d api.Delivery, contract api.Contract) plannedView {
	v := plannedView{Delivery: d, Path: deliveryPath(gateway, d.DeliveryID), DevicePath: devicePath(gateway, d.DeviceID),
		Package: strings.TrimSpace(d.PackageID + " " + d.PackageVersion), Batch: d.BatchID, State: deliveryStateOf(d.State)}
	v.Package = cmp.Or(v.Package, d.Kind, "–")
	if start, ok := startOf(d.Schedule); ok {
		v.Starts, v.Start = start, c.at(start)
	}
	lasts, known := lastsOf(d)
	if v.Lasts = lasting(lasts); !known {
		v.Lasts += ", assumed"
	}
	if !v.Starts.IsZero() {
		v.Ends = c.during(v.Starts, v.Starts.Add(lasts)).To
	}
	v.Window = c.window(d.Window)
	v.Fixed = c.fixed(d, v.Starts, contract)
	return v
}

// lastsOf is the duration that is planned with, and whether it stands on more than an assumption.
func lastsOf(d api.Delivery) (time.Duration, bool) {
	e := plan.Estimate(d.Root())
	return e.P95, e.Basis != mfpgate.DurationAssumed
}

func (c clock) window(w *api.StartWindow) string {
	if w == nil || w.EarliestStart == nil && w.LatestEnd == nil {
		return "any time"
	}
	switch {
	case w.LatestEnd == nil:
		return "from " + c.at(*w.EarliestStart).Text
	case w.EarliestStart == nil:
		return "until " + c.at(*w.LatestEnd).Text
	}
	d := c.during(*w.EarliestStart, *w.LatestEnd)
	return d.From.Text + "–" + d.To.Text
}

// fixed says why a delivery may not be given another start, by the rules of the planner.
func (c clock) fixed(d api.Delivery, start time.Time, contract api.Contract) string {
	lead := time.Duration(contract.LeadTime)
	switch {
	case d.State != "" && d.State != "planned":
		return "is " + d.State
	case d.Movable != nil && !*d.Movable:
		return cmp.Or(d.PinnedReason, "pinned")
	case d.Schedule.RRule != "":
		return "recurs"
	case start.IsZero():
		return "has no start"
	case start.Before(c.now.Add(lead)):
		return fmt.Sprintf("starts within %s, when devices may have asked for their schedule already", lasting(lead))
	}
	return ""
}

// counts reports whether the delivery is load at all.
func counts(d api.Delivery) bool {
	return d.State == "" || d.State == "planned" || d.State == "running"
}

func deliveryStateOf(state string) mark {
	switch state {
	case "", "planned":
		return mark{"plan", "◷", "Planned"}
	case "running":
		return mark{"good", "▶", "Running"}
	case "done":
		return mark{"quiet", "✓", "Done"}
	case "failed":
		return mark{"bad", "✕", "Failed"}
	case "cancelled":
		return mark{"quiet", "⊘", "Cancelled"}
	default:
		return mark{"quiet", "○", sentence(spaced(state))}
	}
}

// difference is a thing of a delivery that is no longer what the operator saw.
type difference struct{ What, Was, Is string }

// told are the things of a delivery whose change an operator is told of, in the order in which they are.
func (c clock) told(d api.Delivery) [][2]string {
	start := "none"
	if t, ok := startOf(d.Schedule); ok {
		start = c.at(t).Text
	}
	lasts, known := lastsOf(d)
	length := lasting(lasts)
	if !known {
		length += ", assumed"
	}
	movable := "yes"
	if d.Movable != nil && !*d.Movable {
		movable = cmp.Or(d.PinnedReason, "no")
	}
	return [][2]string{{"Start", start}, {"State", deliveryStateOf(d.State).Word}, {"Window", c.window(d.Window)}, {"Duration", length},
		{"Priority", fmt.Sprint(d.Priority)}, {"Movable", movable}, {"Device", d.DeviceID}, {"Package", strings.TrimSpace(d.PackageID + " " + d.PackageVersion)}}
}

// seen writes what the operator sees into a form, so that what has changed can be said when the form comes back.
func (c clock) seen(d api.Delivery) string {
	values := url.Values{}
	for _, f := range c.told(d) {
		values.Set(f[0], f[1])
	}
	return values.Encode()
}

// differences are what is not as seen said.
func (c clock) differences(seen string, d api.Delivery) []difference {
	values, err := url.ParseQuery(seen)
	if err != nil {
		return nil
	}
	var out []difference
	for _, f := range c.told(d) {
		if was := values.Get(f[0]); values.Has(f[0]) && was != f[1] {
			out = append(out, difference{f[0], was, f[1]})
		}
	}
	return out
}

func schedulePath(gateway string) string  { return gatewayPath(gateway) + "/schedule" }
func warningsPath(gateway string) string  { return gatewayPath(gateway) + "/warnings" }
func proposalsPath(gateway string) string { return gatewayPath(gateway) + "/proposals" }
func deliveryPath(gateway, id string) string {
	return gatewayPath(gateway) + "/deliveries/" + url.PathEscape(id)
}
