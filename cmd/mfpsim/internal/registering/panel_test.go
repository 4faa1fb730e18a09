package registering_test

import (
	"bufio"
	"context"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/registering"
)

var update = flag.Bool("update", false, "write the golden pages")

// panel is a device's panel, and what a browser on it does.
type panel struct {
	t      *testing.T
	server *httptest.Server
}

func (s *scene) panel(d *device, link string) *panel {
	server := httptest.NewServer(registering.Panel(d.Registrar, func() string { return link }))
	s.t.Cleanup(server.Close)
	return &panel{s.t, server}
}

func (p *panel) do(method, path string, form url.Values, change ...func(*http.Request)) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.server.URL+path, strings.NewReader(form.Encode()))
	servertest.Must(p.t, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range change {
		c(r)
	}
	client := p.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	servertest.Must(p.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	servertest.Must(p.t, err)
	return res, string(body)
}

var once = regexp.MustCompile(`name="once" value="([^"]+)"`)

// form is a filled-in form of a page that was loaded.
func (p *panel) form(user, admin string) url.Values {
	p.t.Helper()
	_, page := p.do("GET", "/", nil)
	key := once.FindStringSubmatch(page)
	if key == nil {
		p.t.Fatalf("no key in\n%s", page)
	}
	return url.Values{"service": {"cloud"}, "user": {user}, "admin": {admin}, "once": {key[1]}}
}

func TestThePanelRegisters(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.boot()
	p := s.panel(d, "")
	form := p.form(hana, it)
	for range 2 { // a double click is one request
		if res, body := p.do("POST", "/register", form); res.StatusCode != 303 || !strings.HasPrefix(res.Header.Get("Location"), "/#reg_") {
			t.Fatalf("got %d to %q\n%s", res.StatusCode, res.Header.Get("Location"), body)
		}
	}
	code := s.code(1)
	s.await("the page says that the letter went out", func() bool {
		_, page := p.do("GET", "/registrations", nil)
		return strings.Contains(page, "Waiting for the administrator") && strings.Contains(page, "A letter with the code went to "+it)
	})
	if _, page := p.do("GET", "/", nil); strings.Contains(page, code) || strings.Contains(page, strings.ReplaceAll(code, "-", "")) {
		t.Error("the panel shows the administrator's code")
	}
	s.approve(code, hana)
	s.await("the page says that it is registered", func() bool {
		_, page := p.do("GET", "/registrations", nil)
		return strings.Contains(page, "Registered") && strings.Contains(page, s.of(d).PrinterID)
	})
}

func TestThePanelCancels(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.boot()
	p := s.panel(d, "")
	p.do("POST", "/register", p.form(hana, it))
	path := "/registrations/" + s.of(d).ID + "/cancel"
	if res, _ := p.do("GET", path, nil); res.StatusCode != 405 {
		t.Errorf("a link that is followed: %d, want 405", res.StatusCode)
	}
	if res, _ := p.do("POST", path, url.Values{}); res.StatusCode != 303 || s.of(d).State != mfpgate.RegistrationCancelled {
		t.Errorf("got %d, and %s", res.StatusCode, s.of(d).State)
	}
	if res, body := p.do("POST", "/registrations/reg_none/cancel", url.Values{}); res.StatusCode != 404 || !strings.Contains(body, "no such registration") {
		t.Errorf("one that does not exist: %d", res.StatusCode)
	}
}

func TestThePanelRefuses(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.boot(func(o *registering.Options) { o.AdminDomains = []string{"example.co.jp"} })
	p := s.panel(d, "")
	for _, c := range []struct {
		rule        string
		user, admin string
		change      func(*http.Request)
		status      int
		text        string
	}{
		{"a user who is no address", "hana", it, nil, 422, "one mail address"},
		{"an administrator who is no address", hana, "it@example.co.jp\r\nBcc: all@example.com", nil, 422, "one mail address"},
		{"nobody to approve", hana, "", nil, 422, "who is to approve"},
		{"an administrator of another domain", hana, "it@example.com", nil, 422, "these domains alone: example.co.jp"},
		{"a page of another site", hana, it, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403, ""},
		{"a browser without that header, from another origin", hana, it, func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "https://evil.example")
		}, 403, ""},
		{"a name that was made to lead here", hana, it, func(r *http.Request) { r.Host = "evil.example:18080" }, 421, "by its address"},
	} {
		form := p.form(c.user, c.admin)
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		if res, body := p.do("POST", "/register", form, change); res.StatusCode != c.status || !strings.Contains(body, c.text) {
			t.Errorf("%s: got %d, want %d and %q in\n%s", c.rule, res.StatusCode, c.status, c.text, body)
		}
	}
	if res, _ := p.do("POST", "/register", url.Values{"user": {strings.Repeat("a", 9<<10)}}); res.StatusCode != 400 {
		t.Errorf("a form without end: %d, want 400", res.StatusCode)
	}
	if list, err := d.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("begun: %v, %v", list, err)
	}
}

func TestThePanelFollows(t *testing.T) {
	t.Parallel()
	s := open(t)
	d := s.boot()
	p := s.panel(d, "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "GET", p.server.URL+"/events", nil)
	servertest.Must(t, err)
	res, err := p.server.Client().Do(r)
	servertest.Must(t, err)
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	changes := 0
	for lines.Scan() {
		if lines.Text() == "data: changed" {
			changes++
			if changes == 1 { // the first is of the start
				_, err := d.Register(ctx, "cloud", hana, it, "", "")
				servertest.Must(t, err)
			} else {
				s.code(1) // a region that is asked for a code while it ends waits for the connection
				return
			}
		}
	}
	t.Errorf("the stream ended after %d changes: %v", changes, lines.Err())
}

// hostile is what a device, or somebody at it, may call things.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>' {{.}}`

func TestPages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, link string
		change     func(*registering.Options)
		with       bool
	}{
		{"alone", "", func(*registering.Options) {}, false},
		{"gateway", "https://gateway.example:8443/register?device=dev_01", func(*registering.Options) {}, true},
		{"hostile", "https://gateway.example/" + hostile, func(o *registering.Options) {
			o.Device.Name, o.Device.Make, o.Device.Model, o.Device.Location, o.Device.Serial, o.Device.UUID = hostile, hostile, hostile, hostile, hostile, hostile
			o.Services[0].Name = hostile
		}, false},
	} {
		s := open(t)
		d := s.boot(c.change, func(o *registering.Options) { o.Services[0].URL = "https://jp.cloud.example" })
		p := s.panel(d, c.link)
		if c.with {
			_, err := d.Register(t.Context(), "cloud", hana, it, "", "")
			servertest.Must(t, err)
			servertest.Must(t, d.Cancel(t.Context(), s.of(d).ID))
		}
		res, page := p.do("GET", "/", nil)
		if csp := res.Header.Get("Content-Security-Policy"); res.StatusCode != 200 || !strings.Contains(csp, "default-src 'self'") {
			t.Errorf("%s: %d, policy %q", c.name, res.StatusCode, csp)
		}
		page = regexp.MustCompile(`reg_[0-9A-Z]{26}`).ReplaceAllString(once.ReplaceAllString(page, `name="once" value="KEY"`), "reg_ID")
		page = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`).ReplaceAllString(page, "TIME")
		golden(t, c.name, page)
		if n := elements(t, page, "script"); n != 1 {
			t.Errorf("%s: %d scripts, want its own alone", c.name, n)
		}
		res, code := p.do("GET", "/code.svg", nil)
		if c.link == "" && res.StatusCode != 404 || c.link != "" && (res.StatusCode != 200 || !strings.HasPrefix(code, "<svg ")) {
			t.Errorf("%s: the QR code is %d %.40q", c.name, res.StatusCode, code)
		}
	}
}

func golden(t *testing.T, name, page string) {
	t.Helper()
	path := filepath.Join("testdata", "panel-"+name+".html")
	if *update {
		servertest.Must(t, os.WriteFile(path, []byte(page), 0o644))
	}
	want, err := os.ReadFile(path)
	servertest.Must(t, err)
	if diff := cmp.Diff(string(want), page); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", path, diff)
	}
}

// elements counts what a browser makes of a page.
func elements(t *testing.T, page, name string) (n int) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	servertest.Must(t, err)
	for node := range root.Descendants() {
		if node.Type == html.ElementNode && node.Data == name {
			n++
		}
	}
	return n
}
