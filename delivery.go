package mfpgate

import "time"

// ServiceDelivery is the contract's service that lets the cloud plan software for the gateway's devices.
const ServiceDelivery = "software-delivery"

// ScheduleMode is what the gateway may do about an overload.
type ScheduleMode string

// Each mode includes the one before it.
const (
	ScheduleNotify  ScheduleMode = "notify"  // report it
	SchedulePropose ScheduleMode = "propose" // and propose new starts, for a person to decide
	ScheduleAuto    ScheduleMode = "auto"    // and have them applied
)

// Contract is what the customer bought for one gateway, as far as schedules go.
type Contract struct {
	ID               string
	Version          string // entity tag
	Mode             ScheduleMode
	MaxConcurrent    int // devices served at once; 0: no limit
	CapacityCalendar []CapacityRule
	LeadTime         time.Duration // no start may be changed, or set, earlier than this from now: devices ask for their schedule seldom
	Slot             time.Duration // starts that are proposed are multiples of it, counted from 1970 UTC
	MaxMove          time.Duration // the farthest that a start may be moved; 0: no limit
	NotifyMinExcess  int           // devices; overloads that stay below are not reported
	TimeZone         string        // IANA
	Services         []string      // nil: not known, and taken to have ServiceDelivery
}

// CapacityRule is another limit in a part of the days on which an RRULE falls. Where rules overlap the smallest limit holds.
type CapacityRule struct {
	RRule         string // RFC 5545; its days count, not its times
	Start, End    string // "08:00" to "18:00", local; an end that is not after the start is on the next day
	TimeZone      string // IANA
	MaxConcurrent int
}

// LocalSchedule is when something is planned: an instant, or a local time in a zone, which is then what counts.
type LocalSchedule struct {
	Local    string    // "2026-12-02T02:00:00"
	TimeZone string    // IANA
	Gap      string    // of a local time that the clock skips: next, skip or shift; "" is next
	Fold     string    // of a local time that the clock shows twice: first, second or both; "" is first
	RRule    string    // RFC 5545: the first occurrence is at Local
	Start    time.Time // zero if only Local says it
}

// Interval is the time from From up to, but without, To.
type Interval struct{ From, To time.Time }

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryPlanned   DeliveryState = "planned"
	DeliveryRunning   DeliveryState = "running"
	DeliveryDone      DeliveryState = "done"
	DeliveryFailed    DeliveryState = "failed"
	DeliveryCancelled DeliveryState = "cancelled"
)

// DurationBasis is what an estimate of a duration stands on.
type DurationBasis string

// The bases of an estimate.
const (
	DurationHistory DurationBasis = "history" // what like deliveries took
	DurationSize    DurationBasis = "size"    // bytes over a rate
	DurationAssumed DurationBasis = "assumed" // nothing
)

// DurationEstimate is how long a delivery is expected to hold its slot. Both quantiles zero: unknown.
type DurationEstimate struct {
	P50, P95 time.Duration
	Basis    DurationBasis
	Samples  int
}

// Retry is what a device does after a failed delivery: it comes again, which is load too.
type Retry struct {
	Interval time.Duration
	Max      int
}

// Delivery is one planned software distribution to one device.
type Delivery struct {
	ID             string
	Device         DeviceID
	Via            string // the inner gateway that the device comes through; empty: none
	Batch          string // deliveries that were planned together
	Kind           string // firmware, application, licence, settings
	Model          string
	Package        string
	PackageVersion string
	State          DeliveryState
	Version        string // the entity tag without its quotes; a change names the one that it has seen
	Schedule       LocalSchedule
	EarliestStart  time.Time // of the window; zero: none
	LatestEnd      time.Time // of the window; zero: none
	Blackouts      []Interval
	Duration       DurationEstimate
	Bytes          int64
	Priority       int // 0 to 9; higher is more urgent
	Movable        bool
	PinnedReason   string
	Retry          Retry
}

// Background is traffic of another service through the relay. It is not moved.
type Background struct {
	ID          string // of the service
	Kind        string // meterRead, logUpload, backup, telemetry
	Cron, RRule string // one of them, or neither: once, at Schedule's time
	Schedule    LocalSchedule
	Devices     []DeviceID // which devices come
	AllDevices  bool       // all whose mode is proxy
	Concurrency int        // how many devices at once, where it is not said which
	Duration    time.Duration
	Jitter      time.Duration // devices start up to this later
}

// ScheduledDevice is what a plan needs of a device.
type ScheduledDevice struct {
	ID             DeviceID
	Model          string
	MonitoringMode MonitoringMode
	Attachment     Attachment // "" is network
}

// Served reports whether the device's deliveries pass the gateway: it comes through the relay, or the gateway fetches them for it.
func (d ScheduledDevice) Served() bool {
	return d.MonitoringMode == MonitoringProxy || d.Attachment == AttachmentUSB
}

// ScheduleSnapshot is all that a plan is a function of.
type ScheduleSnapshot struct {
	Now        time.Time
	Horizon    time.Duration // 0: 35 days, or to the end of the last window if that is later
	Contract   Contract
	Capacity   []CapacityStep // the relay's own, where it is known: the smaller of both holds
	DeltaToken string
	Devices    []ScheduledDevice // nil: every delivery's device counts, in mode proxy
	Deliveries []Delivery
	Background []Background
	// Proposed are the starts of the proposal before, by delivery: they are dearer to change than to keep.
	Proposed map[string]time.Time
}

// CapacityStep says how many devices are served at once from At until the next step.
type CapacityStep struct {
	At      time.Time
	Devices int
}
