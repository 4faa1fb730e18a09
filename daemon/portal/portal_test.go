package portal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var update = flag.Bool("update", false, "write the golden files")

// door is a portal and one browser before it, without a network.
type door struct {
	t       testing.TB
	gateway *portaltest.Gateway
	clock   *fakeclock.Clock
	log     *bytes.Buffer
	portal  *portal.Portal
	cookie  *http.Cookie
	from    string
	calls   int // of the API
}

func newDoor(t testing.TB, g *portaltest.Gateway) *door {
	t.Helper()
	d := &door{t: t, gateway: g, clock: fakeclock.New(portaltest.Now), log: &bytes.Buffer{}, from: "10.1.2.3:40000"}
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.calls++
		_, _ = fmt.Fprintf(w, "api %s %s", r.Method, r.URL.Path)
	})
	var err error
	d.portal, err = portal.New(portal.Options{Gateway: g, Accounts: g, API: api, Clock: d.clock,
		Log: telemetry.NewLogger(d.log, d.clock, new(telemetry.Level), false)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// impatient leaves when a part of an answer has come: a stream never ends by itself.
type impatient struct {
	*httptest.ResponseRecorder
	leave func()
}

func (i impatient) Flush() {
	i.ResponseRecorder.Flush()
	i.leave()
}

// ask sends a request as the browser would; header is name and value in turn.
func (d *door) ask(method, path, body string, header ...string) *http.Response {
	d.t.Helper()
	ctx, leave := context.WithCancel(d.t.Context())
	defer leave()
	r := httptest.NewRequestWithContext(ctx, method, "https://gate.example:8443"+path, strings.NewReader(body))
	r.RemoteAddr = d.from
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if d.cookie != nil {
		r.AddCookie(d.cookie)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := impatient{httptest.NewRecorder(), leave}
	d.portal.ServeHTTP(w, r)
	resp := w.Result()
	for _, c := range resp.Cookies() {
		d.cookie = c
	}
	return resp
}

func (d *door) login(name, password string) *http.Response {
	d.t.Helper()
	return d.ask(http.MethodPost, "/login", url.Values{"name": {name}, "password": {password}}.Encode())
}

func (d *door) enter() {
	d.t.Helper()
	if resp := d.login("mori", "correct horse battery"); resp.StatusCode != http.StatusSeeOther {
		d.t.Fatalf("login: %s", resp.Status)
	}
}

func text(t testing.TB, resp *http.Response) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; run with -update if this is meant):\n%s", name, diff)
	}
}

func TestPagesAreAsReviewed(t *testing.T) {
	busy, idle := newDoor(t, portaltest.Busy()), newDoor(t, portaltest.Idle())
	golden(t, "login.html", text(t, idle.ask(http.MethodGet, "/login", "")))
	golden(t, "login-wrong.html", text(t, idle.login(portaltest.Hostile, "no")))
	busy.enter()
	idle.enter()
	golden(t, "overview-busy.html", text(t, busy.ask(http.MethodGet, "/", "")))
	golden(t, "overview-idle.html", text(t, idle.ask(http.MethodGet, "/?live=off", "")))
	golden(t, "live-idle.html", text(t, idle.ask(http.MethodGet, "/live", "")))
	fleet := newDoor(t, portaltest.Fleet(12))
	fleet.enter()
	golden(t, "devices.html", text(t, fleet.ask(http.MethodGet, "/devices", "")))
	golden(t, "devices-list.html", text(t, fleet.ask(http.MethodGet, "/devices?q=copier&sort=state&down=1", "", "HX-Request", "true")))
	golden(t, "device.html", text(t, fleet.ask(http.MethodGet, "/devices/dev_1", "")))
	golden(t, "device-hostile.html", text(t, fleet.ask(http.MethodGet, "/devices/dev_3", "")))
	golden(t, "device-offline.html", text(t, fleet.ask(http.MethodGet, "/devices/dev_4", "")))
	golden(t, "device-relayed.html", text(t, fleet.ask(http.MethodGet, "/devices/dev_2", "")))
	golden(t, "devices-none.html", text(t, idle.ask(http.MethodGet, "/devices", "")))
	golden(t, "message.html", text(t, idle.ask(http.MethodGet, "/nowhere", "")))
}

func TestNamesFromOutsideAreText(t *testing.T) {
	d := newDoor(t, portaltest.Fleet(8))
	g := d.gateway
	g.StatusIs.Site.Name, g.StatusIs.Site.Location, g.StatusIs.Config.File = portaltest.Hostile, portaltest.Hostile, portaltest.Hostile
	g.StatusIs.Off, g.StatusIs.Relay.Listen = []string{portaltest.Hostile}, []string{portaltest.Hostile}
	g.Users[portaltest.Hostile] = "correct horse battery"
	pages := []*http.Response{d.login(portaltest.Hostile, "wrong"), d.login(portaltest.Hostile, "correct horse battery"), d.ask(http.MethodGet, "/", "")}
	pages = append(pages, d.ask(http.MethodGet, "/live", ""), d.ask(http.MethodGet, "/"+url.PathEscape(portaltest.Hostile), ""))
	pages = append(pages, d.ask(http.MethodGet, "/devices?q="+url.QueryEscape(portaltest.Hostile), ""), d.ask(http.MethodGet, "/devices", ""))
	pages = append(pages, d.ask(http.MethodGet, "/devices/dev_3?other="+url.QueryEscape(portaltest.Hostile), ""))
	for _, resp := range pages {
		page := text(t, resp)
		if strings.Contains(page, "<script>") || strings.Contains(page, `"broken"`) {
			t.Errorf("%s: a name became markup:\n%s", resp.Status, page)
		}
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	d, fleet := newDoor(t, portaltest.Idle()), portaltest.Fleet(12)
	want := map[string]string{
		"Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "same-origin",
	}
	check := func(resp *http.Response, path, caching string) {
		t.Helper()
		for key, value := range want {
			if got := resp.Header.Get(key); got != value {
				t.Errorf("%s: %s is %q, want %q", path, key, got, value)
			}
		}
		if got := resp.Header.Get("Cache-Control"); got != caching {
			t.Errorf("%s: Cache-Control is %q, want %q", path, got, caching)
		}
	}
	for _, path := range []string{"/", "/login", "/live", "/api/v1/status", "/nowhere"} {
		check(d.ask(http.MethodGet, path, ""), path, "no-store")
	}
	check(d.ask(http.MethodGet, "/assets/portal.css", ""), "an asset", "public, max-age=31536000, immutable")
	d.enter()
	for _, path := range []string{"/", "/live", "/api/v1/status", "/devices", "/devices.csv"} {
		check(d.ask(http.MethodGet, path, ""), path, "no-store")
	}
	d.gateway.DevicesAre, d.gateway.DetailsAre, d.gateway.ReadingsAre = fleet.DevicesAre, fleet.DetailsAre, fleet.ReadingsAre
	for _, path := range []string{"/", "/devices", "/devices/dev_1"} {
		page := text(t, d.ask(http.MethodGet, path, ""))
		for _, inline := range []string{"<style", " style=", " onclick", "<script>", "javascript:"} {
			if strings.Contains(page, inline) {
				t.Errorf("%s has %s, which its own policy forbids", path, inline)
			}
		}
	}
}

func TestNothingWithoutALogin(t *testing.T) {
	for _, c := range []struct {
		rule, method, path string
		status             int
		header, value      string
	}{
		{"the overview sends to the login", "GET", "/", 303, "Location", "/login"},
		{"the refresh sends the page to the login", "GET", "/live", 401, "Hx-Redirect", "/login"},
		{"the devices send to the login", "GET", "/devices", 303, "Location", "/login?next=%2Fdevices"},
		{"a device sends to the login", "GET", "/devices/dev_1", 303, "Location", "/login?next=%2Fdevices%2Fdev_1"},
		{"the export sends to the login", "GET", "/devices.csv", 303, "Location", "/login"},
		{"nobody renames a device", "POST", "/devices/dev_1/name", 303, "Location", "/login"},
		{"nobody starts a scan", "POST", "/devices/scan", 303, "Location", "/login"},
		{"the API answers a problem", "GET", "/api/v1/devices", 401, "Content-Type", "application/problem+json"},
		{"the API changes nothing", "PUT", "/api/v1/users/eve", 401, "Content-Type", "application/problem+json"},
		{"only what is meant to be served is", "GET", "/assets/htmx.LICENSE", 404, "Content-Type", "text/html; charset=utf-8"},
		{"GET logs nobody out", "GET", "/logout", 404, "Set-Cookie", ""},
	} {
		d := newDoor(t, portaltest.Busy())
		resp := d.ask(c.method, c.path, "")
		if resp.StatusCode != c.status || resp.Header.Get(c.header) != c.value {
			t.Errorf("%s: %s, %s %q; want %d, %q", c.rule, resp.Status, c.header, resp.Header.Get(c.header), c.status, c.value)
		}
		if page := text(t, resp); d.calls != 0 || strings.Contains(page, "2F copier") {
			t.Errorf("%s: the gateway answered a stranger:\n%s", c.rule, page)
		}
	}
}

func TestTheAPIIsServedToWhoHasLoggedIn(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	d.enter()
	if got := text(t, d.ask("GET", "/api/v1/devices", "")); got != "api GET /api/v1/devices" {
		t.Errorf("read: %q", got)
	}
	if got := text(t, d.ask("PUT", "/api/v1/users/abe", "{}", "Sec-Fetch-Site", "same-origin")); got != "api PUT /api/v1/users/abe" {
		t.Errorf("a change by the gateway's own page: %q", got)
	}
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"}} {
		if resp := d.ask("PUT", "/api/v1/users/abe", "{}", header...); resp.StatusCode != http.StatusForbidden || d.calls != 2 {
			t.Errorf("a change by another site (%v): %s after %d calls", header, resp.Status, d.calls)
		}
	}
	for _, path := range []string{"/login", "/logout"} {
		if resp := d.ask("POST", path, "name=mori", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s by another site: %s", path, resp.Status)
		}
	}
}

func TestVendoredFilesAreTheReleasedOnes(t *testing.T) {
	body, err := os.ReadFile("assets/htmx.min.js")
	if err != nil {
		t.Fatal(err)
	}
	const want = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130" // dist/htmx.min.js of the npm package htmx.org 4.0.1
	if got := fmt.Sprintf("%x", sha256.Sum256(body)); got != want {
		t.Errorf("htmx.min.js has SHA-256 %s, want %s", got, want)
	}
}

func TestAnUnreadableAccountIsNoWrongPassword(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	d.gateway.CheckFails = errors.New("disk on fire")
	for range 10 { // it does not count as a failed login either
		resp := d.login("mori", "correct horse battery")
		if page := text(t, resp); resp.StatusCode != 503 || strings.Contains(page, "on fire") || !strings.Contains(page, "cannot be read") {
			t.Fatalf("%s\n%s", resp.Status, page)
		}
	}
	if !strings.Contains(d.log.String(), "disk on fire") {
		t.Error("the log does not say why")
	}
	d.gateway.CheckFails = nil
	d.clock.Advance(time.Second)
	d.enter()
}
