package print

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

// Of Microsoft's own service.
const (
	microsoftRegister  = "register.print.microsoft.com"
	microsoftPrinters  = "print.print.microsoft.com"
	microsoftAuthority = "https://login.microsoftonline.com/organizations"
	microsoftScope     = "https://print.print.microsoft.com/.default"
)

// universal is a register service of Universal Print's public shape.
type universal struct {
	rest
	oauth    deviceauth.Client
	server   deviceauth.Metadata
	scope    string
	printers string // host of the printers' addresses
}

// openUniversal needs no discovery: Entra's metadata of "organizations" name an issuer that is a template, which RFC 8414 §3.3
// does not let pass, and the endpoints are fixed below the tenant's address.
func openUniversal(o Options, base *url.URL, h *http.Client) (Service, error) {
	if o.ClientID == "" {
		return nil, errors.New("print service: universal-print needs a client_id: that of an application registered in Entra")
	}
	host, authority := base.Host, base.Scheme+"://"+base.Host+"/organizations"
	if base.Hostname() == microsoftRegister {
		host, authority = microsoftPrinters, microsoftAuthority
	}
	authority = strings.TrimSuffix(orDefault(o.Authority, authority), "/")
	if u, err := exchange.Secure(authority); err != nil {
		return nil, fmt.Errorf("print service: authority: %w", err)
	} else if u.RawQuery != "" || u.ForceQuery {
		return nil, fmt.Errorf("print service: authority %q must have no query", authority)
	}
	return &universal{
		rest{base, h, o.Clock}, oauth(o, h),
		deviceauth.Metadata{Issuer: authority, DeviceAuthorization: authority + "/oauth2/v2.0/devicecode", Token: authority + "/oauth2/v2.0/token"},
		orDefault(o.Scope, microsoftScope), host,
	}, nil
}

func (*universal) Traits() mfpgate.PrintServiceTraits {
	return mfpgate.PrintServiceTraits{Key: mfpgate.PrintKeyRSA}
}

// RequestCode sends nothing but what Entra knows: neither the device nor a PKCE challenge, of which its device code says nothing.
func (u *universal) RequestCode(ctx context.Context, _ mfpgate.CodeRequest) (mfpgate.Code, error) {
	return u.oauth.RequestCode(ctx, u.server, u.scope, nil, "")
}

func (u *universal) Redeem(ctx context.Context, c mfpgate.Code, _ mfpgate.Secret) (mfpgate.Grant, error) {
	return u.oauth.Redeem(ctx, u.server, c, "")
}

func (*universal) AwaitEvent(context.Context, mfpgate.Code) error { return mfpgate.ErrNoEvents }

type certificateRequest struct {
	Type         string `json:"type"`
	Data         string `json:"data"`
	TransportKey string `json:"transport_key"`
}

type registerRequest struct {
	Name         string             `json:"name"`
	Manufacturer string             `json:"manufacturer"`
	Model        string             `json:"model"`
	DeviceID     string             `json:"device_id"`
	DeviceType   string             `json:"device_type"`
	Capabilities []string           `json:"device_capabilities"`
	Language     string             `json:"preferred_lang"`
	Physical     bool               `json:"has_physical_device"`
	Certificate  certificateRequest `json:"certificate_request"`
}

func (u *universal) Enter(ctx context.Context, g mfpgate.Grant, q mfpgate.PrinterRequest) (mfpgate.Entering, error) {
	transport, err := transportKey(q.CSR)
	if err != nil {
		return mfpgate.Entering{}, fmt.Errorf("register printer: %w: %w", mfpgate.ErrRefused, err)
	}
	body, err := json.Marshal(registerRequest{
		Name: q.Device.Name, Manufacturer: q.Device.Make, Model: q.Device.Model, DeviceID: q.Device.UUID,
		DeviceType: "printer", Capabilities: []string{"print"}, Language: "en-us", Physical: true,
		Certificate: certificateRequest{"pkcs10", base64.StdEncoding.EncodeToString(q.CSR), transport},
	})
	if err != nil {
		return mfpgate.Entering{}, err
	}
	a, err := u.call(ctx, http.MethodPost, u.base.JoinPath("api/v1.0/register"), g, q.ID, body)
	var out mfpgate.Entering
	if err == nil {
		out, err = u.progress(a, "")
	}
	if err != nil {
		return mfpgate.Entering{}, fmt.Errorf("register printer: %w", err)
	}
	return out, nil
}

func (u *universal) Entered(ctx context.Context, g mfpgate.Grant, operation string) (mfpgate.Entering, error) {
	at := u.base.JoinPath("api/v1.0/register")
	at.RawQuery = url.Values{"registration_id": {operation}}.Encode()
	a, err := u.call(ctx, http.MethodGet, at, g, "", nil)
	err = gone(a, err)
	var out mfpgate.Entering
	if err == nil {
		out, err = u.progress(a, operation)
	}
	if err != nil {
		return mfpgate.Entering{}, fmt.Errorf("ask for registration: %w", err)
	}
	return out, nil
}

// progress reads 202 with {registration_id, interval}, of which later answers may have the interval alone, and 200 with the printer.
func (u *universal) progress(a exchange.Answer, operation string) (mfpgate.Entering, error) {
	if a.Status == http.StatusAccepted {
		id, err := a.Body.Visible("registration_id", maxID)
		if err != nil {
			return mfpgate.Entering{}, err
		}
		if operation = orDefault(operation, id); operation == "" {
			return mfpgate.Entering{}, fmt.Errorf("%w: without registration_id", exchange.ErrAnswer)
		}
		wait, err := a.Body.Seconds("interval", maxWait)
		if err != nil {
			wait = 0
		}
		return mfpgate.Entering{Operation: operation, Wait: wait}, nil
	}
	id, err := a.Body.Visible("cloud_device_id", maxID)
	if err != nil {
		return mfpgate.Entering{}, err
	}
	if id == "" {
		return mfpgate.Entering{}, fmt.Errorf("%w: without cloud_device_id", exchange.ErrAnswer)
	}
	certificate, err := certificate(a.Body)
	if err != nil {
		return mfpgate.Entering{}, err
	}
	return mfpgate.Entering{Done: true, Printer: mfpgate.Printer{
		ID: id, URI: "ipps://" + u.printers + "/printers/" + url.PathEscape(id), Certificate: certificate,
	}}, nil
}

func (*universal) AllowUser(context.Context, mfpgate.Grant, string, string) (mfpgate.PrintUser, error) {
	return mfpgate.PrintUserUnknown, fmt.Errorf("%w: Universal Print lets a user print by a share of the printer; its administrator makes it in the Azure portal", mfpgate.ErrRefused)
}

// transportKey is the public key of a certificate request as RSAPublicKey (RFC 8017 appendix A.1.1) in base64.
func transportKey(csr []byte) (string, error) {
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return "", fmt.Errorf("certificate request: %w", err)
	}
	key, ok := request.PublicKey.(*rsa.PublicKey)
	if !ok {
		return "", errors.New("certificate request: Universal Print certifies RSA keys only")
	}
	return base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(key)), nil
}

// certificate reads a certificate in PEM or in base64 of DER.
func certificate(o exchange.Object) ([]byte, error) {
	text, err := o.Text("certificate", exchange.MaxAnswer)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode([]byte(text)); block != nil && block.Type == "CERTIFICATE" {
		return block.Bytes, nil
	}
	return o.Base64("certificate")
}
