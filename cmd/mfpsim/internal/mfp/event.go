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

	Registered       Kind = "registered"        // with its region
	NoRegion         Kind = "no-region"         // its cloud has nothing that devices register with
	Used             Kind = "used"              // a region's services answered: at first, and whenever it is others or they say another thing
	Stored           Kind = "stored"            // an item of its data was taken
	Moved            Kind = "moved"             // its services say that another region has it
	Blocked          Kind = "blocked"           // the relay keeps it from a region
	Redirected       Kind = "redirected"        // it has stored a directive, and goes by it
	DirectiveRefused Kind = "directive-refused" // it goes by none that it cannot trust
	AckPending       Kind = "ack-pending"       // the server that it has left could not be told
	Tallied          Kind = "tallied"           // what became of its requests, told at the end
)

// Of events of regions.
const (
	channelWork   = "work"
	channelRegion = "region"
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

	Region string `json:"region,omitempty"`
	Epoch  uint64 `json:"epoch,omitempty"` // that the device believes in
	State  string `json:"state,omitempty"` // of its holding
	URL    string `json:"url,omitempty"`   // that it asked
	Item   string `json:"item,omitempty"`  // class/name
	Reason string `json:"reason,omitempty"`

	Counts map[string]int `json:"counts,omitempty"` // of requests, by outcome
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
