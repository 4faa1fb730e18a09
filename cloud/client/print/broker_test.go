package print_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cloud/client/print/universaltest"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
)

// site has the one device.
type site struct{}

func (site) Candidate(mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	return mfpgate.PrintCandidate{PrintDevice: device, Admin: admin}, true
}

// registered has the gateway's broker register the device in a service, until the end.
func registered(t *testing.T, kind string, p print.Service, page string, approve func(userCode string)) mfpgate.Registration {
	t.Helper()
	at, err := url.Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	clock := mfpgate.SystemClock{}
	var level telemetry.Level
	b, err := approval.New(t.Context(), approval.Options{
		Clock: clock, Rand: rand.New(rand.NewPCG(1, 2)), Store: memory.New(), Sealer: sealer, Site: site{},
		Log: telemetry.NewLogger(io.Discard, clock, &level, false), Metrics: telemetry.NewMetrics(), Gateway: "osaka-1",
	}, approval.Policy{SiteName: "osaka-branch", Region: "jp", Services: []approval.Service{{Name: "s", Kind: kind, Client: p, Hosts: []string{at.Hostname()}, Push: true}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	r, _, err := b.Request(ctx, mfpgate.RegistrationRequest{Device: device.ID, Service: "s", User: user}, "test", "")
	if err != nil {
		t.Fatal(err)
	}
	for approved := false; !r.State.Ended(); {
		if err := mfpgate.Wait(ctx, clock, 20*time.Millisecond); err != nil {
			t.Fatalf("it stays %s (%s, %s)", r.State, r.Reason, r.Detail)
		}
		if r, err = b.Get(ctx, r.ID); err != nil {
			t.Fatal(err)
		}
		if r.UserCode != "" && !approved {
			approve(r.UserCode.Reveal())
			approved = true
		}
	}
	return r
}

func TestTheBrokerRegistersInEachKind(t *testing.T) {
	t.Run(print.KindUniversalPrint, func(t *testing.T) {
		t.Parallel()
		s := universaltest.Start(t, universaltest.Options{Interval: time.Second, Polls: 1})
		p, err := print.Open(print.Options{Kind: print.KindUniversalPrint, URL: s.URL, ClientID: s.ClientID(), RootCAs: s.RootCA})
		if err != nil {
			t.Fatal(err)
		}
		r := registered(t, print.KindUniversalPrint, p, s.URL, func(code string) {
			if err := s.Approve(code); err != nil {
				t.Error(err)
			}
		})
		there := s.Printers()
		if len(there) != 1 || there[0].DeviceID != device.UUID {
			t.Fatalf("the service has %+v", there)
		}
		sum := sha256.Sum256(there[0].Certificate)
		if r.State != mfpgate.RegistrationRegistered || r.PrinterID != there[0].ID || r.Certificate != hex.EncodeToString(sum[:]) {
			t.Errorf("%s (%s, %s): printer %s, certificate %s", r.State, r.Reason, r.Detail, r.PrinterID, r.Certificate)
		}
		if c, err := x509.ParseCertificate(there[0].Certificate); err != nil || !r.CertificateExpires.Equal(c.NotAfter) {
			t.Errorf("it expires %v, want %v", r.CertificateExpires, c.NotAfter)
		}
	})
	t.Run(print.KindReference, func(t *testing.T) {
		t.Parallel()
		s, p, password := region(t, time.Minute, time.Second)
		r := registered(t, print.KindReference, p, s.URL, func(code string) {
			if status, page := s.Decide(t, admin, password, code, user); status != 200 {
				t.Errorf("decision: %d %s", status, page)
			}
		})
		if r.State != mfpgate.RegistrationRegistered || r.PrinterID == "" || r.PrinterURI == "" || r.Certificate == "" {
			t.Errorf("%s (%s, %s): printer %s at %s, certificate %s", r.State, r.Reason, r.Detail, r.PrinterID, r.PrinterURI, r.Certificate)
		}
	})
}
