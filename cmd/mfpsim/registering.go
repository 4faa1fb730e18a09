package main

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/registering"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
	"github.com/mfpgate/mfpgate/mail"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
)

// registration says how the device registers itself in a print service, if it does.
type registration struct {
	agent, agentCA, agentAccount       string
	session                            bool
	services                           []string
	smtp, smtpTLS, smtpCA, smtpAccount string
	mailFrom                           string
	adminDomains                       []string
	panel, link                        string
}

func registrationFlags(c *cobra.Command) *registration {
	r := &registration{}
	f := c.Flags()
	f.StringVar(&r.agent, "agent", "", "register itself for this gateway, https://gateway:8443 (its portal)")
	f.StringVar(&r.agentCA, "agent-ca", "", "the gateway's certificate, PEM; empty: the system's")
	f.StringVar(&r.agentAccount, "agent-account", "", "name:passwordfile of the gateway's relay.accounts; empty: known by its address")
	f.BoolVar(&r.session, "agent-session", false, "keep a stream open at the gateway instead of asking again and again")
	f.StringArrayVar(&r.services, "print-service", nil, "kind=reference,url=URL with name=, ca=FILE, client-id=, scope=, authority=, host= (of its page for codes) and push=false if wanted; may be given again")
	f.StringVar(&r.smtp, "smtp", "", "host:port of the mail server through which it asks administrators")
	f.StringVar(&r.smtpTLS, "smtp-tls", "starttls", "starttls, implicit, or none on loopback")
	f.StringVar(&r.smtpCA, "smtp-ca", "", "the mail server's certificate, PEM; empty: the system's")
	f.StringVar(&r.smtpAccount, "smtp-account", "", "name:passwordfile at the mail server")
	f.StringVar(&r.mailFrom, "mail-from", "", "its own mail address")
	f.StringSliceVar(&r.adminDomains, "admin-domain", nil, "domains that administrators' addresses may be of; empty: any")
	f.StringVar(&r.panel, "panel", "", "address of its panel, such as 127.0.1.1:18080; it has no login")
	f.StringVar(&r.link, "register-link", "", "link that the panel shows as a QR code; empty: the gateway's page for this device")
	c.MarkFlagsRequiredTogether("smtp", "mail-from")
	return r
}

func (r *registration) on() bool { return r.agent != "" || r.panel != "" }

// check finds what cannot be meant, before anything starts.
func (r *registration) check() error {
	switch {
	case !r.on() && (len(r.services) > 0 || r.smtp != "" || r.session || r.link != ""):
		return errors.New("print-service, smtp, agent-session and register-link: need --agent or --panel, from which it is asked to register")
	case r.on() && len(r.services) == 0:
		return errors.New("agent and panel: need --print-service, where it registers")
	case r.session && r.agent == "":
		return errors.New("agent-session: needs --agent")
	}
	return nil
}

// registrar is what runs beside a device.
type registrar struct {
	*registering.Registrar
	store store.Store
	panel net.Listener // nil: none
	pages http.Handler
}

// open builds it for one device.
func (r *registration) open(ctx context.Context, d mfp.Options, location string, notify func(mfp.Event)) (_ *registrar, err error) {
	o := registering.Options{Site: location, AdminDomains: r.adminDomains, Session: r.session, Clock: d.Clock, Log: telemetry.Discard(),
		Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Device: identity(d, location)}
	o.Notify = func(e registering.Event) {
		notify(mfp.Event{Time: d.Clock.Now().UTC(), Device: cmp.Or(d.Name, d.ID), Kind: mfp.Kind(e.Kind), Registration: e.Registration, Text: e.Text})
	}
	for _, text := range r.services {
		s, err := printService(text, d)
		if err != nil {
			return nil, fmt.Errorf("print-service %q: %w", text, err)
		}
		o.Services = append(o.Services, s)
	}
	if r.smtp != "" {
		if o.Mailer, err = r.mailer(); err != nil {
			return nil, fmt.Errorf("smtp: %w", err)
		}
	}
	if r.agent != "" {
		if o.Gateway, err = r.gateway(d); err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
	}
	key := []byte(nil)
	if o.Store, key, err = openState(ctx, d); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.Store.Close())
		}
	}()
	if o.Sealer, err = seal.New(key); err != nil {
		return nil, err
	}
	reg, err := registering.New(ctx, o)
	if err != nil {
		return nil, err
	}
	out := &registrar{Registrar: reg, store: o.Store}
	if r.panel != "" {
		out.pages = registering.Panel(reg, func() string { return r.linkFor(reg) })
		if out.panel, err = net.Listen("tcp", r.panel); err != nil {
			return nil, fmt.Errorf("panel: %w", err)
		}
	}
	return out, nil
}

// run ends with ctx.
func (r *registrar) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.Run(ctx) })
	if r.panel != nil {
		server := &http.Server{Handler: r.pages, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10}
		g.Go(func() error {
			if err := server.Serve(r.panel); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("panel: %w", err)
			}
			return nil
		})
		g.Go(func() error { <-ctx.Done(); return server.Close() })
	}
	return errors.Join(g.Wait(), r.store.Close())
}

// linkFor is where the gateway registers this device, once it has said how it names it.
func (r *registration) linkFor(reg *registering.Registrar) string {
	if r.link != "" {
		return r.link
	}
	id := reg.AtGateway()
	if r.agent == "" || id == "" {
		return ""
	}
	return strings.TrimSuffix(r.agent, "/") + "/register?device=" + url.QueryEscape(string(id))
}

// identity is the device as a print service and an administrator are told of it: what it says of itself as a printer, too.
func identity(d mfp.Options, location string) mfpgate.PrintDevice {
	p := mfpgate.PrintDevice{ID: mfpgate.DeviceID(d.ID), Name: cmp.Or(d.Name, d.ID), Make: printer.Make, Model: d.Model, Serial: d.Serial,
		UUID: printer.UUID("", d.Model, d.Serial), Location: location}
	if d.Bind.IsValid() {
		p.Address = d.Bind.String()
	}
	return p
}

// openState is where registrations are kept: in a folder beside the device's own state file, else in memory.
func openState(ctx context.Context, d mfp.Options) (store.Store, []byte, error) {
	if d.State == "" {
		key := make([]byte, seal.KeySize)
		_, _ = crand.Read(key) // never fails
		return memory.New(), key, nil
	}
	dir := d.State + ".registrations"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	key, err := seal.OpenKey(filepath.Join(dir, "seal.key"))
	if err != nil {
		return nil, nil, err
	}
	db, err := badger.Open(ctx, badger.Options{Dir: filepath.Join(dir, "store"), Clock: d.Clock, BallastSize: -1})
	return db, key, err
}

func (r *registration) gateway(d mfp.Options) (*registering.Gateway, error) {
	o := registering.GatewayOptions{Bind: d.Bind, Agent: "mfpsim/1 (" + d.Model + ")", Clock: d.Clock}
	var err error
	if o.URL, err = url.Parse(r.agent); err != nil {
		return nil, err
	}
	if o.RootCAs, err = trust(r.agentCA); err != nil {
		return nil, err
	}
	if o.Account, o.Password, err = account(r.agentAccount); err != nil {
		return nil, err
	}
	return registering.OpenGateway(o)
}

func (r *registration) mailer() (*mail.Sender, error) {
	o := mail.Options{Server: r.smtp, From: r.mailFrom, TLS: mail.TLS(r.smtpTLS)}
	var err error
	if o.RootCAs, err = trust(r.smtpCA); err != nil {
		return nil, err
	}
	if o.User, o.Password, err = account(r.smtpAccount); err != nil {
		return nil, err
	}
	return mail.Open(o)
}
