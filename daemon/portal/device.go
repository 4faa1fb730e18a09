package portal

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// What a device's page shows of long lists; the API has them whole.
const (
	maxAlerts     = 50
	maxSightings  = 100
	maxCandidates = 20
)

// devicePage is what device.html shows.
type devicePage struct {
	frame
	ID, Name, Kind string
	Href           string
	Register       string // where it is added to a print service
	NameGiven      string
	MaxName        int
	State          look
	Since          moment
	Conflict       string
	Region         deviceRegion
	Relayed        bool // it is in mode proxy
	Offline        bool
	Facts          []fact
	Printer        *printer
	Supplies       []gauge
	Counters       []counterRow
	Alerts         []alertRow
	StatusAt       readTime
	SuppliesAt     readTime
	CountersAt     readTime
	NoStatus       string // why there is none, and so on
	NoSupplies     string
	NoCounters     string
	NoAlerts       string
	Sightings      []sightingRow
	CanSplit       bool
	Other          string // what the administrator searches, to say that it is this one
	Searched       bool
	Candidates     []candidate
	MoreCandidates int
}

// fact is one line of who the device is.
type fact struct {
	Term, Text string
	Fixed      bool // an identifier, to be compared letter by letter
	Time       moment
	Age        string
}

type printer struct {
	State   look
	Message string
	Reasons []look
}

// readTime is when a part of a reading was read.
type readTime struct {
	moment
	Verb string // Read, or what else is true of one that is offline now
	Age  string // 3 h ago
}

type counterRow struct{ Name, Value string }

type alertRow struct {
	Time     moment
	Severity look
	What     string
	Text     string
	Cleared  bool
}

type sightingRow struct {
	ID, Source, Name, Says string
	Endpoints              []string
	Seen                   moment
	Notes                  []string
}

// candidate is a device that may be the same one.
type candidate struct {
	ID, Href, Name, Kind, Address, Serial string
	State                                 look
}

func (p *Portal) device(w http.ResponseWriter, r *http.Request) {
	d, err := p.Gateway.Device(r.Context(), mfpgate.DeviceID(r.PathValue("id")))
	if errors.Is(err, control.ErrNoDevice) {
		p.noDevice(w)
		return
	}
	if err != nil {
		p.failed(w, err)
		return
	}
	page := p.devicePage(r, d)
	page.Flash = p.flashed(r)
	p.render(w, http.StatusOK, "device.html", page)
}

func (p *Portal) noDevice(w http.ResponseWriter) {
	p.message(w, http.StatusNotFound, "No such device", "It was forgotten, or is one with another device now. Look for it among the devices.")
}

func (p *Portal) devicePage(r *http.Request, d control.DeviceDetail) devicePage {
	f := p.frame(r, "devices")
	when := func(t time.Time) moment { return at(t, f.now, f.zone) }
	page := devicePage{frame: f, ID: string(d.ID), Name: deviceName(d.Device), Kind: kind(d.Device), Href: deviceHref(d.ID), Register: registerHref(d.ID), NameGiven: d.NameGiven,
		MaxName: control.MaxDeviceName, State: lookOf(d.Device), Since: when(d.Since), Conflict: sentence(d.Conflict), Facts: facts(d, when, f.now),
		Relayed: d.MonitoringMode == mfpgate.MonitoringProxy, Offline: d.State == mfpgate.DeviceOffline, CanSplit: len(d.Sightings) > 1}
	page.Deeper = true
	page.State.Hint = sentence(page.State.Hint)
	page.Region = p.deviceRegion(r.Context(), d.Device, f)
	page.read(d)
	for _, a := range d.Alerts[:min(len(d.Alerts), maxAlerts)] {
		page.Alerts = append(page.Alerts, alertRow{when(a.At), severity(string(a.Severity)), upperFirst(keyword(a.Code)), alertText(a), a.Cleared})
	}
	for _, s := range d.Sightings[:min(len(d.Sightings), maxSightings)] {
		page.Sightings = append(page.Sightings, sighting(s, when))
	}
	page.Other, page.Searched = r.URL.Query().Get("other"), r.URL.Query().Has("other")
	page.Candidates, page.MoreCandidates = p.candidates(r, d.Device, page.Other)
	return page
}

// read fills in what the device said last, or why that is not known. The gateway keeps readings in memory alone.
func (page *devicePage) read(d control.DeviceDetail) {
	read := func(t time.Time) readTime {
		r := readTime{moment: at(t, page.now, page.zone), Verb: "Read", Age: age(page.now.Sub(t))}
		if page.Offline {
			r.Verb = "Last read"
		}
		return r
	}
	page.StatusAt, page.SuppliesAt, page.CountersAt = read(d.ReadAt.Status), read(d.ReadAt.Supplies), read(d.ReadAt.Counters)
	page.NoStatus, page.NoSupplies, page.NoCounters, page.NoAlerts = "Not read yet since the gateway started.", "Not read yet since the gateway started.",
		"Not read yet since the gateway started.", "None is known."
	if page.Offline {
		page.NoStatus = "Not known while it is offline."
	}
	if page.Relayed {
		page.NoCounters, page.NoAlerts = "It reports them to its cloud itself.", "It reports them to its cloud itself."
	}
	if d.Reading == nil {
		return
	}
	if !page.Offline { // what it did when it answered last is not what it does
		page.Printer = printerOf(d.Reading.Status)
	}
	page.Supplies = gauges(d.Reading.Supplies)
	for _, c := range d.Reading.Counters {
		page.Counters = append(page.Counters, counterRow{upperFirst(keyword(c.Name)), count(int(c.Value))})
	}
}

// alertText is what the device said of it; that it is offline is the gateway's own finding, and its text the reason.
func alertText(a mfpgate.Alert) string {
	if a.Code == "offline" {
		return sentence(control.DeviceReason(mfpgate.Reason(a.Text)))
	}
	return a.Text
}

func facts(d control.DeviceDetail, when func(time.Time) moment, now time.Time) []fact {
	all := []fact{
		{Term: "Make and model", Text: kind(d.Device)},
		{Term: "Serial number", Text: d.Serial, Fixed: true},
		{Term: "Firmware", Text: d.Firmware, Fixed: true},
		{Term: "Location", Text: d.Location},
		{Term: "Address", Text: d.Address, Fixed: true},
		{Term: "Attached by", Text: attachmentWords(d.Attachment)},
		{Term: "Mode", Text: modeSentence(d.MonitoringMode)},
	}
	all = append(all, usbFacts(d.Device.USB)...)
	all = append(all, []fact{
		{Term: "Last seen", Time: when(d.LastSeen), Age: age(now.Sub(d.LastSeen))},
		{Term: "UUID", Text: d.Identity.UUID, Fixed: true},
		{Term: "MAC address", Text: d.Identity.MAC, Fixed: true},
		{Term: "SNMP object id", Text: d.Identity.SysObjectID, Fixed: true},
		{Term: "USB", Text: d.Identity.USB, Fixed: true},
		{Term: "Id", Text: string(d.ID), Fixed: true},
	}...)
	return slices.DeleteFunc(all, func(f fact) bool { return f.Text == "" && f.Time.Text == "" })
}

func attachmentWords(a mfpgate.Attachment) string {
	switch a {
	case mfpgate.AttachmentNetwork:
		return "network"
	case mfpgate.AttachmentUSB:
		return "USB"
	}
	return string(a)
}

func modeSentence(m mfpgate.MonitoringMode) string {
	switch m {
	case mfpgate.MonitoringProxy:
		return "Relayed: it reaches its cloud through this gateway"
	case mfpgate.MonitoringPolling:
		return "Polled: this gateway asks it and reports for it"
	}
	return string(m)
}

func printerOf(s *mfpgate.PrinterStatus) *printer {
	if s == nil {
		return nil
	}
	out := &printer{}
	switch s.State {
	case mfpgate.PrinterIdle:
		out.State = look{Sign: "✓", Word: "Ready", Class: "good"}
	case mfpgate.PrinterProcessing:
		out.State = look{Sign: "▶", Word: "Working", Class: "good"}
	case mfpgate.PrinterStopped:
		out.State = look{Sign: "✕", Word: "Stopped", Class: "bad"}
	default:
		out.State = look{Sign: "?", Word: "It does not say", Class: "quiet"}
	}
	if !strings.EqualFold(s.Message, out.State.Word) {
		out.Message = s.Message
	}
	for _, reason := range s.Reasons {
		out.Reasons = append(out.Reasons, reasonLook(reason))
	}
	return out
}

// reasonLook is a keyword of printer-state-reasons, whose suffix says how bad it is.
func reasonLook(reason string) look {
	base, suffix := reason, ""
	for _, known := range []mfpgate.AlertSeverity{mfpgate.AlertError, mfpgate.AlertWarning, mfpgate.AlertReport} {
		if cut, ok := strings.CutSuffix(reason, "-"+string(known)); ok {
			base, suffix = cut, string(known)
		}
	}
	l := severity(suffix)
	l.Hint, l.Word = l.Word, upperFirst(keyword(base))
	return l
}

func severity(s string) look {
	switch mfpgate.AlertSeverity(s) {
	case mfpgate.AlertError:
		return look{Sign: "✕", Word: "error", Class: "bad"}
	case mfpgate.AlertWarning:
		return look{Sign: "▲", Word: "warning", Class: "warn"}
	case mfpgate.AlertReport:
		return look{Sign: "●", Word: "report", Class: "quiet"}
	}
	return look{Sign: "·", Word: s, Class: "quiet"}
}

// sourceWords name the sources to an administrator.
var sourceWords = map[mfpgate.Source]string{
	mfpgate.SourceDNSSD: "DNS-SD", mfpgate.SourceSNMP: "SNMP", mfpgate.SourceIPP: "IPP", mfpgate.SourceUSB: "USB",
	mfpgate.SourceStatic: "Configuration", mfpgate.SourceRelay: "Relay",
}

func sighting(s control.SightingDetail, when func(time.Time) moment) sightingRow {
	source := s.ID.Source()
	row := sightingRow{ID: string(s.ID), Source: cmp.Or(sourceWords[source], string(source)), Name: strings.TrimPrefix(string(s.ID), string(source)+":"), Seen: when(s.At)}
	var says []string
	for _, text := range []string{s.Name, strings.TrimSpace(s.Identity.Make + " " + s.Identity.Model), s.Identity.Serial, s.Location, s.Firmware} {
		if text != "" && text != row.Name && !slices.Contains(says, text) {
			says = append(says, text)
		}
	}
	row.Says = strings.Join(says, ", ")
	for _, e := range s.Endpoints {
		text := string(e.Protocol)
		if e.Address.IsValid() {
			text += " " + e.Address.String()
		}
		if e.Path != "" {
			text += " /" + e.Path
		}
		row.Endpoints = append(row.Endpoints, text)
	}
	if s.Gone {
		row.Notes = append(row.Notes, "gone")
	} else if s.Answered {
		row.Notes = append(row.Notes, "answers")
	}
	if s.Pinned {
		row.Notes = append(row.Notes, "pinned")
	}
	return row
}

// candidates are the devices that the search finds or, without one, those that share something with d.
func (p *Portal) candidates(r *http.Request, d mfpgate.Device, search string) (list []candidate, more int) {
	q := query{Q: strings.TrimSpace(search), Sort: "name", Page: 1}
	if len(q.Q) > maxQuery {
		q.Q = strings.ToValidUTF8(q.Q[:maxQuery], "")
	}
	for _, other := range find(p.Gateway.Devices(r.Context()), q) {
		if other.ID == d.ID || q.Q == "" && !alike(d, other) {
			continue
		}
		if len(list) == maxCandidates {
			more++
			continue
		}
		list = append(list, candidate{string(other.ID), deviceHref(other.ID), deviceName(other), kind(other), other.Address, other.Serial, lookOf(other)})
	}
	return list, more
}

func alike(a, b mfpgate.Device) bool {
	same := func(a, b string) bool { return a != "" && strings.EqualFold(a, b) }
	return same(a.Serial, b.Serial) || same(a.Address, b.Address) || same(a.Name, b.Name)
}
