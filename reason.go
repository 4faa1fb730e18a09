package mfpgate

// Reason says in one stable word why something was refused, cut or degraded. A room declares its own constants; the same
// word is the log's reason, the metric's label, the Proxy-Status detail and the tail of the problem type.
type Reason string

// Refused is an error that brings its Reason: the decision of a room, not a failure of it.
type Refused interface {
	error
	Why() Reason
}
