package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// deliveriesPage is how many deliveries the list below the time line shows at once.
const deliveriesPage = 50

// batchView is a batch of a day.
type batchView struct {
	Name    string
	Path    string // of its deliveries alone; "" if they have no batch
	Devices string
	During  during
	States  []mark
	class   string
	list    []api.Delivery
}

// batchesOf puts the deliveries of one batch together, the largest batch first.
func batchesOf(d desk, deliveries []api.Delivery) []batchView {
	byName := map[string][]api.Delivery{}
	for _, v := range deliveries {
		byName[v.BatchID] = append(byName[v.BatchID], v)
	}
	var out []batchView
	for name, list := range byName {
		b := batchView{Name: cmp.Or(name, "Without a batch"), Devices: plural(len(list), "delivery", "deliveries"), list: list, class: stateClass(list[0].State)}
		var first, last time.Time
		states := map[string]int{}
		for _, v := range list {
			if start, ok := startOf(v.Schedule); ok {
				if first.IsZero() || start.Before(first) {
					first = start
				}
				last = later(last, start)
			}
			state := stateClass(v.State)
			if states[state]++; state != b.class {
				b.class = "planned"
			}
		}
		b.During = d.during(first, last)
		for _, state := range []string{"planned", "running", "done", "failed", "cancelled"} {
			if n := states[state]; n > 0 {
				m := deliveryStateOf(state)
				m.Word = count(int64(n)) + " " + state
				b.States = append(b.States, m)
			}
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b batchView) int {
		return cmp.Or(cmp.Compare(len(b.list), len(a.list)), strings.Compare(a.Name, b.Name))
	})
	return out
}

// window is the widest of the batch; nil if one of its deliveries has none.
func (b batchView) window() *api.StartWindow {
	var from, to time.Time
	for _, v := range b.list {
		w := v.Window
		if w == nil || w.EarliestStart == nil || w.LatestEnd == nil {
			return nil
		}
		if from.IsZero() || w.EarliestStart.Before(from) {
			from = *w.EarliestStart
		}
		to = later(to, *w.LatestEnd)
	}
	return &api.StartWindow{EarliestStart: &from, LatestEnd: &to}
}

// timeline is the page of one day, or of the night that follows it.
type timeline struct {
	frame
	Day, Name, Offset   string
	Night               bool
	Batch               string
	Previous, Following string // addresses
	Other               string // the night of the day, the day of the night
	NewPath             string
	Path                string
	Draw                drawing
	Bands               []bandLine
	MoreBands           int
	Total               string
	Batches             []batchView
	MoreBatches         int
	List                []plannedView
	Pages               pager
	AllShown            bool
	Service             bool
}

func (c *Console) schedule(w http.ResponseWriter, r *http.Request) {
	d, f, err := c.begin(r, "Schedule", "schedule")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	query := r.URL.Query()
	day := d.dayOf(query.Get("day"))
	page := timeline{frame: f, Day: day.Format(time.DateOnly), Night: query.Get("view") == "night", Batch: query.Get("batch"), Path: schedulePath(d.gateway),
		Service: d.contract.Has(api.ServiceDelivery)}
	from, to := d.bounds(day, page.Night)
	page.Offset = offset(from.In(d.zone))
	if after := offset(to.In(d.zone)); after != page.Offset {
		page.Offset += ", from the clock change on " + after
	}
	page.Name = day.Format("Monday, 2 January 2006")
	if page.Night {
		page.Name = "Night of " + page.Name
	}
	page.links(day)
	slots, err := c.Schedule.Capacity(r.Context(), d.gateway, from, to)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	bands, err := c.bandsNow(r.Context(), d, from, to)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	found, err := c.Schedule.Deliveries(r.Context(), d.gateway, from, to)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	deliveries := slices.DeleteFunc(slices.Clone(found), func(v api.Delivery) bool {
		return page.Batch != "" && v.BatchID != page.Batch || !runsIn(v, from, to)
	})
	page.Draw = d.draw(from, to, slots.Slots, bands, deliveries)
	page.Bands = d.bandLines(bands)
	page.MoreBands = len(bands) - len(page.Bands)
	page.Total = plural(len(deliveries), "delivery", "deliveries")
	if page.Draw.Batches {
		page.Batches = batchesOf(d, deliveries)
		page.MoreBatches = max(0, len(page.Batches)-drawnRows)
		page.Batches = page.Batches[:len(page.Batches)-page.MoreBatches]
		for i := range page.Batches {
			if b := &page.Batches[i]; b.list[0].BatchID != "" {
				b.Path = page.address(day, page.Night, b.list[0].BatchID)
			}
		}
	}
	var shown []api.Delivery
	shown, page.Pages, page.AllShown = paged(deliveries, deliveriesPage, page.Path, query)
	for _, v := range shown {
		page.List = append(page.List, d.planned(d.gateway, v, d.contract))
	}
	c.render(w, r, http.StatusOK, "schedule.html", page)
}

// dayOf reads a date; today if it is none. It is the date in UTC, whatever the clock: only year, month and day count.
func (d desk) dayOf(text string) time.Time {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1970 || day.Year() > 9000 {
		y, m, n := d.now.In(d.zone).Date()
		day = time.Date(y, m, n, 0, 0, 0, 0, time.UTC)
	}
	return day
}

// bounds are midnight to midnight, or noon to noon, so that a night is seen whole.
func (d desk) bounds(day time.Time, night bool) (from, to time.Time) {
	first := 0
	if night {
		first = 12
	}
	next := day.AddDate(0, 0, 1)
	return d.hour(day.Year(), day.Month(), day.Day(), first), d.hour(next.Year(), next.Month(), next.Day(), first)
}

func (t *timeline) address(day time.Time, night bool, batch string) string {
	query := url.Values{"day": {day.Format(time.DateOnly)}}
	if night {
		query.Set("view", "night")
	}
	if batch != "" {
		query.Set("batch", batch)
	}
	return t.Path + "?" + query.Encode()
}

func (t *timeline) links(day time.Time) {
	t.Previous = t.address(day.AddDate(0, 0, -1), t.Night, t.Batch)
	t.Following = t.address(day.AddDate(0, 0, 1), t.Night, t.Batch)
	t.Other = t.address(day, !t.Night, t.Batch)
	t.NewPath = t.Path + "/new?" + url.Values{"day": {t.Day}}.Encode()
}
