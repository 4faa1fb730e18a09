package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// adjustView is the deliveries of one band with their new starts.
type adjustView struct {
	Band       bandView
	Gone       bool       // the schedule as it is now overloads nothing there
	Now        []bandLine // what it overloads
	Finished   bool       // the band lies in the past
	Rows       []adjustRow
	Pages      pager
	AllShown   bool
	MustMove   int
	Selected   int
	Movable    int
	Background []string
	Action     string
}

// adjustRow is one delivery of a band, as the form shows it.
type adjustRow struct {
	plannedView
	N        int
	Seen     string
	Shown    string // the start that the form was made with, for the input
	NewStart string // what the input has
	Choices  []choice
	None     bool // no start was found that overloads nothing
	Selected bool
	Refused  *refusal
	Saved    bool
}

// adjusted is what a form of adjustments brings back of one row.
type adjusted struct {
	id, version, seen, shown, start string
	selected                        bool
	refused                         *refusal
	saved                           bool
}

// adjustment reads a band's deliveries. What a form brought back is kept, by delivery.
func (c *Console) adjustment(ctx context.Context, d desk, band string, kept map[string]adjusted) (*adjustView, error) {
	warning, err := c.Schedule.Warning(ctx, d.gateway, band)
	if err != nil {
		return nil, err
	}
	v := &adjustView{Band: d.bandOf(warning), Action: warningsPath(d.gateway) + "/" + url.PathEscape(band)}
	now, err := c.bandsNow(ctx, d, warning.From, warning.To)
	if err != nil {
		return nil, err
	}
	v.Gone, v.Finished = len(now) == 0, !warning.To.After(d.now)
	v.Now = d.bandLines(now)
	deliveries, err := c.inBands(ctx, d, now)
	if err != nil {
		return nil, err
	}
	for _, k := range warning.Contributors {
		if k.Type == "background" {
			v.Background = append(v.Background, k.ServiceID)
		}
	}
	for _, b := range now {
		v.MustMove = max(v.MustMove, b.MustMove)
	}
	rows := c.rows(d, deliveries, now)
	for _, r := range rows {
		if r.Fixed == "" {
			v.Movable++
		}
	}
	// What the form brought back stays in sight, though its delivery has left the band.
	for id, k := range kept {
		if k.refused == nil || slices.ContainsFunc(rows, func(r adjustRow) bool { return r.DeliveryID == id }) {
			continue
		}
		if left, err := c.Schedule.Delivery(ctx, d.gateway, id); err == nil {
			rows = slices.Insert(rows, 0, adjustRow{plannedView: d.planned(d.gateway, left, d.contract)})
		}
	}
	v.Rows, v.Pages, v.AllShown = paged(rows, adjustedPage, "", nil)
	for i := range v.Rows {
		row := &v.Rows[i]
		row.N, row.Seen, row.Shown = i, d.seen(row.Delivery), d.local(row.Starts)
		row.NewStart = row.Shown
		if k, ok := kept[row.DeliveryID]; ok {
			row.Selected, row.Refused, row.Saved = k.selected, k.refused, k.saved
			if !k.saved {
				row.NewStart = k.start
			}
		}
		if row.Refused != nil && len(row.Refused.Alternatives) > 0 {
			row.Choices = row.Refused.Alternatives
		} else if row.Fixed == "" {
			found, err := c.Schedule.Alternatives(ctx, d.gateway, row.DeliveryID, offered)
			if err != nil && statusOf(err) >= http.StatusInternalServerError {
				return nil, err
			}
			row.Choices = d.choices(found)
		}
		row.None = row.Fixed == "" && len(row.Choices) == 0
		if kept == nil && row.Fixed == "" && !row.None && v.Selected < v.MustMove {
			row.Selected = true
		}
		if row.Selected {
			v.Selected++
		}
	}
	return v, nil
}

// inBands are the deliveries that run in any of the bands, by the durations that are planned with.
func (c *Console) inBands(ctx context.Context, d desk, bands []api.Band) ([]api.Delivery, error) {
	if len(bands) == 0 {
		return nil, nil
	}
	from, to := bands[0].From, bands[0].To
	for _, b := range bands {
		from, to = earlier(from, b.From), later(to, b.To)
	}
	found, err := c.Schedule.Deliveries(ctx, d.gateway, from, to)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(found), func(v api.Delivery) bool {
		return !counts(v) || !slices.ContainsFunc(bands, func(b api.Band) bool { return runsIn(v, b.From, b.To) })
	}), nil
}

// runsIn reports whether a delivery is load between from and to.
func runsIn(d api.Delivery, from, to time.Time) bool {
	lasts, _ := lastsOf(d)
	for start := range startsOf(d.Schedule, from.Add(-lasts), to) {
		if start.Add(lasts).After(from) {
			return true
		}
	}
	return false
}

// rows puts first what is best moved: what may be moved, adds to the peak, and is least urgent.
func (c *Console) rows(d desk, deliveries []api.Delivery, bands []api.Band) []adjustRow {
	rows := make([]adjustRow, len(deliveries))
	order := make(map[string]int, len(deliveries))
	for i, v := range deliveries {
		rows[i].plannedView = d.planned(d.gateway, v, d.contract)
		switch atPeak := slices.ContainsFunc(bands, func(b api.Band) bool { return runsIn(v, b.PeakAt, b.PeakAt.Add(time.Millisecond)) }); {
		case rows[i].Fixed != "":
			order[v.DeliveryID] = 2
		case !atPeak:
			order[v.DeliveryID] = 1
		}
	}
	slices.SortStableFunc(rows, func(a, b adjustRow) int {
		return cmp.Or(cmp.Compare(order[a.DeliveryID], order[b.DeliveryID]), cmp.Compare(a.Priority, b.Priority),
			b.Starts.Compare(a.Starts), strings.Compare(a.DeliveryID, b.DeliveryID))
	})
	return rows
}

// moveDeliveries saves new starts: one that is picked, those whose inputs were changed, or the nearest free ones of those that are selected.
func (c *Console) moveDeliveries(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<18)
	if err := r.ParseForm(); err != nil {
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the warnings again and choose there.")
		return
	}
	d, page, err := c.warningsPage(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	band := r.PathValue("band")
	rows := adjustedRows(r.PostForm)
	done, n, ok := wanted(r.PostFormValue("do"), rows)
	if !ok {
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the warnings again and choose there.")
		return
	}
	by, status, saved, asked := c.Operator(r), http.StatusOK, 0, 0
	for i := range rows {
		row := &rows[i]
		var to time.Time
		var err error // of this row alone
		switch done {
		case "selected":
			if !row.selected {
				continue
			}
		case "changed":
			if row.start == row.shown {
				continue
			}
		default:
			if i != n {
				continue
			}
		}
		asked++
		if at, is := strings.CutPrefix(done, "pick "); is {
			to, err = time.Parse(time.RFC3339Nano, at)
		} else if done != "selected" {
			to, err = d.instant(row.start)
		}
		if err == nil {
			err = c.moveOne(r.Context(), d, *row, to, by)
		} else {
			err = notATime{err}
		}
		if err == nil {
			row.saved, row.selected = true, false
			saved++
			continue
		}
		refused, known := d.refusedBy(err)
		if !known {
			c.refuse(w, r, err)
			return
		}
		if refused.Status == http.StatusPreconditionFailed {
			if now, err := c.Schedule.Delivery(r.Context(), d.gateway, row.id); err == nil {
				refused.Differences = d.differences(row.seen, now)
			}
		}
		row.refused, status = &refused, refused.Status
	}
	unsaved := slices.ContainsFunc(rows, func(r adjusted) bool { return !r.saved && r.start != r.shown })
	if saved == asked && saved > 0 && !unsaved {
		http.Redirect(w, r, warningsPath(d.gateway)+"?"+url.Values{"band": {band}, "moved": {strconv.Itoa(saved)}}.Encode()+"#adjust", http.StatusSeeOther)
		return
	}
	kept := make(map[string]adjusted, len(rows))
	for _, row := range rows {
		kept[row.id] = row
	}
	if d, page, err = c.warningsPage(r); err == nil { // once more: what was saved may have changed it
		page.Chosen, err = c.adjustment(r.Context(), d, band, kept)
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	page.Moved = ""
	if saved > 0 {
		page.Moved = plural(saved, "delivery was", "deliveries were")
	}
	switch {
	case asked == 0:
		page.Refused = &refusal{Status: status, Text: "Nothing was chosen: select deliveries, or change a start."}
	case saved == asked:
		page.Refused = &refusal{Status: status, Text: "Other starts that you typed are not saved yet."}
	default:
		page.Refused = &refusal{Status: status}
		page.Refused.Text = plural(asked-saved, "delivery was", "deliveries were") + " not moved; each says why below. What you typed is kept."
	}
	c.render(w, r, status, "warnings.html", page)
}

// notATime is the refusal of what an operator typed.
type notATime struct{ error }

func (notATime) GetStatus() int { return http.StatusUnprocessableEntity }
func (notATime) Error() string  { return "the new start is not a date and a time" }

// wanted reads which button was pressed: "selected", "changed", "save N", "pick N INSTANT". n is the row that it names.
func wanted(do string, rows []adjusted) (done string, n int, ok bool) {
	verb, rest, _ := strings.Cut(do, " ")
	switch verb {
	case "selected", "changed":
		return verb, -1, true
	case "save", "pick":
		number, at, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n >= len(rows) {
			return "", 0, false
		}
		if verb == "pick" {
			verb += " " + at
		}
		return verb, n, true
	}
	return "", 0, false
}

func adjustedRows(form url.Values) []adjusted {
	var rows []adjusted
	for n := range adjustedPage {
		name := func(field string) string { return field + "." + strconv.Itoa(n) }
		if !form.Has(name("id")) {
			break
		}
		rows = append(rows, adjusted{id: form.Get(name("id")), version: form.Get(name("version")), seen: form.Get(name("seen")), shown: form.Get(name("shown")),
			start: form.Get(name("start")), selected: slices.Contains(form["select"], strconv.Itoa(n))})
	}
	return rows
}

// moveOne gives a delivery another start, the nearest free one if to is zero.
func (c *Console) moveOne(ctx context.Context, d desk, row adjusted, to time.Time, by string) error {
	delivery, err := c.Schedule.Delivery(ctx, d.gateway, row.id)
	if err != nil {
		return err
	}
	version := api.Version(row.version)
	nearest := to.IsZero()
	for try := 1; ; try++ {
		if nearest {
			if delivery.Version != version { // or the nearest would be that of a delivery which nobody has seen
				return changedSince{}
			}
			found, err := c.Schedule.Alternatives(ctx, d.gateway, row.id, 1)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return noStart{}
			}
			to = found[0].StartUTC
		}
		delivery.Schedule = scheduleAt(delivery.Schedule, to)
		_, err := c.Schedule.PutDelivery(ctx, d.gateway, delivery, version, by)
		var taken interface {
			error
			Problem() api.Problem
		}
		// Somebody else may have taken the free time meanwhile.
		if nearest && try == 1 && errors.As(err, &taken) && statusOf(err) == http.StatusConflict {
			continue
		}
		return err
	}
}

type changedSince struct{}

func (changedSince) Error() string  { return "the delivery has changed" }
func (changedSince) GetStatus() int { return http.StatusPreconditionFailed }

type noStart struct{}

func (noStart) Error() string {
	return "no start within its window overloads nothing; widen the window, or move others first"
}
func (noStart) GetStatus() int { return http.StatusConflict }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
