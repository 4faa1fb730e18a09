package deviceauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

// GrantType is that of RFC 8628 §3.4.
const GrantType = "urn:ietf:params:oauth:grant-type:device_code"

const (
	maxLifetime = 24 * time.Hour // of a code or a token that claims more; asking again is harmless
	maxInterval = 10 * time.Minute
	maxSecret   = 16 << 10 // bytes of a device code or a token
	maxUserCode = 64       // bytes; a person types it
	maxURI      = 2048     // bytes
)

// Client asks as one OAuth client. HTTP is required. It is safe for concurrent use.
type Client struct {
	HTTP     *http.Client // exchange.NewHTTP makes one with all its bounds
	ClientID string
	Clock    mfpgate.Clock // nil: the machine's
}

func (c Client) clock() mfpgate.Clock {
	if c.Clock == nil {
		return mfpgate.SystemClock{}
	}
	return c.Clock
}

// RequestCode asks for a code (RFC 8628 §3.1). extra are parameters that the server may show to who approves; scope and verifier
// may be "". The lifetime of the code is cut at 24 h and the interval at 10 min. The verification URI is as the server wrote it: who
// sends a person there looks at it first, and knows which hosts are right. Events that are not on the endpoint's own origin are none.
func (c Client) RequestCode(ctx context.Context, m Metadata, scope string, extra url.Values, verifier mfpgate.Secret) (mfpgate.Code, error) {
	form := maps.Clone(extra)
	if form == nil {
		form = url.Values{}
	}
	form.Set("client_id", c.ClientID)
	if scope != "" {
		form.Set("scope", scope)
	}
	if verifier != "" {
		form.Set("code_challenge", challenge(verifier))
		form.Set("code_challenge_method", "S256")
	}
	a, err := c.post(ctx, m.DeviceAuthorization, form)
	if err == nil && (a.Status >= 300 || failed(a.Body)) {
		err = refusal(a, nil, verifier)
	}
	var out mfpgate.Code
	if err == nil {
		out, err = code(a.Body)
	}
	if !sameOrigin(out.Events, m.DeviceAuthorization) {
		out.Events = "" // the device code goes with the question, so it goes where it came from
	}
	if err != nil {
		return mfpgate.Code{}, fmt.Errorf("request code: %w", err)
	}
	return out, nil
}

// Shown are parameters that an authorization server may show to who approves, in the words of the reference print service. One that
// does not know them ignores them (RFC 6749 §3.1).
func Shown(r mfpgate.CodeRequest) url.Values {
	out := url.Values{}
	for name, value := range map[string]string{
		"device_uuid": r.Device.UUID, "device_name": r.Device.Name, "device_make": r.Device.Make, "device_model": r.Device.Model,
		"device_serial": r.Device.Serial, "device_location": r.Device.Location, "device_address": r.Device.Address,
		"requester": r.User, "site": r.Site, "printer_id": r.Printer,
	} {
		if value != "" {
			out.Set(name, value)
		}
	}
	return out
}

// Redeem asks once whether a code was approved (RFC 8628 §3.4): mfpgate.ErrPending, ErrSlowDown, ErrCodeExpired, ErrDenied or
// ErrInvalidGrant if it is not. verifier is that of the request, or "".
func (c Client) Redeem(ctx context.Context, m Metadata, code mfpgate.Code, verifier mfpgate.Secret) (mfpgate.Grant, error) {
	form := url.Values{"grant_type": {GrantType}, "device_code": {code.DeviceCode.Reveal()}, "client_id": {c.ClientID}}
	if verifier != "" {
		form.Set("code_verifier", verifier.Reveal())
	}
	before := c.clock().Now()
	a, err := c.post(ctx, m.Token, form)
	if err == nil && (a.Status >= 300 || failed(a.Body)) {
		err = refusal(a, undecided, code.DeviceCode, code.UserCode, verifier)
	}
	var out mfpgate.Grant
	if err == nil {
		out, err = grant(a.Body, before)
	}
	if err != nil {
		return mfpgate.Grant{}, fmt.Errorf("redeem code: %w", err)
	}
	return out, nil
}

func (c Client) post(ctx context.Context, endpoint string, form url.Values) (exchange.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return exchange.Answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Cache-Control", "no-store")
	return exchange.Do(c.HTTP, c.clock(), req)
}

// challenge is S256 of RFC 7636 §4.2.
func challenge(verifier mfpgate.Secret) string {
	sum := sha256.Sum256([]byte(verifier.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// failed reports an error under a status that says otherwise, as GitHub answers.
func failed(o exchange.Object) bool {
	_, ok := o["error"]
	return ok
}

// undecided are what RFC 8628 §3.5 adds to the errors of RFC 6749 §5.2, with Entra's words for the same.
var undecided = map[string]error{
	"authorization_pending":  mfpgate.ErrPending,
	"slow_down":              mfpgate.ErrSlowDown,
	"expired_token":          mfpgate.ErrCodeExpired,
	"code_expired":           mfpgate.ErrCodeExpired,
	"access_denied":          mfpgate.ErrDenied,
	"authorization_declined": mfpgate.ErrDenied,
	"invalid_grant":          mfpgate.ErrInvalidGrant,
	"bad_verification_code":  mfpgate.ErrInvalidGrant,
}

// refusal reads an error of RFC 6749 §5.2. An answer that names none says nothing of the request: something on the way gave it.
func refusal(a exchange.Answer, known map[string]error, secrets ...mfpgate.Secret) error {
	code, err := a.Body.Text("error", 256)
	if err != nil {
		code = ""
	}
	text, _ := a.Body.Text("error_description", 4096)
	var means error
	switch meaning := known[code]; {
	case meaning != nil && a.Status < 500:
		means = meaning
	case code == "" || code == "server_error" || code == "temporarily_unavailable" || a.Passing():
	default:
		means = mfpgate.ErrRefused
	}
	return a.Refuse(means, code, text, secrets...)
}

// code reads RFC 8628 §3.2.
func code(o exchange.Object) (mfpgate.Code, error) {
	device, err := o.Visible("device_code", maxSecret)
	if err != nil {
		return mfpgate.Code{}, err
	}
	user, err := o.Text("user_code", maxUserCode)
	if err != nil {
		return mfpgate.Code{}, err
	}
	if device == "" || user == "" || user != strings.TrimSpace(user) || strings.ContainsFunc(user, unprintable) {
		return mfpgate.Code{}, fmt.Errorf("%w: without a device_code and a user_code that can be typed", exchange.ErrAnswer)
	}
	out := mfpgate.Code{DeviceCode: mfpgate.Secret(device), UserCode: mfpgate.Secret(user)}
	if out.VerificationURI, err = o.Text("verification_uri", exchange.MaxAnswer); err == nil && out.VerificationURI == "" {
		out.VerificationURI, err = o.Text("verification_url", exchange.MaxAnswer) // of drafts, and of Google
	}
	if err != nil {
		return mfpgate.Code{}, err
	}
	if out.VerificationURI == "" {
		return mfpgate.Code{}, fmt.Errorf("%w: without a verification_uri", exchange.ErrAnswer)
	}
	if out.Lifetime, err = o.Seconds("expires_in", maxLifetime); err != nil {
		return mfpgate.Code{}, err
	}
	if out.Lifetime == 0 {
		return mfpgate.Code{}, fmt.Errorf("%w: without the code's lifetime, expires_in", exchange.ErrAnswer)
	}
	if out.Interval, err = o.Seconds("interval", maxInterval); err != nil {
		out.Interval = 0 // as though none were named: RFC 8628 has a default
	}
	// Events only hasten what polling finds, so an address that cannot be used is as none.
	if events, err := o.Visible("events_uri", maxURI); err == nil {
		if _, err := exchange.Secure(events); err == nil {
			out.Events = events
		}
	}
	return out, nil
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// sameOrigin compares scheme, host and port (RFC 6454 §4), as they are written.
func sameOrigin(a, b string) bool {
	x, err1 := url.Parse(a)
	y, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && x.Host != "" && strings.EqualFold(x.Scheme, y.Scheme) && strings.EqualFold(x.Host, y.Host)
}

// grant reads RFC 6749 §5.1.
func grant(o exchange.Object, before time.Time) (mfpgate.Grant, error) {
	token, err := o.Visible("access_token", maxSecret)
	if err != nil {
		return mfpgate.Grant{}, err
	}
	if token == "" {
		return mfpgate.Grant{}, fmt.Errorf("%w: without access_token", exchange.ErrAnswer)
	}
	kind, err := o.Text("token_type", 64)
	if err != nil {
		return mfpgate.Grant{}, err
	}
	if kind != "" && !strings.EqualFold(kind, "bearer") {
		return mfpgate.Grant{}, fmt.Errorf("%w: the token is of type %q, and only bearer tokens can be used", mfpgate.ErrRefused, kind)
	}
	out := mfpgate.Grant{Token: mfpgate.Secret(token)}
	life, err := o.Seconds("expires_in", maxLifetime)
	if err == nil && life > 0 {
		out.Expires = before.Add(life)
	}
	return out, nil
}
