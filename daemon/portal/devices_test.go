package portal_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func fleetDoor(t *testing.T, n int) *door {
	t.Helper()
	d := newDoor(t, portaltest.Fleet(n))
	d.enter()
	return d
}

func (d *door) page(path string) string {
	d.t.Helper()
	resp := d.ask(http.MethodGet, path, "")
	if resp.StatusCode != http.StatusOK {
		d.t.Fatalf("%s: %s", path, resp.Status)
	}
	return text(d.t, resp)
}

// send posts a form as the gateway's own page does, follows the redirect, and returns where it led and what is there.
func (d *door) send(path string, form url.Values) (to, page string) {
	d.t.Helper()
	resp := d.ask(http.MethodPost, path, form.Encode()+"&", "Sec-Fetch-Site", "same-origin")
	if resp.StatusCode != http.StatusSeeOther {
		d.t.Fatalf("%s: %s\n%s", path, resp.Status, text(d.t, resp))
	}
	to = resp.Header.Get("Location")
	return to, d.page(to)
}

// ids are the devices of a page's table, in its order.
func ids(page string) (list []string) {
	for _, m := range regexp.MustCompile(`<th role="rowheader" scope="row"><a href="/devices/([^"]+)"`).FindAllStringSubmatch(page, -1) {
		list = append(list, m[1])
	}
	return list
}

func TestTheSearch(t *testing.T) {
	d := fleetDoor(t, 9)
	for _, c := range []struct {
		rule, query string
		want        []string
	}{
		{"by name, in any case", "q=COPIER", []string{"dev_1"}},
		{"by make", "q=kyocera", []string{"dev_g00007", "dev_g00008"}},
		{"by model", "q=c6010", []string{"dev_2"}},
		{"by serial number", "q=3081RC10311", []string{"dev_4"}},
		{"by address", "q=10.1.0.18", []string{"dev_7"}},
		{"by location, which is not in the name", "q=lift", []string{"dev_1"}},
		{"by id", "q=dev_g00007", []string{"dev_g00007"}},
		{"by another script's letters", "q=複合", []string{"dev_7"}},
		{"every word must occur, wherever", "q=ricoh+3081+design", []string{"dev_2"}},
		{"markup is text", "q=%3Cscript%3E", []string{"dev_3"}},
		{"nothing is found", "q=toaster", nil},
		{"one state", "state=offline", []string{"dev_4"}},
		{"one mode", "mode=polling&state=online", []string{"dev_1", "dev_g00007", "dev_g00008"}},
		{"a state that is none", "state=asleep", nil},
		{"by address, as numbers", "sort=address&q=ricoh&state=online", []string{"dev_1", "dev_2", "dev_7", "dev_3"}},
		{"downwards", "sort=address&down=1&q=ricoh&state=online", []string{"dev_3", "dev_7", "dev_2", "dev_1"}},
		{"what needs somebody first", "sort=state&q=ricoh", []string{"dev_4", "dev_6", "dev_5", "dev_1", "dev_2", "dev_7", "dev_3"}},
		{"the longest unseen first", "sort=seen&state=online&mode=proxy", []string{"dev_7", "dev_3", "dev_2"}},
		{"an order that is none is the name's", "sort=colour&state=online&mode=proxy", []string{"dev_2", "dev_7", "dev_3"}},
		{"a search that is too long is cut", "q=" + strings.Repeat("x", 5000), nil},
	} {
		if diff := cmp.Diff(c.want, ids(d.page("/devices?"+c.query))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestThePagesOfALargeFleet(t *testing.T) {
	d := fleetDoor(t, 2043)
	seen := map[string]bool{}
	path := "/devices?sort=address"
	for n := 1; path != ""; n++ {
		page := d.page(path)
		rows := ids(page)
		for _, id := range rows {
			seen[id] = true
		}
		if want := min(100, 2043-(n-1)*100); len(rows) != want || !strings.Contains(page, fmt.Sprintf("Page %d of 21", n)) {
			t.Fatalf("page %d has %d devices, want %d", n, len(rows), want)
		}
		path = ""
		if m := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page); m != nil {
			path = strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	if len(seen) != 2043 {
		t.Errorf("the pages show %d devices", len(seen))
	}
	for _, path := range []string{"/devices?sort=seen&down=1", "/devices?q=branch", "/devices.csv"} {
		d.page(path)
	}
	if n := d.gateway.DetailsRead; n != 0 {
		t.Errorf("lists read the store for %d devices", n)
	}
	for _, query := range []string{"page=99", "page=21"} {
		if page := d.page("/devices?" + query); !strings.Contains(page, "2\u202f001 to 2\u202f043 of 2\u202f043 devices.") || strings.Contains(page, `rel="next"`) {
			t.Errorf("%s is not the last page", query)
		}
	}
	for _, query := range []string{"page=0", "page=-3", "page=x", "page=99999999999999999999"} {
		if d.ask(http.MethodGet, "/devices?"+query, "").StatusCode != http.StatusOK {
			t.Errorf("%s breaks the page", query)
		}
	}
}

func TestTheSearchAsAPart(t *testing.T) {
	d := fleetDoor(t, 9)
	page := text(t, d.ask(http.MethodGet, "/devices?q=copier&mode=&state=", "", "HX-Request", "true"))
	if strings.Contains(page, "<html") || !strings.Contains(page, `data-address="/devices?q=copier"`) || len(ids(page)) != 1 {
		t.Errorf("%s", page)
	}
	d.cookie = nil
	resp := d.ask(http.MethodGet, "/devices?q=copier", "", "HX-Request", "true")
	if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("HX-Redirect") != "/login" {
		t.Errorf("a session that is over: %s, %q", resp.Status, resp.Header.Get("HX-Redirect"))
	}
}

func TestTheExport(t *testing.T) {
	d := fleetDoor(t, 300)
	resp := d.ask(http.MethodGet, "/devices.csv?q=kyocera&sort=address&page=2", "")
	body, marked := strings.CutPrefix(text(t, resp), "\ufeff")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil || !marked || len(rows) != 294 || rows[0][0] != "deviceId" || rows[1][0] != "dev_g00007" {
		t.Errorf("%d rows, mark %v, %v", len(rows), marked, err)
	}
	if got := resp.Header.Get("Content-Disposition"); got != `attachment; filename="devices.csv"` {
		t.Error(got)
	}
}

func TestTheFormsOfADevice(t *testing.T) {
	d := fleetDoor(t, 9)
	for _, c := range []struct {
		rule, path string
		form       url.Values
		to, says   string
	}{
		{"a name", "dev_1/name", url.Values{"name": {"  2F <east>  "}}, "/devices/dev_1", "The device is called 2F &lt;east&gt; now."},
		{"its own name", "dev_1/name", url.Values{"name": {" "}}, "/devices/dev_1", "The device has its own name again."},
		{"a name that is too long", "dev_1/name", url.Values{"name": {strings.Repeat("複", 129)}}, "/devices/dev_1", "Not changed: a name has at most 128 characters."},
		{"a split", "dev_1/split", url.Values{"sighting": {"snmp:10.1.0.9"}}, "/devices/dev_1_split", "This sighting is a device of its own now."},
		{"no sighting", "dev_1/split", url.Values{}, "/devices/dev_1", "Not changed: the device has no other sighting than this one."},
		{"nothing chosen", "dev_1/pin", url.Values{}, "/devices/dev_1", "Not changed: choose the device that is this one, too."},
		{"two chosen", "dev_1/pin", url.Values{"other": {"dev_1_split", "dev_2"}}, "/devices/dev_1", "2 devices are this one now."},
		{"forgotten", "dev_1/forget", url.Values{}, "/devices", "is forgotten. It comes back when it is seen again."},
		{"a scan", "scan", url.Values{}, "/devices", "254 addresses are asked; look again in a minute."},
	} {
		to, page := d.send("/devices/"+c.path, c.form)
		if to != c.to || !strings.Contains(page, c.says) {
			t.Errorf("%s: at %s, want %s and %q:\n%s", c.rule, to, c.to, c.says, page)
		}
		if strings.Contains(d.page(to), c.says) {
			t.Errorf("%s: said twice", c.rule)
		}
	}
	if n := len(d.gateway.Devices(t.Context())); n != 7 {
		t.Errorf("%d devices are left", n)
	}
	for _, want := range []string{`"text":"rename"`, `"text":"forget"`, `"user":"mori"`, `"device":"dev_1"`} {
		if !strings.Contains(d.log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, d.log)
		}
	}
}

func TestAChangeThatCannotBe(t *testing.T) {
	d := fleetDoor(t, 9)
	for _, path := range []string{"dev_0/name", "dev_0/pin", "dev_0/split", "dev_0/forget"} {
		if resp := d.ask(http.MethodPost, "/devices/"+path, "other=dev_1"); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if resp := d.ask(http.MethodGet, "/devices/dev_0", ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("no device: %s", resp.Status)
	}
	for _, path := range []string{"dev_1/name", "dev_1/pin", "dev_1/split", "dev_1/forget", "scan"} {
		if resp := d.ask(http.MethodPost, "/devices/"+path, "name=x", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s by another site: %s", path, resp.Status)
		}
		if resp := d.ask(http.MethodGet, "/devices/"+path, ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	if resp := d.ask(http.MethodPost, "/devices/dev_1/name", "name="+strings.Repeat("x", 9<<10)); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a form that is too large: %s", resp.Status)
	}
	d.gateway.ChangeFails = fmt.Errorf("%w: devices.static names it; take it out there, and reload", control.ErrDevice)
	if to, page := d.send("/devices/dev_1/forget", nil); to != "/devices/dev_1" || !strings.Contains(page, "Not changed: devices.static names it; take it out there, and reload.") {
		t.Errorf("refused: at %s\n%s", to, page)
	}
	d.gateway.ChangeFails = errors.New("disk on fire")
	resp := d.ask(http.MethodPost, "/devices/dev_1/name", "name=x")
	if page := text(t, resp); resp.StatusCode != http.StatusInternalServerError || strings.Contains(page, "on fire") || !strings.Contains(d.log.String(), "on fire") {
		t.Errorf("broken: %s\n%s", resp.Status, page)
	}
	if d.gateway.DevicesAre[0].Name != "2F copier" {
		t.Error("the device was changed")
	}
}

func TestWhatMayBeTheSameDevice(t *testing.T) {
	d := fleetDoor(t, 40)
	if page := d.page("/devices/dev_1"); strings.Contains(page, "checkbox") {
		t.Error("devices that share nothing are offered")
	}
	d.gateway.DevicesAre[1].Serial = "3081rc10200"
	d.gateway.DevicesAre[3].Address = "10.1.0.9"
	offered := func(page string) (list []string) {
		for _, m := range regexp.MustCompile(`type="checkbox" name="other" value="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			list = append(list, m[1])
		}
		return list
	}
	if diff := cmp.Diff([]string{"dev_2", "dev_4"}, offered(d.page("/devices/dev_1"))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	page := d.page("/devices/dev_1?other=branch")
	if n := len(offered(page)); n != 20 || !strings.Contains(page, "and 13 more; add a word") {
		t.Errorf("%d are offered", n)
	}
	if page := d.page("/devices/dev_1?other=2F+copier"); len(offered(page)) != 0 || !strings.Contains(page, "No other device matches.") {
		t.Error("the device itself is offered")
	}
}

func TestLevelsAreSaid(t *testing.T) {
	for _, c := range []struct {
		rule   string
		supply mfpgate.Supply
		want   []string // in this order
	}{
		{"a level", mfpgate.Supply{Name: "toner", Color: "cyan", Level: 310, Max: 500}, []string{`height="12" fill="#009fd6"`, "62\u202f%"}},
		{"low", mfpgate.Supply{Name: "toner", Level: 10, Max: 100}, []string{"10\u202f%", "low"}},
		{"not low yet", mfpgate.Supply{Name: "toner", Level: 11, Max: 100}, []string{"<span>11\u202f%</span>"}},
		{"empty", mfpgate.Supply{Name: "toner", Level: 0, Max: 100}, []string{"✕ </span>empty"}},
		{"a receptacle fills", mfpgate.Supply{Name: "waste", Receives: true, Level: 5, Max: 100}, []string{"tank bin", "<span>5\u202f% full</span>"}},
		{"a receptacle nearly full", mfpgate.Supply{Name: "waste", Receives: true, Level: 90, Max: 100}, []string{"90\u202f% full", "nearly full"}},
		{"a receptacle that is full", mfpgate.Supply{Name: "waste", Receives: true, Level: 100, Max: 100}, []string{"✕ </span>full"}},
		{"unknown", mfpgate.Supply{Name: "toner", Level: mfpgate.LevelUnknown}, []string{"unsure", ">?</text>", "level not known"}},
		{"some", mfpgate.Supply{Name: "toner", Level: mfpgate.LevelSome, Max: 100}, []string{"unsure", "stroke-dasharray", "some is left"}},
		{"no limit", mfpgate.Supply{Name: "toner", Level: mfpgate.LevelOther}, []string{"∞", "no limit"}},
		{"an amount of no known whole", mfpgate.Supply{Name: "paper", Level: 1200, Max: mfpgate.LevelUnknown, Unit: "sheets"}, []string{"1\u202f200 sheets"}},
		{"a colour by number", mfpgate.Supply{Name: "ink", Color: "#A0E0F0", Level: 1, Max: 2}, []string{`fill="#A0E0F0"`}},
		{"no colour that could be markup", mfpgate.Supply{Name: "ink", Color: `#12345"`, Level: 1, Max: 2}, []string{`fill="#78849a"`}},
		{"no name", mfpgate.Supply{Type: "wasteToner", Color: "black", Level: 1, Max: 2}, []string{"Black waste toner"}},
	} {
		d := fleetDoor(t, 7)
		d.gateway.ReadingsAre["dev_1"] = mfpgate.Reading{Supplies: []mfpgate.Supply{c.supply}}
		page := d.page("/devices/dev_1")
		rest := page[strings.Index(page, `class="gauges"`):]
		for _, want := range c.want {
			at := strings.Index(rest, want)
			if at < 0 {
				t.Errorf("%s: no %q in\n%s", c.rule, want, rest[:min(len(rest), 1500)])
				break
			}
			rest = rest[at:]
		}
	}
}

func BenchmarkTheSearch(b *testing.B) {
	d := newDoor(b, portaltest.Fleet(2043))
	d.enter()
	for b.Loop() {
		if resp := d.ask(http.MethodGet, "/devices?q=lift+copier", "", "HX-Request", "true"); resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status)
		}
	}
}
