package server_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// operator is a browser that has logged in.
type operator struct {
	caller
	login string
}

func (o operator) ask(t *testing.T, method, path, form string, headers ...string) reply {
	t.Helper()
	headers = append(headers, "Authorization", o.login)
	if method == http.MethodPost {
		headers = append(headers, "Content-Type", "application/x-www-form-urlencoded")
		return o.do(t, method, path, form, headers...)
	}
	return o.do(t, method, path, nil, headers...)
}

func browse(t *testing.T, r *servertest.Region) operator {
	t.Helper()
	client := r.HTTP(t)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	password := r.Operator(t, "hana")
	return operator{caller{r, client, ""}, "Basic " + base64.StdEncoding.EncodeToString([]byte("hana:"+password.Reveal()))}
}

func TestPagesShowWhatGatewaysTell(t *testing.T) {
	r := servertest.Start(t)
	o := browse(t, r)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	d := api.Device{DeviceID: "dev_1", Name: "2F <b>copier</b>", Make: "Example", Model: "SIM-100", Serial: "A17", MonitoringMode: "polling", State: "offline", Reason: "no-answer"}
	decode[api.Device](t, gw.do(t, http.MethodPut, gwPath+"/devices/dev_1", d, "If-None-Match", "*"))
	d.DeviceID = "dev_2"
	decode[api.Device](t, gw.do(t, http.MethodPut, gwPath+"/devices/dev_2", d, "If-None-Match", "*"))
	gw.send(t, "a", counters(3, "dev_1", 41217, noon), status(4, "dev_1", "stopped", noon))
	gw.tell(t, "a", alert(1, "dev_1", "media-jam", false))
	for _, c := range []struct {
		rule, path string
		status     int
		want       []string
	}{
		{"the root leads to the pages", "/", 303, nil},
		{"gateways", "/ui/", 200, []string{"osaka-1", "2 offline", "hana"}},
		{"devices", "/ui/gateways/osaka-1", 200, []string{"2F &lt;b&gt;copier&lt;/b&gt;", "Media jam", "no answer", "Missing from this gateway: 2 readings or alerts"}},
		{"a device", "/ui/gateways/osaka-1/devices/dev_1", 200, []string{"41\u202f217", "Stopped", "under <a href=\"/ui/gateways/osaka-1/devices/dev_2\">another id"}},
		{"a gateway that is none", "/ui/gateways/nobody", 404, []string{"no such gateway"}},
		{"a gateway that leaves the prefix", "/ui/gateways/osaka-1%2Fx", 404, []string{"no such gateway"}},
		{"a device that is none", "/ui/gateways/osaka-1/devices/dev_9", 404, []string{"has not told"}},
		{"a cursor that is none", "/ui/gateways/osaka-1?cursor=!", 400, []string{"start again"}},
		{"no such page", "/ui/nothing", 404, []string{"no such page"}},
	} {
		got := o.ask(t, http.MethodGet, c.path, "")
		if got.status != c.status {
			t.Errorf("%s: got %d, want %d", c.rule, got.status, c.status)
		}
		for _, want := range c.want {
			if !strings.Contains(string(got.body), want) {
				t.Errorf("%s: no %q in %s", c.rule, want, got.body)
			}
		}
		if c.status != 303 && !strings.Contains(got.header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: no policy", c.rule)
		}
	}
}

func TestPagesAreForOperators(t *testing.T) {
	r := servertest.Start(t)
	o := browse(t, r)
	token := r.Gateway(t, "osaka-1")
	for rule, login := range map[string]string{
		"nobody": "", "a gateway": "Bearer " + token.Reveal(), "a wrong password": "Basic " + base64.StdEncoding.EncodeToString([]byte("hana:x")),
	} {
		got := operator{o.caller, login}.ask(t, http.MethodGet, "/ui/gateways/osaka-1", "")
		if got.status != 401 || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ") || strings.Contains(string(got.body), "osaka-1") {
			t.Errorf("%s: got %d %v", rule, got.status, got.header)
		}
	}
	style := regexp.MustCompile(`href="(/ui/assets/console.css[^"]*)"`).FindSubmatch(o.ask(t, http.MethodGet, "/ui/", "").body)
	if got := (operator{o.caller, ""}).ask(t, http.MethodGet, string(style[1]), ""); got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/css") {
		t.Errorf("the style sheet: %d", got.status)
	}
}

func TestDeletingOnThePage(t *testing.T) {
	r := servertest.Start(t)
	o := browse(t, r)
	gw := caller{r, r.HTTP(t), r.Gateway(t, "osaka-1")}
	const page = "/ui/gateways/osaka-1/devices/dev_1"
	d := api.Device{DeviceID: "dev_1", UUID: uuid, MonitoringMode: "polling"}
	decode[api.Device](t, gw.do(t, http.MethodPut, gwPath+"/devices/dev_1", d, "If-None-Match", "*"))
	shown := regexp.MustCompile(`name="etag" value="&#34;(\d+)&#34;"`).FindSubmatch(o.ask(t, http.MethodGet, page, "").body)
	if shown == nil || string(shown[1]) != "1" {
		t.Fatalf("the page shows version %q", shown)
	}
	form := url.Values{"etag": {`"` + string(shown[1]) + `"`}}.Encode()
	gone := false
	for _, c := range []struct {
		rule, method, path, form, site string
		status                         int
	}{
		{"GET deletes nothing", http.MethodGet, page + "/delete", "", "same-origin", 404},
		{"nor does another site's form", http.MethodPost, page + "/delete", form, "cross-site", 403},
		{"nor a form without the version", http.MethodPost, page + "/delete", "", "same-origin", 400},
		{"nor a stale one", http.MethodPost, page + "/delete", url.Values{"etag": {`"9"`}}.Encode(), "same-origin", 412},
		{"the page's own does", http.MethodPost, page + "/delete", form, "same-origin", 303},
		{"and twice is once", http.MethodPost, page + "/delete", form, "same-origin", 404},
	} {
		got := o.ask(t, c.method, c.path, c.form, "Sec-Fetch-Site", c.site)
		if got.status != c.status {
			t.Errorf("%s: got %d %s", c.rule, got.status, got.body)
		}
		gone = gone || c.status == http.StatusSeeOther
		if there := gw.do(t, http.MethodGet, gwPath+"/devices/dev_1", nil).status == 200; there == gone {
			t.Errorf("%s: there: %v", c.rule, there)
		}
	}
	tokyo := caller{r, r.HTTP(t), r.Gateway(t, "tokyo-1")}
	decode[api.Device](t, tokyo.do(t, http.MethodPut, "/v1/gateways/tokyo-1/devices/dev_1", d, "If-None-Match", "*"))
}
