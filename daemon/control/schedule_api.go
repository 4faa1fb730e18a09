package control

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/cloud/api"
)

type applyIn struct {
	Body struct {
		Proposal string `json:"proposalId" minLength:"1" maxLength:"64" doc:"The present proposal, so that nobody applies another one than was looked at"`
	}
}

// scheduleProblem is 409 for what the present state forbids.
func scheduleProblem(err error) error {
	if errors.Is(err, ErrSchedule) {
		return huma.Error409Conflict(err.Error())
	}
	return err
}

func schedules(a huma.API, g Schedules) {
	get(a, "schedule", "How the delivery schedules stand", func(ctx context.Context, _ *struct{}) (*struct{ Body Schedule }, error) {
		s := g.Schedule(ctx)
		if s.Bands == nil {
			s.Bands = []api.Band{}
		}
		if s.BandsAfter == nil {
			s.BandsAfter = []api.Band{}
		}
		return &struct{ Body Schedule }{s}, nil
	})
	get(a, "schedule/deliveries", "Deliveries, by start, and why some are left out", func(ctx context.Context, _ *struct{}) (*list[Delivery], error) {
		return listOf(g.Deliveries(ctx)), nil
	})
	get(a, "schedule/left-out", "What the plan does not count, and why", func(ctx context.Context, _ *struct{}) (*list[LeftOut], error) {
		return listOf(g.LeftOut(ctx)), nil
	})
	get(a, "schedule/load", "Planned and observed devices at once, over the last and the next 24 hours", func(ctx context.Context, _ *struct{}) (*list[Load], error) {
		return listOf(g.Load(ctx)), nil
	})
	get(a, "schedule/proposal", "The last proposal, and what became of it", func(ctx context.Context, _ *struct{}) (*struct{ Body Proposal }, error) {
		return &struct{ Body Proposal }{g.Proposal(ctx).filled()}, nil
	})
	// Both are idempotent by what they do: a plan of the same state is the same proposal, and one is applied once.
	huma.Register(a, huma.Operation{OperationID: "propose-schedule", Method: http.MethodPost, Path: "/api/v1/schedule/propose",
		Summary: "Plan now, and propose what comes of it"}, func(ctx context.Context, _ *struct{}) (*struct{ Body Proposal }, error) {
		p, err := g.Propose(ctx)
		if err != nil {
			return nil, scheduleProblem(err)
		}
		return &struct{ Body Proposal }{p.filled()}, nil
	})
	huma.Register(a, huma.Operation{OperationID: "apply-schedule", Method: http.MethodPost, Path: "/api/v1/schedule/apply",
		Summary: "Have the present proposal applied now, if the contract allows it"}, func(ctx context.Context, in *applyIn) (*struct{ Body Proposal }, error) {
		p, err := g.Apply(ctx, in.Body.Proposal)
		if err != nil {
			return nil, scheduleProblem(err)
		}
		return &struct{ Body Proposal }{p.filled()}, nil
	})
}

// filled has lists where the gateway left them out, as the API promises.
func (p Proposal) filled() Proposal {
	if p.Changes == nil {
		p.Changes = []Change{}
	}
	if p.Unresolved == nil {
		p.Unresolved = []api.Unresolved{}
	}
	return p
}
