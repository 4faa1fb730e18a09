package registering_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client/print"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/registering"
	"github.com/mfpgate/mfpgate/daemon/agent"
	"github.com/mfpgate/mfpgate/mail"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/mailbox"
)

const (
	patience = 30 * time.Second
	hana     = "hana@example.co.jp"
	it       = "it@example.co.jp"
	atDevice = mfpgate.DeviceID("mfp-1")
	atSite   = mfpgate.DeviceID("dev_01COPIER")
)

// scene is a region with its print service, a mail server, and an MFP; a gateway is added where a test needs one.
type scene struct {
	t        *testing.T
	region   *servertest.Region
	password mfpgate.Secret // of the administrator at the print service
	box      *mailbox.Box
	facts    store.Store // the device's, which outlives its restarts
}

func open(t *testing.T, with ...servertest.Option) *scene {
	s := &scene{t: t, region: servertest.Start(t, append([]servertest.Option{servertest.Codes(time.Minute, time.Second)}, with...)...),
		box: mailbox.Start(t), facts: memory.New()}
	s.password = s.region.Administrator(t, it)
	t.Cleanup(func() { _ = s.facts.Close() })
	return s
}

func sealer(t *testing.T) *seal.Sealer {
	t.Helper()
	s, err := seal.New(make([]byte, seal.KeySize))
	servertest.Must(t, err)
	return s
}

// service is the region's, as the device or the gateway reaches it.
func (s *scene) service(name string) approval.Service {
	s.t.Helper()
	client, err := print.Open(print.Options{Kind: print.KindReference, URL: s.region.URL, ClientID: "mfpgate", RootCAs: s.region.Roots})
	servertest.Must(s.t, err)
	return approval.Service{Name: name, Kind: print.KindReference, Client: client, Hosts: []string{"127.0.0.1"}, Push: true}
}

// device is a running MFP.
type device struct {
	*registering.Registrar
	events *events
	stop   func()
}

// events are what a device told.
type events struct {
	mu   sync.Mutex
	list []registering.Event
}

func (e *events) add(x registering.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, x)
}

func (e *events) count(kind string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range e.list {
		if x.Kind == kind {
			n++
		}
	}
	return n
}

// boot starts the MFP; change is what its flags would say otherwise.
func (s *scene) boot(change ...func(*registering.Options)) *device {
	s.t.Helper()
	d := &device{events: &events{}}
	sender, err := mail.Open(mail.Options{Server: s.box.Address, From: "mfp-1@example.co.jp", RootCAs: s.box.Roots})
	servertest.Must(s.t, err)
	o := registering.Options{
		Device: mfpgate.PrintDevice{ID: atDevice, Name: "2F copier", Make: "Simulated", Model: "SIM-100", Serial: "SIM000001",
			UUID: "f81d4fae-7dec-8a10-a765-00a0c91e6bf6", Location: "Osaka 2F", Address: "127.0.1.1"},
		Site: "osaka-branch", Services: []registering.Service{{Service: s.service("cloud"), URL: s.region.URL}},
		Store: s.facts, Sealer: sealer(s.t), Mailer: sender, Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Notify: d.events.add,
	}
	for _, c := range change {
		c(&o)
	}
	d.Registrar, err = registering.New(s.t.Context(), o)
	servertest.Must(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }() // stop waits
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("the device ended with %v", err)
		}
	})
	s.t.Cleanup(d.stop)
	return d
}

// await waits until something is so.
func (s *scene) await(what string, reached func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for !reached() {
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 5*time.Millisecond) != nil {
			s.t.Fatalf("never: %s", what)
		}
	}
}

var userCode = regexp.MustCompile(`\b[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}\b`)

// asked are the letters to the administrator; the user gets one at the end, too.
func asked(all []mailbox.Letter) (list []mailbox.Letter) {
	for _, l := range all {
		if l.To == it {
			list = append(list, l)
		}
	}
	return list
}

// code is that of the nth letter to the administrator.
func (s *scene) code(n int) string {
	s.t.Helper()
	l := asked(s.box.AwaitThat(s.t, func(all []mailbox.Letter) bool { return len(asked(all)) >= n }))[n-1]
	code := userCode.FindString(l.Text)
	if code == "" {
		s.t.Fatalf("letter %d has no code:\n%s", n, l.Text)
	}
	return code
}

func (s *scene) approve(code string, users ...string) {
	s.t.Helper()
	if status, page := s.region.Decide(s.t, it, s.password, code, users...); status >= 400 {
		s.t.Fatalf("the administrator's decision: %d %s", status, page)
	}
}

// gateway is the management server: its broker, and the devices' door, on an address that outlives its restarts.
type gateway struct {
	*scene
	facts   store.Store
	address string
	broker  *approval.Broker
	roots   *tlsPair
	stop    func()
}

func (s *scene) gateway() *gateway {
	s.t.Helper()
	g := &gateway{scene: s, facts: memory.New(), address: "127.0.0.1:0", roots: selfSigned(s.t)}
	s.t.Cleanup(func() { _ = g.facts.Close() })
	g.start()
	s.t.Cleanup(func() { g.stop() })
	return g
}

// start runs the gateway, again at the address that it had.
func (g *gateway) start() {
	g.t.Helper()
	var err error
	g.broker, err = approval.New(g.t.Context(), approval.Options{Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(3, 4)), Store: g.facts, Sealer: sealer(g.t),
		Site: g, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Gateway: "osaka-1"},
		approval.Policy{SiteName: "osaka-branch", Services: []approval.Service{g.service("office")}, AdminDomains: []string{"example.co.jp"}})
	servertest.Must(g.t, err)
	l, err := net.Listen("tcp", g.address)
	servertest.Must(g.t, err)
	g.address = l.Addr().String()
	server := &http.Server{Handler: agent.Handler(agent.Options{Requests: requests{g.broker}, Devices: g, Clock: mfpgate.SystemClock{}, Log: telemetry.Discard()})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- g.broker.Run(ctx) }() // stop waits for both
	go func() { ended <- server.ServeTLS(l, g.roots.certFile, g.roots.keyFile) }()
	g.stop = sync.OnceFunc(func() {
		_ = server.Close()
		cancel()
		for range 2 {
			if err := <-ended; err != nil && !errors.Is(err, http.ErrServerClosed) {
				g.t.Errorf("the gateway ended with %v", err)
			}
		}
	})
}

// Candidate implements approval.Site.
func (g *gateway) Candidate(id mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	return mfpgate.PrintCandidate{PrintDevice: mfpgate.PrintDevice{ID: atSite, Name: "2F copier", UUID: "f81d4fae-7dec-8a10-a765-00a0c91e6bf6"},
		Mode: mfpgate.RegistrationAgent, Admin: it}, id == atSite
}

func (g *gateway) Accounts() *account.File                   { return nil }
func (g *gateway) ByAccount(string) (mfpgate.DeviceID, bool) { return "", false }
func (g *gateway) ByAddress(a netip.Addr) (mfpgate.DeviceID, bool) {
	return atSite, a.String() == "127.0.1.1"
}
func (g *gateway) RegistersItself(id mfpgate.DeviceID) bool { return id == atSite }
func (g *gateway) Site() string                             { return "osaka-branch" }
func (g *gateway) Service(name string) api.PrintService {
	return api.PrintService{Name: name, Kind: print.KindReference, URL: g.region.URL + "/", ClientID: "mfpgate"}
}

// requests is the broker as the daemon shows it to devices.
type requests struct{ *approval.Broker }

func (r requests) Report(ctx context.Context, id mfpgate.DeviceID, registration string, result agent.Result) error {
	err := r.Broker.Report(ctx, id, registration, approval.Result(result))
	var no mfpgate.Refused
	switch {
	case errors.Is(err, approval.ErrNotFound):
		return agent.ErrNoRequest
	case errors.As(err, &no) && no.Why() == approval.NotNow:
		return agent.ErrEnded
	}
	return err
}

// serves makes a device follow the gateway.
func (g *gateway) serves(session bool) func(*registering.Options) {
	return func(o *registering.Options) {
		u, err := url.Parse("https://" + g.address)
		servertest.Must(g.t, err)
		o.Gateway, err = registering.OpenGateway(registering.GatewayOptions{URL: u, RootCAs: g.roots.pool, Bind: netip.MustParseAddr("127.0.1.1"), Clock: o.Clock})
		servertest.Must(g.t, err)
		o.Session = session
	}
}

// request is what a user asks of the gateway.
func (g *gateway) request(user string) mfpgate.Registration {
	g.t.Helper()
	r, created, err := g.broker.Request(g.t.Context(), mfpgate.RegistrationRequest{Device: atSite, Service: "office", User: user, From: "10.0.0.7"}, "test", "")
	servertest.Must(g.t, err)
	if !created || r.State != mfpgate.RegistrationAwaitingDevice {
		g.t.Fatalf("created %v, in state %s, want one that waits for the device", created, r.State)
	}
	return r
}

// ends waits for the end of a registration at the gateway.
func (g *gateway) ends(id string) (r mfpgate.Registration) {
	g.t.Helper()
	g.await("the end of "+id+" at the gateway", func() bool {
		var err error
		r, err = g.broker.Get(g.t.Context(), id)
		servertest.Must(g.t, err)
		return r.State.Ended()
	})
	return r
}
