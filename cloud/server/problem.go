package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/region"
)

// Why the region refuses. Each is the tail of a problem type and the reason in the log.
const (
	ReasonNoToken          mfpgate.Reason = "token-required"
	ReasonBadToken         mfpgate.Reason = "token-refused"
	ReasonRole             mfpgate.Reason = "wrong-role"
	ReasonNotYours         mfpgate.Reason = "not-yours"
	ReasonNoResource       mfpgate.Reason = "unknown-resource"
	ReasonNoDevice         mfpgate.Reason = "unknown-device"
	ReasonNotUSB           mfpgate.Reason = "not-usb" // the gateway does not speak for the device
	ReasonNoGateway        mfpgate.Reason = "unknown-gateway"
	ReasonNoReading        mfpgate.Reason = "unknown-reading"
	ReasonNoPackage        mfpgate.Reason = "unknown-package"
	ReasonNoContract       mfpgate.Reason = "unknown-contract"
	ReasonMethod           mfpgate.Reason = "method-not-allowed"
	ReasonPrecondition     mfpgate.Reason = "precondition-failed"
	ReasonNoPrecondition   mfpgate.Reason = "precondition-required"
	ReasonNoIdempotencyKey mfpgate.Reason = "idempotency-key-required"
	ReasonKeyReuse         mfpgate.Reason = "idempotency-key-reuse"
	ReasonInvalid          mfpgate.Reason = "invalid-request"
	ReasonCursor           mfpgate.Reason = "invalid-cursor"
	ReasonTooLarge         mfpgate.Reason = region.ReasonTooLarge
	ReasonRange            mfpgate.Reason = "range-not-satisfiable"
	ReasonDigest           mfpgate.Reason = "digest-mismatch"
	ReasonNotCheckedIn     mfpgate.Reason = "not-checked-in"
	ReasonDeviceTaken      mfpgate.Reason = api.DeviceTaken
	ReasonStreamEnded      mfpgate.Reason = api.StreamEnded
	ReasonThrottled        mfpgate.Reason = "rate-limited"
	ReasonStaleSnapshot    mfpgate.Reason = api.StaleSnapshot
	ReasonWindow           mfpgate.Reason = api.WindowViolation
	ReasonLeadTime         mfpgate.Reason = api.LeadTimeViolation
	ReasonWouldOverload    mfpgate.Reason = api.WouldOverload
	ReasonProposalExpired  mfpgate.Reason = api.ProposalExpired
	ReasonNoDelivery       mfpgate.Reason = "unknown-delivery"
	ReasonDeliveryTaken    mfpgate.Reason = "delivery-taken" // its id is another gateway's
	ReasonNotPlanned       mfpgate.Reason = "not-planned"    // a delivery that runs, or is over, or is not due yet
	ReasonTooMany          mfpgate.Reason = "too-many"
	ReasonNoBackground     mfpgate.Reason = "unknown-background-schedule"
	ReasonReportDiffers    mfpgate.Reason = "report-differs" // another report has its id
	ReasonNoWarning        mfpgate.Reason = "unknown-warning"
	ReasonNoProposal       mfpgate.Reason = "unknown-proposal"
	ReasonDecided          mfpgate.Reason = "already-decided"
	ReasonMode             mfpgate.Reason = "not-in-contract" // the contract's mode does not let the gateway do this
	ReasonEnding           mfpgate.Reason = "shutting-down"
	ReasonFull             mfpgate.Reason = region.ReasonStoreFull
	ReasonGone             mfpgate.Reason = region.ReasonGone // it closed the connection before its answer was ready
	ReasonInternal         mfpgate.Reason = region.ReasonInternal
	ReasonMoved            mfpgate.Reason = api.Moved
	ReasonConnection       mfpgate.Reason = "connection" // no request came of a connection: TLS refused, or no HTTP
)

// problem is a Problem as huma wants an error: with its status, media type and headers.
type problem struct {
	api.Problem
	headers http.Header
	cause   error // for the log only
}

func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) ContentType(string) string { return "application/problem+json" }
func (p *problem) GetHeaders() http.Header   { return p.headers }

func refuse(status int, reason mfpgate.Reason, detail string) *problem {
	return &problem{Problem: api.Problem{
		Type: api.ProblemType + string(reason), Title: http.StatusText(status), Status: status, Detail: detail,
	}}
}

// internal hides err from the caller; the log has it.
func internal(err error) *problem { return fromRole(region.Failure(err)) }

func (p *problem) with(header, value string) *problem {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(header, value)
	return p
}

// toProblem gives every error the one form, those of huma's own checks too, and notes it for the log.
func toProblem(ctx huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *huma.ErrorModel:
		return noted(ctx.Context(), fromHuma(e), ctx.URL().Path), nil
	case *problem:
		return noted(ctx.Context(), e, ctx.URL().Path), nil
	case *region.Refusal:
		return noted(ctx.Context(), fromRole(e), ctx.URL().Path), nil
	default:
		return v, nil
	}
}

func fromHuma(e *huma.ErrorModel) *problem {
	reason := ReasonInvalid
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		reason = ReasonTooLarge
	case e.Status >= 500:
		errs := make([]error, len(e.Errors))
		for i, d := range e.Errors {
			errs[i] = d
		}
		return internal(errors.Join(errs...))
	}
	p := refuse(e.Status, reason, e.Detail)
	for _, d := range e.Errors {
		p.Errors = append(p.Errors, api.ProblemError{Pointer: d.Location, Code: d.Message}) // not the value: it may be a secret
	}
	return p
}

func noted(ctx context.Context, p *problem, path string) *problem {
	c := callOf(ctx)
	p.TraceID, p.Instance = c.id, path
	c.reason, c.detail, c.cause = mfpgate.Reason(p.Reason()), p.Detail, p.cause
	for _, e := range p.Errors {
		c.detail += "; " + e.Pointer + ": " + e.Code
	}
	return p
}

// writeProblem answers outside huma.
func writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	noted(r.Context(), p, r.URL.Path)
	for name, values := range p.headers {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p.Problem) // the client has gone if this fails; the log event says so by its bytes
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// clip keeps foreign text in messages short.
func clip(s string) string { return s[:min(len(s), 32)] }
