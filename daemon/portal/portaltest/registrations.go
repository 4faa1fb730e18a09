package portaltest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// Code is the user code of the registrations that wait for an administrator.
const Code = "WDJB-MJHT"

// Administrator is the mail address of who approves.
const Administrator = "it@example.co.jp"

// Registering is a fleet of which printers were asked for: by sato one in each state and then hostile ones, by others one each.
func Registering() *Gateway {
	g := Fleet(24)
	g.PrintServicesAre = []control.PrintService{{Name: "office", Kind: "ipp-system", URL: "ipps://print.example/ipp/system"}}
	add := func(id string, state mfpgate.RegistrationState, change func(*mfpgate.Registration)) {
		d := g.DevicesAre[len(g.RegistrationsAre)%2]
		r := mfpgate.Registration{ID: "reg_" + id, Service: "office", User: "sato@example.co.jp", Account: "sato", From: "10.1.2.3", Admin: Administrator,
			Device: mfpgate.PrintDevice{ID: d.ID, Name: d.Name, Make: d.Make, Model: d.Model, Serial: d.Serial, Location: d.Location, Address: d.Address},
			Mode:   mfpgate.RegistrationDelegate, Purpose: mfpgate.PurposeRegister, State: state, Attempts: 4,
			RequestedAt: ago(time.Duration(len(g.RegistrationsAre)+3) * time.Minute), Since: ago(2 * time.Minute), Deadline: Now.Add(24 * time.Hour)}
		if change != nil {
			change(&r)
		}
		g.RegistrationsAre = append(g.RegistrationsAre, r)
	}
	coded := func(r *mfpgate.Registration) {
		r.Attempt, r.UserCode, r.VerificationURI, r.ExpiresAt = 2, Code, "https://print.example/device", Now.Add(13*time.Minute)
		r.MailedAt, r.Mails = ago(2*time.Minute), 2
	}
	add("requested", mfpgate.RegistrationRequested, func(r *mfpgate.Registration) {
		r.Reason, r.Detail = "waits-for-other", "another user's request for this printer is under way; this one goes on when that has ended"
	})
	add("code", mfpgate.RegistrationRequestingCode, func(r *mfpgate.Registration) {
		r.Reason, r.Detail = "service-away", "the print service does not answer; the gateway tries again by itself"
	})
	add("admin", mfpgate.RegistrationAwaitingAdmin, coded)
	add("unmailed", mfpgate.RegistrationAwaitingAdmin, func(r *mfpgate.Registration) {
		coded(r)
		r.Attempt, r.Mails, r.MailedAt, r.MailError = 1, 0, time.Time{}, "smtp.example.co.jp:587 refuses it@example.co.jp: 450 mailbox busy"
	})
	add("local", mfpgate.RegistrationAwaitingAdmin, func(r *mfpgate.Registration) { r.Local, r.Admin = true, "" })
	add("device", mfpgate.RegistrationAwaitingDevice, func(r *mfpgate.Registration) { r.Mode = mfpgate.RegistrationAgent })
	add("redeeming", mfpgate.RegistrationRedeeming, coded)
	add("certifying", mfpgate.RegistrationCertifying, func(r *mfpgate.Registration) { coded(r); r.Purpose = mfpgate.PurposeAllowUser })
	add("registered", mfpgate.RegistrationRegistered, func(r *mfpgate.Registration) {
		coded(r)
		r.UserCode, r.PrinterID, r.PrinterURI = "", "prn_81", "ipps://print.example/ipp/print/81"
		r.Certificate, r.CertificateExpires = "4f2c9a51b0d7e6633a1c8f20b95de47712ab34cd56ef7890a1b2c3d4e5f60718", Now.Add(365*24*time.Hour)
	})
	add("failed", mfpgate.RegistrationFailed, func(r *mfpgate.Registration) {
		coded(r)
		r.UserCode, r.Attempt, r.Reason, r.Detail = "", 4, "exhausted", "it@example.co.jp did not approve any of the 4 codes in time; talk to it@example.co.jp, and ask again"
	})
	add("cancelled", mfpgate.RegistrationCancelled, nil)
	add("hostile", mfpgate.RegistrationAwaitingAdmin, func(r *mfpgate.Registration) {
		*r = mfpgate.Registration{ID: "reg_hostile", Service: Hostile, User: "sato@example.co.jp", Account: Hostile, From: Hostile, Admin: Hostile, State: r.State, Reason: Hostile,
			Device: mfpgate.PrintDevice{ID: Hostile, Name: Hostile, Make: Hostile, Model: Hostile, Serial: Hostile, UUID: Hostile, Location: Hostile, Address: Hostile},
			Mode:   Hostile, Purpose: Hostile, Detail: Hostile, MailError: Hostile, VerificationURI: "javascript:" + Hostile, UserCode: Hostile, PrinterID: Hostile,
			PrinterURI: Hostile, Certificate: Hostile, Attempt: 1, Attempts: 4, RequestedAt: r.RequestedAt, Since: r.Since, Deadline: r.Deadline}
	})
	add("abe", mfpgate.RegistrationAwaitingAdmin, func(r *mfpgate.Registration) {
		coded(r)
		r.User, r.Account = "abe@example.co.jp", "abe"
	})
	return g
}

// PrintServices implements control.Gateway.
func (g *Gateway) PrintServices(context.Context) []control.PrintService { return g.PrintServicesAre }

// Registrations implements control.Gateway.
func (g *Gateway) Registrations(context.Context) ([]mfpgate.Registration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := slices.Clone(g.RegistrationsAre)
	for i := range list {
		list[i].UserCode = ""
	}
	return list, nil
}

// Registration implements control.Gateway.
func (g *Gateway) Registration(_ context.Context, id string) (mfpgate.Registration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.registration(id)
	if i < 0 {
		return mfpgate.Registration{}, control.ErrNoRegistration
	}
	return g.RegistrationsAre[i], nil
}

func (g *Gateway) registration(id string) int {
	return slices.IndexFunc(g.RegistrationsAre, func(r mfpgate.Registration) bool { return r.ID == id })
}

// Register implements control.Gateway. The same key is the same registration.
func (g *Gateway) Register(_ context.Context, r mfpgate.RegistrationRequest, actor, key string) (mfpgate.Registration, bool, error) {
	if g.ChangeFails != nil {
		return mfpgate.Registration{}, false, g.ChangeFails
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if id, ok := g.keys[key]; ok && key != "" {
		return g.RegistrationsAre[g.registration(id)], false, nil
	}
	g.RequestsWere = append(g.RequestsWere, r)
	made := mfpgate.Registration{ID: fmt.Sprintf("reg_new%d", len(g.RequestsWere)), Device: mfpgate.PrintDevice{ID: r.Device, Name: string(r.Device)}, Service: r.Service,
		User: r.User, Account: actor, From: r.From, Admin: r.Admin, State: mfpgate.RegistrationRequested, RequestedAt: Now, Since: Now, Deadline: Now.Add(24 * time.Hour)}
	for _, d := range g.DevicesAre {
		if d.ID == r.Device {
			made.Device.Name = d.Name
		}
	}
	if g.keys == nil {
		g.keys = map[string]string{}
	}
	g.keys[key] = made.ID
	g.RegistrationsAre = append(g.RegistrationsAre, made)
	g.tell(made.ID)
	return made, true, nil
}

// Change changes a registration, as the broker does when something happens, and tells who listens.
func (g *Gateway) Change(id string, change func(*mfpgate.Registration)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.RegistrationsAre[g.registration(id)])
	g.tell(id)
}

// did notes what a page had done, and does it.
func (g *Gateway) did(what, id, actor string, change func(*mfpgate.Registration)) error {
	if g.ChangeFails != nil {
		return g.ChangeFails
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.registration(id)
	if i < 0 {
		return control.ErrNoRegistration
	}
	g.DoneWere = append(g.DoneWere, what+" "+id+" by "+actor)
	change(&g.RegistrationsAre[i])
	g.tell(id)
	return nil
}

// CancelRegistration implements control.Gateway.
func (g *Gateway) CancelRegistration(_ context.Context, id, actor string) error {
	return g.did("cancel", id, actor, func(r *mfpgate.Registration) { r.State = mfpgate.RegistrationCancelled })
}

// ResendRegistration implements control.Gateway.
func (g *Gateway) ResendRegistration(_ context.Context, id, actor string) error {
	return g.did("resend", id, actor, func(r *mfpgate.Registration) { r.Mails++ })
}

// RetryRegistration implements control.Gateway.
func (g *Gateway) RetryRegistration(ctx context.Context, id, actor string) (mfpgate.Registration, error) {
	if err := g.did("retry", id, actor, func(r *mfpgate.Registration) { r.State = mfpgate.RegistrationRequested }); err != nil {
		return mfpgate.Registration{}, err
	}
	return g.Registration(ctx, id)
}

// DecideRegistration implements control.Gateway.
func (g *Gateway) DecideRegistration(_ context.Context, id, actor string, approve bool) error {
	what, state := "deny", mfpgate.RegistrationFailed
	if approve {
		what, state = "approve", mfpgate.RegistrationCertifying
	}
	return g.did(what, id, actor, func(r *mfpgate.Registration) { r.State, r.Local = state, false })
}

// tell wakes who listens; the caller holds mu.
func (g *Gateway) tell(id string) { wake(g.listeners, id) }

func wake(listeners []*listener, id string) {
	for _, l := range listeners {
		l.heard = append(l.heard, id)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

type listener struct {
	heard []string
	wake  chan struct{}
}

// RegistrationChanges implements control.Gateway.
func (g *Gateway) RegistrationChanges(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) { g.listen(ctx, &g.listeners, yield) }
}

// listen tells yield of what changes until ctx ends.
func (g *Gateway) listen(ctx context.Context, among *[]*listener, yield func(string) bool) {
	l := &listener{heard: []string{""}, wake: make(chan struct{}, 1)}
	l.wake <- struct{}{}
	g.mu.Lock()
	*among = append(*among, l)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		*among = slices.DeleteFunc(*among, func(other *listener) bool { return other == l })
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		g.mu.Lock()
		heard := l.heard
		l.heard = nil
		g.mu.Unlock()
		for _, id := range heard {
			if !yield(id) {
				return
			}
		}
	}
}

// Listeners are how many follow the changes.
func (g *Gateway) Listeners() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.listeners) + len(g.followers)
}
