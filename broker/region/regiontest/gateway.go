package regiontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/telemetry"
)

const (
	callTime = 40 * time.Second // of a question of the gateway
	holdTime = 20 * time.Second // that a region holds an empty page of moves back
)

// regionHosts are the hosts by which devices reach the regions.
var regionHosts = []mfpgate.RegionHosts{
	{Region: "jp", Management: []string{"mgmt.jp.example:443"}, Services: []string{"svc.jp.example:443", "svc.jp.example:80"}},
	{Region: "us", Management: []string{"mgmt.us.example:443"}, Services: []string{"svc.us.example:443", "svc.us.example:80"}},
}

func managementHost(region string) string { return "mgmt." + region + ".example" }
func servicesHost(region string) string   { return "svc." + region + ".example" }

// startGateway makes the gateway's process: the real broker of routes, and a relay.
func (w *world) startGateway(l *life) error {
	s := &site{w: w}
	cloud := &siteCloud{w: w}
	broker, err := route.New(l.ctx, route.Options{
		Clock: l.clock, Rand: rand.New(rand.NewPCG(w.c.Seed, 7)), Store: l.store, Gateway: gatewayName, Cloud: cloud, Devices: s, Prober: s,
		Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(),
	}, route.Policy{Region: targetName, Enforce: !w.c.Break.Lax, Mode: route.ModeAsk})
	if err != nil {
		return err
	}
	l.relay = &relay{w: w, l: l, broker: broker}
	s.relay = l.relay
	if !w.c.Break.Deaf {
		broker.SetTunnels(l.relay)
	}
	l.run = append(l.run, broker.Run)
	return nil
}

// site is what the broker asks of its gateway.
type site struct {
	w     *world
	relay *relay
}

func (s *site) Devices() []mfpgate.Device {
	return []mfpgate.Device{{ID: deviceID, Name: "MFP 1", Model: deviceModel, Serial: deviceSerial, Market: "us", MonitoringMode: mfpgate.MonitoringProxy}}
}

func (s *site) Relayed(mfpgate.DeviceID) time.Time { return s.relay.lastSeen() }

func (s *site) Probe(_ context.Context, host, name string) error {
	if s.w.c.Unnamed {
		return fmt.Errorf("certificate of %s is not valid for %s", host, name)
	}
	return nil
}

// siteCloud is the management server of each region to which moves lead, as the gateway reaches it through the network.
type siteCloud struct{ w *world }

// targets are the regions to which moves lead.
func (w *world) targets() []string {
	if w.c.Back {
		return []string{targetName, sourceName}
	}
	return []string{targetName}
}

// told is a move as the gateway hears of it.
func (c *siteCloud) told(m mfpgate.Move) mfpgate.Move {
	c.w.promise.leads(m.ID, m.To)
	if alter := c.w.c.Break.Told; alter != nil {
		m = alter(m)
	}
	return m
}

// asks has the saga of a region do something for the gateway.
func asks[A any](ctx context.Context, c *siteCloud, name, what string, do func(context.Context, *region.Saga) (A, error)) (none A, err error) {
	p := c.w.regions[name]
	if p == nil {
		return none, region.ErrNoHolding
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return call(ctx, c.w, gatewayName, p, what, func(ctx context.Context, l *life) (A, error) { return do(ctx, l.region.saga) })
}

// tells is asks of what has no answer, at the region to which a move leads.
func (c *siteCloud) tells(ctx context.Context, id mfpgate.MoveID, what string, do func(context.Context, *region.Saga) error) error {
	_, err := asks(ctx, c, c.w.promise.target(id), what, func(ctx context.Context, s *region.Saga) (struct{}, error) { return struct{}{}, do(ctx, s) })
	return err
}

// acts is what an administrator has done to a move.
func (c *siteCloud) acts(ctx context.Context, id mfpgate.MoveID, what string, do func(context.Context, *region.Saga) (mfpgate.Move, error)) (mfpgate.Move, error) {
	m, err := asks(ctx, c, c.w.promise.target(id), what, do)
	if err != nil {
		return m, err
	}
	return c.told(m), nil
}

func (c *siteCloud) Plan(ctx context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	return asks(ctx, c, r.To, "plan", func(ctx context.Context, s *region.Saga) (mfpgate.MovePlan, error) {
		return s.Plan(ctx, gatewayName, r)
	})
}

func (c *siteCloud) Start(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error) {
	m, err := asks(ctx, c, r.To, "start", func(ctx context.Context, s *region.Saga) (mfpgate.Move, error) {
		m, _, err := s.Start(ctx, gatewayName, r, actor, key)
		return m, err
	})
	if err != nil {
		return m, err
	}
	return c.told(m), nil
}

func (c *siteCloud) Abort(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return c.acts(ctx, id, "abort", func(ctx context.Context, s *region.Saga) (mfpgate.Move, error) {
		return s.Abort(ctx, gatewayName, id, actor)
	})
}

func (c *siteCloud) Retry(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return c.acts(ctx, id, "retry", func(ctx context.Context, s *region.Saga) (mfpgate.Move, error) {
		return s.Retry(ctx, gatewayName, id, actor)
	})
}

func (c *siteCloud) ConfirmLost(ctx context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return c.acts(ctx, id, "confirm-lost", func(ctx context.Context, s *region.Saga) (mfpgate.Move, error) {
		return s.ConfirmLost(ctx, gatewayName, id, actor)
	})
}

func (c *siteCloud) Probed(ctx context.Context, id mfpgate.MoveID, probes []mfpgate.NameProbe, seen mfpgate.Seen) error {
	if c.w.c.Unprobed {
		return nil
	}
	return c.tells(ctx, id, "probed", func(ctx context.Context, s *region.Saga) error { return s.Probed(ctx, gatewayName, id, probes, seen) })
}

func (c *siteCloud) Switched(ctx context.Context, id mfpgate.MoveID, epoch uint64, seen mfpgate.Seen) error {
	c.w.promise.switched(c.w.promise.target(id), epoch, c.w.clock.Now())
	return c.tells(ctx, id, "switched", func(ctx context.Context, s *region.Saga) error { return s.Switched(ctx, gatewayName, id, epoch, seen) })
}

func (c *siteCloud) CheckedIn(ctx context.Context, id mfpgate.MoveID, epoch uint64, at time.Time, seen mfpgate.Seen) error {
	return c.tells(ctx, id, "checked-in", func(ctx context.Context, s *region.Saga) error {
		return s.CheckedIn(ctx, gatewayName, id, epoch, at, seen)
	})
}

func (c *siteCloud) Hosts(ctx context.Context) ([]mfpgate.RegionHosts, error) {
	return asks(ctx, c, targetName, "hosts", func(context.Context, *region.Saga) ([]mfpgate.RegionHosts, error) {
		return slices.Clone(regionHosts), nil
	})
}

// Residences are not what the world is about: it asks for its moves itself.
func (c *siteCloud) Residences(context.Context) ([]mfpgate.Residence, error) { return nil, nil }

// Enrol knows no device.
func (c *siteCloud) Enrol(context.Context, mfpgate.DeviceID, string) (mfpgate.Residence, error) {
	return mfpgate.Residence{}, route.ErrUnknownHere
}

// page is one of a region's moves.
type page struct {
	from  string
	moves []mfpgate.Move
	next  string
	err   error
}

// Changes reads the feed of each region at once. Its cursor is theirs.
func (c *siteCloud) Changes(ctx context.Context, cursor string) ([]mfpgate.Move, string, error) {
	at := map[string]string{}
	if cursor != "" {
		if err := json.Unmarshal([]byte(cursor), &at); err != nil {
			return nil, "", err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	targets := c.w.targets()
	pages := make(chan page, len(targets))
	for _, name := range targets {
		c.w.net.tasks.Go(func() { pages <- c.changes(ctx, name, at[name]) })
	}
	var got page
	for range targets {
		if got = <-pages; got.err == nil && len(got.moves) > 0 {
			break
		}
	}
	if got.err != nil {
		return nil, "", got.err
	}
	at[got.from] = got.next
	for i, m := range got.moves {
		got.moves[i] = c.told(m)
	}
	next, err := json.Marshal(at)
	return got.moves, string(next), err
}

func (c *siteCloud) changes(ctx context.Context, name, cursor string) page {
	got, err := asks(ctx, c, name, "changes", func(ctx context.Context, s *region.Saga) (page, error) {
		wait, cancel := context.WithTimeout(ctx, holdTime)
		defer cancel()
		if err := s.Await(wait, gatewayName, cursor); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return page{}, err
		}
		moves, next, err := s.Changes(ctx, gatewayName, cursor, 0)
		return page{moves: moves, next: next}, err
	})
	got.from, got.err = name, err
	return got
}
