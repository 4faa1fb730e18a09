package ipp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/mfpgate/mfpgate"
)

// door is a port where printers listen.
type door struct {
	protocol mfpgate.Protocol
	port     uint16
}

// doors are tried in turn, the clear one first: it costs the printer least.
func doors() []door {
	return []door{{mfpgate.ProtocolIPP, 631}, {mfpgate.ProtocolIPPS, 631}, {mfpgate.ProtocolIPPS, 443}}
}

// paths are the usual ones: IPP Everywhere's, then those of older firmware.
func paths() []string { return []string{"ipp/print", "ipp/printer", "ipp", ""} }

// Find looks for a printer at an address of which nothing else is known, at the usual ports and paths, and identifies the
// first that answers as one. It takes at most twice Options.Timeout and tries at most a dozen paths; a device that answers
// nothing costs two connection attempts, an address that no route or neighbour leads to one. A device that wants a login or is busy is one that was found: its error is ErrAuth or ErrBusy. Otherwise the
// error is the one that says most: what an answer was before that there was none.
func (c *Client) Find(ctx context.Context, address netip.Addr) (mfpgate.Sighting, error) {
	ctx, cancel := c.within(ctx, 2*c.timeout)
	defer cancel()
	var found error
	var closed uint16
	for _, d := range doors() {
		if d.port == closed {
			continue
		}
		for _, path := range paths() {
			s, err := c.Identify(ctx, mfpgate.Endpoint{Protocol: d.protocol, Address: netip.AddrPortFrom(address, d.port), Path: path})
			if err == nil || errors.Is(err, ErrBusy) {
				return s, err
			}
			if found == nil || telling(err) > telling(found) {
				found = err
			}
			if context.Cause(ctx) != nil || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
				return mfpgate.Sighting{}, fmt.Errorf("find a printer at %s: %w", address, found)
			}
			if telling(err) == 0 { // nobody listens, or nobody answers: no other path will change that, nor TLS
				closed = d.port
			}
			if errors.Is(err, ErrTLS) || errors.Is(err, ErrElsewhere) || closed == d.port {
				break
			}
		}
	}
	return mfpgate.Sighting{}, fmt.Errorf("find a printer at %s: %w", address, found)
}

// telling weighs how much an error says of the device; 0 is an error of the network.
func telling(err error) int {
	for i, sentinel := range []error{ErrTLS, ErrNotIPP, ErrNotPrinter, ErrTooLarge, ErrRefused, ErrElsewhere, ErrAuth} {
		if errors.Is(err, sentinel) {
			return i + 1
		}
	}
	return 0
}
