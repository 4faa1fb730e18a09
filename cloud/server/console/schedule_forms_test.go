package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
)

const localInput = "2006-01-02T15:04"

func tokyo(t time.Time) string { return t.In(time.FixedZone("", 9*3600)).Format(localInput) }

func (b *book) start(id string) time.Time { return *b.deliveries[id].Schedule.StartUTC }

// An operator clears a band of 15 where ten can be served with one button: as many as must move are selected already.
func TestMoveTheSelectedOnes(t *testing.T) {
	b := night()
	c := open(t, region(), b)
	page := get(t, c, gw+"/warnings")
	must(t, page, 200, "At least 5 must move.", "14 can be moved.", "5 selected", "the customer&#39;s own wish")
	form := formOf(t, page, "moves", "selected")
	if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, form["select"]); diff != "" {
		t.Error(diff)
	}
	w := post(t, c, gw+"/warnings/bnd_1/move", form)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != gw+"/warnings?band=bnd_1&moved=5#adjust" {
		t.Fatalf("%d %s %s", w.Code, w.Header(), w.Body)
	}
	must(t, get(t, c, gw+"/warnings?band=bnd_1&moved=5"), 200, "5 deliveries were moved.", "This overload is gone")
	if bands := bandsOf(b.load(""), 10); len(bands) != 0 {
		t.Errorf("left: %+v", bands)
	}
	if diff := cmp.Diff([]string{"hana saved dlv_licences-01", "hana saved dlv_licences-02", "hana saved dlv_night-03", "hana saved dlv_night-04", "hana saved dlv_night-05"}, b.actions); diff != "" {
		t.Error(diff)
	}
	d := b.deliveries["dlv_night-03"]
	if want := tokyo(*d.Schedule.StartUTC) + ":00"; d.Schedule.Local != want || d.Schedule.TimeZone != "Asia/Tokyo" || d.Version != "2" {
		t.Errorf("%+v, want local %s", d, want)
	}
}

func TestMoveOne(t *testing.T) {
	for rule, c := range map[string]struct {
		do     string
		start  string // typed into the first row
		book   func(*book)
		status int
		texts  []string
		moved  time.Time
	}{
		"a typed start is saved by its row's button": {"save 0", tokyo(twoAtNight.Add(time.Hour)), nil, 303, nil, twoAtNight.Add(time.Hour)},
		"so it is with all that are changed":         {"changed", tokyo(twoAtNight.Add(time.Hour)), nil, 303, nil, twoAtNight.Add(time.Hour)},
		"an offered start is one click":              {"pick 0 " + twoAtNight.Add(90*time.Minute).Format(time.RFC3339), tokyo(twoAtNight.Add(5 * time.Minute)), nil, 303, nil, twoAtNight.Add(90 * time.Minute)},
		"a start that would overload is refused with what would help": {"save 0", tokyo(twoAtNight), nil, 409,
			[]string{"With this start more devices would come at once", "It would overload:", "15 devices where 10 can be served", `value="pick 0 2026-12-02T17:20:00Z"`, `value="2026-12-03T02:00"`}, time.Time{}},
		"a start outside the window is refused":   {"save 0", tokyo(twoAtNight.Add(9 * time.Hour)), nil, 422, []string{"would not lie within its window", `value="2026-12-03T11:00"`}, time.Time{}},
		"a start within the lead time is refused": {"save 0", tokyo(now.Add(time.Hour)), nil, 422, []string{"lead time"}, time.Time{}},
		"a start must be a time":                  {"save 0", "soon", nil, 422, []string{"not a date and a time", `value="soon"`}, time.Time{}},
		"nothing chosen changes nothing":          {"changed", tokyo(twoAtNight.Add(5 * time.Minute)), nil, 200, []string{"Nothing was chosen"}, time.Time{}},
		"a button that the page does not have":    {"save 99", "", nil, 400, []string{"incomplete"}, time.Time{}},
		"a stale version says what is different": {"save 0", tokyo(twoAtNight.Add(time.Hour)), func(b *book) {
			b.edit("dlv_licences-01", func(d *api.Delivery) { d.Version, d.Priority = "7", 8 })
		}, 412, []string{"has changed since the page was shown", "Priority: was 2, is now <strong>8</strong>", `value="2026-12-03T03:00"`, `name="version.`}, time.Time{}},
		"the nearest free time is not found for what nobody has seen": {"selected", tokyo(twoAtNight.Add(5 * time.Minute)), func(b *book) {
			b.edit("dlv_licences-01", func(d *api.Delivery) { d.Version = "7" })
		}, 412, []string{"4 deliveries were moved.", "1 delivery was not moved"}, time.Time{}},
	} {
		b := night()
		p := open(t, region(), b)
		form := formOf(t, get(t, p, gw+"/warnings"), "moves", c.do)
		if form.Get("id.0") != "dlv_licences-01" {
			t.Fatalf("%s: the first row is %s", rule, form.Get("id.0"))
		}
		form.Set("start.0", c.start)
		if c.book != nil {
			c.book(b)
		}
		before := b.start("dlv_licences-01")
		w := post(t, p, gw+"/warnings/bnd_1/move", form)
		t.Log(rule)
		must(t, w, c.status, c.texts...)
		want := c.moved
		if want.IsZero() {
			want = before
		}
		if got := b.start("dlv_licences-01"); !got.Equal(want) {
			t.Errorf("%s: starts at %s, want %s", rule, got, want)
		}
	}
}

// What the operator has typed elsewhere on the page is kept when one row is saved, or refused; the second try of a stale row saves.
func TestInputIsKept(t *testing.T) {
	b := night()
	c := open(t, region(), b)
	form := formOf(t, get(t, c, gw+"/warnings"), "moves", "save 0")
	form.Set("start.0", tokyo(twoAtNight.Add(time.Hour)))
	form.Set("start.1", tokyo(twoAtNight.Add(2*time.Hour)))
	b.edit("dlv_licences-01", func(d *api.Delivery) { d.Version = "7" })
	w := post(t, c, gw+"/warnings/bnd_1/move", form)
	must(t, w, 412, tokyo(twoAtNight.Add(time.Hour)), tokyo(twoAtNight.Add(2*time.Hour)))
	w = post(t, c, gw+"/warnings/bnd_1/move", formOf(t, w, "moves", "save 0"))
	must(t, w, 200, "1 delivery was moved.", "not saved yet", tokyo(twoAtNight.Add(2*time.Hour)))
	if got := b.start("dlv_licences-01"); !got.Equal(twoAtNight.Add(time.Hour)) {
		t.Error(got)
	}
}

func TestActOnWarning(t *testing.T) {
	for rule, c := range map[string]struct {
		form   url.Values
		status int
		want   string
	}{
		"acknowledge":            {url.Values{"action": {"acknowledge"}}, 303, "acknowledged"},
		"ask for a proposal":     {url.Values{"action": {"requestProposal"}}, 303, "open"},
		"ignore until":           {url.Values{"action": {"ignoreUntil"}, "until": {"2026-12-02T08:00"}}, 303, "ignored"},
		"not until what is past": {url.Values{"action": {"ignoreUntil"}, "until": {"2026-12-01T08:00"}}, 422, "open"},
		"not until nothing":      {url.Values{"action": {"ignoreUntil"}}, 422, "open"},
		"nothing else":           {url.Values{"action": {"close"}}, 400, "open"},
	} {
		b := night()
		w := post(t, open(t, region(), b), gw+"/warnings/bnd_1/act", c.form)
		if w.Code != c.status || b.warnings[0].State != c.want {
			t.Errorf("%s: got %d, state %s", rule, w.Code, b.warnings[0].State)
		}
		if until := b.warnings[0].IgnoredUntil; c.want == "ignored" && !until.Equal(time.Date(2026, 12, 1, 23, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: until %v", rule, until)
		}
	}
}

func TestDecide(t *testing.T) {
	for rule, c := range map[string]struct {
		form   url.Values
		status int
		want   []string
		texts  []string
	}{
		"all":                             {url.Values{"do": {"accept-all"}}, 303, []string{"applied", "applied", "applied"}, nil},
		"some":                            {url.Values{"do": {"accept"}, "change": {"chg_4"}}, 303, []string{"pending", "applied", "pending"}, nil},
		"rejected with a reason":          {url.Values{"do": {"reject"}, "change": {"chg_3", "chg_5"}, "reason": {"stock-taking"}}, 303, []string{"rejected", "pending", "rejected"}, nil},
		"a rejection must have a reason":  {url.Values{"do": {"reject"}, "change": {"chg_3"}}, 422, []string{"pending", "pending", "pending"}, []string{"Say why", `id="change-0" checked`}},
		"a decision must be of something": {url.Values{"do": {"accept"}}, 422, []string{"pending", "pending", "pending"}, []string{"Nothing was selected"}},
		"a stale page decides nothing": {url.Values{"do": {"accept"}, "change": {"chg_4"}, "etag": {`"old"`}}, 412, []string{"pending", "pending", "pending"},
			[]string{"has changed since the page was shown", `id="change-1" checked`}},
		"nor does a form without its version": {url.Values{"do": {"accept-all"}, "etag": {""}}, 400, []string{"pending", "pending", "pending"}, nil},
	} {
		b := night()
		if !c.form.Has("etag") {
			c.form.Set("etag", b.etag("prp_1"))
		}
		p := open(t, region(), b)
		w := post(t, p, gw+"/proposals/prp_1", c.form)
		must(t, w, c.status, c.texts...)
		var got []string
		for _, s := range b.states["prp_1"].Changes {
			got = append(got, s.State)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", rule, diff)
		}
		if rule == "rejected with a reason" {
			must(t, get(t, p, gw+"/proposals/prp_1"), 200, "Rejected", "stock-taking", "Accept all 1", "by hana")
		}
	}
}

func TestQualityInWords(t *testing.T) {
	b := night()
	b.proposals[0].Quality = api.Quality{Moved: 3, MovedLB: 3, Status: "optimal"}
	must(t, get(t, open(t, region(), b), gw+"/proposals/prp_1"), 200, "Proved best: nothing can move fewer", "3 deliveries move, which is the least", "0 deliveries stay")
	must(t, get(t, open(t, region(), night()), gw+"/proposals/prp_1"), 200, "at most 4\u00a0% above the bound", "it cannot be below 1 h 3 min")
}

func TestSetDelivery(t *testing.T) {
	b := night()
	c := open(t, region(), b)
	page := get(t, c, gw+"/schedule/new?day=2026-12-03")
	must(t, page, 200, `data-hour="02:00"`, "Over", `value="pick 2026-12-02T18:00:00Z"`)
	if strings.Contains(page.Body.String(), `value="pick 2026-12-02T17:`) {
		t.Error("an hour that is over can be chosen")
	}
	form := formOf(t, page, "delivery", "pick 2026-12-02T17:20:00Z")
	form.Set("device", "dev_new")
	form.Set("batch", evil)
	page = post(t, c, gw+"/schedule/new", form)
	must(t, page, 200, `value="2026-12-03T02:20"`, `value="dev_new"`, "Nothing is saved yet.")

	form = formOf(t, page, "delivery", "save")
	form.Set("start", tokyo(twoAtNight))
	w := post(t, c, gw+"/schedule/new", form)
	must(t, w, 409, "It would overload:", `value="dev_new"`, `value="2026-12-03T02:00"`, `id="alternative-0"`)
	if len(b.actions) > 0 {
		t.Error(b.actions)
	}
	form.Set("start", tokyo(twoAtNight.Add(time.Hour)))
	w = post(t, c, gw+"/schedule/new", form)
	saved := form.Get("id")
	if w.Code != 303 || w.Header().Get("Location") != gw+"/deliveries/"+saved+"?done=saved" {
		t.Fatalf("%d %s", w.Code, w.Header())
	}
	must(t, post(t, c, gw+"/schedule/new", form), 412, "is saved already", "/deliveries/"+saved) // sent twice
	got := b.deliveries[saved]
	if got.DeviceID != "dev_new" || got.BatchID != evil || got.Schedule.Local != "2026-12-03T03:00:00" || time.Duration(got.Duration.P95) != 15*time.Minute || got.Priority != 5 {
		t.Errorf("%+v", got)
	}
	form.Set("do", "save")
	form.Set("id", "other")
	for name, value := range map[string]string{"device": "", "priority": "10", "start": "x", "zone": "Mars/Olympus", "p95": "-1", "earliest": "x", "kind": evil} {
		bad := url.Values{}
		for k, v := range form {
			bad[k] = v
		}
		bad.Set(name, value)
		must(t, post(t, c, gw+"/schedule/new", bad), 422, `id="errors"`)
	}
}

func TestChangeDelivery(t *testing.T) {
	b := night()
	b.edit("dlv_night-02", func(d *api.Delivery) { // what the form does not show must stay
		d.Bytes, d.Retry, d.Window.Blackouts = 1234, &api.Retry{Interval: api.Duration(time.Hour), Max: 3}, []api.Span{{From: twoAtNight, To: twoAtNight}}
		exact := d.Window.LatestEnd.Add(59 * time.Second)
		d.Window.LatestEnd = &exact
	})
	was := b.deliveries["dlv_night-02"]
	c := open(t, region(), b)
	path := gw + "/deliveries/dlv_night-02"
	form := formOf(t, get(t, c, path), "delivery", "save")
	form.Set("start", tokyo(twoAtNight.Add(time.Hour)))
	if w := post(t, c, path, form); w.Code != 303 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	want := was
	at := twoAtNight.Add(time.Hour)
	want.Version, want.Schedule = "2", api.Schedule{Local: "2026-12-03T03:00:00", TimeZone: "Asia/Tokyo", StartUTC: &at}
	if diff := cmp.Diff(want, b.deliveries["dlv_night-02"]); diff != "" {
		t.Error(diff)
	}
	form.Set("priority", "1") // of the version before
	w := post(t, c, path, form)
	must(t, w, 412, "Start: was 2026-12-03 02:00, is now <strong>2026-12-03 03:00</strong>", `name="priority" min="0" max="9" value="1"`)
	if w = post(t, c, path, formOf(t, w, "delivery", "save")); w.Code != 303 || b.deliveries["dlv_night-02"].Priority != 1 {
		t.Errorf("%d %+v", w.Code, b.deliveries["dlv_night-02"])
	}
	must(t, post(t, c, path, formOf(t, get(t, c, path), "delivery", "find")), 200, `id="found-0"`)
	must(t, post(t, c, path, formOf(t, get(t, c, path), "delivery", "day 2026-12-05")), 200, "Saturday, 5 December 2026")
	stale := formOf(t, get(t, c, path), "cancel", "cancel")
	stale.Set("version", "1")
	must(t, post(t, c, path, stale), 412, "has changed")
	if w = post(t, c, path, formOf(t, get(t, c, path), "cancel", "cancel")); w.Code != 303 || b.deliveries["dlv_night-02"].State != "cancelled" {
		t.Errorf("%d %+v", w.Code, b.deliveries["dlv_night-02"])
	}
	must(t, get(t, c, path+"?done=cancelled"), 200, "The delivery is cancelled.", "can no longer be changed")
}

func TestForeignSitesChangeNothing(t *testing.T) {
	b := night()
	c := open(t, region(), b)
	for _, path := range []string{"/warnings/bnd_1/act", "/warnings/bnd_1/move", "/proposals/prp_1", "/schedule/new", "/deliveries/dlv_night-02"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, gw+path, strings.NewReader("action=acknowledge&do=selected"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		c.ServeHTTP(w, r)
		must(t, w, 403, "sent from another site")
		if w := post(t, c, gw+path, url.Values{"do": {strings.Repeat("x", 1<<19)}}); w.Code != 400 {
			t.Errorf("%s: a huge form: got %d", path, w.Code)
		}
	}
	if len(b.actions) > 0 {
		t.Error(b.actions)
	}
}
