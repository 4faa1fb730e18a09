package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

const deviceJSON = `{"deviceId":"dev_1","model":"SIM-100","serial":"1","monitoringMode":"proxy","aFieldOfTomorrow":1}`

func TestChangesNeedTheEntityTag(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	path := "/v1/gateways/osaka-1/devices/dev_1"
	for _, c := range []struct {
		rule, header, value string
		status              int
		tag                 string
	}{
		{"no condition, nothing there", "", "", 428, ""},
		{"If-Match of what is not there", "If-Match", `"1"`, 412, ""},
		{"If-Match: * of what is not there", "If-Match", `*`, 412, ""},
		{"create", "If-None-Match", `*`, 201, `"1"`},
		{"create what is there", "If-None-Match", `*`, 412, `"1"`},
		{"no condition", "", "", 428, ""},
		{"the present tag", "If-Match", `"1"`, 200, `"2"`},
		{"a stale tag", "If-Match", `"1"`, 412, `"2"`},
		{"a weak tag never matches", "If-Match", `W/"2"`, 412, `"2"`},
		{"one of several", "If-Match", `"7", "2"`, 200, `"3"`},
		{"whatever is there", "If-Match", `*`, 200, `"4"`},
		{"unless it is this", "If-None-Match", `"4"`, 412, `"4"`},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header, c.value}
		}
		got := gw.do(t, http.MethodPut, path, deviceJSON, headers...)
		if got.status != c.status || got.header.Get("ETag") != c.tag {
			t.Errorf("%s: got %d %s, want %d %s", c.rule, got.status, got.header.Get("ETag"), c.status, c.tag)
		}
		wantReason := map[int]string{428: "precondition-required", 412: "precondition-failed"}[c.status]
		if got.reason(t) != wantReason {
			t.Errorf("%s: got reason %q, want %q", c.rule, got.reason(t), wantReason)
		}
	}
	got := gw.do(t, http.MethodGet, path, nil)
	want := api.Device{DeviceID: "dev_1", Model: "SIM-100", Serial: "1", MonitoringMode: "proxy"}
	if diff := cmp.Diff(want, decode[api.Device](t, got)); diff != "" {
		t.Error(diff)
	}
	for value, status := range map[string]int{`"4"`: 304, `W/"4"`: 304, `*`: 304, `"3"`: 200} {
		if got := gw.do(t, http.MethodGet, path, nil, "If-None-Match", value); got.status != status || got.status == 304 && len(got.body) > 0 {
			t.Errorf("GET If-None-Match %s: got %d with %d bytes, want %d", value, got.status, len(got.body), status)
		}
	}
}

func TestListsArePaged(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	other := caller{r, r.HTTP(t), r.Gateway(t, "osaka-10")} // a prefix of its name is another gateway
	var want []string
	for i := range 7 {
		id := fmt.Sprintf("dev_%d", i)
		want = append(want, id+` "1"`)
		d := api.Device{DeviceID: id, Model: "m", Serial: "s", MonitoringMode: "polling"}
		decode[api.Device](t, gw.do(t, http.MethodPut, "/v1/gateways/osaka-1/devices/"+id, d, "If-None-Match", "*"))
	}
	d := api.Device{DeviceID: "dev_x", Model: "m", Serial: "s", MonitoringMode: "polling"}
	decode[api.Device](t, other.do(t, http.MethodPut, "/v1/gateways/osaka-10/devices/dev_x", d, "If-None-Match", "*"))

	var got []string
	pages, query := 0, "?limit=3"
	for {
		answer := gw.do(t, http.MethodGet, "/v1/gateways/osaka-1/devices"+query, nil)
		page := decode[api.Page[api.DeviceEntry]](t, answer)
		again := gw.do(t, http.MethodGet, "/v1/gateways/osaka-1/devices"+query, nil, "If-None-Match", answer.header.Get("ETag"))
		if again.status != http.StatusNotModified {
			t.Errorf("an unchanged page: got %d, want 304", again.status)
		}
		for _, e := range page.Items {
			got = append(got, e.DeviceID+" "+e.ETag)
		}
		if pages++; page.NextCursor == "" {
			break
		}
		query = "?limit=3&cursor=" + url.QueryEscape(page.NextCursor)
	}
	if diff := cmp.Diff(want, got); diff != "" || pages != 3 {
		t.Errorf("%d pages, want 3; %s", pages, diff)
	}
}

func TestContractChangesWhileServing(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	first := gw.do(t, http.MethodGet, "/v1/gateways/osaka-1/contract", nil)
	if diff := cmp.Diff(api.DefaultContract("osaka-1"), decode[api.Contract](t, first)); diff != "" {
		t.Error(diff)
	}
	tag := first.header.Get("ETag")
	if got := gw.do(t, http.MethodGet, "/v1/gateways/osaka-1/contract", nil, "If-None-Match", tag); got.status != 304 {
		t.Errorf("unchanged: got %d, want 304", got.status)
	}
	servertest.Must(t, r.Folder.ChangeContract("osaka-1", func(c *api.Contract) { c.MaxConcurrent = 7 }))
	got := gw.do(t, http.MethodGet, "/v1/gateways/osaka-1/contract", nil, "If-None-Match", tag)
	if c := decode[api.Contract](t, got); c.MaxConcurrent != 7 || got.header.Get("ETag") == tag {
		t.Errorf("changed: got %d devices under tag %s", c.MaxConcurrent, got.header.Get("ETag"))
	}
	if err := r.Folder.ChangeContract("osaka-1", func(c *api.Contract) { c.TimeZone = "Mars/Olympus" }); err == nil {
		t.Error("a contract with an unknown time zone was kept")
	}
}
