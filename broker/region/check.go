package region

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mfpgate/mfpgate"
)

// check asks once more whether the services are rolled out, and whether both regions hold what the plan says.
func (s *Saga) check(ctx context.Context, r *record) error {
	offers, err := s.offers(ctx)
	if err != nil {
		return err
	}
	for _, service := range r.Plan.Services {
		if _, ok := offers[service.ID]; !ok {
			return notRolledOut(service.ID, r.To)
		}
	}
	for _, c := range r.Plan.Children {
		if c.Action == actionKeep && !slices.Contains(offers[c.Service], c.ID) {
			return refuse(NotRolledOut, "region %s has ceased to offer %s of service %s: plan the move anew", r.To, c.ID, c.Service)
		}
	}
	p, err := s.services(r.From)
	if err != nil {
		return err
	}
	h, err := p.Holding(ctx, r.MFP)
	if err != nil {
		return fmt.Errorf("what region %s holds: %w", r.From, err)
	}
	switch {
	case h.MFP != r.MFP || h.Region != r.From || h.Registration != r.OldRegistration:
		return lied("the services of region %s, asked for device %s, registration %s, name device %.64q, registration %.64q, of region %.8q", r.From, r.MFP,
			r.OldRegistration, h.MFP, h.Registration, h.Region)
	case h.State != mfpgate.HoldingActive || h.Epoch+1 != r.Epoch:
		return refuse(PlanChanged, "the device is %s in region %s, in epoch %d: plan the move anew", state(h.State), r.From, h.Epoch)
	}
	return s.vacant(ctx, r.MFP)
}

// vacant makes sure that no other move has put the device into this region.
func (s *Saga) vacant(ctx context.Context, mfp string) error {
	p, err := s.services(s.Region)
	if err != nil {
		return err
	}
	h, err := p.Holding(ctx, mfp)
	switch {
	case errors.Is(err, ErrNoHolding):
		return nil
	case err != nil:
		return fmt.Errorf("what region %s holds: %w", s.Region, err)
	}
	switch h.State {
	case mfpgate.HoldingPrepared, mfpgate.HoldingActive, mfpgate.HoldingDraining:
		return refuse(TargetOccupied, "the services of region %s hold the device already (%s, move %s): end that move first, or remove the device there", s.Region,
			h.State, h.Move)
	}
	return nil
}
