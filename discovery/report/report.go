package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// Queue is where rows wait to be sent: a queue of the journal.
type Queue interface {
	Append(tx store.Tx, rows ...json.RawMessage) error
}

// Options are what a reporter needs.
type Options struct {
	Clock     mfpgate.Clock
	Store     store.Store // the view that the queues belong to
	Telemetry Queue       // of Row
	Alerts    Queue       // of mfpgate.Alert
	Heartbeat func() time.Duration
	Failed    func(error) // the store took nothing; it is tried again with the next answer. May be nil
}

// Row is what waits in the queue of telemetry.
type Row struct {
	Device  mfpgate.DeviceID `json:"deviceId"`
	Reading mfpgate.Reading  `json:"reading"`
}

// Reporter compares and writes. Run must run.
type Reporter struct {
	Options

	mu      sync.Mutex
	waiting []answer
	wake    chan struct{}                  // capacity 1
	room    chan struct{}                  // holds one for each answer that waits
	last    map[mfpgate.DeviceID]*reported // what the store has, as far as it was read; Run's alone
}

// answer is what a poll of one device brought.
type answer struct {
	device  mfpgate.Device
	reading mfpgate.Reading
}

// reported is the record of what the cloud was told of a device, under "reported/" and its id.
type reported struct {
	Schema  int                              `json:"schema"`
	At      time.Time                        `json:"at"` // of the last report
	Reading mfpgate.Reading                  `json:"reading"`
	Open    map[string]mfpgate.AlertSeverity `json:"open,omitempty"`
	Recent  []mfpgate.Alert                  `json:"recent,omitempty"` // the newest first
}

// recent is how many alerts of a device are kept to be shown.
const recent = 16

const (
	prefix = "reported/"
	schema = 1
	// maxWaiting bounds the answers that have not been compared yet; more make the poller wait.
	maxWaiting = 1024
	// perUpdate keeps a transaction below the store's bounds: a record and its rows for each device, of up to 20 KiB each
	// unless the device says more than any does.
	perUpdate = 6
)

// New builds a reporter.
func New(o Options) *Reporter {
	if o.Failed == nil {
		o.Failed = func(error) {}
	}
	return &Reporter{Options: o, wake: make(chan struct{}, 1), room: make(chan struct{}, maxWaiting), last: map[mfpgate.DeviceID]*reported{}}
}

// Took takes what a device answered; the reading is empty if it did not. It waits while too much is not compared yet.
func (r *Reporter) Took(ctx context.Context, device mfpgate.Device, reading mfpgate.Reading) {
	select {
	case r.room <- struct{}{}:
	case <-ctx.Done():
		return
	}
	r.mu.Lock()
	r.waiting = append(r.waiting, answer{device, reading})
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run compares and writes until ctx ends, and what waits then.
func (r *Reporter) Run(ctx context.Context) error {
	for {
		// A stop must not cut a transaction: what it held would be lost.
		r.drain(context.WithoutCancel(ctx))
		select {
		case <-ctx.Done():
			r.drain(context.WithoutCancel(ctx))
			return nil
		case <-r.wake:
		}
	}
}

func (r *Reporter) drain(ctx context.Context) {
	for {
		r.mu.Lock()
		n := min(len(r.waiting), perUpdate)
		batch := r.waiting[:n:n]
		r.waiting = r.waiting[n:]
		r.mu.Unlock()
		if n == 0 {
			return
		}
		err := r.write(ctx, batch)
		if errors.Is(err, store.ErrTooLarge) && n > 1 { // one device that says too much must not silence the others
			err = nil
			for i := range batch {
				err = errors.Join(err, r.write(ctx, batch[i:i+1]))
			}
		}
		if err != nil {
			r.Failed(err)
		}
		for range n {
			<-r.room
		}
	}
}

// write compares answers with what was reported and stores the differences.
func (r *Reporter) write(ctx context.Context, batch []answer) error {
	next := map[mfpgate.DeviceID]*reported{}
	var ended []mfpgate.DeviceID
	var rows, alerts []json.RawMessage
	for _, a := range batch {
		before := next[a.device.ID]
		if before == nil {
			var err error
			if before, err = r.reported(ctx, a.device.ID); err != nil {
				return err
			}
		}
		if a.device.MonitoringMode != mfpgate.MonitoringPolling {
			if before != nil { // it reports for itself from now on
				ended = append(ended, a.device.ID)
				for _, v := range r.closing(before, a) {
					alerts = append(alerts, text(v))
				}
			}
			continue
		}
		d := r.compare(before, a)
		if !d.any {
			continue
		}
		next[a.device.ID] = d.after
		for _, v := range d.alerts {
			alerts = append(alerts, text(v))
		}
		if d.reading != nil {
			rows = append(rows, text(Row{a.device.ID, *d.reading}))
		}
	}
	if len(next)+len(ended) == 0 {
		return nil
	}
	err := r.Store.Update(ctx, func(tx store.Tx) error {
		var errs []error
		for id, record := range next {
			errs = append(errs, store.SetJSON(tx, prefix+string(id), record))
		}
		for _, id := range ended {
			errs = append(errs, tx.Delete(prefix+string(id)))
		}
		if len(rows) > 0 {
			errs = append(errs, r.Telemetry.Append(tx, rows...))
		}
		if len(alerts) > 0 {
			errs = append(errs, r.Alerts.Append(tx, alerts...))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		for id := range next {
			delete(r.last, id) // an unknown outcome is read again
		}
		return fmt.Errorf("report: %w", err)
	}
	for id, record := range next {
		r.last[id] = record
	}
	for _, id := range ended {
		delete(r.last, id)
	}
	return nil
}

// reported is the record of a device, nil if it was never reported.
func (r *Reporter) reported(ctx context.Context, id mfpgate.DeviceID) (*reported, error) {
	if record, known := r.last[id]; known {
		return record, nil
	}
	var record reported
	err := r.Store.View(ctx, func(s store.Snapshot) error { return store.GetJSON(s, prefix+string(id), &record) })
	switch {
	case errors.Is(err, store.ErrNotFound):
		r.last[id] = nil // a device in mode proxy answers every minute, and never has one
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("report: %w", err)
	}
	r.last[id] = &record
	return &record, nil
}

// Recent returns the latest alerts of a device, the newest first, whether or not the cloud has taken them.
func (r *Reporter) Recent(ctx context.Context, id mfpgate.DeviceID) ([]mfpgate.Alert, error) {
	var record reported
	err := r.Store.View(ctx, func(s store.Snapshot) error { return store.GetJSON(s, prefix+string(id), &record) })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("alerts of %s: %w", id, err)
	}
	return record.Recent, nil
}

// Forget drops what was reported of a device that is gone.
func (r *Reporter) Forget(ctx context.Context, id mfpgate.DeviceID) error {
	return r.Store.Update(ctx, func(tx store.Tx) error { return tx.Delete(prefix + string(id)) })
}

// text is the JSON of a value of ours, which always has one.
func text(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic("report: " + err.Error())
	}
	return data
}
