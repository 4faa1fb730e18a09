package mfp_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

// office is an operator of the region, and the gateway that tells of the device.
type office struct {
	s        *site
	http     *http.Client
	password mfpgate.Secret
	gateway  mfpgate.Secret
}

func newOffice(t *testing.T, s *site) office {
	s.options.Serial = "JP0007" // that of a new site is none
	o := office{s, s.HTTP(t), s.Operator(t, "hana"), s.Gateway(t, "osaka-1")}
	must(t, s.Folder.ChangeContract("osaka-1", func(c *api.Contract) { c.LeadTime = 0 }))
	o.send(t, http.MethodPut, "devices/dev_1", true, api.Device{DeviceID: "dev_1", Model: "SIM-100", Serial: s.options.Serial, MonitoringMode: "proxy"})
	return o
}

func (o office) send(t *testing.T, method, path string, asGateway bool, body any) (d api.Delivery) {
	t.Helper()
	data, err := json.Marshal(body)
	must(t, err)
	req, err := http.NewRequestWithContext(t.Context(), method, o.s.URL+"/v1/gateways/osaka-1/"+path, strings.NewReader(string(data)))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("hana", o.password.Reveal())
	if asGateway {
		req.Header.Set("Authorization", "Bearer "+o.gateway.Reveal())
	}
	if method == http.MethodPut {
		req.Header.Set("If-None-Match", "*")
	}
	res, err := o.http.Do(req)
	must(t, err)
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, path, res.Status)
	}
	must(t, json.NewDecoder(res.Body).Decode(&d))
	return d
}

// plan plans a delivery at a time from now.
func (o office) plan(t *testing.T, id, pack string, later time.Duration, edit func(*api.Delivery)) time.Time {
	t.Helper()
	start := o.s.options.Clock.Now().Add(later).UTC().Truncate(time.Millisecond)
	d := api.Delivery{DeliveryID: id, DeviceID: "dev_1", PackageID: pack, Schedule: api.Schedule{StartUTC: &start},
		Duration: &api.Estimate{P50: api.Duration(time.Second), P95: api.Duration(time.Second)}}
	if edit != nil {
		edit(&d)
	}
	o.send(t, http.MethodPut, "deliveries/"+id, false, d)
	return start
}

// awaitState waits until the region says so of a delivery.
func (o office) awaitState(t *testing.T, id, state, reason string) {
	t.Helper()
	var d api.Delivery
	for range 400 {
		if d = o.send(t, http.MethodGet, "deliveries/"+id, false, nil); d.State == state && d.Reason == reason {
			return
		}
		must(t, mfpgate.Wait(t.Context(), o.s.options.Clock, 25*time.Millisecond))
	}
	t.Fatalf("%s is %s %q, want %s %q", id, d.State, d.Reason, state, reason)
}

func TestHoldsItsPlannedStart(t *testing.T) {
	s := newSite(t)
	s.options.Poll = time.Hour // it asks once, and begins by itself
	o := newOffice(t, s)
	p := s.Package(t, "SIM-100", "2.0", size)
	start := o.plan(t, "d1", p.PackageID, 1500*time.Millisecond, nil)
	defer s.run(t)()
	if e := s.await(t, mfp.Planned); e.Plan != "d1" || e.Package != p.PackageID {
		t.Errorf("planned: %+v", e)
	}
	if e := s.await(t, mfp.Begun); e.Time.Before(start) || e.Time.After(start.Add(5*time.Second)) {
		t.Errorf("begun at %s, planned for %s", e.Time, start)
	}
	s.await(t, mfp.Installed)
	o.awaitState(t, "d1", "done", "")
}

func TestTurnedAwayAtItsStart(t *testing.T) {
	s := newSite(t)
	o := newOffice(t, s)
	p := s.Package(t, "SIM-100", "2.0", size)
	start := o.plan(t, "d1", p.PackageID, 700*time.Millisecond, func(d *api.Delivery) {
		d.Retry = &api.Retry{Interval: api.Duration(time.Second), Max: 1}
	})
	defer s.run(t)()
	s.await(t, mfp.Planned)
	s.relay.set(func(r *relay) { r.refuse = 2 }) // the start and the report of it find no room
	if e := s.await(t, mfp.TurnedAway); e.Plan != "d1" {
		t.Errorf("turned away: %+v", e)
	}
	if e := s.await(t, mfp.Planned); e.StartAt == start.Format(time.RFC3339) {
		t.Errorf("the second try is at %s", e.StartAt)
	}
	s.await(t, mfp.Installed)
	o.awaitState(t, "d1", "done", "")
}
