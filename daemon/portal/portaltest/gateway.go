// Package portaltest has a gateway that stands still, for tests of the pages: a busy one with one of everything, and one
// that has just started.
package portaltest

import (
	"context"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// Now is the time at which the gateway stands still: 14:32:10 in Osaka.
var Now = time.Date(2026, time.March, 3, 5, 32, 10, 0, time.UTC)

// Gateway answers what its fields say.
type Gateway struct {
	StatusIs         control.Status
	DevicesAre       []mfpgate.Device
	SlotsAre         []control.Slot
	TunnelsAre       []control.Tunnel
	RefusalsAre      []control.Refusal
	HistoryIs        []control.Sample
	DetailsAre       map[mfpgate.DeviceID]control.DeviceDetail // of devices that have more than what DevicesAre says
	DetailsRead      int                                       // how often one was asked for
	ReadingsAre      map[mfpgate.DeviceID]mfpgate.Reading
	ChangeFails      error // of every change of a device
	ScheduleIs       control.Schedule
	DeliveriesAre    []control.Delivery
	LeftOutAre       []control.LeftOut
	LoadIs           []control.Load
	ProposalIs       control.Proposal
	PrintServicesAre []control.PrintService
	RegistrationsAre []mfpgate.Registration
	RequestsWere     []mfpgate.RegistrationRequest
	MovesAre         []mfpgate.Move
	ResidencesAre    []mfpgate.Residence
	ResidencesFail   error
	BlockersAre      map[mfpgate.DeviceID][]mfpgate.MoveBlocker // of plans
	StartsWere       []mfpgate.MoveRequest
	AuditIs          []control.AuditEntry
	ReportIs         control.AuditReport
	DoneWere         []string                  // what was done to registrations and moves, and by whom
	Users            map[string]mfpgate.Secret // administrators, unless AccountsAre says otherwise
	AccountsAre      map[string]control.User
	CheckFails       error

	keys      map[string]string // of requests, to their registrations
	listeners []*listener       // to registrations
	followers []*listener       // of moves

	mu *sync.Mutex // guards the devices, the accounts, the registrations and the moves, which change
}

// Status implements control.Gateway.
func (g *Gateway) Status(context.Context) control.Status { return g.StatusIs }

// Slots implements control.Gateway.
func (g *Gateway) Slots(context.Context) []control.Slot { return g.SlotsAre }

// Tunnels implements control.Gateway.
func (g *Gateway) Tunnels(context.Context) []control.Tunnel { return g.TunnelsAre }

// Refusals implements control.Gateway.
func (g *Gateway) Refusals(context.Context) []control.Refusal { return g.RefusalsAre }

// History implements control.Gateway.
func (g *Gateway) History(context.Context) []control.Sample { return g.HistoryIs }

func ago(d time.Duration) time.Time { return Now.Add(-d) }

// Idle is a gateway that has just started.
func Idle() *Gateway {
	return &Gateway{ScheduleIs: control.Schedule{Mode: mfpgate.SchedulePropose, Idle: "no-contract", IdleText: "no cloud is configured"},
		StatusIs: control.Status{Version: "1.0.0", Ready: true, StartedAt: ago(5 * time.Second),
			Site:   control.Site{Name: "osaka-branch", Region: "jp", Location: "Osaka 3F", TimeZone: "Asia/Tokyo"},
			Relay:  control.Relay{Listen: []string{"[::]:3128"}, Capacity: 50, ConnectionsLimit: 19_000},
			Config: control.Config{File: "/etc/mfpgate/mfpgate.yaml", LoadedAt: ago(5 * time.Second)}},
		DetailsAre: map[mfpgate.DeviceID]control.DeviceDetail{}, ReadingsAre: map[mfpgate.DeviceID]mfpgate.Reading{},
		Users:       map[string]mfpgate.Secret{"mori": "correct horse battery", "sato": "correct horse battery"},
		AccountsAre: map[string]control.User{"sato": {Email: "sato@example.co.jp", Role: control.RoleUser}}, mu: &sync.Mutex{}}
}

// Hostile is a name that would be a script if a page did not show it as text.
const Hostile = `<script>document.title="broken"</script>"'` + "`&"

// Busy is a gateway at capacity, with problems.
func Busy() *Gateway {
	g := Idle()
	g.StatusIs.StartedAt = ago(9 * 24 * time.Hour)
	g.StatusIs.Off = []string{"relay.upstream", "cloud"}
	g.StatusIs.Degraded = []control.Degradation{
		{Reason: "config-refused", Since: ago(12 * time.Minute), Text: "the configuration in force is older than the file: /etc/mfpgate/mfpgate.yaml:12:7: cloud.url: must start with https://; write \"https://jp.cloud.example\"\n/etc/mfpgate/mfpgate.yaml:19:3: relai: unknown key; did you mean relay?"},
		{Reason: "newer-than-the-page", Since: ago(26 * time.Hour), Text: "something " + Hostile},
	}
	r := &g.StatusIs.Relay
	r.Capacity, r.CapacityUntil, r.Served, r.Queued, r.Tunnels, r.Connections = 8, Now.Add(3*time.Hour+28*time.Minute), 8, 3, 11, 34
	device := func(id, name, model, address string, state mfpgate.DeviceState, reason mfpgate.Reason, since time.Duration) {
		d := mfpgate.Device{ID: mfpgate.DeviceID(id), Name: name, Make: "Ricoh", Model: model, Address: address, State: state, Reason: reason}
		if since > 0 {
			d.Since = ago(since)
		}
		g.DevicesAre = append(g.DevicesAre, d)
	}
	device("dev_1", "2F copier", "IM C4510", "10.1.0.9", mfpgate.DeviceOnline, "", 3*time.Hour)
	device("dev_2", "3F design room", "IM C6010", "10.1.0.12", mfpgate.DeviceOnline, "", 26*time.Hour)
	device("dev_3", Hostile, "P 502", "10.1.0.31", mfpgate.DeviceOnline, "", 12*time.Minute)
	device("dev_4", "Reception", "IM 370", "10.1.0.14", mfpgate.DeviceOffline, "silent", 50*time.Minute)
	device("dev_5", "Warehouse", "P 502", "10.1.0.15", mfpgate.DeviceKnown, "never-seen", 0)
	device("dev_6", "10.1.0.77", "", "10.1.0.77", mfpgate.DeviceUnknown, "not-named", 4*time.Minute)
	device("dev_7", "5F 複合機", "IM C3010", "10.1.0.18", mfpgate.DeviceOnline, "", 72*time.Hour)
	g.SlotsAre = []control.Slot{
		{Device: "dev_1", Name: "2F copier", State: "held", Connections: 4},
		{Device: "dev_2", Name: "3F design room", State: "held", Connections: 1},
		{Device: "dev_7", Name: "5F 複合機", State: "idle", Connections: 2},
		{Device: "dev_6", Name: "10.1.0.77", State: "queued", Position: 2, Since: ago(9 * time.Second)},
		{Device: "dev_3", Name: Hostile, State: "queued", Position: 1, Connections: 1, Since: ago(75 * time.Second)},
		{Device: "dev_9", Name: "branch-7/printer-1", State: "away", Position: 3, Since: ago(4 * time.Second)},
	}
	g.TunnelsAre = []control.Tunnel{
		{Device: "dev_2", Name: "3F design room", Client: "10.1.0.12:40112", Destination: "us.cloud.example:443", Forwarded: "jp.cloud.example:443", Seconds: 31, Quiet: 0.4, BytesUp: 18_220, BytesDown: 2_410},
		{Device: "dev_1", Name: "2F copier", Client: "10.1.0.9:51034", Destination: "firmware.cloud.example:443", Seconds: 418, Quiet: 0.01, BytesUp: 9_120, BytesDown: 612_400_118},
		{Device: "dev_7", Name: "5F 複合機", Client: "10.1.0.18:50110", Destination: "push.vendor.example:443", Seconds: 93_000, Quiet: 1_204, BytesUp: 880_120, BytesDown: 1_020_776},
		{Device: "dev_3", Name: Hostile, Client: "[2001:db8::31]:50110", Destination: Hostile + ":443", Seconds: 2},
	}
	g.RefusalsAre = []control.Refusal{
		{Time: ago(40 * time.Second), Device: "dev_6", Name: "10.1.0.77", Client: "10.1.0.77", Destination: "tracker.example:443", Reason: "destination-not-allowed"},
		{Time: ago(6 * time.Minute), Device: "dev_1", Name: "2F copier", Client: "10.1.0.9", Destination: "jp.cloud.example:443", Reason: "queue-timeout"},
		{Time: ago(20 * time.Hour), Client: "10.9.0.3", Reason: "client-not-allowed"},
		{Time: ago(21 * time.Hour), Name: Hostile, Client: "10.1.0.31", Destination: Hostile, Reason: "newer-than-the-page"},
	}
	g.HistoryIs = hour()
	return g
}

// hour is an hour with a calendar step, a queue, and two minutes without a record.
func hour() []control.Sample {
	var list []control.Sample
	for i := range 360 {
		if i >= 120 && i < 132 {
			continue
		}
		s := control.Sample{Time: ago(time.Hour - time.Duration(i)*10*time.Second - 5*time.Second), Capacity: 12}
		if i >= 180 {
			s.Capacity = 8
		}
		wants := 2 + i/30 - (i/17)%3
		s.Served = min(wants, s.Capacity)
		s.Queued = wants - s.Served
		list = append(list, s)
	}
	return list
}
