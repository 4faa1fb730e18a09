package route

import (
	"context"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
)

var (
	// ErrNoMove is returned for an id that no move of this gateway has.
	ErrNoMove = errors.New("there is no such move")
	// ErrUnknownHere is returned by Enrol for a device that neither this region nor the one of its market knows.
	ErrUnknownHere = errors.New("id unknown here")
	// ErrNoCloud is wrapped by every error of a Cloud that the configuration does not name. It is no failure of anybody.
	ErrNoCloud = errors.New("no cloud is configured; name the region's in cloud")
)

// Cloud is the management server of the site region. Each call is one exchange, bounded by ctx, but Changes, which the server may hold
// back. Errors that wrap mfpgate.ErrRefused bring a sentence for people, and a mfpgate.Reason by mfpgate.Refused.
type Cloud interface {
	// Plan says what a move would do.
	Plan(ctx context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error)
	// Start begins a move as its plan says. key makes it idempotent.
	Start(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error)
	// Changes returns the moves of this gateway that have changed since cursor ("": all), at most a page, and the next cursor. It
	// returns an empty page when nothing changed for a while.
	Changes(ctx context.Context, cursor string) (moves []mfpgate.Move, next string, err error)
	// Abort, Retry and ConfirmLost act on a move for an administrator.
	Abort(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error)
	Retry(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error)
	ConfirmLost(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error)
	// Probed tells of the certificates of the target, at step verify. Switched acknowledges that routes lead to the target. CheckedIn
	// tells that the device has been seen on its way to the target. All are idempotent.
	Probed(ctx context.Context, id mfpgate.MoveID, probes []mfpgate.NameProbe, seen mfpgate.Seen) error
	Switched(ctx context.Context, id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen) error
	CheckedIn(ctx context.Context, id mfpgate.MoveID, epoch uint64, at time.Time, seen mfpgate.Seen) error
	// Hosts are the hosts of every region, whose signature is good.
	Hosts(ctx context.Context) ([]mfpgate.RegionHosts, error)
	// Residences say of each device that this gateway has told of where its data are.
	Residences(ctx context.Context) ([]mfpgate.Residence, error)
	// Enrol registers a device of another market in the site region, under the id that its market gave it (claims 3 and 4). No data
	// move. ErrUnknownHere.
	Enrol(ctx context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error)
}

// Devices are the gateway's. The calls are quick.
type Devices interface {
	Devices() []mfpgate.Device
	// Relayed tells when a device last came through the relay; zero: never since the gateway started.
	Relayed(id mfpgate.DeviceID) time.Time
}

// Prober asks a host of the target for a certificate by a name of the source.
type Prober interface {
	// Probe returns nil if the certificate chain that host ("host:port") shows for name is valid for it.
	Probe(ctx context.Context, host, name string) error
}

// Tunnels are the relay's.
type Tunnels interface {
	// Reroute looks at every open tunnel and request again, and ends those that may no longer be, after grace.
	Reroute(grace time.Duration)
}
