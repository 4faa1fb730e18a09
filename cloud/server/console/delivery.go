package console

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// suggested is how many devices the form names.
const suggested = 200

// deliveryPage is the form of a delivery, with the hours of a day beside it.
type deliveryPage struct {
	frame
	New              bool
	View             plannedView // of an existing one
	Draft            draft
	Action, Timeline string
	Kinds            []string
	Devices          []Device
	Day, DayName     string
	Hours            []hourView
	Previous, After  string // days
	Lead             string
	Refused          *refusal
	Errors           []string
	SavedPath        string // of a new one that turns out to be saved already
	Note             string
	Found            []choice // free times that were asked for
	Editable         bool
}

func (c *Console) newDelivery(w http.ResponseWriter, r *http.Request) {
	d, page, err := c.deliveryPage(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	page.Draft = draft{ID: mfpgate.NewID(c.Clock, "dlv"), Kind: "firmware", Zone: d.zone.String(), Priority: "5", Movable: true, P95: "15",
		Device: r.URL.Query().Get("device")}
	c.showDelivery(w, r, d, page, http.StatusOK, r.URL.Query().Get("day"))
}

func (c *Console) delivery(w http.ResponseWriter, r *http.Request) {
	d, page, err := c.deliveryPage(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	page.Draft = d.draftOf(page.View.Delivery)
	page.Note = map[string]string{"saved": "Saved.", "cancelled": "The delivery is cancelled."}[r.URL.Query().Get("done")]
	c.showDelivery(w, r, d, page, http.StatusOK, r.URL.Query().Get("day"))
}

func (c *Console) deliveryPage(r *http.Request) (desk, deliveryPage, error) {
	id := r.PathValue("id")
	d, f, err := c.begin(r, "Plan a delivery", "schedule")
	page := deliveryPage{frame: f, New: id == "", Action: schedulePath(d.gateway) + "/new", Kinds: kinds[:], Lead: lead(d), Editable: true}
	if err != nil || page.New {
		return d, page, err
	}
	delivery, err := c.Schedule.Delivery(r.Context(), d.gateway, id)
	if err != nil {
		return d, page, err
	}
	page.Title, page.Action, page.View = "Delivery", deliveryPath(d.gateway, id), d.planned(d.gateway, delivery, d.contract)
	page.Editable = delivery.State == "" || delivery.State == "planned"
	return d, page, nil
}

// showDelivery adds the hours of the day on which the start lies, or of the day that is asked for.
func (c *Console) showDelivery(w http.ResponseWriter, r *http.Request, d desk, page deliveryPage, status int, day string) {
	own := d.own(page.Draft.Zone)
	start, err := own.instant(page.Draft.Start)
	if err != nil {
		start = time.Time{}
	} else if day == "" {
		day = start.In(d.zone).Format(time.DateOnly)
	}
	if day == "" {
		day = d.now.Add(time.Duration(d.contract.LeadTime)).In(d.zone).Format(time.DateOnly)
	}
	at := d.dayOf(day)
	page.Day, page.DayName = at.Format(time.DateOnly), at.Format("Monday, 2 January 2006")
	page.Previous, page.After = at.AddDate(0, 0, -1).Format(time.DateOnly), at.AddDate(0, 0, 1).Format(time.DateOnly)
	page.Timeline = schedulePath(d.gateway) + "?" + url.Values{"day": {page.Day}}.Encode()
	if page.Editable {
		from, to := d.bounds(at, false)
		slots, err := c.Schedule.Capacity(r.Context(), d.gateway, from, to)
		if err == nil {
			page.Hours = d.hoursOf(slots.Slots, from, to, start)
			page.Devices, _, err = c.Facts.Devices(r.Context(), d.gateway, "", suggested)
		}
		if err != nil {
			c.refuse(w, r, err)
			return
		}
	}
	c.render(w, r, status, "delivery.html", page)
}

// setDelivery saves the form, or fills it: with an hour, another day's hours, or free times.
func (c *Console) setDelivery(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	if err := r.ParseForm(); err != nil {
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the delivery again and change it there.")
		return
	}
	d, page, err := c.deliveryPage(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	page.Draft = draftFrom(r.PostForm)
	if !page.New {
		page.Draft.ID = r.PathValue("id")
	}
	verb, value, _ := strings.Cut(r.PostFormValue("do"), " ")
	switch verb {
	case "save":
		c.saveDelivery(w, r, d, page)
	case "cancel":
		c.cancelDelivery(w, r, d, page)
	case "pick":
		at, err := time.Parse(time.RFC3339Nano, value)
		if err != nil {
			c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the delivery again and change it there.")
			return
		}
		d.fill(&page.Draft, at)
		page.Note = "The start is filled in. Nothing is saved yet."
		c.showDelivery(w, r, d, page, http.StatusOK, "")
	case "day":
		c.showDelivery(w, r, d, page, http.StatusOK, value)
	case "find":
		found, err := c.Schedule.Alternatives(r.Context(), d.gateway, page.Draft.ID, offered)
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		page.Note = "No start within the window of the saved delivery overloads nothing."
		if page.Found = d.choices(found); len(page.Found) > 0 {
			page.Note = "The nearest free times of the saved delivery are below its start."
		}
		c.showDelivery(w, r, d, page, http.StatusOK, "")
	default: // "look", or the key Return in a browser that names no button
		c.showDelivery(w, r, d, page, http.StatusOK, "")
	}
}

func (c *Console) saveDelivery(w http.ResponseWriter, r *http.Request, d desk, page deliveryPage) {
	base := page.View.Delivery
	if page.New {
		base = api.Delivery{DeliveryID: page.Draft.ID}
	} else if page.Draft.Version == "" { // it would create what is there
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the delivery again and change it there.")
		return
	}
	next, errs := d.apply(page.Draft, base)
	if len(errs) > 0 {
		page.Errors = errs
		c.showDelivery(w, r, d, page, http.StatusUnprocessableEntity, "")
		return
	}
	version := api.Version("")
	if !page.New {
		version = api.Version(page.Draft.Version)
	}
	saved, err := c.Schedule.PutDelivery(r.Context(), d.gateway, next, version, c.Operator(r))
	c.afterSave(w, r, d, page, saved, "saved", err)
}

func (c *Console) cancelDelivery(w http.ResponseWriter, r *http.Request, d desk, page deliveryPage) {
	next := page.View.Delivery
	if page.New || page.Draft.Version == "" {
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the delivery again and change it there.")
		return
	}
	version, seen := page.Draft.Version, page.Draft.Seen
	page.Draft = d.draftOf(next) // the button's own form has nothing else
	page.Draft.Version, page.Draft.Seen = version, seen
	next.State = "cancelled"
	saved, err := c.Schedule.PutDelivery(r.Context(), d.gateway, next, api.Version(version), c.Operator(r))
	c.afterSave(w, r, d, page, saved, "cancelled", err)
}

func (c *Console) afterSave(w http.ResponseWriter, r *http.Request, d desk, page deliveryPage, saved api.Delivery, done string, err error) {
	if err == nil {
		id := cmp.Or(saved.DeliveryID, page.Draft.ID)
		http.Redirect(w, r, deliveryPath(d.gateway, id)+"?"+url.Values{"done": {done}}.Encode(), http.StatusSeeOther)
		return
	}
	refused, known := d.refusedBy(err)
	if !known {
		c.refuse(w, r, err)
		return
	}
	if refused.Status == http.StatusPreconditionFailed {
		if page.New {
			refused.Text, page.SavedPath = "A delivery with this form's id is saved already.", deliveryPath(d.gateway, page.Draft.ID)
		} else if now, err := c.Schedule.Delivery(r.Context(), d.gateway, page.Draft.ID); err == nil {
			refused.Differences = d.differences(page.Draft.Seen, now)
			page.View = d.planned(d.gateway, now, d.contract)
			page.Draft.Version, page.Draft.Seen = string(now.Version), d.seen(now)
			page.Editable = now.State == "" || now.State == "planned"
		}
	}
	page.Refused = &refused
	c.showDelivery(w, r, d, page, refused.Status, "")
}
