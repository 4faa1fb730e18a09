package portal

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/proxy/slots"
)

// What the page shows of long lists; the API has them whole.
const (
	maxDevices  = 50
	maxTunnels  = 200
	maxQueue    = 200
	maxRefusals = 50
)

// overviewPage is what overview.html shows; live.html is its part that follows the gateway.
type overviewPage struct {
	frame
	Paused   bool
	Status   control.Status
	State    look
	Started  moment
	LoadedAt moment
	Wrong    []problem
	Serving  string // the sentence that is read out when it changes
	Waiting  string
	UsedFrom float64 // of the capacity, per cent that is used
	Tunnels  string
	Until    string // when the capacity may change; "" for never today
	Limit    string
	Schedule string // of the deliveries; "" while there is nothing to do
	Chart    chart
	Queue    []queueRow
	Devices  []deviceRow
	Known    string // how many devices there are
	States   []stateCount
	Open     []tunnelRow
	Refused  []refusalRow
	More     struct{ Queue, Devices, Open int } // how many are not shown
}

type problem struct {
	Title, Text string
	Since       moment
}

type queueRow struct {
	Position int
	Name, ID string
	Waits    string
	Away     bool
}

type deviceRow struct {
	Href, Name, Kind, Address string
	State                     look
	Now                       string
	Since                     moment
}

// stateCount leads to the devices in one state.
type stateCount struct {
	State look
	Count string
	Href  string
}

type tunnelRow struct {
	Name, Client, Destination, Forwarded, Age, Quiet, Up, Down string
}

type refusalRow struct {
	Time                            moment
	Name, Client, Destination, Text string
	Reason                          mfpgate.Reason
}

func (p *Portal) overview(w http.ResponseWriter, r *http.Request) {
	page := p.look(r.Context())
	page.frame, page.Paused = p.frame(r, "overview"), r.URL.Query().Get("live") == "off"
	p.render(w, http.StatusOK, "overview.html", page)
}

func (p *Portal) live(w http.ResponseWriter, r *http.Request) {
	p.render(w, http.StatusOK, "live.html", p.look(r.Context()))
}

// look asks the gateway once for everything.
func (p *Portal) look(ctx context.Context) overviewPage {
	status, now := p.Gateway.Status(ctx), p.Clock.Now()
	zone := zoneOf(status.Site)
	v := overviewPage{Status: status, State: stateOf(status), Started: at(status.StartedAt, now, zone),
		LoadedAt: at(status.Config.LoadedAt, now, zone), Chart: newChart(p.Gateway.History(ctx), now, zone),
		Tunnels: count(status.Relay.Tunnels), Limit: count(status.Relay.ConnectionsLimit)}
	v.AsOf = at(now, now, zone)
	v.Serving, v.Waiting = servingWords(status.Relay)
	if status.Relay.Capacity > 0 {
		v.UsedFrom = min(100*float64(status.Relay.Served)/float64(status.Relay.Capacity), 100)
	}
	if until := status.Relay.CapacityUntil; until.After(now) && until.Sub(now) < 24*time.Hour {
		v.Until = until.In(zone).Format("15:04")
	}
	for _, d := range status.Degraded {
		title, ok := titles[d.Reason]
		if !ok {
			title = string(d.Reason)
		}
		v.Wrong = append(v.Wrong, problem{title, sentence(d.Text), at(d.Since, now, zone)})
	}
	v.Schedule = scheduleLine(p.Gateway.Schedule(ctx), now, zone)
	load := p.Gateway.Slots(ctx)
	v.Queue = queueRows(load, now)
	devices := p.Gateway.Devices(ctx)
	v.Known, v.States = count(len(devices)), statesOf(devices)
	v.Devices = deviceRows(worthALook(devices, load), load, now, zone)
	v.Open = tunnelRows(p.Gateway.Tunnels(ctx))
	v.Refused = refusalRows(p.Gateway.Refusals(ctx), now, zone)
	v.Queue, v.More.Queue = cut(v.Queue, maxQueue)
	v.More.Devices = len(devices) - len(v.Devices)
	v.Open, v.More.Open = cut(v.Open, maxTunnels)
	v.Refused, _ = cut(v.Refused, maxRefusals)
	return v
}

func cut[T any](rows []T, limit int) (shown []T, more int) {
	if len(rows) <= limit {
		return rows, 0
	}
	return rows[:limit], len(rows) - limit
}

func stateOf(s control.Status) look {
	switch {
	case s.Relay.Draining:
		return look{Sign: "◐", Word: "Stopping: open tunnels may finish, nothing new is let in", Class: "warn"}
	case !s.Ready:
		return look{Sign: "✕", Word: "Not ready: the gateway cannot do its work", Class: "bad"}
	case len(s.Degraded) > 0:
		return look{Sign: "▲", Word: "Working, with " + counted(len(s.Degraded), "problem", "problems"), Class: "warn"}
	}
	return look{Sign: "✓", Word: "Working", Class: "good"}
}

func servingWords(r control.Relay) (serving, waiting string) {
	serving = fmt.Sprintf("%s of %s in use", count(r.Served), counted(r.Capacity, "slot", "slots"))
	switch r.Queued {
	case 0:
		return serving, "no device waits"
	case 1:
		return serving, "1 device waits"
	}
	return serving, count(r.Queued) + " devices wait"
}

func waits(s control.Slot) bool {
	return s.State == string(slots.StateQueued) || s.State == string(slots.StateAway)
}

func queueRows(load []control.Slot, now time.Time) []queueRow {
	var rows []queueRow
	for _, s := range load {
		if waits(s) {
			rows = append(rows, queueRow{s.Position, s.Name, string(s.Device), duration(now.Sub(s.Since)), s.State == string(slots.StateAway)})
		}
	}
	slices.SortStableFunc(rows, func(a, b queueRow) int { return cmp.Compare(a.Position, b.Position) })
	return rows
}

// worthALook are all devices of a small site and, of a large one, those that the overview is about: at the relay now, then
// what needs somebody. The others are on the devices' own page, which can search; this one is sent every few seconds.
func worthALook(devices []mfpgate.Device, load []control.Slot) []mfpgate.Device {
	if len(devices) <= maxDevices {
		return devices
	}
	here := map[mfpgate.DeviceID]bool{}
	for _, s := range load {
		here[s.Device] = true
	}
	rank := func(d mfpgate.Device) int {
		if here[d.ID] {
			return -2
		}
		return urgency(d)
	}
	slices.SortStableFunc(devices, func(a, b mfpgate.Device) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), compareText(deviceName(a), deviceName(b)))
	})
	return devices[:maxDevices]
}

func statesOf(devices []mfpgate.Device) []stateCount {
	n := map[mfpgate.DeviceState]int{}
	for _, d := range devices {
		n[d.State]++
	}
	var list []stateCount
	for _, s := range deviceStates {
		if n[s] > 0 {
			list = append(list, stateCount{lookOf(mfpgate.Device{State: s}), count(n[s]), query{State: string(s), Sort: "name", Page: 1}.address("/devices")})
		}
	}
	return list
}

func deviceRows(devices []mfpgate.Device, load []control.Slot, now time.Time, zone *time.Location) []deviceRow {
	slot := map[mfpgate.DeviceID]control.Slot{}
	for _, s := range load {
		slot[s.Device] = s
	}
	rows := make([]deviceRow, 0, len(devices))
	for _, d := range devices {
		row := deviceRow{Href: deviceHref(d.ID), Name: deviceName(d), Kind: kind(d), Address: d.Address, State: lookOf(d), Since: at(d.Since, now, zone)}
		if s, ok := slot[d.ID]; ok {
			row.Now = slotWords(s)
		}
		rows = append(rows, row)
	}
	slices.SortStableFunc(rows, func(a, b deviceRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

func slotWords(s control.Slot) string {
	switch {
	case s.State == string(slots.StateHeld):
		return "Served, " + counted(s.Connections, "connection", "connections")
	case waits(s):
		return fmt.Sprintf("Waits, place %d", s.Position)
	}
	return counted(s.Connections, "connection", "connections") + " at rest"
}

func tunnelRows(tunnels []control.Tunnel) []tunnelRow {
	// By age, so that rows stay where they are from one refresh to the next.
	slices.SortStableFunc(tunnels, func(a, b control.Tunnel) int { return cmp.Compare(b.Seconds, a.Seconds) })
	var rows []tunnelRow
	for _, t := range tunnels {
		client := t.Client
		if host, _, err := net.SplitHostPort(client); err == nil {
			client = host
		}
		rows = append(rows, tunnelRow{cmp.Or(t.Name, client), client, t.Destination, t.Forwarded, duration(seconds(t.Seconds)), duration(seconds(t.Quiet)),
			size(t.BytesUp), size(t.BytesDown)})
	}
	return rows
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func refusalRows(refusals []control.Refusal, now time.Time, zone *time.Location) []refusalRow {
	var rows []refusalRow
	for _, r := range refusals {
		rows = append(rows, refusalRow{at(r.Time, now, zone), cmp.Or(r.Name, r.Client), r.Client, r.Destination, whyRefused(r.Reason), r.Reason})
	}
	return rows
}
