package mfp

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// relayRefused is why a delivery failed whose device the relay did not serve at its start.
const relayRefused = "relay-refused"

// hold takes over what the cloud has planned, nil if there is nothing.
func (d *Device) hold(p *api.PlannedDelivery) {
	same := p != nil && d.plan != nil && p.DeliveryID == d.plan.DeliveryID && p.Version == d.plan.Version && p.StartUTC.Equal(d.plan.StartUTC)
	d.plan = p
	if p == nil || same {
		return
	}
	start := p.StartUTC.UTC().Format(time.RFC3339)
	d.tell(Event{Kind: Planned, Package: p.Package.PackageID, Version: p.Package.Version, Plan: p.DeliveryID, StartAt: start,
		Text: "is to install " + p.Package.Version + " at " + start})
}

// due reports whether the planned start has come.
func (d *Device) due() bool { return d.plan != nil && !d.plan.StartUTC.After(d.o.Clock.Now()) }

// until shortens a wait that would last beyond the planned start. A wait that begins after the start is a back-off, and stays.
func (d *Device) until(wait time.Duration) time.Duration {
	if d.plan == nil || d.due() {
		return wait
	}
	return min(wait, d.plan.StartUTC.Sub(d.o.Clock.Now()))
}

// begin is the planned start. What breaks off later begins again here; the cloud knows that it has begun.
func (d *Device) begin(ctx context.Context) error {
	p := *d.plan
	if p.LatestEnd != nil && d.o.Clock.Now().After(*p.LatestEnd) {
		d.plan = nil // the cloud says of itself that the window was missed
		return nil
	}
	d.home.Load().http.CloseIdleConnections() // the relay is asked for a turn, whatever tunnel is left of the last check-in
	var stored api.StoredReport
	err := d.post(ctx, "/v1/devices/"+d.o.ID+"/reports", p.DeliveryID+"/"+string(p.Version)+"/"+api.OutcomeStarted, api.InstallReport{
		PackageID: p.Package.PackageID, DeliveryID: p.DeliveryID, Outcome: api.OutcomeStarted, Version: d.state.Firmware,
	}, &stored)
	var r *Refusal
	switch {
	case err == nil:
	case turnedAway(err):
		return d.fail(ctx, err)
	case errors.As(err, &r) && !r.Relay && !r.passing() && r.Status != http.StatusUnauthorized:
		d.plan, d.settled = nil, false // the plan has changed since; the next check-in says how
		return nil
	default:
		return err
	}
	d.tell(Event{Kind: Begun, Package: p.Package.PackageID, Version: p.Package.Version, Plan: p.DeliveryID, Text: "begins to install " + p.Package.Version})
	return d.install(ctx, p.Package, p.DeliveryID)
}

// turnedAway reports whether the relay had no room.
func turnedAway(err error) bool {
	var r *Refusal
	return errors.As(err, &r) && r.Relay && r.passing()
}

// fail gives a delivery up for which the relay had no room. The cloud decides whether there is another try.
func (d *Device) fail(ctx context.Context, err error) error {
	p := *d.plan
	d.tell(Event{Kind: TurnedAway, Package: p.Package.PackageID, Version: p.Package.Version, Plan: p.DeliveryID,
		Text: "does not install " + p.Package.Version + ": " + err.Error()})
	d.plan, d.settled = nil, false
	d.state.Report = &pending{Key: rand.Text(), Report: api.InstallReport{
		PackageID: p.Package.PackageID, DeliveryID: p.DeliveryID, Outcome: api.OutcomeFailed, Reason: relayRefused, Version: d.state.Firmware,
	}}
	d.save()
	return d.sendReport(ctx)
}
