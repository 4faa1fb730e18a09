package print_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cloud/client/print/universaltest"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// What Open gives is what the broker asks for.
var _ approval.PrintService = print.Service(nil)

var (
	noon   = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	device = mfpgate.PrintDevice{
		ID: "dev-1", Name: "2F copier", Make: "Example", Model: "MX-1", Serial: "S1", UUID: "5a1a4b0e-0000-4000-8000-000000000001",
		Location: "Osaka 2F", Address: "10.1.0.9",
	}
)

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csr(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: device.UUID}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// universal is a service that plays Universal Print, and the gateway's side of it.
func universal(t *testing.T, o universaltest.Options) (*universaltest.Service, print.Service, *fakeclock.Clock) {
	t.Helper()
	clock := fakeclock.New(noon)
	o.Clock = clock
	s := universaltest.Start(t, o)
	p, err := print.Open(print.Options{Kind: print.KindUniversalPrint, URL: s.URL + "/", ClientID: s.ClientID(), RootCAs: s.RootCA, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return s, p, clock
}

func granted(t *testing.T, s *universaltest.Service, p print.Service) mfpgate.Grant {
	t.Helper()
	c, err := p.RequestCode(t.Context(), mfpgate.CodeRequest{ID: "r-1", Device: device, Verifier: "v"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Approve(c.UserCode.Reveal()); err != nil {
		t.Fatal(err)
	}
	g, err := p.Redeem(t.Context(), c, "v")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestUniversalPrint(t *testing.T) {
	for _, pem := range []bool{false, true} {
		s, p, clock := universal(t, universaltest.Options{Polls: 1, PEM: pem})
		if diff := cmp.Diff(mfpgate.PrintServiceTraits{Key: mfpgate.PrintKeyRSA}, p.Traits()); diff != "" {
			t.Error(diff)
		}
		c, err := p.RequestCode(t.Context(), mfpgate.CodeRequest{ID: "r-1", Device: device, Verifier: "v"})
		if err != nil {
			t.Fatal(err)
		}
		if c.Lifetime != 15*time.Minute || c.Interval != 5*time.Second || c.VerificationURI != s.URL+"/devicelogin" {
			t.Errorf("got %+v, want a quarter of an hour, 5 s and the page", c)
		}
		if err := p.AwaitEvent(t.Context(), c); !errors.Is(err, mfpgate.ErrNoEvents) {
			t.Errorf("got %v, want ErrNoEvents", err)
		}
		if _, err := p.Redeem(t.Context(), c, "v"); !errors.Is(err, mfpgate.ErrPending) {
			t.Fatalf("got %v, want ErrPending", err)
		}
		if err := s.Approve(c.UserCode.Reveal()); err != nil {
			t.Fatal(err)
		}
		g, err := p.Redeem(t.Context(), c, "v")
		if err != nil || !g.Expires.Equal(clock.Now().Add(3599*time.Second)) {
			t.Fatalf("got %+v, %v, want a token of an hour", g, err)
		}
		if _, err := p.Redeem(t.Context(), c, "v"); !errors.Is(err, mfpgate.ErrInvalidGrant) {
			t.Errorf("replay: got %v, want ErrInvalidGrant", err)
		}
		key := rsaKey(t, 2048)
		e, err := p.Enter(t.Context(), g, mfpgate.PrinterRequest{ID: "r-1", Device: device, User: "a@b.example", CSR: csr(t, key)})
		if err != nil || e.Done || e.Operation == "" || e.Wait != 5*time.Second {
			t.Fatalf("got %+v, %v, want to wait for 5 s", e, err)
		}
		operation := e.Operation
		if e, err = p.Entered(t.Context(), g, operation); err != nil || e.Done || e.Operation != operation || e.Wait != 5*time.Second {
			t.Fatalf("got %+v, %v, want to wait for 5 s more", e, err)
		}
		e, err = p.Entered(t.Context(), g, operation)
		if err != nil || !e.Done {
			t.Fatalf("got %+v, %v, want the printer", e, err)
		}
		there := s.Printers()
		if len(there) != 1 || there[0].DeviceID != device.UUID || there[0].Name != device.Name || there[0].Model != device.Model {
			t.Errorf("the service has %+v, want the device once", there)
		}
		if want := "ipps://" + strings.TrimPrefix(s.URL, "https://") + "/printers/" + there[0].ID; e.Printer.URI != want || e.Printer.ID != there[0].ID {
			t.Errorf("got %s at %s, want it at %s", e.Printer.ID, e.Printer.URI, want)
		}
		certificate, err := x509.ParseCertificate(e.Printer.Certificate)
		if err != nil || !key.PublicKey.Equal(certificate.PublicKey) || certificate.CheckSignatureFrom(s.Issuer()) != nil {
			t.Errorf("got a certificate that is none of this key: %v", err)
		}
		// Once more gets the same printer.
		again, err := p.Enter(t.Context(), g, mfpgate.PrinterRequest{ID: "r-1", Device: device, CSR: csr(t, key)})
		if err != nil || again.Done || len(s.Printers()) != 1 {
			t.Errorf("got %+v, %v, want the same printer again", again, err)
		}
	}
}

func TestUniversalPrintRefuses(t *testing.T) {
	s, p, clock := universal(t, universaltest.Options{})
	t.Run("a denial", func(t *testing.T) {
		c, err := p.RequestCode(t.Context(), mfpgate.CodeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Decline(c.UserCode.Reveal()); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Redeem(t.Context(), c, ""); !errors.Is(err, mfpgate.ErrDenied) {
			t.Errorf("got %v, want ErrDenied", err)
		}
	})
	t.Run("an unknown code", func(t *testing.T) {
		if _, err := p.Redeem(t.Context(), mfpgate.Code{DeviceCode: "x"}, ""); !errors.Is(err, mfpgate.ErrInvalidGrant) {
			t.Errorf("got %v, want ErrInvalidGrant", err)
		}
	})
	t.Run("an expired code", func(t *testing.T) {
		c, err := p.RequestCode(t.Context(), mfpgate.CodeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		clock.Advance(c.Lifetime)
		if _, err := p.Redeem(t.Context(), c, ""); !errors.Is(err, mfpgate.ErrCodeExpired) {
			t.Errorf("got %v, want ErrCodeExpired", err)
		}
	})
	g := granted(t, s, p)
	small, ec := rsaKey(t, 1024), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	forged := csr(t, rsaKey(t, 2048))
	forged[len(forged)-1] ^= 1
	for rule, request := range map[string][]byte{"a small key": csr(t, small), "an elliptic key": csr(t, ec), "a broken signature": forged, "no request": nil} {
		t.Run(rule, func(t *testing.T) {
			if _, err := p.Enter(t.Context(), g, mfpgate.PrinterRequest{Device: device, CSR: request}); !errors.Is(err, mfpgate.ErrRefused) {
				t.Errorf("got %v, want ErrRefused", err)
			}
		})
	}
	t.Run("a token that is none", func(t *testing.T) {
		_, err := p.Enter(t.Context(), mfpgate.Grant{Token: "s3cr3t"}, mfpgate.PrinterRequest{Device: device, CSR: csr(t, rsaKey(t, 2048))})
		if !errors.Is(err, mfpgate.ErrInvalidGrant) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("got %v, want ErrInvalidGrant", err)
		}
	})
	t.Run("an unknown registration", func(t *testing.T) {
		if _, err := p.Entered(t.Context(), g, "x&y=1"); !errors.Is(err, mfpgate.ErrNoPrinter) || !strings.Contains(err.Error(), "NotFound") {
			t.Errorf("got %v, want ErrNoPrinter", err)
		}
	})
	t.Run("a token that is over", func(t *testing.T) {
		clock.Advance(time.Hour)
		if _, err := p.Entered(t.Context(), g, "x"); !errors.Is(err, mfpgate.ErrInvalidGrant) {
			t.Errorf("got %v, want ErrInvalidGrant", err)
		}
	})
	t.Run("a user", func(t *testing.T) {
		if _, err := p.AllowUser(t.Context(), g, "p", "a@b.example"); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("got %v, want ErrRefused", err)
		}
	})
	t.Run("another client", func(t *testing.T) {
		other, err := print.Open(print.Options{Kind: print.KindUniversalPrint, URL: s.URL, ClientID: "other", RootCAs: s.RootCA})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.RequestCode(t.Context(), mfpgate.CodeRequest{}); !errors.Is(err, mfpgate.ErrRefused) || !strings.Contains(err.Error(), "AADSTS700016") {
			t.Errorf("got %v, want ErrRefused in Entra's words", err)
		}
	})
	t.Run("a certificate that nobody vouches for", func(t *testing.T) {
		other, err := print.Open(print.Options{Kind: print.KindUniversalPrint, URL: s.URL, ClientID: s.ClientID(), RootCAs: x509.NewCertPool()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.RequestCode(t.Context(), mfpgate.CodeRequest{}); err == nil || errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("got %v, want an error that is not final", err)
		}
	})
	if got := len(s.Printers()); got != 0 {
		t.Errorf("the service has %d printers, want none", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestCallsEndWithTheirContext(t *testing.T) {
	_, p, _ := universal(t, universaltest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Entered(ctx, mfpgate.Grant{Token: "t"}, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
	if _, err := p.RequestCode(ctx, mfpgate.CodeRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's end", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		rule string
		o    print.Options
		says string
	}{
		{"a kind must be known", print.Options{Kind: "cups", URL: "https://a.example"}, "kind"},
		{"an address in clear", print.Options{Kind: print.KindReference, URL: "http://a.example"}, "https"},
		{"no address", print.Options{Kind: print.KindReference}, "host"},
		{"an address with a query", print.Options{Kind: print.KindReference, URL: "https://a.example/?x=1"}, "query"},
		{"an address with a password", print.Options{Kind: print.KindReference, URL: "https://u:p4ss@a.example"}, "user"},
		{"an authority in clear", print.Options{Kind: print.KindReference, URL: "https://a.example", Authority: "http://a.example"}, "authority"},
		{"a system that speaks something else", print.Options{Kind: print.KindIPPSystem, URL: "ftp://a.example/ipp/system"}, "ftp"},
		{"universal-print without client id", print.Options{Kind: print.KindUniversalPrint, URL: "https://register.print.microsoft.com"}, "client_id"},
		{"an authority with a query", print.Options{Kind: print.KindUniversalPrint, ClientID: "x", URL: "https://a.example", Authority: "https://a.example?x"}, "query"},
	} {
		got, err := print.Open(tt.o)
		if got != nil || err == nil || !strings.Contains(err.Error(), tt.says) || bytes.Contains([]byte(err.Error()), []byte("p4ss")) {
			t.Errorf("%s: got %v, want an error about %s", tt.rule, err, tt.says)
		}
	}
}
