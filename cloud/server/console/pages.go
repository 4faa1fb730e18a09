package console

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// How much of a device its page shows.
const (
	alertsShown   = 50
	historyShown  = 30
	suppliesShown = 6 // in a list; the device's own page has all
)

type gatewayRow struct {
	ID, Path        string
	Devices         string
	Online, Offline int
	Open            int
	Heard           moment
	Missing         string
}

func rowOf(g Gateway, now time.Time) gatewayRow {
	row := gatewayRow{
		ID: g.ID, Path: gatewayPath(g.ID), Devices: count(int64(g.Devices)) + " devices", Online: g.Online, Offline: g.Offline, Open: g.Open, Heard: at(g.LastHeard, now),
	}
	switch {
	case g.Devices == 1:
		row.Devices = "1 device"
	case g.Devices >= DevicesCounted:
		row.Devices = count(DevicesCounted) + " devices or more"
	}
	if g.Missing > 0 {
		row.Missing = count(int64(min(g.Missing, 1<<53)))
	}
	return row
}

func (c *Console) gateways(w http.ResponseWriter, r *http.Request) {
	found, next, err := c.Facts.Gateways(r.Context(), r.URL.Query().Get("cursor"), gatewaysPage)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	now := c.Clock.Now()
	rows := make([]gatewayRow, len(found))
	for i, g := range found {
		rows[i] = rowOf(g, now)
	}
	c.render(w, r, http.StatusOK, "gateways.html", struct {
		frame
		Gateways []gatewayRow
		Next     string
	}{c.frame(r, "Gateways", ""), rows, pageOf("/ui/", next)})
}

// deviceView is a device as both pages show it.
type deviceView struct {
	Device
	Path, Title, Kind string
	State             mark
	Since, Seen       moment
	Told              string // the reason of the state, for people
	Printer           mark   // what the device itself says it does
	Reasons           []mark
	Levels            []level
	MoreLevels        int
	Alerts            []alertView
}

type alertView struct {
	Severity mark
	Code     string
	Text     string
	At       moment
	Cleared  bool
}

func viewOf(gateway string, d Device, now time.Time) deviceView {
	v := deviceView{
		Device: d, Path: devicePath(gateway, d.DeviceID), Kind: strings.TrimSpace(d.Make + " " + d.Model), State: stateOf(d.State), Told: spaced(d.Reason),
	}
	v.Title = cmp.Or(d.Name, v.Kind, d.DeviceID)
	if d.Since != nil {
		v.Since = at(*d.Since, now)
	}
	if d.LastSeen != nil {
		v.Seen = at(*d.LastSeen, now)
	}
	if p := d.Reading.Status; p != nil {
		switch p.State {
		case "idle":
			v.Printer = mark{"good", "●", "Idle"}
		case "processing":
			v.Printer = mark{"good", "▶", "Printing"}
		case "stopped":
			v.Printer = mark{"bad", "■", "Stopped"}
		default:
			v.Printer = mark{"quiet", "○", "Does not say"}
		}
		for _, reason := range p.Reasons {
			v.Reasons = append(v.Reasons, reasonOf(reason))
		}
	}
	if p := d.Reading.Supplies; p != nil {
		for _, s := range p.Items {
			v.Levels = append(v.Levels, levelOf(s))
		}
	}
	if p := d.Reading.Firmware; p != nil { // the device's own word, before what the gateway was told
		v.Firmware = p.Version
	}
	v.Alerts = alertsOf(d.Open, now)
	return v
}

func alertsOf(alerts []api.StoredAlert, now time.Time) []alertView {
	out := make([]alertView, len(alerts))
	for i, a := range alerts {
		out[i] = alertView{Severity: severityOf(a.Severity), Code: sentence(spaced(a.Code)), Text: a.Text, At: at(a.At, now), Cleared: a.Cleared}
		if a.Cleared {
			out[i].Severity = mark{"good", "✓", "Ended"}
		}
	}
	return out
}

func (c *Console) gateway(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("gw")
	summary, err := c.Facts.Gateway(r.Context(), id)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	found, next, err := c.Facts.Devices(r.Context(), id, r.URL.Query().Get("cursor"), devicesPage)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	now := c.Clock.Now()
	devices := make([]deviceView, len(found))
	for i, d := range found {
		v := viewOf(id, d, now)
		v.MoreLevels = max(0, len(v.Levels)-suppliesShown)
		v.Levels = v.Levels[:len(v.Levels)-v.MoreLevels]
		devices[i] = v
	}
	c.render(w, r, http.StatusOK, "gateway.html", struct {
		frame
		Summary gatewayRow
		Devices []deviceView
		Next    string
	}{c.gatewayFrame(r, id, id), rowOf(summary, now), devices, pageOf(gatewayPath(id), next)})
}

type counterView struct{ Name, Value string }

type historyRow struct {
	At     moment
	Values []string
}

// fetchedView is what a gateway reported of a delivery that it fetched.
type fetchedView struct {
	At moment
	api.StoredDeviceReport
	Why string
}

func (c *Console) device(w http.ResponseWriter, r *http.Request) {
	gateway, id := r.PathValue("gw"), r.PathValue("id")
	d, err := c.Facts.Device(r.Context(), gateway, id)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	history, err := c.Facts.Alerts(r.Context(), gateway, id, alertsShown)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	now := c.Clock.Now()
	v := viewOf(gateway, d, now)
	page := struct {
		frame
		Device                           deviceView
		StatusAt, SuppliesAt, CountersAt moment
		Counters                         []counterView
		Names                            []string // the history's columns
		History                          []historyRow
		Earlier                          int // changes that are kept and not shown
		Alerts                           []alertView
		AlertsShown                      int
		NewerPath                        string
		OnUSB                            bool
		AskedAt                          moment
		Fetched                          []fetchedView // the latest first
	}{frame: c.gatewayFrame(r, v.Title, gateway), Device: v, Alerts: alertsOf(history, now), AlertsShown: alertsShown}
	if page.OnUSB = d.Attachment == string(mfpgate.AttachmentUSB); page.OnUSB {
		page.AskedAt = at(d.Fetched.CheckedInAt, now)
		for _, r := range slices.Backward(d.Fetched.Reports) {
			page.Fetched = append(page.Fetched, fetchedView{at(r.ReceivedAt, now), r, sentence(spaced(r.Reason))})
		}
	}
	if p := d.Reading.Status; p != nil {
		page.StatusAt = at(p.At, now)
	}
	if p := d.Reading.Supplies; p != nil {
		page.SuppliesAt = at(p.At, now)
	}
	if p := d.Reading.Counters; p != nil {
		page.CountersAt = at(p.At, now)
		for _, k := range p.Items {
			page.Counters = append(page.Counters, counterView{sentence(spaced(k.Name)), count(k.Value)})
			page.Names = append(page.Names, k.Name)
		}
	}
	page.Names = page.Names[:min(len(page.Names), 4)]
	entries := d.Reading.CounterHistory
	page.Earlier = max(0, len(entries)-historyShown)
	for _, e := range slices.Backward(entries[page.Earlier:]) {
		row := historyRow{At: at(e.At, now)}
		for _, name := range page.Names {
			value, ok := e.Values[name]
			if !ok {
				row.Values = append(row.Values, "–")
				continue
			}
			row.Values = append(row.Values, count(value))
		}
		page.History = append(page.History, row)
	}
	for i, name := range page.Names {
		page.Names[i] = sentence(spaced(name))
	}
	if d.Newer != "" {
		page.NewerPath = devicePath(gateway, d.Newer)
	}
	c.render(w, r, http.StatusOK, "device.html", page)
}

func (c *Console) deleteDevice(w http.ResponseWriter, r *http.Request) {
	gateway := r.PathValue("gw")
	r.Body = http.MaxBytesReader(w, r.Body, 4096)
	etag := r.PostFormValue("etag")
	if etag == "" {
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the device's page again and delete it there.")
		return
	}
	if err := c.Facts.DeleteDevice(r.Context(), gateway, r.PathValue("id"), etag); err != nil {
		c.refuse(w, r, err)
		return
	}
	http.Redirect(w, r, gatewayPath(gateway), http.StatusSeeOther)
}
