package browser_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer/printertest"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// fleetKeys are the configuration's: agents are found in a range, and three printers are asked where they are said to be.
const fleetKeys = `  allow: [{host: update.vendor.example, ports: [443]}]
portal: {listen: "127.0.0.2:0"}
devices:
  monitoring: polling
  ranges: [{network: 127.9.7.3/32, monitoring: proxy}]
  snmp: {ranges: [127.9.7.0/29], communities: [public], port: %d}
  polling: {status: 1s, supplies: 2s, counters: 2s}
  static:
    - {address: 127.9.7.1, name: "Copier 2F", uri: "ipp://127.9.7.1:%[2]d/ipp/print"}
    - {address: 127.9.7.17, name: "Reception", uri: "ipp://127.9.7.17:%[2]d/ipp/print"}
    - {address: 127.9.7.18, name: "5F 複合機", uri: "ipp://127.9.7.18:%[2]d/ipp/print"}
`

// fleet is a gateway's process, simulated printers around it, and an administrator at the portal.
type fleet struct {
	*tab
	gateway *rig.Gateway
	keys    string
}

func startFleet(t *testing.T) (f *fleet, printers map[string]*printer.Printer) {
	t.Helper()
	printers = map[string]*printer.Printer{}
	sim := printertest.Start(t, printer.SiteOptions{})
	for i, o := range []printer.Options{
		{Name: "Copier 2F", Make: "HP", Model: "LaserJet MFP E52645", Serial: "JPBCN1Q0AB", Location: "2F east, beside the lift", Impressions: 120_433},
		{Name: "Design", Make: "Ricoh", Model: "IM C3000", Serial: "3109R200001", Location: "3F design", NoIPP: true},
		{Name: "Relayed", Make: "Kyocera", Model: "TASKalfa 2554ci", Serial: "V8L0007919", Location: "3F hall", NoIPP: true, Impressions: 5},
		{Name: "Front desk", Make: "Canon", Model: "iR-ADV C3530", Serial: "XYZ01234", Location: "Reception", NoSNMP: true},
		{Name: "Fukugoki", Make: "Sharp", Model: "BP-70C31", Serial: "95001234", Location: "5F 西", NoSNMP: true},
	} {
		last := byte(i + 1)
		if o.NoSNMP {
			last = byte(i + 14)
		}
		o.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{127, 9, 7, last})}
		printers[o.Name] = printertest.Add(t, sim, o)
	}
	copier := printers["Copier 2F"]
	if err := copier.SetSupply("2", 4); err != nil {
		t.Fatal(err)
	}
	copier.SetReasons("media-jam-error")
	copier.SetState(mfpgate.PrinterStopped, "Paper jam in tray 2")
	f = &fleet{tab: openTab(t), keys: fmt.Sprintf(fleetKeys, copier.SNMP().Port(), copier.IPP().Port())}
	f.gateway = rig.Start(t, f.keys)
	addUser(t, f.gateway.Socket, "mori", "correct horse battery")
	f.enter()
	return f, printers
}

func (f *fleet) url() string { return "https://" + f.gateway.Portal }

func (f *fleet) enter() {
	f.t.Helper()
	f.do(chromedp.Navigate(f.url() + "/login"))
	f.login("mori", "correct horse battery")
	f.await(`location.pathname === "/"`)
}

// restart starts the gateway anew on its state.
func (f *fleet) restart() {
	f.t.Helper()
	f.gateway.Stop(f.t)
	f.gateway = rig.StartIn(f.t, f.gateway.Dir, f.keys)
	f.enter()
}

// comes loads a page until it says so: it shows what the gateway knew when it was asked.
func (f *fleet) comes(path, expression string) {
	f.t.Helper()
	rig.Until(f.t, path+" comes to "+expression, func() bool {
		f.do(chromedp.Navigate(f.url() + path))
		return eval[bool](f.tab, "Boolean("+expression+")")
	})
}

// row is the text of the row of a device in the list, "" without one.
func row(name string) string {
	return fmt.Sprintf(`([...document.querySelectorAll(".fleet tbody tr")].find(r => r.querySelector("th a").textContent === %q)?.innerText ?? "")`, name)
}

// device is the one of this serial number, as the API has it.
func (f *fleet) device(serial string) (found mfpgate.Device) {
	f.t.Helper()
	var list struct{ Items []mfpgate.Device }
	f.gateway.API(f.t, "devices", &list)
	for _, d := range list.Items {
		if d.Serial == serial {
			found = d
		}
	}
	return found
}

func TestTheFleetOfARealGateway(t *testing.T) {
	t.Parallel()
	f, printers := startFleet(t)

	// They are found, and what they say of themselves is shown.
	f.comes("/devices", `document.querySelectorAll(".fleet tbody tr").length === 5 && document.querySelectorAll(".fleet .mark-good").length === 5`)
	f.comes("/devices", `document.querySelectorAll(".fleet svg.supplies").length === 5`)
	for name, says := range map[string]string{"Copier 2F": "2F east, beside the lift", "Design": "Ricoh IM C3000", "Relayed": "Relayed", "Reception": "XYZ01234", "5F 複合機": "5F 西"} {
		if text := eval[string](f.tab, row(name)); !strings.Contains(text, says) {
			t.Errorf("the row of %s does not say %q: %q", name, says, text)
		}
	}
	if text := eval[string](f.tab, row("Copier 2F")); !strings.Contains(text, "4\u202f%") || !strings.Contains(text, "Media jam") {
		t.Errorf("the row does not say which toner is low, or why the device is stopped: %q", text)
	}
	f.check("fleet")

	// The search narrows while it is typed.
	f.do(chromedp.SendKeys("#q", "3f ricoh"))
	f.await(`document.getElementById("found").textContent === "1 device, of 5 in all."`)
	f.do(chromedp.Click("tbody th a"))
	f.await(`document.querySelector("h1").textContent === "Design"`)

	f.pages(t)
	f.changes(t)
	f.goesOffline(t, printers)
	f.export(t)
}

// pages looks at two devices' own pages: one that is polled, one that is relayed.
func (f *fleet) pages(t *testing.T) {
	t.Helper()
	polled := "/devices/" + string(f.device("JPBCN1Q0AB").ID)
	f.comes(polled, `["Stopped", "Paper jam in tray 2", "Media jam", "120\u202f433", "2F east, beside the lift"].every(text => document.body.innerText.includes(text))`)
	f.comes(polled, `document.querySelector("[aria-labelledby=alerts-title] table")`)
	if eval[bool](f.tab, `document.getElementById("relayed")`+" !== null") {
		t.Error("a device that is polled is said to be relayed")
	}
	f.check("fleet-polled")
	relayed := "/devices/" + string(f.device("V8L0007919").ID)
	f.comes(relayed, `document.querySelectorAll(".gauges tbody tr").length > 3`)
	text := eval[string](f.tab, "document.body.innerText")
	for _, want := range []string{"It reports its counters and alerts to its cloud itself", "It reports them to its cloud itself.", "Ready"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page of a relayed device does not say %q", want)
		}
	}
	f.check("fleet-relayed")
}

// changes renames a device, splits one, and starts the gateway anew.
func (f *fleet) changes(t *testing.T) {
	t.Helper()
	design := f.device("3109R200001").ID
	f.do(chromedp.Navigate(f.url()+"/devices/"+string(design)), chromedp.SetValue("#name", "3F atelier"), chromedp.Click(`form[action$="/name"] button`))
	f.await(`document.querySelector("h1").textContent === "3F atelier" && document.getElementById("flash").textContent.includes("is called 3F atelier")`)

	copier := f.device("JPBCN1Q0AB").ID
	f.comes("/devices/"+string(copier), `document.querySelectorAll("form[action$='/split']").length > 1`)
	f.do(chromedp.Click(`form[action$="/split"]:has(input[value="snmp:127.9.7.1"]) button`))
	f.await(`document.body.innerText.includes("a device of its own") && !location.pathname.endsWith("` + string(copier) + `")`)
	split := strings.TrimPrefix(eval[string](f.tab, "location.pathname"), "/devices/")

	f.restart()
	f.comes("/devices", `document.querySelectorAll(".fleet tbody tr").length === 6 && document.querySelectorAll(".fleet .mark-good").length === 6`)
	for id, is := range map[string]string{string(design): "3F atelier", string(copier): "Copier 2F", split: "Copier 2F"} {
		f.do(chromedp.Navigate(f.url() + "/devices/" + id))
		if name := eval[string](f.tab, `document.querySelector("h1").textContent`); name != is {
			t.Errorf("after a restart %s is %q, want %q", id, name, is)
		}
	}
}

// goesOffline switches two printers off: one is shown with its reason, the other is forgotten.
func (f *fleet) goesOffline(t *testing.T, printers map[string]*printer.Printer) {
	t.Helper()
	f.comes("/devices", `document.querySelectorAll(".fleet svg.supplies").length === 6`)
	printers["Front desk"].PowerOff()
	printers["Design"].PowerOff()
	for _, name := range []string{"Reception", "3F atelier"} {
		f.comes("/devices", row(name)+`.includes("Offline")`)
	}
	reception, design := f.device("XYZ01234"), f.device("3109R200001")
	if text := eval[string](f.tab, row("Reception")); reception.Reason != "refused" || design.Reason != "snmp-silent" || !strings.Contains(text, control.DeviceReason(reception.Reason)) ||
		!strings.Contains(text, "since") || !strings.Contains(text, "before it went offline") {
		t.Errorf("the reasons are %q and %q, and the row says %q", reception.Reason, design.Reason, text)
	}
	f.check("fleet-offline")
	f.do(chromedp.Navigate(f.url() + "/devices/" + string(reception.ID)))
	text := eval[string](f.tab, `document.body.innerText`)
	if !strings.Contains(text, "Not known while it is offline.") || !strings.Contains(text, "Last read ") || strings.Contains(text, "Ready") {
		t.Errorf("the page of a device that is offline says:\n%s", text)
	}
	f.check("fleet-offline-device")

	f.do(chromedp.Navigate(f.url()+"/devices/"+string(design.ID)), chromedp.Click("summary"), chromedp.Click("button.danger"))
	f.await(`location.pathname === "/devices" && document.getElementById("flash").textContent.includes("3F atelier is forgotten")`)
	f.restart()
	f.comes("/devices", `document.querySelectorAll(".fleet tbody tr").length === 5 && `+row("Reception")+`.includes("Offline")`)
	if text := eval[string](f.tab, row("3F atelier")); text != "" {
		t.Errorf("a forgotten device that is switched off is back: %q", text)
	}
	if err := printers["Front desk"].On(); err != nil {
		t.Fatal(err)
	}
	f.comes("/devices", row("Reception")+`.includes("Online")`)
}

// export downloads what the page shows.
func (f *fleet) export(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if _, err := chromedp.Call(f.ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: "allow", DownloadPath: dir}); err != nil {
		t.Fatal(err)
	}
	f.do(chromedp.Navigate(f.url()+"/devices?q=reception"), chromedp.Click(`a[href^="/devices.csv"]`))
	var data []byte
	rig.Until(t, "the file is there", func() (there bool) {
		var err error
		data, err = os.ReadFile(filepath.Join(dir, "devices.csv"))
		return err == nil && bytes.HasSuffix(data, []byte("\r\n"))
	})
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v:\n%s", len(rows), err, data)
	}
	for column, want := range map[string]string{"name": "Reception", "serial": "XYZ01234", "location": "Reception", "state": "online"} {
		if i := slices.Index(rows[0], column); i < 0 || rows[1][i] != want {
			t.Errorf("column %s of %q is not %q", column, rows, want)
		}
	}
	if i := slices.Index(rows[0], "lastSeen"); i < 0 || rows[1][i] == "" {
		t.Errorf("nothing says when it was last seen: %q", rows)
	}
}
