package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/scheduler"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

func (g gateway) Schedule(ctx context.Context) control.Schedule {
	st := g.schedule.Status()
	return control.Schedule{
		Mode: st.Mode, Effective: string(st.Effective), Why: st.Why, Idle: st.Idle, IdleText: st.IdleText,
		Tried: st.Tried, Planned: st.Succeeded, Fetched: st.Fetched, Next: st.Next, Error: st.Error,
		Deliveries: st.Deliveries, Background: st.Background, LeftOut: len(g.LeftOut(ctx)), Rejected: st.Rejected, PlannedNow: g.history.planned(),
		Bands: api.FromBands(st.Bands), BandsAfter: api.FromBands(st.BandsLeft),
		Report:     control.Report{ID: st.Report.ID, Bands: st.Report.Bands, Sent: st.Report.Sent, Refused: st.Report.Refused},
		ProposalID: st.Proposal.ID, ProposalState: proposalState(st.Proposal),
	}
}

func proposalState(p scheduler.ProposalStatus) string {
	switch {
	case p.ID == "":
		return ""
	case p.Refused != "":
		return control.ProposalRefused
	case p.Outcome.Withdrawn:
		return control.ProposalWithdrawn
	case p.Handed.IsZero():
		return control.ProposalWaiting
	case p.Open:
		return control.ProposalOpen
	}
	return control.ProposalDecided
}

func (g gateway) Deliveries(context.Context) []control.Delivery {
	snapshot, made, ok := g.schedule.Snapshot()
	if !ok {
		return nil
	}
	names, proposed, out := g.names(), map[string]time.Time{}, map[string]mfpgate.Reason{}
	if st := g.schedule.Status(); st.Proposal.Open {
		for _, c := range st.Proposal.Changes {
			proposed[c.Delivery] = c.To
		}
	}
	for _, l := range made.LeftOut {
		out[l.Delivery] = l.Reason
	}
	list := make([]control.Delivery, 0, len(snapshot.Deliveries))
	for _, d := range snapshot.Deliveries {
		e := plan.Estimate(d)
		start, _ := plan.Start(d.Schedule, snapshot.Contract.TimeZone) // zero if it names no instant
		list = append(list, control.Delivery{ID: d.ID, Device: d.Device, DeviceName: names[d.Device], Via: d.Via, Batch: d.Batch, Kind: d.Kind,
			Package: d.Package, PackageVersion: d.PackageVersion, State: string(d.State), Start: start,
			Recurs: d.Schedule.RRule != "", Duration: api.Duration(e.P95), Basis: string(e.Basis), Movable: d.Movable, Pinned: d.PinnedReason,
			Proposed: proposed[d.ID], LeftOut: out[d.ID], LeftOutText: control.LeftOutReason(out[d.ID])})
	}
	slices.SortStableFunc(list, func(a, b control.Delivery) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID)) })
	return list
}

// LeftOut adds to what the plan left out the devices that the cloud tells no deliveries of, because they are in mode polling and not on USB.
func (g gateway) LeftOut(context.Context) []control.LeftOut {
	names, polling := g.names(), map[mfpgate.DeviceID]bool{}
	st := g.schedule.Status()
	if st.Idle == "" {
		for _, d := range g.schedule.monitored() {
			polling[d.ID] = d.MonitoringMode == mfpgate.MonitoringPolling && d.Attachment != mfpgate.AttachmentUSB
		}
	}
	var list []control.LeftOut
	add := func(delivery string, device mfpgate.DeviceID, reason mfpgate.Reason) {
		delete(polling, device)
		list = append(list, control.LeftOut{Delivery: delivery, Device: device, DeviceName: names[device], Reason: reason, Text: control.LeftOutReason(reason)})
	}
	for _, l := range st.LeftOut {
		add(l.Delivery, l.Device, l.Reason)
	}
	for _, id := range slices.Sorted(maps.Keys(polling)) {
		if polling[id] {
			add("", id, plan.ReasonPolling)
		}
	}
	return list
}

func (g gateway) names() map[mfpgate.DeviceID]string {
	names := map[mfpgate.DeviceID]string{}
	for _, d := range g.registry.List() {
		names[d.ID] = d.Name
	}
	return names
}

// loadStep is the piece in which the schedules' chart is told.
const loadStep = 5 * time.Minute

// loadSpan is how far it goes, either way.
const loadSpan = 24 * time.Hour

func (g gateway) Load(context.Context) []control.Load {
	now := g.Clock.Now()
	list := g.history.day(now)
	from := now.Truncate(loadStep).Add(loadStep)
	slots, err := g.schedule.Timeline(from, from.Add(loadSpan), loadStep)
	if err != nil {
		return list // a plan that is there has a timeline; the log has what is wrong with the plan
	}
	for _, s := range slots {
		list = append(list, control.Load{From: s.From.UTC(), To: s.To.UTC(), Capacity: s.Limit, Planned: new(s.Load)})
	}
	return list
}

func (g gateway) Proposal(context.Context) control.Proposal {
	st := g.schedule.Status()
	return g.proposal(st.Proposal, st)
}

func (g gateway) proposal(p scheduler.ProposalStatus, st scheduler.Status) control.Proposal {
	wire := api.FromProposal(mfpgate.Proposal{ID: p.ID, Changes: p.Changes, Unresolved: st.Unresolved, Quality: st.Quality})
	out := control.Proposal{ID: p.ID, State: proposalState(p), Apply: p.Apply, Handed: p.Handed, Refused: p.Refused, Unresolved: wire.Unresolved,
		Quality: wire.Quality}
	names, devices := g.names(), map[string]mfpgate.DeviceID{}
	if snapshot, _, ok := g.schedule.Snapshot(); ok {
		for _, d := range snapshot.Deliveries {
			devices[d.ID] = d.Device
		}
	}
	became := map[string]mfpgate.ChangeOutcome{}
	for _, c := range p.Outcome.Changes {
		became[c.Change] = c
	}
	for _, c := range wire.Changes {
		device := devices[c.DeliveryID]
		out.Changes = append(out.Changes, control.Change{Change: c, Device: device, DeviceName: names[device],
			State: cmp.Or(string(became[c.ChangeID].State), string(mfpgate.ChangePending)), Outcome: became[c.ChangeID].Reason})
	}
	return out
}

func (g gateway) Propose(ctx context.Context) (control.Proposal, error) {
	p, err := g.schedule.Scheduler.Propose(ctx)
	if err != nil {
		return control.Proposal{}, scheduleError(err)
	}
	return g.proposal(p, g.schedule.Status()), nil
}

func (g gateway) Apply(ctx context.Context, id string) (control.Proposal, error) {
	p, err := g.schedule.Scheduler.Apply(ctx, id)
	if err != nil {
		return control.Proposal{}, scheduleError(err)
	}
	return g.proposal(p, g.schedule.Status()), nil
}

// scheduleError gives the refusals of the scheduler, and of the delivery system, the API's name.
func scheduleError(err error) error {
	for _, no := range []error{scheduler.ErrIdle, scheduler.ErrNothing, scheduler.ErrNoProposal, scheduler.ErrNotAllowed, mfpgate.ErrRefused, mfpgate.ErrStale} {
		if errors.Is(err, no) {
			return fmt.Errorf("%w: %w", control.ErrSchedule, err)
		}
	}
	return fmt.Errorf("%w: the delivery system cannot be asked now: %w", control.ErrSchedule, err)
}
