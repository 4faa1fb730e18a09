package deviceauth_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
)

func TestRedeem(t *testing.T) {
	var form url.Values
	c, m, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		form = r.PostForm
		answer(200, `{"access_token":"t0ken","token_type":"bearer","expires_in":3600}`)(w, r)
	})
	got, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: "d-1"}, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(mfpgate.Grant{Token: "t0ken", Expires: noon.Add(time.Hour)}, got); diff != "" {
		t.Error(diff)
	}
	want := url.Values{"grant_type": {deviceauth.GrantType}, "device_code": {"d-1"}, "client_id": {"mfpgate"}, "code_verifier": {verifier.Reveal()}}
	if diff := cmp.Diff(want, form); diff != "" {
		t.Error(diff)
	}
}

func TestTokensOfTheField(t *testing.T) {
	for _, tt := range []struct {
		rule, body string
		expires    time.Time
	}{
		{"without expires_in nothing is known of its end", `{"access_token":"t","token_type":"Bearer"}`, time.Time{}},
		{"expires_in as text is read", `{"access_token":"t","token_type":"Bearer","expires_in":"60"}`, noon.Add(time.Minute)},
		{"expires_in of words is as none", `{"access_token":"t","token_type":"Bearer","expires_in":"never"}`, time.Time{}},
		{"expires_in below zero is as none", `{"access_token":"t","token_type":"Bearer","expires_in":-1}`, time.Time{}},
		{"a huge expires_in is cut", `{"access_token":"t","token_type":"Bearer","expires_in":1e18}`, noon.Add(24 * time.Hour)},
		{"a token of no type is a bearer's", `{"access_token":"t"}`, time.Time{}},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, m, _ := server(t, answer(200, tt.body))
			got, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: "d"}, "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(mfpgate.Grant{Token: "t", Expires: tt.expires}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// meanings are all that Redeem can say of a refusal.
var meanings = []error{mfpgate.ErrPending, mfpgate.ErrSlowDown, mfpgate.ErrCodeExpired, mfpgate.ErrDenied, mfpgate.ErrInvalidGrant, mfpgate.ErrRefused}

func TestRefusals(t *testing.T) {
	oauthError := func(code string) string { return fmt.Sprintf(`{"error":%q}`, code) }
	page := func(status int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			answer(status, "<html>sorry</html>", append(headers, "Content-Type", "text/html")...)(w, r)
		}
	}
	for _, tt := range []struct {
		rule   string
		answer http.HandlerFunc
		want   error // nil: another try may go well
		delay  time.Duration
	}{
		{"authorization_pending", answer(400, oauthError("authorization_pending")), mfpgate.ErrPending, 0},
		{"pending under Google's status", answer(428, oauthError("authorization_pending")), mfpgate.ErrPending, 0},
		{"pending under GitHub's status", answer(200, oauthError("authorization_pending")), mfpgate.ErrPending, 0},
		{"slow_down", answer(400, oauthError("slow_down")), mfpgate.ErrSlowDown, 0},
		{"slow_down that says how long", answer(429, oauthError("slow_down"), "Retry-After", "40"), mfpgate.ErrSlowDown, 40 * time.Second},
		{"expired_token", answer(400, oauthError("expired_token")), mfpgate.ErrCodeExpired, 0},
		{"access_denied", answer(403, oauthError("access_denied")), mfpgate.ErrDenied, 0},
		{"Entra's word for a denial", answer(400, oauthError("authorization_declined")), mfpgate.ErrDenied, 0},
		{"invalid_grant", answer(400, oauthError("invalid_grant")), mfpgate.ErrInvalidGrant, 0},
		{"Entra's word for an unknown code", answer(400, oauthError("bad_verification_code")), mfpgate.ErrInvalidGrant, 0},
		{"invalid_client", answer(401, oauthError("invalid_client")), mfpgate.ErrRefused, 0},
		{"unauthorized_client", answer(400, oauthError("unauthorized_client")), mfpgate.ErrRefused, 0},
		{"invalid_scope", answer(400, oauthError("invalid_scope")), mfpgate.ErrRefused, 0},
		{"invalid_request", answer(400, oauthError("invalid_request")), mfpgate.ErrRefused, 0},
		{"unsupported_grant_type", answer(400, oauthError("unsupported_grant_type")), mfpgate.ErrRefused, 0},
		{"a word that nobody knows", answer(400, oauthError("interaction_required")), mfpgate.ErrRefused, 0},
		{"a token of another type", answer(200, `{"access_token":"t","token_type":"DPoP"}`), mfpgate.ErrRefused, 0},
		{"server_error under 400", answer(400, oauthError("server_error")), nil, 0},
		{"temporarily_unavailable", answer(503, oauthError("temporarily_unavailable"), "Retry-After", "120"), nil, 2 * time.Minute},
		{"a denial of a broken server says nothing", answer(500, oauthError("access_denied")), nil, 0},
		{"too many, until a date", answer(429, `{}`, "Retry-After", noon.Add(90*time.Second).Format(http.TimeFormat)), nil, 90 * time.Second},
		{"a delay of years is an hour", answer(503, `{}`, "Retry-After", "99999999"), nil, time.Hour},
		{"a page of a proxy", page(502), nil, 0},
		{"a page of a proxy that says when", page(503, "Retry-After", "7"), nil, 7 * time.Second},
		{"a page under 400", page(400), nil, 0},
		{"a page under 403", page(403), nil, 0},
		{"a page under 404", page(404), nil, 0},
		{"an error that is no text", answer(400, `{"error":{"code":"access_denied"}}`), nil, 0},
		{"an error given twice", answer(400, `{"error":"authorization_pending","error":"access_denied"}`), nil, 0},
		{"an error in other letters", answer(400, `{"ERROR":"access_denied"}`), nil, 0},
		{"no token", answer(200, `{}`), nil, 0},
		{"a token with a line break", answer(200, `{"access_token":"a\r\nb","token_type":"Bearer"}`), nil, 0},
		{"a token that no header takes", answer(200, `{"access_token":"`+strings.Repeat("t", 17<<10)+`","token_type":"Bearer"}`), nil, 0},
		{"nothing", answer(204, ``), nil, 0},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			c, m, _ := server(t, tt.answer)
			_, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: "d"}, "")
			if err == nil {
				t.Fatal("want an error")
			}
			for _, meaning := range meanings {
				if got, want := errors.Is(err, meaning), tt.want == meaning; got != want {
					t.Errorf("%v: is %q: %v, want %v", err, meaning, got, want)
				}
			}
			var named interface{ Delay() time.Duration }
			if errors.As(err, &named) != (tt.delay > 0) || tt.delay > 0 && named.Delay() != tt.delay {
				t.Errorf("%v: delay %v, want %v", err, named, tt.delay)
			}
		})
	}
}

func TestARequestKnowsNoDecision(t *testing.T) {
	for _, code := range []string{"access_denied", "invalid_grant", "authorization_pending", "unauthorized_client"} {
		c, m, _ := server(t, answer(400, fmt.Sprintf(`{"error":%q}`, code)))
		_, err := c.RequestCode(t.Context(), m, "", nil, "")
		for _, meaning := range meanings {
			if got, want := errors.Is(err, meaning), meaning == mfpgate.ErrRefused; got != want {
				t.Errorf("%s: %v: is %q: %v, want %v", code, err, meaning, got, want)
			}
		}
	}
}

func TestNoErrorHoldsASecret(t *testing.T) {
	const device, user = "dev+ice/c0de=", "BCDF-GHJK"
	c, m, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		text := "unknown: " + device + " " + url.QueryEscape(device) + " " + user + " " + verifier.Reveal()
		answer(400, fmt.Sprintf(`{"error":"invalid_client %s","error_description":%q}`, device, text))(w, r)
	})
	_, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: device, UserCode: user}, verifier)
	if err == nil || !strings.Contains(err.Error(), "unknown: redacted redacted redacted redacted") {
		t.Errorf("got %v, want the service's sentence without secrets", err)
	}
	for _, secret := range []string{device, url.QueryEscape(device), user, verifier.Reveal()} {
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Errorf("%v holds %q", err, secret)
		}
	}
}

// TestParityWithOAuth2 has golang.org/x/oauth2 read the same answers.
func TestParityWithOAuth2(t *testing.T) {
	for _, body := range []string{
		`{` + whole + `,"interval":5}`,
		`{` + whole + `}`,
		`{"device_code":"d","user_code":"U","verification_url":"https://a.example/d","expires_in":1}`,
	} {
		var forms []url.Values
		c, m, _ := server(t, func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			forms = append(forms, r.PostForm)
			answer(200, body)(w, r)
		})
		theirs, err := (&oauth2.Config{ClientID: c.ClientID, Scopes: []string{"a", "b"}, Endpoint: oauth2.Endpoint{DeviceAuthURL: m.DeviceAuthorization}}).
			DeviceAuth(t.Context(), oauth2.S256ChallengeOption(verifier.Reveal()))
		if err != nil {
			t.Fatal(err)
		}
		ours, err := c.RequestCode(t.Context(), m, "a b", nil, verifier)
		if err != nil {
			t.Fatal(err)
		}
		want := mfpgate.Code{DeviceCode: mfpgate.Secret(theirs.DeviceCode), UserCode: mfpgate.Secret(theirs.UserCode), VerificationURI: theirs.VerificationURI,
			Lifetime: time.Until(theirs.Expiry).Round(time.Second), Interval: time.Duration(theirs.Interval) * time.Second}
		if diff := cmp.Diff(want, ours); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
		if diff := cmp.Diff(forms[0], forms[1]); diff != "" {
			t.Errorf("requests differ: %s", diff)
		}
	}
}
