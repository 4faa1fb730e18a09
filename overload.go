package mfpgate

import (
	"errors"
	"time"
)

// Certainty is how sure an overload is.
type Certainty string

// An overload is certain if the devices exceed the capacity although each takes no longer than its median, and a risk if it
// takes the durations that are planned with.
const (
	OverloadCertain Certainty = "certain"
	OverloadRisk    Certainty = "risk"
)

// Band is a piece of time in which planned devices exceed capacity.
type Band struct {
	ID           string
	From, To     time.Time
	Capacity     int
	Peak         int
	PeakAt       time.Time
	Excess       time.Duration // devices above capacity, integrated over time
	Certainty    Certainty
	Probability  float64 // 0 to 1
	MustMove     int     // deliveries of which at least this many must leave
	Contributors []Contributor
	Certificate  *Certificate // why not all of it can be repaired; nil if that is not proved
	Text         string       // for people, one sentence
}

// The types of contributor.
const (
	ContributorDelivery   = "delivery"
	ContributorBackground = "background"
)

// Contributor is a part of a band's load.
type Contributor struct {
	Type      string
	ID        string // the batch, or the service
	Count     int    // devices in the band
	PeakShare int    // devices at the peak
}

// Certificate proves that deliveries must remain: those whose every allowed place lies in [From, To) need more than there is.
type Certificate struct {
	From, To          time.Time
	Need, Have        time.Duration // devices times time
	AtLeastUnresolved int
	Text              string
}

// OverloadReport is what the gateway tells the delivery system of its overloads. One without bands closes the earlier ones.
type OverloadReport struct {
	ID         string
	ComputedAt time.Time
	Horizon    Interval
	Inputs     ReportInputs
	Bands      []Band
	Supersedes string
	Site       SiteLoad
}

// SiteLoad is what the delivery system cannot know of a site: what its relay itself can serve, and the site's own background.
// With it the delivery system's pages and refusals go by the same limits as the gateway's reports.
type SiteLoad struct {
	Capacity   []CapacityStep
	Background []Background
}

// ReportInputs name the versions of all that a report was computed from.
type ReportInputs struct{ Contract, DeltaToken, Background, TZData string }

// Why a delivery is given another start.
const (
	ChangeOverload = "OVERLOAD" // it was itself in an overload
	ChangeSwap     = "SWAP"     // it makes room for one that could not go elsewhere
	ChangeChain    = "CHAIN"    // it makes room for one that makes room
)

// Change is a delivery's new start.
type Change struct {
	ID       string
	Delivery string
	Version  string // that it was computed from
	From, To time.Time
	Code     string
	Band     string // that it leaves, or helps to end
	FreedBy  string // the delivery that it makes room for
	Text     string // for people
}

// Unresolved is a delivery for which no start was found. It keeps its own.
type Unresolved struct {
	Delivery    string
	Certificate *Certificate // nil: no start was found, and there is no proof that there is none
	Text        string
	Options     []string // what an operator could do: widenWindow, raiseCapacity, dropPriority
}

// Quality says how good a proposal is: what it costs, and what no proposal can be below.
type Quality struct {
	Unresolved, UnresolvedBound     int
	Moved, MovedBound               int
	Displacement, DisplacementBound time.Duration
	Optimal                         bool
	Gap                             float64 // the largest of the three relative to their bounds; 0 if optimal
	Solver                          string
	Seed                            uint64
}

// Proposal is new starts that remove overloads.
type Proposal struct {
	ID         string
	Report     string
	DeltaToken string
	Apply      bool // now, and not after a decision
	Changes    []Change
	Unresolved []Unresolved
	Quality    Quality
}

// SchedulePlan is what a snapshot leads to.
type SchedulePlan struct {
	Bands     []Band // as planned
	Proposal  Proposal
	BandsLeft []Band // after the proposal
	LeftOut   []LeftOut
}

// LeftOut is a delivery, or a device, that a plan does not count.
type LeftOut struct {
	Delivery string // empty: all of the device
	Device   DeviceID
	Reason   Reason
}

// ChangeState is what became of a change at the delivery system.
type ChangeState string

// The states of a change. All but the first are final.
const (
	ChangePending  ChangeState = "pending"
	ChangeApplied  ChangeState = "applied"
	ChangeRejected ChangeState = "rejected" // by a person, or by a rule of the delivery system
	ChangeConflict ChangeState = "conflict" // the delivery has another version
	ChangeExpired  ChangeState = "expired"
)

// ChangeOutcome is the state of one change.
type ChangeOutcome struct {
	Change, Delivery string
	State            ChangeState
	Version          string // the delivery's new, or present, one
	Reason           string
}

// ProposalOutcome is the state of a proposal. It is open while a change is pending.
type ProposalOutcome struct {
	ID        string
	Withdrawn bool
	Changes   []ChangeOutcome
}

// Open reports whether a change waits for its decision.
func (o ProposalOutcome) Open() bool {
	for _, c := range o.Changes {
		if c.State == ChangePending {
			return true
		}
	}
	return false
}

// ScheduleChanges is what has changed of a gateway's deliveries.
type ScheduleChanges struct {
	Whole      bool // all there is, not a difference
	Deliveries []Delivery
	Removed    []string
	Token      string
}

// The types of event that a delivery system tells.
const (
	EventDeliveryChanged  = "deliveryChanged"
	EventProposalDecided  = "proposalDecided"
	EventContractChanged  = "contractChanged"
	EventMoveChanged      = "moveChanged"
	EventProposalRequest  = "proposalRequested"
	EventBackgroundChange = "backgroundChanged"
)

// ScheduleEvent is a piece of news from the delivery system.
type ScheduleEvent struct {
	Seq    uint64
	Type   string
	Object string // the delivery, the proposal
}

// What a delivery system's refusal means for what comes next. Ports of delivery systems wrap these.
var (
	// ErrStale says that what a report or a proposal was computed from has changed: read again, and plan anew.
	ErrStale = errors.New("computed from what has changed since")
	// ErrRefused says that the same call will be refused again.
	ErrRefused = errors.New("refused")
	// ErrUnchanged says that the caller has the present version.
	ErrUnchanged = errors.New("unchanged")
)
