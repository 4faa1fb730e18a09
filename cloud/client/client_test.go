package client_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func connect(t *testing.T, url string, roots *x509.CertPool, token mfpgate.Secret, timeout time.Duration) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{
		URL: url, Gateway: "osaka-1", Token: token, RootCAs: roots, Timeout: timeout, UserAgent: "mfpgate/test",
		Clock: fakeclock.New(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)),
	})
	servertest.Must(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestContractIsReadOnceUntilItChanges(t *testing.T) {
	r := servertest.Start(t)
	c := connect(t, r.URL, r.Roots, r.Gateway(t, "osaka-1"), 20*time.Second)
	got, tag, err := c.Contract(t.Context(), "")
	servertest.Must(t, err)
	if diff := cmp.Diff(api.DefaultContract("osaka-1"), got); diff != "" || tag == "" {
		t.Errorf("tag %q; %s", tag, diff)
	}
	if _, _, err := c.Contract(t.Context(), tag); !errors.Is(err, client.ErrNotModified) {
		t.Errorf("unchanged: got %v, want ErrNotModified", err)
	}
	servertest.Must(t, r.Folder.ChangeContract("osaka-1", func(c *api.Contract) { c.MaxConcurrent = 7 }))
	if got, next, err := c.Contract(t.Context(), tag); err != nil || got.MaxConcurrent != 7 || next == tag {
		t.Errorf("changed: got %d, tag %q, %v", got.MaxConcurrent, next, err)
	}
}

func TestDevicesAreToldUnderTheirTag(t *testing.T) {
	r := servertest.Start(t)
	c := connect(t, r.URL, r.Roots, r.Gateway(t, "osaka-1"), 20*time.Second)
	d := api.Device{DeviceID: "dev_1", Model: "SIM-100", Serial: "1", MonitoringMode: "proxy"}
	tag, err := c.PutDevice(t.Context(), d, "")
	servertest.Must(t, err)
	d.Firmware = "2.0"
	next, err := c.PutDevice(t.Context(), d, tag)
	servertest.Must(t, err)
	_, err = c.PutDevice(t.Context(), d, tag)
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Problem.Status != 412 || refusal.Reason() != "precondition-failed" {
		t.Errorf("a stale tag: got %v, want 412 precondition-failed", err)
	}
	got, tag, err := c.Device(t.Context(), "dev_1")
	if diff := cmp.Diff(d, got); err != nil || diff != "" || tag != next {
		t.Errorf("tag %q, want %q; %v; %s", tag, next, err, diff)
	}
	page, err := c.Devices(t.Context(), "")
	if diff := cmp.Diff([]api.DeviceEntry{{Device: d, ETag: next}}, page.Items); err != nil || diff != "" {
		t.Errorf("%v; %s", err, diff)
	}
}

func TestTokenThatIsNone(t *testing.T) {
	r := servertest.Start(t)
	_, _, err := connect(t, r.URL, r.Roots, "osaka-1.x", 20*time.Second).Contract(t.Context(), "")
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Reason() != "token-refused" || strings.Contains(err.Error(), "osaka-1.x") {
		t.Errorf("got %v", err)
	}
}

func TestHostileAnswers(t *testing.T) {
	for _, c := range []struct {
		rule    string
		handler http.HandlerFunc
		want    func(error) bool
	}{
		{"an answer beyond the bound", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.Copy(w, io.LimitReader(spaces{}, 64<<20))
		}, func(err error) bool { return errors.Is(err, client.ErrAnswer) }},
		{"an answer that is no JSON", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<html>")
		}, func(err error) bool { return errors.Is(err, client.ErrAnswer) }},
		{"a contract that breaks its rules", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"mode":"auto","maxConcurrent":-5}`)
		}, func(err error) bool { return errors.Is(err, client.ErrAnswer) }},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, func(err error) bool { return errors.Is(err, client.ErrAnswer) }},
		{"a proxy's page with Retry-After", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			http.Error(w, "<html>busy", http.StatusServiceUnavailable)
		}, func(err error) bool {
			var e *client.Error
			return errors.As(err, &e) && e.Problem.Status == 503 && e.RetryAfter == 7*time.Second && e.Reason() == ""
		}},
		{"a problem that lies about its status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"type":"about:blank","title":"x","status":200}`)
		}, func(err error) bool {
			var e *client.Error
			return errors.As(err, &e) && e.Problem.Status == 403
		}},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(err error) bool { var e interface{ Timeout() bool }; return errors.As(err, &e) && e.Timeout() }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			srv := httptest.NewServer(c.handler)
			defer srv.Close()
			timeout := 20 * time.Second
			if c.rule == "no answer" {
				timeout = 50 * time.Millisecond
			}
			if _, _, err := connect(t, srv.URL, nil, "t", timeout).Contract(t.Context(), ""); !c.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestWhatIsSent(t *testing.T) {
	got := make(chan http.Header, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		w.WriteHeader(http.StatusNotModified)
	}))
	defer srv.Close()
	_, _, err := connect(t, srv.URL, nil, "t", time.Second*20).Contract(t.Context(), `"7"`)
	if !errors.Is(err, client.ErrNotModified) {
		t.Fatal(err)
	}
	h := <-got
	for name, want := range map[string]string{"Authorization": "Bearer t", "User-Agent": "mfpgate/test", "If-None-Match": `"7"`} {
		if h.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, h.Get(name), want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for url, part := range map[string]string{
		"http://jp.cloud.example": "https://", "jp.cloud.example": "https://", "https://jp.cloud.example/v1": "nothing more",
		"https://u:hunter2@jp.cloud.example": "nothing more", "https://": "nothing more", "ftp://127.0.0.1": "https://",
	} {
		_, err := client.New(client.Options{URL: url, Gateway: "g", Token: "t", Clock: mfpgate.SystemClock{}})
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %q", url, err, part)
		}
	}
	if _, err := client.New(client.Options{URL: "https://jp.cloud.example", Gateway: "g", Clock: mfpgate.SystemClock{}}); err == nil {
		t.Error("no token: no error")
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0": 0, "-1": 0, "99999999": time.Hour, "soon": 0, "99999999999999999999": 0,
		"Tue, 01 Dec 2026 00:00:30 GMT": 30 * time.Second, "Mon, 30 Nov 2026 00:00:30 GMT": 0, "Wed, 01 Dec 2027 00:00:30 GMT": time.Hour,
	} {
		if got := client.RetryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("Retry-After %q: got %s, want %s", text, got, want)
		}
	}
}

func TestCancelledCallEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := connect(t, "https://127.0.0.1:1", nil, "t", time.Hour).Contract(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
