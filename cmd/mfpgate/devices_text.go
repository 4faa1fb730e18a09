package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// tableWidth is what the table of devices fits in, whatever their names are.
const tableWidth = 120

// clean makes a text from outside safe for a terminal: what moves the cursor, sets a colour or turns the writing around is
// shown as a replacement character.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// width is how many columns a terminal gives a text: two to each letter of Chinese, Japanese and Korean (UAX #11).
func width(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul) && !(r >= 0xff61 && r <= 0xffdc),
			r >= 0x3000 && r <= 0x303e, r >= 0xff01 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r == 0x30fc, r >= 0x1f300 && r <= 0x1faff:
			n += 2
		default:
			n++
		}
	}
	return n
}

// fit cuts a text to so many columns and fills it up to them.
func fit(text string, columns int) string {
	if width(text) > columns {
		cut := []rune(text)
		for len(cut) > 0 && width(string(cut)) > columns-1 {
			cut = cut[:len(cut)-1]
		}
		text = string(cut) + "…"
	}
	return text + strings.Repeat(" ", max(columns-width(text), 0))
}

func printDevices(out io.Writer, devices []mfpgate.Device, now time.Time) {
	rows := [][]string{{"NAME", "ADDRESS", "SERIAL", "LOCATION", "STATE", "SINCE", "SEEN", "ID"}}
	for _, d := range devices {
		rows = append(rows, []string{clean(cmp.Or(d.Name, "-")), clean(cmp.Or(addressText(d), "-")), clean(cmp.Or(d.Serial, "-")), clean(cmp.Or(d.Location, "-")),
			stateText(d), ago(d.Since, now), ago(d.LastSeen, now), string(d.ID)})
	}
	// The id, the state and the ages are never cut: they are what a reader copies or came for. Locations and names give way first.
	printTable(out, rows, []narrowing{{3, 12}, {0, 18}, {1, 24}, {3, 6}, {0, 12}, {1, 15}, {2, 10}, {3, 3}, {0, 8}, {2, 6}})
}

// addressText is where a device is reached: its address or, on USB, its port and how it is driven there.
func addressText(d mfpgate.Device) string {
	if d.USB == nil {
		return d.Address
	}
	text := "usb:" + d.USB.Bus + " " + string(d.USB.Mode)
	if d.Attachment != mfpgate.AttachmentUSB {
		return d.Address + ", " + text
	}
	return text
}

// narrowing lets a column give way to so many columns of the terminal.
type narrowing struct{ column, least int }

// printTable prints rows, the first of which is the head, in tableWidth if the narrowings, in their order, get it there.
func printTable(out io.Writer, rows [][]string, steps []narrowing) {
	widest := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widest[i] = max(widest[i], width(cell))
		}
	}
	over := 2 * (len(widest) - 1)
	for _, w := range widest {
		over += w
	}
	over -= tableWidth
	for _, step := range steps {
		give := min(max(over, 0), max(widest[step.column]-step.least, 0))
		widest[step.column] -= give
		over -= give
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(fit(cell, widest[i]) + "  ")
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

func stateText(d mfpgate.Device) string {
	if d.Reason != "" {
		return string(d.State) + " (" + string(d.Reason) + ")"
	}
	return string(d.State)
}

// ago is how long ago in one unit: 12m, 5h, 3d.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(d/time.Second, 0))
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

const termWidth = 20

// sheet is a device's own page on a terminal: titles, and lines of a term and a text.
type sheet struct {
	out io.Writer
	now time.Time
}

func (s sheet) title(text string, read time.Time) {
	if !read.IsZero() {
		text += ", read " + s.at(read)
	}
	fmt.Fprintf(s.out, "\n%s\n", text)
}

func (s sheet) line(term, format string, args ...any) {
	text := strings.TrimRight(clean(fmt.Sprintf(format, args...)), " ")
	if text != "" {
		term = clean(term)
		fmt.Fprintf(s.out, "  %s%s  %s\n", term, strings.Repeat(" ", max(termWidth-width(term), 0)), text)
	}
}

func (s sheet) at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime) + " (" + ago(t, s.now) + " ago)"
}

func printDevice(out io.Writer, d control.DeviceDetail, now time.Time) {
	s := sheet{out, now}
	state := stateText(d.Device)
	if !d.Since.IsZero() {
		state += ", since " + s.at(d.Since)
	}
	fmt.Fprintf(out, "%s\n", clean(cmp.Or(d.Name, d.Address, string(d.ID))))
	s.line("state", "%s", state)
	if why := control.DeviceReason(d.Reason); why != string(d.Reason) {
		s.line("", "%s", why)
	}
	s.line("last seen", "%s", s.at(d.LastSeen))
	s.line("CONFLICT", "%s", d.Conflict)

	s.title("Identity", time.Time{})
	s.line("id", "%s", d.ID)
	if d.NameGiven != "" {
		s.line("name", "%s, given by an administrator", d.NameGiven)
	}
	s.line("make and model", "%s", strings.TrimSpace(d.Make+" "+d.Model))
	for _, pair := range [][2]string{{"serial number", d.Serial}, {"firmware", d.Firmware}, {"location", d.Location}, {"address", d.Address},
		{"attached by", string(d.Attachment)}, {"monitoring mode", string(d.MonitoringMode)}, {"market", d.Market}, {"home", d.Home},
		{"UUID", d.Identity.UUID}, {"MAC address", d.Identity.MAC}, {"SNMP object id", d.Identity.SysObjectID}, {"USB", d.Identity.USB}} {
		s.line(pair[0], "%s", pair[1])
	}
	s.usb(d.Device.USB)
	s.sightings(d.Sightings)
	if d.Reading != nil {
		s.reading(*d.Reading, d.ReadAt)
	}
	s.alerts(d.Alerts)
}

func (s sheet) usb(p *mfpgate.USBPort) {
	if p == nil {
		return
	}
	s.title("USB", time.Time{})
	s.line("port", "%s", p.Bus)
	s.line("vendor and product", "%s", p.ID)
	s.line("mode", "%s: %s", p.Mode, control.USBMode(p.Mode))
	if p.Reason != "" || p.Detail != "" {
		s.line("note", "%s", strings.Trim(string(p.Reason)+": "+p.Detail, ": "))
	}
	if p.URL != "" {
		s.line("prints at", "%s, %s", p.URL, control.USBReach(*p))
	}
}

func (s sheet) sightings(list []control.SightingDetail) {
	if len(list) > 0 {
		s.title("Sightings", time.Time{})
	}
	for _, seen := range list {
		notes := []string{s.at(seen.At)}
		for note, is := range map[string]bool{"answers": seen.Answered && !seen.Gone, "gone": seen.Gone, "pinned": seen.Pinned} {
			if is {
				notes = append(notes, note)
			}
		}
		slices.Sort(notes[1:])
		fmt.Fprintf(s.out, "  %s\n", clean(string(seen.ID)))
		s.line("", "%s", strings.Join(slices.DeleteFunc(notes, func(n string) bool { return n == "" }), ", "))
		for _, e := range seen.Endpoints {
			where := e.Host
			if e.Address.IsValid() {
				where = e.Address.String()
			}
			s.line("", "%s %s %s", e.Protocol, where, e.Path)
		}
	}
}

func (s sheet) reading(r mfpgate.Reading, at control.ReadTimes) {
	if r.Status != nil {
		s.title("Status", at.Status)
		s.line(string(r.Status.State), "%s", cmp.Or(r.Status.Message, strings.Join(r.Status.Reasons, ", ")))
		if r.Status.Message != "" {
			s.line("", "%s", strings.Join(r.Status.Reasons, ", "))
		}
	}
	if len(r.Supplies) > 0 {
		s.title("Supplies", at.Supplies)
	}
	for _, supply := range r.Supplies {
		s.line(supply.Name, "%s", gauge(supply))
	}
	if len(r.Counters) > 0 {
		s.title("Counters", at.Counters)
	}
	for _, c := range r.Counters {
		s.line(c.Name, "%12d", c.Value)
	}
}

func (s sheet) alerts(list []mfpgate.Alert) {
	if len(list) > 0 {
		s.title("Alerts", time.Time{})
	}
	for _, a := range list {
		what := string(a.Severity)
		if a.Cleared {
			what = "cleared"
		}
		s.line(a.At.Local().Format(time.DateTime), "%-8s %s  %s", what, a.Code, a.Text)
	}
}

const gaugeLength = 20

// gauge draws a level: what a consumable has left, what a receptacle holds.
func gauge(supply mfpgate.Supply) string {
	percent, known := supply.Percent()
	full := (percent*gaugeLength + 99) / 100 // what is nearly empty is not drawn as empty
	switch {
	case known && supply.Receives:
		return "[" + strings.Repeat("+", full) + strings.Repeat(".", gaugeLength-full) + fmt.Sprintf("] %3d %% full", percent)
	case known:
		return "[" + strings.Repeat("#", full) + strings.Repeat(".", gaugeLength-full) + fmt.Sprintf("] %3d %%", percent)
	case supply.Level == mfpgate.LevelSome && supply.Receives:
		return "[" + strings.Repeat("~", gaugeLength) + "] some room is left"
	case supply.Level == mfpgate.LevelSome:
		return "[" + strings.Repeat("~", gaugeLength) + "] some is left"
	case supply.Level == mfpgate.LevelOther:
		return "[" + strings.Repeat(" ", gaugeLength) + "] no limit"
	case supply.Level >= 0:
		return fmt.Sprintf("[%s] %d %s", strings.Repeat("?", gaugeLength), supply.Level, supply.Unit)
	}
	return "[" + strings.Repeat("?", gaugeLength) + "] not known"
}
