package api

import (
	"fmt"
	"strings"
)

// ProblemType is the base of every problem type; what follows is the reason, one stable word with dashes.
const ProblemType = "https://mfpgate.dev/problems/"

// Reasons that a gateway acts upon.
const (
	// DeviceTaken (409) refuses a device that another gateway of the region tells of. Detail names that gateway.
	DeviceTaken = "device-taken"
	// StreamEnded (409) refuses items of a stream after another one of the same gateway has begun.
	StreamEnded = "stream-ended"
	// StaleSnapshot (409) refuses a report or a proposal that was computed from what has changed since.
	StaleSnapshot = "stale-snapshot"
	// PreconditionFailed (412) refuses a change of a version that is no longer the present one.
	PreconditionFailed = "precondition-failed"
	// WindowViolation and LeadTimeViolation (422) refuse a start that a delivery's window, or the contract, forbids.
	WindowViolation   = "window-violation"
	LeadTimeViolation = "lead-time-violation"
	// WouldOverload refuses new starts that overload the gateway: 422 for a proposal, 409 with alternatives for an operator.
	WouldOverload = "would-overload"
	// ProposalExpired (410) refuses a decision that comes too late.
	ProposalExpired = "proposal-expired"
)

// Problem is an RFC 9457 problem document, and the error that a client returns for it.
type Problem struct {
	Type     string         `json:"type" format:"uri-reference" doc:"What went wrong, in one stable word after the base"`
	Title    string         `json:"title"`
	Status   int            `json:"status"`
	Detail   string         `json:"detail,omitempty" doc:"What happened this time and what to do about it"`
	Instance string         `json:"instance,omitempty"`
	TraceID  string         `json:"traceId,omitempty" doc:"The server's log has this id"`
	Errors   []ProblemError `json:"errors,omitempty"`
	// Of would-overload: what would be overloaded, and the nearest starts that would not.
	Bands        []Band        `json:"bands,omitempty"`
	Alternatives []Alternative `json:"alternatives,omitempty"`
}

// ProblemError is one fault in the request's content.
type ProblemError struct {
	Pointer string `json:"pointer" doc:"Where: body.firmware, path.id, query.limit"`
	Code    string `json:"code" doc:"Which rule"`
}

// Reason is the last part of the type, or "" for a problem of another origin.
func (p *Problem) Reason() string {
	reason, ours := strings.CutPrefix(p.Type, ProblemType)
	if !ours {
		return ""
	}
	return reason
}

// Error says status, title and detail.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return fmt.Sprintf("%d %s", p.Status, p.Title)
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Title, p.Detail)
}
