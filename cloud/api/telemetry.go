package api

import "time"

// What one batch may hold. The server refuses more with 413 or 422; a client splits before it sends.
const (
	MaxBatchItems = 200
	MaxBatchBytes = 1 << 20 // of the encoded document
)

// Accepted is the answer to a batch.
type Accepted struct {
	Stream   string `json:"stream"`
	Accepted uint64 `json:"accepted" doc:"The last sequence of the stream that is stored; all up to it need not be sent again"`
}

// TelemetryBatch brings readings of a gateway's devices. A stream is one numbering of items, from 1 upwards; a gateway that has
// lost its place begins another. An item is stored once however often it comes: what is at or below the stream's last sequence
// is skipped. Numbers may be missing (the oldest were dropped before they could be sent), but never go back.
type TelemetryBatch struct {
	Stream string          `json:"stream" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
	Items  []TelemetryItem `json:"items" minItems:"1" maxItems:"200" nullable:"false" doc:"By rising sequence"`
}

// TelemetryItem is one reading of one device. The device need not have been told of yet.
type TelemetryItem struct {
	Sequence uint64  `json:"sequence" minimum:"1" maximum:"9007199254740991"` // what every JSON reader keeps exactly (RFC 7493)
	DeviceID string  `json:"deviceId" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
	Reading  Reading `json:"reading"`
}

// AlertBatch brings begins and ends of conditions, under the rules of TelemetryBatch. Its streams are counted apart.
type AlertBatch struct {
	Stream string      `json:"stream" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
	Items  []AlertItem `json:"items" minItems:"1" maxItems:"200" nullable:"false" doc:"By rising sequence"`
}

// AlertItem is one alert.
type AlertItem struct {
	Sequence uint64 `json:"sequence" minimum:"1" maximum:"9007199254740991"`
	Alert    Alert  `json:"alert"`
}

// Reading is what a device said of itself at one time. A part that is missing was not asked for, or not answered.
//
// The limits are chosen so that the largest reading fits into one record of the server's store.
type Reading struct {
	At       time.Time `json:"at"`
	Status   *Status   `json:"status,omitempty"`
	Supplies []Supply  `json:"supplies,omitempty" maxItems:"40"`
	Counters []Counter `json:"counters,omitempty" maxItems:"32"`
	Firmware string    `json:"firmware,omitempty" maxLength:"128"`
}

// Status is a device's state and what keeps it from its work.
type Status struct {
	State   string   `json:"state" enum:"idle,processing,stopped,unknown"`
	Reasons []string `json:"reasons,omitempty" maxItems:"32" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$" doc:"Keywords of printer-state-reasons (RFC 8011) with their suffix, without none"`
	Message string   `json:"message,omitempty" maxLength:"512" doc:"The device's own words"`
}

// Supply is one consumable, or a receptacle that fills up. Level and max may be -1 (other), -2 (unknown) or -3 (some).
type Supply struct {
	Index    string `json:"index" maxLength:"32"`
	Name     string `json:"name" maxLength:"128"`
	Type     string `json:"type" pattern:"^[A-Za-z0-9._-]{0,64}$"`
	Color    string `json:"color,omitempty" pattern:"^[A-Za-z0-9#._-]{0,64}$" doc:"A colorant's name, or #RRGGBB"`
	Receives bool   `json:"receives" doc:"A receptacle: full is bad"`
	Unit     string `json:"unit,omitempty" pattern:"^[A-Za-z0-9._-]{0,32}$"`
	Level    int64  `json:"level" minimum:"-3"`
	Max      int64  `json:"max" minimum:"-3"`
}

// Counter is a total over the device's life, as it says it.
type Counter struct {
	Name  string `json:"name" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"`
	Value int64  `json:"value" minimum:"0"`
}

// Alert is the begin or the end of a condition of a device, or an event that has no end.
type Alert struct {
	AlertID  string    `json:"alertId" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
	DeviceID string    `json:"deviceId" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
	At       time.Time `json:"at"`
	Code     string    `json:"code" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"`
	Severity string    `json:"severity" enum:"error,warning,report"`
	Cleared  bool      `json:"cleared" doc:"The condition of this device and code has ended"`
	Text     string    `json:"text,omitempty" maxLength:"512"`
}

// Opens reports whether the alert begins a condition that is open until an alert of the same device and code is cleared.
// What happens at one moment, and cannot end, never opens one.
func (a Alert) Opens() bool {
	return !a.Cleared && a.Code != "counter-reset" && a.Code != "device-replaced"
}

// StoredAlert is an alert as the cloud keeps it.
type StoredAlert struct {
	ReceivedAt time.Time `json:"receivedAt"`
	Alert
}

// DeviceReading is the last that a device said of itself, part by part, each of its own time.
type DeviceReading struct {
	DeviceID       string            `json:"deviceId"`
	LastSeen       *time.Time        `json:"lastSeen,omitempty" doc:"When the gateway last heard of the device"`
	Status         *StatusPart       `json:"status,omitempty"`
	Supplies       *SuppliesPart     `json:"supplies,omitempty"`
	Counters       *CountersPart     `json:"counters,omitempty"`
	Firmware       *FirmwarePart     `json:"firmware,omitempty"`
	CounterHistory []CounterSnapshot `json:"counterHistory,omitempty" doc:"Each change of the counters, the oldest first; bounded, the oldest are dropped"`
}

// StatusPart is the last status.
type StatusPart struct {
	At time.Time `json:"at"`
	Status
}

// SuppliesPart is the last list of supplies.
type SuppliesPart struct {
	At    time.Time `json:"at"`
	Items []Supply  `json:"items"`
}

// CountersPart is the last list of counters.
type CountersPart struct {
	At    time.Time `json:"at"`
	Items []Counter `json:"items"`
}

// FirmwarePart is the version that the device last named.
type FirmwarePart struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
}

// CounterSnapshot is what the counters said at one time, by name.
type CounterSnapshot struct {
	At     time.Time        `json:"at"`
	Values map[string]int64 `json:"values"`
}
