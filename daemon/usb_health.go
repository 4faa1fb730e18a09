package daemon

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb"
)

// What is wrong with printers on USB.
const (
	// USBFailed is the degradation while the machine's USB cannot be opened, or what is plugged in cannot be listed.
	USBFailed mfpgate.Reason = "usb-failed"
	// USBShareFailed is the degradation while usb.share is not in force for all printers.
	USBShareFailed mfpgate.Reason = "usb-share-failed"
	// USBAccess is the degradation while the gateway has no right to printers.
	USBAccess mfpgate.Reason = usb.ReasonAccess
	// USBBusy is the degradation while other programs have printers.
	USBBusy mfpgate.Reason = usb.ReasonBusy
)

// sound says that nothing is wrong: what is not driven does not fail.
func (p *printers) sound() {
	for _, reason := range []mfpgate.Reason{USBFailed, USBShareFailed, USBAccess, USBBusy} {
		p.say(reason, "")
	}
}

// unopened says why USB cannot be opened.
func (p *printers) unopened(err error) {
	p.say(USBFailed, fmt.Sprintf("printers on USB are not driven, for USB cannot be opened: %v; check that this machine has USB, and that "+
		"/dev/bus/usb and /sys are there: it is tried again every minute", err))
}

// sharing says why usb.share is not in force for all printers, which have a line each in err; nil: it is.
func (p *printers) sharing(err error) {
	if err == nil {
		p.say(USBShareFailed, "")
		return
	}
	p.say(USBShareFailed, fmt.Sprintf("usb.share is not in force for all printers: %s; end the program that has the port (`ss -ltnp` says which): "+
		"it is tried again every minute", strings.ReplaceAll(err.Error(), "\n", ", ")))
}

// usbLook is how often it is looked at what is wrong.
const usbLook = 5 * time.Second

// watch says what is wrong with the bus and with printers that are plugged in, until ctx ends.
func (p *printers) watch(ctx context.Context, room *usb.Printers) error {
	for looked := false; ; {
		if mfpgate.Wait(ctx, p.daemon.Clock, usbLook) != nil {
			return nil
		}
		if !looked && room.Looked() {
			p.daemon.registry.USBLooked()
			looked = true
		}
		p.judge(room)
	}
}

func (p *printers) judge(room *usb.Printers) {
	text := ""
	if err := room.Hindered(); err != nil {
		text = fmt.Sprintf("printers that are plugged in now are not found, and those from before are driven on, for USB cannot be listed: %v; "+
			"`dmesg` says what the kernel sees", err)
	}
	p.say(USBFailed, text)
	for reason, text := range map[mfpgate.Reason]string{
		USBAccess: "the gateway has no right to %s; `mfpgate doctor` says what to install",
		USBBusy:   "another program has %s; `mfpgate doctor` says which",
	} {
		var names []string
		for _, printer := range room.List() {
			if printer.USB.Mode == mfpgate.USBModeUnused && printer.USB.Reason == reason {
				names = append(names, fmt.Sprintf("%s on USB port %s", printer.Name, printer.Port))
			}
		}
		if len(names) == 0 {
			p.say(reason, "")
			continue
		}
		p.say(reason, fmt.Sprintf(text, strings.Join(names, ", ")))
	}
}

// say degrades the gateway while there is a text.
func (p *printers) say(reason mfpgate.Reason, text string) {
	if text == "" {
		p.daemon.health.clear(reason)
		return
	}
	p.daemon.health.set(reason, text)
}
