package control

import (
	"context"
	"errors"
	"iter"

	"github.com/mfpgate/mfpgate"
)

var (
	// ErrMove is returned for what cannot be done with a move, or asked for; its text says why and what to do.
	ErrMove = errors.New("not done")
	// ErrNoMove is returned for an id that no move has.
	ErrNoMove = errors.New("there is no such move")
)

// Moves is what the running daemon can be asked and told of moves between regions. What is done is done by the management server of
// the site region, to which these calls lead; its refusals are ErrMove, and so is that it cannot be reached. actor is who asks, for
// the audit.
type Moves interface {
	// Moves are the open ones and those that ended in the last 90 days, the newest first, from the gateway's own memory.
	Moves(context.Context) ([]mfpgate.Move, error)
	// Move is one of them. ErrNoMove.
	Move(ctx context.Context, id mfpgate.MoveID) (mfpgate.Move, error)
	// PlanMove says what a move would do. An empty To is the site region.
	PlanMove(ctx context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error)
	// StartMove begins it as the plan with hash r.Plan says; a plan that is not true any more is refused. key (128 bytes at most) makes
	// the call idempotent; "" is no key.
	StartMove(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error)
	// AbortMove takes a move back that is not committed. RetryMove tries a step again at once. ConfirmLost gives up waiting for a
	// device. ErrNoMove, ErrMove.
	AbortMove(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error)
	RetryMove(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error)
	ConfirmLost(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error)
	// Residences say of each device where its data are, as the site region told last, and whether the relay can enforce it.
	Residences(context.Context) ([]mfpgate.Residence, error)
	// EnrolDevice registers a device of another market in the site region, under the id that its market gave it; no data move.
	EnrolDevice(ctx context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error)
	// MoveChanges yields the id of each move that changes, until ctx ends. It may yield "" at any time, and does at first: look at all.
	MoveChanges(ctx context.Context) iter.Seq[mfpgate.MoveID]
}
