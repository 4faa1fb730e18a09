package print_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/server/print"
)

func TestMetadataIsOneDocumentAtBothPlaces(t *testing.T) {
	d := newDesk(t)
	a, b := d.get("/.well-known/oauth-authorization-server"), d.get("/.well-known/openid-configuration")
	want := map[string]any{
		"issuer": base, "device_authorization_endpoint": base + "/oauth/device_authorization", "token_endpoint": base + "/oauth/token",
		"grant_types_supported": []any{"urn:ietf:params:oauth:grant-type:device_code"}, "response_types_supported": []any{},
		"scopes_supported": []any{"print.register", "print.allow"}, "code_challenge_methods_supported": []any{"S256"},
		"token_endpoint_auth_methods_supported": []any{"none"},
	}
	if diff := cmp.Diff(want, decode[map[string]any](t, a)); diff != "" || a.body != b.body {
		t.Error(diff, b.body)
	}
}

func TestWhatIsAskedForIsChecked(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		rule   string
		change []string
		word   string
	}{
		{"no client", []string{"client_id", ""}, "invalid_client"},
		{"a client with a line end", []string{"client_id", "a\nb"}, "invalid_client"},
		{"a scope that there is not", []string{"scope", "print.register admin"}, "invalid_scope"},
		{"a plain challenge", []string{"code_challenge_method", "plain"}, "invalid_request"},
		{"a challenge without its method", []string{"code_challenge_method", ""}, "invalid_request"},
		{"a challenge that is no digest", []string{"code_challenge", "short"}, "invalid_request"},
		{"no device", []string{"device_uuid", ""}, "invalid_request"},
		{"a device that is no UUID", []string{"device_uuid", "../../etc"}, "invalid_request"},
		{"a text too long", []string{"device_name", strings.Repeat("x", 257)}, "invalid_request"},
		{"a text that is no UTF-8", []string{"device_name", "\xff"}, "invalid_request"},
		{"no printer to allow a user on", []string{"scope", "print.allow", "printer_id", ""}, "invalid_request"},
		{"a printer that is not there", []string{"scope", "print.allow", "printer_id", "prn_1"}, "invalid_target"},
	} {
		got := d.form("/oauth/device_authorization", about(c.change...))
		if word := decode[struct{ Error string }](t, got).Error; got.status != 400 || word != c.word {
			t.Errorf("%s: got %d %s, want %s", c.rule, got.status, got.body, c.word)
		}
	}
	twice := about()
	twice.Add("client_id", "other")
	if got := d.form("/oauth/device_authorization", twice); got.status != 400 {
		t.Errorf("a parameter twice: %d", got.status)
	}
	if n := d.count(""); n != 0 {
		t.Errorf("%d records of refused requests", n)
	}
}

// expired codes answered authorization_pending for ever (spring-authorization-server #1556, #1885), were approved all the same
// (#1977, Abblix #483), and an approved code lived for ever and was redeemed repeatedly (ferriskey #1236, authlib #324).
func TestAnExpiredCodeIsExpired(t *testing.T) {
	for _, c := range []struct {
		rule, do string
		want     string
	}{
		{"nobody decided", "", "expired_token"},
		{"approved in time, redeemed too late", "approve", "expired_token"},
		{"refused in time: that is told", "deny", "access_denied"},
	} {
		d := newDesk(t)
		code := d.code()
		if c.do != "" {
			d.decide(admin, code, c.do, hana)
		}
		d.fake.Advance(print.DefaultLifetime)
		for n := range 20 { // however often, however fast
			if word, _ := d.poll(code, verifier); word != c.want {
				t.Errorf("%s: poll %d: %s, want %s", c.rule, n, word, c.want)
			}
		}
	}
	d := newDesk(t)
	code := d.code()
	d.fake.Advance(print.DefaultLifetime)
	before := d.dump()
	got := d.decide(admin, code, "approve", hana)
	if got.status != http.StatusGone || !strings.Contains(got.body, "This code has expired, and nothing was approved.") {
		t.Errorf("approving an expired code: %d %s", got.status, got.body)
	}
	if diff := cmp.Diff(before, d.dump()); diff != "" {
		t.Error(diff)
	}
}

// A poll that came too early raised the interval and moved the time from which it counted, so that a client that came a little
// early each time was told slow_down for ever (H2CK/oidc #716).
func TestWhoObeysSlowDownIsServed(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	poll := func(after time.Duration, want string) {
		t.Helper()
		d.fake.Advance(after)
		if word, _ := d.poll(code, verifier); word != want {
			t.Errorf("after %s: %s, want %s", after, word, want)
		}
	}
	poll(0, "authorization_pending")
	poll(5*time.Second, "authorization_pending")
	poll(4*time.Second, "slow_down")                     // 10 s from now on, since 4 s
	poll(6*time.Second, "authorization_pending")         // 10 s after the last that was answered
	poll(9800*time.Millisecond, "authorization_pending") // what a network takes off
	for range 40 {
		poll(100*time.Millisecond, "slow_down")
	}
	poll(60*time.Second, "authorization_pending") // never more than a minute
	poll(1*time.Second, "slow_down")
	d.decide(admin, code, "approve", hana)
	poll(0, "") // a decision is told at once
}

func TestADecisionIsToldAtOnce(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	d.poll(code, verifier)
	if word, _ := d.poll(code, verifier); word != "slow_down" {
		t.Fatal(word)
	}
	d.decide(admin, code, "deny")
	for range 3 {
		if word, _ := d.poll(code, verifier); word != "access_denied" {
			t.Error(word)
		}
	}
}

// A redeemed device_code was answered with a token again (Dex, zitadel's example).
func TestReplay(t *testing.T) {
	other := strings.Repeat("x", 43)
	for _, c := range []struct {
		rule     string
		after    time.Duration
		verifier string
		same     bool
	}{
		{"who lost the answer gets the same", 0, verifier, true},
		{"almost a minute later, too", 59 * time.Second, verifier, true},
		{"a minute later not", 60 * time.Second, verifier, false},
		{"another verifier", 0, other, false},
		{"none", 0, "", false},
		{"one that is none", 0, "x", false},
	} {
		d := newDesk(t)
		code := d.code()
		d.decide(admin, code, "approve", hana)
		for _, wrong := range []string{other, "", "x"} {
			if word, _ := d.poll(code, wrong); word != "invalid_grant" {
				t.Errorf("%s: redeemed with verifier %q: %s", c.rule, wrong, word)
			}
		}
		_, first := d.poll(code, verifier)
		d.fake.Advance(c.after)
		word, again := d.poll(code, c.verifier)
		if c.same && (word != "" || first != again) || !c.same && word != "invalid_grant" {
			t.Errorf("%s: got %q %s after %s", c.rule, word, again, first)
		}
		if n := d.count("token/"); n != 1 {
			t.Errorf("%s: %d tokens", c.rule, n)
		}
	}
	d := newDesk(t)
	code := d.code("code_challenge", "", "code_challenge_method", "")
	d.decide(admin, code, "approve", hana)
	if word, _ := d.poll(code, verifier); word != "invalid_grant" {
		t.Errorf("a verifier for no challenge: %s", word)
	}
	if word, _ := d.poll(code, ""); word != "" {
		t.Error(word)
	}
	if word, _ := d.poll(code, ""); word != "invalid_grant" {
		t.Errorf("replay without a challenge, which proves nobody: %s", word)
	}
}

func TestFiftyClientsRedeemOneCode(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	d.decide(admin, code, "approve", hana)
	answers := make([]string, 50)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			v := verifier
			if i%2 == 1 {
				v = strings.Repeat("x", 43)
			}
			word, answer := d.poll(code, v)
			if i%2 == 1 && word != "invalid_grant" {
				t.Errorf("another verifier: %s", word)
			}
			if i%2 == 0 {
				answers[i] = answer
			}
		})
	}
	all.Wait()
	for i := 0; i < len(answers); i += 2 {
		if answers[i] != answers[0] {
			t.Errorf("answer %d is %s, the first %s", i, answers[i], answers[0])
		}
	}
	if n := d.count("token/"); n != 1 {
		t.Errorf("%d tokens", n)
	}
}

func TestWhatIsNotAGrant(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	const grant = "urn:ietf:params:oauth:grant-type:device_code"
	for _, c := range []struct {
		rule             string
		grant, code, who string
		want             string
	}{
		{"an unknown code", grant, "dc_nothing", "mfpgate", "invalid_grant"},
		{"another client's code", grant, code.DeviceCode, "other", "invalid_grant"},
		{"a user code", grant, code.UserCode, "mfpgate", "invalid_grant"},
		{"another grant", "client_credentials", code.DeviceCode, "mfpgate", "unsupported_grant_type"},
		{"no grant", "", code.DeviceCode, "mfpgate", "invalid_request"},
		{"no code", grant, "", "mfpgate", "invalid_request"},
		{"no client", grant, code.DeviceCode, "", "invalid_request"},
	} {
		got := d.form("/oauth/token", url.Values{"grant_type": {c.grant}, "device_code": {c.code}, "client_id": {c.who}})
		if word := decode[struct{ Error string }](t, got).Error; got.status != 400 || word != c.want {
			t.Errorf("%s: %d %s, want %s", c.rule, got.status, word, c.want)
		}
	}
}

// Codes came from a weak source of random numbers (django-oauth-toolkit #1734). A biased or repeating one shows here.
func TestUserCodesAreEvenlyDrawn(t *testing.T) {
	d := newDesk(t, func(o *print.Options) { o.Lifetime = time.Second })
	const alphabet = "BCDFGHJKLMNPQRSTVWXZ"
	seen, drawn := map[string]bool{}, map[byte]int{}
	const n = 300
	for range n {
		code := strings.Replace(d.code().UserCode, "-", "", 1)
		if len(code) != 8 || seen[code] || strings.Trim(code, alphabet) != "" {
			t.Fatalf("code %q, or drawn before", code)
		}
		seen[code] = true
		for i := range len(code) {
			drawn[code[i]]++
		}
	}
	for i := range len(alphabet) { // 120 expected, standard deviation 10.7
		if got := drawn[alphabet[i]]; got < 60 || got > 180 {
			t.Errorf("%c was drawn %d times of %d", alphabet[i], got, n*8)
		}
	}
}

func TestACodeIsTypedAsPeopleDo(t *testing.T) {
	d := newDesk(t)
	code := d.code().UserCode
	bare := strings.Replace(code, "-", "", 1)
	for _, typed := range []string{code, bare, strings.ToLower(code), " " + strings.ToLower(bare) + "\t", bare[:4] + "\u2011" + bare[4:], strings.Join(strings.Split(bare, ""), " ")} {
		if got := d.as(admin, "/device", url.Values{"code": {typed}}); got.status != 200 || !strings.Contains(got.body, "A17-0042") {
			t.Errorf("%q: %d", typed, got.status)
		}
	}
}

// Nothing that lets somebody in lies in the store in the clear.
func TestSecretsAreNotReadable(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	d.decide(admin, code, "approve", hana)
	_, answer := d.poll(code, verifier)
	token := decode[map[string]any](t, reply{body: answer})["access_token"].(string)
	bare := strings.Replace(code.UserCode, "-", "", 1)
	for key, value := range d.dump() {
		for what, secret := range map[string]string{"device code": code.DeviceCode, "user code": code.UserCode, "bare user code": bare, "token": token} {
			if strings.Contains(key+value, secret) || strings.Contains(value, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%s: the %s is there to read", key, what)
			}
		}
	}
}

func TestCodesAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("copies a store a thousand times")
	}
	d := newDesk(t)
	for n := range 1000 {
		d.code("device_uuid", fmt.Sprintf("%08x-9d4b-4c5e-8f11-2a3b4c5d6e7f", n))
	}
	got := d.form("/oauth/device_authorization", about())
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("one more: %d %s", got.status, got.body)
	}
	d.from = "198.51.100.1:1"
	d.code()
	d.from = "192.0.2.7:4712"
	d.fake.Advance(print.DefaultLifetime)
	d.code() // those of before do not wait any more
}
