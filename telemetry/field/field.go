// Package field names the keys of the log. A key means the same in every event; tests/house refuses literal keys.
package field

// The keys, in the order in which a reader of an event meets them.
const (
	Device       = "device"
	DeviceName   = "device_name"
	Delivery     = "delivery"
	Start        = "start" // when it is planned
	Client       = "client"
	Method       = "method"
	Destination  = "destination"
	Forwarded    = "forwarded" // where the relay went in place of the destination, as the device's region says
	Address      = "address"
	Rule         = "rule"
	Outcome      = "outcome"
	Reason       = "reason"
	State        = "state"
	Status       = "status"
	BytesUp      = "bytes_up"   // from the device to its cloud
	BytesDown    = "bytes_down" // from the cloud to the device
	Spliced      = "spliced"    // of both, the bytes that stayed in the kernel
	Queued       = "queued_ms"
	Dialled      = "dial_ms"
	Duration     = "duration_ms"
	File         = "file"
	Key          = "key"
	Keys         = "keys"
	Listen       = "listen"
	Count        = "count"
	Limit        = "limit"
	Version      = "version"
	Signal       = "signal"
	User         = "user"
	Gateway      = "gateway"
	Interface    = "interface"
	Port         = "port" // of USB, as the kernel names it: 1-2.4
	Mode         = "mode"
	Region       = "region"
	Registration = "registration"
	Move         = "move"
	Step         = "step"
	Epoch        = "epoch"
	Request      = "request" // the id that X-Request-Id and a problem's traceId carry
	Error        = "error"
	Text         = "text"
)
