package control

import (
	"context"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Gateway is what the running daemon can be asked and told. Calls answer from memory unless they say otherwise.
type Gateway interface {
	Status(context.Context) Status
	Devices(context.Context) []mfpgate.Device
	Slots(context.Context) []Slot
	Tunnels(context.Context) []Tunnel
	Refusals(context.Context) []Refusal
	History(context.Context) []Sample
	// Readings are the devices' last readings, merged by part; a device that was never read has none.
	Readings(context.Context) map[mfpgate.DeviceID]mfpgate.Reading
	// Device is everything about one device, or ErrNoDevice. Its alerts come from the store: ask for one device at a time.
	Device(ctx context.Context, id mfpgate.DeviceID) (DeviceDetail, error)
	// PinDevices says that others are keep too; it is durable when the call returns. ErrNoDevice, ErrDevice.
	PinDevices(ctx context.Context, keep mfpgate.DeviceID, others []mfpgate.DeviceID) error
	// SplitDevice says that a sighting of id is another device's, and returns that one. ErrNoDevice, ErrDevice.
	SplitDevice(ctx context.Context, id mfpgate.DeviceID, sighting mfpgate.SightingID) (mfpgate.DeviceID, error)
	// RenameDevice gives a device a name, or with "" its own name back. ErrNoDevice, ErrDevice.
	RenameDevice(ctx context.Context, id mfpgate.DeviceID, name string) error
	// ForgetDevice forgets a device until it is seen again. ErrNoDevice; ErrDevice for one that the configuration names.
	ForgetDevice(ctx context.Context, id mfpgate.DeviceID) error
	// ScanDevices has every source asked now, and answers at once with what is under way.
	ScanDevices(ctx context.Context) (Scan, error)

	Users
	Schedules
	Registrations
	Moves
	Audits
}

// Status is the gateway in one look.
type Status struct {
	Version   string        `json:"version"`
	Site      Site          `json:"site"`
	StartedAt time.Time     `json:"startedAt"`
	Ready     bool          `json:"ready"`
	Degraded  []Degradation `json:"degraded" nullable:"false" doc:"What does not work as it should, the newest first"`
	Off       []string      `json:"off" nullable:"false" doc:"Features that the configuration leaves off, by key"`
	Relay     Relay         `json:"relay"`
	Store     Store         `json:"store"`
	Config    Config        `json:"config"`
}

// Site is where the gateway stands.
type Site struct {
	Name     string `json:"name"`
	Region   string `json:"region"`
	Location string `json:"location"`
	TimeZone string `json:"timeZone"`
}

// Degradation is one thing that is wrong now.
type Degradation struct {
	Reason mfpgate.Reason `json:"reason"`
	Text   string         `json:"text" doc:"What is wrong and what to do"`
	Since  time.Time      `json:"since"`
}

// Relay is the relay's load.
type Relay struct {
	Listen           []string  `json:"listen" nullable:"false"`
	Capacity         int       `json:"capacity" doc:"Devices that may be served at once now"`
	CapacityUntil    time.Time `json:"capacityUntil,omitzero" doc:"When the calendar may change the capacity"`
	Served           int       `json:"served" doc:"Devices that hold a slot"`
	Queued           int       `json:"queued" doc:"Devices that wait for one"`
	Tunnels          int       `json:"tunnels"`
	Connections      int       `json:"connections"`
	ConnectionsLimit int       `json:"connectionsLimit" doc:"From the limit of open files"`
	Draining         bool      `json:"draining"`
}

// Store is the state of the durable facts.
type Store struct {
	FreeBytes int64  `json:"freeBytes"`
	Recovered string `json:"recovered" doc:"Where a damaged store was set aside at start; empty if none was"`
}

// Config is the configuration in force.
type Config struct {
	File      string    `json:"file"`
	LoadedAt  time.Time `json:"loadedAt"`
	LastError string    `json:"lastError" doc:"Why the latest reload changed nothing; empty if it was good"`
}

// Slot is one device that is served, waits, or has connections that rest.
type Slot struct {
	Device      mfpgate.DeviceID `json:"deviceId"`
	Name        string           `json:"name"`
	State       string           `json:"state" enum:"held,queued,idle,away"`
	Connections int              `json:"connections"`
	Position    int              `json:"position" doc:"In the queue, from 1; 0 outside it"`
	Since       time.Time        `json:"since,omitzero" doc:"When the wait began"`
}

// Tunnel is one open tunnel.
type Tunnel struct {
	Device      mfpgate.DeviceID `json:"deviceId"`
	Name        string           `json:"name"`
	Client      string           `json:"client"`
	Destination string           `json:"destination"`
	Forwarded   string           `json:"forwarded,omitempty" doc:"Where the tunnel goes in place of its destination, because the device's region was changed; missing: to its destination"`
	Rule        string           `json:"rule"`
	Seconds     float64          `json:"seconds" doc:"Since it was opened"`
	Quiet       float64          `json:"quietSeconds" doc:"Since a byte moved"`
	BytesUp     int64            `json:"bytesUp"`
	BytesDown   int64            `json:"bytesDown"`
	Spliced     int64            `json:"spliced" doc:"Of both, the bytes that stayed in the kernel"`
}

// Refusal is one request or tunnel that the relay refused.
type Refusal struct {
	Time        time.Time        `json:"time"`
	Device      mfpgate.DeviceID `json:"deviceId"`
	Name        string           `json:"name"`
	Client      string           `json:"client"`
	Destination string           `json:"destination"`
	Reason      mfpgate.Reason   `json:"reason"`
}

// Sample is the relay's load at one time of the last hour.
type Sample struct {
	Time     time.Time `json:"time"`
	Served   int       `json:"served"`
	Queued   int       `json:"queued"`
	Capacity int       `json:"capacity"`
}
