package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/store"
)

// moveStore is where the broker's view stands in the shared store.
const moveStore = "region/"

// moves is the broker of moves between regions, and what it needs of the gateway itself.
type moves struct {
	*route.Broker
	daemon  *Daemon
	cloud   *moveCloud
	changed chan struct{} // capacity 1: a move or a residence may have changed

	mu         sync.Mutex
	residences map[mfpgate.DeviceID]mfpgate.Residence // as the broker said last
}

func newMoves(ctx context.Context, d *Daemon) (*moves, error) {
	cfg := d.config.Load()
	m := &moves{daemon: d, changed: make(chan struct{}, 1), residences: map[mfpgate.DeviceID]mfpgate.Residence{}}
	m.cloud = newMoveCloud(d)
	var err error
	m.Broker, err = route.New(ctx, route.Options{Clock: d.Clock, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), Store: store.Prefix(d.shared, moveStore),
		Gateway: gatewayID(cfg), Cloud: m.cloud, Devices: moveDevices{d}, Prober: prober{daemon: d}, Log: d.log, Metrics: d.metrics,
		Changed: func(mfpgate.MoveID) { poke(m.changed) }}, movePolicy(cfg))
	if err != nil {
		return nil, fmt.Errorf("moves: %w", err)
	}
	m.look(ctx) // the homes are known before anybody asks for them
	return m, nil
}

// movePolicy is what a configuration says of regions.
func movePolicy(cfg *config.Config) route.Policy {
	return route.Policy{Region: cfg.Site.Region, Enforce: cfg.Region.Enforce, Mode: string(cfg.Region.Policy), RedirectModels: cfg.Region.FollowRedirects}
}

// moveDevices are the registry's, as the broker sees them.
type moveDevices struct{ *Daemon }

// Devices implements route.Devices.
func (d moveDevices) Devices() []mfpgate.Device { return d.registry.List() }

// Relayed implements route.Devices.
func (d moveDevices) Relayed(id mfpgate.DeviceID) time.Time { return d.registry.Relayed(id) }

// lookMoves is how often moves are looked at although nothing changed: time alone makes some late.
const lookMoves = 30 * time.Second

// run runs the broker, and keeps what others are told of moves true. Without a cloud the routes stay in force, and nothing is asked.
func (m *moves) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return m.Run(ctx) })
	g.Go(func() error {
		for {
			m.look(ctx)
			timer := m.daemon.Clock.NewTimer(lookMoves)
			select {
			case <-ctx.Done():
				timer.Stop()
				return nil
			case <-m.changed:
				timer.Stop()
				if mfpgate.Wait(ctx, m.daemon.Clock, gather) != nil { // a burst of changes is looked at once
					return nil
				}
			case <-timer.C():
			}
		}
	})
	return g.Wait()
}

// reload puts a configuration in force.
func (m *moves) reload(cfg *config.Config) {
	m.Reconfigure(movePolicy(cfg))
	poke(m.changed)
}

// look tells the registry where devices are at home, and the health what is wrong with moves.
func (m *moves) look(ctx context.Context) {
	list := m.Kept()
	now := make(map[mfpgate.DeviceID]mfpgate.Residence, len(list))
	homes := map[mfpgate.DeviceID]string{}
	for _, r := range list {
		now[r.Device] = r
		if r.Home != "" {
			homes[r.Device] = r.Home
		}
	}
	m.mu.Lock()
	m.residences = now
	m.mu.Unlock()
	m.daemon.registry.SetHomes(homes)
	if all, err := m.Moves(ctx); err == nil { // they are in memory
		m.judge(list, all)
	}
}

// residence is where a device's data are, as far as known.
func (m *moves) residence(id mfpgate.DeviceID) (mfpgate.Residence, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, known := m.residences[id]
	return r, known
}

// note keeps what came of a call at once.
func (m *moves) note(r mfpgate.Residence) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.residences[r.Device] = r
	poke(m.changed)
}

// here reports whether the site region knows a device, and home which other region has its data, if a move of it would be taken.
func (m *moves) here(id mfpgate.DeviceID) (here bool, home string) {
	cfg := m.daemon.config.Load()
	r, known := m.residence(id)
	if !known {
		return false, ""
	}
	here = r.State == mfpgate.ResidenceHome || r.State == mfpgate.ResidenceForeign || r.State == mfpgate.ResidenceMoving && r.Home == cfg.Site.Region
	if cfg.Region.Policy != config.RegionNever && r.Home != cfg.Site.Region && r.State != mfpgate.ResidenceMoving {
		home = r.Home
	}
	return here, home
}

// enroller enters devices of other markets in the site region for the broker of registrations.
type enroller struct{ moves *moves }

// Enrol implements approval.Regions.
func (e enroller) Enrol(ctx context.Context, device mfpgate.DeviceID, actor string) error {
	refuse := func(text string) error { return &approval.Refusal{Reason: approval.OtherRegion, Text: text} }
	d := e.moves.daemon
	found, err := d.registry.Detail(device)
	if err != nil {
		return err
	}
	if err := (gateway{d}).toldOf(device); err != nil {
		return err
	}
	_, err = e.moves.enrol(ctx, device, actor)
	market, site := found.Device.Market, d.config.Load().Site.Region
	switch no, refused := errors.AsType[mfpgate.Refused](err); {
	case errors.Is(err, route.ErrUnknownHere):
		return refuse(fmt.Sprintf("id unknown here: neither %s, for which %s was made, nor %s knows it. Have it registered in %s first, as its first start there does, and ask again; "+
			"if %s is not its market, correct that in devices.static.", market, cmp.Or(found.Device.Name, string(device)), site, market, market))
	case refused:
		return refuse(fmt.Sprintf("id unknown here: %s does not take up a device that was made for %s. %s", site, market, no.Error()))
	}
	return err
}

// enrol has the site region take a device up, and keeps at once what came of it.
func (m *moves) enrol(ctx context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error) {
	r, err := m.Enrol(ctx, device, actor)
	if err == nil {
		m.note(r)
	}
	return r, err
}
