package mfpgate

import "time"

// DeviceID names one physical device for as long as the gateway knows it: "dev_" and a ULID. It is opaque and never reused.
type DeviceID string

// Attachment says how a device is connected to the site.
type Attachment string

// The attachments that exist.
const (
	AttachmentNetwork Attachment = "network"
	AttachmentUSB     Attachment = "usb"
)

// MonitoringMode says who brings a device's data to its cloud.
type MonitoringMode string

// In mode proxy the device reaches its cloud through the relay; in mode polling the gateway polls it and reports for it.
const (
	MonitoringProxy   MonitoringMode = "proxy"
	MonitoringPolling MonitoringMode = "polling"
)

// DeviceState is what the gateway can truthfully say of a device now.
type DeviceState string

// A device is online while the relay has heard of it lately, known when only the configuration names it, and unknown
// when it came to the relay and no configuration names it.
const (
	DeviceOnline  DeviceState = "online"
	DeviceOffline DeviceState = "offline"
	DeviceKnown   DeviceState = "known"
	DeviceUnknown DeviceState = "unknown"
)

// Device is one physical MFP or printer, however many addresses or protocols it shows. Its JSON form is the API's.
type Device struct {
	ID             DeviceID       `json:"deviceId"`
	Name           string         `json:"name"`
	Make           string         `json:"make"`
	Model          string         `json:"model"`
	Serial         string         `json:"serial"`
	Attachment     Attachment     `json:"attachment"`
	Address        string         `json:"address"`
	State          DeviceState    `json:"state"`
	Reason         Reason         `json:"reason"`
	Since          time.Time      `json:"since"`
	MonitoringMode MonitoringMode `json:"monitoringMode"`
	Market         string         `json:"market"`
	Home           string         `json:"home"`
	Firmware       string         `json:"firmware"`
	Location       string         `json:"location"` // where it says it stands
	// LastSeen is when anything last showed that it lives: an answer, an announcement, a connection to the relay. To the second.
	LastSeen time.Time `json:"lastSeen,omitzero"`
	USB      *USBPort  `json:"usb,omitempty"` // how it is plugged into the gateway; nil: it is not
}
