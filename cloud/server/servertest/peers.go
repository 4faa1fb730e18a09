package servertest

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/cloud/server/region"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/port"
)

// Pairing says how regions that are peers are run.
type Pairing struct {
	Connect region.Connect // as how they call each other: cmd/mfpcloud's way is package cloud/client/peer
	Regions []string       // none: jp and us
	Apart   bool           // the services of each listen by themselves
	Limits  broker.Limits  // of their sagas; what is 0 is short, as tests are
	Store   func(region string) store.Store
	With    func(region string) []Option
	// Offers are what each region rolls out; nil: document-cloud, with translate everywhere and with whiteboard in all but the first.
	Offers map[string][]mfpgate.ServiceOffer
}

// Peers runs regions that are peers of one another, with one factory. They know each other before the first request.
func Peers(t testing.TB, p Pairing) map[string]*Region {
	t.Helper()
	if len(p.Regions) == 0 {
		p.Regions = []string{"jp", "us"}
	}
	type made struct {
		dir               string
		folder            *provision.Folder
		management, apart string
	}
	of := map[string]made{}
	var factory []byte
	for i, name := range p.Regions {
		m := made{dir: t.TempDir(), management: port.Free(t, "127.0.0.1")}
		if p.Apart {
			m.apart = port.Free(t, "127.0.0.1")
		}
		var err error
		m.folder, err = provision.Open(m.dir, mfpgate.SystemClock{})
		Must(t, err)
		Must(t, m.folder.SetRegion(name))
		if file := filepath.Join(m.dir, "factory.key"); i == 0 {
			_, err := m.folder.FactoryKey()
			Must(t, err)
			factory, err = os.ReadFile(file)
			Must(t, err)
		} else {
			Must(t, os.WriteFile(file, factory, 0o600))
		}
		offers := p.Offers[name]
		if p.Offers == nil {
			offers = []mfpgate.ServiceOffer{{ID: "document-cloud", Children: []string{"translate"}}}
			if i > 0 {
				offers[0].Children = append(offers[0].Children, "whiteboard")
			}
		}
		for _, o := range offers {
			Must(t, m.folder.AddOffer(o))
		}
		_, err = m.folder.Certificate([]string{"localhost", "127.0.0.1", "::1"})
		Must(t, err)
		of[name] = m
	}
	for from, inviting := range of {
		ca, err := os.ReadFile(inviting.folder.CertificatePath())
		Must(t, err)
		for to, invited := range of {
			if from == to {
				continue
			}
			i, err := inviting.folder.InvitePeer(from, to)
			Must(t, err)
			Must(t, invited.folder.AcceptPeer(i, ca))
		}
	}
	running := map[string]*Region{}
	for _, name := range p.Regions {
		facts := store.Store(memory.New())
		if p.Store != nil {
			facts = p.Store(name)
		}
		with := []Option{Named(name), Connected(p.Connect), func(o *server.Options) {
			o.Moves.Peers, o.Moves.Limits = map[string]region.Address{}, short(p.Limits)
			for other, m := range of {
				if other != name {
					o.Moves.Peers[other] = region.Address{Management: "https://" + m.management}
				}
			}
		}}
		if p.With != nil {
			with = append(with, p.With(name)...)
		}
		running[name] = run(t, facts, of[name].dir, server.Listening{Address: of[name].management, Services: of[name].apart}, with...)
	}
	// All at once: each takes a second to say goodbye to the connections of the others (HTTP/2's GOAWAY).
	t.Cleanup(func() {
		var ending sync.WaitGroup
		for _, r := range running {
			ending.Go(r.Stop)
		}
		ending.Wait()
	})
	return running
}

// short is what tests wait for.
func short(l broker.Limits) broker.Limits {
	for at, value := range map[*time.Duration]time.Duration{&l.MinDelay: 20 * time.Millisecond, &l.MaxDelay: 200 * time.Millisecond,
		&l.Probe: 5 * time.Second, &l.Poll: 50 * time.Millisecond} {
		if *at == 0 {
			*at = value
		}
	}
	return l
}
