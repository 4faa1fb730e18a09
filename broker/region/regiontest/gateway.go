package regiontest

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// gateway follows the moves of every region, and leads the device's connections.
type gateway struct {
	w       *world
	l       *life
	journal *journal.Journal

	mu    sync.Mutex
	route leading
}

// leading is where a device is led. The zero value is: where it wants.
type leading struct {
	Region string                  `json:"region"`
	Epoch  uint64                  `json:"epoch"`
	Unsaid map[string]acknowledged `json:"unsaid"` // by region of the saga: the switch that it has not heard of
}

type acknowledged struct {
	Move  mfpgate.MoveID `json:"moveId"`
	Epoch uint64         `json:"epoch"`
	Seen  mfpgate.Seen   `json:"seen"`
}

const routeKey = "route"

func (w *world) startGateway(l *life) error {
	g := &gateway{w: w, l: l}
	var err error
	g.journal, err = journal.New(l.store, journal.Options{Clock: l.clock, Rand: rand.New(rand.NewPCG(w.c.Seed, 7)), Gateway: gatewayName, Room: "route"})
	if err != nil {
		return err
	}
	err = l.store.View(l.ctx, func(s store.Snapshot) error {
		g.route, _, err = store.FindJSON[leading](s, routeKey)
		return err
	})
	if err != nil {
		return err
	}
	l.gate = g
	for _, name := range regionNames {
		l.run = append(l.run, func(ctx context.Context) error { return g.follow(ctx, name) }, func(ctx context.Context) error { return g.acknowledge(ctx, name) })
	}
	return nil
}

// leads returns where the device is led, and in which epoch; "" is where it wants.
func (g *gateway) leads() (string, uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.route.Region, g.route.Epoch
}

type page struct {
	moves []mfpgate.Move
	next  string
}

// follow reads a region's feed, from its beginning in each life.
func (g *gateway) follow(ctx context.Context, name string) error {
	for place := ""; ctx.Err() == nil; {
		cursor := place // the call may outlive this turn
		limit, cancel := context.WithTimeout(ctx, 40*time.Second)
		got, err := call(limit, g.w, gatewayName, g.w.regions[name], "changes", func(ctx context.Context, l *life) (page, error) {
			wait, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			if err := l.region.saga.Await(wait, gatewayName, cursor); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return page{}, err
			}
			moves, next, err := l.region.saga.Changes(ctx, gatewayName, cursor, 0)
			return page{moves, next}, err
		})
		cancel()
		if err == nil {
			for _, m := range got.moves {
				if err = g.take(ctx, name, m); err != nil {
					break
				}
			}
		}
		if err != nil {
			if mfpgate.Wait(ctx, g.l.clock, 3*time.Second) != nil {
				return nil
			}
			continue
		}
		place = got.next
	}
	return nil
}

func (g *gateway) take(ctx context.Context, name string, m mfpgate.Move) error {
	if alter := g.w.c.Break.Told; alter != nil {
		m = alter(m)
	}
	if m.State == mfpgate.MoveOpen && m.Step == mfpgate.StepVerify && len(m.Probes) == 0 {
		_, _ = call(ctx, g.w, gatewayName, g.w.regions[name], "probes", func(ctx context.Context, l *life) (any, error) {
			return nil, l.region.saga.Probed(ctx, gatewayName, m.ID, []mfpgate.NameProbe{{Name: "us.example", Host: "jp.example:443", Validated: true}}, m.Seen)
		}) // it is not waited for longer than a minute
	}
	if !m.State.Committed() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	route := g.route
	err := store.UpdateUntilKnown(ctx, g.l.store, func(tx store.Tx) error {
		var err error
		if route, _, err = store.FindJSON[leading](tx, routeKey); err != nil || route.Epoch >= m.Epoch {
			return err
		}
		n, err := g.journal.NextAudit(tx)
		if err != nil {
			return err
		}
		after, err := json.Marshal(mfpgate.MoveTrace{Move: m.ID, MFP: m.MFP, Region: m.To, Epoch: m.Epoch, Seq: mfpgate.StepSwitch.Seq(), State: "routed", Seen: m.Seen})
		if err != nil {
			return err
		}
		if err := g.journal.Audit(tx, journal.Entry{Actor: name, Action: "move.switched", Object: string(m.ID), After: after}); err != nil {
			return err
		}
		route.Region, route.Epoch = m.To, m.Epoch
		if route.Unsaid == nil {
			route.Unsaid = map[string]acknowledged{}
		}
		route.Unsaid[name] = acknowledged{m.ID, m.Epoch, m.Seen.Merge(mfpgate.Seen{gatewayName + "/route": n})}
		return store.SetJSON(tx, routeKey, route)
	})
	if err == nil {
		g.route = route
	}
	return err
}

// acknowledge tells a region of the switch until it has heard.
func (g *gateway) acknowledge(ctx context.Context, name string) error {
	for mfpgate.Wait(ctx, g.l.clock, 2*time.Second) == nil {
		g.mu.Lock()
		a, unsaid := g.route.Unsaid[name]
		g.mu.Unlock()
		if !unsaid {
			continue
		}
		_, err := call(ctx, g.w, gatewayName, g.w.regions[name], "switched", func(ctx context.Context, l *life) (any, error) {
			return nil, l.region.saga.Switched(ctx, gatewayName, a.Move, a.Epoch, a.Seen)
		})
		if err != nil {
			continue
		}
		g.mu.Lock()
		route := g.route
		err = store.UpdateUntilKnown(ctx, g.l.store, func(tx store.Tx) error {
			var err error
			if route, _, err = store.FindJSON[leading](tx, routeKey); err != nil {
				return err
			}
			if route.Unsaid[name].Move == a.Move {
				delete(route.Unsaid, name)
			}
			return store.SetJSON(tx, routeKey, route)
		})
		if err == nil {
			g.route = route
		}
		g.mu.Unlock()
	}
	return nil
}
