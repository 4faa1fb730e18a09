package deviceauth_test

import (
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/client/print/deviceauth"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/peers"
)

// entering is a print service whose authorization server is somebody else's; to enter a device there is nothing.
type entering struct {
	deviceauth.Client
	issuer *deviceauth.Issuer

	mu      sync.Mutex
	entered []mfpgate.DeviceID
}

func (*entering) Traits() mfpgate.PrintServiceTraits { return mfpgate.PrintServiceTraits{} }

func (s *entering) RequestCode(ctx context.Context, r mfpgate.CodeRequest) (mfpgate.Code, error) {
	m, err := s.issuer.Metadata(ctx)
	if err != nil {
		return mfpgate.Code{}, err
	}
	c, err := s.Client.RequestCode(ctx, m, "profile", nil, r.Verifier)
	c.Interval = min(c.Interval, time.Second) // of its 5 s, which this server does not insist on and a test does not have
	return c, err
}

func (s *entering) has() []mfpgate.DeviceID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entered)
}

func (s *entering) Redeem(ctx context.Context, c mfpgate.Code, verifier mfpgate.Secret) (mfpgate.Grant, error) {
	m, err := s.issuer.Metadata(ctx)
	if err != nil {
		return mfpgate.Grant{}, err
	}
	return s.Client.Redeem(ctx, m, c, verifier)
}

func (s *entering) Enter(_ context.Context, g mfpgate.Grant, r mfpgate.PrinterRequest) (mfpgate.Entering, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.Token == "" {
		return mfpgate.Entering{}, mfpgate.ErrInvalidGrant
	}
	s.entered = append(s.entered, r.Device.ID)
	return mfpgate.Entering{Done: true, Printer: mfpgate.Printer{ID: "printer-of-" + string(r.Device.ID), URI: "ipps://print.example/1"}}, nil
}

func (*entering) Entered(context.Context, mfpgate.Grant, string) (mfpgate.Entering, error) {
	return mfpgate.Entering{}, mfpgate.ErrRefused
}

func (*entering) AllowUser(context.Context, mfpgate.Grant, string, string) (mfpgate.PrintUser, error) {
	return mfpgate.PrintUserUnknown, mfpgate.ErrRefused
}

// site has every device that is asked for.
type site struct{}

func (site) Candidate(id mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	return mfpgate.PrintCandidate{PrintDevice: mfpgate.PrintDevice{ID: id, Name: string(id), UUID: "5a1a4b0e-0000-4000-8000-000000000001"}, Admin: "it@example.jp"}, true
}

// letters takes what is mailed.
type letters struct {
	mu   sync.Mutex
	text []string
}

func (l *letters) Send(_ context.Context, m mfpgate.Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, m.Text)
	return nil
}

func (l *letters) with(word string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, text := range l.text {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// gateway is a broker on a store that outlives it, with the machine's own clock.
type gateway struct {
	facts   store.Store
	service *entering
	mail    *letters
	retries int
}

func newGateway(s *peers.OIDC, retries int) *gateway {
	c := deviceauth.Client{HTTP: exchange.NewHTTP(exchange.Options{}), ClientID: s.ClientID}
	return &gateway{memory.New(), &entering{Client: c, issuer: deviceauth.NewIssuer(c, s.Issuer)}, &letters{}, retries}
}

// run starts a broker; stop ends it.
func (g *gateway) run(t *testing.T) (b *approval.Broker, stop func()) {
	t.Helper()
	sealer, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	clock := mfpgate.SystemClock{}
	var level telemetry.Level
	b, err = approval.New(t.Context(), approval.Options{
		Clock: clock, Rand: rand.New(rand.NewPCG(1, 2)), Store: g.facts, Sealer: sealer, Site: site{}, Mailer: g.mail,
		Log: telemetry.NewLogger(io.Discard, clock, &level, false), Metrics: telemetry.NewMetrics(), Gateway: "osaka-1",
	}, approval.Policy{
		SiteName: "osaka", Region: "jp", Retries: g.retries,
		Services: []approval.Service{{Name: "others", Kind: "reference", Client: g.service, Hosts: []string{"127.0.0.1"}, Push: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }() // stop waits
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return b, stop
}

func request(t *testing.T, b *approval.Broker, device mfpgate.DeviceID) string {
	t.Helper()
	r, _, err := b.Request(t.Context(), mfpgate.RegistrationRequest{Device: device, Service: "others", User: string(device) + "@example.jp"}, "test", string(device))
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// await looks until a registration is as it shall be.
func await(t *testing.T, b *approval.Broker, id string, is func(mfpgate.Registration) bool) mfpgate.Registration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		r, err := b.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if is(r) {
			return r
		}
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, 20*time.Millisecond); err != nil {
			t.Fatalf("it stays %s (%s, %s)", r.State, r.Reason, r.Detail)
		}
	}
}

// TestOurPollerAtAnAuthorizationServerOfOthers decides on two registrations while the gateway is down.
func TestOurPollerAtAnAuthorizationServerOfOthers(t *testing.T) {
	t.Parallel()
	s := peers.OIDCServer(t, 0)
	g := newGateway(s, 3)
	t.Cleanup(g.service.HTTP.CloseIdleConnections)
	b, stop := g.run(t)
	ids := map[mfpgate.DeviceID]string{}
	for _, device := range []mfpgate.DeviceID{"allowed", "denied"} {
		ids[device] = request(t, b, device)
	}
	codes := map[mfpgate.DeviceID]mfpgate.Registration{}
	for device, id := range ids {
		r := await(t, b, id, func(r mfpgate.Registration) bool {
			return r.State == mfpgate.RegistrationAwaitingAdmin && !r.MailedAt.IsZero()
		})
		if !g.mail.with(r.UserCode.Reveal()) || !g.mail.with(r.VerificationURI) {
			t.Errorf("%s: no letter has the code and the page", device)
		}
		codes[device] = r
	}
	stop()
	for device, r := range codes {
		s.Decide(t, r.VerificationURI, r.UserCode.Reveal(), device == "allowed")
	}
	b, _ = g.run(t)
	r := await(t, b, ids["allowed"], func(r mfpgate.Registration) bool { return r.State.Ended() })
	if r.State != mfpgate.RegistrationRegistered || r.PrinterID != "printer-of-allowed" || r.Attempt != 1 {
		t.Errorf("allowed: %s (%s, %s), printer %q, attempt %d", r.State, r.Reason, r.Detail, r.PrinterID, r.Attempt)
	}
	r = await(t, b, ids["denied"], func(r mfpgate.Registration) bool { return r.State.Ended() })
	if r.State != mfpgate.RegistrationFailed || r.Reason != approval.Denied {
		t.Errorf("denied: %s (%s, %s)", r.State, r.Reason, r.Detail)
	}
	if got := g.service.has(); len(got) != 1 || got[0] != "allowed" {
		t.Errorf("entered %v, want the allowed one once", got)
	}
}

// TestOurPollerWhenCodesOfOthersExpire has the server forget codes long before the time that it tells.
func TestOurPollerWhenCodesOfOthersExpire(t *testing.T) {
	t.Parallel()
	s := peers.OIDCServer(t, 50*time.Millisecond)
	g := newGateway(s, 1)
	t.Cleanup(g.service.HTTP.CloseIdleConnections)
	b, _ := g.run(t)
	r := await(t, b, request(t, b, "slow"), func(r mfpgate.Registration) bool { return r.State.Ended() })
	if r.State != mfpgate.RegistrationFailed || r.Reason != approval.Exhausted || r.Attempt != 2 || len(g.service.has()) != 0 {
		t.Errorf("%s (%s, %s) after %d codes, want both expired", r.State, r.Reason, r.Detail, r.Attempt)
	}
}
