package mfpgate

import (
	"errors"
	"time"
)

// Reason says in one stable word why something was refused, cut or degraded. A room declares its own constants; the same
// word is the log's reason, the metric's label, the Proxy-Status detail and the tail of the problem type.
type Reason string

// Refused is an error that brings its Reason: the decision of a room, not a failure of it.
type Refused interface {
	error
	Why() Reason
}

// RetryDelay is how long an error asks to be left alone before another try, by a method `Delay() time.Duration` of its own or of
// what it wraps: what an HTTP server names in Retry-After (RFC 9110 §10.2.3). 0 if it names none.
func RetryDelay(err error) time.Duration {
	named, ok := errors.AsType[interface {
		error
		Delay() time.Duration
	}](err)
	if !ok {
		return 0
	}
	return max(named.Delay(), 0)
}
