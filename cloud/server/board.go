package server

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// maxBoards is how many gateways' boards are kept in memory; beyond it the one that was looked at the longest ago goes.
const maxBoards = 64

// board is the deliveries that pass a gateway's relay, in memory: a plan is made of all of them, and reading a hundred thousand records for
// each save would take seconds. It follows the gateway's log.
type board struct {
	mu    sync.Mutex
	epoch string
	seq   uint64
	vias  map[string]string // the tree as it was when the board was filled
	each  map[string]posting
	used  time.Time
}

// posting is a delivery on a board.
type posting struct {
	owner  string
	record deliveryRecord
	root   mfpgate.Delivery
}

func post(owner, via string, r deliveryRecord) posting {
	return posting{owner, r, r.wire(via).Root()}
}

type boards struct {
	mu   sync.Mutex
	each map[string]*board
}

func (b *boards) of(gateway string, now time.Time) *board {
	b.mu.Lock()
	defer b.mu.Unlock()
	one, ok := b.each[gateway]
	if !ok {
		one = &board{}
		b.each[gateway] = one
		if len(b.each) > maxBoards {
			oldest := ""
			for id, other := range b.each {
				if id != gateway && (oldest == "" || other.used.Before(b.each[oldest].used)) {
					oldest = id
				}
			}
			delete(b.each, oldest)
		}
	}
	one.used = now
	return one
}

// situation is what a plan of a gateway is made of, at one instant.
type situation struct {
	snapshot mfpgate.ScheduleSnapshot
	contract api.Contract
	postings map[string]posting // those whose devices are served
	vias     map[string]string
}

// situation reads a gateway's schedule. finished ones are left out, unless they are asked for.
func (s *Server) situation(ctx context.Context, gateway string, finished bool) (situation, error) {
	var out situation
	c, tag, err := s.contract(gateway)
	if err != nil {
		return out, err
	}
	vias, err := s.vias(gateway)
	if err != nil {
		return out, internal(err)
	}
	now := s.Clock.Now().UTC()
	out.contract, out.vias = c, vias
	root := c.Root(api.Unquote(tag))
	root.NotifyMinExcess = 1 // small overloads are overloads, though nobody is told of them
	out.snapshot = mfpgate.ScheduleSnapshot{Now: now, Contract: root}
	b := s.boards.of(gateway, now)
	b.mu.Lock()
	defer b.mu.Unlock()
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		out.postings = map[string]posting{}
		if err := s.follow(at, gateway, b, vias); err != nil {
			return err
		}
		served, devices := map[[2]string]bool{}, map[mfpgate.DeviceID]mfpgate.ScheduledDevice{}
		for owner := range vias {
			for r, err := range store.All(at, devicePrefix(owner)) {
				if err != nil {
					return err
				}
				d, err := decodeRecord[deviceRecord](r)
				if err != nil {
					return err
				}
				one := scheduled(d.Device)
				served[[2]string{owner, d.Device.DeviceID}] = one.Served()
				if _, known := devices[one.ID]; !known || one.Served() { // several gateways may tell of one id, and one of them serves it
					devices[one.ID] = one
				}
			}
		}
		out.snapshot.Devices = slices.SortedFunc(maps.Values(devices), func(a, b mfpgate.ScheduledDevice) int { return cmp.Compare(a.ID, b.ID) })
		for id, p := range b.each {
			if served[[2]string{p.owner, p.record.Delivery.DeviceID}] && (finished || !p.record.ended()) {
				out.postings[id] = p
			}
		}
		background, err := s.background(at, gateway)
		if err != nil {
			return err
		}
		for _, w := range background {
			out.snapshot.Background = append(out.snapshot.Background, w.Root())
		}
		if err := out.site(at, gateway); err != nil {
			return err
		}
		h, err := s.head(at, gateway)
		out.snapshot.DeltaToken = deltaToken(h)
		return err
	})
	if err != nil {
		return out, refusalOr500(err)
	}
	if out.snapshot.Devices == nil {
		out.snapshot.Devices = []mfpgate.ScheduledDevice{}
	}
	for _, p := range out.postings {
		out.snapshot.Deliveries = append(out.snapshot.Deliveries, p.root)
	}
	slices.SortFunc(out.snapshot.Deliveries, func(a, b mfpgate.Delivery) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// scheduled is what a plan needs of a device as its gateway told it.
func scheduled(d api.Device) mfpgate.ScheduledDevice {
	return mfpgate.ScheduledDevice{ID: mfpgate.DeviceID(d.DeviceID), Model: d.Model, MonitoringMode: mfpgate.MonitoringMode(d.MonitoringMode),
		Attachment: mfpgate.Attachment(d.Attachment)}
}

// follow brings a board to the snapshot's instant: by the log, or anew if the log does not reach back or the tree has grown.
func (s *Server) follow(at store.Snapshot, gateway string, b *board, vias map[string]string) error {
	h, err := s.head(at, gateway)
	if err != nil {
		return err
	}
	grown := len(vias) != len(b.vias) // gateways are added, and never taken away
	if b.each == nil || b.epoch != h.Epoch || !h.reaches(b.seq) || grown {
		return b.fill(at, h, vias)
	}
	for b.seq < h.Seq {
		found, last, err := entries(at, gateway, b.seq, store.MaxScan)
		if err != nil {
			return err
		}
		for _, e := range found {
			for _, id := range e.Deliveries {
				r, there, err := store.FindJSON[deliveryRecord](at, deliveryKey(e.Owner, id))
				if err != nil {
					return err
				}
				if there {
					b.each[id] = post(e.Owner, vias[e.Owner], r)
				} else {
					delete(b.each, id)
				}
			}
		}
		if len(found) == 0 {
			break
		}
		b.seq = last
	}
	return nil
}

func (b *board) fill(at store.Snapshot, h scheduleHead, vias map[string]string) error {
	b.each = nil // a filling that fails is begun anew
	each := map[string]posting{}
	for owner, via := range vias {
		for r, err := range store.All(at, deliveryPrefix(owner)) {
			if err != nil {
				return err
			}
			d, err := decodeRecord[deliveryRecord](r)
			if err != nil {
				return err
			}
			each[d.Delivery.DeliveryID] = post(owner, via, d)
		}
	}
	b.epoch, b.seq, b.vias, b.each = h.Epoch, h.Seq, vias, each
	return nil
}
