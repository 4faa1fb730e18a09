package server_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestWrongPasswordsAreForgottenInTime(t *testing.T) {
	clock := fakeclock.New(noon)
	folder, err := provision.Open(t.TempDir(), clock)
	servertest.Must(t, err)
	password, err := folder.AddOperator("hana")
	servertest.Must(t, err)
	s, err := server.New(server.Options{Region: "jp", Folder: folder, Store: memory.New(), Clock: clock,
		Log: telemetry.NewLogger(io.Discard, clock, new(telemetry.Level), false), PollInterval: time.Second, PushInterval: time.Second})
	servertest.Must(t, err)
	as := func(from, password string) int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, gwPath+"/devices", nil)
		r.RemoteAddr = from
		r.SetBasicAuth("hana", password)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	const here, there = "[2001:db8:0:1::1]:1000", "[2001:db8:0:2::1]:1000"
	for i := range 5 {
		if got := as(fmt.Sprintf("[2001:db8:0:1::%x]:%d", i, 1000+i), "x"); got != 401 {
			t.Errorf("wrong for the time %d: %d", i+1, got)
		}
	}
	for _, c := range []struct {
		rule, from, password string
		after                time.Duration
		want                 int
	}{
		{"any of the same network must wait", here, password.Reveal(), 0, 429},
		{"another need not", there, password.Reveal(), 0, 200},
		{"almost long enough", here, "x", 29 * time.Second, 429},
		{"once more after half a minute", here, "x", time.Second, 401},
		{"but not twice", here, "x", 0, 429},
		{"the right password in its turn", here, password.Reveal(), 30 * time.Second, 200},
		{"as often as one likes", here, password.Reveal(), 0, 200},
	} {
		clock.Advance(c.after)
		if got := as(c.from, c.password); got != c.want {
			t.Errorf("%s: got %d, want %d", c.rule, got, c.want)
		}
	}
}

func TestOperators(t *testing.T) {
	r := servertest.Start(t)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	password := r.Operator(t, "hana")
	d := api.Device{DeviceID: "dev_1", UUID: uuid, MonitoringMode: "polling"}
	decode[api.Device](t, gw.do(t, http.MethodPut, gwPath+"/devices/dev_1", d, "If-None-Match", "*"))
	nobody := caller{r, r.HTTP(t), ""}
	as := func(name, password, method, path string) reply {
		t.Helper()
		credentials := base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
		return nobody.do(t, method, path, nil, "Authorization", "Basic "+credentials, "If-Match", "*")
	}
	for _, c := range []struct {
		rule, name, password, method, path string
		status                             int
	}{
		{"reads devices", "hana", password.Reveal(), "GET", gwPath + "/devices", 200},
		{"reads alerts", "hana", password.Reveal(), "GET", gwPath + "/alerts", 200},
		{"does not speak for a gateway", "hana", password.Reveal(), "GET", gwPath + "/contract", 403},
		{"deletes a device", "hana", password.Reveal(), "DELETE", gwPath + "/devices/dev_1", 204},
		{"a wrong password", "hana", "x", "GET", gwPath + "/devices", 401},
		{"no password", "hana", "", "GET", gwPath + "/devices", 401},
		{"nobody", "nobody", "", "GET", gwPath + "/devices", 401},
		{"a name that leaves the folder", "../gateways/osaka-1", "x", "GET", gwPath + "/devices", 401},
		{"a gateway's token is no password", "osaka-1", gw.token.Reveal(), "GET", gwPath + "/devices", 401},
		{"the sixth time must wait", "hana", "x", "GET", gwPath + "/devices", 429},
		{"with the right password too", "hana", password.Reveal(), "GET", gwPath + "/devices", 429},
	} {
		got := as(c.name, c.password, c.method, c.path)
		if got.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.rule, got.status, got.body, c.status)
		}
		if (got.status == 401) != (strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ")) || (got.status == 429) != (got.header.Get("Retry-After") != "") {
			t.Errorf("%s: %v", c.rule, got.header)
		}
	}
	if got := gw.do(t, http.MethodGet, gwPath+"/devices", nil); got.status != 200 {
		t.Errorf("a gateway at the same address: %d", got.status)
	}
}
