package api

import "time"

// Band is a piece of time in which planned devices exceed capacity.
type Band struct {
	BandID              string        `json:"bandId" maxLength:"64"`
	From                time.Time     `json:"from"`
	To                  time.Time     `json:"to"`
	Capacity            int           `json:"capacity"`
	Peak                int           `json:"peak"`
	PeakAt              time.Time     `json:"peakAt"`
	ExcessDeviceSeconds float64       `json:"excessDeviceSeconds"`
	Certainty           string        `json:"certainty" enum:"certain,risk"`
	Probability         float64       `json:"probability" minimum:"0" maximum:"1"`
	Contributors        []Contributor `json:"contributors"`
	MustMove            int           `json:"mustMove" doc:"Deliveries of which at least this many must leave"`
	Certificate         *Certificate  `json:"certificate,omitempty"`
	Text                string        `json:"text"`
}

// Contributor is a part of a band's load.
type Contributor struct {
	Type      string `json:"type" enum:"delivery,background"`
	BatchID   string `json:"batchId,omitempty" maxLength:"64"`
	ServiceID string `json:"serviceId,omitempty" maxLength:"64"`
	Count     int    `json:"count" doc:"Devices in the band"`
	PeakShare int    `json:"peakShare" doc:"Devices at the peak"`
}

// Certificate proves that deliveries must remain.
type Certificate struct {
	From              time.Time `json:"from"`
	To                time.Time `json:"to"`
	NeedDeviceSeconds float64   `json:"needDeviceSeconds"`
	HaveDeviceSeconds float64   `json:"haveDeviceSeconds"`
	AtLeastUnresolved int       `json:"atLeastUnresolved"`
	Text              string    `json:"text"`
}

// ReportInputs name the versions of all that a report was computed from.
type ReportInputs struct {
	ContractETag   string `json:"contractEtag" maxLength:"256"`
	DeltaToken     string `json:"deltaToken" maxLength:"256"`
	BackgroundETag string `json:"backgroundEtag" maxLength:"256"`
	TZData         string `json:"tzdata" maxLength:"64"`
}

// OverloadReport is what a gateway found. One without bands closes the warnings before it.
type OverloadReport struct {
	ReportID   string       `json:"reportId" maxLength:"64" minLength:"1"`
	ComputedAt time.Time    `json:"computedAt"`
	Horizon    Span         `json:"horizon"`
	Inputs     ReportInputs `json:"inputs"`
	Bands      []Band       `json:"bands" maxItems:"1000"`
	Supersedes string       `json:"supersedes,omitempty" maxLength:"64"`
	// What only the gateway knows. Missing: nothing.
	Capacity   []SnapshotCapacity   `json:"capacity,omitempty" maxItems:"500" doc:"The relay's own, over time: the smaller of it and the contract's holds"`
	Background []BackgroundSchedule `json:"background,omitempty" maxItems:"64" doc:"The site's own, beside the delivery system's"`
}

// The states of a warning.
const (
	WarningOpen         = "open"
	WarningAcknowledged = "acknowledged"
	WarningIgnored      = "ignored"
	WarningClosed       = "closed"
)

// Warning is a reported band as operators see it.
type Warning struct {
	Band
	ReportID     string     `json:"reportId"`
	State        string     `json:"state" enum:"open,acknowledged,ignored,closed"`
	OpenedAt     time.Time  `json:"openedAt"`
	ClosedAt     *time.Time `json:"closedAt,omitempty"`
	IgnoredUntil *time.Time `json:"ignoredUntil,omitempty"`
	By           string     `json:"by,omitempty" doc:"Who acted last"`
}

// WarningAction is what an operator does with a warning.
type WarningAction struct {
	Action string     `json:"action" enum:"acknowledge,ignoreUntil,requestProposal"`
	Until  *time.Time `json:"until,omitempty" doc:"Of ignoreUntil"`
}

// The states of a slot.
const (
	SlotFree = "free"
	SlotFull = "full" // not one device more
	SlotOver = "over"
)

// CapacitySlot is the planned load in one piece of time.
type CapacitySlot struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Load  int       `json:"load" doc:"The most devices at once"`
	Limit int       `json:"limit" doc:"The least capacity"`
	State string    `json:"state" enum:"free,full,over"`
}

// Capacity is the planned load over time.
type Capacity struct {
	Slots []CapacitySlot `json:"slots"`
}
