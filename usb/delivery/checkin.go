package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// checkIn asks for a device's work, and sets itself for the next time. It ends with the device; look begins it anew.
func (d *Deliveries) checkIn(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	id, err := deviceOf(in)
	if err != nil {
		return nil, err
	}
	v, known := d.device(id)
	if !known || !spokenFor(v) {
		return nil, nil
	}
	call, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	order, again, err := d.Cloud.CheckIn(call, id, v.Firmware, driven(v), mfpgate.NewID(d.Clock, "chk"))
	if err != nil {
		return nil, later(err)
	}
	next := min(max(again, minPoll), maxPoll)
	next += d.spread(next/5) - next/10 // a tenth sooner or later, so that devices do not ask together
	return func(tx store.Tx) error {
		return errors.Join(d.take(tx, v, order),
			d.journal.Intend(tx, journal.Intent{ID: in.ID, Kind: in.Kind, Payload: in.Payload, Delay: next}))
	}, nil
}

// later has an error tried again when it says so.
func later(err error) error {
	if wait := mfpgate.RetryDelay(err); wait > 0 {
		return journal.RetryAfter(err, wait)
	}
	return err
}

// take makes an answer the device's order.
func (d *Deliveries) take(tx store.Tx, v mfpgate.Device, order *mfpgate.DeliveryOrder) error {
	r, err := find(tx, v.ID)
	if err != nil {
		return err
	}
	last, _, err := store.FindJSON[settled](tx, settledPrefix+string(v.ID))
	switch {
	case err != nil:
		return err
	case r != nil && (r.Phase == sending || r.Phase == ended): // first it ends, and the region hears of it
		return nil
	case order == nil && r == nil:
		return nil
	case order == nil: // it was cancelled, or moved to another device
		return d.forget(tx, r.Device)
	case order.Delivery == last.Delivery && !order.Start.After(last.Start): // the question was asked before the answer to our report
		return nil
	case r != nil && r.Order.Delivery == order.Delivery && (r.Phase != planned || order.Running || r.same(*order)): // what has begun has another version since
		return nil
	}
	next := &record{Schema: schema, Device: v.ID, Order: *order, Phase: planned}
	if err := d.forget(tx, v.ID); err != nil {
		return err
	}
	if order.Running {
		return d.close(tx, next, mfpgate.DeliveryReport{State: mfpgate.DeliveryFailed, Reason: Interrupted, Final: true,
			Detail: "The delivery had begun, and the gateway knows nothing of it any more, so nobody knows whether the printer has the package. Look at its version before it is planned again."})
	}
	if driven(v) && !d.Takes(v) {
		return d.close(tx, next, unfit(v))
	}
	d.Log.Info().Str(field.Device, string(v.ID)).Str(field.DeviceName, v.Name).Str(field.Delivery, order.Delivery).Str(field.Version, order.Package.Version).
		Time(field.Start, order.Start).Msg(event.DeliveryPlanned)
	return errors.Join(put(tx, next), d.journal.Intend(tx, journal.Intent{ID: intent(kindDeliver, v.ID), Kind: kindDeliver, Payload: payload(v.ID), NotBefore: order.Start}))
}

// unfit is the report of a device that takes no package as a job.
func unfit(v mfpgate.Device) mfpgate.DeliveryReport {
	name := v.Model
	if name == "" {
		name = "this model"
	}
	return mfpgate.DeliveryReport{State: mfpgate.DeliveryFailed, Reason: NotDeliverable, Final: true,
		Detail: fmt.Sprintf("It is not known of %s that it installs software which comes as a print job, so it is sent none; install it by the maker's own means.", name)}
}

// forget takes a device's order back. Its file goes with the next sweep.
func (d *Deliveries) forget(tx store.Tx, device mfpgate.DeviceID) error {
	_, err := d.journal.Cancel(tx, intent(kindDeliver, device))
	return errors.Join(err, tx.Delete(orderPrefix+string(device)))
}

// report tells the region what became of an order, until it takes that.
func (d *Deliveries) report(ctx context.Context, in journal.Intent) (func(store.Tx) error, error) {
	id, err := deviceOf(in)
	if err != nil {
		return nil, err
	}
	r, err := d.record(ctx, id)
	if err != nil || r == nil || r.Phase != ended {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err = d.Cloud.Delivered(call, id, *r.Report, r.key(string(r.Report.State)))
	if err != nil && !(errors.Is(err, mfpgate.ErrRefused) && d.Clock.Now().Sub(r.Ended) > insist) {
		return nil, later(err)
	}
	log := d.Log.Info()
	if err != nil {
		log = d.Log.Warn().Err(err)
	}
	log.Str(field.Device, string(id)).Str(field.Delivery, r.Order.Delivery).Str(field.Outcome, string(r.Report.State)).Str(field.Reason, string(r.Report.Reason)).
		Msg(event.DeliveryReported)
	return func(tx store.Tx) error {
		return errors.Join(tx.Delete(orderPrefix+string(id)), store.SetJSON(tx, settledPrefix+string(id), settled{schema, r.Order.Delivery, r.Order.Start}),
			d.soon(tx, id, time.Second))
	}, nil
}

// soon moves a device's next check-in.
func (d *Deliveries) soon(tx store.Tx, device mfpgate.DeviceID, in time.Duration) error {
	id := intent(kindCheckIn, device)
	if _, err := d.journal.Get(tx, id); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	return d.journal.Intend(tx, journal.Intent{ID: id, Kind: kindCheckIn, Payload: payload(device), Delay: in})
}
