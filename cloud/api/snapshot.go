package api

import "time"

// Snapshot is all that a plan is a function of.
type Snapshot struct {
	Now        time.Time            `json:"now"`
	Horizon    Duration             `json:"horizon,omitempty" format:"duration" doc:"35 days if missing, or to the end of the last window if that is later"`
	Contract   SnapshotContract     `json:"contract"`
	Devices    []SnapshotDevice     `json:"devices,omitzero" doc:"Missing: the device of every delivery counts, in mode proxy"`
	Deliveries []Delivery           `json:"deliveries"`
	Background []BackgroundSchedule `json:"background,omitempty"`
	DeltaToken string               `json:"deltaToken,omitempty"`
	Proposed   map[string]time.Time `json:"proposed,omitempty" doc:"The starts of the proposal before, by deliveryId: dearer to change than to keep"`
	Capacity   []SnapshotCapacity   `json:"capacity,omitempty" doc:"The relay's own, over time: the smaller of it and the contract's holds"`
}

// SnapshotDevice is what a plan needs of a device.
type SnapshotDevice struct {
	DeviceID       string `json:"deviceId" maxLength:"64" minLength:"1"`
	Model          string `json:"model,omitempty" maxLength:"256"`
	MonitoringMode string `json:"monitoringMode" enum:"proxy,polling"`
	Attachment     string `json:"attachment,omitempty" enum:"network,usb" doc:"network if missing; of a device on USB the gateway fetches the deliveries"`
}

// SnapshotCapacity says how many devices are served at once from at until the next step.
type SnapshotCapacity struct {
	At      time.Time `json:"at"`
	Devices int       `json:"devices" minimum:"0"`
}

// Plan is what a snapshot leads to.
type Plan struct {
	Bands      []Band         `json:"bands" doc:"As planned"`
	Proposal   ChangeProposal `json:"proposal"`
	BandsAfter []Band         `json:"bandsAfter" doc:"With the proposal; what is unresolved keeps its start and counts"`
	LeftOut    []LeftOut      `json:"leftOut" doc:"What the plan does not count, and why"`
}

// LeftOut is a delivery, or a whole device, that a plan does not count.
type LeftOut struct {
	DeliveryID string `json:"deliveryId,omitempty"`
	DeviceID   string `json:"deviceId"`
	Reason     string `json:"reason"`
}
