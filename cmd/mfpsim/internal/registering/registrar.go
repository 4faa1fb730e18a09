package registering

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Service is a print service that the device knows.
type Service struct {
	approval.Service
	URL string // by which a gateway's service is known to be the same
}

// Options are a device that registers itself. Device, Services, Store, Sealer, Clock, Rand and Notify are required.
type Options struct {
	Device       mfpgate.PrintDevice
	Market       string // the region that it was built for; "" is not known
	Site         string // where it stands, for the administrator to see
	Services     []Service
	AdminDomains []string // that administrators' addresses may be of; none: any
	Store        store.Store
	Sealer       *seal.Sealer
	Mailer       approval.Mailer // nil: no letters
	Gateway      *Gateway        // nil: none
	Session      bool            // keep a stream open at the gateway instead of asking again and again
	Clock        mfpgate.Clock
	Rand         *rand.Rand // jitter
	Log          telemetry.Logger
	Notify       func(Event) // called by several goroutines
}

// Event is one thing that happened.
type Event struct {
	Kind         string
	Registration string // the device's own id of it; "" of none
	Text         string
}

// The kinds of events.
const (
	Asked        = "registration-asked"    // a gateway's request has come
	Changed      = "registration-changed"  // a registration is in another state
	Reported     = "registration-reported" // the gateway has taken how far it is
	Withdrawn    = "registration-withdrawn"
	Unreachable  = "gateway-unreachable"
	Unreportable = "registration-unreportable" // the gateway will never take the report
)

// Registrar registers one device. See New and Run.
type Registrar struct {
	Options
	broker *approval.Broker
	rows   store.Store

	dice    sync.Mutex
	mu      sync.Mutex
	domains []string // of administrators, in force
	self    mfpgate.DeviceID
}

// New opens what is stored. It makes no connection.
func New(ctx context.Context, o Options) (*Registrar, error) {
	r := &Registrar{Options: o, rows: store.Prefix(o.Store, "gateway/"), domains: slices.Clone(o.AdminDomains)}
	if o.Device.ID == "" || len(o.Services) == 0 {
		return nil, errors.New("a device that registers itself needs an id and a print service")
	}
	var err error
	r.broker, err = approval.New(ctx, approval.Options{Clock: o.Clock, Rand: rand.New(rand.NewPCG(o.Rand.Uint64(), o.Rand.Uint64())), Store: store.Prefix(o.Store, "approval/"), Sealer: o.Sealer,
		Site: r, Mailer: o.Mailer, Log: o.Log, Metrics: telemetry.NewMetrics(), Gateway: string(o.Device.ID)}, r.policy())
	if err != nil {
		return nil, err
	}
	if r.self, err = r.loadSelf(ctx); err != nil {
		return nil, err
	}
	// Whoever was allowed to be mailed yesterday still is, for what is open.
	list, err := r.broker.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("read registrations: %w", err)
	}
	for _, g := range list {
		if !g.State.Ended() {
			r.allow(g.Admin)
		}
	}
	return r, nil
}

// Candidate implements approval.Site: there is one device here.
func (r *Registrar) Candidate(id mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	if id != r.Device.ID {
		return mfpgate.PrintCandidate{}, false
	}
	return mfpgate.PrintCandidate{PrintDevice: r.Device, Market: r.Market, Mode: mfpgate.RegistrationDelegate}, true
}

func (r *Registrar) policy() approval.Policy {
	p := approval.Policy{SiteName: r.Site, Region: r.Market, AdminDomains: r.domains}
	for _, s := range r.Services {
		p.Services = append(p.Services, s.Service)
	}
	return p
}

// allow lets an administrator be mailed where no domains are named.
func (r *Registrar) allow(admin string) {
	_, domain, ok := strings.Cut(admin, "@")
	if !ok || len(r.AdminDomains) > 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if domain = strings.ToLower(domain); !slices.Contains(r.domains, domain) {
		r.domains = append(slices.Clone(r.domains), domain)
		r.broker.Reconfigure(r.policy())
	}
}

// Run registers, and follows the gateway if there is one, until ctx ends. It returns nil then.
func (r *Registrar) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.broker.Run(ctx) })
	g.Go(func() error { r.tell(ctx); return nil })
	if r.Gateway != nil {
		g.Go(func() error { return newAgent(r).run(ctx) })
	}
	return g.Wait()
}

// tell says what becomes of the registrations.
func (r *Registrar) tell(ctx context.Context) {
	var said map[string]mfpgate.RegistrationState // nil: what has ended before the start is not told again
	for range r.broker.Changes(ctx) {
		list, err := r.broker.List(ctx)
		if err != nil {
			continue // it is read again after the next change; Run ends if the store is at its end
		}
		present := map[string]mfpgate.RegistrationState{}
		for _, g := range slices.Backward(list) {
			present[g.ID] = g.State
			if said[g.ID] != g.State && (said != nil || !g.State.Ended()) {
				r.Notify(Event{Changed, g.ID, sentence(g)})
			}
		}
		said = present
	}
}

// jitter is 0 to most. The broker has a source of its own.
func (r *Registrar) jitter(most int64) int64 {
	r.dice.Lock()
	defer r.dice.Unlock()
	return r.Rand.Int64N(most + 1)
}

func sentence(g mfpgate.Registration) string {
	text := "registration in " + g.Service + " for " + g.User + ": " + Words(g)
	if g.Detail != "" {
		text += " (" + g.Detail + ")"
	}
	return text
}

// Words are a registration's state for people.
func Words(g mfpgate.Registration) string {
	switch g.State {
	case mfpgate.RegistrationRequested, mfpgate.RegistrationRequestingCode:
		return "asking the print service for a code"
	case mfpgate.RegistrationAwaitingAdmin, mfpgate.RegistrationRedeeming:
		return "waiting for the administrator"
	case mfpgate.RegistrationCertifying:
		return "approved, entering the printer"
	case mfpgate.RegistrationRegistered:
		return "registered"
	case mfpgate.RegistrationCancelled:
		return "cancelled"
	case mfpgate.RegistrationFailed:
		return "failed"
	}
	return string(g.State)
}

// Register begins what somebody asks for at the device. key makes the call idempotent. A refusal is a mfpgate.Refused.
func (r *Registrar) Register(ctx context.Context, service, user, admin, from, key string) (mfpgate.Registration, error) {
	r.allow(admin)
	g, _, err := r.broker.Request(ctx, mfpgate.RegistrationRequest{Device: r.Device.ID, Service: service, User: user, Admin: admin, From: from}, "panel", key)
	return g, err
}

// List are the registrations, the newest first.
func (r *Registrar) List(ctx context.Context) ([]mfpgate.Registration, error) {
	return r.broker.List(ctx)
}

// Cancel ends an open registration.
func (r *Registrar) Cancel(ctx context.Context, id string) error {
	return r.broker.Cancel(ctx, id, "panel")
}

// Changes yields the id of each registration that changes, until ctx ends, and "" for any.
func (r *Registrar) Changes(ctx context.Context) iter.Seq[string] { return r.broker.Changes(ctx) }

// service is the device's own for one that a gateway names.
func (r *Registrar) service(kind, url string) (Service, bool) {
	i := slices.IndexFunc(r.Services, func(s Service) bool { return s.Kind == kind && sameURL(s.URL, url) })
	if i < 0 {
		return Service{}, false
	}
	return r.Services[i], true
}

func sameURL(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/"))
}
