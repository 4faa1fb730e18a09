package agent

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// maxKey bounds an Idempotency-Key, in bytes.
const maxKey = 256

// result takes how far a device is. It is idempotent by its content: the key, which every POST must have, is not looked up.
func (d *door) result(w http.ResponseWriter, r *http.Request, by who) {
	in, no := read(w, r)
	if no.status != 0 {
		d.refuse(w, r, by.device, no)
		return
	}
	id := r.PathValue("id")
	result := Result{State: in.State, Reason: in.Reason, Detail: in.Detail, PrinterID: in.PrinterID, PrinterURI: in.PrinterURI,
		Certificate: in.Certificate, CertificateExpires: in.CertificateExpires}
	err := d.Requests.Report(r.Context(), by.device, id, result)
	var decided mfpgate.Refused
	switch {
	case err == nil:
		d.reported(by.device, id, result)
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrNoRequest):
		d.refuse(w, r, by.device, refusal{status: http.StatusNotFound, reason: noRequest, detail: "the device has no such request; ask for those that are open"})
	case errors.Is(err, ErrEnded):
		d.refuse(w, r, by.device, refusal{status: http.StatusConflict, reason: ended, detail: "the request has another end already; do nothing more for it"})
	case errors.As(err, &decided):
		d.refuse(w, r, by.device, refusal{status: http.StatusConflict, reason: decided.Why(), detail: decided.Error()})
	default:
		d.refuse(w, r, by.device, broken(err))
	}
}

// read takes the document in, or says what is wrong with it.
func read(w http.ResponseWriter, r *http.Request) (in api.RegistrationResult, no refusal) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return in, refusal{status: http.StatusUnsupportedMediaType, reason: wrongType, detail: "send application/json"}
	}
	if key := r.Header.Get("Idempotency-Key"); strings.Trim(key, `"`) == "" || len(key) > maxKey {
		return in, refusal{status: http.StatusBadRequest, reason: noKey, detail: "send an Idempotency-Key of at most 256 bytes that is unique to this result"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxResult))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return in, refusal{status: http.StatusRequestEntityTooLarge, reason: tooLarge, detail: "a result has at most 16 KiB"}
	}
	if err != nil {
		return in, refusal{status: http.StatusBadRequest, reason: invalid, detail: "the document did not arrive whole"}
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return in, refusal{status: http.StatusBadRequest, reason: invalid, detail: "what was sent is no result in JSON"}
	}
	if faults, bad := errors.AsType[api.Faults](in.Check()); bad {
		no = refusal{status: http.StatusUnprocessableEntity, reason: invalid, detail: "the result breaks the rules below"}
		for _, f := range faults {
			no.faults = append(no.faults, api.ProblemError{Pointer: "body" + strings.ReplaceAll(f.Pointer, "/", "."), Code: f.Rule})
		}
	}
	return in, no
}
