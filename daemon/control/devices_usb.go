package control

import "github.com/mfpgate/mfpgate"

// usbModes say how the gateway drives a printer.
var usbModes = map[mfpgate.USBMode]string{
	mfpgate.USBModeIPP:    "IPP over USB",
	mfpgate.USBModeRaw:    "raw USB",
	mfpgate.USBModeOther:  "through another program",
	mfpgate.USBModeUnused: "not driven",
}

// USBMode says a mode in words; one that is newer than the table is itself.
func USBMode(m mfpgate.USBMode) string {
	if text, ok := usbModes[m]; ok {
		return text
	}
	return string(m)
}

// USBReach says who may print at a port's endpoint, "" where there is none.
func USBReach(p mfpgate.USBPort) string {
	switch {
	case p.URL == "":
		return ""
	case p.Shared:
		return "open to the site's network"
	}
	return "on this machine alone"
}
