package print

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// Why the service refuses: the tail of a problem type, and the reason in the log.
const (
	ReasonNoToken      mfpgate.Reason = "token-required"
	ReasonBadToken     mfpgate.Reason = "token-refused"
	ReasonScope        mfpgate.Reason = "scope-missing"
	ReasonOtherDevice  mfpgate.Reason = "other-device" // the grant is for another one
	ReasonNotChosen    mfpgate.Reason = "user-not-allowed"
	ReasonNoPrinter    mfpgate.Reason = "unknown-printer"
	ReasonNoOperation  mfpgate.Reason = "unknown-operation"
	ReasonInvalid      mfpgate.Reason = "invalid-request"
	ReasonCSR          mfpgate.Reason = "invalid-certificate-request"
	ReasonNoKey        mfpgate.Reason = "idempotency-key-required"
	ReasonKeyReuse     mfpgate.Reason = "idempotency-key-reuse"
	ReasonTooLarge     mfpgate.Reason = "too-large"
	ReasonTooMany      mfpgate.Reason = "too-many"
	ReasonThrottled    mfpgate.Reason = "rate-limited"
	ReasonNoLogin      mfpgate.Reason = "login-required"
	ReasonForeign      mfpgate.Reason = "foreign-site"
	ReasonCode         mfpgate.Reason = "wrong-code"
	ReasonExpired      mfpgate.Reason = "code-expired"
	ReasonDecided      mfpgate.Reason = "already-decided"
	ReasonChoice       mfpgate.Reason = "no-user-chosen"
	ReasonLink         mfpgate.Reason = "wrong-link"
	ReasonFull         mfpgate.Reason = "storage-full"
	ReasonGone         mfpgate.Reason = "caller-gone"
	ReasonEnding       mfpgate.Reason = "shutting-down"
	ReasonInternal     mfpgate.Reason = "internal"
	reasonOAuth                       = "oauth-" // and RFC 6749's or RFC 8628's own word
	internalDetail                    = "the server's log has the details under the request's id"
	retryFull                         = time.Minute
	maxForm                           = 16 << 10
	maxDocument                       = 32 << 10
	contentTypeForm                   = "application/x-www-form-urlencoded"
	contentTypeProblem                = "application/problem+json"
)

// refusal is why a request gets nothing.
type refusal struct {
	status int
	reason mfpgate.Reason
	detail string // a sentence, with what to do
	retry  time.Duration
	header http.Header
	cause  error // for the log only
}

func (r *refusal) Error() string { return r.detail }

func refuse(status int, reason mfpgate.Reason, detail string) *refusal {
	return &refusal{status: status, reason: reason, detail: detail}
}

func (r *refusal) after(d time.Duration) *refusal {
	r.retry = d
	return r
}

func (r *refusal) with(name, value string) *refusal {
	if r.header == nil {
		r.header = http.Header{}
	}
	r.header.Set(name, value)
	return r
}

// refused is what an error means for who asked.
func refused(err error) *refusal {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, store.ErrFull):
		return refuse(http.StatusServiceUnavailable, ReasonFull, "The service's disk is nearly full; reading goes on.").after(retryFull)
	case errors.Is(err, store.ErrTooLarge):
		return refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge, "The document is longer than this service keeps.")
	case errors.Is(err, context.Canceled):
		return refuse(http.StatusRequestTimeout, ReasonGone, "The caller went away.")
	}
	r = refuse(http.StatusInternalServerError, ReasonInternal, internalDetail)
	r.cause = err
	return r
}

// headers notes a refusal for the log and sets what its answer has besides its body. It returns the request's id.
func (s *Service) headers(w http.ResponseWriter, r *http.Request, f *refusal) string {
	for name, values := range f.header {
		w.Header()[name] = values
	}
	if f.retry > 0 {
		w.Header().Set("Retry-After", seconds(f.retry))
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.Noted(r, f.reason, f.detail, f.cause)
}

// seconds are whole, and never fewer than it takes.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}

// problem answers with RFC 9457.
func (s *Service) problem(w http.ResponseWriter, r *http.Request, err error) {
	f := refused(err)
	id := s.headers(w, r, f)
	w.Header().Set("Content-Type", contentTypeProblem)
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(api.Problem{ // the client has gone if this fails; the log event says so by its bytes
		Type: api.ProblemType + string(f.reason), Title: http.StatusText(f.status), Status: f.status, Detail: f.detail, Instance: r.URL.Path, TraceID: id,
	})
}

// oauthError is an error of RFC 6749 §5.2 or RFC 8628 §3.5.
type oauthError struct {
	Code string `json:"error"`
	Text string `json:"error_description,omitempty"` // ASCII without quotes
}

// oauth answers with one of RFC 6749's errors: 400 but for what is the server's, or the client's haste.
func (s *Service) oauth(w http.ResponseWriter, r *http.Request, code, text string) {
	s.oauthRefusal(w, r, code, &refusal{status: http.StatusBadRequest, reason: reasonOf(code), detail: text})
}

func reasonOf(code string) mfpgate.Reason {
	word := []byte(code)
	for i, c := range word {
		if c == '_' {
			word[i] = '-'
		}
	}
	return mfpgate.Reason(reasonOAuth + string(word))
}

func (s *Service) oauthRefusal(w http.ResponseWriter, r *http.Request, code string, f *refusal) {
	s.headers(w, r, f)
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, f.status, oauthError{code, f.detail})
}

// oauthFailed answers when the server could not do what was right.
func (s *Service) oauthFailed(w http.ResponseWriter, r *http.Request, err error) {
	f := refused(err)
	code := "server_error"
	switch {
	case f.status == http.StatusServiceUnavailable || f.status == http.StatusTooManyRequests:
		code = "temporarily_unavailable"
	case f.status < 500:
		code = "invalid_request"
	}
	s.oauthRefusal(w, r, code, f)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone if this fails
}
