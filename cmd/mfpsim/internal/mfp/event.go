package mfp

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kind says what happened.
type Kind string

// What a device tells of itself.
const (
	CheckedIn    Kind = "checked-in"  // the first time, and after trouble or an installation
	Offered      Kind = "offered"     // the cloud wants a package installed
	Planned      Kind = "planned"     // the cloud wants one installed at a time to come
	Begun        Kind = "begun"       // the time has come
	TurnedAway   Kind = "turned-away" // the relay had no room at that time: the delivery has failed
	Waiting      Kind = "waiting"     // refused for now
	Unreachable  Kind = "unreachable" // no answer
	Downloading  Kind = "downloading" // bytes begin to arrive
	Interrupted  Kind = "interrupted" // in mid-download
	Downloaded   Kind = "downloaded"
	Rejected     Kind = "rejected" // bytes that are not the package
	Installed    Kind = "installed"
	Reported     Kind = "reported"
	ReportLost   Kind = "report-refused"
	PushOpened   Kind = "push-opened"
	PushClosed   Kind = "push-closed"
	StateTrouble Kind = "state-not-kept"
)

// Event is one thing that happened to a device.
type Event struct {
	Time    time.Time `json:"time"`
	Device  string    `json:"device"`
	Kind    Kind      `json:"event"`
	Text    string    `json:"text"`
	Status  int       `json:"status,omitempty"`
	RetryMS int64     `json:"retryMs,omitempty"`
	Package string    `json:"packageId,omitempty"`
	Plan    string    `json:"deliveryId,omitempty"`
	StartAt string    `json:"startUtc,omitempty"`
	Version string    `json:"version,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	Offset  int64     `json:"offset,omitempty"`
	Channel string    `json:"channel,omitempty"` // push or work

	Registration string `json:"registrationId,omitempty"` // of the device's own
}

// Printer writes events of many devices to one writer: a sentence each, or JSON lines.
func Printer(w io.Writer, asJSON bool) func(Event) {
	var mu sync.Mutex
	out := json.NewEncoder(w)
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		// A reader that has gone takes nothing from the device; the process ends by its own signal.
		if asJSON {
			_ = out.Encode(e)
		} else {
			_, _ = fmt.Fprintf(w, "%s: %s\n", e.Device, e.Text)
		}
	}
}
