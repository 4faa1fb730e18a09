package registration_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// foe is a print service that speaks the reference region's wire and means ill.
type foe struct {
	*httptest.Server
	mu    sync.Mutex
	pages map[string]string // by the requester: the page for the code; "" is its own
	// alter changes the answer to a request of this path; it returns false to leave it as it is.
	alter func(w http.ResponseWriter, r *http.Request) bool
	seen  []string
}

func newFoe(t *testing.T) *foe {
	t.Helper()
	f := &foe{pages: map[string]string{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *foe) entry(name string) string {
	return fmt.Sprintf(", {name: %s, kind: reference, url: %q}", name, f.URL)
}

func (f *foe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f.mu.Lock()
	f.seen = append(f.seen, r.Method+" "+r.URL.Path)
	alter, page := f.alter, f.pages[r.PostForm.Get("requester")]
	f.mu.Unlock()
	if alter != nil && alter(w, r) {
		return
	}
	if page == "" {
		page = f.URL + "/device"
	}
	answer := func(status int, v map[string]any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		answer(200, map[string]any{"issuer": f.URL, "device_authorization_endpoint": f.URL + "/oauth/device_authorization", "token_endpoint": f.URL + "/oauth/token"})
	case "/oauth/device_authorization":
		answer(200, map[string]any{"device_code": "foe-device-code", "user_code": "BCDF-GHJK", "verification_uri": page, "expires_in": 600, "interval": 1})
	case "/oauth/token":
		answer(200, map[string]any{"access_token": "foe-token", "token_type": "Bearer", "expires_in": 3600})
	default:
		answer(404, map[string]any{"title": "not found"})
	}
}

func (f *foe) set(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// TestAttackServiceSwapsItsPage has a service send the administrator somewhere else: nobody is mailed, and the registration fails with
// its reason. TestWhereAnAdministratorIsNotSent of broker/approval has the spellings that look like the right host.
func TestAttackServiceSwapsItsPage(t *testing.T) {
	pages := []string{"https://evil.example/device", "http://evil.example/device", "https://127.0.0.1.evil.example/", "https://127.0.0.1.:443/", "https://[::1]/",
		"https://[fe80::1%25lo]/", "https://127.1/", "https://2130706433/", "https://xn--127-9ga.example/", "https://LOCALHOST/", "http://localhost/device", "ftp://127.0.0.1/"}
	f := newFoe(t)
	s := attackOn(t, len(pages)+1, f.entry("evil"))
	ids := map[string]string{}
	for n, page := range pages {
		user := fmt.Sprintf("u%d@example.co.jp", n)
		f.set(func() { f.pages[user] = page })
		ids[page] = s.ask(n+1, "evil", user).ID
	}
	for page, id := range ids {
		g := s.ends(id, mfpgate.RegistrationFailed)
		if g.Reason != "host-changed" || g.Detail == "" || g.VerificationURI != "" {
			t.Errorf("%s: reason %s, %s", page, g.Reason, g.Detail)
		}
	}
	for _, l := range s.box.Letters() {
		if l.To == attackBoss || strings.Contains(l.Text, "evil.example/") || strings.Contains(l.Text, "BCDF-GHJK") {
			t.Errorf("a letter to %s: %s", l.To, l.Text)
		}
	}
}

// TestAttackTokensStayAtHome has a service lead the gateway to another server, at every place where it names an address.
func TestAttackTokensStayAtHome(t *testing.T) {
	bird := newCanary(t)
	redirect := func(path string) func(*foe) func(http.ResponseWriter, *http.Request) bool {
		return func(*foe) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != path {
					return false
				}
				http.Redirect(w, r, bird.url+"/redirected"+path, http.StatusTemporaryRedirect)
				return true
			}
		}
	}
	document := func(path string, of func(f *foe) string, header ...string) func(*foe) func(http.ResponseWriter, *http.Request) bool {
		return func(f *foe) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != path {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				for i := 0; i+1 < len(header); i += 2 {
					w.Header().Set(header[i], header[i+1])
				}
				_, _ = io.WriteString(w, of(f))
				return true
			}
		}
	}
	const printers = "/print/v1/printers"
	code := func(events string) func(f *foe) string {
		return func(f *foe) string {
			return fmt.Sprintf(`{"device_code":"foe-device-code","user_code":"BCDF-GHJK","verification_uri":%q,"expires_in":600,"interval":60,"events_uri":%q}`, f.URL+"/device", events)
		}
	}
	running := func(*foe) string { return `{"operationId":"o","status":"running"}` }
	for _, c := range []struct {
		rule  string
		alter func(*foe) func(http.ResponseWriter, *http.Request) bool
		until string // what the service must have seen
	}{
		{"metadata are elsewhere", redirect("/.well-known/oauth-authorization-server"), "GET /.well-known/openid-configuration"},
		{"the code's endpoint redirects", redirect("/oauth/device_authorization"), "POST /oauth/device_authorization"},
		{"the token's endpoint redirects", redirect("/oauth/token"), "POST /oauth/token"},
		{"events are elsewhere", document("/oauth/device_authorization", code(bird.url+"/events")), "POST /oauth/device_authorization"},
		{"the printers redirect", redirect(printers), "POST " + printers},
		{"the operation is elsewhere", document(printers, running, "Operation-Location", bird.url+"/operation"), "POST " + printers},
		{"the operation is elsewhere, without a scheme", document(printers, running, "Operation-Location", strings.TrimPrefix(bird.url, "http:")+"/operation"), "POST " + printers},
		{"the operation is at a user", document(printers, running, "Operation-Location", "http://x@"+strings.TrimPrefix(bird.url, "http://")+"/"), "POST " + printers},
		{"the operation has a line more", document(printers, running, "Operation-Location", "/o\tx"), "POST " + printers},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			f := newFoe(t)
			f.set(func() { f.alter = c.alter(f) })
			s := attackOn(t, 2, f.entry("evil"))
			g := s.ask(1, "evil", attackUser)
			rig.Until(t, "the service was asked", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return strings.Contains(strings.Join(f.seen, "\n"), c.until)
			})
			rig.Until(t, "the gateway has thought about it", func() bool {
				now := s.get(g.ID)
				return now.Reason != "" || now.Mails > 0
			})
			bird.silent(t)
			if text := s.Log.Text() + s.want("GET", "registrations", "", 200); strings.Contains(text, "foe-token") || strings.Contains(text, "foe-device-code") {
				t.Errorf("a secret is in the log or the answer: %s", text)
			}
		})
	}
}

// TestAttackTarpits has two services take every connection and say nothing. A third one, and the letters, go on.
func TestAttackTarpits(t *testing.T) {
	var services strings.Builder
	for n := range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		servertest.Must(t, err)
		t.Cleanup(func() { _ = l.Close() })
		fmt.Fprintf(&services, ", {name: tarpit%d, kind: reference, url: \"http://%s\"}", n, l.Addr()) // the kernel accepts, and nobody answers
	}
	const each = 45
	s := attackOn(t, 2*each+2, services.String())
	for n := range 2 * each {
		s.ask(n+2, fmt.Sprint("tarpit", n%2), fmt.Sprintf("u%d@example.co.jp", n))
	}
	begun := time.Now()
	g := s.ask(1, "office", attackUser)
	if status, page := s.region.Decide(t, attackBoss, s.password, s.code(g.ID), attackUser); status != 200 {
		t.Fatal(page)
	}
	s.ends(g.ID, mfpgate.RegistrationRegistered)
	s.box.AwaitTo(t, attackUser)
	if took := time.Since(begun); took > 15*time.Second { // a call to a tarpit lasts half a minute
		t.Errorf("it took %v", took)
	}
}
