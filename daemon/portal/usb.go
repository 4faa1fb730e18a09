package portal

import (
	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// usbFacts are how a device is plugged in, none where it is not.
func usbFacts(p *mfpgate.USBPort) []fact {
	if p == nil {
		return nil
	}
	at := ""
	if p.URL != "" {
		at = p.URL + ", " + control.USBReach(*p)
	}
	return []fact{
		{Term: "USB port", Text: p.Bus, Fixed: true},
		{Term: "Driven", Text: control.USBMode(p.Mode)},
		{Term: "Note", Text: p.Detail},
		{Term: "Prints at", Text: at},
	}
}
