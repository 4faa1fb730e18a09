package server_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// usbSite has a gateway with a printer on its USB, one behind the other gateway, and a package for both.
type usbSite struct {
	*desk
	pack api.Package
}

func newUSBSite(t *testing.T) usbSite {
	t.Helper()
	d := newDesk(t, "tokyo-1", "osaka-1")
	p, err := d.folder.AddPackage("LP-1", "2.0", provision.Generated("LP-1", "2.0", 1000))
	servertest.Must(t, err)
	s := usbSite{d, p}
	s.plug("dev_usb", "S1", "polling")
	return s
}

func (s usbSite) plug(id, serial, mode string) {
	s.t.Helper()
	r := s.as("osaka-1", http.MethodPut, path("osaka-1", "devices", id), api.Device{DeviceID: id, Make: "Example", Model: "LP-1", Serial: serial,
		Attachment: "usb", MonitoringMode: mode}, "If-None-Match", "*")
	if r.status != 201 {
		s.t.Fatalf("put %s: %d %s", id, r.status, r.body)
	}
}

func (s usbSite) planned(id, device string, edit func(*api.Delivery)) {
	s.t.Helper()
	w := at(id, device, s.clock.Now().Add(2*time.Hour))
	end := s.clock.Now().Add(12 * time.Hour)
	w.PackageID, w.Window = s.pack.PackageID, &api.StartWindow{LatestEnd: &end}
	if edit != nil {
		edit(&w)
	}
	s.plan("osaka-1", w)
}

func (s usbSite) ask(device string, headers ...string) reply {
	s.t.Helper()
	return s.as("osaka-1", http.MethodPost, path("osaka-1", "devices", device, "check-ins"), api.DeviceCheckIn{Firmware: "1.0", State: "idle"}, headers...)
}

func (s usbSite) tells(device, delivery, outcome string, edit func(*api.DeviceReport)) reply {
	s.t.Helper()
	r := api.DeviceReport{DeliveryID: delivery, PackageID: s.pack.PackageID, Outcome: outcome}
	if outcome == api.OutcomeDone {
		r.SHA256, r.Size = s.pack.SHA256, s.pack.Size
	}
	if edit != nil {
		edit(&r)
	}
	return s.as("osaka-1", http.MethodPost, path("osaka-1", "devices", device, "reports"), r)
}

func (s usbSite) state(id string) string {
	s.t.Helper()
	w := s.get("osaka-1", id)
	return w.State + " " + w.Reason
}

func TestGatewayDeliversToItsUSB(t *testing.T) {
	s := newUSBSite(t)
	if got := decode[api.CheckInAnswer](t, s.ask("dev_usb")); got.Delivery != nil || got.Package != nil || got.PollInterval == 0 {
		t.Errorf("what nobody planned is not offered: %+v", got)
	}
	s.planned("d1", "dev_usb", nil)
	first := decode[api.CheckInAnswer](t, s.ask("dev_usb", "Idempotency-Key", "one"))
	if d := first.Delivery; d == nil || d.DeliveryID != "d1" || d.State != "" || cmp.Diff(s.pack, d.Package) != "" || d.LatestEnd == nil {
		t.Fatalf("planned: %+v", first.Delivery)
	}
	s.refused("begun too soon", s.tells("dev_usb", "d1", "started", nil), 409, "not-planned")
	s.clock.Advance(2 * time.Hour)
	if r := s.tells("dev_usb", "d1", "started", nil); r.status != 201 || s.state("d1") != "running " {
		t.Errorf("begun: %d, %s", r.status, s.state("d1"))
	}
	if d := decode[api.CheckInAnswer](t, s.ask("dev_usb")).Delivery; d == nil || d.State != "running" {
		t.Errorf("a gateway that forgot what it began must hear it: %+v", d)
	}
	if again := decode[api.CheckInAnswer](t, s.ask("dev_usb", "Idempotency-Key", "one")); cmp.Diff(first, again) != "" {
		t.Errorf("the same question again: %s", cmp.Diff(first, again))
	}
	s.refused("other bytes", s.tells("dev_usb", "d1", "done", func(r *api.DeviceReport) { r.Size-- }), 422, "digest-mismatch")
	s.refused("no such package", s.tells("dev_usb", "d1", "done", func(r *api.DeviceReport) { r.PackageID = "pkg_x" }), 422, "unknown-package")
	if r := s.tells("dev_usb", "d1", "done", nil); r.status != 201 || s.state("d1") != "done " {
		t.Errorf("done: %d %s, %s", r.status, r.body, s.state("d1"))
	}
	list := decode[api.Page[api.StoredDeviceReport]](t, s.as("hana", http.MethodGet, path("osaka-1", "devices", "dev_usb", "reports"), nil))
	if len(list.Items) != 2 || list.Items[0].Outcome != "started" || list.Items[1].Outcome != "done" {
		t.Errorf("reports: %+v", list.Items)
	}
	s.refused("another's delivery begins", s.tells("dev_usb", "d9", "started", nil), 409, "not-planned")
	for range api.MaxDeviceReports {
		if r := s.tells("dev_usb", "gone", "failed", func(r *api.DeviceReport) { r.Reason = "aborted" }); r.status != 201 {
			t.Errorf("what became of a delivery that is gone is kept: %d", r.status)
		}
	}
	list = decode[api.Page[api.StoredDeviceReport]](t, s.as("osaka-1", http.MethodGet, path("osaka-1", "devices", "dev_usb", "reports"), nil))
	if len(list.Items) != api.MaxDeviceReports || list.Items[0].DeliveryID != "gone" {
		t.Errorf("%d reports are kept, the first of %s", len(list.Items), list.Items[0].DeliveryID)
	}
}

func TestFailuresOnUSB(t *testing.T) {
	s := newUSBSite(t)
	retry := func(w *api.Delivery) { w.Retry = &api.Retry{Interval: api.Duration(time.Hour), Max: 3} }
	s.planned("again", "dev_usb", retry)
	s.tells("dev_usb", "again", "failed", func(r *api.DeviceReport) { r.Reason = "no-space" })
	if got := s.state("again"); got != "planned no-space" {
		t.Errorf("one that may be tried again: %s", got)
	}
	s.tells("dev_usb", "again", "failed", func(r *api.DeviceReport) { r.Reason, r.Final = "interrupted", true })
	if got := s.state("again"); got != "failed interrupted" {
		t.Errorf("one that only a person may have tried again: %s", got)
	}
	s.planned("nightly", "dev_usb", func(w *api.Delivery) {
		w.Schedule = api.Schedule{Local: tonight.Format("2006-01-02T15:04:05"), TimeZone: "UTC", RRule: "FREQ=DAILY"}
	})
	s.tells("dev_usb", "nightly", "failed", func(r *api.DeviceReport) { r.Reason, r.Final = "not-deliverable", true })
	if got := s.state("nightly"); got != "failed not-deliverable" {
		t.Errorf("a recurring one does not come again either: %s", got)
	}
}

func TestWhoMaySpeakForADevice(t *testing.T) {
	s := newUSBSite(t)
	s.tell("osaka-1", "dev_net", "polling")
	s.plug("dev_both", "S2", "proxy")
	s.planned("d1", "dev_usb", nil)
	body := api.DeviceCheckIn{State: "idle"}
	report := api.DeviceReport{DeliveryID: "d1", PackageID: s.pack.PackageID, Outcome: "failed"}
	for _, c := range []struct {
		rule, who, gw, device string
		status                int
		reason                string
	}{
		{"its gateway", "osaka-1", "osaka-1", "dev_usb", 0, ""},
		{"another gateway in its own name", "tokyo-1", "tokyo-1", "dev_usb", 403, "not-usb"},
		{"another gateway in the name of this one", "tokyo-1", "osaka-1", "dev_usb", 403, "not-yours"},
		{"an operator", "hana", "osaka-1", "dev_usb", 403, "wrong-role"},
		{"a device", "mfp-1", "osaka-1", "dev_usb", 403, "wrong-role"},
		{"its gateway, of a device on the network", "osaka-1", "osaka-1", "dev_net", 403, "not-usb"},
		{"its gateway, of a device that it has not told of", "osaka-1", "osaka-1", "dev_no", 403, "not-usb"},
	} {
		for resource, body := range map[string]any{"check-ins": body, "reports": report} {
			got := s.as(c.who, http.MethodPost, path(c.gw, "devices", c.device, resource), body)
			if want := map[string]int{"check-ins": 200, "reports": 201}[resource]; c.status == 0 && got.status != want {
				t.Errorf("%s, %s: %d %s", c.rule, resource, got.status, got.body)
			} else if c.status != 0 {
				s.refused(c.rule+", "+resource, got, c.status, c.reason)
			}
		}
	}
	s.refused("without a key", s.ask("dev_usb", "Idempotency-Key", ""), 400, "idempotency-key-required")
	content := s.as("osaka-1", http.MethodGet, s.pack.ContentPath(), nil, "Range", "bytes=10-19")
	if content.status != 206 || len(content.body) != 10 {
		t.Errorf("a part of the package with the gateway's token: %d, %d bytes", content.status, len(content.body))
	}
}

// TestOneOfTwoDelivers has a device that can ask itself, and is on USB.
func TestOneOfTwoDelivers(t *testing.T) {
	s := newUSBSite(t)
	s.plug("dev_both", "S2", "proxy")
	s.planned("itself", "dev_both", nil)
	s.planned("gateway", "dev_usb", nil)
	itself := func(serial string) *api.PlannedDelivery {
		return decode[api.CheckInAnswer](t, s.as("mfp-"+serial, "POST", "/v1/devices/mfp-"+serial+"/check-ins",
			api.CheckIn{Model: "LP-1", Serial: serial, Firmware: "1.0", State: "idle"})).Delivery
	}
	if got := itself("S2"); got == nil {
		t.Error("in mode proxy it installs for itself")
	}
	if got := decode[api.CheckInAnswer](t, s.ask("dev_both")); got.Delivery != nil {
		t.Error("and its gateway does not as well")
	}
	if got := itself("S1"); got != nil {
		t.Error("what the gateway fetches is not the device's work")
	}
	if got := decode[api.CheckInAnswer](t, s.ask("dev_usb")); got.Delivery == nil {
		t.Error("but the gateway's")
	}
}

// TestIdentityOnUSB has a gateway lose its state: a device with a serial number keeps what is known of it, one without is another.
func TestIdentityOnUSB(t *testing.T) {
	s := newUSBSite(t)
	s.plug("dev_bare", "", "polling")
	for n, c := range []struct{ before, after, serial string }{{"dev_usb", "dev_new", "S1"}, {"dev_bare", "dev_other", ""}} {
		s.tells(c.before, "x", "failed", func(r *api.DeviceReport) { r.Detail = fmt.Sprint(n) })
		s.plug(c.after, c.serial, "polling")
		list := decode[api.Page[api.StoredDeviceReport]](t, s.as("osaka-1", http.MethodGet, path("osaka-1", "devices", c.after, "reports"), nil))
		if want := map[bool]int{true: 1}[c.serial != ""]; len(list.Items) != want {
			t.Errorf("serial number %q: %d reports, want %d", c.serial, len(list.Items), want)
		}
		s.as("hana", http.MethodDelete, path("osaka-1", "devices", c.before), nil, "If-Match", "*")
		if again := s.as("osaka-1", http.MethodGet, path("osaka-1", "devices", c.after, "reports"), nil); len(decode[api.Page[api.StoredDeviceReport]](t, again).Items) != len(list.Items) {
			t.Errorf("serial number %q: the old id took the reports with it", c.serial)
		}
	}
}

func TestOnUSBLoadsTheRelay(t *testing.T) {
	s := newUSBSite(t)
	s.contract("osaka-1", func(c *api.Contract) { c.MaxConcurrent = 1 })
	s.tell("osaka-1", "dev_net", "proxy")
	s.planned("d1", "dev_usb", nil)
	w := at("d2", "dev_net", s.clock.Now().Add(2*time.Hour))
	r := s.as("hana", http.MethodPost, path("osaka-1", "deliveries"), w)
	s.refused("both at once", r, 409, "would-overload")
	list := decode[api.Deliveries](t, s.as("osaka-1", http.MethodGet, path("osaka-1", "deliveries"), nil))
	if len(list.Items) != 1 || list.Items[0].DeliveryID != "d1" {
		t.Errorf("the gateway is told of it: %+v", list.Items)
	}
	tag := decode[api.Page[api.DeviceEntry]](t, s.as("osaka-1", http.MethodGet, path("osaka-1", "devices"), nil)).Items
	for _, d := range tag {
		if d.DeviceID != "dev_usb" {
			continue
		}
		d.Attachment = "network"
		s.as("osaka-1", http.MethodPut, path("osaka-1", "devices", "dev_usb"), d.Device, "If-Match", d.ETag)
	}
	list = decode[api.Deliveries](t, s.as("osaka-1", http.MethodGet, path("osaka-1", "deliveries")+"?since="+list.DeltaToken, nil))
	if len(list.Removed) != 1 || list.Removed[0] != "d1" {
		t.Errorf("unplugged, and polled over the network, it is no load: %+v", list)
	}
}
