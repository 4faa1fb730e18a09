package slots

import (
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
)

// The reasons of a Refused.
const (
	ReasonQueueFull         mfpgate.Reason = "queue-full"         // QueueLimit devices wait already
	ReasonQueueTimeout      mfpgate.Reason = "queue-timeout"      // QueueTimeout passed without a turn
	ReasonDeviceConnections mfpgate.Reason = "device-connections" // the device has as many connections open as it may
)

// ErrClosed is returned by the methods of a Conn once Close was called, also to those that were waiting.
var ErrClosed = errors.New("connection closed")

// Refused says that the device is not served now, and why.
type Refused struct {
	Reason mfpgate.Reason
	// RetryAfter is when the client should come back, in whole seconds (RFC 9110 section 10.2.3). It is zero where time
	// does not help: the device has to close a connection first.
	RetryAfter time.Duration
}

// Why implements mfpgate.Refused.
func (r *Refused) Why() mfpgate.Reason { return r.Reason }

// Error names what to do, for the administrator who reads it in a log.
func (r *Refused) Error() string {
	switch r.Reason {
	case ReasonQueueFull:
		return fmt.Sprintf("the relay is at capacity and its queue is full: try again in %v", r.RetryAfter)
	case ReasonQueueTimeout:
		return fmt.Sprintf("the relay is at capacity: no turn within the queue time-out: try again in %v", r.RetryAfter)
	case ReasonDeviceConnections:
		return "the device has as many connections open as it may: close one or raise relay.per_device.connections"
	}
	return string(r.Reason)
}
