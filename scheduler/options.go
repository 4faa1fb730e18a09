package scheduler

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/cronjob"
	"github.com/mfpgate/mfpgate/scheduler/plan"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
)

const (
	// MaxDeliveries bounds what one gateway keeps; ten times the largest fleet planned for.
	MaxDeliveries = 200_000
	// MaxBackground bounds the services that share the relay.
	MaxBackground = 1000
	// MaxReplans is how often in a row a plan is made again because a version had changed meanwhile.
	MaxReplans = 3

	callTimeout = 2 * time.Minute
	eventWait   = 30 * time.Second
	// eventPause lets what is changed together be fetched together, and bounds what a busy delivery system costs.
	eventPause = 5 * time.Second
	// lookEvery is how often the number of planned devices, and whether there is anything to do, are looked at.
	lookEvery = 30 * time.Second
)

// Why the scheduler does nothing.
const (
	NoContract     mfpgate.Reason = "no-contract"            // there is no cloud, or it has not given the contract yet
	NotInContract  mfpgate.Reason = plan.ReasonNotInContract // the contract does not include software-delivery
	NoProxyDevices mfpgate.Reason = "no-proxy-devices"       // nothing goes through the relay
	ModesNotTold   mfpgate.Reason = "modes-not-told"         // the cloud has not acknowledged every device's mode yet
	AnswerRefused  mfpgate.Reason = "bad-delivery-answer"    // the delivery system's answer breaks a rule; the last good plan stays
)

// ErrAnswer is wrapped by errors for an answer that was refused as a whole.
var ErrAnswer = errors.New("answer refused")

// ErrIdle is wrapped by errors of Propose and Apply while the scheduler has nothing to do; the text says why.
var ErrIdle = errors.New("delivery schedules are idle")

// ErrHeld is wrapped by errors for a time at which the delivery system does not want to be called.
var ErrHeld = errors.New("the delivery system asks not to be called")

// ErrNothing is returned by Propose if no start needs to be moved, or none can be.
var ErrNothing = errors.New("there is no new start to propose")

// ErrNoProposal is wrapped by Apply's errors for a proposal that is not the present, open one.
var ErrNoProposal = errors.New("no such open proposal")

// ErrNotAllowed is returned by Apply if the contract's mode is not auto.
var ErrNotAllowed = errors.New("the contract does not allow the gateway to apply new starts; decide at the delivery system")

// Policy is the part that the administrator configures. It is replaced as a whole.
type Policy struct {
	// System names the delivery system: facts of another one are dropped.
	System     string
	Mode       mfpgate.ScheduleMode // "" is notify
	Fetch      cronjob.Schedule     // a calendar.Recurrence; nil: only at events
	Horizon    time.Duration        // 0 is 14 days
	Background []mfpgate.Background // what only this site knows of; ids that the delivery system has as well are its
}

// Planner is package plan.
type Planner interface {
	Make(s mfpgate.ScheduleSnapshot) (mfpgate.SchedulePlan, error)
	Timeline(s mfpgate.ScheduleSnapshot, from, to time.Time, slot time.Duration) ([]Slot, error)
}

// Slot is the planned load in one piece of time.
type Slot = plan.Slot

// Options are what a scheduler is made of.
type Options struct {
	Clock   mfpgate.Clock
	Rand    *rand.Rand  // jitter; the scheduler's alone
	Store   store.Store // a view of its own
	Cloud   DeliverySystem
	Site    Site
	Planner Planner
	Log     telemetry.Logger
	Metrics *telemetry.Metrics
	Gateway string // its id, which spreads the fetches of a fleet
	Policy  Policy
	// Notice is told of every event of the delivery system, those about contract and moves among them. May be nil.
	Notice func(mfpgate.ScheduleEvent)
	// Confirmed is told that a transfer was a delivery: the delivery system says that it is done. May be nil; must not block.
	Confirmed func(d mfpgate.Delivery, began, ended time.Time, down int64)
	// Changed is told that Status may have changed. May be nil; must not block.
	Changed func()
}
