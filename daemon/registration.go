package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/mail"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
)

// approvalStore is where the broker's view stands in the shared store.
const approvalStore = "approval/"

// registration is the broker of registrations, and what it needs of the gateway. It implements approval.Site.
type registration struct {
	*approval.Broker
	daemon *Daemon
	letter *letters // nil: mail is off
	reach  *reach

	mu       sync.Mutex
	services map[string]openService // those of the policy in force, by name
}

// openService is a print service with its client, which is kept while the configuration says the same of it.
type openService struct {
	of     config.PrintService
	client approval.PrintService
}

func newRegistration(ctx context.Context, d *Daemon) (*registration, error) {
	m := d.metrics // a series that begins at 0 can be compared with its past
	for vec, values := range map[*telemetry.CounterVec][]string{
		m.RegistrationAttempts: {"approved", "denied", "expired", "unsent", "lost", "refused"},
		m.RegistrationPolls:    {"granted", "pending", "slow_down", "expired", "denied", "invalid_grant", "refused", "unreached"},
		m.RegistrationMails:    {"sent", "delayed", "refused", "digested"},
	} {
		for _, v := range values {
			vec.WithLabelValues(v)
		}
	}
	cfg := d.config.Load()
	key := cfg.Registration.SealKey()
	if key == nil {
		var err error
		if key, err = seal.OpenKey(filepath.Join(cfg.StateDir, "seal.key")); err != nil {
			return nil, fmt.Errorf("registrations: %w", err)
		}
	}
	sealer, err := seal.New(key)
	if err != nil {
		return nil, fmt.Errorf("registrations: %w", err)
	}
	r := &registration{daemon: d, reach: newReach(d), services: map[string]openService{}}
	next, err := r.prepare(cfg)
	if err != nil {
		return nil, err
	}
	o := approval.Options{Clock: d.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Store: store.Prefix(d.shared, approvalStore),
		Sealer: sealer, Site: r, Regions: enroller{d.moves}, Log: d.log, Metrics: d.metrics, Gateway: gatewayID(cfg)}
	if next.sender != nil {
		r.letter = &letters{daemon: d}
		o.Mailer = r.letter
	}
	r.take(next)
	if r.Broker, err = approval.New(ctx, o, next.policy); err != nil {
		return nil, fmt.Errorf("registrations: %w", err)
	}
	return r, nil
}

// gatewayID is who writes this gateway's audit.
func gatewayID(cfg *config.Config) string { return cmp.Or(cfg.Cloud.GatewayID, cfg.Site.Name) }

// registering is what a configuration says of registrations, opened.
type registering struct {
	policy   approval.Policy
	services map[string]openService
	sender   *mail.Sender // nil: mail is off
	server   string
}

// portalURL is where people reach the portal; "" is not known.
func portalURL(cfg *config.Config) string {
	if cfg.Portal.URL == nil {
		return ""
	}
	return cfg.Portal.URL.String()
}

// prepare opens what a configuration names, and changes nothing.
func (r *registration) prepare(cfg *config.Config) (*registering, error) {
	next := &registering{services: map[string]openService{}, server: cfg.Mail.SMTP, policy: approval.Policy{SiteName: cfg.Site.Name, Region: cfg.Site.Region,
		Portal: portalURL(cfg), AdminDomains: cfg.Registration.Domains(), Retries: cfg.Registration.Retries, Deadline: cfg.Registration.Deadline}}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range cfg.PrintServices {
		open, same := r.services[s.Name]
		if !same || !reflect.DeepEqual(open.of, s) {
			client, err := r.open(s)
			if err != nil {
				return nil, fmt.Errorf("print_services %s: %w", s.Name, err)
			}
			open = openService{s, client}
		}
		next.services[s.Name] = open
		next.policy.Services = append(next.policy.Services, approval.Service{Name: s.Name, Kind: string(s.Kind), Client: open.client,
			Hosts: s.Hosts(), Push: s.Completion == config.CompletionPush})
	}
	var err error
	if cfg.Mail.SMTP != "" {
		next.sender, err = mail.Open(mail.Options{Server: cfg.Mail.SMTP, From: cfg.Mail.From, User: cfg.Mail.User, Password: cfg.Mail.Password,
			TLS: mail.TLS(cfg.Mail.TLS), RootCAs: cfg.Mail.CA.Pool()})
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
	}
	return next, nil
}

func (r *registration) open(s config.PrintService) (approval.PrintService, error) {
	o := print.Options{Kind: string(s.Kind), URL: s.URL.String(), ClientID: s.ClientID, Scope: s.Scope, RootCAs: s.CA.Pool(), Clock: r.daemon.Clock}
	if s.Authority != nil {
		o.Authority = s.Authority.String()
	}
	client, err := print.Open(o)
	if err != nil {
		return nil, err
	}
	return r.reach.watch(s.Name, client), nil
}

// errMailToggled is the refusal of a reload, since registrations that are open were begun with the promise of letters, or without.
var errMailToggled = errors.New("mail was added or removed, which needs a restart; restart, or put the old text back")

// fits says whether the broker can take what was prepared while it runs.
func (r *registration) fits(next *registering) error {
	if (next.sender == nil) != (r.letter == nil) {
		return errMailToggled
	}
	return nil
}

// apply puts what was prepared in force. Registrations that are open go on with it.
func (r *registration) apply(next *registering) {
	r.take(next)
	r.Reconfigure(next.policy)
}

func (r *registration) take(next *registering) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.services = next.services
	r.reach.keep(next.services)
	if r.letter != nil {
		r.letter.use(next.sender, next.server)
	}
}

// run makes the broker's calls, and says what is wrong beside them.
func (r *registration) run(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }() // the loop below waits for it
	for {
		r.reach.look()
		timer := r.daemon.Clock.NewTimer(scheduleLook)
		select {
		case err := <-ended:
			timer.Stop()
			return err
		case <-timer.C():
		}
	}
}

// has reports whether the configuration in force names a print service.
func (r *registration) has() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.services) > 0
}

var _ approval.Site = (*registration)(nil)

// Candidate implements approval.Site.
func (r *registration) Candidate(id mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	found, err := r.daemon.registry.Detail(id)
	if err != nil {
		return mfpgate.PrintCandidate{}, false
	}
	c := candidate(r.daemon.config.Load(), found)
	c.Here, c.Home = r.daemon.moves.here(id)
	return c, true
}
