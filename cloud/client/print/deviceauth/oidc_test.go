package deviceauth_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
	"github.com/mfpgate/mfpgate/tests/peers"
)

// TestAuthorizationServerOfOthers speaks with zitadel's server: discovery by OpenID, codes, decisions on its pages, tokens.
func TestAuthorizationServerOfOthers(t *testing.T) {
	s := peers.OIDCServer(t, 0)
	c := deviceauth.Client{HTTP: exchange.NewHTTP(exchange.Options{}), ClientID: s.ClientID}
	t.Cleanup(c.HTTP.CloseIdleConnections)
	m, err := c.Discover(t.Context(), s.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Discover(t.Context(), s.Issuer[:len(s.Issuer)-1]); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("its issuer without the slash: got %v, want ErrRefused", err)
	}
	ask := func(t *testing.T) mfpgate.Code {
		t.Helper()
		code, err := c.RequestCode(t.Context(), m, "openid profile", nil, verifier)
		if err != nil {
			t.Fatal(err)
		}
		if code.Lifetime != 5*time.Minute || code.Interval != 5*time.Second || code.Events != "" {
			t.Errorf("got %+v, want the server's five minutes and seconds", code)
		}
		if _, err := c.Redeem(t.Context(), m, code, verifier); !errors.Is(err, mfpgate.ErrPending) {
			t.Fatalf("got %v, want ErrPending", err)
		}
		return code
	}

	t.Run("approved", func(t *testing.T) {
		code := ask(t)
		s.Decide(t, code.VerificationURI, code.UserCode.Reveal(), true)
		grant, err := c.Redeem(t.Context(), m, code, verifier)
		if err != nil || grant.Token == "" || !grant.Expires.After(time.Now()) {
			t.Fatalf("got %+v, %v, want a token for some time", grant, err)
		}
		if got := userinfo(t, s.Issuer, grant.Token.Reveal()); got != http.StatusOK {
			t.Errorf("the server does not take its token: status %d", got)
		}
		if _, err := c.Redeem(t.Context(), m, code, verifier); err != nil {
			t.Errorf("this server answers a replay again; got %v", err)
		}
	})
	t.Run("denied", func(t *testing.T) {
		code := ask(t)
		s.Decide(t, code.VerificationURI, code.UserCode.Reveal(), false)
		if _, err := c.Redeem(t.Context(), m, code, verifier); !errors.Is(err, mfpgate.ErrDenied) {
			t.Errorf("got %v, want ErrDenied", err)
		}
	})
	t.Run("unknown code", func(t *testing.T) { // to RFC 6749 §5.2 it is invalid_grant
		if _, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: "nobody's"}, verifier); !errors.Is(err, mfpgate.ErrDenied) {
			t.Errorf("got %v, want this server's access_denied", err)
		}
	})
	t.Run("unknown client", func(t *testing.T) { // "server_error" under 400: it may go well another time
		other := deviceauth.Client{HTTP: c.HTTP, ClientID: "nobody"}
		if _, err := other.RequestCode(t.Context(), m, "openid profile", nil, ""); err == nil || errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("got %v, want an error that is not final", err)
		}
	})
	t.Run("client without the grant", func(t *testing.T) {
		other := deviceauth.Client{HTTP: c.HTTP, ClientID: "native"}
		if _, err := other.RequestCode(t.Context(), m, "openid profile", nil, ""); err == nil {
			t.Error("want an error")
		}
	})
	t.Run("as oauth2", func(t *testing.T) { // its code for our client, and ours for it
		theirs := &oauth2.Config{ClientID: s.ClientID, Scopes: []string{"openid", "profile"}, Endpoint: oauth2.Endpoint{DeviceAuthURL: m.DeviceAuthorization, TokenURL: m.Token}}
		there, err := theirs.DeviceAuth(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Decide(t, there.VerificationURI, there.UserCode, true)
		if _, err := c.Redeem(t.Context(), m, mfpgate.Code{DeviceCode: mfpgate.Secret(there.DeviceCode)}, ""); err != nil {
			t.Error(err)
		}
		code := ask(t)
		s.Decide(t, code.VerificationURI, code.UserCode.Reveal(), true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := theirs.DeviceAccessToken(ctx, &oauth2.DeviceAuthResponse{DeviceCode: code.DeviceCode.Reveal(), Interval: 1}); err != nil {
			t.Error(err)
		}
	})
}

func TestCodesOfOthersExpire(t *testing.T) {
	s := peers.OIDCServer(t, 300*time.Millisecond)
	c := deviceauth.Client{HTTP: exchange.NewHTTP(exchange.Options{}), ClientID: s.ClientID}
	t.Cleanup(c.HTTP.CloseIdleConnections)
	m, err := c.Discover(t.Context(), s.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	code, err := c.RequestCode(t.Context(), m, "openid profile", nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err = c.Redeem(t.Context(), m, code, ""); !errors.Is(err, mfpgate.ErrPending) {
			break
		}
		if err := mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if !errors.Is(err, mfpgate.ErrCodeExpired) {
		t.Errorf("got %v, want ErrCodeExpired", err)
	}
}

func userinfo(t *testing.T, issuer, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuer+"userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}
