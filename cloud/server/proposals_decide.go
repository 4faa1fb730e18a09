package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

func (s *Server) postDecision(ctx context.Context, in *struct {
	ProposalPath
	Idempotent
	IfMatch string `header:"If-Match" maxLength:"4096"`
	Body    api.Decision
}) (*madeProposal, error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	key := requestKey(in.Gateway, "decision/"+in.Proposal, callOf(ctx).who, in.Key)
	state, tag, replayed, err := s.decide(ctx, in.Gateway, in.Proposal, in.IfMatch, in.Body, callOf(ctx).who.id, key)
	if err != nil {
		return nil, err
	}
	out := &madeProposal{Status: http.StatusOK, ETag: tag, Body: state}
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}

// decide carries an operator's word on a proposal out. key names the request, so that it counts once.
func (s *Server) decide(ctx context.Context, gateway, id, ifMatch string, d api.Decision, by, key string) (state api.ProposalState, tag string, replayed bool, err error) {
	chain, err := s.chain(gateway)
	if err != nil {
		return state, "", false, err
	}
	body, err := digestOf(d)
	if err != nil {
		return state, "", false, internal(err)
	}
	defer s.together(chain)()
	known, there, err := one[keyRecord](ctx, s.Store, key)
	switch {
	case err != nil:
		return state, "", false, internal(err)
	case there && known.Body != body:
		return state, "", false, keyReused()
	case there:
		replayed = true
	default:
		if err := s.commitDecision(ctx, chain, id, ifMatch, d, by, key, body); err != nil {
			return state, "", false, err
		}
	}
	if err := s.finish(ctx, gateway, id); err != nil {
		return state, "", false, err
	}
	_, state, tag, err = s.proposal(ctx, gateway, id)
	return state, tag, replayed, err
}

// decided is what a decision says of each change that is pending.
func decided(d api.Decision, changes []keptChange) (wants []keptChange, p *problem) {
	accept, reject := map[string]bool{}, map[string]string{}
	for _, id := range d.Accept {
		accept[id] = true
	}
	for _, r := range d.Reject {
		reject[r.ID] = r.Reason
		if r.Reason == "" {
			reject[r.ID] = "operator"
		}
	}
	named := 0
	for _, c := range changes {
		id := c.Change.ChangeID
		why, no := reject[id]
		yes := accept[id]
		if yes && no {
			return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.accept: change "+clip(id)+" is accepted and rejected")
		}
		if yes || no {
			named++
		}
		c.Want, c.Why = "", ""
		switch {
		case c.Status.State != api.ChangePending:
		case no:
			c.Want, c.Why = wantReject, why
		case yes || d.Accept.Every():
			c.Want = wantAccept
		}
		wants = append(wants, c)
	}
	ids := len(accept) + len(reject)
	if d.Accept.Every() {
		ids--
	}
	if named != ids {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the decision names changes that the proposal does not have")
	}
	return wants, nil
}

// commitDecision checks a decision and writes it down. From then on it is carried out, whatever happens to this process.
func (s *Server) commitDecision(ctx context.Context, chain []string, id, ifMatch string, d api.Decision, by, key, body string) error {
	gateway := chain[0]
	w, err := s.draft(gateway, by)
	if err != nil {
		return err
	}
	var r proposalRecord
	var wants []keptChange
	var unresolved []api.Unresolved
	var moved []movedDelivery
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		var there bool
		if r, there, err = store.FindJSON[proposalRecord](at, proposalKey(gateway, id)); err != nil {
			return err
		}
		if !there {
			return noProposal()
		}
		now := r.at(w.now, w.contract.LeadTime)
		if now.State == proposalExpired {
			return refuse(http.StatusGone, ReasonProposalExpired, "devices may have been told their starts since; the gateway makes another proposal")
		}
		if p := existingGuard(ifMatch, now.tag()); p != nil {
			return p
		}
		if now.State != proposalPending || now.Working {
			return refuse(http.StatusConflict, ReasonDecided, "the proposal is decided, withdrawn or expired already")
		}
		var all []keptChange
		for n := range groups(r.Changes, changeGroup) {
			part, _, err := store.FindJSON[changesRecord](at, changesKey(gateway, id, n))
			if err != nil {
				return err
			}
			all = append(all, part.Changes...)
		}
		var p *problem
		if wants, p = decided(d, all); p != nil {
			return p
		}
		relayed, some := s.relayed(at), false
		for _, c := range wants {
			some = some || c.Want != ""
			if c.Want != wantAccept {
				continue
			}
			next, ok, err := s.moveNow(at, relayed, w, &c)
			if err != nil {
				return err
			}
			if ok {
				moved = append(moved, movedDelivery{c.Owner, next})
			}
		}
		if unresolved, err = r.unresolved(at, gateway, id); err != nil {
			return err
		}
		if !some {
			return refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the decision accepts and rejects nothing that is pending")
		}
		return nil
	})
	if err != nil {
		return refusalOr500(err)
	}
	if p := s.recheckMoves(ctx, chain, moved, unresolved); p != nil {
		return p
	}
	for n := range groups(r.Changes, changeGroup) {
		part := changesRecord{wants[n*changeGroup : min(len(wants), (n+1)*changeGroup)]}
		if err := s.change(ctx, nil, func(tx store.Tx) error { return put(tx, changesKey(gateway, id, n), part) }); err != nil {
			return err
		}
	}
	r.Working, r.By = true, by
	r.Version++
	return s.change(ctx, nil, func(tx store.Tx) error {
		if err := put(tx, proposalKey(gateway, id), r); err != nil {
			return err
		}
		if err := put(tx, workKey(gateway, id), named{gateway, id}); err != nil {
			return err
		}
		if err := arm(tx, w.now.Add(retention), timerKey, gateway, key); err != nil {
			return err
		}
		return put(tx, key, keyRecord{Body: body, Object: id, At: w.now})
	})
}

// moveNow carries an accepted change out on the record as it is, or says in its status why not.
func (s *Server) moveNow(g store.Getter, relayed func(gateway, device string) (bool, error), w draft, c *keptChange) (deliveryRecord, bool, error) {
	was, there, err := store.FindJSON[deliveryRecord](g, deliveryKey(c.Owner, c.Change.DeliveryID))
	if err != nil {
		return was, false, err
	}
	if there {
		if there, err = relayed(c.Owner, was.Delivery.DeviceID); err != nil {
			return was, false, err
		}
	}
	next, err := s.move(w, c, was, there)
	return next, c.Status.State == api.ChangePending, err
}

// finish carries a decision that is written down out, part by part: what became of a change is in the same transaction as the delivery's
// new start, so that it may be broken off and run again at any point.
func (s *Server) finish(ctx context.Context, gateway, id string) error {
	r, there, err := one[proposalRecord](ctx, s.Store, proposalKey(gateway, id))
	if err != nil {
		return internal(err)
	}
	if !there || !r.Working {
		return nil
	}
	w, err := s.draft(gateway, r.By)
	if err != nil {
		return err
	}
	for n := range groups(r.Changes, changeGroup) {
		part, _, err := one[changesRecord](ctx, s.Store, changesKey(gateway, id, n))
		if err != nil {
			return internal(err)
		}
		owners := map[string]bool{}
		for _, c := range part.Changes {
			if c.Want != "" && c.Status.State == api.ChangePending {
				owners[c.Owner] = true
			}
		}
		for owner := range owners {
			if err := s.finishPart(ctx, w, gateway, id, n, owner); err != nil {
				return err
			}
		}
	}
	return s.change(ctx, []string{gateway}, func(tx store.Tx) error {
		r, _, err := store.FindJSON[proposalRecord](tx, proposalKey(gateway, id))
		if err != nil || !r.Working {
			return err
		}
		r.Working = false
		r.Version++
		if r.Pending == 0 {
			r.State, r.DecidedAt = proposalDecided, &w.now
		}
		if err := put(tx, proposalKey(gateway, id), r); err != nil {
			return err
		}
		if err := tx.Delete(workKey(gateway, id)); err != nil {
			return err
		}
		return s.note(tx, []string{gateway}, logEntry{Type: api.EventProposalDecided, Object: id, At: w.now}, nil)
	})
}

// finishPart carries out what was decided of one gateway's deliveries in one part.
func (s *Server) finishPart(ctx context.Context, w draft, gateway, id string, n int, owner string) error {
	chain := []string{gateway}
	if owner != "" {
		var err error
		if chain, err = s.chain(owner); err != nil {
			return err
		}
	}
	return s.change(ctx, chain, func(tx store.Tx) error {
		part, _, err := store.FindJSON[changesRecord](tx, changesKey(gateway, id, n))
		if err != nil {
			return err
		}
		r, _, err := store.FindJSON[proposalRecord](tx, proposalKey(gateway, id))
		if err != nil {
			return err
		}
		e := logEntry{Type: api.EventDeliveryChanged, At: w.now, Owner: owner}
		always := func(string, string) (bool, error) { return true, nil } // reading the devices would touch too many keys
		for i := range part.Changes {
			c := &part.Changes[i]
			if c.Owner != owner || c.Want == "" || c.Status.State != api.ChangePending {
				continue
			}
			r.Pending--
			if c.Want == wantReject {
				c.Status.State, c.Status.Reason = api.ChangeRejected, c.Why
				continue
			}
			next, ok, err := s.moveNow(tx, always, w, c)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if err := put(tx, deliveryKey(owner, c.Change.DeliveryID), next); err != nil {
				return err
			}
			c.Status.State, c.Status.NewVersion = api.ChangeApplied, api.Version(strconv.FormatInt(next.Version, 10))
			e.Deliveries = append(e.Deliveries, c.Change.DeliveryID)
		}
		if err := put(tx, changesKey(gateway, id, n), part); err != nil {
			return err
		}
		if err := put(tx, proposalKey(gateway, id), r); err != nil {
			return err
		}
		if len(e.Deliveries) == 0 {
			return nil
		}
		if len(e.Deliveries) == 1 {
			e.Object = e.Deliveries[0]
		}
		return s.note(tx, chain, e, nil)
	})
}
