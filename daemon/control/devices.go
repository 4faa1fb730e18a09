package control

import (
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
)

var (
	// ErrNoDevice is returned for an id that names no device: it was forgotten, or is one with another now.
	ErrNoDevice = errors.New("no such device")
	// ErrDevice is returned for a change that a device's facts forbid; its text says which and what to do instead.
	ErrDevice = errors.New("not changed")
)

// DeviceDetail is everything that the gateway knows of one device.
type DeviceDetail struct {
	mfpgate.Device
	NameGiven string           `json:"nameGiven" doc:"By the administrator; empty if the name is the device's own"`
	Identity  mfpgate.Identity `json:"identity"`
	Conflict  string           `json:"conflict" doc:"Who else has it, and what to do; empty if nobody does"`
	Sightings []SightingDetail `json:"sightings" nullable:"false" doc:"What each source shows of it"`
	Reading   *mfpgate.Reading `json:"reading,omitempty" doc:"What is known last of each part; absent if it was never read"`
	ReadAt    ReadTimes        `json:"readAt"`
	Alerts    []mfpgate.Alert  `json:"alerts" nullable:"false" doc:"The latest, the newest first"`
}

// SightingDetail is what one source shows of a device.
type SightingDetail struct {
	mfpgate.Sighting
	Pinned bool `json:"pinned" doc:"An administrator said that it is this device's"`
}

// ReadTimes say when each part of a reading was read; a part that never was has no time.
type ReadTimes struct {
	Status   time.Time `json:"status,omitzero"`
	Supplies time.Time `json:"supplies,omitzero"`
	Counters time.Time `json:"counters,omitzero"`
}

// Scan is a search for devices that is under way.
type Scan struct {
	Sources   []string `json:"sources" nullable:"false" doc:"Which are asked"`
	Addresses int      `json:"addresses" doc:"To be asked over SNMP"`
	Text      string   `json:"text" doc:"What happens now, and when to look again"`
}
