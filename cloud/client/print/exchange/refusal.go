package exchange

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Refusal is an answer that says no. It unwraps to what it means, if that is known: mfpgate.ErrRefused or a sentinel of RFC 8628.
type Refusal struct {
	Status int
	Code   string // the service's word for it; "" if it gave none
	Text   string // the service's sentence, without secrets; "" if it gave none
	means  error
}

// Error is for people.
func (r *Refusal) Error() string {
	var out strings.Builder
	if r.means != nil {
		out.WriteString(r.means.Error() + ": ")
	}
	fmt.Fprintf(&out, "the service answered %d", r.Status)
	if r.Code != "" {
		fmt.Fprintf(&out, " %q", r.Code)
	}
	if r.Text != "" {
		fmt.Fprintf(&out, ": %q", r.Text)
	}
	return out.String()
}

// Unwrap returns what the refusal means; nil if another try may go well.
func (r *Refusal) Unwrap() error { return r.means }

// later is an error that names the earliest time of another try.
type later struct {
	error
	after time.Duration
}

func (l later) Unwrap() error        { return l.error }
func (l later) Delay() time.Duration { return l.after }

// Refuse makes an error of an answer. The secrets are those that were sent, which a service may repeat in its sentence. Where the
// answer names a time (RFC 9110 §10.2.3) the error has a method Delay, unless means is mfpgate.ErrRefused.
func (a Answer) Refuse(means error, code, text string, secrets ...mfpgate.Secret) error {
	r := &Refusal{Status: a.Status, Code: clip(without(code, secrets)), Text: sentence(without(text, secrets)), means: means}
	if after := a.RetryAfter(); after > 0 && means != mfpgate.ErrRefused {
		return later{r, after}
	}
	return r
}

// Passing reports whether a status says nothing of the request itself: what answers so may answer otherwise another time.
func (a Answer) Passing() bool {
	switch a.Status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusProxyAuthRequired:
		return true
	}
	return a.Status >= 500
}

// Problem makes an error of an answer of a REST service: its problem (RFC 9457), or its status alone. One that speaks for the
// service and will come again wraps mfpgate.ErrRefused; a page of something on the way does not.
func (a Answer) Problem(secrets ...mfpgate.Secret) error {
	var means error
	if a.Body != nil && !a.Passing() && a.Status >= 400 && a.Status != http.StatusUnauthorized {
		means = mfpgate.ErrRefused
	}
	from, title, detail := a.Body, "title", "detail"
	if inner, err := ParseObject(a.Body["error"]); err == nil { // OData, as Microsoft's services answer
		from, title, detail = inner, "code", "message"
	}
	code, _ := from.Text(title, 256)
	text, _ := from.Text(detail, 4096)
	return a.Refuse(means, code, text, secrets...)
}

func without(text string, secrets []mfpgate.Secret) string {
	for _, s := range secrets {
		if s == "" {
			continue
		}
		text = strings.ReplaceAll(text, s.Reveal(), s.String())
		text = strings.ReplaceAll(text, url.QueryEscape(s.Reveal()), s.String())
	}
	return text
}

// sentence is the first line of a text, within reason.
func sentence(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	return strings.ToValidUTF8(text[:min(len(text), 300)], "")
}
