package route

import (
	"math/rand/v2"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Bounds and times.
const (
	Grace          = 30 * time.Second    // of tunnels that may no longer be
	ManagementOpen = 24 * time.Hour      // from the switch, at most: how long the old region's management hosts are left open
	KeepEnded      = 90 * 24 * time.Hour // moves, after their end
	MaxKept        = 10000               // moves, and routes
	MaxRegions     = 64
	MaxHosts       = 32        // of a region's role
	MaxProbes      = 32        // certificates that are asked for in a move
	MaxAutomatic   = 20        // moves that the policy has under way at once, until their routes are switched
	Backoff        = time.Hour // of the policy with a device, after a move of it was taken back or is refused
	UnseenFor      = time.Hour // by the relay, before a device that is elsewhere seen counts as unenforced
	HostsEvery     = time.Hour // the regions' hosts are read again
	ResidenceEvery = 15 * time.Minute
)

// The modes of Policy.
const (
	ModeAsk       = "ask"       // a device abroad is a suggestion to the administrator
	ModeAutomatic = "automatic" // it is moved, if nothing stands against that
	ModeNever     = "never"
)

// Aborted is the reason of a move that somebody has aborted. The policy does not begin it again.
const Aborted mfpgate.Reason = "aborted"

// PolicyActor is who asks for the moves that the policy begins.
const PolicyActor = "policy"

// Options are what a broker is made of.
type Options struct {
	Clock   mfpgate.Clock
	Rand    *rand.Rand  // jitter; the broker's alone
	Store   store.Store // a view of its own
	Gateway string      // its id
	Cloud   Cloud
	Devices Devices
	Prober  Prober
	Log     telemetry.Logger
	Metrics *telemetry.Metrics
	// Changed is told the id of a move that may have changed, "" for any. May be nil; must not block.
	Changed func(mfpgate.MoveID)
}

// Policy is the part that the administrator configures. It is replaced as a whole.
type Policy struct {
	Region         string // of the site
	Enforce        bool   // false: every device may go everywhere, whatever its routes say; moves go on
	Mode           string // one of the modes; "" is ModeAsk
	RedirectModels []string
}
