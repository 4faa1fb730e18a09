package api

import "time"

// Package is one version of a device's software. It never changes: other bytes are another package.
type Package struct {
	PackageID string    `json:"packageId"`
	Model     string    `json:"model"`
	Version   string    `json:"version"`
	Size      int64     `json:"size" doc:"Bytes"`
	SHA256    string    `json:"sha256" pattern:"^[0-9a-f]{64}$"`
	CreatedAt time.Time `json:"createdAt"`
}

// ContentPath is where the bytes of a package are, below the cloud's base URL.
func (p Package) ContentPath() string { return "/v1/packages/" + p.PackageID + "/content" }

// CheckIn is what a device says of itself when it asks its cloud for work.
type CheckIn struct {
	Model    string `json:"model" maxLength:"128" minLength:"1"`
	Serial   string `json:"serial" maxLength:"128"`
	Name     string `json:"name,omitempty" maxLength:"256"`
	Firmware string `json:"firmware" maxLength:"128" minLength:"1"`
	State    string `json:"state" enum:"idle,busy,stopped"`
}

// CheckInAnswer is the cloud's order: a package to install, or nothing, and when to ask again.
type CheckInAnswer struct {
	Package      *Package         `json:"package,omitempty" doc:"To install at once. Of a delivery too, once its start has come, for devices that know nothing of deliveries"`
	Delivery     *PlannedDelivery `json:"delivery,omitempty" doc:"What the device is to do, and when. It outranks package"`
	PollInterval Duration         `json:"pollInterval" format:"duration"`
}

// PlannedDelivery tells a device of its delivery. It fetches the package at startUtc, and asks nobody before it does.
type PlannedDelivery struct {
	DeliveryID string     `json:"deliveryId"`
	Version    Version    `json:"version"`
	StartUTC   time.Time  `json:"startUtc"`
	LatestEnd  *time.Time `json:"latestEnd,omitempty" doc:"Who has not begun by then does not begin"`
	Package    Package    `json:"package"`
	State      string     `json:"state,omitempty" enum:"planned,running" doc:"running: the region was told before that it has begun; planned if missing"`
}

// The outcomes that a device reports. OutcomeStarted, which needs a delivery's id, comes before one of the others.
const (
	OutcomeStarted   = "started"
	OutcomeInstalled = "installed"
	OutcomeFailed    = "failed"
)

// InstallReport says what became of a package on a device.
type InstallReport struct {
	PackageID  string `json:"packageId" maxLength:"128" minLength:"1"`
	DeliveryID string `json:"deliveryId,omitempty" maxLength:"64" doc:"The delivery that this was, if the device was told of one"`
	Outcome    string `json:"outcome" enum:"started,installed,failed"`
	Reason     string `json:"reason,omitempty" maxLength:"64" doc:"Of a failure: one stable word, such as digest-mismatch"`
	Version    string `json:"version" maxLength:"128" doc:"What the device runs now"`
	SHA256     string `json:"sha256,omitempty" pattern:"^[0-9a-f]{64}$" doc:"Of the bytes that the device received"`
	Size       int64  `json:"size" minimum:"0" doc:"Bytes that the device received"`
}

// StoredReport is a report as the cloud keeps it.
type StoredReport struct {
	ReportID   string    `json:"reportId"`
	DeviceID   string    `json:"deviceId"`
	ReceivedAt time.Time `json:"receivedAt"`
	InstallReport
}

// MFP is what the cloud knows of a device from the device itself.
type MFP struct {
	DeviceID       string    `json:"deviceId"`
	Model          string    `json:"model"`
	Serial         string    `json:"serial"`
	Name           string    `json:"name,omitempty"`
	Firmware       string    `json:"firmware"`
	State          string    `json:"state"`
	CheckedInAt    time.Time `json:"checkedInAt"`
	FailedPackage  string    `json:"failedPackageId,omitempty" doc:"The package whose installation failed last"`
	FailedAttempts int       `json:"failedAttempts,omitempty" doc:"How often; after three attempts the package is offered no more"`
}

// The events of a push channel (text/event-stream).
const (
	PushOffer = "offer" // data: a Package that waits for the device; check in to get it
	PushBye   = "bye"   // data: {}; the server ends, connect again
)
