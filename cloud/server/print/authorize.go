package print

import (
	"context"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/throttle"
)

// The scopes.
const (
	ScopeRegister = "print.register" // enters one device
	ScopeAllow    = "print.allow"    // allows users of one printer
)

// grantDevice is RFC 8628's grant type.
const grantDevice = "urn:ietf:params:oauth:grant-type:device_code"

// metadata is RFC 8414's document.
func (s *Service) metadata(w http.ResponseWriter, _ *http.Request) {
	base := s.base()
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                base,
		"device_authorization_endpoint":         base + "/oauth/device_authorization",
		"token_endpoint":                        base + "/oauth/token",
		"grant_types_supported":                 []string{grantDevice},
		"response_types_supported":              []string{}, // there is no authorization endpoint
		"scopes_supported":                      []string{ScopeRegister, ScopeAllow},
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"none"},
	})
}

// form reads a request's form: bounded, and each name once (RFC 6749 §3.2).
func form(w http.ResponseWriter, r *http.Request) (url.Values, string) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != contentTypeForm {
		return nil, "send the parameters as " + contentTypeForm
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, "the parameters cannot be read, or are longer than 16 KiB"
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return nil, "a parameter is there twice: " + clip(name)
		}
	}
	return r.PostForm, ""
}

// clip keeps foreign text in messages short and printable ASCII.
func clip(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
			return '?'
		}
		return r
	}, text[:min(len(text), 32)])
}

var (
	validClient    = regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)
	validChallenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
)

// maxText bounds each text that a client tells, in bytes.
const maxText = 256

// plain is a foreign text fit for one line, and false for one that is too long or no UTF-8.
func plain(text string) (string, bool) {
	if len(text) > maxText || !utf8.ValidString(text) {
		return "", false
	}
	return mfpgate.CleanText(text, maxText), true
}

func scopes(text string) (string, bool) {
	if strings.TrimSpace(text) == "" {
		return ScopeRegister, true
	}
	words := strings.Fields(text)
	slices.Sort(words)
	words = slices.Compact(words)
	for _, word := range words {
		if word != ScopeRegister && word != ScopeAllow {
			return "", false
		}
	}
	return strings.Join(words, " "), true
}

func hasScope(scope, word string) bool { return slices.Contains(strings.Fields(scope), word) }

// deviceAuthorization is RFC 8628 §3.1.
func (s *Service) deviceAuthorization(w http.ResponseWriter, r *http.Request) {
	in, wrong := form(w, r)
	if wrong != "" {
		s.oauth(w, r, "invalid_request", wrong)
		return
	}
	if !validClient.MatchString(in.Get("client_id")) {
		s.oauthRefusal(w, r, "invalid_client", refuse(http.StatusBadRequest, reasonOf("invalid_client"), "send a client_id of 1 to 128 printable characters"))
		return
	}
	scope, ok := scopes(in.Get("scope"))
	if !ok {
		s.oauth(w, r, "invalid_scope", "the scopes are "+ScopeRegister+" and "+ScopeAllow)
		return
	}
	challenge, method := in.Get("code_challenge"), in.Get("code_challenge_method")
	switch {
	case challenge == "" && method == "":
	case method != "S256":
		s.oauth(w, r, "invalid_request", "the code_challenge_method must be S256")
		return
	case !validChallenge.MatchString(challenge):
		s.oauth(w, r, "invalid_request", "a code_challenge of method S256 has 43 characters of base64url")
		return
	}
	about, wrong := askedOf(in, scope)
	if wrong != "" {
		s.oauth(w, r, "invalid_request", wrong)
		return
	}
	c := codeRecord{Client: in.Get("client_id"), Scope: scope, Challenge: challenge, Asked: about, From: hostOf(r.RemoteAddr), Source: throttle.Source(r.RemoteAddr)}
	deviceCode, userCode, err := s.open(r.Context(), &c)
	var f *refusal
	switch {
	case errors.As(err, &f) && f.reason == ReasonNoPrinter:
		s.oauthRefusal(w, r, "invalid_target", f)
		return
	case err != nil:
		s.oauthFailed(w, r, err)
		return
	}
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, http.StatusOK, struct {
		DeviceCode      string `json:"device_code"`
		UserCode        string `json:"user_code"`
		VerificationURI string `json:"verification_uri"`
		ExpiresIn       int64  `json:"expires_in"`
		Interval        int64  `json:"interval"`
		Events          string `json:"events_uri"`
	}{deviceCode.Reveal(), shownCode(userCode.Reveal()), s.base() + "/device", wholeSeconds(s.Lifetime), wholeSeconds(s.Interval), s.base() + "/oauth/device_events"})
}

// wholeSeconds is at least one: clients take zero for none.
func wholeSeconds(d time.Duration) int64 { return max(1, int64((d+time.Second-1)/time.Second)) }

// askedOf reads what the client says of the device.
func askedOf(in url.Values, scope string) (a asked, wrong string) {
	for name, to := range map[string]*string{
		"device_uuid": &a.UUID, "device_name": &a.Name, "device_make": &a.Make, "device_model": &a.Model, "device_serial": &a.Serial,
		"device_location": &a.Location, "device_address": &a.Address, "requester": &a.Requester, "site": &a.Site, "printer_id": &a.PrinterID,
	} {
		text, ok := plain(in.Get(name))
		if !ok {
			return a, name + " must be UTF-8 of at most 256 bytes"
		}
		*to = text
	}
	a.UUID = strings.ToLower(a.UUID)
	switch {
	case a.UUID != "" && mfpgate.CleanUUID(a.UUID) != a.UUID, a.UUID == "" && hasScope(scope, ScopeRegister):
		return a, "device_uuid must be the UUID of the device, of 36 characters"
	case a.PrinterID == "" && scope == ScopeAllow:
		return a, "printer_id must name the printer that a user is to be allowed on"
	}
	return a, ""
}

// userCodeTries is how often a user code is drawn: that one is taken happens once in a million with 20 000 codes.
const userCodeTries = 8

var errTaken = errors.New("this user code is taken")

// open makes a code, within the bounds.
func (s *Service) open(ctx context.Context, c *codeRecord) (deviceCode, userCode mfpgate.Secret, err error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	now := s.Clock.Now().UTC()
	if err := s.room(ctx, c.Source, now); err != nil {
		return "", "", err
	}
	c.ID, c.State, c.At, c.Expires = mfpgate.NewID(s.Clock, "cod"), codePending, now, now.Add(s.Lifetime)
	deviceCode = secret("dc_")
	c.Hash = s.codeHash(deviceCode.Reveal())
	for range userCodeTries {
		userCode = mfpgate.Secret(newUserCode())
		c.User = s.userHash(userCode.Reveal())
		err = s.update(ctx, func(tx store.Tx) error { return s.write(tx, *c) })
		if !errors.Is(err, errTaken) {
			break
		}
	}
	if err != nil {
		return "", "", err
	}
	s.known++
	return deviceCode, userCode, nil
}

func (s *Service) write(tx store.Tx, c codeRecord) error {
	if there, ok, err := store.FindJSON[string](tx, userCodeKey(c.User)); err != nil || ok && there != c.Hash {
		return errors.Join(err, errTaken)
	}
	if c.Asked.PrinterID != "" {
		p, there, err := store.FindJSON[printerRecord](tx, printerKey(c.Asked.PrinterID))
		if err != nil {
			return err
		}
		if !there || c.Asked.UUID != "" && c.Asked.UUID != p.UUID {
			return refuse(http.StatusBadRequest, ReasonNoPrinter, "there is no such printer here (any more); register the device")
		}
	}
	return errors.Join(
		store.SetJSON(tx, codeKey(c.Hash), c),
		store.SetJSON(tx, userCodeKey(c.User), c.Hash),
		store.SetJSON(tx, fromKey(c), c.Hash),
		s.journal.Intend(tx, journal.Intent{ID: "forget/" + c.ID, Kind: kindForget, NotBefore: c.Expires.Add(lingering), Payload: forgetting(codeKey(c.Hash))}),
	)
}

// room refuses a code too many. The caller holds opening.
func (s *Service) room(ctx context.Context, source string, now time.Time) error {
	open, known := 0, s.known
	after := fromKey(codeRecord{Source: source, Expires: now.Add(time.Millisecond)}) // what expires now waits no more
	err := s.Store.View(ctx, func(at store.Snapshot) error {
		found, err := at.Scan(fromPrefix(source), after, maxOpenPerSource)
		if err != nil || known >= 0 {
			open = len(found)
			return err
		}
		open, known = len(found), 0
		for _, err := range store.All(at, "from/") {
			if err != nil {
				return err
			}
			known++
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.known = known
	switch {
	case open >= maxOpenPerSource:
		return refuse(http.StatusTooManyRequests, ReasonTooMany, "too many codes of this address wait for an administrator").after(time.Minute)
	case known >= maxCodes:
		return refuse(http.StatusServiceUnavailable, ReasonTooMany, "too many codes wait for an administrator").after(time.Minute)
	}
	return nil
}

func hostOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	return host
}
