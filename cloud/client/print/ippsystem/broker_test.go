package ippsystem_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/client/print/ippsystem"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/ippserver"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// site has one device.
type site struct{}

// Candidate is approval.Site's.
func (site) Candidate(id mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	return mfpgate.PrintCandidate{PrintDevice: device("a"), Admin: "it@example.co.jp"}, id == device("a").ID
}

// TestBrokerRegistersInRealServer has the real broker, the real client and Debian's ippserver: the service asks nobody, so an
// administrator of the gateway decides.
func TestBrokerRegistersInRealServer(t *testing.T) {
	real := ippserver.Start(t)
	for _, tc := range []struct {
		rule    string
		approve bool
		want    mfpgate.Registration
	}{
		{"the administrator says no", false, mfpgate.Registration{State: mfpgate.RegistrationFailed, Reason: approval.Denied}},
		{"the administrator says yes", true, mfpgate.Registration{State: mfpgate.RegistrationRegistered, PrinterID: "1", PrinterURI: real.Printer()}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			sealer, err := seal.New(make([]byte, 32))
			if err != nil {
				t.Fatal(err)
			}
			shared := memory.New()
			t.Cleanup(func() { _ = shared.Close() })
			broker, err := approval.New(t.Context(), approval.Options{
				Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Store: shared, Sealer: sealer, Site: site{},
				Log: zerolog.Nop(), Metrics: telemetry.NewMetrics(), Gateway: "osaka-1",
			}, approval.Policy{SiteName: "osaka", Services: []approval.Service{
				{Name: "office", Kind: "ipp-system", Client: open(t, ippsystem.Options{URL: real.System()})},
			}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- broker.Run(ctx) }() // the cleanup waits for it
			t.Cleanup(func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})

			r, _, err := broker.Request(t.Context(), mfpgate.RegistrationRequest{Device: device("a").ID, Service: "office", User: "user@example.co.jp"}, "user", "")
			if err != nil {
				t.Fatal(err)
			}
			get := func() mfpgate.Registration {
				got, err := broker.Get(t.Context(), r.ID)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			rig.Until(t, "somebody is asked", func() bool {
				got := get()
				if got.State.Ended() {
					t.Fatalf("it ended: %s, %s", got.Reason, got.Detail)
				}
				return got.State == mfpgate.RegistrationAwaitingAdmin
			})
			if got := get(); !got.Local || got.UserCode != "" {
				t.Errorf("local is %v, and there is a code: %v", got.Local, got.UserCode != "")
			}
			if err := broker.Decide(t.Context(), r.ID, "it@example.co.jp", tc.approve); err != nil {
				t.Fatal(err)
			}
			rig.Until(t, "it is done", func() bool { return get().State.Ended() })
			if diff := cmp.Diff(tc.want, get(), cmpopts.IgnoreFields(mfpgate.Registration{}, "ID", "Device", "Service", "User", "Account", "From", "Admin", "Mode", "Purpose",
				"Detail", "Attempt", "Attempts", "RequestedAt", "Since", "ExpiresAt", "Deadline", "MailedAt", "Mails", "MailError", "Local")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
