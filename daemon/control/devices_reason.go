package control

import "github.com/mfpgate/mfpgate"

// deviceReasons say why a device is in its state, and what to do where that is not plain.
var deviceReasons = map[mfpgate.Reason]string{
	"never-seen":     "only the configuration names it",
	"not-named":      "no configuration names it",
	"silent":         "not heard of lately",
	"no-route":       "no route leads to its address; check the gateway's network and the address",
	"refused":        "its address refuses the connection; the service may be switched off at the device",
	"no-answer":      "its address does not answer; it may be switched off, asleep or unplugged",
	"snmp-silent":    "it does not answer over SNMP; it may be switched off or asleep, or want another community; check devices.snmp",
	"snmp-off":       "it can be asked over SNMP alone; switch devices.snmp on",
	"tls-failed":     "no TLS connection to it can be made; check its certificate and its TLS versions",
	"not-a-printer":  "what answers at its address is no printer; the address may be another machine's now",
	"busy":           "it answers that it is busy; it is asked again",
	"not-authorized": "it wants an account or a community that it was not given; check devices.snmp and its access list",
	"withdrawn":      "it said goodbye, or was unplugged",
	"bad-answer":     "it answers what its protocol does not allow, or far too much; a newer firmware may help",

	"unplugged":       "it is not plugged in; plug it in again, or switch it on",
	"usb-access":      "the gateway has no right to its USB device; `mfpgate doctor` says what to install",
	"usb-busy":        "another program has it; `mfpgate doctor` says which",
	"usb-silent":      "it is plugged in and does not answer; switch it off and on",
	"usb-broken":      "its USB transfers fail; it is reset and opened again. Try another cable or port if this lasts",
	"usb-unsupported": "none of its USB interfaces can be driven",
	"usb-ipp-usb":     "the program ipp-usb drives it, and does not say where",
	"usb-opening":     "it was plugged in just now",
	"usb-gone":        "it was unplugged just now",
	"usb-off":         "the gateway does not drive printers on USB; switch usb.enabled on",
}

// DeviceReason says a device's reason in words; one that is newer than the table is itself, and none is "".
func DeviceReason(r mfpgate.Reason) string {
	if text, ok := deviceReasons[r]; ok {
		return text
	}
	return string(r)
}
