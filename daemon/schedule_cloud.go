package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler"
)

// deliverySystem is the delivery system of the cloud that the configuration names now, or the hawkBit in its place.
type deliverySystem struct{ daemon *Daemon }

var _ scheduler.DeliverySystem = deliverySystem{}

func (s deliverySystem) now() (scheduler.DeliverySystem, error) {
	if s.daemon.hawkbit != nil {
		return s.daemon.hawkbit, nil
	}
	cloud := s.daemon.config.Load().Cloud
	if cloud.URL == nil {
		return nil, errNoCloud
	}
	return s.daemon.call(cloud)
}

// heard notes how a call ended, and passes its error on.
func (s deliverySystem) heard(err error) error {
	up := 1.0
	if err != nil && status(err) == 0 && !errors.Is(err, mfpgate.ErrStale) && !errors.Is(err, mfpgate.ErrRefused) && !errors.Is(err, mfpgate.ErrUnchanged) {
		up = 0
	}
	s.daemon.metrics.CloudUp.WithLabelValues("deliveries").Set(up)
	if tokenRefused(err) {
		s.daemon.contracts.wake() // which says so
	}
	return err
}

func (s deliverySystem) Changes(ctx context.Context, window mfpgate.Interval, since string) (mfpgate.ScheduleChanges, error) {
	c, err := s.now()
	if err != nil {
		return mfpgate.ScheduleChanges{}, err
	}
	changes, err := c.Changes(ctx, window, since)
	return changes, s.heard(err)
}

func (s deliverySystem) Background(ctx context.Context, version string) ([]mfpgate.Background, string, error) {
	c, err := s.now()
	if err != nil {
		return nil, "", err
	}
	list, next, err := c.Background(ctx, version)
	return list, next, s.heard(err)
}

func (s deliverySystem) Report(ctx context.Context, r mfpgate.OverloadReport) error {
	c, err := s.now()
	if err != nil {
		return err
	}
	return s.heard(c.Report(ctx, r))
}

func (s deliverySystem) Propose(ctx context.Context, p mfpgate.Proposal) (mfpgate.ProposalOutcome, error) {
	c, err := s.now()
	if err != nil {
		return mfpgate.ProposalOutcome{}, err
	}
	outcome, err := c.Propose(ctx, p)
	return outcome, s.heard(err)
}

func (s deliverySystem) Outcome(ctx context.Context, proposal string) (mfpgate.ProposalOutcome, error) {
	c, err := s.now()
	if err != nil {
		return mfpgate.ProposalOutcome{}, err
	}
	outcome, err := c.Outcome(ctx, proposal)
	return outcome, s.heard(err)
}

func (s deliverySystem) Withdraw(ctx context.Context, proposal string) error {
	c, err := s.now()
	if err != nil {
		return err
	}
	return s.heard(c.Withdraw(ctx, proposal))
}

func (s deliverySystem) Events(ctx context.Context, after uint64, wait time.Duration) ([]mfpgate.ScheduleEvent, uint64, bool, error) {
	c, err := s.now()
	if err != nil {
		return nil, after, false, err
	}
	events, next, lost, err := c.Events(ctx, after, wait)
	return events, next, lost, s.heard(err)
}
