package ippusb

import (
	"errors"
	"math"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// The errors of a transport, wrapped with what happened.
var (
	// ErrRefused says that a request cannot be brought to a printer on USB: CONNECT, Upgrade, or a head that is not HTTP. Nothing of
	// it was sent.
	ErrRefused = errors.New("not possible over USB")
	// ErrBroken says that printer and gateway no longer agree where a message begins, or that the printer is gone. Every request fails
	// with it until there is a new transport. To the request that found it, and to Options.Broken, it is wrapped together with why: one
	// of the errors below, or of usb/bus; to the others why is text, but for bus.ErrGone: their own answers were not late, nor malformed.
	ErrBroken = errors.New("the USB printer must be reset")
	// ErrTimeout says that the printer took or sent no byte for too long.
	ErrTimeout = errors.New("the USB printer is silent")
	// ErrProtocol says that what the printer sent is not HTTP, or HTTP that has no end.
	ErrProtocol = errors.New("the USB printer answers no valid HTTP")
	// ErrClosed says that the transport was shut down or closed.
	ErrClosed = errors.New("the USB transport is closed")
)

// Options say how to speak to one printer.
type Options struct {
	Clock      mfpgate.Clock
	Log        telemetry.Logger
	Handle     bus.Handle
	Interfaces []bus.Interface // all of them 7/1/4, or what the vendor calls so; in the order in which they are used
	Quirks     Quirks

	// SendTimeout is how long the printer may take no byte of a request, give or take an eighth. 0 is 72 h, negative for ever: a printer
	// without paper takes nothing of the document that it prints, over a weekend if nobody comes, and must not be reset for it.
	SendTimeout time.Duration
	// AnswerTimeout is how long the printer may send no byte of an answer that it owes, counted from the request's last byte or the
	// answer's. 0 is 5 min, negative for ever.
	AnswerTimeout time.Duration
	// DrainTimeout is how long the rest of an answer that nobody reads any more may take, and DrainBytes how long it may be. 0 is
	// 5 min and 256 MiB: a scanned page at its largest.
	DrainTimeout time.Duration
	DrainBytes   int64

	// Broken is called once, in a goroutine of its own, when the printer must be reset and opened again; it may call Close. It is not
	// called after Close. nil: nobody wants to know.
	Broken func(error)
}

// Quirks are what a model needs to have done differently. The zero value is for a printer that keeps to IPP over USB 1.0.
type Quirks struct {
	// ZLPSend ends each write whose length is a multiple of the endpoint's packet by a zero-length packet.
	ZLPSend bool
	// ZLPEnds takes a zero-length packet with a second of silence after it for the end of an answer of status 500 or above, whatever
	// its head said: some office printers send so the body of 503 while they start, without its last byte.
	ZLPEnds bool
	// Connection is the request's header of that name; "" sends none.
	Connection string
	// MaxInterfaces is how many of the interfaces are used; 0 is all. Some printers hang when a second one is.
	MaxInterfaces int
	// SoftReset resets each interface before its first request; NoSoftReset never does, also not where Probe would try.
	SoftReset, NoSoftReset bool
	// InitTimeout is how long Probe waits for a byte; 0 is 20 s.
	InitTimeout time.Duration
	// WriteDelay is waited after each write of more than WriteDelayOver bytes.
	WriteDelay     time.Duration
	WriteDelayOver int
}

const (
	// readSize is what is asked of the printer at a time, in bytes, where nobody offers a larger buffer: a multiple of every packet
	// size that USB has.
	readSize = 16 << 10
	// prefetch is up to how many bytes of a request's body are read before anything is sent.
	prefetch = 16 << 10
	// maxHead and maxFields bound an answer's head, with all 1xx before it, and its trailer.
	maxHead   = 64 << 10
	maxFields = 500
	// maxInformed is how many 1xx may come before an answer.
	maxInformed = 16

	firstPause, lastPause = 10 * time.Millisecond, time.Second // after zero-length reads, and for want of memory
	zlpQuiet              = time.Second
	// firstSlice and lastSlice are how long a read is left to the host's controller before it is looked at. A printer that has sent
	// whole packets, and neither a short one nor an empty one behind them, has not ended the transfer, though it has said all.
	firstSlice, lastSlice, sendingSlice = 100 * time.Millisecond, 5 * time.Second, time.Minute
	// sendSlices is into how many a write's time-out is cut, to see whether the printer took a byte in each.
	sendSlices = 8
)

// duration is d, or for 0 the default, or for ever.
func duration(d, standard time.Duration) time.Duration {
	switch {
	case d == 0:
		return standard
	case d < 0:
		return math.MaxInt64
	}
	return d
}
