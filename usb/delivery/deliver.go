package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// errWindow ends what waits when an order may not begin any more.
var errWindow = errors.New("the window has ended")

// deliver takes an order from where it stands as far as it goes now.
func (d *Deliveries) deliver(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	id, err := deviceOf(in)
	if err != nil {
		return nil, err
	}
	r, err := d.record(ctx, id)
	switch now := d.Clock.Now(); {
	case err != nil:
		return nil, err
	case r == nil || r.Phase == ended:
		return nil, nil
	case r.Phase == sending:
		return d.failed(r, Interrupted, true, "The gateway ended while it sent the package, so nobody knows how much of it the printer has. Look at the printer, and at its version, before it is planned again."), nil
	case now.Before(r.Order.Start):
		return nil, journal.Again(r.Order.Start.Sub(now))
	case !now.Before(r.end()):
		return d.missed(r, in.LastErr), nil
	}
	waiting, stop := d.until(ctx, r)
	defer stop()
	settle, err := d.bring(ctx, waiting, r)
	switch {
	case errors.Is(err, errOvertaken):
		return nil, nil
	case err != nil && ctx.Err() == nil && errors.Is(context.Cause(waiting), errWindow):
		return d.missed(r, err.Error()), nil
	case err != nil:
		return nil, err
	}
	d.clear(id)
	return settle, nil
}

// until is ctx up to the end of the window, for all that comes before the first byte goes to the printer.
func (d *Deliveries) until(ctx context.Context, r *record) (context.Context, func()) {
	waiting, cancel := context.WithCancelCause(ctx)
	stop := d.Clock.AfterFunc(r.end().Sub(d.Clock.Now()), func() { cancel(errWindow) })
	return waiting, func() { stop(); cancel(nil) }
}

// bring goes through the phases. Its error has it called again.
func (d *Deliveries) bring(ctx, waiting context.Context, r *record) (func(store.Tx) error, error) {
	v, known := d.device(r.Device)
	if !known {
		v.ID = r.Device
	}
	if driven(v) && !d.Takes(v) {
		return d.over(r, unfit(v)), nil
	}
	if r.Phase == fetched && !driven(v) {
		return nil, d.away(r)
	}
	work, err := d.Slot(waiting, v)
	if err != nil {
		return nil, d.wait(r, RelayRefused, err)
	}
	defer work.Close()
	if r.Phase != fetched { // what only goes to the printer takes the slot with its first byte: other jobs may be before it
		if err := work.SetUp(waiting); err != nil {
			return nil, d.wait(r, RelayRefused, err)
		}
	}
	if r.Phase == planned {
		call, cancel := context.WithTimeout(waiting, callLimit)
		err := d.Cloud.Delivered(call, r.Device, mfpgate.DeliveryReport{Delivery: r.Order.Delivery, Package: r.Order.Package.ID, State: mfpgate.DeliveryRunning},
			r.key(string(mfpgate.DeliveryRunning)))
		cancel()
		if errors.Is(err, mfpgate.ErrRefused) { // the plan is another one since; the next check-in says which
			return d.dropped(r), nil
		}
		if err != nil {
			return nil, d.wait(r, FetchFailed, err)
		}
		if err := d.advance(ctx, r, func(r *record) { r.Phase = begun }); err != nil {
			return nil, err
		}
		d.Log.Info().Str(field.Device, string(r.Device)).Str(field.Delivery, r.Order.Delivery).Msg(event.DeliveryBegun)
	}
	if r.Phase == begun {
		if no, err := d.fetch(waiting, work, r); no != nil || err != nil {
			return d.not(r, no, err)
		}
		if err := d.advance(ctx, r, func(r *record) { r.Phase = fetched }); err != nil {
			return nil, err
		}
		d.Log.Info().Str(field.Device, string(r.Device)).Str(field.Delivery, r.Order.Delivery).Int64(field.BytesDown, r.Order.Package.Size).Msg(event.DeliveryFetched)
	} else if err := verify(waiting, d.file(r), r.Order.Package); err != nil { // it has lain there since
		_ = os.Remove(d.file(r))
		if err := d.advance(ctx, r, func(r *record) { r.Phase = begun }); err != nil {
			return nil, err
		}
		return nil, d.wait(r, FetchFailed, err)
	}
	if v, known = d.device(r.Device); !known || !driven(v) {
		return nil, d.away(r)
	}
	if !d.Takes(v) {
		return d.over(r, unfit(v)), nil
	}
	return d.send(ctx, waiting, work, r, v)
}

// refusal is a failure that another try does not mend.
type refusal struct {
	reason mfpgate.Reason
	detail string
}

// not ends the delivery, or has the call made again.
func (d *Deliveries) not(r *record, no *refusal, err error) (func(store.Tx) error, error) {
	if no == nil {
		return nil, err
	}
	_ = os.Remove(d.file(r))
	return d.failed(r, no.reason, false, no.detail), nil
}

// wait notes why an order does not go on, and has the call made again.
func (d *Deliveries) wait(r *record, reason mfpgate.Reason, err error) error {
	if no, ok := errors.AsType[mfpgate.Refused](err); ok && reason == FetchFailed { // by the relay, through which all is fetched
		reason = RelayRefused
		err = fmt.Errorf("%s: %w", no.Why(), err)
	}
	d.mu.Lock()
	d.obstacles[r.Device] = obstacle{reason, err.Error()}
	d.mu.Unlock()
	if wait := min(mfpgate.RetryDelay(err), r.end().Sub(d.Clock.Now())); wait > 0 {
		return journal.RetryAfter(err, wait)
	}
	return err
}

// away waits for the printer. look hastens it.
func (d *Deliveries) away(r *record) error {
	d.mu.Lock()
	d.obstacles[r.Device] = obstacle{PrinterAway, "The package is on the gateway, and the printer was not on its USB, or nobody drove it."}
	d.mu.Unlock()
	return journal.Again(min(d.Look, max(r.end().Sub(d.Clock.Now()), 0)))
}

func (d *Deliveries) clear(device mfpgate.DeviceID) {
	d.mu.Lock()
	delete(d.obstacles, device)
	d.mu.Unlock()
}

// missed ends an order whose window is over, for the last reason that is known.
func (d *Deliveries) missed(r *record, last string) func(store.Tx) error {
	d.mu.Lock()
	why, known := d.obstacles[r.Device]
	delete(d.obstacles, r.Device)
	d.mu.Unlock()
	if !known {
		why = obstacle{MissedWindow, last}
	}
	_ = os.Remove(d.file(r))
	return d.failed(r, why.reason, false, "The window ended before a byte went to the printer. "+why.detail)
}

// failed is the end of a delivery that did not go well.
func (d *Deliveries) failed(r *record, reason mfpgate.Reason, final bool, detail string) func(store.Tx) error {
	d.Log.Warn().Str(field.Device, string(r.Device)).Str(field.Delivery, r.Order.Delivery).Str(field.Outcome, string(mfpgate.DeliveryFailed)).
		Str(field.Reason, string(reason)).Str(field.Text, detail).Msg(event.DeliveryEnded)
	return d.over(r, mfpgate.DeliveryReport{State: mfpgate.DeliveryFailed, Reason: reason, Final: final, Detail: detail})
}

// dropped forgets an order without a word, and asks soon what is planned now.
func (d *Deliveries) dropped(r *record) func(store.Tx) error {
	return func(tx store.Tx) error {
		now, err := find(tx, r.Device)
		if err != nil || now == nil || !now.same(r.Order) {
			return err
		}
		return errors.Join(tx.Delete(orderPrefix+string(r.Device)), d.soon(tx, r.Device, time.Minute))
	}
}
