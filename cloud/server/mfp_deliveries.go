package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/delivery"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/scheduler/plan"
	"github.com/mfpgate/mfpgate/store"
)

// Why a delivery fails without its device's saying so. The words are those of Delivery.Reason.
const (
	missedWindow = "window-missed" // the device has not begun by its latest end
	noReport     = "no-report"     // it began, and was not heard of again
)

const (
	// earlyStart is how much sooner than planned a device may begin by its own clock.
	earlyStart = time.Minute
	// silence is how long after its start a device may take to report, at least; four times its planned duration if that is longer.
	silence = 24 * time.Hour
)

// mfpLinkKey leads from what a device says of itself to the gateway that tells of it: a device and its gateway know it by different ids.
// It is "" for a device that says too little. A serial number is the device's own word: who has a device's factory token can take the
// deliveries of another one of its model, and nothing else.
func mfpLinkKey(model, serial string) string {
	model, serial = strings.ToLower(strings.Join(strings.Fields(model), " ")), mfpgate.CleanSerial(serial)
	if model == "" || serial == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(model + "\x00" + strings.ToLower(serial)))
	return "mfp-device/" + hex.EncodeToString(sum[:])
}

// relink keeps the way from a device's own words to it. after is the zero value for one that is forgotten.
func relink(tx store.Tx, gateway string, before, after api.Device) error {
	was, is := mfpLinkKey(before.Model, before.Serial), mfpLinkKey(after.Model, after.Serial)
	if was != "" && was != is {
		held, there, err := store.FindJSON[named](tx, was)
		if err != nil {
			return err
		}
		if there && held == (named{gateway, before.DeviceID}) {
			if err := tx.Delete(was); err != nil {
				return err
			}
		}
	}
	if is == "" {
		return nil
	}
	return put(tx, is, named{gateway, after.DeviceID})
}

// work is what the delivery system has for a device.
type work struct {
	planned *api.PlannedDelivery
	known   map[string]bool // packages that it has, or had, a delivery of
}

// gatewayFetches reports whether the device's gateway makes its deliveries: it is on the gateway's USB, and reaches no cloud itself.
func gatewayFetches(d api.Device) bool {
	return d.Attachment == string(mfpgate.AttachmentUSB) && d.MonitoringMode == string(mfpgate.MonitoringPolling)
}

// alone is a package that is offered without a delivery: not one that was planned, whatever became of the plan.
func (w work) alone(p *api.Package) *api.Package {
	if w.planned != nil || p != nil && w.known[p.PackageID] {
		return nil
	}
	return p
}

// workOf looks up what a device that says its model and serial number is to do. What its gateway fetches for it is not its work.
func (s *Server) workOf(ctx context.Context, model, serial string) (w work, err error) {
	key := mfpLinkKey(model, serial)
	if key == "" {
		return w, nil
	}
	link, there, err := one[named](ctx, s.Store, key)
	if err != nil || !there {
		return w, err
	}
	d, _, err := one[deviceRecord](ctx, s.Store, deviceKey(link.Gateway, link.ID))
	if err != nil {
		return w, err
	}
	w, err = s.workFor(ctx, link)
	if gatewayFetches(d.Device) {
		w.planned = nil
	}
	return w, err
}

// workFor looks up what a gateway's device is to do: go on with what it has begun, else begin at the first start to come.
func (s *Server) workFor(ctx context.Context, link named) (w work, err error) {
	var first deliveryRecord
	var start time.Time
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		w = work{known: map[string]bool{}}
		first, start = deliveryRecord{}, time.Time{}
		ids, err := deliveriesOf(at, link.Gateway, link.ID)
		if err != nil {
			return err
		}
		for _, id := range ids {
			r, there, err := store.FindJSON[deliveryRecord](at, deliveryKey(link.Gateway, id))
			if err != nil {
				return err
			}
			if !there || r.Delivery.PackageID == "" {
				continue
			}
			w.known[r.Delivery.PackageID] = true
			begins, waits := r.begins()
			if !waits {
				continue
			}
			running := r.Delivery.State == stateRunning
			if start.IsZero() || running || first.Delivery.State != stateRunning && begins.Before(start) {
				first, start = r, begins
			}
		}
		return nil
	})
	if err != nil || start.IsZero() {
		return w, err
	}
	p, err := s.Folder.Package(first.Delivery.PackageID)
	if errors.Is(err, provision.ErrNotFound) {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	d := first.wire("")
	w.planned = &api.PlannedDelivery{DeliveryID: d.DeliveryID, Version: d.Version, StartUTC: start, Package: p}
	if d.Window != nil {
		w.planned.LatestEnd = d.Window.LatestEnd
	}
	if d.State == stateRunning {
		w.planned.State = stateRunning
	}
	return w, nil
}

// begins is when the device is to begin, if it is to begin at all.
func (r deliveryRecord) begins() (time.Time, bool) {
	d := r.Delivery
	switch {
	case r.ended() || d.Schedule.StartUTC == nil:
		return time.Time{}, false
	case d.Schedule.RRule != "" && !r.RanAt.IsZero():
		return delivery.Next(d.Schedule, r.RanAt)
	default:
		return *d.Schedule.StartUTC, true
	}
}

// about is which delivery a report is about.
type about struct {
	chain []string // of its gateway; nil: none
	id    string
}

// aboutDelivery finds the delivery that a report is about. A device that knows nothing of deliveries names none, and means the one whose
// package it was given.
func (s *Server) aboutDelivery(ctx context.Context, mfp string, r api.InstallReport) (a about, err error) {
	if r.Outcome == api.OutcomeStarted && r.DeliveryID == "" {
		return a, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.deliveryId: says what was started")
	}
	m, there, err := one[mfpRecord](ctx, s.Store, mfpKey(mfp))
	if err != nil {
		return a, internal(err)
	}
	id := r.DeliveryID
	if there && id == "" {
		w, err := s.workOf(ctx, m.MFP.Model, m.MFP.Serial)
		if err != nil {
			return a, internal(err)
		}
		if d := w.planned; d != nil && d.Package.PackageID == r.PackageID && !d.StartUTC.After(s.Clock.Now()) {
			id = d.DeliveryID
		}
	}
	if id == "" {
		return a, nil
	}
	link, there, err := one[named](ctx, s.Store, cmp.Or(mfpLinkKey(m.MFP.Model, m.MFP.Serial), "mfp-device/-"))
	if err != nil {
		return a, internal(err)
	}
	d, known, err := one[deliveryRecord](ctx, s.Store, deliveryKey(cmp.Or(link.Gateway, "-"), id))
	if err != nil {
		return a, internal(err)
	}
	if !there || !known || d.Delivery.DeviceID != link.ID {
		if r.Outcome == api.OutcomeStarted {
			return a, refuse(http.StatusConflict, ReasonNotPlanned, "the device has no such delivery, or no longer; check in")
		}
		return a, nil // it was deleted since: the report is kept all the same
	}
	chain, err := s.chain(link.Gateway)
	return about{chain, id}, err
}

// outcome writes what a device reports into its delivery.
func (s *Server) outcome(tx store.Tx, a about, report api.InstallReport) error {
	if a.chain == nil {
		return nil
	}
	r, there, err := store.FindJSON[deliveryRecord](tx, deliveryKey(a.chain[0], a.id))
	if err != nil || !there {
		return err
	}
	now := s.Clock.Now().UTC()
	was := r.Delivery.State
	switch report.Outcome {
	case api.OutcomeStarted:
		if was == stateRunning {
			return nil
		}
		start, waits := r.begins()
		if !waits || start.After(now.Add(earlyStart)) || report.PackageID != r.Delivery.PackageID {
			return refuse(http.StatusConflict, ReasonNotPlanned, "the delivery is over, or is to begin later; check in")
		}
		r.Delivery.State, r.BegunAt = stateRunning, now
		if err := arm(tx, now.Add(r.patience()), timerDelivery, a.chain[0], a.id); err != nil {
			return err
		}
	case api.OutcomeInstalled, api.OutcomeDone:
		if was == stateDone {
			return nil
		}
		r.end(now, stateDone, "")
	default:
		if r.ended() {
			return nil
		}
		r.failed(now, cmp.Or(report.Reason, "failed"))
	}
	return s.keepOutcome(tx, a.chain, r)
}

// patience is how long a device may be silent after its start.
func (r deliveryRecord) patience() time.Duration {
	return max(silence, 4*plan.Estimate(r.Delivery.Root()).P95)
}

// end ends a delivery. One that recurs is planned again.
func (r *deliveryRecord) end(now time.Time, state, reason string) {
	d := &r.Delivery
	d.State, d.Reason, r.EndedAt = state, reason, now
	if d.Schedule.RRule != "" {
		if _, again := delivery.Next(d.Schedule, now); again {
			d.State, r.RanAt, r.EndedAt, r.Attempts = statePlanned, now, time.Time{}, 0
		}
	}
}

// failed ends a delivery, or plans it again if its device is to try again and the window lasts.
func (r *deliveryRecord) failed(now time.Time, reason string) {
	d := &r.Delivery
	r.Attempts++
	if d.Retry == nil || r.Attempts > d.Retry.Max || d.Schedule.RRule != "" {
		r.end(now, stateFailed, reason)
		return
	}
	next := now.Add(time.Duration(d.Retry.Interval))
	if delivery.Window(d.Root(), next) != nil {
		r.end(now, stateFailed, reason)
		return
	}
	d.State, d.Reason, d.Schedule = statePlanned, reason, delivery.Moved(d.Schedule, next)
}

// keepOutcome writes a delivery that its device, or time, has changed.
func (s *Server) keepOutcome(tx store.Tx, chain []string, r deliveryRecord) error {
	r.Version++
	if r.ended() {
		if err := arm(tx, r.EndedAt.Add(retention), timerDelivery, chain[0], r.Delivery.DeliveryID); err != nil {
			return err
		}
	}
	if err := put(tx, deliveryKey(chain[0], r.Delivery.DeliveryID), r); err != nil {
		return err
	}
	return s.noteDelivery(tx, chain, r.Delivery.DeliveryID, nil)
}

// scheduled says of a device that is about to change whether it has deliveries, and holds changes of schedules off until release: with
// a device that comes or goes its deliveries do.
func (s *Server) scheduled(ctx context.Context, gateway, device string) (chain []string, has bool, release func(), err error) {
	if chain, err = s.chain(gateway); err != nil {
		return nil, false, nil, err
	}
	release = s.together(chain)
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		found, err := at.Scan(deviceDeliveryPrefix(gateway, device), "", 1)
		has = len(found) > 0
		return err
	})
	if err != nil {
		release()
		return nil, false, nil, internal(err)
	}
	return chain, has, release, nil
}

// noteDevice says that all deliveries of a device are to be looked at again.
func (s *Server) noteDevice(tx store.Tx, chain []string, device string) error {
	return s.note(tx, chain, logEntry{Type: api.EventDeliveryChanged, At: s.Clock.Now().UTC(), Owner: chain[0], Device: device}, nil)
}
