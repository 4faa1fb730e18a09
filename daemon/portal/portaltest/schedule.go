package portaltest

import (
	"context"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// Schedule implements control.Gateway.
func (g *Gateway) Schedule(context.Context) control.Schedule { return g.ScheduleIs }

// Deliveries implements control.Gateway.
func (g *Gateway) Deliveries(context.Context) []control.Delivery { return g.DeliveriesAre }

// LeftOut implements control.Gateway.
func (g *Gateway) LeftOut(context.Context) []control.LeftOut { return g.LeftOutAre }

// Load implements control.Gateway.
func (g *Gateway) Load(context.Context) []control.Load { return g.LoadIs }

// Proposal implements control.Gateway.
func (g *Gateway) Proposal(context.Context) control.Proposal { return g.ProposalIs }

// Propose implements control.Gateway.
func (g *Gateway) Propose(context.Context) (control.Proposal, error) {
	return g.ProposalIs, g.ChangeFails
}

// Apply implements control.Gateway. It knows of one proposal.
func (g *Gateway) Apply(_ context.Context, id string) (control.Proposal, error) {
	if g.ChangeFails != nil {
		return control.Proposal{}, g.ChangeFails
	}
	if id != g.ProposalIs.ID {
		return control.Proposal{}, fmt.Errorf("%w: no such open proposal: %s", control.ErrSchedule, id)
	}
	g.ProposalIs.Apply = true
	return g.ProposalIs, nil
}

// Scheduled is the busy gateway with an overload tonight, a proposal that is half decided, and a day on the chart.
func Scheduled() *Gateway {
	g := Busy()
	g.StatusIs.Degraded = nil
	tonight := time.Date(2026, time.March, 3, 17, 0, 0, 0, time.UTC) // 02:00 in Osaka
	band := api.Band{BandID: "band_1", From: tonight, To: tonight.Add(25 * time.Minute), Capacity: 8, Peak: 11, PeakAt: tonight.Add(5 * time.Minute),
		ExcessDeviceSeconds: 2700, Certainty: "certain", Probability: 1, MustMove: 3,
		Contributors: []api.Contributor{{Type: "delivery", BatchID: "spring", Count: 11, PeakShare: 11}},
		Text:         "02:00-02:25 Tokyo time on 4 Mar: 11 devices at once where 8 can be served (11 of batch spring); at least 3 deliveries must move"}
	left := api.Band{BandID: "band_2", From: tonight.Add(time.Hour), To: tonight.Add(70 * time.Minute), Capacity: 8, Peak: 9,
		PeakAt: tonight.Add(time.Hour), ExcessDeviceSeconds: 600, Certainty: "risk", Probability: .12,
		Text: "03:00-03:10 Tokyo time on 4 Mar: 9 devices at once where 8 can be served (9 of batch " + Hostile + "), if they take long (12 %)",
		Certificate: &api.Certificate{From: tonight.Add(time.Hour), To: tonight.Add(2 * time.Hour), NeedDeviceSeconds: 5400, HaveDeviceSeconds: 4800,
			AtLeastUnresolved: 1, Text: "10 deliveries need 90 of 80 device-minutes between 03:00 and 04:00: at least 1 cannot run."}}
	g.ScheduleIs = control.Schedule{Mode: mfpgate.SchedulePropose, Effective: "propose", Tried: ago(15 * time.Minute), Planned: ago(15 * time.Minute),
		Fetched: ago(15 * time.Minute), Next: Now.Add(44*time.Minute + 50*time.Second), Deliveries: 42, Background: 2, LeftOut: 3, PlannedNow: 2,
		Bands: []api.Band{band, left}, BandsAfter: []api.Band{left},
		Report:     control.Report{ID: "rep_1", Bands: 2, Sent: ago(14 * time.Minute)},
		ProposalID: "prop_1", ProposalState: control.ProposalOpen}
	change := func(n int, state, outcome string, by time.Duration) control.Change {
		return control.Change{Change: api.Change{ChangeID: fmt.Sprint("chg_", n), DeliveryID: fmt.Sprint("dlv_", n), From: tonight, To: tonight.Add(by),
			MoveBy: api.Shift(by), Reason: api.Reason{Code: "OVERLOAD", BandID: "band_1", Text: "It ends last of the 11 that are active, and 3 must leave"}},
			Device: g.DevicesAre[n].ID, DeviceName: g.DevicesAre[n].Name, State: state, Outcome: outcome}
	}
	g.ProposalIs = control.Proposal{ID: "prop_1", State: control.ProposalOpen, Handed: ago(14 * time.Minute),
		Changes: []control.Change{change(0, "pending", "", 30*time.Minute), change(1, "applied", "", -20*time.Minute),
			change(2, "rejected", "the shop opens then", 30*time.Minute), change(3, "conflict", "", 35*time.Minute), change(4, "expired", "", 2*time.Hour)},
		Unresolved: []api.Unresolved{{DeliveryID: "dlv_9", Reason: "No start inside its window has room", Certificate: left.Certificate,
			Options: []string{"widenWindow", "raiseCapacity"}}},
		Quality: api.Quality{Unresolved: 1, UnresolvedLB: 1, Moved: 5, MovedLB: 3, Status: "gap", Gap: .04}}
	g.LeftOutAre = []control.LeftOut{
		{Delivery: "dlv_7", Device: g.DevicesAre[4].ID, DeviceName: g.DevicesAre[4].Name, Reason: "polling-mode", Text: control.LeftOutReason("polling-mode")},
		{Delivery: "dlv_8", Device: "dev_99", Reason: "unknown-device", Text: control.LeftOutReason("unknown-device")},
		{Delivery: "dlv_6", Device: g.DevicesAre[0].ID, DeviceName: g.DevicesAre[0].Name, Reason: "finished", Text: control.LeftOutReason("finished")},
		{Delivery: Hostile, Device: g.DevicesAre[0].ID, DeviceName: g.DevicesAre[0].Name, Reason: "newer-than-the-page", Text: Hostile},
	}
	now := Now.Truncate(5 * time.Minute)
	for i := -200; i < 288; i++ { // the gateway started 17 hours ago
		at := now.Add(time.Duration(i) * 5 * time.Minute)
		piece := control.Load{From: at, To: at.Add(5 * time.Minute), Capacity: 8, Planned: new((i + 288) / 40 % 4)}
		if hour := at.In(time.FixedZone("JST", 9*3600)).Hour(); hour >= 8 && hour < 18 {
			piece.Capacity = 6
		}
		if i <= 0 {
			piece.Observed = new(max(0, *piece.Planned+(i*i/7)%3-1))
		}
		if !at.Before(tonight) && at.Before(tonight.Add(25*time.Minute)) {
			piece.Planned = new(11)
		}
		g.LoadIs = append(g.LoadIs, piece)
	}
	return g
}
