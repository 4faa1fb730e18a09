package mfpgate

import "time"

// MoveID names one move of a device from one region to another: "mov_" and a ULID.
type MoveID string

// MoveState is where a move stands as a whole.
type MoveState string

// The states of a move. RolledBack and Done are its ends.
const (
	MoveOpen         MoveState = "open"         // before the commit: may be aborted
	MoveCompensating MoveState = "compensating" // aborted or failed before the commit: what was done is taken back
	MoveRolledBack   MoveState = "rolled_back"  // all is as it was before
	MoveCommitted    MoveState = "committed"    // the target is the home; what is left is done until it succeeds
	MoveStuck        MoveState = "stuck"        // committed, and the device has not come to its new region for 30 days
	MoveDone         MoveState = "done"
)

// Ended reports whether nothing will follow.
func (s MoveState) Ended() bool { return s == MoveRolledBack || s == MoveDone }

// Committed reports whether the target is the device's home.
func (s MoveState) Committed() bool { return s == MoveCommitted || s == MoveStuck || s == MoveDone }

// MoveStep is what a move does now, or did last. Its number orders the steps: a region takes none that is lower than the
// highest that it has executed of the same move.
type MoveStep string

// The steps of a move, and those that take it back.
const (
	StepCheck    MoveStep = "check"    // the services are rolled out in the target's country
	StepUnlink   MoveStep = "unlink"   // child services that the target does not offer are unlinked at the source
	StepCopy     MoveStep = "copy"     // the source's service sends what it holds to the target's, which prepares it
	StepVerify   MoveStep = "verify"   // both digests are equal; the gateway has probed the target's certificate
	StepDrain    MoveStep = "drain"    // the source answers its device and takes no more changes
	StepDelta    MoveStep = "delta"    // what changed since the copy is sent, and all is verified once more
	StepActivate MoveStep = "activate" // the target becomes active; the relay still keeps the device from it
	StepCommit   MoveStep = "commit"   // one transaction of the target's management server; the last moment of an abort is before
	StepSwitch   MoveStep = "switch"   // the gateway has switched the device's routes
	StepNotify   MoveStep = "notify"   // the source's management server hears of the success
	StepRetire   MoveStep = "retire"   // the source purges the content and keeps a tombstone that says "moved"
	StepRedirect MoveStep = "redirect" // the source's management server gives the device its signed directive
	StepConfirm  MoveStep = "confirm"  // the device has come to its new region, in the new epoch
	StepDelete   MoveStep = "delete"   // the tombstone goes

	StepAbort   MoveStep = "abort"   // the target forgets what was prepared, and remembers that it was aborted
	StepUndrain MoveStep = "undrain" // the source takes changes again
	StepRelink  MoveStep = "relink"  // the children of unlink are linked again
)

// Seq is the step's number, 0 to 13, or 50 to 52 for those that take a move back; -1 for what is no step.
func (s MoveStep) Seq() int {
	for n, step := range []MoveStep{StepCheck, StepUnlink, StepCopy, StepVerify, StepDrain, StepDelta, StepActivate, StepCommit, StepSwitch,
		StepNotify, StepRetire, StepRedirect, StepConfirm, StepDelete} {
		if s == step {
			return n
		}
	}
	for n, step := range []MoveStep{StepAbort, StepUndrain, StepRelink} {
		if s == step {
			return 50 + n
		}
	}
	return -1
}

// DataPolicy says what becomes of a class of a device's data in a move.
type DataPolicy string

// The policies.
const (
	DataMove  DataPolicy = "move"  // copied to the target, then purged at the source
	DataReset DataPolicy = "reset" // purged at the source; the target begins without
	DataLeave DataPolicy = "leave" // stays at the source, where the law of that country may want it
)

// MoveRequest asks for a move, or for the plan of one.
type MoveRequest struct {
	Device DeviceID              `json:"deviceId"`
	To     string                `json:"toRegion"`       // ISO 3166-1 alpha-2, lower case
	Data   map[string]DataPolicy `json:"data,omitempty"` // by class; the class "" names those that are not named; without it they are moved
	Plan   string                `json:"plan,omitempty"` // hash of the plan that was shown; what it says is what happens. Required unless only the plan is wanted
}

// MovePlan is what a move would do.
type MovePlan struct {
	Device       DeviceID         `json:"deviceId"`
	MFP          string           `json:"mfp"` // the device as its maker and the regions name it
	From         string           `json:"from"`
	To           string           `json:"to"`
	Epoch        uint64           `json:"epoch"`        // after the move; each move adds one
	Registration string           `json:"registration"` // id of the registration that would move
	Services     []PlannedService `json:"services"`
	Children     []PlannedChild   `json:"children"`
	Data         []PlannedData    `json:"data"`
	Blockers     []MoveBlocker    `json:"blockers"` // why it cannot be started; empty: it can
	Hash         string           `json:"hash"`     // of all above but how much data there are, which changes all the time; SHA-256 in hex
}

// PlannedService is a service that the device is registered in. Action is "move", or "block" if the target does not offer it.
type PlannedService struct {
	ID        string `json:"id"`
	Available bool   `json:"available"`
	Action    string `json:"action" enum:"move,block"`
}

// PlannedChild is a child service that is linked to the device. Action is "keep", or "unlink" if the target does not offer it.
type PlannedChild struct {
	Service   string `json:"service"`
	ID        string `json:"id"`
	Available bool   `json:"available"`
	Action    string `json:"action" enum:"keep,unlink"`
}

// PlannedData is a class of data with what becomes of it.
type PlannedData struct {
	Class  string     `json:"class"`
	Items  int        `json:"items"`
	Bytes  int64      `json:"bytes"`
	Policy DataPolicy `json:"policy" enum:"move,reset,leave"`
}

// MoveBlocker is a reason not to start, with what to do.
type MoveBlocker struct {
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`
}

// NameProbe tells whether a host of the target answers TLS with a certificate that is valid for a name of the source: only then
// may a CONNECT be led elsewhere without the device noticing.
type NameProbe struct {
	Name      string `json:"name"` // host of the source that devices ask for
	Host      string `json:"host"` // host of the target, with its port
	Validated bool   `json:"validated"`
	Detail    string `json:"detail,omitempty"` // why not
}

// Move is a device's change of home.
type Move struct {
	ID      MoveID    `json:"moveId"`
	Gateway string    `json:"gatewayId"`
	Device  DeviceID  `json:"deviceId"`
	MFP     string    `json:"mfp"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Epoch   uint64    `json:"epoch"` // the new one
	State   MoveState `json:"state"`
	Step    MoveStep  `json:"step"`   // under way or, of an ended move, the last
	Reason  Reason    `json:"reason"` // why it waits, is taken back or is stuck; "" is nothing to say
	Detail  string    `json:"detail"` // the same in a sentence, with what to do

	Plan            MovePlan         `json:"plan"`
	OldRegistration string           `json:"oldRegistration"`
	NewRegistration string           `json:"newRegistration"`
	RequestedBy     string           `json:"requestedBy"`
	Probes          []NameProbe      `json:"probes,omitempty"`
	Steps           []MoveStepTaken  `json:"steps"`             // in the order in which they ended
	Receipt         *DeletionReceipt `json:"receipt,omitempty"` // from retire on

	StartedAt   time.Time `json:"startedAt"`
	Since       time.Time `json:"since"`             // in this step
	Attempts    int       `json:"attempts"`          // that failed in this step
	NextTry     time.Time `json:"nextTry,omitzero"`  // after a failed one
	Deadline    time.Time `json:"deadline,omitzero"` // of the commit: then the move is taken back
	CommittedAt time.Time `json:"committedAt,omitzero"`
	SwitchedAt  time.Time `json:"switchedAt,omitzero"`  // the gateway says so
	AckedAt     time.Time `json:"ackedAt,omitzero"`     // the device has acknowledged its directive
	ConfirmedAt time.Time `json:"confirmedAt,omitzero"` // first check-in of the device in the new epoch
	Lost        bool      `json:"lost"`                 // an administrator gave the device up: it will not be waited for
	EndedAt     time.Time `json:"endedAt,omitzero"`

	Seen Seen `json:"seen,omitempty"`
}

// MoveStepTaken is a step that ended.
type MoveStepTaken struct {
	Step     MoveStep  `json:"step"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts"` // that failed before
}

// Seen tells which entries of the others' audit chains had been written before something happened, of one move: by writer (a
// region, or a gateway's id) the highest sequence number. It goes with every message of a move, so that an auditor can put the
// chains of several writers in an order that does not depend on their clocks.
type Seen map[string]uint64

// Merge raises each number to that of another one, and returns the result; neither is changed.
func (s Seen) Merge(with Seen) Seen {
	out := make(Seen, len(s)+len(with))
	for _, of := range []Seen{s, with} {
		for writer, n := range of {
			out[writer] = max(out[writer], n)
		}
	}
	return out
}

// MoveTrace is what an audit entry of a move says in its "after": enough to check every order in which things can have happened.
// Its action is move.planned, started, stepped, committed, switched, aborted, rolled-back, confirmed, done or stuck, holding.changed
// of a region's services, or device.redirected of a management server.
type MoveTrace struct {
	Move     MoveID   `json:"moveId"`
	MFP      string   `json:"mfp"`
	Region   string   `json:"region"`             // of the writer; of a gateway the one that the device's routes lead to
	Epoch    uint64   `json:"epoch"`              // that the entry is of
	Seq      int      `json:"seq"`                // of the step, as MoveStep.Seq
	State    string   `json:"state"`              // a MoveState, a HoldingState, or "routed" of a gateway
	Children []string `json:"children,omitempty"` // that are linked, as service/child
	Digest   string   `json:"digest,omitempty"`   // of what is held
	Seen     Seen     `json:"seen,omitempty"`
}
