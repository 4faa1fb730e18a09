package usb

import (
	"errors"
	"fmt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// Why a printer is not driven, or by whom else.
const (
	ReasonAccess      mfpgate.Reason = "usb-access"      // the gateway has no right to the device
	ReasonBusy        mfpgate.Reason = "usb-busy"        // another program has it
	ReasonOff         mfpgate.Reason = "usb-off"         // the configuration switches USB off
	ReasonSilent      mfpgate.Reason = "usb-silent"      // it does not answer
	ReasonBroken      mfpgate.Reason = "usb-broken"      // its transfers fail; it is reset and opened again
	ReasonUnsupported mfpgate.Reason = "usb-unsupported" // none of its interfaces can be driven
	ReasonIPPUSB      mfpgate.Reason = "usb-ipp-usb"     // the program ipp-usb drives it
	ReasonOpening     mfpgate.Reason = "usb-opening"     // it was plugged in just now
	ReasonGone        mfpgate.Reason = "usb-gone"        // nothing is plugged in there
)

// Refusal is the error of what is asked of a printer that is not driven.
type Refusal struct {
	Word mfpgate.Reason
	Text string // for people
}

// Error is the text.
func (r *Refusal) Error() string { return r.Text }

// Why is the reason, as all rooms' refusals have it.
func (r *Refusal) Why() mfpgate.Reason { return r.Word }

// Reason is the same to who polls devices.
func (r *Refusal) Reason() mfpgate.Reason { return r.Word }

var _ mfpgate.Refused = (*Refusal)(nil)

func refusal(why mfpgate.Reason, format string, args ...any) *Refusal {
	return &Refusal{why, fmt.Sprintf(format, args...)}
}

// errUnsupported says that a printer has no interface that can be driven.
var errUnsupported = errors.New("no interface of it can be driven: neither 7/1/1, 7/1/2 nor 7/1/4")

// explain gives an error of bus or of this package its reason, and the words for people.
func explain(err error, d bus.Device) (mfpgate.Reason, string) {
	switch {
	case errors.Is(err, bus.ErrAccess):
		return ReasonAccess, fmt.Sprintf("no right to /dev/bus/usb/%03d/%03d; install the udev rule 70-mfpgate.rules, which gives printers to the "+
			"group mfpgate-usb, run the gateway with that group, and plug the printer in again", d.Bus, d.Address)
	case errors.Is(err, bus.ErrBusy):
		return ReasonBusy, "another program has the printer, as CUPS has while it prints to usb://; it is tried again"
	case errors.Is(err, errUnsupported):
		return ReasonUnsupported, err.Error()
	}
	return ReasonBroken, fmt.Sprintf("%v; it is reset and opened again", err)
}
