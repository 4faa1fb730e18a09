package region

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Where a region's store has what is each role's own.
const (
	ManagementPrefix = "management/"
	ServicesPrefix   = "services/"
)

// RoomManagement is the audit room of the management server.
const RoomManagement = "management"

// Role is as what somebody calls.
type Role string

// The roles. RolePeerManagement and RolePeerServices are those of other regions; a region's own management server has the first at its
// own services. RoleAnybody lets everybody in.
const (
	RoleAnybody        Role = ""
	RoleGateway        Role = "gateway"
	RoleDevice         Role = "device"
	RoleOperator       Role = "operator"
	RolePeerManagement Role = "region-management"
	RolePeerServices   Role = "region-services"
)

// Caller is who calls: a gateway, a device, an operator or a region.
type Caller struct {
	Role Role
	ID   string
}

// Door is how a role is mounted in a server: how its operations are described, and who calls them.
type Door struct {
	Operation func(method, path, id, summary string, callers ...Role) huma.Operation
	Caller    func(context.Context) Caller
	Refuse    func(huma.Context, *Refusal) // answers outside an operation
	Ending    <-chan struct{}              // is closed when calls that wait shall end
}

// ManagementOptions are what a management server is made of. Those without a word on it are required.
type ManagementOptions struct {
	Region  string
	Store   store.Store // a view of its own
	Clock   mfpgate.Clock
	Log     telemetry.Logger
	Key     ed25519.PrivateKey // under which it signs
	IDKey   mfpgate.Secret     // of registration ids
	Own     mfpgate.Secret     // its credential at the own services
	Peers   func() ([]provision.Peer, error)
	At      map[string]Address // where peers are
	Connect Connect            // nil: nobody is called
	Limits  broker.Limits
	Hosts   mfpgate.RegionHosts // of this region; what is empty, Reached fills

	// Device returns a device that a gateway has told of, and Devices a page of them.
	Device  func(ctx context.Context, gateway string, id mfpgate.DeviceID) (mfpgate.Device, bool, error)
	Devices func(ctx context.Context, gateway, after string, limit int) (list []mfpgate.Device, next string, err error)
	// Record is what else the region's management server knows of a device, which a move hands over. Forget removes it.
	Record func(ctx context.Context, mfp string) (json.RawMessage, error)
	Forget func(ctx context.Context, mfp string) error

	Door
}

// Management is a region's management server. It is safe for concurrent use.
type Management struct {
	ManagementOptions
	links   links
	saga    *broker.Saga
	journal *journal.Journal
	own     atomic.Pointer[Link]
	hosts   hosts
	waiting waiters
	asked   residences
	turns   [64]sync.Mutex // of a device: registrations and enrolments ask others before they write
}

// NewManagement makes a management server. Reached connects it, Run does what is due.
func NewManagement(ctx context.Context, o ManagementOptions) (*Management, error) {
	m := &Management{ManagementOptions: o}
	m.links = links{region: o.Region, role: provision.PeerManagement, clock: o.Clock, connect: o.Connect, peers: o.Peers, at: o.At}
	m.waiting.of = map[string]int{}
	var err error
	if m.saga, err = broker.New(ctx, broker.Options{
		Clock: o.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Store: o.Store, Region: o.Region,
		Regions: regions{m}, Devices: devices{m}, Log: o.Log, Adopt: m.adopt, Receipt: m.checkReceipt, Limits: o.Limits,
		Changed: func(mfpgate.MoveID) { m.asked.forget() },
	}); err != nil {
		return nil, fmt.Errorf("management server: %w", err)
	}
	m.journal = m.saga.Journal()
	if err := m.loadHosts(ctx); err != nil {
		return nil, fmt.Errorf("management server: %w", err)
	}
	return m, nil
}

// Reached says under which URLs devices reach the roles of this region, and connects the management server to its services.
func (m *Management) Reached(managementURL, servicesURL string, link *Link) {
	m.own.Store(link)
	m.hosts.reached(m.ManagementOptions.Hosts, managementURL, servicesURL)
}

// Run runs the saga and keeps the hosts of peers, until ctx ends.
func (m *Management) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.saga.Run(ctx) })
	g.Go(func() error { return m.refreshing(ctx) })
	return g.Wait()
}

// services is the region's own other role.
func (m *Management) services() (*Link, error) {
	if link := m.own.Load(); link != nil {
		return link, nil
	}
	return nil, starting()
}

// turn keeps two calls that register the same device from overtaking each other.
func (m *Management) turn(mfp string) func() {
	sum := 0
	for _, c := range []byte(mfp) {
		sum = sum*31 + int(c)
	}
	mu := &m.turns[uint(sum)%uint(len(m.turns))]
	mu.Lock()
	return mu.Unlock
}

// regions are what the saga calls.
type regions struct{ m *Management }

// Names are, while it cannot be read who the peers are, those that have an address: the saga finds out that they cannot be asked.
func (r regions) Names() []string {
	peers, err := r.m.links.names()
	if err != nil {
		peers = slices.Sorted(maps.Keys(r.m.At))
	}
	return append([]string{r.m.Region}, peers...)
}

func (r regions) Services(region string) (broker.Services, bool) {
	if region == r.m.Region {
		return ownServices{r.m}, true
	}
	link, err := r.m.links.to(region)
	if err != nil {
		return nil, false
	}
	return services{region, link.Services}, true
}

func (r regions) Management(region string) (broker.Management, bool) {
	if region == r.m.Region {
		return ownManagement{r.m}, true
	}
	link, err := r.m.links.to(region)
	if err != nil {
		return nil, false
	}
	return management{region, link.Management}, true
}

// ownServices are those of this region, which may not be connected yet.
type ownServices struct{ m *Management }

func (s ownServices) link() (services, error) {
	link, err := s.m.services()
	if err != nil {
		return services{}, &unanswered{s.m.Region, err}
	}
	return services{s.m.Region, link.Services}, nil
}

func (s ownServices) Offers(ctx context.Context, country string) ([]mfpgate.ServiceOffer, error) {
	own, err := s.link()
	if err != nil {
		return nil, err
	}
	return own.Offers(ctx, country)
}

func (s ownServices) Holding(ctx context.Context, mfp string) (mfpgate.Holding, error) {
	own, err := s.link()
	if err != nil {
		return mfpgate.Holding{}, err
	}
	return own.Holding(ctx, mfp)
}

func (s ownServices) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	own, err := s.link()
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	return own.Order(ctx, o)
}

// ownManagement is this management server as its own saga calls it.
type ownManagement struct{ m *Management }

func (o ownManagement) Find(ctx context.Context, model, serial string) (mfpgate.Registrant, error) {
	return o.m.find(ctx, model, serial)
}

func (o ownManagement) Order(ctx context.Context, order mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	return o.m.order(ctx, order)
}

// devices are what the saga knows of them.
type devices struct{ m *Management }

func (d devices) Device(ctx context.Context, gateway string, id mfpgate.DeviceID) (mfpgate.Device, bool, error) {
	return d.m.Device(ctx, gateway, id)
}

func (d devices) Mint(epoch uint64) (string, error) {
	return Mint(d.m.Clock, d.m.IDKey, d.m.Region, epoch), nil
}

// clean is a text in which a model is asked for.
func clean(text string) string { return strings.Join(strings.Fields(text), " ") }

// held are services without nil lists, as documents have them.
func held(list []mfpgate.HeldService) []mfpgate.HeldService {
	out := make([]mfpgate.HeldService, len(list))
	for i, s := range list {
		out[i] = mfpgate.HeldService{ID: s.ID, Children: append([]string{}, s.Children...)}
	}
	return out
}

// brief is what a device may know.
func brief(h mfpgate.Holding) api.HoldingBrief {
	out := api.HoldingBrief{Registration: h.Registration, Region: h.Region, Epoch: h.Epoch, State: h.State, Services: make([]string, len(h.Services))}
	for i, s := range h.Services {
		out.Services[i] = s.ID
	}
	return out
}
