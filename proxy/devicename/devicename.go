package devicename

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	// Header is the name of the field.
	Header = "Mfpgate-Device"
	// MaxLength bounds the field's value, in bytes: an account of 255 bytes, each percent-encoded, and the rest.
	MaxLength = 1 << 10
	// Freshness is how far created may lie from the verifier's time, in either direction.
	Freshness = 60 * time.Second

	version   = "mfpgate-device-1"
	maxDevice = 64 // bytes of a device id
	maxDigits = 11 // of created: until the year 5138
)

var (
	// ErrMalformed is returned for a value that Sign could not have written.
	ErrMalformed = errors.New("malformed " + Header)
	// ErrSignature is returned when the signature is another request's, another key's or another account's.
	ErrSignature = errors.New("wrong signature in " + Header)
	// ErrStale is returned for a good signature that was made too long ago, or by a clock too far ahead.
	ErrStale = errors.New("stale " + Header)
)

// Name is a device as the outer gateway knows it. The id alone is the inner gateway's own: two of them may use the same,
// so it names a device only together with the account.
type Name struct {
	Account string
	Device  mfpgate.DeviceID
}

// Sign returns the value of Header for one request: its method, and its authority as "host:port" in the form that both
// ends use. Account is the one that the request authenticates as; bytes that a structured string cannot carry are
// percent-encoded. The device's id must be one of mfpgate.NewID, or Verify will refuse it.
func Sign(clock mfpgate.Clock, key mfpgate.Secret, account, method, authority string, device mfpgate.DeviceID) string {
	created := strconv.FormatInt(clock.Now().Unix(), 10)
	sig := sum(key, method, authority, string(device), created, account)
	return `"` + string(device) + `";created=` + created + `;key="` + url.PathEscape(account) + `";sig=:` + base64.StdEncoding.EncodeToString(sig) + `:`
}

// Verify reads the value of Header that came with a request of the given method and authority, authenticated as account.
func Verify(clock mfpgate.Clock, key mfpgate.Secret, account, method, authority, value string) (Name, error) {
	v, err := parse(value)
	if err != nil {
		return Name{}, err
	}
	want := sum(key, method, authority, v.device, v.created, v.account)
	if !hmac.Equal(want, v.sig[:]) {
		return Name{}, ErrSignature
	}
	if v.account != account {
		return Name{}, fmt.Errorf("%w: it names another account than the request", ErrSignature)
	}
	seconds, err := strconv.ParseInt(v.created, 10, 64)
	if err != nil {
		return Name{}, ErrMalformed
	}
	if age := clock.Now().Sub(time.Unix(seconds, 0)); age > Freshness || age < -Freshness {
		return Name{}, fmt.Errorf("%w: made %s ago; compare the clocks of both gateways", ErrStale, age.Round(time.Second))
	}
	return Name{Account: account, Device: mfpgate.DeviceID(v.device)}, nil
}

// sum signs the words. Each has its length in front, so that no byte can move from one to the next.
func sum(key mfpgate.Secret, method, authority, device, created, account string) []byte {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	for _, word := range [...]string{version, method, authority, device, created, account} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(word)))
		mac.Write(n[:])
		mac.Write([]byte(word))
	}
	return mac.Sum(nil)
}

// value is a header taken apart.
type value struct {
	device, created, account string
	sig                      [sha256.Size]byte
}

// parse takes the parameters in any order, as RFC 8941 section 3.1.2 has them, each once and no others.
func parse(text string) (v value, err error) {
	if len(text) > MaxLength {
		return value{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, MaxLength)
	}
	rest, ok := strings.TrimPrefix(text, `"`), false
	if v.device, rest, ok = strings.Cut(rest, `"`); !ok || text[0] != '"' || !deviceID(v.device) {
		return value{}, fmt.Errorf("%w: no device id", ErrMalformed)
	}
	seen := map[string]bool{}
	for rest != "" {
		if rest, ok = strings.CutPrefix(rest, ";"); !ok {
			return value{}, fmt.Errorf("%w: want a parameter", ErrMalformed)
		}
		var name, param string
		if name, rest, ok = strings.Cut(strings.TrimLeft(rest, " "), "="); !ok || seen[name] {
			return value{}, fmt.Errorf("%w: want a parameter once, with a value", ErrMalformed)
		}
		seen[name] = true
		param, rest = rest, ""
		if end := strings.IndexByte(param, ';'); end >= 0 {
			param, rest = param[:end], param[end:]
		}
		switch name {
		case "created":
			ok = integer(param)
			v.created = param
		case "key":
			v.account, ok = accountName(param)
		case "sig":
			v.sig, ok = signature(param)
		default:
			ok = false
		}
		if !ok {
			return value{}, fmt.Errorf("%w: the parameter %.16q", ErrMalformed, name)
		}
	}
	if len(seen) != 3 {
		return value{}, fmt.Errorf("%w: want created, key and sig", ErrMalformed)
	}
	return v, nil
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func deviceID(s string) bool {
	id, ok := strings.CutPrefix(s, "dev_")
	return ok && id != "" && len(s) <= maxDevice && strings.Trim(id, alphanumeric) == ""
}

// integer takes an RFC 8941 integer in the one form that Sign writes.
func integer(s string) bool {
	return s != "" && len(s) <= maxDigits && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

// accountName takes a quoted string and undoes Sign's percent-encoding. What another encoding would give is refused, so
// that an account has one spelling; it leaves no quote, backslash or semicolon inside.
func accountName(s string) (string, bool) {
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	name, err := url.PathUnescape(s)
	return name, err == nil && url.PathEscape(name) == s
}

func signature(s string) (sig [sha256.Size]byte, ok bool) {
	// Go's decoder passes over line breaks even when strict.
	if len(s) != 2+44 || s[0] != ':' || s[len(s)-1] != ':' || strings.ContainsAny(s, "\r\n") {
		return sig, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s[1 : len(s)-1])
	if err != nil || len(b) != len(sig) {
		return sig, false
	}
	return [sha256.Size]byte(b), true
}
