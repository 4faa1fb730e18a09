package console

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// How much the warning screen shows.
const (
	bandsPage        = 20
	bandsClosed      = 10
	contributorsPage = 12
	adjustedPage     = 30
)

// bandView is a reported overload.
type bandView struct {
	api.Warning
	Label            string // of its buttons and headings
	During           during
	PeakAt           moment
	State            mark
	Ignored          moment
	Opened, Closed   moment
	Certainty        mark
	Chance           string
	Excess           string
	Contributors     []contributorView
	MoreContributors int
	Path             string // of the page with its deliveries
	Timeline         string
}

type contributorView struct {
	Kind, ID string
	Path     string // of its deliveries; "" for background
	Count    int
	Peak     int
}

func (d desk) bandOf(w api.Warning) bandView {
	v := bandView{Warning: w, During: d.during(w.From, w.To), PeakAt: d.at(w.PeakAt), Opened: d.passed(w.OpenedAt),
		Excess: excess(w.ExcessDeviceSeconds), Chance: chance(w.Probability),
		Path:     warningsPath(d.gateway) + "?" + url.Values{"band": {w.BandID}}.Encode(),
		Timeline: schedulePath(d.gateway) + "?" + url.Values{"day": {w.From.In(d.zone).Format(time.DateOnly)}}.Encode()}
	v.Label = v.During.From.Text + " to " + v.During.To.Text
	switch w.State {
	case api.WarningAcknowledged:
		v.State = mark{"plan", "✓", "Acknowledged"}
	case api.WarningIgnored:
		v.State = mark{"quiet", "○", "Ignored"}
		if w.IgnoredUntil != nil {
			v.Ignored = d.at(*w.IgnoredUntil)
		}
	case api.WarningClosed:
		v.State = mark{"good", "✓", "Over"}
		if w.ClosedAt != nil {
			v.Closed = d.passed(*w.ClosedAt)
		}
	default:
		v.State = mark{"warn", "▲", "Open"}
	}
	if w.Certainty == "certain" {
		v.Certainty = mark{"bad", "✕", "Certain: too many even if each takes only its usual time"}
	} else {
		v.Certainty = mark{"warn", "▲", "A risk: too many if they take as long as is planned with"}
	}
	for _, k := range w.Contributors {
		line := contributorView{Kind: "Batch", ID: k.BatchID, Count: k.Count, Peak: k.PeakShare}
		if k.Type == "background" {
			line.Kind, line.ID = "Service", k.ServiceID
		} else {
			line.Path = v.Timeline + "&" + url.Values{"batch": {k.BatchID}}.Encode()
		}
		line.ID = cmp.Or(line.ID, "without a batch")
		v.Contributors = append(v.Contributors, line)
	}
	v.MoreContributors = max(0, len(v.Contributors)-contributorsPage)
	v.Contributors = v.Contributors[:len(v.Contributors)-v.MoreContributors]
	return v
}

// chance is a probability in words.
func chance(p float64) string {
	percent := strconv.Itoa(int(math.Round(100*min(max(p, 0), 1)))) + "\u00a0%"
	switch {
	case math.IsNaN(p):
		return "not known"
	case p >= 0.995:
		return "practically sure"
	case p >= 0.9:
		return percent + ", very likely"
	case p >= 0.6:
		return percent + ", likely"
	case p >= 0.4:
		return percent + ", about as likely as not"
	case p >= 0.05:
		return percent + ", unlikely but possible"
	default:
		return "below 5\u00a0%"
	}
}

// excess is devices above capacity over time: 1.5 device-hours.
func excess(deviceSeconds float64) string {
	if deviceSeconds <= 0 || deviceSeconds > 1e12 {
		return ""
	}
	if deviceSeconds < 3600 {
		return strconv.Itoa(int(math.Ceil(deviceSeconds/60))) + " device-minutes"
	}
	return strconv.FormatFloat(deviceSeconds/3600, 'f', 1, 64) + " device-hours"
}

// warningsPage is the warning screen.
type warningsPage struct {
	frame
	Bands    []bandView
	Pages    pager
	AllShown bool
	Closed   []bandView
	Chosen   *adjustView
	Service  bool
	Path     string
	Moved    string // how many deliveries the form before has moved
	Done     string // what it did else
	Refused  *refusal
}

func (c *Console) warnings(w http.ResponseWriter, r *http.Request) {
	d, page, err := c.warningsPage(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	query := r.URL.Query()
	band := query.Get("band")
	if band == "" && len(page.Bands) > 0 {
		band = page.Bands[0].BandID
	}
	if band != "" {
		if page.Chosen, err = c.adjustment(r.Context(), d, band, nil); err != nil {
			c.refuse(w, r, err)
			return
		}
	}
	if n, err := strconv.Atoi(query.Get("moved")); err == nil && n > 0 && n <= adjustedPage {
		page.Moved = plural(n, "delivery was", "deliveries were")
	}
	page.Done = map[string]string{"acknowledge": "The warning is acknowledged.", "ignoreUntil": "The warning is ignored until the time that you set.",
		"requestProposal": "The gateway is asked for a proposal. It comes under Proposals when the gateway has computed it."}[query.Get("done")]
	c.render(w, r, http.StatusOK, "warnings.html", page)
}

func (c *Console) warningsPage(r *http.Request) (desk, warningsPage, error) {
	d, f, err := c.begin(r, "Warnings", "warnings")
	if err != nil {
		return d, warningsPage{}, err
	}
	page := warningsPage{frame: f, Service: d.contract.Has(api.ServiceDelivery), Path: warningsPath(d.gateway)}
	all, err := c.Schedule.Warnings(r.Context(), d.gateway, "")
	if err != nil {
		return d, page, err
	}
	var current, closed []api.Warning
	for _, w := range all {
		if w.State == api.WarningClosed {
			closed = append(closed, w)
		} else {
			current = append(current, w)
		}
	}
	slices.SortStableFunc(current, func(a, b api.Warning) int {
		return cmp.Or(cmp.Compare(rank(a.State), rank(b.State)), a.From.Compare(b.From))
	})
	slices.SortStableFunc(closed, func(a, b api.Warning) int { return b.From.Compare(a.From) })
	shown := r.URL.Query()
	shown = url.Values{"page": shown["page"]}
	current, page.Pages, page.AllShown = paged(current, bandsPage, page.Path, shown)
	for _, w := range current {
		page.Bands = append(page.Bands, d.bandOf(w))
	}
	for _, w := range closed[:min(len(closed), bandsClosed)] {
		page.Closed = append(page.Closed, d.bandOf(w))
	}
	return d, page, nil
}

func rank(state string) int {
	return slices.Index([]string{api.WarningOpen, api.WarningAcknowledged, api.WarningIgnored}, state)
}

func (c *Console) actOnWarning(w http.ResponseWriter, r *http.Request) {
	gateway, band := r.PathValue("gw"), r.PathValue("band")
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	action := api.WarningAction{Action: r.PostFormValue("action")}
	switch action.Action {
	case "acknowledge", "requestProposal":
	case "ignoreUntil":
		d, _, err := c.begin(r, "", "")
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		until, err := d.instant(r.PostFormValue("until"))
		if err != nil || !until.After(d.now) {
			c.Message(w, r, http.StatusUnprocessableEntity, "A warning is ignored until a date and a time that are still to come. Go back and set one.")
			return
		}
		action.Until = &until
	default:
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the warnings again and choose there.")
		return
	}
	if _, err := c.Schedule.ActOnWarning(r.Context(), gateway, band, action, c.Operator(r)); err != nil {
		c.refuse(w, r, err)
		return
	}
	http.Redirect(w, r, warningsPath(gateway)+"?"+url.Values{"band": {band}, "done": {action.Action}}.Encode(), http.StatusSeeOther)
}

// bandsNow are the overloads of the schedule as it is now that touch a piece of time.
func (c *Console) bandsNow(ctx context.Context, d desk, from, to time.Time) ([]api.Band, error) {
	bands, err := c.Schedule.Bands(ctx, d.gateway, from, to)
	if err != nil {
		return nil, fmt.Errorf("detect overloads: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(bands), func(b api.Band) bool { return !b.From.Before(to) || !b.To.After(from) }), nil
}
