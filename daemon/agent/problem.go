package agent

import (
	"encoding/json"
	"net/http"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Why the door refuses. Each is the tail of a problem type and the reason in the log.
const (
	needsAccount  mfpgate.Reason = "needs-account"
	badAccount    mfpgate.Reason = "bad-account"
	throttled     mfpgate.Reason = "account-throttled"
	busy          mfpgate.Reason = "busy"
	unknownDevice mfpgate.Reason = "unknown-device"
	unknownPath   mfpgate.Reason = "unknown-resource"
	wrongMethod   mfpgate.Reason = "method-not-allowed"
	crossOrigin   mfpgate.Reason = "cross-origin"
	notAgent      mfpgate.Reason = api.NotAgent
	noRequest     mfpgate.Reason = api.RequestUnknown
	ended         mfpgate.Reason = api.RequestEnded
	notAcceptable mfpgate.Reason = "not-acceptable"
	invalid       mfpgate.Reason = "invalid-request"
	noKey         mfpgate.Reason = "idempotency-key-required"
	tooLarge      mfpgate.Reason = "too-large"
	wrongType     mfpgate.Reason = "unsupported-media-type"
	tooMany       mfpgate.Reason = "too-many"
	internal      mfpgate.Reason = "internal"
)

// refusal is an answer that is none; its zero value is no refusal.
type refusal struct {
	status    int
	reason    mfpgate.Reason
	detail    string
	after     string // Retry-After in seconds; "" is none
	challenge bool
	faults    []api.ProblemError
	cause     error // for the log alone
}

func (d *door) refuse(w http.ResponseWriter, r *http.Request, device mfpgate.DeviceID, no refusal) {
	e := d.Log.Debug()
	switch {
	case no.status == http.StatusInternalServerError:
		e = d.Log.Error()
	case no.reason == badAccount || no.reason == notAgent || no.reason == ended:
		e = d.Log.Warn()
	}
	e.Str(field.Device, string(device)).Str(field.Client, r.RemoteAddr).Str(field.Reason, string(no.reason)).AnErr(field.Error, no.cause).Msg(event.AgentRefused)
	h := w.Header()
	if no.after != "" {
		h.Set("Retry-After", no.after)
	}
	if no.challenge {
		h.Set("WWW-Authenticate", `Basic realm="mfpgate", charset="UTF-8"`) // RFC 7617 §2
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(api.Problem{Type: api.ProblemType + string(no.reason), Title: http.StatusText(no.status), Status: no.status,
		Detail: no.detail, Errors: no.faults})
}

func broken(err error) refusal {
	return refusal{status: http.StatusInternalServerError, reason: internal, detail: "the gateway's log says why", cause: err}
}
