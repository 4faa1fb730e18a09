package registration_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/mailbox"
	"github.com/mfpgate/mfpgate/tests/rig"
)

const (
	attackBoss     = "it@example.co.jp"
	attackUser     = "sato@example.co.jp" // the account sato, of role user
	attackOther    = "abe@example.co.jp"  // the account abe, likewise
	attackPassword = "correct horse battery"
)

// attackScene is a gateway, a region, a mail server and three accounts of the portal: sato and abe, and the administrator mori.
type attackScene struct {
	*rig.Gateway
	t        *testing.T
	box      *mailbox.Box
	region   *servertest.Region
	facts    store.Store // the region's
	password mfpgate.Secret
	devices  map[string]mfpgate.DeviceID // by name
}

// attackOn starts it with so many devices, the first of which registers itself, and further print services.
func attackOn(t *testing.T, devices int, services string, with ...servertest.Option) *attackScene {
	t.Helper()
	s := &attackScene{t: t, box: mailbox.Start(t), facts: memory.New(), devices: map[string]mfpgate.DeviceID{}}
	s.region = servertest.StartOn(t, s.facts, append([]servertest.Option{servertest.Codes(10*time.Minute, time.Second)}, with...)...)
	s.password = s.region.Administrator(t, attackBoss)
	dir := rig.Dir(t)
	pem, err := os.ReadFile(s.region.Folder.CertificatePath())
	servertest.Must(t, err)
	url := s.region.URL
	for _, o := range with { // behind a front
		var options server.Options
		if o(&options); options.PublicURL != "" {
			url = options.PublicURL
		}
	}
	office := fmt.Sprintf("{name: office, kind: reference, url: %q, ca: %s}", url, rig.WriteFile(t, dir, "region.pem", string(pem)))
	var b strings.Builder
	fmt.Fprintf(&b, `  allow: [{host: update.vendor.example, ports: [443]}]
print_services: [%s%s]
registration: {admin: %s, retries: 2}
mail: {smtp: %q, from: mfpgate@example.co.jp, ca: %s}
devices:
  static:
`, office, services, attackBoss, s.box.Address, rig.WriteFile(t, dir, "mail.pem", string(s.box.PEM())))
	for n := range devices {
		mode := map[bool]string{true: "agent", false: "delegate"}[n == 0]
		fmt.Fprintf(&b, "    - {name: target %d, address: 127.43.%d.%d, registration: %s}\n", n, n/200, n%200+1, mode)
	}
	s.Gateway = rig.StartIn(t, dir, b.String()+"portal: {listen: \"127.0.0.2:0\"}\n")
	s.Reload(t, b.String()+fmt.Sprintf("portal: {listen: \"127.0.0.2:0\", url: \"https://%s\"}\n", s.Portal))
	for name, role := range map[string]control.Role{"sato": control.RoleUser, "abe": control.RoleUser, "mori": control.RoleAdministrator} {
		s.want("PUT", "users/"+name, fmt.Sprintf(`{"password":%q,"email":"%s@example.co.jp","role":%q}`, attackPassword, name, role), 204)
	}
	var list struct{ Items []mfpgate.Device }
	s.API(t, "devices", &list)
	for _, d := range list.Items {
		s.devices[d.Name] = d.ID
	}
	return s
}

func (s *attackScene) target(n int) mfpgate.DeviceID { return s.devices[fmt.Sprint("target ", n)] }

// call uses the control API over the socket; each pair of more is a header.
func (s *attackScene) call(method, resource, body string, more ...string) (int, string) {
	s.t.Helper()
	client := control.Client(s.Socket)
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://mfpgate/api/v1/"+resource, strings.NewReader(body))
	servertest.Must(s.t, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(more); i += 2 {
		r.Header.Set(more[i], more[i+1])
	}
	resp, err := client.Do(r)
	servertest.Must(s.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	servertest.Must(s.t, err)
	return resp.StatusCode, string(text)
}

func (s *attackScene) want(method, resource, body string, status int, more ...string) string {
	s.t.Helper()
	got, text := s.call(method, resource, body, more...)
	if got != status {
		s.t.Fatalf("%s %s %s: %d %s, want %d", method, resource, body, got, text, status)
	}
	return text
}

func attackBody(device mfpgate.DeviceID, service, user string) string {
	return fmt.Sprintf(`{"deviceId":%q,"service":%q,"user":%q}`, device, service, user)
}

// ask asks for a registration over the socket.
func (s *attackScene) ask(n int, service, user string) (g mfpgate.Registration) {
	s.t.Helper()
	servertest.Must(s.t, json.Unmarshal([]byte(s.want("POST", "registrations", attackBody(s.target(n), service, user), 202)), &g))
	return g
}

func (s *attackScene) get(id string) (g control.RegistrationDetail) {
	s.t.Helper()
	servertest.Must(s.t, json.Unmarshal([]byte(s.want("GET", "registrations/"+id, "", 200)), &g))
	return g
}

// ends waits until a registration is over.
func (s *attackScene) ends(id string, state mfpgate.RegistrationState) (g control.RegistrationDetail) {
	s.t.Helper()
	rig.Until(s.t, "the end of "+id, func() bool { g = s.get(id); return g.State.Ended() })
	if g.State != state {
		s.t.Errorf("%s: %s, reason %s (%s), want %s", id, g.State, g.Reason, g.Detail, state)
	}
	return g
}

// code waits until the administrator has a letter with the code.
func (s *attackScene) code(id string) (code string) {
	s.t.Helper()
	rig.Until(s.t, "the letter about "+id, func() bool {
		if code = s.get(id).UserCode; code == "" {
			return false
		}
		for _, l := range s.box.Letters() {
			if l.To == attackBoss && strings.Contains(l.Text, code) {
				return true
			}
		}
		return false
	})
	return code
}

// attackBrowser is a browser of one person on the portal.
type attackBrowser struct {
	t    *testing.T
	http *http.Client
	base string
}

func (s *attackScene) browser() *attackBrowser {
	jar, _ := cookiejar.New(nil) // never fails without options
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &attackBrowser{s.t, &http.Client{Transport: transport, Jar: jar, Timeout: rig.Deadline,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, "https://" + s.Portal}
}

// login is a browser with a session.
func (s *attackScene) login(name string) *attackBrowser {
	s.t.Helper()
	b := s.browser()
	if status, _, text := b.do("POST", "/login", url.Values{"name": {name}, "password": {attackPassword}}); status != 303 {
		s.t.Fatalf("login of %s: %d %s", name, status, text)
	}
	return b
}

// do sends a request as a page of the portal does; each pair of more is a header.
func (b *attackBrowser) do(method, path string, form url.Values, more ...string) (int, http.Header, string) {
	b.t.Helper()
	if !strings.Contains(path, "://") {
		path = b.base + path
	}
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, path, strings.NewReader(form.Encode()))
	servertest.Must(b.t, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i] == "Host" { // the jar goes by it, too
			for _, c := range b.http.Jar.Cookies(r.URL) {
				r.AddCookie(c)
			}
			r.Host = more[i+1]
			continue
		}
		r.Header.Set(more[i], more[i+1])
	}
	resp, err := b.http.Do(r)
	servertest.Must(b.t, err)
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, resp.Header, ""
	}
	text, err := io.ReadAll(resp.Body)
	servertest.Must(b.t, err)
	return resp.StatusCode, resp.Header, string(text)
}

// state is all that an attack may want to change: the region's store, and of the gateway the registrations and the audit.
func (s *attackScene) state() string {
	s.t.Helper()
	var b bytes.Buffer
	servertest.Must(s.t, s.facts.View(s.t.Context(), func(at store.Snapshot) error {
		b.Reset()
		for r, err := range store.All(at, "") {
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s\t%s\n", r.Key, r.Value)
		}
		return nil
	}))
	b.WriteString(s.want("GET", "registrations", "", 200))
	b.WriteString(s.want("GET", "audit?limit=1000", "", 200))
	return b.String()
}

var attackAddress = regexp.MustCompile(`https?://[^\s<>"]+`)

// canary is a server that nobody may be led to. It keeps what came.
type canary struct {
	url  string
	came chan string
}

func newCanary(t *testing.T) *canary {
	t.Helper()
	c := &canary{came: make(chan string, 100)}
	l, err := net.Listen("tcp", "127.0.0.9:0")
	servertest.Must(t, err)
	s := &http.Server{ReadHeaderTimeout: rig.Deadline, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case c.came <- fmt.Sprintf("%s %s %q %s", r.Method, r.URL, r.Header.Get("Authorization"), body):
		default:
		}
		w.WriteHeader(http.StatusNotFound)
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }() // the cleanup waits
	t.Cleanup(func() { _ = s.Close(); <-ended })
	c.url = "http://" + l.Addr().String()
	return c
}

func (c *canary) silent(t *testing.T) {
	t.Helper()
	select {
	case text := <-c.came:
		t.Errorf("somebody was led to the canary: %s", text)
	default:
	}
}

// attackFrom is a transport whose connections come from an address. What is to be the body comes as the header X-Body.
func attackFrom(t *testing.T, address string) http.RoundTripper {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	inner := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	t.Cleanup(inner.CloseIdleConnections)
	return attackTrip(func(r *http.Request) (*http.Response, error) {
		body := r.Header.Get("X-Body")
		r.Header.Del("X-Body")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		return inner.RoundTrip(r)
	})
}

type attackTrip func(*http.Request) (*http.Response, error)

func (f attackTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
