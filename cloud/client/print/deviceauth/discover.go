package deviceauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

// Metadata are what a device authorization needs of an authorization server (RFC 8414 §2, RFC 8628 §4).
type Metadata struct {
	Issuer              string
	DeviceAuthorization string // endpoint
	Token               string // endpoint
	Scopes              []string
}

// Discover asks an issuer for its metadata (RFC 8414 §3) and, where it has none, for those of OpenID Connect Discovery. The issuer
// in them must be the one that was asked, byte for byte (RFC 8414 §3.3); another one, or a server without a device endpoint, wraps
// mfpgate.ErrRefused: the configuration names the wrong server.
func (c Client) Discover(ctx context.Context, issuer string) (Metadata, error) {
	base, err := exchange.Secure(issuer)
	if err != nil {
		return Metadata{}, fmt.Errorf("issuer: %w: %w", mfpgate.ErrRefused, err)
	}
	if base.RawQuery != "" || base.ForceQuery {
		return Metadata{}, fmt.Errorf("issuer %q: %w: must have no query", issuer, mfpgate.ErrRefused)
	}
	path := strings.TrimSuffix(base.EscapedPath(), "/")
	origin := base.Scheme + "://" + base.Host
	out, err := c.metadata(ctx, issuer, base, origin+"/.well-known/oauth-authorization-server"+path)
	if err == nil || !elsewhere(err) {
		return out, err
	}
	out, second := c.metadata(ctx, issuer, base, origin+path+"/.well-known/openid-configuration")
	if second != nil && elsewhere(second) {
		return Metadata{}, fmt.Errorf("%w; and %w", err, second)
	}
	return out, second
}

// absent is an answer that leaves the other place to look.
type absent struct{ error }

func (a absent) Unwrap() error { return a.error }

func elsewhere(err error) bool {
	return errors.As(err, new(absent))
}

func (c Client) metadata(ctx context.Context, issuer string, base *url.URL, at string) (Metadata, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return Metadata{}, err
	}
	a, err := exchange.Do(c.HTTP, c.clock(), req)
	switch {
	case errors.Is(err, exchange.ErrAnswer): // a page for every path, or a redirect to one
		return Metadata{}, absent{fmt.Errorf("discover %s: %w", at, err)}
	case err != nil:
		return Metadata{}, fmt.Errorf("discover %s: %w", issuer, err)
	case a.Passing():
		return Metadata{}, fmt.Errorf("discover %s: %w", at, a.Refuse(nil, "", ""))
	case a.Status != http.StatusOK:
		return Metadata{}, absent{fmt.Errorf("discover %s: %w", at, a.Refuse(mfpgate.ErrRefused, "", ""))}
	}
	var out Metadata
	for _, f := range []struct {
		name string
		to   *string
	}{{"issuer", &out.Issuer}, {"device_authorization_endpoint", &out.DeviceAuthorization}, {"token_endpoint", &out.Token}} {
		if *f.to, err = a.Body.Text(f.name, 2048); err != nil {
			return Metadata{}, fmt.Errorf("discover %s: %w", at, err)
		}
	}
	if out.Issuer != issuer {
		return Metadata{}, fmt.Errorf("discover %s: %w: it says that its issuer is %q; configure that one if it is meant", at, mfpgate.ErrRefused, out.Issuer)
	}
	if out.DeviceAuthorization == "" || out.Token == "" {
		return Metadata{}, absent{fmt.Errorf("discover %s: %w: the authorization server has no device grant (RFC 8628)", at, mfpgate.ErrRefused)}
	}
	for _, endpoint := range []string{out.DeviceAuthorization, out.Token} {
		u, err := exchange.Secure(endpoint)
		if err == nil && u.Scheme != base.Scheme && u.Scheme == "http" {
			err = fmt.Errorf("url %q is plain http, and the issuer is not", endpoint)
		}
		if err == nil && mfpgate.Loopback(u.Hostname()) && !mfpgate.Loopback(base.Hostname()) {
			err = fmt.Errorf("url %q is this machine, and the issuer is not", endpoint)
		}
		if err != nil {
			return Metadata{}, fmt.Errorf("discover %s: %w: %w", at, mfpgate.ErrRefused, err)
		}
	}
	if out.Scopes, err = a.Body.Texts("scopes_supported"); err != nil {
		return Metadata{}, fmt.Errorf("discover %s: %w", at, err)
	}
	return out, nil
}
