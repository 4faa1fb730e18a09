package portaltest

import "github.com/mfpgate/mfpgate"

// PlugIn makes devices of the fleet printers on USB: one for each way of driving them, in the order of the list, from the device with
// an index on.
func (g *Gateway) PlugIn(from int) {
	for i, p := range []mfpgate.USBPort{
		{Bus: "1-1", ID: "03f0:e911", Mode: mfpgate.USBModeIPP, URL: "http://127.0.0.1:60000", Shared: true},
		{Bus: "1-2.4", ID: "04b8:0005", Mode: mfpgate.USBModeRaw, Detail: "unidirectional for 04b8:0005: it must not be read from, or it hangs"},
		{Bus: "1-2.1", ID: "04a9:10d2", Mode: mfpgate.USBModeOther, URL: "http://127.0.0.1:60001", Detail: "ipp-usb (process 812) has it; its port is used"},
		{Bus: "3-1", ID: "04f9:0027", Mode: mfpgate.USBModeUnused, Reason: "usb-access", Detail: Hostile},
	} {
		d := &g.DevicesAre[from+i]
		d.USB, d.Attachment, d.Address, d.MonitoringMode = &p, mfpgate.AttachmentUSB, "usb:"+p.Bus, mfpgate.MonitoringPolling
		if p.Reason != "" {
			d.State, d.Reason = mfpgate.DeviceOffline, p.Reason
		}
		detail := g.DetailsAre[d.ID]
		detail.Identity.USB = p.ID + ":" + d.Serial
		g.DetailsAre[d.ID] = detail
	}
}
