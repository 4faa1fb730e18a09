package mfpgate

import "time"

// Reading is what a device said of itself at one time. A part that was not asked for, or not answered, is nil.
type Reading struct {
	At       time.Time      `json:"at"`
	Status   *PrinterStatus `json:"status,omitempty"`
	Supplies []Supply       `json:"supplies,omitempty"`
	Counters []Counter      `json:"counters,omitempty"`
	Firmware string         `json:"firmware,omitempty"`
}

// Parts says which parts of a reading are asked for.
type Parts uint8

// The parts. Firmware comes with the counters: both change seldom.
const (
	PartStatus Parts = 1 << iota
	PartSupplies
	PartCounters
)

// Has reports whether all of other is asked for.
func (p Parts) Has(other Parts) bool { return p&other == other }

// PrinterState is what a device does (RFC 8011 §5.4.11, hrPrinterStatus).
type PrinterState string

// The states. A device that does not answer has none: it is offline.
const (
	PrinterIdle       PrinterState = "idle"
	PrinterProcessing PrinterState = "processing"
	PrinterStopped    PrinterState = "stopped"
	PrinterUnknown    PrinterState = "unknown" // it answers, and does not say
)

// PrinterStatus is a device's state and what keeps it from its work.
type PrinterStatus struct {
	State PrinterState `json:"state"`
	// Reasons are keywords of printer-state-reasons (RFC 8011 §5.4.12) with their suffix -error, -warning or -report,
	// sorted, each once; without "none".
	Reasons []string `json:"reasons,omitempty"`
	Message string   `json:"message,omitempty"` // the device's own words: printer-state-message, the console's text
}

// Levels that are no amount (RFC 3805, prtMarkerSuppliesLevel).
const (
	LevelOther   = -1 // no restriction
	LevelUnknown = -2
	LevelSome    = -3 // some remains, the device does not know how much
)

// Supply is one consumable, or a receptacle that fills up.
type Supply struct {
	Index    string `json:"index"` // stable per device: prtMarkerSuppliesIndex, or the place in IPP's list
	Name     string `json:"name"`
	Type     string `json:"type"`            // a keyword of PrtMarkerSuppliesTypeTC: toner, wasteToner, ink, opc, fuser, tonerCartridge…
	Color    string `json:"color,omitempty"` // a colorant name: black, cyan, or #RRGGBB
	Receives bool   `json:"receives"`        // a receptacle: its level is what is in it, and full is bad
	Unit     string `json:"unit,omitempty"`  // percent, impressions, tenthsOfGrams… (PrtMarkerSuppliesSupplyUnitTC)
	Level    int64  `json:"level"`           // of Max, or LevelOther, LevelUnknown, LevelSome
	Max      int64  `json:"max"`             // or LevelOther, LevelUnknown
}

// Percent is the level in per cent of the maximum, 0 to 100; ok is false where the device does not know it.
func (s Supply) Percent() (percent int, ok bool) {
	if s.Level < 0 || s.Max <= 0 {
		return 0, false
	}
	if s.Level >= s.Max {
		return 100, true
	}
	return int(float64(s.Level) * 100 / float64(s.Max)), true
}

// Counter is a total over the device's life, as it says it.
type Counter struct {
	Name  string `json:"name"` // impressions, impressions-color, sheets, pages…: IPP's word without printer- and -completed; SNMP's marker unit
	Value int64  `json:"value"`
}

// AlertSeverity says how bad an alert is (the suffixes of printer-state-reasons).
type AlertSeverity string

// The severities.
const (
	AlertError   AlertSeverity = "error"
	AlertWarning AlertSeverity = "warning"
	AlertReport  AlertSeverity = "report"
)

// Alert is the begin or the end of a condition of a device, or an event that has no end.
type Alert struct {
	ID       string        `json:"alertId"` // "alt_" and a ULID
	Device   DeviceID      `json:"deviceId"`
	At       time.Time     `json:"at"`
	Code     string        `json:"code"` // a keyword: media-jam, offline, counter-reset, device-replaced
	Severity AlertSeverity `json:"severity"`
	Cleared  bool          `json:"cleared"` // the condition has ended
	Text     string        `json:"text,omitempty"`
}
