package region

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// Why this package refuses, besides the reasons of moves in cloud/api.
const (
	ReasonNotYours     mfpgate.Reason = "not-yours"             // an order or a transfer that is not the caller's to send
	ReasonNoDirective  mfpgate.Reason = "no-directive"          // the device is where it belongs
	ReasonTaken        mfpgate.Reason = api.DeviceTaken         // another device has the model and serial number
	ReasonElsewhere    mfpgate.Reason = "registered-elsewhere"  // another region has the device
	ReasonNoSerial     mfpgate.Reason = "no-serial"             // a model or serial number that identifies nothing
	ReasonNotOffered   mfpgate.Reason = "not-offered"           // no service of the device is rolled out here
	ReasonForged       mfpgate.Reason = "registration-id-false" // its issuer did not make it, or not for this device
	ReasonNoPeer       mfpgate.Reason = "no-peer"               // a region that this one has no agreement with
	ReasonNoAddress    mfpgate.Reason = "peer-without-address"  // a region with an agreement, and without a URL
	ReasonUnreached    mfpgate.Reason = broker.RegionUnreached  // a region, or this one's services, that does not answer
	ReasonPeerRefused  mfpgate.Reason = "region-refused"        // a region that was asked refuses, or says what cannot be
	ReasonNoItem       mfpgate.Reason = "unknown-item"
	ReasonNoDevice     mfpgate.Reason = "unknown-device"
	ReasonInvalid      mfpgate.Reason = "invalid-request"
	ReasonCursor       mfpgate.Reason = "invalid-cursor"
	ReasonThrottled    mfpgate.Reason = "rate-limited"
	ReasonKey          mfpgate.Reason = "idempotency-key-required"
	ReasonTooLarge     mfpgate.Reason = "too-large"
	ReasonFull         mfpgate.Reason = "device-full" // it may not write more
	ReasonStoreFull    mfpgate.Reason = "storage-full"
	ReasonGone         mfpgate.Reason = "caller-gone" // it closed the connection before its answer was ready
	ReasonInternal     mfpgate.Reason = "internal"
	ReasonNotConnected mfpgate.Reason = "not-connected" // the server is starting, or was built without connections
)

// Refusal is an answer that is no success, as huma writes it. With a Cause it is a failure of the server, whose text stays in the log.
type Refusal struct {
	Status int
	Reason mfpgate.Reason
	Detail string
	Retry  time.Duration // Retry-After; 0: none
	Cause  error
}

func (r *Refusal) Error() string {
	if r.Cause != nil {
		return r.Cause.Error()
	}
	return r.Detail
}

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Why is the reason.
func (r *Refusal) Why() mfpgate.Reason { return r.Reason }

// GetStatus, ContentType and GetHeaders are what huma asks of an error.
func (r *Refusal) GetStatus() int { return r.Status }

// ContentType is that of RFC 9457.
func (r *Refusal) ContentType(string) string { return "application/problem+json" }

// GetHeaders has Retry-After, if there is any.
func (r *Refusal) GetHeaders() http.Header {
	h := http.Header{}
	if r.Retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((r.Retry+time.Second-1)/time.Second), 10))
	}
	return h
}

// Failure is the answer to an error that is no refusal: that of a full disk, of a caller who is gone, or of one that only the log
// may tell.
func Failure(err error) *Refusal {
	switch {
	case errors.Is(err, store.ErrFull):
		return refuse(http.StatusServiceUnavailable, ReasonStoreFull, "the region's disk is nearly full; reading goes on").retry(time.Minute)
	case errors.Is(err, store.ErrTooLarge):
		return refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge, "the document is longer than this region keeps")
	case errors.Is(err, context.Canceled):
		return refuse(http.StatusRequestTimeout, ReasonGone, "the caller went away")
	}
	return &Refusal{Status: http.StatusInternalServerError, Reason: ReasonInternal, Cause: err}
}

func refuse(status int, reason mfpgate.Reason, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// starting is the answer until Reached was called.
func starting() *Refusal {
	return refuse(http.StatusServiceUnavailable, ReasonNotConnected, "the region is starting; ask again in a moment").retry(peerRetry)
}

func (r *Refusal) retry(after time.Duration) *Refusal {
	r.Retry = after
	return r
}

// peerRetry is when to ask again for what another region, or role, did not answer.
const peerRetry = 5 * time.Second

// statuses of what the saga refuses; every other one is 409.
var statuses = map[mfpgate.Reason]int{
	broker.NoSuchMove: http.StatusNotFound, broker.UnknownHere: http.StatusNotFound, broker.BadRequest: http.StatusUnprocessableEntity,
	broker.OtherTarget: http.StatusUnprocessableEntity, broker.RegionUnreached: http.StatusServiceUnavailable,
}

// answer makes a refusal of an error: of this package's own, of the saga, of what is held, or of another region that was asked.
func answer(err error) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*Refusal](err); ok {
		return own
	}
	switch {
	case errors.Is(err, context.Canceled): // the caller went away: no other region is to blame, whose call that ended
		return Failure(err)
	case errors.Is(err, broker.ErrNoHolding):
		return refuse(http.StatusNotFound, api.NotRegistered, "%s", err)
	case errors.Is(err, broker.ErrFenced):
		return refuse(http.StatusConflict, api.Fenced, "%s", err)
	case errors.Is(err, broker.ErrOutOfTurn):
		return refuse(http.StatusConflict, api.OutOfTurn, "%s", err)
	}
	if held := holdingRefusal(err); held != nil {
		return held
	}
	if why, ok := errors.AsType[mfpgate.Refused](err); ok {
		status := statuses[why.Why()]
		if status == 0 {
			status = http.StatusConflict
		}
		r := refuse(status, why.Why(), "%s", err)
		if status == http.StatusServiceUnavailable {
			r.Retry = peerRetry
		}
		return r
	}
	if of, ok := errors.AsType[*unanswered](err); ok {
		return of.refusal()
	}
	return Failure(err)
}

// unanswered is what came of a call to another region, or to the other role of this one.
type unanswered struct {
	region string
	err    error
}

func (u *unanswered) Error() string { return u.err.Error() }
func (u *unanswered) Unwrap() error { return u.err }

func (u *unanswered) refusal() *Refusal {
	if errors.Is(u.err, mfpgate.ErrRefused) {
		return refuse(http.StatusBadGateway, ReasonPeerRefused, "%s", u.err)
	}
	return refuse(http.StatusServiceUnavailable, ReasonUnreached, "region %s does not answer; it is to be asked again: %s", u.region, u.err).retry(peerRetry)
}

// understood gives an error of a call the sentinel that its reason stands for.
func understood(region string, err error) error {
	if err == nil {
		return nil
	}
	said, ok := errors.AsType[interface {
		error
		Reason() mfpgate.Reason
	}](err)
	if ok {
		switch said.Reason() {
		case api.NotRegistered, api.UnknownHere:
			return &meant{err, broker.ErrNoHolding}
		case api.Fenced:
			return &meant{err, broker.ErrFenced}
		case api.OutOfTurn:
			return &meant{err, broker.ErrOutOfTurn}
		}
	}
	return &unanswered{region, err}
}

// meant is an error with what it means to package broker/region.
type meant struct {
	err error
	is  error
}

func (m *meant) Error() string   { return m.err.Error() }
func (m *meant) Unwrap() []error { return []error{m.err, m.is} }
