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
