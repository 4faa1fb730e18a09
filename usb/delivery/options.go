package delivery

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Options say what surrounds the deliveries. All but Free and the times are required.
type Options struct {
	Clock mfpgate.Clock
	Rand  *rand.Rand // the journal's alone
	Store store.Store
	Dir   string // for packages; it is made, and nothing else may be in it
	Cloud Cloud
	// Devices are those of the gateway, the ones that are away too. What is on USB in mode polling is asked for.
	Devices func() []mfpgate.Device
	// Takes says whether a device that is there takes packages as raw jobs.
	Takes func(mfpgate.Device) bool
	// Slot begins work for a device in the relay.
	Slot func(ctx context.Context, device mfpgate.Device) (Work, error)
	// Print sends a document as one job and returns when that has ended; told may be called meanwhile. A job that did not begin has read
	// nothing of the document.
	Print func(ctx context.Context, device mfpgate.DeviceID, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error)
	Log   telemetry.Logger

	Free  func(dir string) (int64, error) // bytes that may be written; nil: the file system's
	Look  time.Duration                   // how often devices are looked at; 0: 30 s
	Stall time.Duration                   // a download that brings nothing for so long is begun again where it stands; 0: 2 minutes
}

// Cloud is the region that plans deliveries. Errors wrap mfpgate.ErrRefused where the same call would be refused again; any other is
// worth another try. One with a method `Delay() time.Duration` names the earliest time of it.
type Cloud interface {
	// CheckIn asks for a device's work: an order or nil, and when to ask again.
	CheckIn(ctx context.Context, device mfpgate.DeviceID, firmware string, there bool, key string) (order *mfpgate.DeliveryOrder, again time.Duration, err error)
	// Delivered tells what became of a delivery, once for each key.
	Delivered(ctx context.Context, device mfpgate.DeviceID, report mfpgate.DeliveryReport, key string) error
	// Package opens a package from offset on, through connections that dial makes.
	Package(ctx context.Context, dial func(ctx context.Context, network, address string) (net.Conn, error), p mfpgate.Package, offset int64) (Content, error)
}

// Content is what a region sends of a package. Its reading ends with the context of the call.
type Content struct {
	io.ReadCloser
	Begins int64 // the byte of the package that comes first; 0 in place of what was asked for
	Length int64 // how many are announced from there on; -1: that is not said
}

// Work is the relay's slot for one device. Its errors are mfpgate.Refused where the relay decided.
type Work interface {
	SetUp(ctx context.Context) error // waits for the device's turn
	Move(ctx context.Context) error  // before bytes move
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	Close()
}

// Why a delivery fails.
const (
	NotDeliverable mfpgate.Reason = "not-deliverable" // the model takes no package as a raw job
	Interrupted    mfpgate.Reason = "interrupted"     // the gateway ended while it sent
	Aborted        mfpgate.Reason = "aborted"         // by the printer, or because it went away
	Canceled       mfpgate.Reason = "canceled"        // by whoever wanted it, at the printer
	SizeMismatch   mfpgate.Reason = "size-mismatch"   // more or fewer bytes than planned
	DigestMismatch mfpgate.Reason = "digest-mismatch"
	NoSpace        mfpgate.Reason = "no-space"       // on the gateway's disk
	NotGiven       mfpgate.Reason = "fetch-refused"  // the region does not give the package
	FetchFailed    mfpgate.Reason = "fetch-failed"   // until the window's end
	RelayRefused   mfpgate.Reason = "relay-refused"  // until the window's end: no turn, or the destination is not allowed
	PrinterAway    mfpgate.Reason = "printer-away"   // until the window's end
	PrinterFailed  mfpgate.Reason = "printer-failed" // until the window's end: it did not let a job begin
	MissedWindow   mfpgate.Reason = "window-missed"
)

const (
	defaultLook  = 30 * time.Second
	defaultStall = 2 * time.Minute
	// noWindow is how long after its start a delivery without a window may begin.
	noWindow = 24 * time.Hour
	// reserve is what a download leaves free on the disk, for the store.
	reserve = 128 << 20
	// minPoll and maxPoll bound how often the region is asked, and firstPoll spreads what begins together.
	minPoll, maxPoll, firstPoll = time.Second, 24 * time.Hour, 20 * time.Second
	// callLimit bounds one call to the region, but for a package's bytes.
	callLimit = time.Minute
	// insist is how long a report that is refused is sent again: the region may not know yet how the device is attached.
	insist = 24 * time.Hour
	// longest bounds one call of the journal. Paper may be out for days.
	longest = 60 * 24 * time.Hour
	// parallel is more than the devices that fit on a machine's USB.
	parallel = 256
)
