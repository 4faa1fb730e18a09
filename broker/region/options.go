package region

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Options are what a saga is made of.
type Options struct {
	Clock   mfpgate.Clock
	Rand    *rand.Rand // jitter; the saga's alone
	Store   store.Store
	Region  string // of the management server; moves lead here
	Regions Regions
	Devices Devices
	Log     telemetry.Logger

	// Adopt takes over what the source's management server knew of the device of a move, in the transaction of the commit; nil data: it
	// knew nothing. It may run several times, as functions of an Update do; an error keeps the move from its commit. May be nil.
	Adopt func(tx store.Tx, m mfpgate.Move, data json.RawMessage) error
	// Handed tells why Adopt would not take what the source's management server hands over of the device of a move: then the move is
	// taken back before the device notices anything. May be nil.
	Handed func(ctx context.Context, m mfpgate.Move, data json.RawMessage) error
	// Receipt checks the signature of a region's deletion receipt. May be nil.
	Receipt func(region string, r mfpgate.DeletionReceipt) error
	// Changed is told the id of a move that has changed, "" for any. May be nil; must not block.
	Changed func(mfpgate.MoveID)

	Parallel int // steps that run at once; 0 is 16
	Limits   Limits
}

// Limits are how long things may take. What is 0 has the value that is named.
type Limits struct {
	Call     time.Duration // one step's calls, together: 30 seconds
	Tries    int           // of a step before the commit: 8
	MinDelay time.Duration // after the first failure: 1 second
	MaxDelay time.Duration // it doubles up to that: 5 minutes
	Open     time.Duration // from the start to the commit: 30 minutes
	Draining time.Duration // of the source, before the commit: 15 minutes
	Probe    time.Duration // that verify waits for the gateway: 60 seconds
	Poll     time.Duration // between questions whether the device has come: 15 seconds
	Redirect time.Duration // that the device is given to acknowledge its directive: 24 hours
	Stuck    time.Duration // from the commit until a device that has not come is called stuck: 30 days
	Keep     time.Duration // of an ended move: 90 days
}

func (l Limits) filled() Limits {
	l.Call = cmp.Or(l.Call, 30*time.Second)
	l.Tries = cmp.Or(l.Tries, 8)
	l.MinDelay = cmp.Or(l.MinDelay, time.Second)
	l.MaxDelay = cmp.Or(l.MaxDelay, 5*time.Minute)
	l.Open = cmp.Or(l.Open, 30*time.Minute)
	l.Draining = cmp.Or(l.Draining, 15*time.Minute)
	l.Probe = cmp.Or(l.Probe, time.Minute)
	l.Poll = cmp.Or(l.Poll, 15*time.Second)
	l.Redirect = cmp.Or(l.Redirect, 24*time.Hour)
	l.Stuck = cmp.Or(l.Stuck, 30*24*time.Hour)
	l.Keep = cmp.Or(l.Keep, 90*24*time.Hour)
	return l
}

// Why something asked for is not done, or a plan has blockers.
const (
	NoSuchMove   mfpgate.Reason = "no-such-move"
	UnknownHere  mfpgate.Reason = "id-unknown-here" // no region that was asked knows the device
	OtherTarget  mfpgate.Reason = "other-target"    // the move leads to another region than this server's
	BadRequest   mfpgate.Reason = "bad-request"
	PlanChanged  mfpgate.Reason = "plan-changed"
	Blocked      mfpgate.Reason = "blocked"
	MoveIsOpen   mfpgate.Reason = "move-open"
	AfterCommit  mfpgate.Reason = "after-commit"
	BeforeCommit mfpgate.Reason = "before-commit"
	WrongEpoch   mfpgate.Reason = "wrong-epoch"

	NotRolledOut    mfpgate.Reason = "not-rolled-out" // a service is not offered in the target's country
	AlreadyHome     mfpgate.Reason = "already-home"
	NoPeer          mfpgate.Reason = "no-peer"          // the region that holds the device is no peer
	RegionUnreached mfpgate.Reason = "region-unreached" // it did not answer in time
	ForeignOnly     mfpgate.Reason = "foreign-only"     // a region has the device under a foreign id; who holds its data is not found
	NotActive       mfpgate.Reason = "not-active"       // the holding takes part in another move
	TargetOccupied  mfpgate.Reason = "target-occupied"  // the target holds something of the device
	TooLarge        mfpgate.Reason = "too-large"        // more services, children or classes of data than a move can carry
)

// Why a move was taken back, waits or is stuck; some of those above, too.
const (
	Aborted       mfpgate.Reason = "aborted"        // by an administrator
	RegionRefused mfpgate.Reason = "region-refused" // a region refused a step
	RegionLied    mfpgate.Reason = "region-lied"    // a region's answer cannot be true
	CommitTime    mfpgate.Reason = "commit-time"    // the time until the commit was over
	DrainTime     mfpgate.Reason = "drain-time"     // the time that the source may be kept from changes was over
	AdoptFailed   mfpgate.Reason = "adopt-failed"   // the target's management server could not take the device over
	AwaitsGateway mfpgate.Reason = "awaits-gateway" // the gateway has not switched the device's routes
	AwaitsDevice  mfpgate.Reason = "awaits-device"  // the device has not acknowledged its directive, or not come to its new region
	NotSeen       mfpgate.Reason = "not-seen"       // the device has not come to its new region for long
)

// Refusal is a mfpgate.Refused that wraps mfpgate.ErrRefused: what was asked for is not done.
type Refusal struct {
	Reason mfpgate.Reason
	Text   string // a sentence for people, with what to do
}

// Error returns the sentence.
func (r *Refusal) Error() string { return r.Text }

// Why returns the reason.
func (r *Refusal) Why() mfpgate.Reason { return r.Reason }

// Unwrap is mfpgate.ErrRefused.
func (r *Refusal) Unwrap() error { return mfpgate.ErrRefused }

func refuse(why mfpgate.Reason, format string, args ...any) error {
	return &Refusal{Reason: why, Text: fmt.Sprintf(format, args...)}
}

// lie is an answer that cannot be true, or that no try will better.
type lie struct{ *Refusal }

func lied(format string, args ...any) error {
	return lie{&Refusal{Reason: RegionLied, Text: fmt.Sprintf(format, args...)}}
}

// hopeless tells whether another try of a step makes no sense.
func hopeless(err error) bool {
	return errors.Is(err, mfpgate.ErrRefused) || errors.Is(err, ErrFenced) || errors.Is(err, ErrOutOfTurn) || errors.Is(err, ErrNoHolding)
}
