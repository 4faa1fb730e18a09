package regiontest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// regionParts are the roles of one region in one life.
type regionParts struct {
	book     *holding.Book
	services region.Services // the book, or what a test has put before it
	receive  func(context.Context, mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error)
	saga     *region.Saga
	manager  *manager
}

// Views of a region's disk.
const (
	servicesView   = "services/"
	managementView = "management/"
)

// startRegion makes a region's process.
func (w *world) startRegion(l *life) error {
	name := l.p.name
	parts := &regionParts{}
	view := store.Prefix(l.store, servicesView)
	o := holding.Options{
		Clock: l.clock, Store: view, Region: name,
		Send: func(ctx context.Context, to string, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
			p := w.regions[to]
			if p == nil {
				return mfpgate.MoveAnswer{}, errUnreached
			}
			return call(ctx, w, name, p, "transfers "+string(t.Order.Step), func(ctx context.Context, l *life) (mfpgate.MoveAnswer, error) { return l.region.receive(ctx, t) })
		},
		Offers: func() ([]mfpgate.ServiceOffer, error) { return Offers[name], nil },
		Sign:   func(r mfpgate.DeletionReceipt) (string, error) { return "signed by " + name, nil },
	}
	if w.c.Break.Credulous {
		o.Offers = nil
	}
	var err error
	if parts.book, err = holding.New(o); err != nil {
		return err
	}
	parts.services, parts.receive = parts.book, parts.book.Receive
	if w.wrap != nil {
		parts.services, parts.receive = w.wrap(name, view, parts.book)
	}
	view = store.Prefix(l.store, managementView)
	parts.saga, err = region.New(l.ctx, region.Options{
		Clock: l.clock, Rand: rand.New(rand.NewPCG(w.c.Seed, uint64(len(name)))), Store: view, Region: name, Regions: peers{w, name},
		Devices: devices{w, name}, Adopt: w.adopt, Limits: w.c.Limits,
	})
	if err != nil {
		return err
	}
	if w.c.Break.Saga != nil {
		w.c.Break.Saga(parts.saga)
	}
	parts.manager = &manager{region: name, store: view, journal: parts.saga.Journal(), book: parts.book}
	l.region, l.run = parts, append(l.run, parts.saga.Run)
	return nil
}

// busy is an Adopt that fails for so long from the first time on.
func busy(d time.Duration) func(store.Tx, mfpgate.Move, json.RawMessage) error {
	var mu sync.Mutex
	var until time.Time
	return func(store.Tx, mfpgate.Move, json.RawMessage) error {
		mu.Lock()
		defer mu.Unlock()
		now := mfpgate.SystemClock{}.Now() // of the bubble
		if until.IsZero() {
			until = now.Add(d)
		}
		if now.Before(until) {
			return errors.New("the disk is busy")
		}
		return nil
	}
}

// peers are the regions as one of them sees them: each through the network, also its own services.
type peers struct {
	w    *world
	from string
}

func (p peers) Names() []string {
	names := []string{p.from}
	for _, name := range regionNames {
		if name != p.from {
			names = append(names, name)
		}
	}
	return names
}

func (p peers) Services(name string) (region.Services, bool) {
	to := p.w.regions[name]
	return remoteServices{p.w, p.from, to}, to != nil
}

func (p peers) Management(name string) (region.Management, bool) {
	to := p.w.regions[name]
	return remoteManagement{p.w, p.from, to}, to != nil
}

type remoteServices struct {
	w    *world
	from string
	to   *process
}

func (r remoteServices) Offers(ctx context.Context, country string) ([]mfpgate.ServiceOffer, error) {
	return call(ctx, r.w, r.from, r.to, "offers", func(ctx context.Context, l *life) ([]mfpgate.ServiceOffer, error) {
		if country != l.p.name {
			return nil, nil
		}
		return Offers[country], nil
	})
}

func (r remoteServices) Holding(ctx context.Context, mfp string) (mfpgate.Holding, error) {
	return call(ctx, r.w, r.from, r.to, "holding", func(ctx context.Context, l *life) (mfpgate.Holding, error) {
		return l.region.services.Holding(ctx, mfp)
	})
}

func (r remoteServices) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	return call(ctx, r.w, r.from, r.to, "orders "+string(o.Step), func(ctx context.Context, l *life) (mfpgate.MoveAnswer, error) { return l.region.services.Order(ctx, o) })
}

type remoteManagement remoteServices

func (r remoteManagement) Find(ctx context.Context, model, serial string) (mfpgate.Registrant, error) {
	return call(ctx, r.w, r.from, r.to, "find", func(ctx context.Context, l *life) (mfpgate.Registrant, error) {
		return l.region.manager.find(ctx, model, serial)
	})
}

func (r remoteManagement) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	return call(ctx, r.w, r.from, r.to, "notices "+string(o.Step), func(ctx context.Context, l *life) (mfpgate.MoveAnswer, error) { return l.region.manager.order(ctx, o) })
}

// devices names the one device of the world.
type devices struct {
	w    *world
	name string
}

func (d devices) Device(_ context.Context, gateway string, id mfpgate.DeviceID) (mfpgate.Device, bool, error) {
	return mfpgate.Device{ID: id, Model: deviceModel, Serial: deviceSerial, Market: "us"}, gateway == gatewayName && id == deviceID, nil
}

func (d devices) Mint(epoch uint64) (string, error) {
	return fmt.Sprintf("r1.%s.%d.%d", d.name, epoch, d.w.minted.Add(1)), nil
}

// manager is a region's management server, but for the saga: what another region's saga orders of it, and what the device asks it for.
type manager struct {
	region  string
	store   store.Store // the saga's view
	journal *journal.Journal
	book    *holding.Book
}

// notice is what a management server knows of a device that has moved away.
type notice struct {
	mfpgate.Directive
	AckedAt time.Time    `json:"ackedAt,omitzero"`
	Seen    mfpgate.Seen `json:"seen"`
}

const noticeKey = "notice/" + deviceMFP

func (m *manager) find(ctx context.Context, model, serial string) (mfpgate.Registrant, error) {
	if model != deviceModel || serial != deviceSerial {
		return mfpgate.Registrant{}, region.ErrNoHolding
	}
	h, err := m.book.Holding(ctx, deviceMFP)
	if err != nil {
		return mfpgate.Registrant{}, err
	}
	return mfpgate.Registrant{MFP: h.MFP, Model: model, Serial: serial, Registration: h.Registration, Region: m.region, Epoch: h.Epoch, State: h.State,
		Since: h.Since, Services: h.Services, Data: h.Data}, nil
}

func (m *manager) order(ctx context.Context, o mfpgate.MoveOrder) (a mfpgate.MoveAnswer, err error) {
	switch o.Step {
	case mfpgate.StepCopy, mfpgate.StepDelta:
		a.Management = json.RawMessage(`{"location":"Osaka 3F"}`)
	case mfpgate.StepNotify, mfpgate.StepRedirect, mfpgate.StepDelete:
		err = store.UpdateUntilKnown(ctx, m.store, func(tx store.Tx) error {
			n, _, err := store.FindJSON[notice](tx, noticeKey)
			if err != nil {
				return err
			}
			if n.Epoch < o.Epoch && o.Step == mfpgate.StepNotify {
				n = notice{Directive: mfpgate.Directive{MFP: o.MFP, Move: o.Move, Epoch: o.Epoch, Region: o.To}, Seen: o.Seen}
				if n.Seen, err = m.trace(tx, n, o.Step, "move.notified"); err != nil {
					return err
				}
			}
			if n.Move == o.Move {
				a.AckedAt, a.Seen = n.AckedAt, n.Seen
			}
			return store.SetJSON(tx, noticeKey, n)
		})
	default:
		err = region.ErrOutOfTurn
	}
	return a, err
}

func (m *manager) trace(tx store.Tx, n notice, step mfpgate.MoveStep, action string) (mfpgate.Seen, error) {
	next, err := m.journal.NextAudit(tx)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(mfpgate.MoveTrace{Move: n.Move, MFP: n.MFP, Region: m.region, Epoch: n.Epoch, Seq: step.Seq(), State: "notified", Seen: n.Seen})
	if err != nil {
		return nil, err
	}
	writer := m.region + "/management"
	return n.Seen.Merge(mfpgate.Seen{writer: next}), m.journal.Audit(tx, journal.Entry{Actor: m.region, Action: action, Object: n.MFP, After: after})
}

// directive is what the device gets here; false if it is to stay.
func (m *manager) directive(ctx context.Context) (d mfpgate.Directive, there bool, err error) {
	err = m.store.View(ctx, func(s store.Snapshot) error {
		n, found, err := store.FindJSON[notice](s, noticeKey)
		d, there = n.Directive, found && n.Move != ""
		return err
	})
	return d, there, err
}

func (m *manager) ack(ctx context.Context, d mfpgate.Directive, at time.Time) error {
	return store.UpdateUntilKnown(ctx, m.store, func(tx store.Tx) error {
		n, _, err := store.FindJSON[notice](tx, noticeKey)
		if err != nil || n.Move != d.Move || !n.AckedAt.IsZero() {
			return err
		}
		n.AckedAt = at
		if n.Seen, err = m.trace(tx, n, mfpgate.StepRedirect, "device.redirected"); err != nil {
			return err
		}
		return store.SetJSON(tx, noticeKey, n)
	})
}

// counter is a number that several goroutines raise.
type counter struct{ atomic.Int64 }

var errNoMoves = errors.New("no move was ever begun")
