package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

const (
	proposalPending   = "pending"
	proposalDecided   = "decided"
	proposalWithdrawn = "withdrawn"
	proposalExpired   = "expired"

	maxProposal = 64 << 20 // bytes
	// maxProposals is how many of one gateway are kept, though they are younger than retention.
	maxProposals = 500
	// changeGroup is how many changes one record holds, and one transaction applies: a key each, beside the record and the logs of a chain.
	changeGroup     = 32
	unresolvedGroup = 12
	maxReasonText   = 1024 // bytes; longer ones are clipped
)

// proposalRecord is a proposal without its changes, which are in parts. It is written after them, and so is there as a whole or not at all.
type proposalRecord struct {
	Version    int64       `json:"version"`
	Body       string      `json:"body"` // SHA-256
	State      string      `json:"state"`
	CreatedAt  time.Time   `json:"createdAt"`
	DecidedAt  *time.Time  `json:"decidedAt,omitempty"`
	By         string      `json:"by,omitempty"`
	First      time.Time   `json:"first"` // the earliest start that it is about
	Apply      bool        `json:"apply,omitempty"`
	BasedOn    api.BasedOn `json:"basedOn"`
	Quality    api.Quality `json:"quality"`
	Changes    int         `json:"changes"`
	Unresolved int         `json:"unresolved"`
	Pending    int         `json:"pending"`           // changes
	Working    bool        `json:"working,omitempty"` // a decision is being carried out: Resume does so after a crash
}

// unresolved are the deliveries that the proposal leaves where they are.
func (r proposalRecord) unresolved(at store.Getter, gateway, id string) ([]api.Unresolved, error) {
	all := make([]api.Unresolved, 0, r.Unresolved)
	for n := range groups(r.Unresolved, unresolvedGroup) {
		part, _, err := store.FindJSON[unresolvedRecord](at, unresolvedKey(gateway, id, n))
		if err != nil {
			return nil, err
		}
		all = append(all, part.Unresolved...)
	}
	return all, nil
}

// changesRecord is a part of a proposal's changes.
type changesRecord struct {
	Changes []keptChange `json:"changes"`
}

type keptChange struct {
	Change api.Change       `json:"change"`
	Status api.ChangeStatus `json:"status"`
	Owner  string           `json:"owner"`
	Want   string           `json:"want,omitempty"` // what was decided: wantAccept, wantReject; counts while Working
	Why    string           `json:"why,omitempty"`
}

const (
	wantAccept = "accept"
	wantReject = "reject"
)

type unresolvedRecord struct {
	Unresolved []api.Unresolved `json:"unresolved"`
}

func proposalPrefix(gateway string) string  { return "proposal/" + gateway + "/" }
func proposalKey(gateway, id string) string { return proposalPrefix(gateway) + id }
func changesKey(gateway, id string, n int) string {
	return fmt.Sprintf("proposal-changes/%s/%s/%06d", gateway, id, n)
}
func unresolvedKey(gateway, id string, n int) string {
	return fmt.Sprintf("proposal-unresolved/%s/%s/%06d", gateway, id, n)
}

const workPrefix = "proposal-work/"

func workKey(gateway, id string) string { return workPrefix + gateway + "/" + id }

// latestPrefix indexes proposals, the newest first.
func latestPrefix(gateway string) string { return "proposal-at/" + gateway + "/" }
func latestKey(gateway, id string, at time.Time) string {
	const end = 1 << 53
	return fmt.Sprintf("%s%016d/%s", latestPrefix(gateway), end-at.UnixMilli(), id)
}

// named is the value of an index.
type named struct {
	Gateway string `json:"gateway"`
	ID      string `json:"id"`
}

// groups is how many parts of a size hold n.
func groups(n, size int) int { return (n + size - 1) / size }

// ProposalPath names a proposal.
type ProposalPath struct {
	GatewayPath
	Proposal string `path:"id" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"`
}

func (s *Server) registerProposals(a huma.API) {
	const path = "/v1/gateways/{gw}/change-proposals"
	propose := operation(a, http.MethodPost, path, "propose-changes",
		"Propose new starts that remove overloads; dryRun=true says what would become of them", roleGateway)
	propose.DefaultStatus, propose.MaxBodyBytes = http.StatusAccepted, maxProposal
	huma.Register(a, propose, s.postProposal)
	huma.Register(a, operation(a, http.MethodGet, path, "list-proposals",
		"Proposals without their changes, the newest first", roleGateway, roleOperator), s.listProposals)
	huma.Register(a, operation(a, http.MethodGet, path+"/{id}", "get-proposal",
		"What became of a proposal", roleGateway, roleOperator), s.getProposal)
	withdraw := operation(a, http.MethodDelete, path+"/{id}", "withdraw-proposal",
		"Take a proposal back that is not decided, under If-Match", roleGateway)
	withdraw.DefaultStatus = http.StatusNoContent
	huma.Register(a, withdraw, s.withdrawProposal)
	decide := operation(a, http.MethodPost, path+"/{id}/decision", "decide-proposal",
		"Accept and reject changes, under If-Match; those not named stay pending", roleOperator)
	decide.MaxBodyBytes = maxProposal
	huma.Register(a, decide, s.postDecision)
}

// proposalDocument is what became of a proposal and, if asked for, what it is.
type proposalDocument struct {
	api.ProposalState
	Proposal *api.ChangeProposal `json:"proposal,omitempty" doc:"With full=true"`
}

func (s *Server) getProposal(ctx context.Context, in *struct {
	ProposalPath
	Conditional
	Full bool `query:"full" doc:"With the proposal itself"`
}) (*read[proposalDocument], error) {
	p, state, tag, err := s.proposal(ctx, in.Gateway, in.Proposal)
	if err != nil {
		return nil, err
	}
	out := &read[proposalDocument]{Status: in.answer(tag), ETag: tag, Body: proposalDocument{ProposalState: state}}
	if in.Full {
		out.Body.Proposal = &p
	}
	return out, nil
}

// proposal reads a proposal as it is at this moment.
func (s *Server) proposal(ctx context.Context, gateway, id string) (p api.ChangeProposal, state api.ProposalState, tag string, err error) {
	lead, err := s.leadTime(gateway)
	if err != nil {
		return p, state, "", err
	}
	now := s.Clock.Now()
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		r, there, err := store.FindJSON[proposalRecord](at, proposalKey(gateway, id))
		if err != nil {
			return err
		}
		if !there {
			return noProposal()
		}
		r = r.at(now, lead)
		tag = r.tag()
		state = r.wire(id)
		p = api.ChangeProposal{ProposalID: id, BasedOn: r.BasedOn, Apply: r.Apply, Quality: r.Quality,
			Changes: make([]api.Change, 0, r.Changes)}
		for n := range groups(r.Changes, changeGroup) {
			part, _, err := store.FindJSON[changesRecord](at, changesKey(gateway, id, n))
			if err != nil {
				return err
			}
			for _, c := range part.Changes {
				p.Changes = append(p.Changes, c.Change)
				state.Changes = append(state.Changes, r.status(c))
			}
		}
		p.Unresolved, err = r.unresolved(at, gateway, id)
		return err
	})
	if err != nil {
		err = refusalOr500(err)
	}
	return p, state, tag, err
}

// trimProposals makes room for one more: of those that are not being carried out the oldest go, decided or not.
func (s *Server) trimProposals(ctx context.Context, gateway string) error {
	var all []named // the newest first
	err := s.Store.View(ctx, func(at store.Snapshot) error {
		all = nil
		for r, err := range store.All(at, latestPrefix(gateway)) {
			if err != nil {
				return err
			}
			n, err := decodeRecord[named](r)
			if err != nil {
				return err
			}
			all = append(all, n)
		}
		return nil
	})
	if err != nil {
		return internal(err)
	}
	for n := len(all) - 1; n >= maxProposals-1; n-- {
		r, there, err := one[proposalRecord](ctx, s.Store, proposalKey(gateway, all[n].ID))
		if err != nil {
			return internal(err)
		}
		if there && r.Working {
			continue
		}
		if err := s.forgetProposal(ctx, gateway, all[n].ID, r); err != nil {
			return err
		}
	}
	return nil
}

func noProposal() *problem {
	return refuse(http.StatusNotFound, ReasonNoProposal, "the gateway has made no such proposal")
}

// leadTime is the contract's.
func (s *Server) leadTime(gateway string) (time.Duration, error) {
	c, _, err := s.contract(gateway)
	return time.Duration(c.LeadTime), err
}

// at is the proposal at a time: one that is not decided expires when its first start can be changed no more.
func (r proposalRecord) at(now time.Time, lead time.Duration) proposalRecord {
	if r.State == proposalPending && !r.Working && now.Add(lead).After(r.First) {
		r.State = proposalExpired
	}
	return r
}

// tag is the entity tag. An expiry is another state without a write, so the state is in it.
func (r proposalRecord) tag() string { return fmt.Sprintf(`"%d-%s"`, r.Version, r.State) }

func (r proposalRecord) wire(id string) api.ProposalState {
	return api.ProposalState{ProposalID: id, State: r.State, CreatedAt: r.CreatedAt, DecidedAt: r.DecidedAt, By: r.By, Changes: []api.ChangeStatus{}}
}

// status is what became of a change. What a proposal left pending when it ended follows from how it ended.
func (r proposalRecord) status(c keptChange) api.ChangeStatus {
	st := c.Status
	if st.State != api.ChangePending {
		return st
	}
	switch r.State {
	case proposalExpired:
		st.State = api.ChangeExpired
	case proposalWithdrawn:
		st.State, st.Reason = api.ChangeRejected, proposalWithdrawn
	}
	return st
}

func (s *Server) listProposals(ctx context.Context, in *struct {
	GatewayPath
	Conditional
	Paging
}) (*read[api.Page[api.ProposalState]], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	list, err := s.proposals(ctx, in.Gateway, after, in.Limit)
	if err != nil {
		return nil, err
	}
	return listAnswer(in.Conditional, list)
}

// proposals are a page of the states without their changes, the newest first.
func (s *Server) proposals(ctx context.Context, gateway, after string, limit int) (list api.Page[api.ProposalState], err error) {
	lead, err := s.leadTime(gateway)
	if err != nil {
		return list, err
	}
	found, next, err := page[named](ctx, s.Store, latestPrefix(gateway), after, limit)
	if err != nil {
		return list, internal(err)
	}
	list = api.Page[api.ProposalState]{Items: []api.ProposalState{}, NextCursor: next}
	now := s.Clock.Now()
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		for _, n := range found {
			r, there, err := store.FindJSON[proposalRecord](at, proposalKey(gateway, n.ID))
			if err != nil {
				return err
			}
			if there {
				list.Items = append(list.Items, r.at(now, lead).wire(n.ID))
			}
		}
		return nil
	})
	if err != nil {
		return list, internal(err)
	}
	return list, nil
}

func (s *Server) withdrawProposal(ctx context.Context, in *struct {
	ProposalPath
	IfMatch string `header:"If-Match" maxLength:"4096"`
}) (*struct{}, error) {
	chain, err := s.chain(in.Gateway)
	if err != nil {
		return nil, err
	}
	lead, err := s.leadTime(in.Gateway)
	if err != nil {
		return nil, err
	}
	defer s.together(chain)()
	now := s.Clock.Now().UTC()
	return nil, s.change(ctx, nil, func(tx store.Tx) error {
		r, there, err := store.FindJSON[proposalRecord](tx, proposalKey(in.Gateway, in.Proposal))
		if err != nil {
			return err
		}
		if !there {
			return noProposal()
		}
		r = r.at(now, lead)
		if p := existingGuard(in.IfMatch, r.tag()); p != nil {
			return p
		}
		switch {
		case r.State == proposalWithdrawn:
			return nil
		case r.State != proposalPending || r.Working:
			return refuse(http.StatusConflict, ReasonDecided, "the proposal is "+r.State+" already")
		}
		r.State, r.DecidedAt = proposalWithdrawn, &now
		r.Version++
		return put(tx, proposalKey(in.Gateway, in.Proposal), r)
	})
}
