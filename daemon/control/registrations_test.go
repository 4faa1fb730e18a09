package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/store/journal"
)

// registrar is a gateway whose registrations change when a test says so.
type registrar struct {
	*portaltest.Gateway
	changes chan string
	actors  []string
	keys    []string
	again   bool // what is asked for is open already
}

func (r *registrar) Register(ctx context.Context, q mfpgate.RegistrationRequest, actor, key string) (mfpgate.Registration, bool, error) {
	r.actors, r.keys = append(r.actors, actor), append(r.keys, key)
	g, _, err := r.Gateway.Register(ctx, q, actor, "")
	return g, !r.again, err
}

func (r *registrar) CancelRegistration(ctx context.Context, id, actor string) error {
	r.actors = append(r.actors, actor)
	if _, err := r.Registration(ctx, id); err != nil {
		return err
	}
	return r.Gateway.CancelRegistration(ctx, id, actor)
}

func (r *registrar) RegistrationChanges(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		for ok := yield(""); ok; {
			select {
			case <-ctx.Done():
				return
			case id := <-r.changes:
				ok = yield(id)
			}
		}
	}
}

func newRegistrar() *registrar {
	g := portaltest.Idle()
	g.PrintServicesAre = []control.PrintService{{Name: "office", Kind: "reference", URL: "https://print.example"}}
	g.RegistrationsAre = []mfpgate.Registration{{ID: "reg_1", Device: mfpgate.PrintDevice{ID: "dev_1", Name: "2F copier"}, Service: "office", User: "u@example.co.jp",
		State: mfpgate.RegistrationAwaitingAdmin, VerificationURI: "https://print.example/device", UserCode: "WDJB-MJHT", Attempt: 1, Attempts: 4}}
	g.AuditIs = []control.AuditEntry{{Room: "registration", Entry: journal.Entry{Seq: 2, Actor: "cli:0", Action: "registration.cancelled", Object: "reg_1"}},
		{Room: "registration", Entry: journal.Entry{Seq: 1, Actor: "cli:0", Action: "registration.requested", Object: "reg_1", After: json.RawMessage(`{"user":"u"}`)}}}
	g.ReportIs = control.AuditReport{Right: true, Chains: []control.AuditChain{{Gateway: "osaka-1", Room: "registration", Entries: 2, Hash: "ab"}}}
	return &registrar{Gateway: g, changes: make(chan string)}
}

type tooSoon struct{ error }

func (t tooSoon) Unwrap() error      { return t.error }
func (tooSoon) Delay() time.Duration { return 90*time.Second + 1 }

func TestTheRegistrationsOverHTTP(t *testing.T) {
	g := newRegistrar()
	h := control.Handler(g, "test")
	const body = `{"deviceId":"dev_1","service":"office","user":"u@example.co.jp","retries":2}`
	for _, c := range []struct {
		rule, method, path, body string
		fails                    error
		status                   int
		says                     string
	}{
		{"the services", "GET", "print-services", "", nil, 200, `{"items":[{"name":"office","kind":"reference","url":"https://print.example"}]}`},
		{"the list", "GET", "registrations", "", nil, 200, `{"items":[{"registrationId":"reg_1","device":{"deviceId":"dev_1",`},
		{"one, with its code", "GET", "registrations/reg_1", "", nil, 200, `"userCode":"WDJB-MJHT"`},
		{"one that is not there", "GET", "registrations/reg_0", "", nil, 404, `"detail":"there is no such registration"`},
		{"a request", "POST", "registrations", body, nil, 202, `"registrationId":"reg_new1"`},
		{"a request without a user", "POST", "registrations", `{"deviceId":"dev_1","service":"office"}`, nil, 422, `"status":422`},
		{"too many retries", "POST", "registrations", strings.Replace(body, `:2}`, `:11}`, 1), nil, 422, `"location":"body.retries"`},
		{"what the state forbids", "POST", "registrations", body, fmt.Errorf("%w: the device is being moved", control.ErrRegistration), 409, `"detail":"not done: the device is being moved"`},
		{"what cannot be", "POST", "registrations", body, fmt.Errorf("%w: %w: no such service", control.ErrRegistration, control.ErrUnfit), 422, `no such service`},
		{"what comes too early", "POST", "registrations/reg_1/resend", "", fmt.Errorf("%w: %w", control.ErrRegistration, tooSoon{control.ErrTooOften}), 429, `"status":429`},
		{"a defect", "POST", "registrations/reg_1/resend", "", errors.New("disk on fire"), 500, `"status":500`},
		{"resend", "POST", "registrations/reg_1/resend", "", nil, 204, ""},
		{"retry", "POST", "registrations/reg_1/retry", "", nil, 202, `"registrationId":"reg_1"`},
		{"approve", "POST", "registrations/reg_1/decide", `{"approve":true}`, nil, 204, ""},
		{"decide nothing", "POST", "registrations/reg_1/decide", `{}`, nil, 422, `"location":"body"`},
		{"cancel", "DELETE", "registrations/reg_1", "", nil, 204, ""},
		{"cancel what is not there", "DELETE", "registrations/reg_0", "", nil, 404, "no such registration"},
		{"events of what is not there", "GET", "registrations/reg_0/events", "", nil, 404, "no such registration"},
		{"the audit", "GET", "audit", "", nil, 200, `{"items":[{"room":"registration","actor":"cli:0","action":"registration.cancelled","object":"reg_1","seq":2,`},
		{"an older part", "GET", "audit?room=registration&before=2&limit=1", "", nil, 200, `"after":{"user":"u"},"seq":1,`},
		{"a number without a room", "GET", "audit?before=2", "", nil, 422, "before needs room"},
		{"a room that keeps none", "GET", "audit?room=proxy", "", nil, 404, "no room of this name"},
		{"too much", "GET", "audit?limit=1001", "", nil, 422, `"location":"query.limit"`},
		{"the audit's state", "GET", "audit/verify", "", nil, 200, `"right":true,"chains":[{"gateway":"osaka-1","room":"registration","entries":2,"hash":"ab","wrong":""}]`},
		{"the description", "GET", "openapi.json", "", nil, 200, `"text/event-stream"`},
	} {
		g.ChangeFails = c.fails
		status, body := ask(t, h, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d, want %d and %s:\n%s", c.rule, status, c.status, c.says, body)
		}
		if strings.Contains(body, "WDJB") && c.rule != "one, with its code" {
			t.Errorf("%s: shows a code:\n%s", c.rule, body)
		}
	}
	if diff := cmp.Diff([]mfpgate.RegistrationRequest{{Device: "dev_1", Service: "office", User: "u@example.co.jp", Retries: 2}}, g.RequestsWere); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHowARequestIsAnswered(t *testing.T) {
	g := newRegistrar()
	h := control.Handler(g, "test")
	send := func(ctx context.Context) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, "POST", "/api/v1/registrations", strings.NewReader(`{"deviceId":"dev_1","service":"office","user":"u@example.co.jp"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := send(t.Context())
	if w.Code != 202 || w.Header().Get("Location") != "/api/v1/registrations/reg_new1" {
		t.Errorf("a new one: %d, %v", w.Code, w.Header())
	}
	g.again = true
	if w = send(control.WithCaller(t.Context(), control.Caller{Actor: "mori", Account: "mori", From: "10.1.2.3"})); w.Code != 200 {
		t.Errorf("an open one: %d", w.Code)
	}
	if last := g.RequestsWere[1]; last.Account != "mori" || last.From != "10.1.2.3" {
		t.Errorf("who asked is not told: %+v", last)
	}
	if diff := cmp.Diff([][]string{{"api", "mori"}, {"k1", "k1"}}, [][]string{g.actors, g.keys}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	g.ChangeFails = fmt.Errorf("%w: %w", control.ErrRegistration, tooSoon{control.ErrTooOften})
	if w = send(t.Context()); w.Code != 429 || w.Header().Get("Retry-After") != "91" {
		t.Errorf("too early: %d, %v", w.Code, w.Header())
	}
}

func TestARegistrationIsFollowedToItsEnd(t *testing.T) {
	g := newRegistrar()
	server := httptest.NewUnstartedServer(control.Handler(g, "test"))
	server.Config.WriteTimeout, server.Config.ReadTimeout = time.Millisecond, 100*time.Millisecond // streams outlive them
	server.Start()
	defer server.Close()
	resp, err := http.Get(server.URL + "/api/v1/registrations/reg_1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
		t.Fatalf("%s, %s", resp.Status, kind)
	}
	var states []mfpgate.RegistrationState
	err = control.Follow(resp.Body, func(r mfpgate.Registration) bool {
		if r.UserCode != "" {
			t.Error("the stream has the code")
		}
		states = append(states, r.State)
		switch r.State {
		case mfpgate.RegistrationAwaitingAdmin:
			g.changes <- ""      // nothing has changed: a comment
			g.changes <- "reg_9" // another one's
			g.RegistrationsAre[0].State = mfpgate.RegistrationCertifying
			g.changes <- "reg_1"
		case mfpgate.RegistrationCertifying:
			g.RegistrationsAre[0].State = mfpgate.RegistrationRegistered
			g.changes <- "reg_1"
		}
		return true
	})
	if diff := cmp.Diff([]mfpgate.RegistrationState{"awaiting_admin", "certifying", "registered"}, states); diff != "" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	server := httptest.NewServer(control.Handler(newRegistrar(), "test"))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := func() int {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/registrations/reg_1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp.StatusCode
	}
	for i := range 64 {
		if status := open(); status != 200 {
			t.Fatalf("stream %d: %d", i+1, status)
		}
	}
	if status := open(); status != 503 {
		t.Errorf("one too many: %d", status)
	}
}
