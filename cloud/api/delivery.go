package api

import "time"

// Schedule is when something is planned. A local time in a zone is what counts; startUtc follows from it.
type Schedule struct {
	Local    string     `json:"local,omitempty" maxLength:"32" doc:"2026-12-02T02:00:00"`
	TimeZone string     `json:"timeZone,omitempty" maxLength:"64" doc:"IANA name"`
	Gap      string     `json:"gap,omitempty" enum:"next,skip,shift" doc:"Of a local time that the clock skips; next if missing"`
	Fold     string     `json:"fold,omitempty" enum:"first,second,both" doc:"Of a local time that the clock shows twice; first if missing"`
	RRule    string     `json:"rrule,omitempty" maxLength:"256" doc:"RFC 5545; the first occurrence is at local"`
	StartUTC *time.Time `json:"startUtc,omitempty"`
}

// Span is a piece of time, half-open.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// StartWindow bounds a delivery: it may not begin before earliestStart nor last beyond latestEnd, nor touch a blackout.
type StartWindow struct {
	EarliestStart *time.Time `json:"earliestStart,omitempty"`
	LatestEnd     *time.Time `json:"latestEnd,omitempty"`
	Blackouts     []Span     `json:"blackouts,omitempty" maxItems:"64"`
}

// Estimate is how long a delivery is expected to hold its slot.
type Estimate struct {
	P50     Duration `json:"p50,omitempty" format:"duration" doc:"Half take no longer"`
	P95     Duration `json:"p95,omitempty" format:"duration" doc:"Of twenty, nineteen take no longer; this is planned with"`
	Basis   string   `json:"basis,omitempty" enum:"history,size,assumed"`
	Samples int      `json:"samples,omitempty" minimum:"0"`
}

// Retry is what a device does after a failure.
type Retry struct {
	Interval Duration `json:"interval" format:"duration"`
	Max      int      `json:"max" minimum:"0" maximum:"100"`
}

// Delivery is one planned software distribution to one device.
type Delivery struct {
	DeliveryID     string       `json:"deliveryId" maxLength:"64" minLength:"1"`
	DeviceID       string       `json:"deviceId" maxLength:"64" minLength:"1"`
	ViaGatewayID   string       `json:"viaGatewayId,omitempty" maxLength:"64" doc:"The inner gateway that the device comes through; missing: none"`
	BatchID        string       `json:"batchId,omitempty" maxLength:"64"`
	Kind           string       `json:"kind,omitempty" enum:"firmware,application,licence,settings"`
	Model          string       `json:"model,omitempty" maxLength:"256"`
	PackageID      string       `json:"packageId,omitempty" maxLength:"128"`
	PackageVersion string       `json:"packageVersion,omitempty" maxLength:"128"`
	State          string       `json:"state,omitempty" enum:"planned,running,done,failed,cancelled" doc:"planned if missing"`
	Reason         string       `json:"reason,omitempty" maxLength:"64" doc:"Of a failure: one stable word"`
	Version        Version      `json:"version,omitempty" doc:"The entity tag without its quotes"`
	Schedule       Schedule     `json:"schedule"`
	Window         *StartWindow `json:"window,omitempty"`
	Duration       *Estimate    `json:"duration,omitempty"`
	Bytes          int64        `json:"bytes,omitempty" minimum:"0"`
	Priority       int          `json:"priority,omitempty" minimum:"0" maximum:"9" doc:"Higher is more urgent"`
	Movable        *bool        `json:"movable,omitempty" doc:"true if missing"`
	PinnedReason   string       `json:"pinnedReason,omitempty" maxLength:"256"`
	Retry          *Retry       `json:"retry,omitempty"`
}

// Deliveries is one page of what has changed of a gateway's deliveries since a delta token.
type Deliveries struct {
	Items      []Delivery `json:"items"`
	Removed    []string   `json:"removed"`
	Whole      bool       `json:"whole" doc:"All deliveries there are: the token was missing, or too old to tell a difference"`
	NextCursor string     `json:"nextCursor,omitempty"`
	DeltaToken string     `json:"deltaToken,omitempty" doc:"On the last page: what the next read gives as since"`
}

// BackgroundSchedule is planned traffic of another service through the gateway.
type BackgroundSchedule struct {
	ServiceID   string         `json:"serviceId" maxLength:"64" minLength:"1"`
	Kind        string         `json:"kind,omitempty" maxLength:"64" doc:"meterRead, logUpload, backup, telemetry"`
	Cron        string         `json:"cron,omitempty" maxLength:"128"`
	RRule       string         `json:"rrule,omitempty" maxLength:"256" doc:"RFC 5545; it begins at local or startUtc"`
	TimeZone    string         `json:"timeZone,omitempty" maxLength:"64" doc:"IANA name; the contract's if missing"`
	Local       string         `json:"local,omitempty" maxLength:"32"`
	StartUTC    *time.Time     `json:"startUtc,omitempty" doc:"Without cron and rrule: once, then"`
	Gap         string         `json:"gap,omitempty" enum:"next,skip,shift"`
	Fold        string         `json:"fold,omitempty" enum:"first,second,both"`
	Devices     DeviceSelector `json:"devices,omitempty" doc:"all, or device ids"`
	Concurrency int            `json:"concurrency,omitempty" minimum:"0" maximum:"100000" doc:"Devices at once, where it is not said which"`
	Duration    Duration       `json:"duration" format:"duration"`
	Jitter      Duration       `json:"jitter,omitempty" format:"duration" doc:"Devices start up to this later"`
	Movable     bool           `json:"movable,omitempty"`
}
