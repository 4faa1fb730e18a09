package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/delivery"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

const (
	maxAlternatives = 5
	maxToldBands    = 20
	lookedAtStarts  = 2000 // of a start that suits several gateways
	longestHorizon  = 400 * 24 * time.Hour
	usualHorizon    = 35 * 24 * time.Hour
)

// recheck holds an operator's deliveries against the gateway's own detector, on every gateway that they pass. It returns nil if they add no
// overload, or may, and leave a schedule that can be planned.
func (s *Server) recheck(ctx context.Context, chain []string, records []deliveryRecord, allow bool) *problem {
	if allow && !recurring(records) {
		return nil
	}
	var moved []movedDelivery
	for _, r := range records {
		moved = append(moved, movedDelivery{chain[0], r})
	}
	after, added, p := s.overloads(ctx, chain, moved, nil)
	if p != nil || len(added) == 0 || allow {
		return p
	}
	p = overloading(http.StatusConflict, "the gateway would be overloaded; choose another start, or plan it all the same with allowOverload=true", added)
	if len(records) == 1 {
		alternatives, err := alternatives(after, records[0].Delivery, maxAlternatives)
		if err != nil {
			return internal(err)
		}
		p.Alternatives = alternatives
	}
	return p
}

// recheckMoves does so for a proposal, on the gateway that proposed it and those that it is behind. Inner gateways see fewer deliveries
// at once than the proposer does, but have limits of their own. What the proposal leaves unresolved is left aside: it will exceed the
// capacity where it stays, and the others are planned as though it were not there.
func (s *Server) recheckMoves(ctx context.Context, chain []string, moved []movedDelivery, unresolved []api.Unresolved) *problem {
	gateways := slices.Clone(chain)
	for _, m := range moved {
		own, err := s.chain(m.owner)
		if err != nil {
			return internal(err)
		}
		for _, g := range own {
			if !slices.Contains(gateways, g) {
				gateways = append(gateways, g)
			}
		}
	}
	aside := map[string]bool{}
	for _, u := range unresolved {
		aside[u.DeliveryID] = true
	}
	_, added, p := s.overloads(ctx, gateways, moved, aside)
	if p != nil || len(added) == 0 {
		return p
	}
	return overloading(http.StatusUnprocessableEntity, "the gateway would be overloaded anew; compute the proposal from what is planned now", added)
}

func overloading(status int, detail string, added []mfpgate.Band) *problem {
	p := refuse(status, ReasonWouldOverload, detail)
	p.Bands = api.FromBands(added[:min(len(added), maxToldBands)])
	return p
}

// overloads returns, by gateway, the snapshot with the changes, and the overloads that they add. What is aside counts nowhere.
func (s *Server) overloads(ctx context.Context, gateways []string, moved []movedDelivery, aside map[string]bool) (after []mfpgate.ScheduleSnapshot, added []mfpgate.Band, p *problem) {
	if len(moved) == 0 {
		return nil, nil, nil
	}
	for _, gateway := range gateways {
		now, err := s.situation(ctx, gateway, false)
		if err != nil {
			return nil, nil, problemOf(err)
		}
		before := now.snapshot
		before.Deliveries = slices.DeleteFunc(before.Deliveries, func(d mfpgate.Delivery) bool { return aside[d.ID] })
		next := before
		changed := map[string]mfpgate.Delivery{}
		horizon := usualHorizon
		for _, m := range moved {
			via, passes := now.vias[m.owner]
			if !passes {
				continue
			}
			d := m.next.wire(via).Root()
			changed[d.ID] = d
			end := d.Schedule.Start.Add(plan.Estimate(d).P95).Sub(before.Now)
			horizon = min(max(horizon, end), longestHorizon)
		}
		next.Deliveries = nil
		for _, d := range before.Deliveries {
			if c, ok := changed[d.ID]; ok {
				d = c
				delete(changed, d.ID)
			}
			next.Deliveries = append(next.Deliveries, d)
		}
		for _, m := range moved { // in their order: a map has none
			if d, ok := changed[m.next.Delivery.DeliveryID]; ok {
				next.Deliveries = append(next.Deliveries, d)
			}
		}
		before.Horizon, next.Horizon = horizon, horizon
		is, _, err := plan.Detect(next)
		if err != nil {
			return nil, nil, unplannable(gateway, err)
		}
		was, _, err := plan.Detect(before)
		switch {
		case errors.Is(err, plan.ErrSnapshot):
			was = is // this makes it one that can be planned, which is better in any case
		case err != nil:
			return nil, nil, unplannable(gateway, err)
		}
		after = append(after, next)
		added = append(added, delivery.Added(was, is)...)
	}
	return after, added, nil
}

// unplannable is why a schedule has no plan. What rules and windows expand to is bounded, and more than that is for operators to
// make less: while it lasts the gateway makes no plan either.
func unplannable(gateway string, err error) *problem {
	if !errors.Is(err, plan.ErrSnapshot) {
		return internal(fmt.Errorf("schedule of %s: %w", gateway, err))
	}
	return refuse(http.StatusConflict, ReasonTooMany, "gateway "+gateway+" could not plan this schedule; make recurring deliveries and background "+
		"schedules rarer, or cancel some: "+err.Error())
}

// recurring reports whether any of the records does.
func recurring(records []deliveryRecord) bool {
	return slices.ContainsFunc(records, func(r deliveryRecord) bool { return r.Delivery.Schedule.RRule != "" && !r.ended() })
}

// snapshots are those of several gateways.
func snapshots(list []situation) (all []mfpgate.ScheduleSnapshot) {
	for _, s := range list {
		all = append(all, s.snapshot)
	}
	return all
}

func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return internal(err)
}

// alternatives are the nearest starts of a delivery that overload none of the gateways.
func alternatives(snapshots []mfpgate.ScheduleSnapshot, d api.Delivery, most int) (list []api.Alternative, err error) {
	limit := most
	if len(snapshots) > 1 {
		limit = lookedAtStarts
	}
	var common []time.Time
	for i, s := range snapshots {
		starts, err := plan.Alternatives(s, d.DeliveryID, limit)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			common = starts
			continue
		}
		common = slices.DeleteFunc(common, func(t time.Time) bool { return !slices.ContainsFunc(starts, t.Equal) })
	}
	zone, err := calendar.ParseZone(d.Schedule.TimeZone)
	for _, t := range common[:min(len(common), most)] {
		a := api.Alternative{StartUTC: t.UTC()}
		if err == nil {
			a.Local = calendar.LocalTimeOf(t.In(zone)).String()
		}
		if d.Schedule.StartUTC != nil {
			a.MoveBy = api.Shift(t.Sub(*d.Schedule.StartUTC))
		}
		list = append(list, a)
	}
	return list, nil
}

// maxSlots bounds an answer.
const maxSlots = 10_000

func (s *Server) getCapacity(ctx context.Context, in *struct {
	GatewayPath
	Conditional
	From time.Time `query:"from" required:"true"`
	To   time.Time `query:"to" required:"true"`
}) (*read[api.Capacity], error) {
	c, err := s.capacity(ctx, in.Gateway, in.From, in.To)
	if err != nil {
		return nil, err
	}
	return listAnswer(in.Conditional, c)
}

// capacity is the planned load from from to to, in the contract's slots.
func (s *Server) capacity(ctx context.Context, gateway string, from, to time.Time) (api.Capacity, error) {
	now, err := s.situation(ctx, gateway, false)
	if err != nil {
		return api.Capacity{}, err
	}
	slot := now.snapshot.Contract.Slot
	from, to = from.UTC().Truncate(slot), to.UTC()
	if !delivery.Plausible(from) || !delivery.Plausible(to) || !from.Before(to) || to.Sub(from)/slot >= maxSlots {
		return api.Capacity{}, refuse(http.StatusUnprocessableEntity, ReasonInvalid,
			fmt.Sprintf("query.to: must be after from, and at most %d slots of %s later", maxSlots, slot))
	}
	slots, err := plan.Timeline(now.snapshot, from, to, slot)
	if err != nil {
		return api.Capacity{}, unplannable(gateway, err)
	}
	out := api.Capacity{Slots: make([]api.CapacitySlot, len(slots))}
	for i, t := range slots {
		w := api.CapacitySlot{From: t.From, To: t.To, Load: t.Load, Limit: t.Limit, State: api.SlotFree}
		switch {
		case t.Over:
			w.State = api.SlotOver
		case t.Load >= t.Limit:
			w.State = api.SlotFull
		}
		out.Slots[i] = w
	}
	return out, nil
}

// bands are the overloads of the schedule as it is, that touch the time from from to to.
func (s *Server) bands(ctx context.Context, gateway string, from, to time.Time) ([]api.Band, error) {
	now, err := s.situation(ctx, gateway, false)
	if err != nil {
		return nil, err
	}
	if horizon := to.Sub(now.snapshot.Now); horizon > 0 {
		now.snapshot.Horizon = min(max(horizon, usualHorizon), longestHorizon)
	}
	found, _, err := plan.Detect(now.snapshot)
	if err != nil {
		return nil, unplannable(gateway, err)
	}
	found = slices.DeleteFunc(found, func(b mfpgate.Band) bool { return !b.From.Before(to) || !from.Before(b.To) })
	return api.FromBands(found), nil
}
