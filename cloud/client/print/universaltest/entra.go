package universaltest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
)

type code struct {
	user    string
	client  string
	scope   string
	expires time.Time
	state   string // "pending", "approved", "declined" or "redeemed"
}

// form reads a request of OAuth: a POST whose parameters are each given once, in the body.
func (s *Service) form(w http.ResponseWriter, r *http.Request, names ...string) bool {
	if r.URL.RawQuery != "" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		oauthError(w, "invalid_request", 900144, "the request must be a form")
		return false
	}
	known := map[string]bool{}
	for _, name := range names {
		known[name] = true
		if len(r.PostForm[name]) != 1 || r.PostForm.Get(name) == "" {
			oauthError(w, "invalid_request", 900144, "the request body must contain the following parameter: '"+name+"'")
			return false
		}
	}
	for name := range r.PostForm {
		if !known[name] {
			oauthError(w, "invalid_request", 9000411, "the parameter '"+name+"' is not known")
			return false
		}
	}
	if r.PostForm.Get("client_id") != s.o.ClientID {
		oauthError(w, "unauthorized_client", 700016, "application '"+r.PostForm.Get("client_id")+"' was not found in the directory")
		return false
	}
	return true
}

func (s *Service) deviceCode(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r, "client_id", "scope") {
		return
	}
	if got := r.PostForm.Get("scope"); got != s.o.Scope {
		oauthError(w, "invalid_scope", 70011, "the provided value for the input parameter 'scope' is not valid: "+got)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	device := rand.Text() + rand.Text()
	c := &code{user: rand.Text()[:9], client: s.o.ClientID, scope: s.o.Scope, state: "pending", expires: s.o.Clock.Now().Add(s.o.Lifetime)}
	s.codes[device] = c
	answer(w, http.StatusOK, map[string]any{
		"user_code": c.user, "device_code": device, "verification_uri": s.URL + "/devicelogin", "expires_in": int(s.o.Lifetime.Seconds()),
		"interval": int(s.o.Interval.Seconds()), "message": "To sign in, use a web browser to open the page and enter the code to authenticate.",
	})
}

func (s *Service) token(w http.ResponseWriter, r *http.Request) {
	if !s.form(w, r, "client_id", "grant_type", "device_code") {
		return
	}
	if r.PostForm.Get("grant_type") != deviceauth.GrantType {
		oauthError(w, "unsupported_grant_type", 70003, "the app requested an unsupported grant type")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.codes[r.PostForm.Get("device_code")]
	switch {
	case !ok:
		oauthError(w, "bad_verification_code", 70000, "the device_code is not recognized")
	case c.state == "redeemed":
		oauthError(w, "invalid_grant", 54005, "the code was already redeemed")
	case !s.o.Clock.Now().Before(c.expires):
		oauthError(w, "expired_token", 70019, "the verification code has expired")
	case c.state == "declined":
		oauthError(w, "authorization_declined", 70018, "the end user denied the authorization")
	case c.state == "pending":
		oauthError(w, "authorization_pending", 70016, "OAuth 2.0 device flow error: authorization is pending; continue polling")
	default:
		c.state = "redeemed"
		text := rand.Text() + "." + rand.Text()
		s.tokens[text] = s.o.Clock.Now().Add(tokenLife)
		answer(w, http.StatusOK, map[string]any{
			"token_type": "Bearer", "scope": c.scope, "expires_in": int(tokenLife.Seconds()), "ext_expires_in": int(tokenLife.Seconds()), "access_token": text,
		})
	}
}

// decide is what an administrator does on Entra's page.
func (s *Service) decide(user, state string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.codes {
		if c.user == user && c.state == "pending" && s.o.Clock.Now().Before(c.expires) {
			c.state = state
			return nil
		}
	}
	return fmt.Errorf("no code %q waits", user)
}

func oauthError(w http.ResponseWriter, word string, number int, text string) {
	answer(w, http.StatusBadRequest, map[string]any{
		"error": word, "error_description": fmt.Sprintf("AADSTS%d: %s.\r\nTrace ID: 0\r\nCorrelation ID: 0", number, text), "error_codes": []int{number},
		"trace_id": "0", "correlation_id": "0",
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
