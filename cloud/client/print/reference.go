package print

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

const (
	maxWait = 10 * time.Minute // between two questions how far an operation is
	maxID   = 256              // bytes
	maxURI  = 2048             // bytes
)

// reference is the print service of a reference region.
type reference struct {
	rest
	oauth  deviceauth.Client
	issuer *deviceauth.Issuer
	scope  string // "": by the purpose
}

func openReference(o Options, base *url.URL, h *http.Client) (Service, error) {
	client := oauth(o, h)
	issuer := orDefault(o.Authority, o.URL)
	if _, err := exchange.Secure(issuer); err != nil {
		return nil, fmt.Errorf("print service: authority: %w", err)
	}
	return &reference{rest{base, h, o.Clock}, client, deviceauth.NewIssuer(client, issuer), o.Scope}, nil
}

func (*reference) Traits() mfpgate.PrintServiceTraits {
	return mfpgate.PrintServiceTraits{Key: mfpgate.PrintKeyP256, AllowsUser: true}
}

func (r *reference) RequestCode(ctx context.Context, q mfpgate.CodeRequest) (mfpgate.Code, error) {
	m, err := r.issuer.Metadata(ctx)
	if err != nil {
		return mfpgate.Code{}, err
	}
	scope := "print.register"
	if q.Purpose == mfpgate.PurposeAllowUser {
		scope = "print.allow"
	}
	c, err := r.oauth.RequestCode(ctx, m, orDefault(r.scope, scope), deviceauth.Shown(q), q.Verifier)
	if said, ok := errors.AsType[*exchange.Refusal](err); ok && said.Code == "invalid_target" { // RFC 8707 §2: of printer_id
		err = fmt.Errorf("%w: %w", mfpgate.ErrNoPrinter, err)
	}
	return c, err
}

func (r *reference) Redeem(ctx context.Context, c mfpgate.Code, verifier mfpgate.Secret) (mfpgate.Grant, error) {
	m, err := r.issuer.Metadata(ctx)
	if err != nil {
		return mfpgate.Grant{}, err
	}
	return r.oauth.Redeem(ctx, m, c, verifier)
}

func (r *reference) AwaitEvent(ctx context.Context, c mfpgate.Code) error {
	return r.oauth.AwaitEvent(ctx, c)
}

func (r *reference) Enter(ctx context.Context, g mfpgate.Grant, q mfpgate.PrinterRequest) (mfpgate.Entering, error) {
	body, err := json.Marshal(map[string]string{
		"deviceUuid": q.Device.UUID, "name": q.Device.Name, "make": q.Device.Make, "model": q.Device.Model, "serial": q.Device.Serial,
		"location": q.Device.Location, "user": q.User, "certificateRequest": base64.StdEncoding.EncodeToString(q.CSR),
	})
	if err != nil {
		return mfpgate.Entering{}, err
	}
	a, err := r.call(ctx, http.MethodPost, r.base.JoinPath("print/v1/printers"), g, q.ID, body)
	var out mfpgate.Entering
	if err == nil {
		out, err = r.operation(a, "")
	}
	if err != nil {
		return mfpgate.Entering{}, fmt.Errorf("enter printer: %w", err)
	}
	return out, nil
}

func (r *reference) Entered(ctx context.Context, g mfpgate.Grant, operation string) (mfpgate.Entering, error) {
	at, err := r.sameOrigin(operation)
	if err != nil {
		return mfpgate.Entering{}, fmt.Errorf("ask for operation: %w: %w", mfpgate.ErrRefused, err)
	}
	a, err := r.call(ctx, http.MethodGet, at, g, "", nil)
	err = gone(a, err)
	var out mfpgate.Entering
	if err == nil {
		out, err = r.operation(a, operation)
	}
	if err != nil {
		return mfpgate.Entering{}, fmt.Errorf("ask for operation: %w", err)
	}
	return out, nil
}

// operation reads how far an operation is. at is where it was asked for; "" if the answer must say where.
func (r *reference) operation(a exchange.Answer, at string) (mfpgate.Entering, error) {
	status, err := a.Body.Text("status", maxID)
	if err != nil {
		return mfpgate.Entering{}, err
	}
	switch status {
	case "succeeded":
		p, err := r.printer(a.Body)
		return mfpgate.Entering{Done: err == nil, Printer: p}, err
	case "failed":
		text, _ := a.Body.Text("error", 4096)
		return mfpgate.Entering{}, a.Refuse(mfpgate.ErrRefused, status, text)
	case "running":
	case "": // of an acceptance: what counts is its header
		if a.Status != http.StatusAccepted {
			return mfpgate.Entering{}, fmt.Errorf("%w: without a status", exchange.ErrAnswer)
		}
	default:
		return mfpgate.Entering{}, fmt.Errorf("%w: status %q", exchange.ErrAnswer, status)
	}
	if at == "" {
		at = a.Header.Get("Operation-Location")
		if at == "" {
			return mfpgate.Entering{}, fmt.Errorf("%w: without Operation-Location", exchange.ErrAnswer)
		}
		u, err := r.sameOrigin(at)
		if err != nil {
			return mfpgate.Entering{}, fmt.Errorf("%w: Operation-Location: %w", exchange.ErrAnswer, err)
		}
		if at = u.String(); len(at) > maxURI {
			return mfpgate.Entering{}, fmt.Errorf("%w: Operation-Location is longer than %d bytes", exchange.ErrAnswer, maxURI)
		}
	}
	return mfpgate.Entering{Operation: at, Wait: min(a.RetryAfter(), maxWait)}, nil
}

func (r *reference) printer(o exchange.Object) (mfpgate.Printer, error) {
	id, err := o.Visible("printerId", maxID)
	if err != nil {
		return mfpgate.Printer{}, err
	}
	if id == "" {
		return mfpgate.Printer{}, fmt.Errorf("%w: without printerId", exchange.ErrAnswer)
	}
	uri, err := o.Visible("printerUri", maxURI)
	if err != nil {
		return mfpgate.Printer{}, err
	}
	certificate, err := o.Base64("certificate")
	if err != nil {
		return mfpgate.Printer{}, err
	}
	became, err := userState(o, "userState")
	return mfpgate.Printer{ID: id, URI: uri, Certificate: certificate, User: became}, err
}

// userState reads what became of a user. A word that is not known says nothing: it may be a later version's.
func userState(o exchange.Object, name string) (mfpgate.PrintUser, error) {
	text, err := o.Text(name, maxID)
	switch became := mfpgate.PrintUser(text); became {
	case mfpgate.PrintUserAllowed, mfpgate.PrintUserUnconfirmed, mfpgate.PrintUserNotAllowed:
		return became, err
	}
	return mfpgate.PrintUserUnknown, err
}

func (r *reference) AllowUser(ctx context.Context, g mfpgate.Grant, printer, user string) (mfpgate.PrintUser, error) {
	body, err := json.Marshal(map[string]string{"user": user})
	if err != nil {
		return "", err
	}
	if printer == "" || printer == "." || printer == ".." {
		return "", fmt.Errorf("allow user: %w: %q is no printer's id", mfpgate.ErrNoPrinter, printer)
	}
	a, err := r.call(ctx, http.MethodPost, r.base.JoinPath("print/v1/printers", url.PathEscape(printer), "users"), g, "", body)
	if kind, _ := a.Body.Text("type", maxID); err != nil && a.Status == http.StatusForbidden && strings.HasSuffix(kind, "/user-not-allowed") { // RFC 9457 §3.1.1
		return mfpgate.PrintUserNotAllowed, nil
	}
	var became mfpgate.PrintUser
	if err = gone(a, err); err == nil {
		became, err = userState(a.Body, "state")
	}
	if err != nil {
		return "", fmt.Errorf("allow user: %w", err)
	}
	return became, nil
}
