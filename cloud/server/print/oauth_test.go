package print_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store/memory"
)

// direct calls a service without a network, so that a bubble's clock goes on while a client waits. It takes time as a network does.
type direct struct {
	d     *desk
	polls []string
	delay time.Duration
}

func (c *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := mfpgate.Wait(r.Context(), mfpgate.SystemClock{}, c.delay); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	r.RemoteAddr = c.d.from
	c.d.mux.ServeHTTP(w, r)
	if r.URL.Path == "/oauth/token" {
		c.polls = append(c.polls, time.Now().Format("15:04:05")+" "+decode[struct{ Error string }](c.d.t, reply{body: w.Body.String()}).Error)
	}
	return w.Result(), nil
}

func bubble(t *testing.T, do func(t *testing.T, d *desk, net *direct, config oauth2.Config, ctx context.Context)) {
	authority() // its keys take no bubble's time
	synctest.Test(t, func(t *testing.T) {
		d := open(t, memory.New(), mfpgate.SystemClock{})
		net := &direct{d: d, delay: 80 * time.Millisecond}
		config := oauth2.Config{ClientID: "mfpgate", Scopes: []string{"print.register"}, Endpoint: oauth2.Endpoint{
			DeviceAuthURL: base + "/oauth/device_authorization", TokenURL: base + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams,
		}}
		do(t, d, net, config, context.WithValue(t.Context(), oauth2.HTTPClient, &http.Client{Transport: net}))
	})
}

// golang.org/x/oauth2 is told slow_down, obeys, and is served.
func TestAForeignClientObeysSlowDown(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, net *direct, config oauth2.Config, ctx context.Context) {
		v := oauth2.GenerateVerifier()
		code, err := config.DeviceAuth(ctx, append(deviceFacts(), oauth2.S256ChallengeOption(v))...)
		servertest.Must(t, err)
		hasty := *code
		hasty.Interval = 1 // somebody who does not look at what was answered
		time.AfterFunc(33*time.Second, func() { d.decide(admin, codeAnswer{UserCode: code.UserCode}, "approve", hana) })
		begun := time.Now()
		token, err := config.DeviceAccessToken(ctx, &hasty, oauth2.VerifierOption(v))
		if err != nil || token.AccessToken == "" {
			t.Fatalf("%v after %v", err, net.polls)
		}
		slow := strings.Count(strings.Join(net.polls, "\n"), "slow_down")
		if took := time.Since(begun); slow == 0 || slow > 3 || took > 50*time.Second {
			t.Errorf("%s, polls %q", took, net.polls)
		}
	})
}

func TestAForeignClientIsNeverTooEarly(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, net *direct, config oauth2.Config, ctx context.Context) {
		code, err := config.DeviceAuth(ctx, deviceFacts()...)
		servertest.Must(t, err)
		time.AfterFunc(10*time.Minute, func() { d.decide(admin, codeAnswer{UserCode: code.UserCode}, "deny") })
		_, err = config.DeviceAccessToken(ctx, code)
		var said *oauth2.RetrieveError
		if !errors.As(err, &said) || said.ErrorCode != "access_denied" {
			t.Errorf("%v", err)
		}
		if strings.Contains(strings.Join(net.polls, "\n"), "slow_down") || len(net.polls) < 100 {
			t.Errorf("polls %q", net.polls)
		}
	})
}

func TestAForeignClientLearnsThatTheCodeExpired(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk, net *direct, config oauth2.Config, ctx context.Context) {
		code, err := config.DeviceAuth(ctx, deviceFacts()...)
		servertest.Must(t, err)
		code.Expiry = time.Time{} // it asks the service, not its own clock
		_, err = config.DeviceAccessToken(ctx, code)
		var said *oauth2.RetrieveError
		if !errors.As(err, &said) || said.ErrorCode != "expired_token" {
			t.Errorf("%v", err)
		}
		if want := int(print.DefaultLifetime / print.DefaultInterval); len(net.polls) != want {
			t.Errorf("%d polls, want %d", len(net.polls), want)
		}
	})
}

// A stream tells of a decision and of the operation's end, and ends.
func TestEventsSayWhenToAsk(t *testing.T) {
	r := servertest.Start(t, servertest.Codes(20*time.Second, time.Second))
	pass := r.Administrator(t, admin)
	config, ctx := client(t, r)
	code, err := config.DeviceAuth(ctx, deviceFacts()...)
	servertest.Must(t, err)
	listen := func(token string) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/oauth/device_events", nil)
		servertest.Must(t, err)
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := r.HTTP(t).Do(req)
		servertest.Must(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	if got := listen("dc_x"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("an unknown code: %d", got.StatusCode)
	}
	res := listen(code.DeviceCode)
	lines := bufio.NewScanner(res.Body)
	next := func() string {
		for lines.Scan() {
			if text := lines.Text(); strings.HasPrefix(text, "event:") || text == ": beat" {
				return text
			}
		}
		return "end"
	}
	if got := next(); got != ": beat" || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("first %q of %s", got, res.Header.Get("Content-Type"))
	}
	r.Decide(t, admin, pass, code.UserCode, hana)
	for got := next(); got != "event: changed"; got = next() {
		if got == "end" {
			t.Fatal("the stream ended before it told of the decision")
		}
	}
	second := listen(code.DeviceCode)
	late := bufio.NewScanner(second.Body)
	for late.Scan() && late.Text() != "event: changed" { // who comes after the decision is told at once
	}
	if third := listen(code.DeviceCode); third.StatusCode != http.StatusServiceUnavailable || third.Header.Get("Retry-After") == "" {
		t.Errorf("a third stream of one code: %d", third.StatusCode)
	}
	r.Stop()
	for next() != "end" { // a shutdown does not wait for streams
	}
}

func TestAStreamEndsWithItsCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, memory.New(), mfpgate.SystemClock{})
		code := d.code()
		begun := time.Now()
		got := d.get("/oauth/device_events", "Authorization", "Bearer "+code.DeviceCode)
		if took := time.Since(begun); took != print.DefaultLifetime || !strings.HasSuffix(got.body, "event: changed\ndata: {}\n\n") || strings.Count(got.body, ": beat") < 50 {
			t.Errorf("after %s: %d %.200s", took, got.status, got.body)
		}
	})
}
