package agent_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var start = time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)

// problem reads a refusal.
func problem(t *testing.T, res *http.Response) *api.Problem {
	t.Helper()
	p := &api.Problem{}
	if kind := res.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("status %d is a %q, want a problem", res.StatusCode, kind)
		return p
	}
	if err := json.NewDecoder(res.Body).Decode(p); err != nil {
		t.Error(err)
	}
	if p.Status != res.StatusCode || p.Detail == "" {
		t.Errorf("got %+v with status %d", p, res.StatusCode)
	}
	return p
}

func TestWhoMayAsk(t *testing.T) {
	s := open(t, fakeclock.New(start))
	none := header("Authorization", "")
	for _, c := range []struct {
		rule   string
		change []func(*http.Request)
		status int
		reason string
		device mfpgate.DeviceID
	}{
		{"the account of a device", nil, 200, "", byAccount},
		{"an address that the configuration names", []func(*http.Request){none, from("127.0.0.9:1")}, 200, "", byAddress},
		{"the same address, as a socket for both families shows it", []func(*http.Request){none, from("[::ffff:127.0.0.9]:1")}, 200, "", byAddress},
		{"nobody", []func(*http.Request){none}, 401, "needs-account", ""},
		{"a wrong password", []func(*http.Request){as("copier", "wrong")}, 401, "bad-account", ""},
		{"a wrong password from an address that would do", []func(*http.Request){as("copier", "wrong"), from("127.0.0.9:1")}, 401, "bad-account", ""},
		{"an unknown account", []func(*http.Request){as("nobody", "right")}, 401, "bad-account", ""},
		{"another scheme", []func(*http.Request){header("Authorization", "Bearer right")}, 401, "bad-account", ""},
		{"two accounts", []func(*http.Request){func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }}, 401, "bad-account", ""},
		{"an account of no device", []func(*http.Request){as("stranger", "right")}, 403, "unknown-device", ""},
		{"a device that the gateway registers", []func(*http.Request){as("plain", "right")}, 403, "not-agent", ""},
	} {
		res := s.ask("GET", api.RequestsPath, "", c.change...)
		if res.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", c.rule, res.StatusCode, c.status)
			continue
		}
		if c.status != 200 {
			if got := problem(t, res); got.Reason() != c.reason {
				t.Errorf("%s: got %q, want %q", c.rule, got.Reason(), c.reason)
			}
			if challenge := res.Header.Get("WWW-Authenticate"); (challenge != "") != (c.status == 401) {
				t.Errorf("%s: challenge %q", c.rule, challenge)
			}
			continue
		}
		var list api.RegistrationRequests
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil || list.DeviceID != c.device {
			t.Errorf("%s: got %+v, %v, want device %s", c.rule, list, err, c.device)
		}
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	clock := fakeclock.New(start)
	s := open(t, clock)
	s.ask("GET", api.RequestsPath, "")
	var res *http.Response
	for n := range 30 {
		res = s.ask("GET", api.RequestsPath, "", as("copier", "guess"+strings.Repeat("x", n)))
		if res.StatusCode == 429 {
			break
		}
	}
	if got := problem(t, res); res.StatusCode != 429 || got.Reason() != "account-throttled" || res.Header.Get("Retry-After") == "" {
		t.Fatalf("after 30 guesses: %d %s, Retry-After %q", res.StatusCode, got.Reason(), res.Header.Get("Retry-After"))
	}
	if res := s.ask("GET", api.RequestsPath, "", as("plain", "right")); res.StatusCode != 429 {
		t.Errorf("who has not proved a password yet, from that address: %d, want 429", res.StatusCode)
	}
	if res := s.ask("GET", api.RequestsPath, ""); res.StatusCode != 200 {
		t.Errorf("a device that has, behind the same address: %d, want 200", res.StatusCode)
	}
	clock.Advance(time.Hour)
	if res := s.ask("GET", api.RequestsPath, "", as("copier", "another guess")); res.StatusCode != 401 {
		t.Errorf("an hour later: %d, want 401", res.StatusCode)
	}
}

func TestWhatADeviceIsTold(t *testing.T) {
	s := open(t, fakeclock.New(start))
	s.add("reg_1", byAccount)
	s.add("reg_2", byAddress)
	res := s.ask("GET", api.RequestsPath+"?wait=30", "")
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"deviceId":"dev_account","items":[{"registrationId":"reg_1","device":{"deviceId":"dev_account","name":"copier","make":"","model":"","serial":"",` +
		`"uuid":"u","location":"","address":""},"service":{"name":"office","kind":"reference","url":"https://print.example","clientId":"mfpgate"},` +
		`"purpose":"register","user":"hana@example.co.jp","admin":"it@example.co.jp","from":"10.0.0.7","retries":3,"deadline":"2026-12-02T01:00:00Z","site":"osaka-branch"}]}`
	if diff := cmp.Diff(want, string(body)); diff != "" {
		t.Error(diff)
	}
	var list api.RegistrationRequests
	if err := json.Unmarshal(body, &list); err != nil || list.Check() != nil {
		t.Errorf("read as %v, %v", err, list.Check())
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if again := s.ask("GET", api.RequestsPath, ""); again.Header.Get("ETag") != res.Header.Get("ETag") {
		t.Error("asking has changed something")
	}
}

func TestWhatIsNoQuestion(t *testing.T) {
	s := open(t, fakeclock.New(start))
	for _, c := range []struct {
		rule, method, path string
		change             func(*http.Request)
		status             int
	}{
		{"a wait that is too long", "GET", api.RequestsPath + "?wait=61", nil, 422},
		{"a wait before now", "GET", api.RequestsPath + "?wait=-1", nil, 422},
		{"a wait that is none", "GET", api.RequestsPath + "?wait=soon", nil, 422},
		{"an answer that is not served", "GET", api.RequestsPath, header("Accept", "text/html"), 406},
		{"another method", "PUT", api.RequestsPath, nil, 405},
		{"another method for a result", "GET", api.ResultPath("reg_1"), nil, 405},
		{"another path", "GET", "/device/v1/firmware", nil, 404},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		if res := s.ask(c.method, c.path, "", change); res.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", c.rule, res.StatusCode, c.status)
		} else {
			problem(t, res)
		}
	}
}
