package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/console"
	"github.com/mfpgate/mfpgate/scheduler/plan"
	"github.com/mfpgate/mfpgate/store"
)

// schedules is what the pages of a delivery schedule see of the server: the API's own operations, in the operator's name.
type schedules struct{ s *Server }

var _ console.Schedule = schedules{}

// refusedSave is a refusal with what it says of overloads.
type refusedSave struct{ p *problem }

func (r refusedSave) Error() string        { return r.p.Error() }
func (r refusedSave) Unwrap() error        { return r.p }
func (r refusedSave) GetStatus() int       { return r.p.Status }
func (r refusedSave) Problem() api.Problem { return r.p.Problem }

// explained lets a page see the whole problem.
func explained(err error) error {
	var p *problem
	if errors.As(err, &p) {
		return refusedSave{p}
	}
	return err
}

// alone is an Idempotency-Key for a request that a page sends once.
func alone() Idempotent { return Idempotent{Key: rand.Text()} }

func (v schedules) Contract(_ context.Context, gateway string) (api.Contract, error) {
	c, _, err := v.s.contract(gateway)
	return c, err
}

func (v schedules) Deliveries(ctx context.Context, gateway string, from, to time.Time) ([]api.Delivery, error) {
	now, err := v.s.situation(ctx, gateway, true)
	if err != nil {
		return nil, err
	}
	list := []api.Delivery{}
	for _, p := range now.postings {
		start := p.root.Schedule.Start
		end := start.Add(plan.Estimate(p.root).P95)
		recurs := p.root.Schedule.RRule != "" && !p.record.ended() && start.Before(to)
		if start.Before(to) && end.After(from) || recurs {
			list = append(list, p.record.wire(now.vias[p.owner]))
		}
	}
	slices.SortFunc(list, func(a, b api.Delivery) int {
		return cmp.Or(a.Schedule.StartUTC.Compare(*b.Schedule.StartUTC), cmp.Compare(a.DeliveryID, b.DeliveryID))
	})
	return list, nil
}

func (v schedules) Delivery(ctx context.Context, gateway, id string) (api.Delivery, error) {
	return v.s.delivery(ctx, gateway, id, false)
}

func (v schedules) PutDelivery(ctx context.Context, gateway string, d api.Delivery, version api.Version, by string) (api.Delivery, error) {
	o := saveOptions{by: by, ifNoneMatch: "*"}
	if version != "" {
		o.ifMatch, o.ifNoneMatch = `"`+string(version)+`"`, ""
	}
	if d.DeliveryID == "" && version == "" {
		d.DeliveryID = derived("dlv", rand.Text())
	}
	if !validID(d.DeliveryID) {
		return d, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.deliveryId: must be letters, digits, '_', '.', ':' or '-'")
	}
	if version != "" { // the page of a gateway shows those of gateways behind it as well
		vias, err := v.s.vias(gateway)
		if err != nil {
			return d, err
		}
		o, there, err := one[owned](ctx, v.s.Store, deliveryOwnerKey(d.DeliveryID))
		if err != nil {
			return d, err
		}
		if _, below := vias[o.Gateway]; there && below {
			gateway = o.Gateway
		}
	}
	saved, _, err := v.s.saveDelivery(ctx, gateway, d, o)
	return saved, explained(err)
}

func (v schedules) Background(ctx context.Context, gateway string) (list []api.BackgroundSchedule, err error) {
	err = v.s.Store.View(ctx, func(at store.Snapshot) (err error) {
		list, err = v.s.background(at, gateway)
		return err
	})
	return list, err
}

func (v schedules) Capacity(ctx context.Context, gateway string, from, to time.Time) (api.Capacity, error) {
	return v.s.capacity(ctx, gateway, from, to)
}

func (v schedules) Bands(ctx context.Context, gateway string, from, to time.Time) ([]api.Band, error) {
	return v.s.bands(ctx, gateway, from, to)
}

func (v schedules) Alternatives(ctx context.Context, gateway, delivery string, limit int) ([]api.Alternative, error) {
	d, err := v.s.delivery(ctx, gateway, delivery, false)
	if err != nil {
		return nil, err
	}
	chain, err := v.s.chain(gateway)
	if err != nil {
		return nil, err
	}
	var all []situation
	for _, g := range chain {
		now, err := v.s.situation(ctx, g, false)
		if err != nil {
			return nil, err
		}
		all = append(all, now)
	}
	list, err := alternatives(snapshots(all), d, limit)
	if errors.Is(err, plan.ErrDelivery) {
		return nil, nil // it is over, or does not pass the relay
	}
	return list, err
}

func (v schedules) Warnings(ctx context.Context, gateway, state string) ([]api.Warning, error) {
	all, err := v.s.warnings(ctx, gateway)
	if state != "" {
		all = slices.DeleteFunc(all, func(w api.Warning) bool { return w.State != state })
	}
	return all, err
}

func (v schedules) Warning(ctx context.Context, gateway, band string) (api.Warning, error) {
	return v.s.warning(ctx, gateway, band)
}

func (v schedules) ActOnWarning(ctx context.Context, gateway, band string, a api.WarningAction, by string) (api.Warning, error) {
	w, _, err := v.s.actOnWarning(ctx, gateway, band, a, principal{roleOperator, by}, alone())
	return w, err
}

func (v schedules) Proposals(ctx context.Context, gateway string, limit int) ([]api.ProposalState, error) {
	list, err := v.s.proposals(ctx, gateway, "", max(1, min(limit, 500)))
	return list.Items, err
}

func (v schedules) Proposal(ctx context.Context, gateway, id string) (api.ChangeProposal, api.ProposalState, string, error) {
	return v.s.proposal(ctx, gateway, id)
}

func (v schedules) Decide(ctx context.Context, gateway, id, ifMatch string, d api.Decision, by string) (api.ProposalState, error) {
	key := requestKey(gateway, "decision/"+id, principal{roleOperator, by}, rand.Text())
	state, _, _, err := v.s.decide(ctx, gateway, id, ifMatch, d, by, key)
	return state, explained(err)
}
