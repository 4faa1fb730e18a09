package console_test

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/console"
)

const gw = "/ui/gateways/osaka-1"

func post(t *testing.T, c *console.Console, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w
}

var (
	inputs  = regexp.MustCompile(`<input type="(hidden|datetime-local|text|number|checkbox)"[^>]*>`)
	attr    = regexp.MustCompile(` (name|value)="([^"]*)"`)
	options = regexp.MustCompile(`(?s)<select id="(\w+)".*?</select>`)
	chosen  = regexp.MustCompile(`<option(?: value="([^"]*)")? selected>([^<]*)`)
	svgs    = regexp.MustCompile(`(?s)<svg.*?</svg>`)
	newIDs  = regexp.MustCompile(`dlv_[0-9A-HJKMNP-TV-Z]{26}`)
)

// formOf is what a browser sends of a form of the page when a button is pressed.
func formOf(t *testing.T, page *httptest.ResponseRecorder, id, do string) url.Values {
	t.Helper()
	_, rest, found := strings.Cut(page.Body.String(), `id="`+id+`" action="`)
	if !found {
		t.Fatalf("no form %s on the page: %s", id, page.Body)
	}
	body, _, _ := strings.Cut(rest, "</form>")
	form := url.Values{"do": {do}}
	unescape := strings.NewReplacer("&amp;", "&", "&#43;", "+", "&#34;", `"`, "&lt;", "<", "&gt;", ">", "&#39;", "'")
	for _, tag := range inputs.FindAllString(body, -1) {
		if strings.Contains(tag, `type="checkbox"`) && !strings.Contains(tag, " checked") {
			continue
		}
		var name string
		value := "on"
		if !strings.Contains(tag, "checkbox") {
			value = ""
		}
		for _, m := range attr.FindAllStringSubmatch(tag, -1) {
			if m[1] == "name" {
				name = m[2]
			} else {
				value = unescape.Replace(m[2])
			}
		}
		form.Add(name, value)
	}
	for _, s := range options.FindAllStringSubmatch(body, -1) {
		if m := chosen.FindStringSubmatch(s[0]); m != nil {
			form.Set(s[1], m[1])
			if m[1] == "" {
				form.Set(s[1], m[2])
			}
		}
	}
	return form
}

func must(t *testing.T, w *httptest.ResponseRecorder, status int, texts ...string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("got %d, want %d", w.Code, status)
	}
	for _, text := range texts {
		if !strings.Contains(w.Body.String(), text) {
			t.Errorf("%q is not on the page: %s", text, w.Body)
		}
	}
	harmless(t, t.Name(), w)
}

// wellFormed holds every drawing of a page against XML, and its numbers against what can be drawn.
func wellFormed(t *testing.T, w *httptest.ResponseRecorder) (rects int) {
	t.Helper()
	for _, svg := range svgs.FindAllString(w.Body.String(), -1) {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in %.300s", err, svg)
			}
			start, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			if start.Name.Local == "rect" {
				rects++
			}
			for _, a := range start.Attr {
				if (a.Name.Local == "width" || a.Name.Local == "height") && strings.HasPrefix(a.Value, "-") {
					t.Errorf("<%s> with %s %s", start.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	return rects
}

// crowd is 5,000 deliveries in 40 batches of one night.
func crowd() *book {
	b := newBook()
	b.contract.MaxConcurrent = 150
	for i := range 40 {
		b.plan("roll-out-"+string(rune('a'+i%26))+string(rune('a'+i/26)), 125, twoAtNight.Add(time.Duration(i*10-180)*time.Minute))
	}
	return b
}

// hostile says what it should not, wherever it can.
func hostile() *book {
	b := night()
	id := "dlv_night-03"
	b.edit(id, func(d *api.Delivery) {
		d.DeviceID, d.BatchID, d.PackageID, d.PackageVersion, d.Kind, d.Model, d.Reason = evil, evil, evil, evil, evil, evil, evil
	})
	b.edit("dlv_night-04", func(d *api.Delivery) { d.Schedule.RRule, d.ViaGatewayID = evil, evil })
	no := false
	b.edit("dlv_night-05", func(d *api.Delivery) { d.Movable, d.PinnedReason = &no, evil })
	w := &b.warnings[0]
	w.Text, w.Certainty, w.By, w.ReportID = evil, evil, evil, evil
	w.Contributors = append(w.Contributors, api.Contributor{Type: "delivery", BatchID: evil}, api.Contributor{Type: "background", ServiceID: evil})
	w.Certificate = &api.Certificate{Text: evil}
	p := &b.proposals[0]
	p.Changes[0].Reason = api.Reason{Code: evil, FreedBy: evil, BandID: evil, Text: evil}
	p.Unresolved[0].Reason, p.Unresolved[0].Options, p.Unresolved[0].Certificate.Text = evil, []string{evil}, evil
	s := b.states["prp_1"]
	s.By, s.Changes[0].Reason, s.Changes[0].State = evil, evil, evil
	b.states["prp_1"] = s
	return b
}

func TestSchedulePages(t *testing.T) {
	for name, c := range map[string]struct {
		book *book
		path string
	}{
		"schedule":         {night(), "/schedule?day=2026-12-03"},
		"schedule-empty":   {newBook(), "/schedule?day=2026-12-03"},
		"warnings":         {night(), "/warnings"},
		"warnings-none":    {newBook(), "/warnings"},
		"warnings-hostile": {hostile(), "/warnings"},
		"proposals":        {night(), "/proposals"},
		"proposal":         {night(), "/proposals/prp_1"},
		"proposal-hostile": {hostile(), "/proposals/prp_1"},
		"delivery":         {night(), "/deliveries/dlv_night-02"},
		"delivery-hostile": {hostile(), "/deliveries/dlv_night-03"},
	} {
		w := get(t, open(t, region(), c.book), gw+c.path)
		if w.Code != 200 {
			t.Errorf("%s: got %d", name, w.Code)
		}
		golden(t, name, w)
		wellFormed(t, w)
	}
	w := get(t, open(t, region(), night()), gw+"/schedule/new?day=2026-12-03")
	if !newIDs.MatchString(w.Body.String()) {
		t.Error("a new delivery has no id of its own")
	}
	w.Body.Reset()
	for name, path := range map[string]string{"schedule": "/schedule?day=2026-12-03", "days": "/schedule?view=night&day=9999-99-99", "batch": "/schedule?batch=" + url.QueryEscape(evil)} {
		w := get(t, open(t, region(), hostile()), gw+path)
		must(t, w, 200)
		if wellFormed(t, w) == 0 {
			t.Errorf("%s: nothing is drawn", name)
		}
	}
}

func TestTimelineOfThousandsIsBounded(t *testing.T) {
	c := open(t, region(), crowd())
	w := get(t, c, gw+"/schedule?day=2026-12-02&view=night")
	must(t, w, 200, "5\u202f000 deliveries", "The largest batches are drawn; 16 more are not.", "and 16 smaller batches", "1 to 50 of 5\u202f000", `class="over"`, "url(#over)")
	if n := wellFormed(t, w); n > 4000 || w.Body.Len() > 400_000 {
		t.Errorf("%d rectangles, %d bytes", n, w.Body.Len())
	}
	must(t, get(t, c, gw+"/schedule?day=2026-12-02&view=night&page=100"), 200, "4\u202f951 to 5\u202f000 of 5\u202f000")
	must(t, get(t, c, gw+"/schedule?day=2026-12-02&view=night&page=-7"), 200, "1 to 50 of")
}

func TestDayOfAClockChange(t *testing.T) {
	for day, want := range map[string]int{"2026-03-29": 23, "2026-10-25": 24} { // of 25 hours, 02 twice: drawn as one
		b := newBook()
		b.contract.TimeZone = "Europe/Berlin"
		w := get(t, open(t, region(), b), gw+"/schedule/new?day="+day)
		if got := strings.Count(w.Body.String(), "data-hour="); got != want {
			t.Errorf("%s: %d hours, want %d", day, got, want)
		}
		must(t, get(t, open(t, region(), b), gw+"/schedule?day="+day), 200, "from the clock change on UTC&#43;0")
	}
	b := newBook()
	b.contract.TimeZone = "Europe/Berlin"
	second := time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC)
	b.plan("fold", 1, second)
	c := open(t, region(), b)
	form := formOf(t, get(t, c, gw+"/deliveries/dlv_fold-01"), "delivery", "pick "+second.Format(time.RFC3339))
	must(t, post(t, c, gw+"/deliveries/dlv_fold-01", form), 200, `value="2026-10-25T02:30"`, `<option value="second" selected>`)
}

func TestGatewayThatFails(t *testing.T) {
	b := night()
	b.err = errors.New("disk on fire")
	for _, path := range []string{"/schedule", "/warnings", "/proposals", "/proposals/prp_1", "/schedule/new", "/deliveries/dlv_night-02"} {
		must(t, get(t, open(t, region(), b), gw+path), 500, "The page cannot be shown")
	}
	must(t, get(t, open(t, region(), b), gw), 200, "2F copier") // the devices are worth more than the numbers
	for _, path := range []string{"/warnings?band=x", "/proposals/x", "/deliveries/x"} {
		must(t, get(t, open(t, region(), night()), gw+path), 404, "the gateway has no such")
	}
}
