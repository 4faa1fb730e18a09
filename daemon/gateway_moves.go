package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store/journal"
)

// Moves implements control.Gateway.
func (g gateway) Moves(ctx context.Context) ([]mfpgate.Move, error) { return g.moves.Moves(ctx) }

// Move implements control.Gateway.
func (g gateway) Move(ctx context.Context, id mfpgate.MoveID) (mfpgate.Move, error) {
	m, err := g.moves.Move(ctx, id)
	return m, moveError(err)
}

// PlanMove implements control.Gateway.
func (g gateway) PlanMove(ctx context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	if err := g.toldOf(r.Device); err != nil {
		return mfpgate.MovePlan{}, err
	}
	plan, err := g.moves.Plan(ctx, r)
	return plan, moveError(err)
}

// StartMove implements control.Gateway.
func (g gateway) StartMove(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error) {
	if err := g.toldOf(r.Device); err != nil {
		return mfpgate.Move{}, err
	}
	m, err := g.moves.Start(ctx, r, actor, key)
	return m, moveError(err)
}

// toldOf refuses a device that the cloud was not told of: it would not know whose id that is.
func (g gateway) toldOf(id mfpgate.DeviceID) error {
	if _, err := g.registry.Detail(id); err != nil {
		return deviceError(err)
	}
	if g.config.Load().Cloud.URL == nil {
		return moveError(away{route.ErrNoCloud})
	}
	shown := g.inventory.shown.Load()
	if shown == nil {
		return moveError(away{errors.New("it has not been told of the devices yet; try again in a minute")})
	}
	if _, told := shown.modes[id]; !told {
		why := "the gateway tells it of a device within a minute, but of no stranger of whom nothing but an address is known"
		if shown.refused[id] {
			why = "it refuses the device; its page says why"
		}
		return moveRefused{fmt.Errorf("the region's cloud does not know this device: %s", why), nil}
	}
	return nil
}

// AbortMove implements control.Gateway.
func (g gateway) AbortMove(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	m, err := g.moves.Abort(ctx, id, actor)
	return m, moveError(err)
}

// RetryMove implements control.Gateway.
func (g gateway) RetryMove(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	m, err := g.moves.Retry(ctx, id, actor)
	return m, moveError(err)
}

// ConfirmLost implements control.Gateway.
func (g gateway) ConfirmLost(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	m, err := g.moves.ConfirmLost(ctx, id, actor)
	return m, moveError(err)
}

// Residences implements control.Gateway.
func (g gateway) Residences(ctx context.Context) ([]mfpgate.Residence, error) {
	return g.moves.Residences(ctx)
}

// EnrolDevice implements control.Gateway.
func (g gateway) EnrolDevice(ctx context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error) {
	if err := g.toldOf(device); err != nil {
		return mfpgate.Residence{}, err
	}
	r, err := g.moves.enrol(ctx, device, actor)
	return r, moveError(err)
}

// MoveChanges implements control.Gateway.
func (g gateway) MoveChanges(ctx context.Context) iter.Seq[mfpgate.MoveID] {
	return beating(ctx, g.Clock, g.moves.Changes)
}

// moveError gives the broker's refusals the API's names.
func moveError(err error) error {
	var no mfpgate.Refused
	switch {
	case err == nil:
		return nil
	case errors.Is(err, route.ErrNoMove):
		return control.ErrNoMove
	case errors.Is(err, journal.ErrDiffers):
		return moveRefused{errors.New("the idempotency key was used for another request; use a new one"), control.ErrUnfit}
	case isAway(err):
		return moveRefused{err, control.ErrAway}
	case errors.As(err, &no):
		if refusal, ok := errors.AsType[*client.Error](err); ok && refusal.Problem.Status == http.StatusUnprocessableEntity {
			return moveRefused{no, control.ErrUnfit}
		}
		return moveRefused{no, nil}
	case errors.Is(err, route.ErrUnknownHere), errors.Is(err, mfpgate.ErrRefused):
		return moveRefused{err, nil}
	}
	return err
}

func isAway(err error) bool {
	_, ok := errors.AsType[away](err)
	return ok
}

// moveRefused is a refusal of a region or of the broker, of one of the API's kinds or none.
type moveRefused struct{ err, kind error }

func (n moveRefused) Error() string { return control.ErrMove.Error() + ": " + n.err.Error() }

func (n moveRefused) Unwrap() []error {
	if n.kind == nil {
		return []error{control.ErrMove, n.err}
	}
	return []error{control.ErrMove, n.err, n.kind}
}
