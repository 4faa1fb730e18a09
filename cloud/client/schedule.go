package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// What a region may tell of one gateway. More is ErrAnswer.
const (
	maxDeliveries  = 250_000
	maxPages       = 5_000
	maxBackground  = 10_000
	maxEvents      = 10_000
	maxDeltaToken  = 256 // bytes
	deliveriesPage = 500
)

// Changes returns what has changed since a delta token ("": all there is) of the deliveries of the gateway's relayed devices. window is
// what the caller is interested in; the region may tell of more. Pages are joined: a delivery is in the answer once, as the last page that
// names it has it. An answer that breaks a rule is ErrAnswer as a whole, so that the caller keeps its last known good. A region that
// has moved on too far between two pages is mfpgate.ErrStale.
func (c *Client) Changes(ctx context.Context, window mfpgate.Interval, since string) (mfpgate.ScheduleChanges, error) {
	out, err := c.changes(ctx, window, since)
	if err != nil {
		return mfpgate.ScheduleChanges{}, fmt.Errorf("deliveries: %w", err)
	}
	return out, nil
}

func (c *Client) changes(ctx context.Context, window mfpgate.Interval, since string) (out mfpgate.ScheduleChanges, err error) {
	query := url.Values{"limit": {strconv.Itoa(deliveriesPage)}}
	if since != "" {
		query.Set("since", since)
	}
	if !window.From.IsZero() {
		query.Set("from", window.From.UTC().Format(time.RFC3339))
	}
	if !window.To.IsZero() {
		query.Set("to", window.To.UTC().Format(time.RFC3339))
	}
	j := joined{each: map[string]mfpgate.Delivery{}, removed: map[string]bool{}}
	for n := range maxPages {
		u := c.gateway("deliveries")
		u.RawQuery = query.Encode()
		var page api.Deliveries
		if _, err := c.callUpTo(ctx, maxSchedule, http.MethodGet, u, nil, nil, &page); err != nil {
			return out, err
		}
		if err := page.Check(calendar.Texts{}); err != nil {
			return out, fmt.Errorf("%w: %v", ErrAnswer, err)
		}
		if n == 0 {
			out.Whole = page.Whole
		}
		if page.Whole != out.Whole {
			return out, fmt.Errorf("%w: page %d is of another list than the first", ErrAnswer, n+1)
		}
		if err := j.add(page); err != nil {
			return out, err
		}
		if page.NextCursor == "" {
			if page.DeltaToken == "" || len(page.DeltaToken) > maxDeltaToken {
				return out, fmt.Errorf("%w: the last page has no delta token of at most %d bytes", ErrAnswer, maxDeltaToken)
			}
			out.Token = page.DeltaToken
			out.Deliveries, out.Removed = j.lists()
			return out, nil
		}
		if page.NextCursor == query.Get("cursor") {
			return out, fmt.Errorf("%w: page %d leads to itself", ErrAnswer, n+1)
		}
		query.Set("cursor", page.NextCursor)
	}
	return out, fmt.Errorf("%w: more than %d pages", ErrAnswer, maxPages)
}

// joined is what several pages say together.
type joined struct {
	each    map[string]mfpgate.Delivery
	removed map[string]bool
}

func (j joined) add(page api.Deliveries) error {
	for _, d := range page.Items {
		j.each[d.DeliveryID] = d.Root()
		delete(j.removed, d.DeliveryID)
	}
	for _, id := range page.Removed {
		j.removed[id] = true
		delete(j.each, id)
	}
	if len(j.each)+len(j.removed) > maxDeliveries {
		return fmt.Errorf("%w: more than %d deliveries", ErrAnswer, maxDeliveries)
	}
	return nil
}

// lists are sorted by id, so that the same pages give the same answer.
func (j joined) lists() (deliveries []mfpgate.Delivery, removed []string) {
	ids := make([]string, 0, len(j.each))
	for id := range j.each {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		deliveries = append(deliveries, j.each[id])
	}
	for id := range j.removed {
		removed = append(removed, id)
	}
	slices.Sort(removed)
	return deliveries, removed
}

// Background returns the traffic of other services through the gateway and its version, or mfpgate.ErrUnchanged if version is the
// present one.
func (c *Client) Background(ctx context.Context, version string) ([]mfpgate.Background, string, error) {
	var page api.Page[api.BackgroundSchedule]
	tag, err := c.callUpTo(ctx, maxSchedule, http.MethodGet, c.gateway("background-schedules"), header{"If-None-Match": version}, nil, &page)
	if err != nil {
		return nil, "", fmt.Errorf("background schedules: %w", err)
	}
	if len(page.Items) > maxBackground || page.NextCursor != "" {
		return nil, "", fmt.Errorf("background schedules: %w: more than %d", ErrAnswer, maxBackground)
	}
	var list []mfpgate.Background
	for _, b := range page.Items {
		if err := b.Check(calendar.Texts{}); err != nil {
			return nil, "", fmt.Errorf("background schedules: %w: %q: %v", ErrAnswer, clip(b.ServiceID), err)
		}
		list = append(list, b.Root())
	}
	return list, tag, nil
}

// Report tells of overloads. It is idempotent by the report's id; another content under the same id is mfpgate.ErrRefused, a report
// that a later one has overtaken mfpgate.ErrStale.
func (c *Client) Report(ctx context.Context, r mfpgate.OverloadReport) error {
	if _, err := c.callUpTo(ctx, maxSchedule, http.MethodPut, c.gateway("overload-reports", r.ID), nil, api.FromReport(r), nil); err != nil {
		return fmt.Errorf("overload report %s: %w", r.ID, err)
	}
	return nil
}

// Propose hands over a proposal. It is idempotent by the proposal's id. One that would overload the gateway since something has
// changed is mfpgate.ErrStale, one that would in any case mfpgate.ErrRefused.
func (c *Client) Propose(ctx context.Context, p mfpgate.Proposal) (mfpgate.ProposalOutcome, error) {
	var state api.ProposalState
	_, err := c.callUpTo(ctx, maxSchedule, http.MethodPost, c.gateway("change-proposals"), header{"Idempotency-Key": p.ID}, api.FromProposal(p), &state)
	if err != nil {
		return mfpgate.ProposalOutcome{}, fmt.Errorf("proposal %s: %w", p.ID, err)
	}
	return outcome(p.ID, state)
}

// Outcome says what became of a proposal.
func (c *Client) Outcome(ctx context.Context, proposal string) (mfpgate.ProposalOutcome, error) {
	var state api.ProposalState
	_, err := c.callUpTo(ctx, maxSchedule, http.MethodGet, c.gateway("change-proposals", proposal), nil, nil, &state)
	if err != nil {
		return mfpgate.ProposalOutcome{}, fmt.Errorf("proposal %s: %w", proposal, err)
	}
	return outcome(proposal, state)
}

func outcome(proposal string, state api.ProposalState) (mfpgate.ProposalOutcome, error) {
	err := state.Check()
	if err == nil && state.ProposalID != proposal {
		err = fmt.Errorf("it speaks of proposal %q", clip(state.ProposalID))
	}
	if err != nil {
		return mfpgate.ProposalOutcome{}, fmt.Errorf("proposal %s: %w: %v", proposal, ErrAnswer, err)
	}
	return state.Outcome(), nil
}

// Withdraw takes a proposal back. One that is decided, expired or unknown stays as it is, without an error.
func (c *Client) Withdraw(ctx context.Context, proposal string) error {
	_, err := c.call(ctx, http.MethodDelete, c.gateway("change-proposals", proposal), header{"If-Match": "*"}, nil, nil)
	var refusal *Error
	if errors.As(err, &refusal) {
		switch refusal.Problem.Status {
		case http.StatusNotFound, http.StatusConflict, http.StatusGone:
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("withdraw proposal %s: %w", proposal, err)
	}
	return nil
}

// Events waits up to wait, and not longer than two thirds of the client's timeout, for events with numbers greater than after. next is
// what the next call gives as after. lost means that events are gone: read everything.
func (c *Client) Events(ctx context.Context, after uint64, wait time.Duration) (events []mfpgate.ScheduleEvent, next uint64, lost bool, err error) {
	wait = max(0, min(wait, c.o.Timeout*2/3)).Truncate(time.Second)
	u := c.gateway("events")
	u.RawQuery = url.Values{"after": {strconv.FormatUint(after, 10)}, "wait": {api.Duration(wait).String()}}.Encode()
	var out api.ScheduleEvents
	if _, err := c.callUpTo(ctx, maxSchedule, http.MethodGet, u, nil, nil, &out); err != nil {
		return nil, after, false, fmt.Errorf("events: %w", err)
	}
	err = out.Check()
	switch {
	case err == nil && len(out.Items) > maxEvents:
		err = fmt.Errorf("more than %d", maxEvents)
	case err == nil && !out.Lost && (out.Next < after || len(out.Items) > 0 && out.Items[0].Seq <= after):
		err = fmt.Errorf("they begin before %d", after)
	}
	if err != nil {
		return nil, after, false, fmt.Errorf("events: %w: %v", ErrAnswer, err)
	}
	for _, e := range out.Items {
		events = append(events, e.Root())
	}
	return events, out.Next, out.Lost, nil
}
