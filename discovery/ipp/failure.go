package ipp

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// The ways in which a device that was reached does not answer as a printer.
var (
	// ErrNotIPP is returned when what answers speaks no IPP, or its message is broken, cut off or beyond the bounds of
	// what is decoded.
	ErrNotIPP = errors.New("not an IPP answer")
	// ErrNotPrinter is returned when the server knows no printer at this path (HTTP 404, client-error-not-found), or
	// what answers describes no printer.
	ErrNotPrinter = errors.New("no printer at this path")
	// ErrTooLarge is returned when the answer is longer than MaxAnswer.
	ErrTooLarge = errors.New("answer larger than " + strconv.Itoa(MaxAnswer>>10) + " KiB")
	// ErrBusy is returned when the printer cannot answer now and will later: HTTP 503, as some MFPs answer for minutes
	// after power-on, or the IPP status of the same meaning.
	ErrBusy = errors.New("printer is busy, ask again later")
	// ErrAuth is returned when the printer wants a user (HTTP 401 and 403, client-error-not-authenticated, -forbidden).
	ErrAuth = errors.New("printer wants a login; allow its status without one")
	// ErrTLS is returned when the TLS handshake fails for another reason than time.
	ErrTLS = errors.New("no TLS connection")
	// ErrElsewhere is returned when the printer sends the client on: a redirect, or HTTP 426, which means ipps.
	ErrElsewhere = errors.New("printer is elsewhere")
	// ErrRefused is returned for every other IPP status that is no success.
	ErrRefused = errors.New("printer refused the request")
)

// MaxAnswer is how many bytes of an answer's body are read.
const MaxAnswer = 1 << 20

// httpFailure is the error of an HTTP answer that is not 200.
func httpFailure(resp *http.Response) error {
	said := fmt.Sprintf("HTTP %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch code := resp.StatusCode; {
	case code == http.StatusUpgradeRequired || code == http.StatusSwitchingProtocols:
		return fmt.Errorf("%w: %s: it answers over TLS only, use ipps", ErrElsewhere, said)
	case code >= 300 && code < 400:
		return fmt.Errorf("%w: %s to %q, not followed", ErrElsewhere, said, mfpgate.CleanText(resp.Header.Get("Location"), maxText))
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: %s", ErrAuth, said)
	case code == http.StatusNotFound || code == http.StatusGone || code == http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: %s", ErrNotPrinter, said)
	case code == http.StatusTooManyRequests || code >= 502 && code <= 504:
		return fmt.Errorf("%w: %s", ErrBusy, said)
	}
	return fmt.Errorf("%w: %s", ErrNotIPP, said)
}

// ippFailure is the error of an IPP status, nil for a success (RFC 8011 §B.1.2: all below 0x0100).
func ippFailure(status goipp.Status) error {
	sentinel := ErrRefused
	switch status {
	case goipp.StatusErrorForbidden, goipp.StatusErrorNotAuthenticated, goipp.StatusErrorNotAuthorized:
		sentinel = ErrAuth
	case goipp.StatusErrorNotFound, goipp.StatusErrorGone, goipp.StatusErrorURIScheme, goipp.StatusErrorOperationNotSupported:
		sentinel = ErrNotPrinter
	case goipp.StatusErrorTimeout, goipp.StatusErrorInternal, goipp.StatusErrorServiceUnavailable, goipp.StatusErrorTemporary,
		goipp.StatusErrorBusy:
		sentinel = ErrBusy
	case goipp.StatusRedirectionOtherSite, goipp.StatusCupsSeeOther:
		sentinel = ErrElsewhere
	default:
		if status < 0x0100 {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", sentinel, status)
}
