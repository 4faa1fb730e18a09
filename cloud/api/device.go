package api

import (
	"time"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// Device is what a gateway tells its cloud of one device. The device's address stays at the site.
type Device struct {
	DeviceID       string     `json:"deviceId" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
	Name           string     `json:"name,omitempty" maxLength:"256"`
	Make           string     `json:"make,omitempty" maxLength:"256"`
	Model          string     `json:"model" maxLength:"256"`
	Serial         string     `json:"serial" maxLength:"256"`
	UUID           string     `json:"uuid,omitempty" maxLength:"64" doc:"printer-uuid (PWG 5100.13), with or without urn:uuid:"`
	Attachment     string     `json:"attachment,omitempty" enum:"network,usb"`
	State          string     `json:"state,omitempty" maxLength:"64"`
	Reason         string     `json:"reason,omitempty" maxLength:"64"`
	Since          *time.Time `json:"since,omitempty" doc:"When state began"`
	LastSeen       *time.Time `json:"lastSeen,omitempty" doc:"When anything last showed the gateway that it lives"`
	MonitoringMode string     `json:"monitoringMode" enum:"proxy,polling"`
	Market         string     `json:"market,omitempty" pattern:"^[a-z]{2}$" doc:"ISO 3166-1 alpha-2"`
	Home           string     `json:"home,omitempty" pattern:"^[a-z]{2}$" doc:"ISO 3166-1 alpha-2"`
	Firmware       string     `json:"firmware,omitempty" maxLength:"128"`
	Location       string     `json:"location,omitempty" maxLength:"256" doc:"Where it says it stands"`
	SiteID         string     `json:"siteId,omitempty" maxLength:"256"`
	TimeZone       string     `json:"timeZone,omitempty" maxLength:"64" doc:"IANA name"`
}

// DeviceEntry is a device in a list, with the entity tag that a change of it needs in If-Match.
type DeviceEntry struct {
	Device
	ETag string `json:"etag"`
}

// Page is one page of a list. NextCursor is empty on the last one; it is opaque and lives as long as the list.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"nextCursor,omitempty"`
}

// FromDevice is the wire form of a root device at a site, with its printer-uuid. Devices say what they like of themselves:
// a text that is longer than the schema takes is clipped, so that a PUT is never refused for it. A UUID that is too long is left
// out, as half of one could be another device's.
func FromDevice(d mfpgate.Device, uuid, siteID, timeZone string) Device {
	if utf8.RuneCountInString(uuid) > maxUUID {
		uuid = ""
	}
	return Device{
		DeviceID: string(d.ID), Name: text(d.Name, maxText), Make: text(d.Make, maxText), Model: text(d.Model, maxText), Serial: text(d.Serial, maxText),
		UUID: uuid, Attachment: string(d.Attachment), State: text(string(d.State), maxWord), Reason: text(string(d.Reason), maxWord),
		Since: instant(d.Since), LastSeen: instant(d.LastSeen), MonitoringMode: string(d.MonitoringMode), Market: d.Market, Home: d.Home,
		Firmware: text(d.Firmware, maxFirmware), Location: text(d.Location, maxText), SiteID: text(siteID, maxText), TimeZone: timeZone,
	}
}

// The lengths in Device's tags that no reading has, in characters.
const maxText, maxWord, maxUUID = 256, 64, 64

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Root is the device in the root's terms. The address is empty: the wire does not carry it.
func (d Device) Root() mfpgate.Device {
	out := mfpgate.Device{
		ID: mfpgate.DeviceID(d.DeviceID), Name: d.Name, Make: d.Make, Model: d.Model, Serial: d.Serial,
		Attachment: mfpgate.Attachment(d.Attachment), State: mfpgate.DeviceState(d.State), Reason: mfpgate.Reason(d.Reason),
		MonitoringMode: mfpgate.MonitoringMode(d.MonitoringMode), Market: d.Market, Home: d.Home, Firmware: d.Firmware, Location: d.Location,
	}
	if d.Since != nil {
		out.Since = *d.Since
	}
	if d.LastSeen != nil {
		out.LastSeen = *d.LastSeen
	}
	return out
}
