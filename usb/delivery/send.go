package delivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// queuedInDevice is the reason of a completed job whose printer does not say whether it did anything with it (mfpgate.JobStatus).
const queuedInDevice = "queued-in-device"

// send makes the package one job of the printer, and judges what became of it.
func (d *Deliveries) send(ctx, waiting context.Context, work Work, r *record, v mfpgate.Device) (func(store.Tx) error, error) {
	f, err := os.Open(d.file(r))
	if err != nil {
		return nil, d.wait(r, FetchFailed, err)
	}
	defer f.Close()
	// A gateway that stops keeps no printer with half a package: what has begun goes on while the printers are given time to end
	// their jobs. Until then it ends with ctx.
	job, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	content := &parcel{d: d, ctx: job, waiting: waiting, work: work, r: r, f: f}
	defer context.AfterFunc(ctx, func() {
		if !content.begun.Load() {
			cancel()
		}
	})()
	p := r.Order.Package
	status, err := d.Print(job, r.Device, mfpgate.Document{Name: "Software " + p.Version, Format: "application/octet-stream", Size: p.Size, Content: content}, func(mfpgate.JobStatus) {})
	if content.err != nil && err == nil {
		err = content.err
	}
	if !content.begun.Load() {
		reason := PrinterFailed
		if _, relay := errors.AsType[mfpgate.Refused](content.err); relay {
			reason = RelayRefused
		}
		return nil, d.wait(r, reason, notBegun(status, err))
	}
	if (err != nil || status.State != mfpgate.JobCompleted) && status.Sent == 0 {
		// The printer has nothing of it: as if it had not begun. That is written down also while the gateway ends.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := d.advance(back, r, func(r *record) { r.Phase, r.Life = fetched, "" }); err != nil {
			return nil, err
		}
		return nil, d.wait(r, PrinterFailed, notBegun(status, err))
	}
	_ = os.Remove(d.file(r))
	if err == nil && status.State == mfpgate.JobCompleted && status.Sent == p.Size {
		return d.done(r, v, status), nil
	}
	reason, text := Aborted, "The job ended"
	switch {
	case ctx.Err() != nil:
		reason, text = Interrupted, "The gateway was stopped while it sent the package"
	case status.State == mfpgate.JobCanceled:
		reason, text = Canceled, "Somebody canceled the job"
	case status.State == mfpgate.JobCompleted:
		text = "The printer called the job complete"
	}
	text = fmt.Sprintf("%s after %d of %d bytes had gone to the printer.", text, status.Sent, p.Size)
	if why := said(status, err); why != "" {
		text += " " + why + "."
	}
	return d.failed(r, reason, true, text+" Look at the printer, and at its version, before it is planned again."), nil
}

// done is the end of a delivery whose package the printer took whole.
func (d *Deliveries) done(r *record, v mfpgate.Device, status mfpgate.JobStatus) func(store.Tx) error {
	report := mfpgate.DeliveryReport{State: mfpgate.DeliveryDone, SHA256: r.Order.Package.SHA256, Size: status.Sent,
		Detail: "The printer took the package and completed the job."}
	if slices.Contains(status.Reasons, queuedInDevice) {
		report.Detail = "The printer took the whole package, and does not say what it does with it; its version will show."
	}
	d.Log.Info().Str(field.Device, string(r.Device)).Str(field.DeviceName, v.Name).Str(field.Delivery, r.Order.Delivery).
		Str(field.Outcome, string(mfpgate.DeliveryDone)).Strs(field.Reason, status.Reasons).Int64(field.BytesDown, status.Sent).Msg(event.DeliveryEnded)
	return d.over(r, report)
}

// notBegun is why a job did not begin.
func notBegun(status mfpgate.JobStatus, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("the printer let no job begin: %s %s", status.State, status.Message)
}

// said is what is known of a job's end, for people.
func said(status mfpgate.JobStatus, err error) string {
	if status.Message != "" {
		return status.Message
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// parcel is a package on its way to the printer. Before its first byte goes, the store knows that it does.
type parcel struct {
	d            *Deliveries
	ctx, waiting context.Context
	work         Work
	r            *record
	f            *os.File
	begun        atomic.Bool
	err          error // what ended it from this side
}

func (c *parcel) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if !c.begun.Load() {
		if c.err = c.begin(); c.err != nil {
			return 0, c.err
		}
	}
	if c.err = c.move(c.ctx); c.err != nil {
		return 0, c.err
	}
	return c.f.Read(p)
}

// begin is the last moment at which nothing has happened.
func (c *parcel) begin() error {
	if err := c.move(c.waiting); err != nil {
		return err
	}
	if c.waiting.Err() != nil {
		return context.Cause(c.waiting)
	}
	d := c.d
	if err := d.advance(c.waiting, c.r, func(r *record) { r.Phase, r.Life = sending, d.life }); err != nil {
		return err
	}
	c.begun.Store(true)
	d.Log.Info().Str(field.Device, string(c.r.Device)).Str(field.Delivery, c.r.Order.Delivery).Msg(event.DeliverySending)
	return nil
}

// move holds the device's slot. A relay that has no room for it makes the printer wait: half a package is worse than a late one.
func (c *parcel) move(ctx context.Context) error {
	for {
		err := c.work.Move(ctx)
		wait := mfpgate.RetryDelay(err)
		if _, refused := errors.AsType[mfpgate.Refused](err); err == nil || !refused || wait <= 0 {
			return err
		}
		if err := mfpgate.Wait(ctx, c.d.Clock, wait); err != nil {
			return err
		}
	}
}
