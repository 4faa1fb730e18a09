package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/delivery"
	"github.com/mfpgate/mfpgate/store"
)

// madeProposal answers a proposal.
type madeProposal struct {
	Status   int
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed"`
	Body     api.ProposalState
}

func (s *Server) postProposal(ctx context.Context, in *struct {
	GatewayPath
	Idempotent
	DryRun bool `query:"dryRun"`
	Body   api.ChangeProposal
}) (*madeProposal, error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	chain, err := s.chain(in.Gateway)
	if err != nil {
		return nil, err
	}
	key := requestKey(in.Gateway, "proposal", callOf(ctx).who, in.Key)
	body, err := digestOf(in.Body)
	if err != nil {
		return nil, internal(err)
	}
	p := in.Body
	if p.ProposalID == "" {
		p.ProposalID = derived("prp", key)
	}
	if err := checkProposal(p); err != nil {
		return nil, err
	}
	if err := s.mayPropose(in.Gateway, p.Apply); err != nil {
		return nil, err
	}
	defer s.together(chain)()
	replayed, err := s.proposedBefore(ctx, in.Gateway, p.ProposalID, key, body)
	if err != nil {
		return nil, err
	}
	if !replayed {
		if !in.DryRun {
			if err := s.trimProposals(ctx, in.Gateway); err != nil {
				return nil, err
			}
		}
		state, err := s.propose(ctx, chain, p, key, body, in.DryRun)
		if err != nil {
			return nil, err
		}
		if in.DryRun {
			return &madeProposal{Status: http.StatusOK, Body: state}, nil
		}
	}
	if err := s.finish(ctx, in.Gateway, p.ProposalID); err != nil {
		return nil, err
	}
	_, state, tag, err := s.proposal(ctx, in.Gateway, p.ProposalID)
	if err != nil {
		return nil, err
	}
	out := &madeProposal{Status: http.StatusAccepted, ETag: tag, Body: state,
		Location: "/v1/gateways/" + in.Gateway + "/change-proposals/" + p.ProposalID}
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}

// checkProposal refuses what is no proposal, whatever the schedule.
func checkProposal(p api.ChangeProposal) error {
	var faults []api.ProblemError
	add := func(pointer, rule string) {
		faults = append(faults, api.ProblemError{Pointer: "body." + pointer, Code: rule})
	}
	if !validID(p.ProposalID) {
		add("proposalId", "must be letters, digits, '_', '.', ':' or '-'")
	}
	changes, deliveries := map[string]bool{}, map[string]bool{}
	for i, c := range p.Changes {
		at := "changes[" + itoa(i) + "]."
		if !validID(c.ChangeID) || changes[c.ChangeID] {
			add(at+"changeId", "must be letters, digits, '_', '.', ':' or '-', and stand once")
		}
		if !validID(c.DeliveryID) || deliveries[c.DeliveryID] {
			add(at+"deliveryId", "must be a delivery's id, and stand once")
		}
		if c.IfMatch == "" {
			add(at+"ifMatch", "must be the entity tag that the change was computed from")
		}
		if !delivery.Plausible(c.From) || !delivery.Plausible(c.To) || c.From.Equal(c.To) {
			add(at+"to", "must be another time than from, both from 2000 to 2099")
		}
		changes[c.ChangeID], deliveries[c.DeliveryID] = true, true
		if len(faults) > 16 {
			break
		}
	}
	if len(p.Changes)+len(p.Unresolved) == 0 {
		add("changes", "there is nothing in the proposal")
	}
	if len(faults) == 0 {
		return nil
	}
	refusal := refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the proposal breaks a rule")
	refusal.Errors = faults
	return refusal
}

// mayPropose holds a proposal against what the customer bought.
func (s *Server) mayPropose(gateway string, apply bool) error {
	c, _, err := s.contract(gateway)
	switch {
	case err != nil:
		return err
	case !c.Has(api.ServiceDelivery):
		return refuse(http.StatusForbidden, ReasonMode, "the contract has no service "+api.ServiceDelivery)
	case c.Mode == string(mfpgate.ScheduleNotify):
		return refuse(http.StatusForbidden, ReasonMode, "the contract's mode is notify; report overloads and propose nothing")
	case apply && c.Mode != string(mfpgate.ScheduleAuto):
		return refuse(http.StatusForbidden, ReasonMode, "the contract's mode is "+c.Mode+"; leave apply out, a person decides")
	}
	return nil
}

// proposedBefore reports whether the proposal has come already, and refuses another one of its id or key.
func (s *Server) proposedBefore(ctx context.Context, gateway, id, key, body string) (bool, error) {
	known, there, err := one[keyRecord](ctx, s.Store, key)
	if err != nil {
		return false, internal(err)
	}
	if there && (known.Body != body || known.Object != id) {
		return false, keyReused()
	}
	r, there, err := one[proposalRecord](ctx, s.Store, proposalKey(gateway, id))
	if err != nil {
		return false, internal(err)
	}
	if there && r.Body != body {
		return false, refuse(http.StatusUnprocessableEntity, ReasonKeyReuse, "there is another proposal "+clip(id)+"; an id stands for one content")
	}
	return there, nil
}

// propose checks a proposal and, unless it is a rehearsal, keeps it.
func (s *Server) propose(ctx context.Context, chain []string, p api.ChangeProposal, key, body string, rehearse bool) (state api.ProposalState, err error) {
	w, err := s.draft(chain[0], "")
	if err != nil {
		return state, err
	}
	vias, err := s.vias(chain[0])
	if err != nil {
		return state, internal(err)
	}
	r := proposalRecord{Version: 1, Body: body, State: proposalPending, CreatedAt: w.now, First: farFuture, Apply: p.Apply, BasedOn: p.BasedOn,
		Quality: p.Quality, Changes: len(p.Changes), Unresolved: len(p.Unresolved)}
	var all []keptChange
	var moved []movedDelivery
	current := true // nothing has changed since the proposal was computed
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		h, err := s.head(at, chain[0])
		if err != nil {
			return err
		}
		current = p.BasedOn.DeltaToken == "" || p.BasedOn.DeltaToken == deltaToken(h)
		relayed := s.relayed(at)
		for _, c := range p.Changes {
			k := keptChange{Change: clipped(c), Status: api.ChangeStatus{ChangeID: c.ChangeID, DeliveryID: c.DeliveryID, State: api.ChangePending}}
			o, there, err := store.FindJSON[owned](at, deliveryOwnerKey(c.DeliveryID))
			if err != nil {
				return err
			}
			k.Owner = o.Gateway
			var was deliveryRecord
			if _, below := vias[o.Gateway]; there && below {
				if was, there, err = store.FindJSON[deliveryRecord](at, deliveryKey(o.Gateway, c.DeliveryID)); err != nil {
					return err
				}
				if there {
					if there, err = relayed(o.Gateway, was.Delivery.DeviceID); err != nil {
						return err
					}
				}
			} else {
				there = false
			}
			next, err := s.move(w, &k, was, there)
			if err != nil {
				return err
			}
			if k.Status.State == api.ChangePending && k.Owner != chain[0] && s.mayPropose(k.Owner, p.Apply) != nil {
				// What the customer of an inner gateway did not buy the outer one's contract does not give.
				k.Status.State, k.Status.Reason = api.ChangeRejected, string(ReasonMode)
			}
			if k.Status.State == api.ChangePending {
				moved = append(moved, movedDelivery{o.Gateway, next})
				r.Pending++
				for _, t := range []time.Time{c.From, c.To} {
					if t.Before(r.First) {
						r.First = t.UTC()
					}
				}
				if p.Apply {
					k.Want = wantAccept
				}
			}
			all = append(all, k)
		}
		return nil
	})
	if err != nil {
		return state, refusalOr500(err)
	}
	if refusal := s.recheckMoves(ctx, chain, moved, p.Unresolved); refusal != nil {
		if !current && refusal.Status == http.StatusUnprocessableEntity {
			return state, refuse(http.StatusConflict, ReasonStaleSnapshot, "the schedule has changed since "+clip(p.BasedOn.DeltaToken)+", and the proposal would overload it now; read it again")
		}
		return state, refusal
	}
	switch {
	case r.Pending == 0:
		r.State, r.DecidedAt = proposalDecided, &w.now
	case p.Apply:
		r.Working, r.By = true, "contract"
	}
	if rehearse {
		return rehearsed(r, p, all, moved), nil
	}
	return state, s.keepProposal(ctx, chain[0], p, r, all, key, w.contract.LeadTime)
}

var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// clipped keeps a part within one record.
func clipped(c api.Change) api.Change {
	c.Reason.Text = strings.ToValidUTF8(c.Reason.Text[:min(len(c.Reason.Text), maxReasonText)], "")
	c.From, c.To = c.From.UTC(), c.To.UTC()
	return c
}

// rehearsed is what a proposal would lead to.
func rehearsed(r proposalRecord, p api.ChangeProposal, all []keptChange, moved []movedDelivery) api.ProposalState {
	versions := map[string]int64{}
	for _, m := range moved {
		versions[m.next.Delivery.DeliveryID] = m.next.Version
	}
	state := r.wire(p.ProposalID)
	for _, k := range all {
		st := k.Status
		if r.Working && st.State == api.ChangePending {
			st.State, st.NewVersion = api.ChangeApplied, api.Version(strconv.FormatInt(versions[st.DeliveryID], 10))
		}
		state.Changes = append(state.Changes, st)
	}
	if r.Working {
		state.State = proposalDecided
	}
	return state
}

// movedDelivery is a delivery with the start that a change gives it.
type movedDelivery struct {
	owner string
	next  deliveryRecord
}

// move carries a pending change out on a record, or says in the change's status why not.
func (s *Server) move(w draft, k *keptChange, was deliveryRecord, there bool) (next deliveryRecord, err error) {
	d := was.Delivery
	refused := func(reason mfpgate.Reason) (deliveryRecord, error) {
		k.Status.State, k.Status.Reason = api.ChangeRejected, string(reason)
		return was, nil
	}
	if !there {
		return refused(ReasonNoDelivery)
	}
	start := d.Schedule.StartUTC
	if !matches(k.Change.IfMatch, versionTag(was.Version), false) && k.Change.IfMatch != strconv.FormatInt(was.Version, 10) ||
		start == nil || !start.Equal(k.Change.From) {
		k.Status.State = api.ChangeConflict
		k.Status.CurrentVersion = api.Version(strconv.FormatInt(was.Version, 10))
		return was, nil
	}
	root := d.Root()
	owner, _, err := s.contract(k.Owner)
	if err != nil {
		return was, err
	}
	lead := w.contract
	lead.LeadTime = max(lead.LeadTime, time.Duration(owner.LeadTime))
	if most := time.Duration(owner.MaxMove); most > 0 && (lead.MaxMove == 0 || most < lead.MaxMove) {
		lead.MaxMove = most
	}
	switch {
	case d.State != statePlanned:
		return refused(ReasonNotPlanned)
	case !root.Movable || root.Schedule.RRule != "":
		return refused("pinned")
	case delivery.LeadTime(lead, w.now, k.Change.From) != nil, delivery.LeadTime(lead, w.now, k.Change.To) != nil:
		return refused(ReasonLeadTime)
	case delivery.Window(root, k.Change.To) != nil:
		return refused(ReasonWindow)
	case lead.MaxMove > 0 && k.Change.To.Sub(k.Change.From).Abs() > lead.MaxMove:
		return refused("max-move")
	}
	next = was
	next.Version++
	next.Delivery.Schedule = delivery.Moved(d.Schedule, k.Change.To)
	return next, nil
}

// keepProposal writes the parts, several to a transaction, and then the proposal itself.
func (s *Server) keepProposal(ctx context.Context, gateway string, p api.ChangeProposal, r proposalRecord, all []keptChange, key string, lead time.Duration) error {
	id := p.ProposalID
	var parts []func(store.Tx) error
	for n := range groups(len(all), changeGroup) {
		part := changesRecord{all[n*changeGroup : min(len(all), (n+1)*changeGroup)]}
		parts = append(parts, func(tx store.Tx) error { return put(tx, changesKey(gateway, id, n), part) })
	}
	for n := range groups(len(p.Unresolved), unresolvedGroup) {
		part := unresolvedRecord{}
		for _, u := range p.Unresolved[n*unresolvedGroup : min(len(p.Unresolved), (n+1)*unresolvedGroup)] {
			u.Reason = strings.ToValidUTF8(u.Reason[:min(len(u.Reason), maxReasonText)], "")
			if u.Certificate != nil {
				c := *u.Certificate
				c.Text = strings.ToValidUTF8(c.Text[:min(len(c.Text), maxReasonText)], "")
				u.Certificate = &c
			}
			part.Unresolved = append(part.Unresolved, u)
		}
		parts = append(parts, func(tx store.Tx) error { return put(tx, unresolvedKey(gateway, id, n), part) })
	}
	const together = 6 // parts, each at most a record's size
	for len(parts) > 0 {
		some := parts[:min(len(parts), together)]
		parts = parts[len(some):]
		err := s.change(ctx, nil, func(tx store.Tx) error {
			for _, write := range some {
				if err := write(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.change(ctx, []string{gateway}, func(tx store.Tx) error {
		if err := put(tx, proposalKey(gateway, id), r); err != nil {
			return err
		}
		if err := put(tx, latestKey(gateway, id, r.CreatedAt), named{gateway, id}); err != nil {
			return err
		}
		if r.Working {
			if err := put(tx, workKey(gateway, id), named{gateway, id}); err != nil {
				return err
			}
		}
		for _, t := range []time.Time{r.First.Add(-lead + time.Millisecond), r.First, r.CreatedAt.Add(retention)} {
			if err := arm(tx, t, timerProposal, gateway, id); err != nil {
				return err
			}
		}
		if err := arm(tx, r.CreatedAt.Add(retention), timerKey, gateway, key); err != nil {
			return err
		}
		return put(tx, key, keyRecord{Body: r.Body, Object: id, At: r.CreatedAt})
	})
}
