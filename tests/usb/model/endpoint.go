package model

import (
	"context"
	"errors"
	"sync"
)

// What a transfer ends with when it does not end well. Each carrier has its own words for them, the kernel's in brackets.
var (
	// ErrStall says that the endpoint has halted, or that a control request was refused (EPIPE).
	ErrStall = errors.New("stall")
	// ErrBabble says that a packet was longer than the room left for it; the packet is lost (EOVERFLOW).
	ErrBabble = errors.New("overflow")
	// ErrWire says that a transfer failed on the wire (EPROTO).
	ErrWire = errors.New("protocol error")
	// ErrNoMemory says that the host has no room for the transfer (ENOMEM).
	ErrNoMemory = errors.New("no memory")
	// ErrNoEndpoint says that the chosen settings have no such endpoint (ENOENT).
	ErrNoEndpoint = errors.New("no such endpoint")
)

// MaxPacket is the size of a bulk endpoint's packets at high speed, in bytes.
const MaxPacket = 512

// Kind is what a Fault does.
type Kind string

// The kinds.
const (
	Stall    Kind = "stall"     // the endpoint halts; it works again after ClearHalt
	Nak      Kind = "nak"       // it takes and gives nothing until Resume
	ZeroRead Kind = "zero-read" // a packet without bytes ends the IN transfer
	Overflow Kind = "overflow"  // ErrBabble
	NoMemory Kind = "no-memory" // the host refuses the transfer before it begins
	Failure  Kind = "failure"   // ErrWire
	Unplug   Kind = "unplug"    // the cable is pulled
	PaperOut Kind = "paper-out" // an OUT endpoint NAKs, and the printer says why, until LoadPaper
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{Stall, Nak, ZeroRead, Overflow, NoMemory, Failure, Unplug, PaperOut}
}

// Endpoint is what a test does to an endpoint; the methods of Out and In say what each is.
type Endpoint interface {
	Pause()
	Resume()
	Halt()
	ClearHalt()
	Halted() bool
	Fail(faults ...Fault)
	Faults() int
	Total() int64
}

// Fault is one misbehaviour of an endpoint.
type Fault struct {
	Kind Kind
	// After is how many bytes the endpoint carries before it, counted from the end of the fault before. A bus reset leaves it as it is.
	After int64
	// Times is how many transfers in a row it hits; 0 is 1, negative is all from then on. Nak and Unplug happen once.
	Times int
}

// line is what both directions have: who waits, whether it carries anything, and its faults. mu guards what stands below it, and in
// the type that embeds it.
type line struct {
	turn chan struct{} // holds a token while no transfer is under way: an endpoint carries out one after the other
	pull func() func() // what pulls the cable of this plug, nil: none is in; set by the device before any transfer, as is
	dry  func()        // what the printer does when paper is out

	mu     sync.Mutex
	wake   chan struct{} // closed and renewed at each change
	paused bool
	halted bool
	cut    bool // the cable was pulled
	faults []Fault
	total  int64 // bytes carried
}

func (l *line) init() {
	l.turn, l.wake = make(chan struct{}, 1), make(chan struct{})
	l.turn <- struct{}{}
}

// changed wakes all who wait. mu is held.
func (l *line) changed() { close(l.wake); l.wake = make(chan struct{}) }

// set changes something under the lock, and tells all who wait.
func (l *line) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	l.changed()
}

// Pause makes the endpoint NAK until Resume: a printer that is offline or out of paper.
func (l *line) Pause() { l.set(func() { l.paused = true }) }

// Resume ends Pause, and a fault of kind Nak.
func (l *line) Resume() { l.set(func() { l.paused = false }) }

// Halt stalls the endpoint until ClearHalt.
func (l *line) Halt() { l.set(func() { l.halted = true }) }

// ClearHalt ends a halt, as CLEAR_FEATURE(ENDPOINT_HALT) does.
func (l *line) ClearHalt() { l.set(func() { l.halted = false }) }

// Halted reports whether the endpoint is halted.
func (l *line) Halted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.halted
}

// Fail adds faults behind those that are still to come.
func (l *line) Fail(faults ...Fault) { l.set(func() { l.faults = append(l.faults, faults...) }) }

// Faults is how many faults are still to come.
func (l *line) Faults() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.faults)
}

// Total is how many bytes the endpoint has carried, in all its life.
func (l *line) Total() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// submit is the host's acceptance of a transfer, which a fault NoMemory refuses.
func (l *line) submit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) > 0 && l.faults[0].Kind == NoMemory && l.faults[0].After <= 0 {
		l.over()
		return ErrNoMemory
	}
	return nil
}

// due carries out the fault that is due, if one is; ended says that it ends the transfer. mu is held.
func (l *line) due() (ended bool, err error) {
	if l.halted {
		return true, ErrStall
	}
	if len(l.faults) == 0 || l.faults[0].After > 0 || l.waits() {
		return false, nil
	}
	switch l.faults[0].Kind {
	case Stall:
		l.halted, err = true, ErrStall
	case Overflow:
		err = ErrBabble
	case Failure:
		err = ErrWire
	case ZeroRead:
	case Nak:
		l.paused = true
		l.faults = l.faults[1:]
		return false, nil
	case PaperOut:
		l.paused = true
		l.faults = l.faults[1:]
		if l.dry != nil {
			go l.dry() // it may want this lock; nobody waits for it, and it does not wait
		}
		return false, nil
	case Unplug:
		l.yank()
		return false, nil
	default: // NoMemory is the next transfer's
		return false, nil
	}
	l.over()
	return true, err
}

// yank pulls the cable: nothing more is carried. mu is held.
func (l *line) yank() {
	l.cut = true
	l.faults = l.faults[1:]
	if l.pull == nil {
		return
	}
	if pull := l.pull(); pull != nil {
		go pull() // the carrier waits for its transfers, of which one called this; the device waits for the carrier
	}
}

// waits reports whether the endpoint NAKs. mu is held.
func (l *line) waits() bool { return l.paused || l.cut }

// renew is the endpoint after a plug, a reset of the bus or a change of the setting. mu is held.
func (l *line) renew() { l.halted, l.cut = false, false }

// over takes the fault that has just happened off the list once it happened as often as it should. mu is held.
func (l *line) over() {
	switch f := &l.faults[0]; {
	case f.Times < 0:
	case f.Times > 1:
		f.Times--
	default:
		l.faults = l.faults[1:]
	}
}

// most bounds what is carried before the next fault. mu is held.
func (l *line) most(n int) int {
	if len(l.faults) > 0 && l.faults[0].After > 0 {
		return int(min(int64(n), l.faults[0].After))
	}
	return n
}

// carried counts bytes. mu is held.
func (l *line) carried(n int) {
	l.total += int64(n)
	if len(l.faults) == 0 || n == 0 {
		return
	}
	f := &l.faults[0]
	if f.After > 0 {
		if f.After -= int64(n); f.After <= 0 && f.Kind == Unplug {
			l.yank() // at that byte, also where a transfer ends with it
		}
	}
}

// take waits for the endpoint's turn.
func (l *line) take(ctx context.Context) error {
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) give() { l.turn <- struct{}{} }
