package control

import (
	"context"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

// ErrSchedule is returned for what the delivery schedules, the contract or the delivery system forbid now; its text says which.
var ErrSchedule = errors.New("not done")

// Schedules is what the running daemon can be asked and told of its delivery schedules.
type Schedules interface {
	// Schedule answers from memory, the last good plan.
	Schedule(context.Context) Schedule
	// Deliveries are those of the last good plan and those that it leaves out, by start.
	Deliveries(context.Context) []Delivery
	// LeftOut are deliveries, and whole devices, that the plan does not count.
	LeftOut(context.Context) []LeftOut
	// Load is planned and observed concurrency over the last and the next day. It costs a look at all deliveries.
	Load(context.Context) []Load
	// Proposal is the last one; its id is empty if there was none.
	Proposal(context.Context) Proposal
	// Propose plans now, and hands over what comes of it for a person's decision; in mode auto it is applied. ErrSchedule.
	Propose(context.Context) (Proposal, error)
	// Apply has the present proposal applied now, which the contract must allow. ErrSchedule.
	Apply(ctx context.Context, proposal string) (Proposal, error)
}

// Schedule is how the delivery schedules stand.
type Schedule struct {
	Mode          mfpgate.ScheduleMode `json:"mode" enum:"notify,propose,auto" doc:"As configured"`
	Effective     string               `json:"effectiveMode" enum:",notify,propose,auto" doc:"What the contract leaves of it; empty while there is nothing to do"`
	Why           string               `json:"why" doc:"Why that is less than configured; empty if it is not"`
	Idle          mfpgate.Reason       `json:"idle" doc:"Why there is nothing to do; empty if there is"`
	IdleText      string               `json:"idleText"`
	Tried         time.Time            `json:"triedAt,omitzero" doc:"When the last run began"`
	Planned       time.Time            `json:"plannedAt,omitzero" doc:"When the last run began that made a plan"`
	Fetched       time.Time            `json:"fetchedAt,omitzero" doc:"Of the state that the plan is made of"`
	Next          time.Time            `json:"nextAt,omitzero" doc:"When the next run is due at the latest"`
	Error         string               `json:"error" doc:"Of the last run; empty if it was good"`
	Deliveries    int                  `json:"deliveries" doc:"Whatever their state"`
	Background    int                  `json:"backgroundSchedules"`
	LeftOut       int                  `json:"leftOut" doc:"Deliveries and devices that the plan does not count"`
	Rejected      int                  `json:"rejected" doc:"Deliveries that are not moved because their new start was rejected"`
	PlannedNow    int                  `json:"plannedNow" doc:"Devices that are planned at once in the present five minutes"`
	Bands         []api.Band           `json:"bands" nullable:"false" doc:"Overloads as planned"`
	BandsAfter    []api.Band           `json:"bandsAfter" nullable:"false" doc:"Overloads that the proposal leaves"`
	Report        Report               `json:"report"`
	ProposalID    string               `json:"proposalId" doc:"Of the last proposal; empty if there was none"`
	ProposalState string               `json:"proposalState" enum:",waiting,open,decided,withdrawn,refused"`
}

// Report is what became of the last report to the delivery system.
type Report struct {
	ID      string    `json:"reportId" doc:"Empty if there was none"`
	Bands   int       `json:"bands"`
	Sent    time.Time `json:"sentAt,omitzero"`
	Refused string    `json:"refused" doc:"Why the delivery system did not take it"`
}

// The states of a proposal.
const (
	ProposalWaiting   = "waiting"   // not handed over yet
	ProposalOpen      = "open"      // waits for a person
	ProposalDecided   = "decided"   // each change has its outcome
	ProposalWithdrawn = "withdrawn" // another plan took its place
	ProposalRefused   = "refused"   // the delivery system did not take it
)

// Proposal is new starts, and what became of them.
type Proposal struct {
	ID         string           `json:"proposalId"`
	State      string           `json:"state" enum:",waiting,open,decided,withdrawn,refused"`
	Apply      bool             `json:"apply" doc:"To be applied without a person's decision"`
	Handed     time.Time        `json:"handedAt,omitzero"`
	Refused    string           `json:"refused" doc:"Why the delivery system did not take it"`
	Changes    []Change         `json:"changes" nullable:"false"`
	Unresolved []api.Unresolved `json:"unresolved" nullable:"false" doc:"Deliveries for which no start was found"`
	Quality    api.Quality      `json:"quality"`
}

// Change is a delivery's new start, and what became of it.
type Change struct {
	api.Change
	Device     mfpgate.DeviceID `json:"deviceId" doc:"Empty if the delivery is not there any more"`
	DeviceName string           `json:"deviceName"`
	State      string           `json:"state" enum:"pending,applied,rejected,conflict,expired"`
	Outcome    string           `json:"outcome" doc:"Why, if the delivery system says so"`
}

// Delivery is a delivery as the plan has it.
type Delivery struct {
	ID             string           `json:"deliveryId"`
	Device         mfpgate.DeviceID `json:"deviceId"`
	DeviceName     string           `json:"deviceName" doc:"Empty for a device that is not this gateway's"`
	Via            string           `json:"viaGatewayId,omitempty"`
	Batch          string           `json:"batchId"`
	Kind           string           `json:"kind"`
	Package        string           `json:"packageId"`
	PackageVersion string           `json:"packageVersion"`
	State          string           `json:"state" enum:"planned,running,done,failed,cancelled"`
	Start          time.Time        `json:"start,omitzero" doc:"Planned, of a recurring one the first; absent if its schedule names no instant"`
	Recurs         bool             `json:"recurs"`
	Duration       api.Duration     `json:"duration" format:"duration" doc:"That is planned with"`
	Basis          string           `json:"basis" enum:"history,size,assumed"`
	Movable        bool             `json:"movable"`
	Pinned         string           `json:"pinnedReason"`
	Proposed       time.Time        `json:"proposedStart,omitzero"`
	LeftOut        mfpgate.Reason   `json:"leftOut" doc:"Why the plan does not count it; empty if it does"`
	LeftOutText    string           `json:"leftOutText"`
}

// LeftOut is a delivery, or a whole device, that the plan does not count.
type LeftOut struct {
	Delivery   string           `json:"deliveryId" doc:"Empty: all of the device"`
	Device     mfpgate.DeviceID `json:"deviceId"`
	DeviceName string           `json:"deviceName"`
	Reason     mfpgate.Reason   `json:"reason"`
	Text       string           `json:"text"`
}

// Load is one piece of the last or the next day.
type Load struct {
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Capacity int       `json:"capacity" doc:"The least in force"`
	Planned  *int      `json:"planned,omitempty" doc:"The most devices at once; absent if there was no plan"`
	Observed *int      `json:"observed,omitempty" doc:"The most devices served at once; absent before the gateway started, and in the future"`
}

// LeftOutReason says in words why a plan does not count something, and what to do where something can be done. A reason that is newer
// than the list is itself.
func LeftOutReason(r mfpgate.Reason) string {
	switch r {
	case plan.ReasonFinished:
		return "it is done, failed or cancelled"
	case plan.ReasonPast:
		return "its planned time is over"
	case plan.ReasonBeyond:
		return "it is planned for after the horizon; schedule.horizon says how far that is"
	case plan.ReasonPolling:
		return "the device is in mode polling and does not come through the relay"
	case plan.ReasonUnknownDevice:
		return "the device is not one of this gateway's; it may have been forgotten, or be another gateway's now"
	case plan.ReasonNotInContract:
		return "the contract does not include software delivery"
	case plan.ReasonNeverStarts:
		return "its schedule names no instant; correct it at the delivery system"
	case plan.ReasonNotReadable:
		return "its schedule is not well written; correct it at the delivery system"
	}
	return string(r)
}
