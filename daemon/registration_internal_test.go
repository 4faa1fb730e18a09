package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestDevicesHaveAUUID(t *testing.T) {
	const own = "4509a320-00a0-008f-00b6-002673123456"
	made := deviceUUID("", "dev_1")
	if made != deviceUUID("", "dev_1") || made == deviceUUID("", "dev_2") || mfpgate.CleanUUID(made) != made || made[14] != '8' || !strings.ContainsRune("89ab", rune(made[19])) {
		t.Errorf("made: %s", made)
	}
	for _, c := range []struct{ rule, tells, want string }{
		{"its own", own, own},
		{"its own, in lower case", strings.ToUpper(own), own},
		{"none", "", made},
		{"the nil UUID is none", "00000000-0000-0000-0000-000000000000", made},
		{"the max UUID is none", "ffffffff-ffff-ffff-ffff-ffffffffffff", made},
		{"not a UUID", "4509a320-00a0-008f-00b6-00267312345g", made},
		{"a URN", "urn:uuid:" + own, own},
	} {
		if got := deviceUUID(c.tells, "dev_1"); got != c.want {
			t.Errorf("%s: %s, want %s", c.rule, got, c.want)
		}
	}
}

func TestWhatIsToldOfADevice(t *testing.T) {
	cfg := &config.Config{
		Devices: config.Devices{Static: []config.StaticDevice{{Name: "2F copier", Registration: mfpgate.RegistrationAgent}}},
		Registration: config.Registration{Admin: "it@example.co.jp",
			Admins: []config.DeviceAdmin{{Admin: "b@example.co.jp", Devices: []config.DeviceMatch{{Name: "2F copier"}}}}},
	}
	static := []discovery.Shown{{Sighting: mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceStatic, "2F copier")}}}
	for _, c := range []struct {
		rule  string
		found discovery.Detail
		want  mfpgate.PrintCandidate
	}{
		{
			"all that is known", discovery.Detail{Identity: mfpgate.Identity{UUID: "4509a320-00a0-008f-00b6-002673123456"}, Device: mfpgate.Device{ID: "dev_1", Name: "Lobby",
				Make: "Ricoh", Model: "IM C4510", Serial: "3081", Location: "1F", Address: "10.1.0.9", Market: "us"}},
			mfpgate.PrintCandidate{Market: "us", Mode: mfpgate.RegistrationDelegate, Admin: "it@example.co.jp", PrintDevice: mfpgate.PrintDevice{ID: "dev_1", Name: "Lobby",
				Make: "Ricoh", Model: "IM C4510", Serial: "3081", UUID: "4509a320-00a0-008f-00b6-002673123456", Location: "1F", Address: "10.1.0.9"}},
		},
		{
			"an administrator renamed what the configuration names", discovery.Detail{Device: mfpgate.Device{ID: "dev_1", Name: "2F east"}, Sightings: static},
			mfpgate.PrintCandidate{Mode: mfpgate.RegistrationAgent, Admin: "b@example.co.jp", PrintDevice: mfpgate.PrintDevice{ID: "dev_1", Name: "2F east", UUID: deviceUUID("", "dev_1")}},
		},
		{
			"without a name, its make and model", discovery.Detail{Device: mfpgate.Device{ID: "dev_1", Make: "Ricoh", Model: "IM C4510"}},
			mfpgate.PrintCandidate{Mode: mfpgate.RegistrationDelegate, Admin: "it@example.co.jp", PrintDevice: mfpgate.PrintDevice{ID: "dev_1", Name: "Ricoh IM C4510", Make: "Ricoh",
				Model: "IM C4510", UUID: deviceUUID("", "dev_1")}},
		},
	} {
		if diff := cmp.Diff(c.want, candidate(cfg, c.found)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

// answers is a print service that answers each poll with the same.
type answers struct {
	approval.PrintService
	err error
}

func (a *answers) Redeem(context.Context, mfpgate.Code, mfpgate.Secret) (mfpgate.Grant, error) {
	return mfpgate.Grant{}, a.err
}

func TestAPrintServiceThatIsAwayIsTold(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, time.March, 3, 5, 30, 0, 0, time.UTC))
	d := &Daemon{Options: Options{Clock: clock}}
	d.config.Store(&config.Config{Site: config.Site{TimeZone: time.UTC}})
	d.health = newHealth(d)
	r := newReach(d)
	service := &answers{}
	watched := r.watch("office", service)
	poll := func(ctx context.Context, err error) {
		service.err = err
		if _, got := watched.Redeem(ctx, mfpgate.Code{}, ""); !errors.Is(got, err) {
			t.Fatalf("%v became %v", err, got)
		}
	}
	expect := func(rule, says string) {
		t.Helper()
		r.look()
		wrong, _ := d.health.list()
		switch {
		case says == "" && len(wrong) > 0:
			t.Errorf("%s: %+v", rule, wrong)
		case says != "" && (len(wrong) != 1 || wrong[0].Reason != PrintServiceAway || !strings.Contains(wrong[0].Text, says)):
			t.Errorf("%s: %+v", rule, wrong)
		}
	}
	gone := errors.New("connection refused")
	poll(t.Context(), gone)
	clock.Advance(serviceAway - time.Second)
	poll(t.Context(), gone)
	expect("a short while", "")
	clock.Advance(time.Second)
	expect("a long while", "office since 2026-03-03 05:30: connection refused")
	for _, word := range []error{nil, mfpgate.ErrPending, mfpgate.ErrDenied, fmt.Errorf("%w: no", mfpgate.ErrRefused)} {
		poll(t.Context(), gone)
		clock.Advance(serviceAway)
		expect("away again", "connection refused")
		poll(t.Context(), word)
		expect(fmt.Sprintf("it answers %v", word), "")
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	poll(stopped, gone)
	clock.Advance(serviceAway)
	expect("broken off here", "")

	poll(t.Context(), gone)
	clock.Advance(serviceForgotten)
	expect("still", "connection refused")
	clock.Advance(time.Second)
	expect("nobody needs it any more", "")
	poll(t.Context(), gone)
	clock.Advance(serviceAway)
	expect("away once more", "connection refused")
	r.keep(map[string]openService{"other": {}})
	expect("it is configured no more", "")
}
