package print_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	gateway "github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// The gateway's own client registers, in both ways that the service has, and the device is one printer in both.
func TestTheGatewaysClientRegisters(t *testing.T) {
	r := servertest.Start(t)
	pass := r.Administrator(t, admin)
	device := mfpgate.PrintDevice{ID: "dev_1", Name: "2F copier", Make: "Example", Model: "SIM-C300", Serial: "A17-0042", UUID: deviceUUID, Location: "Osaka 2F", Address: "10.1.2.9"}
	der, key := csr(t)
	register := func(kind, url string, request []byte) mfpgate.Printer {
		t.Helper()
		s, err := gateway.Open(gateway.Options{Kind: kind, URL: url, RootCAs: r.Roots})
		servertest.Must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		v := mfpgate.Secret(verifier)
		code, err := s.RequestCode(ctx, mfpgate.CodeRequest{ID: kind, Purpose: mfpgate.PurposeRegister, Device: device, User: hana, Site: "osaka", Verifier: v})
		servertest.Must(t, err)
		if _, err := s.Redeem(ctx, code, v); !errors.Is(err, mfpgate.ErrPending) {
			t.Errorf("%s: before the decision: %v", kind, err)
		}
		told := make(chan error, 1)
		if code.Events != "" {
			go func() { told <- s.AwaitEvent(ctx, code) }() // awaited below
		} else {
			told <- nil
		}
		if status, page := r.Decide(t, admin, pass, code.UserCode.Reveal(), hana); status != 200 {
			t.Fatalf("%s: %d %s", kind, status, page)
		}
		servertest.Must(t, <-told)
		grant, err := s.Redeem(ctx, code, v)
		servertest.Must(t, err)
		again, err := s.Redeem(ctx, code, v)
		if err != nil || again.Token != grant.Token {
			t.Errorf("%s: redeemed again: %v", kind, err)
		}
		e, err := s.Enter(ctx, grant, mfpgate.PrinterRequest{ID: "reg_" + kind, Device: device, User: hana, CSR: request})
		servertest.Must(t, err)
		for !e.Done {
			servertest.Must(t, mfpgate.Wait(ctx, mfpgate.SystemClock{}, 10*time.Millisecond))
			e, err = s.Entered(ctx, grant, e.Operation)
			servertest.Must(t, err)
		}
		return e.Printer
	}
	a := register(gateway.KindReference, r.URL, der)
	cert, err := x509.ParseCertificate(a.Certificate)
	servertest.Must(t, err)
	if !key.PublicKey.Equal(cert.PublicKey) {
		t.Error("the certificate is another key's")
	}
	b := register(gateway.KindIPPSystem, "ipps"+strings.TrimPrefix(r.URL, "https")+"/ipp/system", nil)
	if a.URI != b.URI || !strings.HasPrefix(a.URI, "ipps://") {
		t.Errorf("jobs come from %s and %s", a.URI, b.URI)
	}
}

// Nobody is asked to allow a user on a printer that is not there.
func TestTheGatewaysClientIsToldThatAPrinterIsGone(t *testing.T) {
	r := servertest.Start(t)
	s, err := gateway.Open(gateway.Options{Kind: gateway.KindReference, URL: r.URL, RootCAs: r.Roots})
	servertest.Must(t, err)
	_, err = s.RequestCode(t.Context(), mfpgate.CodeRequest{
		ID: "x", Purpose: mfpgate.PurposeAllowUser, Device: mfpgate.PrintDevice{ID: "dev_1", UUID: deviceUUID}, Printer: "prn_gone", User: hana, Verifier: mfpgate.Secret(verifier),
	})
	if !errors.Is(err, mfpgate.ErrRefused) || !strings.Contains(err.Error(), "no such printer") {
		t.Errorf("a printer that is not there: %v", err)
	}
}
