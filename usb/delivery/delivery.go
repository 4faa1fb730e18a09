package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// Deliveries brings software to the printers on USB. See New.
type Deliveries struct {
	Options
	journal *journal.Journal
	life    string // names this process in what it sends
	woken   chan struct{}

	mu        sync.Mutex
	jitter    *rand.Rand
	there     map[mfpgate.DeviceID]bool     // as look saw them
	obstacles map[mfpgate.DeviceID]obstacle // why an order has not gone on
}

// obstacle is why an order waits, and fails if its window ends.
type obstacle struct {
	reason mfpgate.Reason
	detail string
}

// New makes the folder for packages. Run does the rest.
func New(o Options) (*Deliveries, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("deliveries on USB: %w", err)
	}
	if o.Free == nil {
		o.Free = free
	}
	if o.Look <= 0 {
		o.Look = defaultLook
	}
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	d := &Deliveries{Options: o, life: mfpgate.NewID(o.Clock, "run"), woken: make(chan struct{}, 1), obstacles: map[mfpgate.DeviceID]obstacle{},
		jitter: rand.New(rand.NewPCG(o.Rand.Uint64(), o.Rand.Uint64()))}
	var err error
	d.journal, err = journal.New(o.Store, journal.Options{Clock: o.Clock, Rand: o.Rand, Parallel: parallel, Timeout: longest, MaxDelay: 5 * time.Minute, Observe: d.observe})
	if err != nil {
		return nil, err
	}
	d.journal.Handle(kindCheckIn, d.checkIn)
	d.journal.Handle(kindDeliver, d.deliver)
	d.journal.Handle(kindReport, d.report)
	return d, nil
}

// Wake has the devices looked at now: one came, left, or was told to the region. It does not wait.
func (d *Deliveries) Wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends, and returns when the jobs that are being sent then have ended.
func (d *Deliveries) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { d.watch(ctx) })
	defer watching.Wait()
	defer cancel()
	return d.journal.Run(ctx)
}

// watch looks at the devices until ctx ends.
func (d *Deliveries) watch(ctx context.Context) {
	for {
		if err := d.look(ctx); err != nil && ctx.Err() == nil {
			d.Log.Warn().Err(err).Msg(event.DeliveryUnstored)
		}
		timer := d.Clock.NewTimer(d.Look)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.woken:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// spokenFor reports whether the gateway asks for a device's deliveries.
func spokenFor(v mfpgate.Device) bool {
	return v.Attachment == mfpgate.AttachmentUSB && v.MonitoringMode == mfpgate.MonitoringPolling
}

// driven reports whether a device is plugged in and driven. Of one that nobody drives, such as one that was plugged in just now, it is
// not known what it takes.
func driven(v mfpgate.Device) bool {
	return v.USB != nil && v.USB.Mode != mfpgate.USBModeUnused && v.State != mfpgate.DeviceOffline
}

func (d *Deliveries) device(id mfpgate.DeviceID) (mfpgate.Device, bool) {
	for _, v := range d.Devices() {
		if v.ID == id {
			return v, true
		}
	}
	return mfpgate.Device{}, false
}

// look has new devices asked for, hastens what waited for one that has come, and removes files of nobody.
func (d *Deliveries) look(ctx context.Context) error {
	there := map[mfpgate.DeviceID]bool{}
	var errs []error
	for _, v := range d.Devices() {
		if !spokenFor(v) {
			continue
		}
		there[v.ID] = driven(v)
		errs = append(errs, d.attend(ctx, v.ID))
	}
	d.mu.Lock()
	was := d.there
	d.there = there
	d.mu.Unlock()
	for id, now := range there {
		if now && !was[id] {
			d.journal.Hasten(intent(kindDeliver, id))
		}
	}
	return errors.Join(append(errs, d.sweep(ctx))...)
}

// attend has a device asked for, unless it is.
func (d *Deliveries) attend(ctx context.Context, device mfpgate.DeviceID) error {
	id := intent(kindCheckIn, device)
	err := d.Store.View(ctx, func(at store.Snapshot) error {
		_, err := d.journal.Get(at, id)
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	first := d.spread(firstPoll)
	return d.Store.Update(ctx, func(tx store.Tx) error {
		if _, err := d.journal.Get(tx, id); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return d.journal.Intend(tx, journal.Intent{ID: id, Kind: kindCheckIn, Payload: payload(device), Delay: first})
	})
}

// sweep removes the files of no order.
func (d *Deliveries) sweep(ctx context.Context) error {
	files, err := os.ReadDir(d.Dir)
	if err != nil || len(files) == 0 {
		return err
	}
	keep := map[string]bool{}
	err = d.Store.View(ctx, func(at store.Snapshot) error {
		for raw, err := range store.All(at, orderPrefix) {
			if err != nil {
				return err
			}
			r, err := find(at, mfpgate.DeviceID(strings.TrimPrefix(raw.Key, orderPrefix)))
			if err != nil {
				return err
			}
			if r != nil && r.Phase != ended {
				keep[d.file(r)] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if path := filepath.Join(d.Dir, f.Name()); strings.HasSuffix(path, suffix) && !keep[path] {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

// spread is a time of up to limit, and not 0.
func (d *Deliveries) spread(limit time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.jitter.Int64N(int64(limit))) + 1
}

func (d *Deliveries) observe(e journal.Event) {
	switch e.What {
	case journal.Retried:
		d.Log.Debug().Str(field.Text, e.ID).Err(e.Err).Msg(event.DeliveryWaiting)
	case journal.Died, journal.Unreadable, journal.Unstored:
		d.Log.Warn().Str(field.Text, e.ID).Err(e.Err).Msg(event.DeliveryUnstored)
	}
}
