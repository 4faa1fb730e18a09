package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

const (
	maxWait     = time.Minute // of a long poll
	maxEvents   = 500         // in one answer
	contractLag = time.Second // the longest that a long poll takes to see that the operator wrote another contract
)

// listEvents answers when there is news, or when the wait is over.
func (s *Server) listEvents(ctx context.Context, in *struct {
	GatewayPath
	Conditional
	After uint64 `query:"after" doc:"next of the answer before; missing: all that is kept"`
	Wait  string `query:"wait" maxLength:"32" doc:"ISO 8601, at most PT1M; missing: answer at once"`
}) (*read[api.ScheduleEvents], error) {
	wait := time.Duration(0)
	if in.Wait != "" {
		d, err := api.ParseDuration(in.Wait)
		if err != nil {
			return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "query.wait: "+err.Error())
		}
		wait = min(time.Duration(d), maxWait)
	}
	if _, err := s.chain(in.Gateway); err != nil {
		return nil, err
	}
	if wait > 0 {
		leave, ok := s.news.enter(in.Gateway)
		if !ok {
			return nil, refuse(http.StatusTooManyRequests, ReasonThrottled, "too many calls wait for this gateway's events already").with("Retry-After", "10")
		}
		defer leave()
	}
	over := s.Clock.NewTimer(wait)
	defer over.Stop()
	tick := s.Clock.NewTimer(contractLag)
	defer tick.Stop()
	for {
		more := s.news.of(in.Gateway)
		if err := s.noteContract(ctx, in.Gateway); err != nil {
			return nil, err
		}
		found, err := s.events(ctx, in.Gateway, in.After)
		if err != nil {
			return nil, internal(err)
		}
		if len(found.Items) > 0 || found.Lost || wait <= 0 {
			return listAnswer(in.Conditional, found)
		}
		select {
		case <-more:
		case <-tick.C():
			tick.Reset(contractLag)
		case <-over.C():
			wait = 0
		case <-s.ending:
			wait = 0
		case <-ctx.Done():
			return nil, internal(ctx.Err())
		}
	}
}

func (s *Server) events(ctx context.Context, gateway string, after uint64) (out api.ScheduleEvents, err error) {
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		out = api.ScheduleEvents{Items: []api.ScheduleEvent{}, Next: after}
		h, err := s.head(at, gateway)
		if err != nil {
			return err
		}
		if !h.reaches(after) {
			out.Next, out.Lost = h.Seq, true
			return nil
		}
		found, last, err := entries(at, gateway, after, maxEvents)
		if err != nil {
			return err
		}
		out.Next = last
		for i, e := range found {
			out.Items = append(out.Items, e.event(last-uint64(len(found)-1-i)))
		}
		return nil
	})
	return out, err
}

// noteContract makes an event of a contract that the operator has changed since the last one.
func (s *Server) noteContract(ctx context.Context, gateway string) error {
	_, tag, err := s.Folder.Contract(gateway)
	if errors.Is(err, provision.ErrNotFound) {
		return nil
	}
	if err != nil {
		return internal(err)
	}
	h, there, err := one[scheduleHead](ctx, s.Store, headKey(gateway))
	if err != nil {
		return internal(err)
	}
	if there && h.Contract == tag {
		return nil
	}
	return s.change(ctx, []string{gateway}, func(tx store.Tx) error {
		h, err := s.head(tx, gateway)
		if err != nil || h.Contract == tag {
			return err
		}
		e := logEntry{Type: api.EventContractChanged, At: s.Clock.Now().UTC()}
		return s.note(tx, []string{gateway}, e, func(h *scheduleHead) error { h.Contract = tag; return nil })
	})
}
