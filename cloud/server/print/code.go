package print

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// userAlphabet has no vowels, so that no code is a word, and nothing that is mistaken for another letter (RFC 8628 §6.1).
const (
	userAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	userLetters  = 8 // 34.6 bits
)

// codeState is where a code stands. That its time is over is no state: it follows from the time.
type codeState string

const (
	codePending  codeState = "pending"
	codeApproved codeState = "approved"
	codeDenied   codeState = "denied"
	codeConsumed codeState = "consumed"
)

// asked is what a client says of the device that its code is for. None of it was proved.
type asked struct {
	UUID      string `json:"uuid"` // lower case
	Name      string `json:"name"`
	Make      string `json:"make"`
	Model     string `json:"model"`
	Serial    string `json:"serial"`
	Location  string `json:"location"`
	Address   string `json:"address"`
	Requester string `json:"requester"`
	Site      string `json:"site"`
	PrinterID string `json:"printerId,omitempty"` // for print.allow
}

// codeRecord is one device authorization.
type codeRecord struct {
	ID        string    `json:"id"`
	Hash      string    `json:"hash"` // of the device code: its key
	User      string    `json:"user"` // HMAC of the user code: its index key
	Client    string    `json:"client"`
	Scope     string    `json:"scope"`
	Challenge string    `json:"challenge,omitempty"` // S256
	Asked     asked     `json:"asked"`
	From      string    `json:"from"`   // address that it was asked from
	Source    string    `json:"source"` // the same, as it is counted
	At        time.Time `json:"at"`
	Expires   time.Time `json:"expires"`

	State     codeState  `json:"state"`
	DecidedBy string     `json:"decidedBy,omitempty"`
	DecidedAt *time.Time `json:"decidedAt,omitempty"`
	Allowed   []string   `json:"allowed,omitempty"` // users

	ConsumedAt *time.Time `json:"consumedAt,omitempty"`
	Answer     []byte     `json:"answer,omitempty"` // sealed
}

func (c codeRecord) expired(now time.Time) bool { return !c.Expires.After(now) }

// tokenRecord is what a token is good for.
type tokenRecord struct {
	Code      string    `json:"code"` // the id of the code it was issued for: the name of the grant
	CodeHash  string    `json:"codeHash"`
	Client    string    `json:"client"`
	Scope     string    `json:"scope"`
	Asked     asked     `json:"asked"`
	Allowed   []string  `json:"allowed"`
	By        string    `json:"by"` // the administrator
	Expires   time.Time `json:"expires"`
	Operation int       `json:"operations"` // so far
}

// The keys.
func codeKey(hash string) string      { return "code/" + hash }
func userCodeKey(mac string) string   { return "user-code/" + mac }
func fromPrefix(source string) string { return "from/" + source + "/" }
func fromKey(c codeRecord) string {
	return fmt.Sprintf("%s%016d/%s", fromPrefix(c.Source), c.Expires.UnixMilli(), c.ID)
}
func tokenKey(hash string) string { return "token/" + hash }

// secret returns 256 random bits as text.
func secret(prefix string) mfpgate.Secret {
	return mfpgate.Secret(prefix + rand.Text() + rand.Text())
}

func (s *Service) mac(what, text string) string {
	return hex.EncodeToString(s.Sealer.MAC("print/"+what, text))
}

func (s *Service) codeHash(deviceCode string) string { return s.mac("device-code", deviceCode) }
func (s *Service) tokenHash(token string) string     { return s.mac("token", token) }
func (s *Service) userHash(userCode string) string   { return s.mac("user-code", userCode) }

// newUserCode draws each letter evenly.
func newUserCode() string {
	code := make([]byte, userLetters)
	for i := range code {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(userAlphabet)))) // never fails (crypto/rand)
		code[i] = userAlphabet[n.Int64()]
	}
	return string(code)
}

// shownCode is a code as people read it.
func shownCode(code string) string { return code[:userLetters/2] + "-" + code[userLetters/2:] }

// typedCode reads what a person typed: in any case, with whatever stands between the letters. It is false for what cannot be a code.
func typedCode(text string) (string, bool) {
	if len(text) > 64 {
		return "", false
	}
	code := make([]byte, 0, userLetters)
	for _, r := range strings.ToUpper(text) {
		switch {
		case r < 0x80 && strings.ContainsRune(userAlphabet, r):
			code = append(code, byte(r))
		case strings.ContainsRune(" -\t.\u00a0\u2010\u2011\u2012\u2013\u2014\u2212", r):
		default:
			return "", false
		}
	}
	return string(code), len(code) == userLetters
}

func decoded[T any](r store.Record) (v T, err error) {
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return v, fmt.Errorf("record %q: %w", r.Key, err)
	}
	return v, nil
}

// kind is make and model.
func (a asked) kind() string { return strings.TrimSpace(a.Make + " " + a.Model) }
