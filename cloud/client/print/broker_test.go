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
	return newDesk(t, kind, p, page).register(user, approve)
}

// desk is the gateway's broker.
type desk struct {
	*approval.Broker
	t   *testing.T
	ctx context.Context
}

func newDesk(t *testing.T, kind string, p print.Service, page string) desk {
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
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return desk{b, t, ctx}
}

// register asks for a user, and approves each code that comes.
func (d desk) register(user string, approve func(userCode string)) mfpgate.Registration {
	d.t.Helper()
	r, _, err := d.Request(d.ctx, mfpgate.RegistrationRequest{Device: device.ID, Service: "s", User: user}, "test", "")
	if err != nil {
		d.t.Fatal(err)
	}
	for approved := mfpgate.Secret(""); !r.State.Ended(); {
		if err := mfpgate.Wait(d.ctx, mfpgate.SystemClock{}, 20*time.Millisecond); err != nil {
			d.t.Fatalf("it stays %s (%s, %s)", r.State, r.Reason, r.Detail)
		}
		if r, err = d.Get(d.ctx, r.ID); err != nil {
			d.t.Fatal(err)
		}
		if r.UserCode != "" && !r.UserCode.Equal(approved) {
			approve(r.UserCode.Reveal())
			approved = r.UserCode
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

// TestTheRegionDecidesWhoMayPrint has an administrator of a real region approve a device without its user, and lose a printer.
func TestTheRegionDecidesWhoMayPrint(t *testing.T) {
	s, p, password := region(t, time.Minute, time.Second)
	d := newDesk(t, print.KindReference, p, s.URL)
	for _, c := range []struct {
		rule, user, choice string
		purpose            mfpgate.RegistrationPurpose
		state              mfpgate.RegistrationState
		why                mfpgate.Reason
	}{
		{"the device is approved for somebody else", user, "other@example.jp", mfpgate.PurposeRegister, mfpgate.RegistrationRegistered, approval.UserNotAllowed},
		{"one more user is not chosen", user, "other@example.jp", mfpgate.PurposeAllowUser, mfpgate.RegistrationFailed, approval.UserNotAllowed},
		{"one more user is chosen", user, user, mfpgate.PurposeAllowUser, mfpgate.RegistrationRegistered, approval.UserUnconfirmed},
	} {
		r := d.register(c.user, func(code string) {
			if status, page := s.Decide(t, admin, password, code, c.choice); status != 200 {
				t.Errorf("%s: decision: %d %s", c.rule, status, page)
			}
		})
		if r.State != c.state || r.Reason != c.why || r.Purpose != c.purpose || r.PrinterID == "" || r.Detail == "" {
			t.Errorf("%s: %s, %s, %q (%s)", c.rule, r.Purpose, r.State, r.Reason, r.Detail)
		}
	}

	first, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone := first[0].PrinterID
	if status, page := s.Form(t, admin, password, "/print/printers/"+gone+"/unregister", url.Values{}); status != 303 {
		t.Fatalf("unregister: %d %s", status, page)
	}
	r := d.register("sato@example.jp", func(code string) {
		if status, page := s.Decide(t, admin, password, code, "sato@example.jp"); status != 200 {
			t.Errorf("decision: %d %s", status, page)
		}
	})
	if r.State != mfpgate.RegistrationRegistered || r.Purpose != mfpgate.PurposeRegister || r.PrinterID == gone || r.Attempt != 1 {
		t.Errorf("a printer that is gone: %s, %s, %q (%s), printer %s, was %s", r.Purpose, r.State, r.Reason, r.Detail, r.PrinterID, gone)
	}
}
