package usb_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

const (
	administrator = "it@example.co.jp"
	user          = "sato@example.co.jp"
)

// TestAsAnyOtherDevice: printers on USB report, are registered and are planned for as those on the network are.
func TestAsAnyOtherDevice(t *testing.T) {
	t.Parallel()
	b, r := newBus(t), startRegion(t, "--code-interval", "1s")
	r.local(t, "contract", "set", gateway, "--max-concurrent", "1", "--slot", "5m")
	ipp, raw := model.NewPrinter("S1"), model.New(model.Options{Layout: model.Bidirectional, Serial: "S2", Model: "Stream 1"})
	b.plug(ipp, "1-1")
	b.plug(raw, "1-2")
	g := rig.Start(t, rig.Allow(r.port(t))+r.config()+fmt.Sprintf(`usb: {enabled: true}
devices: {polling: {status: 1s}}
schedule: {mode: propose}
print_services: [{name: office, kind: reference, url: %q, completion: poll}]
registration: {admin: %s}
portal: {listen: "127.0.0.2:0"}
`, r.url, administrator), b.inside)
	one := comes(t, g, "the printer is driven", driven("1-1", mfpgate.USBModeIPP))
	two := comes(t, g, "the other is driven", driven("1-2", mfpgate.USBModeRaw))

	t.Run("telemetry", func(t *testing.T) {
		reports(t, g, r, ipp, one)
		reports(t, g, r, raw, two)
		if out := command(t, g, "devices", "show", string(one.ID)); !strings.Contains(out, model.DefaultMarkers()[0].Name) {
			t.Errorf("no supplies of the IPP printer: %s", out)
		}
	})
	t.Run("registration", func(t *testing.T) { registers(t, g, r, one) })
	t.Run("schedule", func(t *testing.T) { plans(t, g, r, one, two) })
}

// reports wants that paper is out to be seen, and that it is there again.
func reports(t *testing.T, g *rig.Gateway, r *region, p *model.Printer, d mfpgate.Device) {
	t.Helper()
	cloud := r.cloud(t)
	told := func(cleared bool) func() bool {
		return func() bool {
			page, err := cloud.Alerts(t.Context(), false, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range page.Items {
				if a.DeviceID == string(d.ID) && strings.HasPrefix(a.Code, "media-empty") && a.Cleared == cleared {
					return true
				}
			}
			return false
		}
	}
	p.OutOfPaper()
	rig.Until(t, d.Name+" is shown without paper", func() bool { return strings.Contains(command(t, g, "devices", "show", string(d.ID)), "media-empty") })
	rig.Until(t, "the region is told that "+d.Name+" has no paper", told(false))
	p.LoadPaper()
	rig.Until(t, "the region is told that "+d.Name+" has paper", told(true))
}

// cloud reads the region as the gateway.
func (r *region) cloud(t *testing.T) *client.Client {
	t.Helper()
	token, err := os.ReadFile(r.token)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{URL: r.url, Gateway: gateway, Token: mfpgate.Secret(strings.TrimSpace(string(token))), Clock: mfpgate.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// registers has a printer registered in the region's print service, which an administrator allows.
func registers(t *testing.T, g *rig.Gateway, r *region, d mfpgate.Device) {
	password := r.local(t, "administrator", "add", administrator)
	show := func(id string) (reg control.RegistrationDetail) {
		if err := json.Unmarshal([]byte(command(t, g, "registrations", "show", id, "--json")), &reg); err != nil {
			t.Fatal(err)
		}
		return reg
	}
	var reg control.RegistrationDetail
	if err := json.Unmarshal([]byte(command(t, g, "registrations", "request", "--device", string(d.ID), "--user", user, "--json")), &reg); err != nil {
		t.Fatal(err)
	}
	rig.Until(t, "there is a code", func() bool { reg = show(reg.ID); return reg.UserCode != "" })
	if reg.Mode != mfpgate.RegistrationDelegate {
		t.Errorf("its mode is %s", reg.Mode)
	}
	ask := func(path string, form url.Values) string {
		method, body := http.MethodGet, io.Reader(nil)
		if form != nil {
			method, body = http.MethodPost, strings.NewReader(form.Encode())
		}
		req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, body)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(administrator, password)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v: %s", path, resp.Status, err, text)
		}
		return string(text)
	}
	ask("/device/decision", url.Values{"code": {reg.UserCode}, "do": {"approve"}, "user": {user}})
	rig.Until(t, "the printer is registered", func() bool { reg = show(reg.ID); return reg.State == mfpgate.RegistrationRegistered })
	if reg.Certificate == "" || reg.PrinterID == "" {
		t.Errorf("%+v", reg)
	}
	page := ask("/print/", nil)
	if seen := strings.ReplaceAll(page, " ", ""); !strings.Contains(seen, reg.Certificate) || !strings.Contains(page, "<dd>"+d.Serial+"</dd>") {
		t.Errorf("the service's page has neither %s nor %s: %s", reg.Certificate, d.Serial, page)
	}
}

// plans wants deliveries of printers on USB to count against the capacity, and background traffic, which does not pass the relay, not to.
func plans(t *testing.T, g *rig.Gateway, r *region, one, two mfpgate.Device) {
	bands := func() []api.Band {
		if code, _, said := rig.Run(t, "schedule", "propose", "--socket", g.Socket); code != 0 && !strings.Contains(said, "there is no new start to propose") {
			t.Fatal(said)
		}
		var s control.Schedule
		if err := json.Unmarshal([]byte(command(t, g, "schedule", "show", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		return s.Bands
	}
	start := time.Now().UTC().Add(2 * time.Hour).Truncate(time.Minute).Format(time.RFC3339)
	plan := func(d mfpgate.Device) {
		r.remote(t, "delivery", "add", gateway, "--device", string(d.ID), "--start", start, "--window", "+0s/+4h", "--duration", "10m", "--allow-overload")
	}
	r.remote(t, "background", "set", gateway, "meters", "--kind", "meterRead", "--start", start, "--duration", "10m", "--devices", "all")
	plan(one)
	if got := bands(); len(got) != 0 {
		t.Errorf("with one delivery there are overloads: %+v", got)
	}
	plan(two)
	if got := bands(); len(got) != 1 {
		t.Errorf("with two deliveries there are overloads: %+v", got)
	}
}
