package portal

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

const (
	pageRows = 100
	maxQuery = 200 // characters

	maxUnbroken = 18 // bytes of an address or a serial number that keep to one line
)

// devicesPage is what devices.html shows; devices-list.html is its part that follows the search.
type devicesPage struct {
	frame
	Query   query
	States  []choice
	Modes   []choice
	Columns []column
	Rows    []deviceEntry
	Summary string
	Any     bool // the gateway knows of any device
	Pages   string
	Prev    string // addresses; "" for none
	Next    string
	CSV     string
	Address string // of what is shown
}

// choice is one option of a filter.
type choice struct {
	Value, Text string
	Chosen      bool
}

// column is one head of the table; those that sort are links.
type column struct {
	Text, Href, Sorted, Arrow, Class string
}

type deviceEntry struct {
	Href, Name, Kind, Serial, Address, Location, Mode string
	USB                                               string // how it is driven on USB
	ShortSerial, ShortAddress                         bool   // it fits in one line
	State                                             look
	Since, Seen                                       moment
	Supplies                                          picture
	Offline                                           bool
	Stopped                                           []look // why it does not print
}

// maxStopped bounds what a row says of a device that is stopped; its own page has the rest.
const maxStopped = 2

// stopped is what keeps a device that answers from its work.
func stopped(d mfpgate.Device, s *mfpgate.PrinterStatus) (why []look) {
	if s == nil || d.State == mfpgate.DeviceOffline {
		return nil
	}
	for _, reason := range s.Reasons {
		if strings.HasSuffix(reason, "-"+string(mfpgate.AlertError)) && len(why) < maxStopped {
			why = append(why, reasonLook(reason))
		}
	}
	if len(why) == 0 && s.State == mfpgate.PrinterStopped {
		why = append(why, look{Sign: "✕", Word: "Stopped", Class: "bad"})
	}
	return why
}

// query is what the page's address asks for.
type query struct {
	Q, State, Mode, Sort string
	Down                 bool
	Page                 int // from 1
}

func queryOf(r *http.Request) query {
	v := r.URL.Query()
	q := query{Q: strings.TrimSpace(v.Get("q")), State: v.Get("state"), Mode: v.Get("mode"), Sort: v.Get("sort"), Down: v.Get("down") != ""}
	if utf8.RuneCountInString(q.Q) > maxQuery {
		q.Q = string([]rune(q.Q)[:maxQuery])
	}
	if _, ok := orders[q.Sort]; !ok {
		q.Sort = "name"
	}
	q.Page, _ = strconv.Atoi(v.Get("page"))
	q.Page = max(q.Page, 1)
	return q
}

// address is path with the query; what is not asked for is left out.
func (q query) address(path string) string {
	v := url.Values{}
	set := func(key, value, without string) {
		if value != without {
			v.Set(key, value)
		}
	}
	set("q", q.Q, "")
	set("state", q.State, "")
	set("mode", q.Mode, "")
	set("sort", q.Sort, "name")
	if q.Down {
		v.Set("down", "1")
	}
	set("page", strconv.Itoa(q.Page), "1")
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// orders are how the table can be sorted.
var orders = map[string]func(a, b mfpgate.Device) int{
	"name":    func(a, b mfpgate.Device) int { return compareText(deviceName(a), deviceName(b)) },
	"model":   func(a, b mfpgate.Device) int { return compareText(kind(a), kind(b)) },
	"serial":  func(a, b mfpgate.Device) int { return compareText(a.Serial, b.Serial) },
	"address": func(a, b mfpgate.Device) int { return compareAddress(a.Address, b.Address) },
	"state":   func(a, b mfpgate.Device) int { return cmp.Compare(urgency(a), urgency(b)) },
	"seen":    func(a, b mfpgate.Device) int { return a.LastSeen.Compare(b.LastSeen) },
}

func compareText(a, b string) int {
	if (a == "") != (b == "") {
		return cmp.Compare(b, a) // what has none comes last
	}
	return cmp.Compare(strings.ToLower(a), strings.ToLower(b))
}

// compareAddress puts 10.0.0.9 before 10.0.0.10.
func compareAddress(a, b string) int {
	left, errLeft := netip.ParseAddr(a)
	right, errRight := netip.ParseAddr(b)
	switch {
	case errLeft == nil && errRight == nil:
		return left.Compare(right)
	case errLeft != nil && errRight != nil:
		return compareText(a, b)
	case errLeft != nil:
		return 1
	}
	return -1
}

// urgency puts first what needs somebody.
func urgency(d mfpgate.Device) int {
	return slices.Index(deviceStates, d.State)
}

// deviceStates stand in the order in which they need somebody.
var deviceStates = []mfpgate.DeviceState{mfpgate.DeviceOffline, mfpgate.DeviceUnknown, mfpgate.DeviceKnown, mfpgate.DeviceOnline}

func kind(d mfpgate.Device) string { return strings.TrimSpace(d.Make + " " + d.Model) }

func deviceName(d mfpgate.Device) string { return cmp.Or(d.Name, d.Address, string(d.ID)) }

// matches reports whether every word of the search is in one of the device's texts.
func matches(d mfpgate.Device, words []string) bool {
	texts := strings.ToLower(strings.Join([]string{d.Name, d.Make, d.Model, d.Serial, d.Address, d.Location, string(d.ID)}, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(texts, word) })
}

// find are the devices that the query asks for, in its order.
func find(devices []mfpgate.Device, q query) []mfpgate.Device {
	words := strings.Fields(strings.ToLower(q.Q))
	var found []mfpgate.Device
	for _, d := range devices {
		if (q.State == "" || string(d.State) == q.State) && (q.Mode == "" || string(d.MonitoringMode) == q.Mode) && matches(d, words) {
			found = append(found, d)
		}
	}
	order := orders[q.Sort]
	slices.SortStableFunc(found, func(a, b mfpgate.Device) int {
		way := order(a, b)
		if q.Down {
			way = -way
		}
		return cmp.Or(way, compareText(deviceName(a), deviceName(b)), cmp.Compare(a.ID, b.ID))
	})
	return found
}

func (p *Portal) devices(w http.ResponseWriter, r *http.Request) {
	page := p.devicesPage(r)
	if isPart(r) {
		p.render(w, http.StatusOK, "devices-list.html", page)
		return
	}
	page.Flash = p.flashed(r)
	p.render(w, http.StatusOK, "devices.html", page)
}

func (p *Portal) devicesCSV(w http.ResponseWriter, r *http.Request) {
	found := find(p.Gateway.Devices(r.Context()), queryOf(r))
	w.Header().Set("Content-Type", "text/csv; charset=utf-8; header=present")
	w.Header().Set("Content-Disposition", `attachment; filename="devices.csv"`)
	// Excel takes a file without a byte order mark for the local code page.
	_, _ = w.Write([]byte("\ufeff"))
	_ = control.WriteDevicesCSV(w, found) // the browser went away
}

func (p *Portal) devicesPage(r *http.Request) devicesPage {
	q := queryOf(r)
	all, readings := p.Gateway.Devices(r.Context()), p.Gateway.Readings(r.Context())
	found := find(all, q)
	last := max((len(found)+pageRows-1)/pageRows, 1)
	q.Page = min(q.Page, last)
	from := (q.Page - 1) * pageRows
	to := min(from+pageRows, len(found))
	page := devicesPage{frame: p.frame(r, "devices"), Query: q, Any: len(all) > 0, States: stateChoices(all, q), Modes: modeChoices(all, q), Columns: columns(q)}
	for _, d := range found[from:to] {
		page.Rows = append(page.Rows, entry(d, readings[d.ID], page.frame))
	}
	page.Summary = summary(len(all), len(found), from, to)
	whole := q
	whole.Page = 1
	page.CSV, page.Address = whole.address("/devices.csv"), q.address("/devices")
	if last > 1 {
		page.Pages = fmt.Sprintf("Page %s of %s", count(q.Page), count(last))
	}
	if q.Page > 1 {
		page.Prev = q.at(q.Page - 1).address("/devices")
	}
	if q.Page < last {
		page.Next = q.at(q.Page + 1).address("/devices")
	}
	return page
}

func (q query) at(page int) query {
	q.Page = page
	return q
}

func summary(all, found, from, to int) string {
	switch {
	case all == 0:
		return "No device is known yet."
	case found == 0:
		return "No device of " + count(all) + " matches."
	case found > pageRows:
		return fmt.Sprintf("%s to %s of %s", count(from+1), count(to), counted(found, "device", "devices")) + ofAll(all, found)
	}
	return counted(found, "device", "devices") + ofAll(all, found)
}

func ofAll(all, found int) string {
	if found == all {
		return "."
	}
	return ", of " + count(all) + " in all."
}

func entry(d mfpgate.Device, reading mfpgate.Reading, f frame) deviceEntry {
	usb := ""
	if d.USB != nil {
		usb = control.USBMode(d.USB.Mode)
	}
	return deviceEntry{USB: usb, Href: deviceHref(d.ID), Name: deviceName(d), Kind: kind(d), Serial: d.Serial, Address: d.Address, ShortSerial: len(d.Serial) <= maxUnbroken, ShortAddress: len(d.Address) <= maxUnbroken, Location: d.Location,
		Mode: modeWords(d.MonitoringMode), State: lookOf(d), Since: at(d.Since, f.now, f.zone), Seen: at(d.LastSeen, f.now, f.zone),
		Supplies: newPicture(reading.Supplies), Offline: d.State == mfpgate.DeviceOffline, Stopped: stopped(d, reading.Status)}
}

func deviceHref(id mfpgate.DeviceID) string { return "/devices/" + url.PathEscape(string(id)) }

func modeWords(m mfpgate.MonitoringMode) string {
	switch m {
	case mfpgate.MonitoringProxy:
		return "Relayed"
	case mfpgate.MonitoringPolling:
		return "Polled"
	}
	return string(m)
}

func stateChoices(all []mfpgate.Device, q query) []choice {
	n := map[mfpgate.DeviceState]int{}
	for _, d := range all {
		n[d.State]++
	}
	list := []choice{{"", "Any state", q.State == ""}}
	for _, s := range deviceStates {
		list = append(list, choice{string(s), fmt.Sprintf("%s (%s)", lookOf(mfpgate.Device{State: s}).Word, count(n[s])), q.State == string(s)})
	}
	return list
}

func modeChoices(all []mfpgate.Device, q query) []choice {
	n := map[mfpgate.MonitoringMode]int{}
	for _, d := range all {
		n[d.MonitoringMode]++
	}
	list := []choice{{"", "Any mode", q.Mode == ""}}
	for _, m := range []mfpgate.MonitoringMode{mfpgate.MonitoringProxy, mfpgate.MonitoringPolling} {
		list = append(list, choice{string(m), fmt.Sprintf("%s (%s)", modeWords(m), count(n[m])), q.Mode == string(m)})
	}
	return list
}

func columns(q query) []column {
	list := []column{}
	for _, c := range []struct{ key, text string }{{"name", "Device"}, {"model", "Model"}, {"serial", "Serial number"}, {"address", "Address"}, {"state", "State"},
		{"", "Mode"}, {"", "Supplies"}, {"seen", "Last seen"}} {
		to := q.at(1)
		to.Sort, to.Down = c.key, c.key == "seen" // the latest first
		out := column{Text: c.text}
		if c.key == q.Sort {
			out.Sorted, out.Arrow, to.Down = "ascending", "▲", !q.Down
			if q.Down {
				out.Sorted, out.Arrow = "descending", "▼"
			}
		}
		if c.key != "" {
			out.Href = to.address("/devices")
		}
		list = append(list, out)
	}
	return list
}

// frame is what every page inside has.
type frame struct {
	User, Site, Here string
	Admin            bool // the account is an administrator's
	Requests         int  // requests under way, for administrators
	Deeper           bool // the page is below the one that Here names
	Flash            *flash
	AsOf             moment
	now              time.Time
	zone             *time.Location
}

// isPart reports whether htmx asks for a part of a page.
func isPart(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

func (p *Portal) frame(r *http.Request, here string) frame {
	site, now := p.Gateway.Status(r.Context()).Site, p.Clock.Now()
	zone := zoneOf(site)
	v := p.visitor(r)
	return frame{User: v.Name, Admin: v.administrator(), Requests: p.open(r.Context(), v), Site: site.Name, Here: here, AsOf: at(now, now, zone), now: now, zone: zone}
}

func zoneOf(s control.Site) *time.Location {
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil {
		return time.UTC
	}
	return zone
}
