package print_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

const (
	admin    = "it@example.jp"
	user     = "hana@example.jp"
	verifier = mfpgate.Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
)

// region is a reference region, its print service as the gateway speaks to it, and its administrator.
func region(t *testing.T, lifetime, interval time.Duration) (*servertest.Region, print.Service, mfpgate.Secret) {
	t.Helper()
	r := servertest.Start(t, servertest.Codes(lifetime, interval))
	p, err := print.Open(print.Options{Kind: print.KindReference, URL: r.URL, RootCAs: r.Roots})
	if err != nil {
		t.Fatal(err)
	}
	return r, p, r.Administrator(t, admin)
}

func asking(purpose mfpgate.RegistrationPurpose, printer string) mfpgate.CodeRequest {
	return mfpgate.CodeRequest{ID: "reg-1.1", Purpose: purpose, Device: device, Printer: printer, User: user, Site: "osaka-branch", Verifier: verifier}
}

// redeem polls until the answer is final, as slowly as it is told to.
func redeem(t *testing.T, p print.Service, c mfpgate.Code) (mfpgate.Grant, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for wait := c.Interval; ; {
		g, err := p.Redeem(ctx, c, verifier)
		if !errors.Is(err, mfpgate.ErrPending) && !errors.Is(err, mfpgate.ErrSlowDown) {
			return g, err
		}
		if errors.Is(err, mfpgate.ErrSlowDown) {
			wait += 5 * time.Second
		}
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, wait); err != nil {
			t.Fatal(err)
		}
	}
}

func enter(t *testing.T, p print.Service, g mfpgate.Grant, q mfpgate.PrinterRequest) mfpgate.Printer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e, err := p.Enter(ctx, g, q)
	for err == nil && !e.Done {
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, min(e.Wait, 50*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		e, err = p.Entered(ctx, g, e.Operation)
	}
	if err != nil {
		t.Fatal(err)
	}
	return e.Printer
}

// TestTheReferenceRegion goes the whole way with the service that the wire was agreed with.
func TestTheReferenceRegion(t *testing.T) {
	r, p, password := region(t, time.Minute, time.Second)
	c, err := p.RequestCode(t.Context(), asking(mfpgate.PurposeRegister, ""))
	if err != nil {
		t.Fatal(err)
	}
	if c.VerificationURI != r.URL+"/device" || c.Lifetime != time.Minute || c.Interval != time.Second || c.Events == "" || len(c.UserCode) != 9 {
		t.Errorf("got %+v", c)
	}
	if _, err := p.Redeem(t.Context(), c, verifier); !errors.Is(err, mfpgate.ErrPending) {
		t.Errorf("got %v, want ErrPending", err)
	}
	if _, err := p.Redeem(t.Context(), c, verifier); !errors.Is(err, mfpgate.ErrSlowDown) {
		t.Errorf("at once again: got %v, want ErrSlowDown", err)
	}
	told := make(chan error, 1)
	go func() { told <- p.AwaitEvent(t.Context(), c) }()
	if status, page := r.Decide(t, admin, password, c.UserCode.Reveal(), user); status != 200 {
		t.Fatalf("decision: %d %s", status, page)
	}
	select {
	case err := <-told:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
	}
	g, err := p.Redeem(t.Context(), c, verifier) // at once: after a decision it is never too early
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.Redeem(t.Context(), c, verifier); err != nil || !again.Token.Equal(g.Token) {
		t.Errorf("the same again: got %v, want the same token", err)
	}
	if _, err := p.Redeem(t.Context(), c, verifier+"x"); !errors.Is(err, mfpgate.ErrInvalidGrant) {
		t.Errorf("with another verifier: got %v, want ErrInvalidGrant", err)
	}

	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	q := mfpgate.PrinterRequest{ID: "reg-1", Device: device, User: user, CSR: csr(t, key)}
	printer := enter(t, p, g, q)
	if again := enter(t, p, g, q); again.ID != printer.ID {
		t.Errorf("the same again is %s, want %s", again.ID, printer.ID)
	}
	certificate, err := x509.ParseCertificate(printer.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	ca, _, err := r.Folder.PrintAuthority()
	if err != nil {
		t.Fatal(err)
	}
	if !key.PublicKey.Equal(certificate.PublicKey) || certificate.CheckSignatureFrom(ca) != nil || !strings.HasPrefix(printer.URI, "ipps://") {
		t.Errorf("got %s at %s with a certificate of %s", printer.ID, printer.URI, certificate.Subject)
	}

	registered := g
	t.Run("one more user", func(t *testing.T) {
		c, err := p.RequestCode(t.Context(), asking(mfpgate.PurposeAllowUser, printer.ID))
		if err != nil {
			t.Fatal(err)
		}
		if status, page := r.Decide(t, admin, password, c.UserCode.Reveal(), user); status != 200 {
			t.Fatalf("decision: %d %s", status, page)
		}
		g, err := redeem(t, p, c)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if became, err := p.AllowUser(t.Context(), g, printer.ID, user); err != nil || became != mfpgate.PrintUserUnconfirmed {
				t.Errorf("got %q, %v, want a user who is to confirm", became, err)
			}
		}
		if _, err := p.AllowUser(t.Context(), g, "another", user); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("another printer: got %v, want ErrRefused", err)
		}
		if became, err := p.AllowUser(t.Context(), g, printer.ID, "other@example.jp"); err != nil || became != mfpgate.PrintUserNotAllowed {
			t.Errorf("a user whom nobody chose: got %q, %v, want one who is not allowed", became, err)
		}
		if _, err := p.Enter(t.Context(), g, q); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("to enter with this scope: got %v, want ErrRefused", err)
		}
		unregister(t, r, registered, printer.ID)
		if _, err := p.AllowUser(t.Context(), g, printer.ID, user); !errors.Is(err, mfpgate.ErrNoPrinter) {
			t.Errorf("a printer that is unregistered: got %v, want ErrNoPrinter", err)
		}
	})
	t.Run("a printer that is none", func(t *testing.T) {
		if _, err := p.RequestCode(t.Context(), asking(mfpgate.PurposeAllowUser, "nobody's")); !errors.Is(err, mfpgate.ErrNoPrinter) {
			t.Errorf("got %v, want ErrNoPrinter", err)
		}
	})
	t.Run("an operation that is none", func(t *testing.T) {
		if _, err := p.Entered(t.Context(), g, r.URL+"/print/v1/operations/x"); !errors.Is(err, mfpgate.ErrNoPrinter) {
			t.Errorf("got %v, want ErrNoPrinter", err)
		}
	})
	t.Run("a token that is none", func(t *testing.T) {
		_, err := p.Enter(t.Context(), mfpgate.Grant{Token: "s3cr3t"}, q)
		if !errors.Is(err, mfpgate.ErrInvalidGrant) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("got %v, want ErrInvalidGrant", err)
		}
	})
	t.Run("a key of another kind", func(t *testing.T) {
		e, err := p.Enter(t.Context(), g, mfpgate.PrinterRequest{ID: "reg-2", Device: device, User: user, CSR: csr(t, rsaKey(t, 1024))})
		for err == nil && !e.Done {
			e, err = p.Entered(t.Context(), g, e.Operation)
		}
		if !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("got %+v, %v, want ErrRefused", e, err)
		}
	})
	t.Run("denied", func(t *testing.T) {
		c, err := p.RequestCode(t.Context(), asking(mfpgate.PurposeRegister, ""))
		if err != nil {
			t.Fatal(err)
		}
		if status, page := r.Decide(t, admin, password, c.UserCode.Reveal()); status != 200 {
			t.Fatalf("decision: %d %s", status, page)
		}
		if _, err := redeem(t, p, c); !errors.Is(err, mfpgate.ErrDenied) {
			t.Errorf("got %v, want ErrDenied", err)
		}
	})
	t.Run("a code that nobody gave", func(t *testing.T) {
		c := mfpgate.Code{DeviceCode: "nobody's", Events: c.Events}
		if _, err := p.Redeem(t.Context(), c, verifier); !errors.Is(err, mfpgate.ErrInvalidGrant) {
			t.Errorf("got %v, want ErrInvalidGrant", err)
		}
		if err := p.AwaitEvent(t.Context(), c); err == nil || strings.Contains(err.Error(), "nobody's") {
			t.Errorf("got %v, want an error", err)
		}
	})
	t.Run("device without words", func(t *testing.T) { // many say nothing of themselves
		bare := asking(mfpgate.PurposeRegister, "")
		bare.Device, bare.Site = mfpgate.PrintDevice{UUID: "5a1a4b0e-0000-4000-8000-000000000002"}, ""
		c, err := p.RequestCode(t.Context(), bare)
		if err != nil {
			t.Fatal(err)
		}
		if status, page := r.Decide(t, admin, password, c.UserCode.Reveal(), user); status != 200 {
			t.Fatalf("decision: %d %s", status, page)
		}
		g, err := redeem(t, p, c)
		if err != nil {
			t.Fatal(err)
		}
		other := enter(t, p, g, mfpgate.PrinterRequest{ID: "reg-3", Device: bare.Device, User: user, CSR: csr(t, key)})
		if cmp.Equal(other.ID, printer.ID) {
			t.Error("two devices are one printer")
		}
	})
}

// unregister is what no method of ours does.
func unregister(t *testing.T, r *servertest.Region, g mfpgate.Grant, printer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, r.URL+"/print/v1/printers/"+printer, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.Token.Reveal())
	res, err := r.HTTP(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Fatalf("unregister: status %d", res.StatusCode)
	}
}

func TestCodesOfTheReferenceRegionExpire(t *testing.T) {
	_, p, _ := region(t, 2*time.Second, time.Second)
	c, err := p.RequestCode(t.Context(), asking(mfpgate.PurposeRegister, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := redeem(t, p, c); !errors.Is(err, mfpgate.ErrCodeExpired) {
		t.Errorf("got %v, want ErrCodeExpired", err)
	}
}
