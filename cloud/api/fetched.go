package api

import (
	"time"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// OutcomeDone is the end of a delivery that a gateway made: the device took the whole package. Whether it has installed it, its next
// check-in shows.
const OutcomeDone = "done"

// DeviceCheckIn is what a gateway says of a device on USB when it asks for the device's work.
type DeviceCheckIn struct {
	Firmware string `json:"firmware,omitempty" maxLength:"128" doc:"What the device says that it runs, if it says"`
	State    string `json:"state" enum:"idle,busy,stopped" doc:"stopped if it is not there"`
}

// DeviceReport is what a gateway says of a delivery to a device on USB.
type DeviceReport struct {
	DeliveryID string `json:"deliveryId" maxLength:"64" minLength:"1"`
	PackageID  string `json:"packageId" maxLength:"128" minLength:"1"`
	Outcome    string `json:"outcome" enum:"started,done,failed"`
	Reason     string `json:"reason,omitempty" maxLength:"64" doc:"Of a failure: one stable word, such as not-deliverable"`
	Detail     string `json:"detail,omitempty" maxLength:"512" doc:"For people"`
	Final      bool   `json:"final,omitempty" doc:"Of a failure: only a person may have it tried again"`
	Firmware   string `json:"firmware,omitempty" maxLength:"128" doc:"What the device says that it runs now, if it says"`
	SHA256     string `json:"sha256,omitempty" pattern:"^[0-9a-f]{64}$" doc:"Of the bytes that the gateway fetched; required of done"`
	Size       int64  `json:"size,omitempty" minimum:"0" doc:"Bytes that the device took"`
}

// StoredDeviceReport is such a report as the cloud keeps it.
type StoredDeviceReport struct {
	ReportID   string    `json:"reportId"`
	ReceivedAt time.Time `json:"receivedAt"`
	DeviceReport
}

// MaxDeviceReports is how many reports of a device on USB the cloud keeps, the latest.
const MaxDeviceReports = 8

// FromDeliveryReport is the wire form of a report. A detail that is longer than the schema takes is clipped.
func FromDeliveryReport(r mfpgate.DeliveryReport) DeviceReport {
	out := DeviceReport{DeliveryID: r.Delivery, PackageID: r.Package, Reason: text(string(r.Reason), maxWord), Detail: text(r.Detail, maxFreeText),
		Final: r.Final, Firmware: text(r.Firmware, maxFirmware), SHA256: r.SHA256, Size: r.Size}
	switch r.State {
	case mfpgate.DeliveryRunning:
		out.Outcome = OutcomeStarted
	case mfpgate.DeliveryDone:
		out.Outcome = OutcomeDone
	default:
		out.Outcome = OutcomeFailed
	}
	return out
}

// Root is the order in the root's terms.
func (d PlannedDelivery) Root() mfpgate.DeliveryOrder {
	p := d.Package
	out := mfpgate.DeliveryOrder{Delivery: d.DeliveryID, Version: string(d.Version), Start: d.StartUTC.UTC(), Running: d.State == string(mfpgate.DeliveryRunning),
		Package: mfpgate.Package{ID: p.PackageID, Model: p.Model, Version: p.Version, Size: p.Size, SHA256: p.SHA256}}
	if d.LatestEnd != nil {
		out.LatestEnd = d.LatestEnd.UTC()
	}
	return out
}

// Check returns every rule that the order breaks, as Faults, or nil.
func (d PlannedDelivery) Check() error {
	return checked(d, nil, func(c *checker, p *place, d PlannedDelivery) {
		for _, f := range []struct {
			name, text string
			longest    int
		}{{"deliveryId", d.DeliveryID, maxWord}, {"packageId", d.Package.PackageID, maxFirmware}} {
			if f.text == "" || utf8.RuneCountInString(f.text) > f.longest {
				c.add(p.field(f.name), "has %d characters; write 1 to %d", utf8.RuneCountInString(f.text), f.longest)
			}
		}
		if utf8.RuneCountInString(string(d.Version)) > maxWord {
			c.add(p.field("version"), "has more than %d characters", maxWord)
		}
		if !digest(d.Package.SHA256) {
			c.add(p.field("package").field("sha256"), "is not 64 hexadecimal digits in lower case")
		}
		if d.Package.Size <= 0 {
			c.add(p.field("package").field("size"), "is %d bytes; a package has at least one", d.Package.Size)
		}
		if y := d.StartUTC.Year(); y < 2000 || y > 2099 {
			c.add(p.field("startUtc"), "must be a date from 2000 to 2099")
		}
	})
}

// ClipFirmware shortens what a device says of its firmware to what the schema takes.
func ClipFirmware(said string) string { return text(said, maxFirmware) }

func digest(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'f') {
			return false
		}
	}
	return len(s) == 64
}
