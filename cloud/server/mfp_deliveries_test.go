package server_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// site is a desk with a device that checks in, and a package for it.
type site struct {
	*desk
	pack api.Package
}

func newSite(t *testing.T) site {
	t.Helper()
	d := newDesk(t, "osaka-1")
	d.tell("osaka-1", "dev_1", "proxy")
	p, err := d.folder.AddPackage("SIM-100", "2.0", provision.Generated("SIM-100", "2.0", 1000))
	servertest.Must(t, err)
	return site{d, p}
}

func (s site) checkIn() api.CheckInAnswer {
	s.t.Helper()
	return decode[api.CheckInAnswer](s.t, s.as("mfp-1", "POST", "/v1/devices/mfp-1/check-ins",
		api.CheckIn{Model: "SIM-100", Serial: "SER-dev_1", Firmware: "1.0", State: "idle"}))
}

func (s site) report(delivery, outcome, reason string) reply {
	s.t.Helper()
	r := api.InstallReport{PackageID: s.pack.PackageID, DeliveryID: delivery, Outcome: outcome, Reason: reason, Version: "1.0"}
	if outcome == api.OutcomeInstalled {
		r.Version, r.SHA256, r.Size = s.pack.Version, s.pack.SHA256, s.pack.Size
	}
	return s.as("mfp-1", "POST", "/v1/devices/mfp-1/reports", r)
}

func (s site) state(id string) string {
	s.t.Helper()
	w := s.get("osaka-1", id)
	return w.State + " " + w.Reason
}

func TestDeviceIsToldItsStartAndReports(t *testing.T) {
	s := newSite(t)
	if got := s.checkIn(); got.Delivery != nil || got.Package == nil {
		t.Errorf("without a plan it is as it was: %+v", got)
	}
	end := tonight.Add(6 * time.Hour)
	w := at("d1", "dev_1", tonight)
	w.PackageID, w.Window = s.pack.PackageID, &api.StartWindow{LatestEnd: &end}
	s.plan("osaka-1", w)
	want := &api.PlannedDelivery{DeliveryID: "d1", Version: "1", StartUTC: tonight, LatestEnd: &end, Package: s.pack}
	if got := s.checkIn(); got.Package != nil || cmp.Diff(want, got.Delivery) != "" {
		t.Errorf("planned: %+v", got)
	}
	s.refused("begun too soon", s.report("d1", "started", ""), 409, "not-planned")
	s.refused("begun without a delivery", s.report("", "started", ""), 422, "invalid-request")
	s.refused("another's delivery", s.report("d9", "started", ""), 409, "not-planned")
	s.clock.Advance(10 * time.Hour)
	if got := s.checkIn(); got.Package == nil || got.Delivery == nil {
		t.Errorf("at its start, one that knows no deliveries is offered the package: %+v", got)
	}
	if got := s.report("d1", "started", ""); got.status != 201 || s.state("d1") != "running " {
		t.Errorf("begun: %d, %s", got.status, s.state("d1"))
	}
	s.refused("what runs is not changed", s.as("hana", "PUT", path("osaka-1", "deliveries", "d1"), w, "If-Match", `"2"`), 409, "not-planned")
	s.refused("nor deleted", s.as("hana", "DELETE", path("osaka-1", "deliveries", "d1"), nil, "If-Match", `"2"`), 409, "not-planned")
	if got := s.report("d1", "installed", ""); got.status != 201 || s.state("d1") != "done " {
		t.Errorf("installed: %d %s, %s", got.status, got.body, s.state("d1"))
	}
	if got := s.checkIn(); got.Delivery != nil || got.Package != nil {
		t.Errorf("afterwards there is nothing: %+v", got)
	}
	s.clock.Advance(31 * 24 * time.Hour)
	servertest.Must(t, s.server.Sweep(t.Context()))
	s.refused("what is over goes in the end", s.as("hana", "GET", path("osaka-1", "deliveries", "d1"), nil), 404, "unknown-delivery")
}

func TestDeliveriesThatFail(t *testing.T) {
	s := newSite(t)
	planned := func(id string, start time.Time, edit func(*api.Delivery)) {
		w := at(id, "dev_1", start)
		end := start.Add(3 * time.Hour)
		w.PackageID, w.Window = s.pack.PackageID, &api.StartWindow{LatestEnd: &end}
		if edit != nil {
			edit(&w)
		}
		s.plan("osaka-1", w)
	}
	planned("missed", tonight, nil)
	s.clock.Advance(13*time.Hour + time.Second)
	servertest.Must(t, s.server.Sweep(t.Context()))
	if got := s.state("missed"); got != "failed window-missed" {
		t.Errorf("not begun by its latest end: %s", got)
	}
	if got := s.checkIn(); got.Package != nil || got.Delivery != nil {
		t.Errorf("a package that was planned is not offered alone: %+v", got)
	}

	next := s.clock.Now().Add(2 * time.Hour)
	planned("refused", next, nil)
	s.clock.Advance(2 * time.Hour)
	s.report("refused", "failed", "relay-refused")
	if got := s.state("refused"); got != "failed relay-refused" {
		t.Errorf("turned away: %s", got)
	}

	next = s.clock.Now().Add(2 * time.Hour)
	planned("again", next, func(w *api.Delivery) { w.Retry = &api.Retry{Interval: api.Duration(time.Hour), Max: 3} })
	s.clock.Advance(2 * time.Hour)
	for n := range 2 {
		s.report("again", "failed", "relay-refused")
		if w := s.get("osaka-1", "again"); w.State != "planned" || !w.Schedule.StartUTC.Equal(next.Add(time.Duration(n+1)*time.Hour)) {
			t.Errorf("try %d: %s at %s", n, w.State, w.Schedule.StartUTC)
		}
		if got := s.checkIn(); got.Delivery == nil || got.Package != nil {
			t.Errorf("try %d is told: %+v", n, got)
		}
		s.clock.Advance(time.Hour)
	}
	s.report("again", "failed", "relay-refused")
	if got := s.state("again"); got != "failed relay-refused" {
		t.Errorf("no try beyond the window: %s", got)
	}

	next = s.clock.Now().Add(2 * time.Hour)
	planned("silent", next, nil)
	s.clock.Advance(2 * time.Hour)
	s.report("silent", "started", "")
	s.clock.Advance(25 * time.Hour)
	servertest.Must(t, s.server.Sweep(t.Context()))
	if got := s.state("silent"); got != "failed no-report" {
		t.Errorf("begun and not heard of again: %s", got)
	}
}

func TestRecurringDeliveryIsPlannedAgain(t *testing.T) {
	s := newSite(t)
	w := at("d1", "dev_1", tonight)
	w.PackageID, w.Schedule = s.pack.PackageID, api.Schedule{Local: tonight.Format("2006-01-02T15:04:05"), TimeZone: "UTC", RRule: "FREQ=DAILY"}
	s.plan("osaka-1", w)
	for day := range 3 {
		want := tonight.Add(time.Duration(day) * 24 * time.Hour)
		if got := s.checkIn(); got.Delivery == nil || !got.Delivery.StartUTC.Equal(want) {
			t.Fatalf("day %d: %+v", day, got.Delivery)
		}
		s.clock.Advance(want.Sub(s.clock.Now()))
		s.report("d1", "started", "")
		s.clock.Advance(5 * time.Minute)
		if got := s.report("d1", "installed", ""); got.status != 201 || s.state("d1") != "planned " {
			t.Fatalf("day %d: %d %s", day, got.status, s.state("d1"))
		}
	}
}

func TestDeliveriesGoToTheirDevice(t *testing.T) {
	s := newSite(t)
	s.tell("osaka-1", "dev_2", "proxy")
	w := at("d2", "dev_2", tonight)
	w.PackageID = s.pack.PackageID
	s.plan("osaka-1", w)
	if got := s.checkIn(); got.Delivery != nil {
		t.Errorf("another device's: %+v", got.Delivery)
	}
	for n, serial := range []string{"SER-dev_2", "ser-DEV_2", "", "unknown", "SER-dev_3"} {
		got := decode[api.CheckInAnswer](t, s.as("mfp-2", "POST", "/v1/devices/mfp-2/check-ins",
			api.CheckIn{Model: "SIM-100", Serial: serial, Firmware: "1.0", State: "idle"}, "Idempotency-Key", fmt.Sprint("k", n)))
		if (got.Delivery != nil) != (n < 2) {
			t.Errorf("serial number %q: %+v", serial, got.Delivery)
		}
	}
}
