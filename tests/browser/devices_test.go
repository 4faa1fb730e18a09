package browser_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// standing is a portal of a gateway that stands still, with a user who has logged in.
func standing(b *tab, g *portaltest.Gateway) (url string) {
	b.t.Helper()
	clock := fakeclock.New(portaltest.Now)
	p, err := portal.New(portal.Options{Gateway: g, Accounts: g, API: http.NotFoundHandler(), Clock: clock,
		Log: telemetry.NewLogger(io.Discard, clock, new(telemetry.Level), false)})
	if err != nil {
		b.t.Fatal(err)
	}
	server := httptest.NewTLSServer(p)
	b.t.Cleanup(server.Close)
	b.do(chromedp.Navigate(server.URL + "/login"))
	b.login("mori", "correct horse battery")
	b.await(`location.pathname === "/"`)
	return server.URL
}

func TestAnAdministratorKeepsTheDevicesInOrder(t *testing.T) {
	t.Parallel() // it waits for refreshes most of the time
	b := openTab(t)
	url := standing(b, portaltest.Fleet(2043))

	b.do(chromedp.Navigate(url + "/devices"))
	b.await(`document.getElementById("found").textContent.startsWith("1 to 100 of 2\u202f043 devices")`)
	b.do(chromedp.SendKeys("#q", "lift copier"))
	b.await(`document.getElementById("found").textContent === "1 device, of 2\u202f043 in all."`)
	b.await(`location.search === "?q=lift+copier"`)
	if focus := eval[string](b, "document.activeElement.id"); focus != "q" {
		t.Errorf("the search took the focus from the field to %q", focus)
	}
	b.check("devices-search")
	b.do(chromedp.Click("tbody th a"))
	b.await(`document.querySelector("h1").textContent === "2F copier"`)
	b.check("device")

	b.do(chromedp.SetValue("#name", "Beside the lift"), chromedp.Click(`form[action$="/name"] button`))
	b.await(`document.querySelector("h1").textContent === "Beside the lift" && document.getElementById("flash").textContent.includes("is called Beside the lift")`)

	b.do(chromedp.Click(`form[action$="/split"]:has(input[value="snmp:10.1.0.9"]) button`))
	b.await(`location.pathname === "/devices/dev_1_split" && document.body.innerText.includes("a device of its own")`)
	b.check("device-split")

	b.do(chromedp.SetValue("#other", "beside lift"), chromedp.Click(`#pin form[method=get] button`))
	b.await(`document.querySelector("input[type=checkbox][value=dev_1]")`)
	b.do(chromedp.Click("input[value=dev_1]"))
	b.check("device-pin")
	b.do(chromedp.Click(`form[action$="/pin"] button`))
	b.await(`document.getElementById("flash").textContent.includes("1 device is this one now")`)

	b.do(chromedp.Click("summary"), chromedp.Click("button.danger"))
	b.await(`location.pathname === "/devices" && document.getElementById("flash").textContent.includes("is forgotten")`)
	b.await(`document.getElementById("found").textContent.includes("2\u202f042")`)
}

func TestTheDevicesAreAccessible(t *testing.T) {
	t.Parallel()
	b := openTab(t)
	url := standing(b, portaltest.Fleet(24))
	for path, page := range map[string]string{"/": "overview-fleet", "/devices": "devices", "/devices/dev_3": "device-hostile", "/devices/dev_5": "device-bare", "/devices?q=nothing": "devices-none"} {
		b.do(chromedp.Navigate(url + path))
		b.check(page)
		if title := eval[string](b, "document.title"); title == "broken" || !strings.Contains(title, "mfpgate") {
			t.Errorf("%s: title %q", page, title)
		}
	}
}
