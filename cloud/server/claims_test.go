package server_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

func encode(cursor string) string { return base64.RawURLEncoding.EncodeToString([]byte(cursor)) }

const uuid = "12345678-9abc-def0-1234-56789abcdef0"

func TestOneGatewayTellsOfADevice(t *testing.T) {
	r := servertest.Start(t)
	osaka := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	tokyo := caller{r, r.HTTP(t), r.Gateway(t, "tokyo-1")}
	const other = "/v1/gateways/tokyo-1/devices/"
	put := func(c caller, path string, d api.Device, condition ...string) reply {
		t.Helper()
		d.DeviceID, d.MonitoringMode = path[strings.LastIndex(path, "/")+1:], "polling"
		if condition == nil {
			condition = []string{"If-None-Match", "*"}
		}
		return c.do(t, http.MethodPut, path, d, condition...)
	}
	full := api.Device{Make: "Example", Model: "SIM-100", Serial: "A17", UUID: uuid}
	decode[api.Device](t, put(osaka, gwPath+"/devices/dev_1", full))
	for _, c := range []struct {
		rule   string
		device api.Device
		taken  bool
	}{
		{"the same uuid", api.Device{UUID: uuid}, true},
		{"the same uuid, written otherwise", api.Device{UUID: "urn:uuid:" + strings.ToUpper(uuid)}, true},
		{"the same serial of make and model", api.Device{Make: "EXAMPLE", Model: " SIM-100", Serial: "a17", UUID: strings.Replace(uuid, "1", "2", 1)}, true},
		{"the serial without its make", api.Device{Model: "SIM-100", Serial: "A17"}, false},
		{"the serial of another model", api.Device{Make: "Example", Model: "SIM-200", Serial: "A17"}, false},
		{"a uuid that is none", api.Device{UUID: "n/a"}, false},
	} {
		got := put(tokyo, other+"dev_x", c.device)
		if taken := got.status == 409; taken != c.taken || !taken && got.status != 201 {
			t.Errorf("%s: got %d %s", c.rule, got.status, got.body)
		}
		if c.taken && (got.reason(t) != "device-taken" || !strings.Contains(string(got.body), "osaka-1 tells of this device, as dev_1")) {
			t.Errorf("%s: got %s", c.rule, got.body)
		}
		if !c.taken {
			tokyo.removes(t, other+"dev_x")
		}
	}
	for _, unset := range []api.Device{ // what makers leave unset is nobody's
		{UUID: "00000000-0000-0000-0000-000000000000"}, {UUID: "FFFFFFFF-ffff-ffff-ffff-ffffffffffff"}, {Make: "Example", Model: "SIM-100", Serial: strings.Repeat("X", 4) + "-0000"},
	} {
		first, second := put(osaka, gwPath+"/devices/dev_9", unset), put(tokyo, other+"dev_9", unset)
		if first.status != 201 || second.status != 201 {
			t.Errorf("%+v: got %d and %d", unset, first.status, second.status)
		}
		osaka.removes(t, gwPath+"/devices/dev_9")
		tokyo.removes(t, other+"dev_9")
	}

	// A gateway that lost its state gives the device a new id, which takes the claims; the older id frees nothing then.
	decode[api.Device](t, put(osaka, gwPath+"/devices/dev_2", full))
	osaka.removes(t, gwPath+"/devices/dev_1")
	if got := put(tokyo, other+"dev_3", full); got.reason(t) != "device-taken" || !strings.Contains(string(got.body), "dev_2") {
		t.Errorf("after the older id was deleted: %d %s", got.status, got.body)
	}
	// What a device no longer says of itself is free.
	decode[api.Device](t, put(osaka, gwPath+"/devices/dev_2", api.Device{Make: "Example", Model: "SIM-100", Serial: "A17"}, "If-Match", `"1"`))
	decode[api.Device](t, put(tokyo, other+"dev_4", api.Device{UUID: uuid}))
	if got := put(tokyo, other+"dev_4", full, "If-Match", `"1"`); got.reason(t) != "device-taken" {
		t.Errorf("the serial is still claimed: %d %s", got.status, got.body)
	}
	// Deleting frees all.
	osaka.removes(t, gwPath+"/devices/dev_2")
	decode[api.Device](t, put(tokyo, other+"dev_4", full, "If-Match", `"1"`))
}

// removes deletes what is at path, whichever version it is.
func (c caller) removes(t *testing.T, path string) {
	t.Helper()
	if got := c.do(t, http.MethodDelete, path, nil, "If-Match", "*"); got.status != http.StatusNoContent {
		t.Fatalf("DELETE %s: %d %s", path, got.status, got.body)
	}
}

func TestClaimsAreExclusive(t *testing.T) {
	r := servertest.Start(t)
	gateways := []string{"osaka-1", "tokyo-1", "kyoto-1", "nara-1"}
	answers := make([]reply, len(gateways))
	var work sync.WaitGroup
	for i, id := range gateways {
		c := caller{r, r.HTTP(t), r.Gateway(t, id)}
		work.Go(func() {
			d := api.Device{DeviceID: "dev_1", UUID: uuid, MonitoringMode: "proxy"}
			answers[i] = c.do(t, http.MethodPut, "/v1/gateways/"+id+"/devices/dev_1", d, "If-None-Match", "*")
		})
	}
	work.Wait()
	created := 0
	for _, a := range answers {
		switch {
		case a.status == 201:
			created++
		case a.reason(t) != "device-taken":
			t.Errorf("got %d %s", a.status, a.body)
		}
	}
	if created != 1 {
		t.Errorf("%d gateways have the device, want one", created)
	}
}

func TestDeleteNeedsTheEntityTagAndRemovesAll(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	const path = gwPath + "/devices/dev_1"
	gw.send(t, "a", counters(1, "dev_1", 7, noon), status(2, "dev_10", "idle", noon))
	gw.tell(t, "a", alert(1, "dev_1", "offline", false), alert(2, "dev_10", "offline", false))
	d := api.Device{DeviceID: "dev_1", UUID: uuid, MonitoringMode: "polling"}
	decode[api.Device](t, gw.do(t, http.MethodPut, path, d, "If-None-Match", "*"))
	for _, c := range []struct {
		rule, tag string
		status    int
		reason    string
	}{
		{"no condition", "", 428, "precondition-required"},
		{"a stale tag", `"7"`, 412, "precondition-failed"},
		{"the present tag", `"1"`, 204, ""},
		{"again: it is gone", `"1"`, 404, "unknown-device"},
	} {
		got := gw.do(t, http.MethodDelete, path, nil, "If-Match", c.tag)
		if got.status != c.status || got.reason(t) != c.reason {
			t.Errorf("%s: got %d %s, want %d", c.rule, got.status, got.body, c.status)
		}
	}
	if got := gw.do(t, http.MethodGet, path+"/reading", nil); got.reason(t) != "unknown-reading" {
		t.Errorf("its readings: %d", got.status)
	}
	if got := gw.alerts(t, "open=true", 9); len(got) != 1 || got[0] != "alt_2" {
		t.Errorf("open after it: %v", got)
	}
	gw.send(t, "a", counters(3, "dev_1", 8, noon))
	if got := gw.history(t, "dev_1"); len(got) != 1 {
		t.Errorf("its counters came back: %v", got)
	}
	tokyo := caller{r, r.HTTP(t), r.Gateway(t, "tokyo-1")}
	decode[api.Device](t, tokyo.do(t, http.MethodPut, "/v1/gateways/tokyo-1/devices/dev_1", d, "If-None-Match", "*"))
	if got := tokyo.do(t, http.MethodDelete, "/v1/gateways/osaka-1/devices/dev_10", nil, "If-Match", "*"); got.reason(t) != "not-yours" {
		t.Errorf("another gateway's device: %d", got.status)
	}
}
