package console_test

import (
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/console"
)

// TestDevicesOnUSBShowWhatTheirGatewayDid is beside the pages of the others: theirs say nothing of it.
func TestDevicesOnUSBShowWhatTheirGatewayDid(t *testing.T) {
	printer := console.Device{DeviceEntry: api.DeviceEntry{ETag: `"1"`, Device: api.Device{DeviceID: "dev_usb", Name: "Label printer", Attachment: "usb",
		MonitoringMode: "polling", State: "online"}}}
	quiet := region()
	quiet.devices = []console.Device{printer}
	golden(t, "device-usb-quiet", ask(t, quiet, "/ui/gateways/osaka-1/devices/dev_usb"))
	printer.Fetched = console.Fetched{CheckedInAt: now.Add(-time.Hour), Reports: []api.StoredDeviceReport{
		{ReceivedAt: now.Add(-3 * time.Hour), DeviceReport: api.DeviceReport{DeliveryID: "d1", Outcome: "started"}},
		{ReceivedAt: now.Add(-2 * time.Hour), DeviceReport: api.DeviceReport{DeliveryID: "d1", Outcome: "failed", Reason: "not-deliverable", Detail: evil}},
	}}
	full := region()
	full.devices = []console.Device{printer}
	golden(t, "device-usb", ask(t, full, "/ui/gateways/osaka-1/devices/dev_usb"))
}
