package console_test

import (
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// newBook is a delivery system with a contract for ten devices at once, and nothing planned.
func newBook() *book {
	c := api.DefaultContract("osaka-1")
	c.TimeZone, c.MaxConcurrent = "Asia/Tokyo", 10
	return &book{contract: c, deliveries: map[string]api.Delivery{}, states: map[string]api.ProposalState{}}
}

// twoAtNight is 2 o'clock in Tokyo, two nights ahead.
var twoAtNight = time.Date(2026, 12, 2, 17, 0, 0, 0, time.UTC)

// plan adds n deliveries of a batch, one device each, that start together and may run until six.
func (b *book) plan(batch string, n int, start time.Time) {
	for i := range n {
		id := fmt.Sprintf("dlv_%s-%02d", batch, i+1)
		at, from, to := start, start.Add(-4*time.Hour), start.Add(4*time.Hour)
		loc, err := time.LoadLocation(b.contract.TimeZone)
		if err != nil {
			panic(err)
		}
		b.deliveries[id] = api.Delivery{DeliveryID: id, DeviceID: fmt.Sprintf("dev_%s-%02d", batch, i+1), BatchID: batch, Kind: "firmware", PackageID: "fw-c300",
			PackageVersion: "2.1", State: "planned", Version: "1", Priority: 5,
			Schedule: api.Schedule{StartUTC: &at, Local: at.In(loc).Format("2006-01-02T15:04:05"), TimeZone: b.contract.TimeZone},
			Window:   &api.StartWindow{EarliestStart: &from, LatestEnd: &to},
			Duration: &api.Estimate{P50: api.Duration(9 * time.Minute), P95: api.Duration(16 * time.Minute), Basis: "history", Samples: 412}}
	}
}

func (b *book) edit(id string, f func(*api.Delivery)) {
	d := b.deliveries[id]
	f(&d)
	b.deliveries[id] = d
}

// night has 15 devices at two o'clock where ten can be served, a pinned one among them, and the warning of it.
func night() *book {
	b := newBook()
	b.plan("night", 13, twoAtNight)
	b.plan("licences", 2, twoAtNight.Add(5*time.Minute))
	no := false
	b.edit("dlv_night-01", func(d *api.Delivery) { d.Movable, d.PinnedReason = &no, "the customer's own wish" })
	b.edit("dlv_night-02", func(d *api.Delivery) { d.Priority = 9 })
	b.edit("dlv_licences-01", func(d *api.Delivery) { d.Kind, d.Priority = "licence", 2 })
	b.warnings = []api.Warning{
		{Band: api.Band{BandID: "bnd_1", From: twoAtNight, To: twoAtNight.Add(21 * time.Minute), Capacity: 10, Peak: 15, PeakAt: twoAtNight.Add(5 * time.Minute),
			ExcessDeviceSeconds: 4500, Certainty: "certain", Probability: 0.998, MustMove: 5,
			Contributors: []api.Contributor{{Type: "delivery", BatchID: "night", Count: 13, PeakShare: 13}, {Type: "delivery", BatchID: "licences", Count: 2, PeakShare: 2},
				{Type: "background", ServiceID: "meter-read", Count: 0, PeakShare: 0}},
			Text: "15 devices are planned at 02:05 where 10 can be served; at least 5 must move."},
			ReportID: "rpt_1", State: api.WarningOpen, OpenedAt: now.Add(-20 * time.Minute)},
		{Band: api.Band{BandID: "bnd_2", From: twoAtNight.Add(48 * time.Hour), To: twoAtNight.Add(49 * time.Hour), Capacity: 10, Peak: 12, PeakAt: twoAtNight.Add(48 * time.Hour),
			Certainty: "risk", Probability: 0.31, MustMove: 2, Text: "At times 12 devices where 10 can be served.",
			Certificate: &api.Certificate{From: twoAtNight, To: twoAtNight.Add(time.Hour), NeedDeviceSeconds: 10, HaveDeviceSeconds: 8, AtLeastUnresolved: 1,
				Text: "12 deliveries need 12 of 10 device-hours."}},
			ReportID: "rpt_1", State: api.WarningAcknowledged, By: "ken", OpenedAt: now.Add(-3 * time.Hour)},
		{Band: api.Band{BandID: "bnd_0", From: twoAtNight.Add(-48 * time.Hour), To: twoAtNight.Add(-47 * time.Hour), Capacity: 10, Peak: 11, Certainty: "risk"},
			ReportID: "rpt_0", State: api.WarningClosed, OpenedAt: now.Add(-50 * time.Hour)},
	}
	b.propose("prp_1")
	return b
}

// propose adds the proposal that moves two of the night's deliveries and finds no start for a third.
func (b *book) propose(id string) {
	change := func(n int, by time.Duration, r api.Reason) api.Change {
		return api.Change{ChangeID: fmt.Sprintf("chg_%d", n), DeliveryID: fmt.Sprintf("dlv_night-%02d", n), IfMatch: `"1"`, From: twoAtNight, To: twoAtNight.Add(by),
			MoveBy: api.Shift(by), Reason: r}
	}
	p := api.ChangeProposal{ProposalID: id, BasedOn: api.BasedOn{ReportID: "rpt_1"},
		Changes: []api.Change{
			change(3, 20*time.Minute, api.Reason{Code: "OVERLOAD", BandID: "bnd_1", Text: "It ends last of 15 active, of which 5 must leave."}),
			change(4, -20*time.Minute, api.Reason{Code: "SWAP", BandID: "bnd_1", FreedBy: "dlv_night-05", Text: "It has room before 02:00."}),
			change(5, 25*time.Minute, api.Reason{Code: "CHAIN", BandID: "bnd_1", Text: "02:20 is full."})},
		Unresolved: []api.Unresolved{
			{DeliveryID: "dlv_night-01", Reason: "Its window has no free time.", Options: []string{"widenWindow", "raiseCapacity"},
				Certificate: &api.Certificate{From: twoAtNight, To: twoAtNight.Add(time.Hour), AtLeastUnresolved: 1, Text: "12 deliveries need 12 of 10 device-hours."}},
			{DeliveryID: "dlv_night-06", Reason: "No start was found.", NoStartFound: true}},
		Quality: api.Quality{Unresolved: 2, UnresolvedLB: 1, Moved: 3, MovedLB: 3, Displacement: api.Duration(65 * time.Minute), DisplacementLB: api.Duration(63 * time.Minute),
			Status: "gap", Gap: 0.032, Solver: "repair/1"}}
	b.proposals = append(b.proposals, p)
	s := api.ProposalState{ProposalID: id, State: "pending", CreatedAt: now.Add(-10 * time.Minute)}
	for _, c := range p.Changes {
		s.Changes = append(s.Changes, api.ChangeStatus{ChangeID: c.ChangeID, DeliveryID: c.DeliveryID, State: "pending"})
	}
	b.states[id] = s
}
