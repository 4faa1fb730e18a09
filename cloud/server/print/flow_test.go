package print_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

const deviceUUID = "0f6f0c3e-9d4b-4c5e-8f11-2a3b4c5d6e7f"

// client is golang.org/x/oauth2 as somebody else's client of the whole flow.
func client(t *testing.T, r *servertest.Region) (oauth2.Config, context.Context) {
	t.Helper()
	hc := r.HTTP(t)
	res, err := hc.Get(r.URL + "/.well-known/oauth-authorization-server")
	servertest.Must(t, err)
	defer res.Body.Close()
	var m struct {
		Issuer string `json:"issuer"`
		Device string `json:"device_authorization_endpoint"`
		Token  string `json:"token_endpoint"`
	}
	servertest.Must(t, json.NewDecoder(res.Body).Decode(&m))
	if m.Issuer != r.URL {
		t.Fatalf("issuer %s of %s (RFC 8414 §3.3)", m.Issuer, r.URL)
	}
	return oauth2.Config{
		ClientID: "mfpgate", Scopes: []string{"print.register"},
		Endpoint: oauth2.Endpoint{DeviceAuthURL: m.Device, TokenURL: m.Token, AuthStyle: oauth2.AuthStyleInParams},
	}, context.WithValue(t.Context(), oauth2.HTTPClient, hc)
}

func deviceFacts() []oauth2.AuthCodeOption {
	var list []oauth2.AuthCodeOption
	for name, value := range map[string]string{
		"device_uuid": deviceUUID, "device_name": "2F copier", "device_make": "Example", "device_model": "SIM-C300", "device_serial": "A17-0042",
		"device_location": "Osaka 2F", "device_address": "10.1.2.9", "requester": "hana@example.jp", "site": "osaka-branch",
	} {
		list = append(list, oauth2.SetAuthURLParam(name, value))
	}
	return list
}

func csr(t *testing.T) (der []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	servertest.Must(t, err)
	der, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	servertest.Must(t, err)
	return der, key
}

// A client of another maker's goes the whole way: code, approval, token, printer, certificate, letter, confirmation.
func TestAForeignClientGoesTheWholeWay(t *testing.T) {
	r := servertest.Start(t, servertest.Codes(time.Minute, time.Second))
	password := r.Administrator(t, "it@example.jp")
	config, ctx := client(t, r)
	verifier := oauth2.GenerateVerifier()
	code, err := config.DeviceAuth(ctx, append(deviceFacts(), oauth2.S256ChallengeOption(verifier))...)
	servertest.Must(t, err)
	if code.VerificationURI != r.URL+"/device" || code.VerificationURIComplete != "" || code.Interval != 1 || len(code.UserCode) != 9 {
		t.Errorf("%+v", code)
	}
	if status, page := r.Decide(t, "it@example.jp", password, strings.ToLower(code.UserCode), "hana@example.jp"); status != 200 {
		t.Fatalf("decision: %d %s", status, page)
	}
	token, err := config.DeviceAccessToken(ctx, code, oauth2.VerifierOption(verifier))
	servertest.Must(t, err)
	if token.TokenType != "Bearer" || time.Until(token.Expiry) < 50*time.Minute {
		t.Errorf("%+v", token)
	}

	hc := config.Client(ctx, token)
	der, key := csr(t)
	body, err := json.Marshal(map[string]any{"deviceUuid": deviceUUID, "name": "2F copier", "user": "hana@example.jp", "certificateRequest": der})
	servertest.Must(t, err)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+"/print/v1/printers", strings.NewReader(string(body)))
	servertest.Must(t, err)
	req.Header.Set("Idempotency-Key", "reg_1")
	res, err := hc.Do(req)
	servertest.Must(t, err)
	res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Fatalf("printers: %d", res.StatusCode)
	}
	var op operation
	for wait := time.Now().Add(20 * time.Second); op.Status != "succeeded" && time.Now().Before(wait); {
		got, err := hc.Get(res.Header.Get("Operation-Location"))
		servertest.Must(t, err)
		servertest.Must(t, json.NewDecoder(got.Body).Decode(&op))
		got.Body.Close()
	}
	cert, err := x509.ParseCertificate(op.Certificate)
	servertest.Must(t, err)
	ca, _, err := r.Folder.PrintAuthority()
	servertest.Must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) || cert.Subject.CommonName != op.PrinterID || cert.IsCA || cert.URIs[0].String() != "urn:uuid:"+deviceUUID {
		t.Errorf("certificate of %s %v", cert.Subject, cert.URIs)
	}
	if op.UserState != "unconfirmed" {
		t.Errorf("user %q", op.UserState)
	}

	letter := r.Mail.Await(t, 1)[0]
	_, link, _ := strings.Cut(letter.Text, r.URL)
	link, _, _ = strings.Cut(link, "\n")
	if status, page := r.Form(t, "", "", link, nil); letter.To != "hana@example.jp" || status != 200 || !strings.Contains(page, "is confirmed") {
		t.Errorf("confirmation %s: %d %s", link, status, page)
	}
	var p struct {
		Users []struct{ User, State string }
	}
	got, err := hc.Get(r.URL + "/print/v1/printers/" + op.PrinterID)
	servertest.Must(t, err)
	defer got.Body.Close()
	servertest.Must(t, json.NewDecoder(got.Body).Decode(&p))
	if len(p.Users) != 1 || p.Users[0].State != "allowed" {
		t.Errorf("users %+v", p.Users)
	}
}

// operation is the document of an operation.
type operation struct {
	OperationID string `json:"operationId"`
	Status      string `json:"status"`
	PrinterID   string `json:"printerId"`
	PrinterURI  string `json:"printerUri"`
	Certificate []byte `json:"certificate"`
	UserState   string `json:"userState"`
	Error       string `json:"error"`
}
