package account

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// MaxHeader bounds a Proxy-Authorization field value, in bytes.
const MaxHeader = 1 << 10

// ErrAuthorization is wrapped by every error of ParseProxyAuthorization.
var ErrAuthorization = errors.New("no usable Proxy-Authorization")

// Challenge is the Proxy-Authenticate value that goes with a 407 (RFC 7617 section 2).
func Challenge() string { return `Basic realm="mfpgate", charset="UTF-8"` }

// ParseProxyAuthorization reads a Proxy-Authorization field value of the scheme Basic (RFC 7617): padded canonical base64
// of UTF-8 text without control characters, a user name that is not empty, a colon, and the password. The text is taken
// as it is, without Unicode normalisation. Errors wrap ErrAuthorization and never quote the value.
func ParseProxyAuthorization(header string) (user string, password mfpgate.Secret, err error) {
	if len(header) > MaxHeader {
		return "", "", fmt.Errorf("%w: longer than %d bytes", ErrAuthorization, MaxHeader)
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", fmt.Errorf("%w: the scheme is not Basic", ErrAuthorization)
	}
	token = strings.TrimLeft(token, " ") // RFC 9110 section 11.4: 1*SP
	// Go's decoder passes over line breaks even when strict.
	if strings.ContainsAny(token, "\r\n") {
		return "", "", fmt.Errorf("%w: not base64", ErrAuthorization)
	}
	text, err := base64.StdEncoding.Strict().DecodeString(token)
	if err != nil {
		return "", "", fmt.Errorf("%w: not base64", ErrAuthorization)
	}
	if !utf8.Valid(text) || strings.ContainsFunc(string(text), unicode.IsControl) {
		return "", "", fmt.Errorf("%w: not plain UTF-8 text", ErrAuthorization)
	}
	user, secret, colon := strings.Cut(string(text), ":")
	if !colon || user == "" {
		return "", "", fmt.Errorf(`%w: not "user:password"`, ErrAuthorization)
	}
	return user, mfpgate.Secret(secret), nil
}
