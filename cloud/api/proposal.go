package api

import "time"

// Reason says why a delivery is given another start.
type Reason struct {
	Code    string `json:"code" enum:"OVERLOAD,SWAP,CHAIN"`
	BandID  string `json:"bandId,omitempty" maxLength:"64"`
	FreedBy string `json:"freedBy,omitempty" maxLength:"64" doc:"The delivery that it makes room for"`
	Text    string `json:"text" maxLength:"1024"`
}

// Change is a delivery's new start.
type Change struct {
	ChangeID   string    `json:"changeId" maxLength:"64" minLength:"1"`
	DeliveryID string    `json:"deliveryId" maxLength:"64" minLength:"1"`
	IfMatch    string    `json:"ifMatch,omitempty" maxLength:"256" doc:"Entity tag of the delivery that it was computed from"`
	From       time.Time `json:"from"`
	To         time.Time `json:"to"`
	MoveBy     Shift     `json:"moveBy" doc:"ISO 8601, with a sign before it if earlier"`
	Reason     Reason    `json:"reason"`
}

// Unresolved is a delivery for which no start was found.
type Unresolved struct {
	DeliveryID   string       `json:"deliveryId" maxLength:"64"`
	Reason       string       `json:"reason" maxLength:"1024"`
	Certificate  *Certificate `json:"certificate,omitempty"`
	NoStartFound bool         `json:"noStartFound,omitempty" doc:"And there is no proof that there is none"`
	Options      []string     `json:"options,omitempty" maxItems:"8"`
}

// Quality says how good a proposal is.
type Quality struct {
	Unresolved     int      `json:"unresolved"`
	UnresolvedLB   int      `json:"unresolvedLB"`
	Moved          int      `json:"moved"`
	MovedLB        int      `json:"movedLB"`
	Displacement   Duration `json:"displacement" format:"duration"`
	DisplacementLB Duration `json:"displacementLB" format:"duration"`
	Status         string   `json:"status" enum:"optimal,gap"`
	Gap            float64  `json:"gap" minimum:"0"`
	Solver         string   `json:"solver" maxLength:"64"`
	Seed           uint64   `json:"seed"`
}

// BasedOn names what a proposal was computed from.
type BasedOn struct {
	ReportID   string `json:"reportId" maxLength:"64"`
	DeltaToken string `json:"deltaToken" maxLength:"256"`
}

// ChangeProposal is new starts that remove overloads.
type ChangeProposal struct {
	ProposalID string       `json:"proposalId,omitempty" maxLength:"64" doc:"The gateway's own, and the name of the resource"`
	BasedOn    BasedOn      `json:"basedOn,omitzero"`
	Apply      bool         `json:"apply,omitempty" doc:"Apply now, without a person's decision; the contract's mode must be auto"`
	Changes    []Change     `json:"changes" maxItems:"100000"`
	Unresolved []Unresolved `json:"unresolved" maxItems:"100000"`
	Quality    Quality      `json:"quality"`
}

// The states of a change.
const (
	ChangePending  = "pending"
	ChangeApplied  = "applied"
	ChangeRejected = "rejected"
	ChangeConflict = "conflict"
	ChangeExpired  = "expired"
)

// ChangeStatus is what became of one change.
type ChangeStatus struct {
	ChangeID       string  `json:"changeId"`
	DeliveryID     string  `json:"deliveryId"`
	State          string  `json:"state" enum:"pending,applied,rejected,conflict,expired"`
	NewVersion     Version `json:"newVersion,omitempty" doc:"Of an applied one"`
	CurrentVersion Version `json:"currentVersion,omitempty" doc:"Of a conflict"`
	Reason         string  `json:"reason,omitempty"`
}

// ProposalState is what became of a proposal.
type ProposalState struct {
	ProposalID string         `json:"proposalId"`
	State      string         `json:"state" enum:"pending,decided,withdrawn,expired"`
	CreatedAt  time.Time      `json:"createdAt"`
	DecidedAt  *time.Time     `json:"decidedAt,omitempty"`
	By         string         `json:"by,omitempty"`
	Changes    []ChangeStatus `json:"changes"`
}

// Decision is an operator's word on a proposal.
type Decision struct {
	Accept AcceptList  `json:"accept" doc:"all, or change ids"`
	Reject []Rejection `json:"reject,omitempty" maxItems:"100000"`
}

// Rejection is a change that is not wanted.
type Rejection struct {
	ID     string `json:"id" maxLength:"64"`
	Reason string `json:"reason,omitempty" maxLength:"256"`
}

// The types of event.
const (
	EventDeliveryChanged   = "deliveryChanged"
	EventProposalDecided   = "proposalDecided"
	EventContractChanged   = "contractChanged"
	EventMoveChanged       = "moveChanged"
	EventProposalRequested = "proposalRequested"
	EventBackgroundChanged = "backgroundChanged"
)

// ScheduleEvent is a piece of news for a gateway.
type ScheduleEvent struct {
	Seq    uint64    `json:"seq"`
	Type   string    `json:"type"`
	Object string    `json:"object,omitempty" doc:"The delivery, the proposal"`
	At     time.Time `json:"at"`
}

// ScheduleEvents answers a long poll.
type ScheduleEvents struct {
	Items []ScheduleEvent `json:"items"`
	Next  uint64          `json:"next" doc:"What the next poll gives as after"`
	Lost  bool            `json:"lost,omitempty" doc:"Events after the one named are gone: read everything"`
}

// Alternative is another start that would not overload.
type Alternative struct {
	StartUTC time.Time `json:"startUtc"`
	Local    string    `json:"local,omitempty"`
	MoveBy   Shift     `json:"moveBy"`
}
