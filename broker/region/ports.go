package region

import (
	"context"
	"errors"

	"github.com/mfpgate/mfpgate"
)

var (
	// ErrNoHolding is returned by ports for a device that the region holds nothing of.
	ErrNoHolding = errors.New("the region holds nothing of this device")
	// ErrFenced is returned by Order for a step lower than one that the region has executed of the same move, or of another move
	// that it takes part in. The order had no effect.
	ErrFenced = errors.New("the region has gone on: the order is an old one")
	// ErrOutOfTurn is returned by Order for a step that what is held does not allow, whatever comes: the move cannot be right.
	ErrOutOfTurn = errors.New("the region cannot take this step")
)

// Services are a region's service role, as a management server orders it. Each call is one exchange, bounded by ctx. An error that
// wraps mfpgate.ErrRefused will come again; every other one is worth another try.
type Services interface {
	// Offers is what the region offers to devices in a country: the roll-out.
	Offers(ctx context.Context, country string) ([]mfpgate.ServiceOffer, error)
	// Holding is what it holds of a device. ErrNoHolding.
	Holding(ctx context.Context, mfp string) (mfpgate.Holding, error)
	// Order has it take a step: unlink, copy (of the source: send to the target), verify, drain, delta, activate, retire, delete,
	// abort, undrain, relink. ErrFenced, ErrOutOfTurn.
	Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error)
}

// Management is a region's management server, as another region's calls it.
type Management interface {
	// Find returns the device of a model and serial number (claim 3, figures 7 and 8). ErrNoHolding.
	Find(ctx context.Context, model, serial string) (mfpgate.Registrant, error)
	// Order has it take a step: copy and delta return its own data of the device, notify tells it of the success, redirect asks whether
	// the device has acknowledged its directive, delete has it forget the device.
	Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error)
}

// Regions are the region of the saga and its peers.
type Regions interface {
	// Names are all of them, the saga's own first.
	Names() []string
	// Services and Management return false for a region that is no peer, or that nobody knows the way to.
	Services(region string) (Services, bool)
	Management(region string) (Management, bool)
}

// Devices resolves how gateways name devices, and holds the management server's own data of them.
type Devices interface {
	// Device returns the device that a gateway has told of. False: it has not.
	Device(ctx context.Context, gateway string, id mfpgate.DeviceID) (mfpgate.Device, bool, error)
	// Mint returns a new registration id of this region for an epoch.
	Mint(epoch uint64) (string, error)
}
