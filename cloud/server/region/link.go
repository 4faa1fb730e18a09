package region

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

// Peering says how a region is reached, and as whom. A role whose token is missing makes no call.
type Peering struct {
	Region          string
	ManagementURL   string
	ServicesURL     string // "": as the region's signed document says
	ManagementToken mfpgate.Secret
	ServicesToken   mfpgate.Secret
	Keys            []ed25519.PublicKey // under which it signs
	RootCAs         *x509.CertPool      // nil: the system's
	Clock           mfpgate.Clock
}

// Link is a region that can be called. Its errors bring the region's reason by a method Reason, and wrap mfpgate.ErrRefused if the
// same call will be refused again.
type Link struct {
	Services   broker.Services
	Management broker.Management
	Register   func(context.Context, api.ServiceRegistration) (mfpgate.Holding, error)
	Send       func(context.Context, mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error)
	Hosts      func(context.Context) ([]mfpgate.RegionHosts, error) // as signed by the region
	Close      func()                                               // frees idle connections; may be nil
}

// Connect makes a link. It makes no connection.
type Connect func(Peering) (*Link, error)

// Address is where an operator says that a peer is.
type Address struct {
	Management string // URL
	Services   string // URL; "": as the region's signed document says
}

// lookAgain is how long what the operator has agreed with peers is not read again.
const lookAgain = time.Second

// links are the peers of one role.
type links struct {
	region  string
	role    provision.PeerRole
	clock   mfpgate.Clock
	connect Connect
	peers   func() ([]provision.Peer, error)
	at      map[string]Address

	mu   sync.Mutex
	read time.Time
	open map[string]*opened
}

type opened struct {
	peer provision.Peer
	link *Link // nil: nobody has said where the peer is
}

// all are the peers as they are agreed upon now.
func (l *links) all() (map[string]*opened, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connect == nil {
		return nil, nil
	}
	now := l.clock.Now()
	if l.open != nil && now.Sub(l.read) < lookAgain && now.After(l.read.Add(-lookAgain)) {
		return l.open, nil
	}
	agreed, err := l.peers()
	if err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	next := map[string]*opened{}
	for _, p := range agreed {
		if have := l.open[p.Region]; have != nil && same(have.peer, p) {
			next[p.Region] = have
			continue
		}
		found := &opened{peer: p}
		if at, said := l.at[p.Region]; said {
			if found.link, err = l.dial(p, at); err != nil {
				return nil, err
			}
		}
		next[p.Region] = found
	}
	for name, was := range l.open {
		if next[name] != was && was.link != nil && was.link.Close != nil {
			was.link.Close()
		}
	}
	l.open, l.read = next, now
	return next, nil
}

func same(a, b provision.Peer) bool {
	return a.Region == b.Region && a.Management.Equal(b.Management) && a.Services.Equal(b.Services) && a.Key == b.Key && slices.Equal(a.CA, b.CA)
}

func (l *links) dial(p provision.Peer, at Address) (*Link, error) {
	key, err := jws.ParseKey(p.Key)
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", p.Region, err)
	}
	to := Peering{Region: p.Region, ManagementURL: at.Management, ServicesURL: at.Services, Keys: []ed25519.PublicKey{key}, Clock: l.clock}
	if p.CA != nil {
		to.RootCAs = x509.NewCertPool()
		to.RootCAs.AppendCertsFromPEM(p.CA)
	}
	if l.role == provision.PeerServices {
		to.ServicesToken = p.Services
	} else {
		to.ManagementToken = p.Management
	}
	return l.connect(to)
}

// to returns the link to a region, or a refusal.
func (l *links) to(region string) (*Link, error) {
	all, err := l.all()
	if err != nil {
		return nil, err
	}
	switch o := all[region]; {
	case o == nil:
	case o.link == nil:
		return nil, refuse(http.StatusServiceUnavailable, ReasonNoAddress,
			"region %s is a peer of %s, and nobody has said where it is: start %[2]s with --peer %[1]s=URL, or end what was agreed with `mfpcloud peer remove %[1]s`",
			region, l.region).retry(time.Minute)
	default:
		return o.link, nil
	}
	return nil, refuse(http.StatusServiceUnavailable, ReasonNoPeer,
		"region %.8s is no peer of %s; `mfpcloud peer accept` its invitation and start the region with --peer %.8[1]s=URL", region, l.region).retry(time.Minute)
}

// names are the peers', sorted. Those without an address are among them: they are not to be taken for regions that say no. While it cannot
// be read who they are, nobody may conclude that there are none.
func (l *links) names() ([]string, error) {
	all, err := l.all()
	return slices.Sorted(maps.Keys(all)), err
}

// key is that under which a peer signs.
func (l *links) key(region string) (string, bool) {
	all, err := l.all()
	if err != nil || all[region] == nil {
		return "", false
	}
	return all[region].peer.Key, true
}

// services gives the errors of a link's services their meaning.
type services struct {
	region string
	broker.Services
}

func (s services) Offers(ctx context.Context, country string) ([]mfpgate.ServiceOffer, error) {
	list, err := s.Services.Offers(ctx, country)
	return list, understood(s.region, err)
}

func (s services) Holding(ctx context.Context, mfp string) (mfpgate.Holding, error) {
	h, err := s.Services.Holding(ctx, mfp)
	return h, understood(s.region, err)
}

func (s services) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	a, err := s.Services.Order(ctx, o)
	return a, understood(s.region, err)
}

// management does the same for a management server's.
type management struct {
	region string
	broker.Management
}

func (m management) Find(ctx context.Context, model, serial string) (mfpgate.Registrant, error) {
	r, err := m.Management.Find(ctx, model, serial)
	return r, understood(m.region, err)
}

func (m management) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	a, err := m.Management.Order(ctx, o)
	return a, understood(m.region, err)
}
