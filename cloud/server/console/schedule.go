package console

import (
	"context"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// Schedule is what the pages of a gateway's delivery schedule need of the server: the API's own operations. Errors are like those of
// Facts; one of a refused save has besides a method `Problem() api.Problem`, with bands and alternatives.
type Schedule interface {
	Contract(ctx context.Context, gateway string) (api.Contract, error)
	// Deliveries returns those that may run between from and to, by planned start, the finished ones too.
	Deliveries(ctx context.Context, gateway string, from, to time.Time) ([]api.Delivery, error)
	Delivery(ctx context.Context, gateway, id string) (api.Delivery, error)
	// PutDelivery creates a delivery (version "") or replaces the version named, in the operator's name.
	PutDelivery(ctx context.Context, gateway string, d api.Delivery, version api.Version, by string) (api.Delivery, error)
	Background(ctx context.Context, gateway string) ([]api.BackgroundSchedule, error)
	Capacity(ctx context.Context, gateway string, from, to time.Time) (api.Capacity, error)
	// Bands returns the overloads of the schedule as it is now, by the same detector as the gateway's.
	Bands(ctx context.Context, gateway string, from, to time.Time) ([]api.Band, error)
	// Alternatives returns the nearest starts of a delivery that overload nothing, the nearest first.
	Alternatives(ctx context.Context, gateway, delivery string, limit int) ([]api.Alternative, error)
	// Warnings returns those in a state ("": all), by time.
	Warnings(ctx context.Context, gateway, state string) ([]api.Warning, error)
	Warning(ctx context.Context, gateway, band string) (api.Warning, error)
	ActOnWarning(ctx context.Context, gateway, band string, a api.WarningAction, by string) (api.Warning, error)
	// Proposals returns the last ones, the newest first.
	Proposals(ctx context.Context, gateway string, limit int) ([]api.ProposalState, error)
	Proposal(ctx context.Context, gateway, id string) (p api.ChangeProposal, state api.ProposalState, etag string, err error)
	Decide(ctx context.Context, gateway, id, ifMatch string, d api.Decision, by string) (api.ProposalState, error)
}
