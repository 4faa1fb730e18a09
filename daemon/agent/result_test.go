package agent_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/agent"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

const registered = `{"state":"registered","printerId":"prn_1","printerUri":"ipps://print.example/1","certificate":"` +
	"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff" + `","certificateExpires":"2027-12-01T00:00:00Z","later":"ignored"}`

func TestAResultIsTakenOnce(t *testing.T) {
	s := open(t, fakeclock.New(start))
	s.add("reg_1", byAccount)
	for _, c := range []struct {
		rule, body, reason string
		status             int
	}{
		{"progress", `{"state":"awaiting_admin"}`, "", 204},
		{"progress again", `{"state":"awaiting_admin"}`, "", 204},
		{"the end", registered, "", 204},
		{"the same end", registered, "", 204},
		{"another end", `{"state":"failed","reason":"denied"}`, "request-ended", 409},
	} {
		res := s.ask("POST", api.ResultPath("reg_1"), c.body)
		if res.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", c.rule, res.StatusCode, c.status)
		} else if c.reason != "" && problem(t, res).Reason() != c.reason {
			t.Errorf("%s: another reason than %s", c.rule, c.reason)
		}
	}
	want := agent.Result{State: mfpgate.RegistrationRegistered, PrinterID: "prn_1", PrinterURI: "ipps://print.example/1",
		Certificate:        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		CertificateExpires: time.Date(2027, 12, 1, 0, 0, 0, 0, time.UTC)}
	if diff := cmp.Diff(want, s.results["reg_1"]); diff != "" {
		t.Error(diff)
	}
}

func TestResultsThatAreRefused(t *testing.T) {
	s := open(t, fakeclock.New(start))
	s.add("reg_1", byAccount)
	s.add("reg_2", byAddress)
	for _, c := range []struct {
		rule, id, body string
		change         func(*http.Request)
		status         int
		reason         string
	}{
		{"another device's request", "reg_2", registered, nil, 404, "request-unknown"},
		{"a request that is none", "reg_9", registered, nil, 404, "request-unknown"},
		{"a state that is not a device's to say", "reg_1", `{"state":"cancelled"}`, nil, 422, "invalid-request"},
		{"no state", "reg_1", `{}`, nil, 422, "invalid-request"},
		{"a failure without a reason", "reg_1", `{"state":"failed"}`, nil, 422, "invalid-request"},
		{"a reason that is a sentence", "reg_1", `{"state":"failed","reason":"No, thanks"}`, nil, 422, "invalid-request"},
		{"a detail of several lines", "reg_1", `{"state":"failed","reason":"x","detail":"a\nb"}`, nil, 422, "invalid-request"},
		{"a detail without end", "reg_1", `{"state":"failed","reason":"x","detail":"` + strings.Repeat("a", 1025) + `"}`, nil, 422, "invalid-request"},
		{"a certificate that is no digest", "reg_1", `{"state":"registered","certificate":"abc"}`, nil, 422, "invalid-request"},
		{"a printer of a failure", "reg_1", `{"state":"failed","reason":"x","printerId":"p"}`, nil, 422, "invalid-request"},
		{"an address with a line break", "reg_1", `{"state":"registered","printerUri":"a\r\nb"}`, nil, 422, "invalid-request"},
		{"no JSON", "reg_1", `state=registered`, nil, 400, "invalid-request"},
		{"a form", "reg_1", registered, header("Content-Type", "application/x-www-form-urlencoded"), 415, "unsupported-media-type"},
		{"text, which a page may send", "reg_1", registered, header("Content-Type", "text/plain"), 415, "unsupported-media-type"},
		{"no key", "reg_1", registered, header("Idempotency-Key", ""), 400, "idempotency-key-required"},
		{"a key without end", "reg_1", registered, header("Idempotency-Key", strings.Repeat("k", 257)), 400, "idempotency-key-required"},
		{"a page of another origin", "reg_1", registered, header("Sec-Fetch-Site", "cross-site"), 403, "cross-origin"},
		{"too much", "reg_1", `{"state":"failed","detail":"` + strings.Repeat("a", api.MaxResult) + `"}`, nil, 413, "too-large"},
		{"nobody", "reg_1", registered, header("Authorization", ""), 401, "needs-account"},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		res := s.ask("POST", api.ResultPath(c.id), c.body, change)
		if got := problem(t, res); res.StatusCode != c.status || got.Reason() != c.reason {
			t.Errorf("%s: got %d %s, want %d %s", c.rule, res.StatusCode, got.Reason(), c.status, c.reason)
		}
	}
	if len(s.results) != 0 {
		t.Errorf("taken: %v", s.results)
	}
}

func FuzzResult(f *testing.F) {
	for _, seed := range []string{registered, `{"state":"failed","reason":"denied","detail":"no"}`, `{"state":"awaiting_admin"}`, `[]`, `{"certificateExpires":"x"}`, ``} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d := newDesk()
		d.add("reg_1", byAddress)
		h := agent.Handler(agent.Options{Requests: d, Devices: devices{}, Clock: fakeclock.New(start)})
		r := httptest.NewRequest("POST", api.ResultPath("reg_1"), strings.NewReader(body))
		r.RemoteAddr = "127.0.0.9:1"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got, taken := d.results["reg_1"]
		if taken != (w.Code == 204) {
			t.Fatalf("status %d, taken %v", w.Code, taken)
		}
		if taken && (len(got.Detail) > 4096 || len(got.Reason) > 64 || len(got.PrinterURI) > 4096 || got.State == mfpgate.RegistrationCancelled) {
			t.Errorf("took %+v", got)
		}
	})
}
