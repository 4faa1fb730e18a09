package mfpgate

// USBMode is how the gateway drives a printer on USB. A printer has one at a time: to choose IPP-USB on an interface takes the raw
// one away.
type USBMode string

// The modes.
const (
	USBModeIPP    USBMode = "ipp-usb" // class 7/1/4: HTTP (IPP over USB 1.0)
	USBModeRaw    USBMode = "raw"     // class 7/1/2, or 7/1/1 which does not answer: the document's bytes (USB printer class 1.1)
	USBModeOther  USBMode = "other"   // another program drives it, and the gateway uses that program's port
	USBModeUnused USBMode = "unused"  // nobody: USBPort.Reason says why
)

// USBPort is how a device is plugged into the gateway's USB.
type USBPort struct {
	Bus    string  `json:"bus"` // bus and ports, as the kernel names them: 1-2.4
	ID     string  `json:"id"`  // vendor and product in hex: 03f0:e911
	Mode   USBMode `json:"mode"`
	URL    string  `json:"url,omitempty"` // its HTTP endpoint on this machine: http://127.0.0.1:60001; none in mode raw
	Shared bool    `json:"shared"`        // the endpoint is open to the site's network
	// Why it is not driven, or driven by another program: usb-access, usb-busy, usb-off, usb-silent…; and that for people.
	Reason Reason `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}
