package portal_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func TestPagesOfPrintersOnUSBAreAsReviewed(t *testing.T) {
	g := portaltest.Fleet(12)
	g.PlugIn(8)
	d := newDoor(t, g)
	d.enter()
	golden(t, "devices-usb.html", text(t, d.ask(http.MethodGet, "/devices?q=usb:", "", "HX-Request", "true")))
	for i, file := range []string{"device-usb-ipp.html", "device-usb-raw.html", "device-usb-other.html", "device-usb-unused.html"} {
		page := text(t, d.ask(http.MethodGet, "/devices/"+string(g.DevicesAre[8+i].ID), ""))
		start := strings.Index(page, `<h2 id="who-title">`)
		golden(t, file, page[start:start+strings.Index(page[start:], "</section>")])
	}
}
