package region

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

// What a plan may measure: it is a part of every message of the move.
const (
	maxPlanned      = 96 // services, children and classes, together
	maxPlannedBytes = 6 << 10
	maxName         = 128     // bytes of a device's or a registration's
	maxEpoch        = 1 << 53 // what JSON carries exactly
)

// What a plan does.
const (
	actionMove   = "move"
	actionBlock  = "block"
	actionKeep   = "keep"
	actionUnlink = "unlink"
)

// Plan says what a move of a gateway's device would do. It changes nothing. UnknownHere, OtherTarget, BadRequest, RegionUnreached.
func (s *Saga) Plan(ctx context.Context, gateway string, r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Limits.Call)
	defer cancel()
	return s.plan(ctx, gateway, r)
}

func (s *Saga) plan(ctx context.Context, gateway string, r mfpgate.MoveRequest) (p mfpgate.MovePlan, err error) {
	if r.To == "" {
		r.To = s.Region
	}
	if r.To != s.Region {
		return p, refuse(OtherTarget, "this is the management server of region %s: a move to region %.8q is asked for at its own", s.Region, r.To)
	}
	for class, policy := range r.Data {
		if !slices.Contains([]mfpgate.DataPolicy{mfpgate.DataMove, mfpgate.DataReset, mfpgate.DataLeave}, policy) {
			return p, refuse(BadRequest, "data of class %.40q: %.20q is none of move, reset and leave", class, string(policy))
		}
	}
	device, there, err := s.Devices.Device(ctx, gateway, r.Device)
	if err != nil {
		return p, fmt.Errorf("device %s of gateway %s: %w", r.Device, gateway, err)
	}
	if !there || device.Model == "" || device.Serial == "" {
		return p, refuse(UnknownHere, "the gateway has not told of device %.64s with its model and serial number; name them in its configuration", r.Device)
	}
	found, silent, err := s.locate(ctx, device)
	if err != nil {
		return p, err
	}
	offers, err := s.offers(ctx)
	if err != nil {
		return p, err
	}
	p = mfpgate.MovePlan{Device: r.Device, MFP: found.MFP, From: found.Region, To: r.To, Epoch: found.Epoch + 1, Registration: found.Registration,
		Services: []mfpgate.PlannedService{}, Children: []mfpgate.PlannedChild{}, Data: []mfpgate.PlannedData{}, Blockers: []mfpgate.MoveBlocker{}}
	lay(&p, found, offers, r.Data)
	if err := s.block(ctx, &p, found, silent); err != nil {
		return p, err
	}
	p.Hash, err = hash(p)
	return p, err
}

// lay says what becomes of what is held.
func lay(p *mfpgate.MovePlan, found mfpgate.Registrant, offers map[string][]string, policies map[string]mfpgate.DataPolicy) {
	for _, service := range found.Services {
		children, available := offers[service.ID]
		planned := mfpgate.PlannedService{ID: service.ID, Available: available, Action: actionMove}
		if !available {
			planned.Action = actionBlock
			p.Blockers = append(p.Blockers, blocker(notRolledOut(service.ID, p.To)))
		}
		p.Services = append(p.Services, planned)
		for _, child := range service.Children {
			c := mfpgate.PlannedChild{Service: service.ID, ID: child, Available: slices.Contains(children, child), Action: actionKeep}
			if !c.Available {
				c.Action = actionUnlink
			}
			p.Children = append(p.Children, c)
		}
	}
	for _, d := range found.Data {
		p.Data = append(p.Data, mfpgate.PlannedData{Class: d.Class, Items: d.Items, Bytes: d.Bytes,
			Policy: cmp.Or(policies[d.Class], policies[""], mfpgate.DataMove)})
	}
	slices.SortFunc(p.Services, func(a, b mfpgate.PlannedService) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(p.Children, func(a, b mfpgate.PlannedChild) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(p.Data, func(a, b mfpgate.PlannedData) int { return cmp.Compare(a.Class, b.Class) })
}

// block says what stands in the way.
func (s *Saga) block(ctx context.Context, p *mfpgate.MovePlan, found mfpgate.Registrant, silent []string) error {
	add := func(why mfpgate.Reason, format string, args ...any) {
		p.Blockers = append(p.Blockers, blocker(refuse(why, format, args...)))
	}
	switch found.State {
	case mfpgate.HoldingActive:
	case mfpgate.HoldingForeign:
		add(ForeignOnly, "Region %s has the device under the id of another region, %.64s, and no region says that it holds its data.", p.From, found.Registration)
	default:
		add(NotActive, "The device is %s in region %s: another move is not over.", found.State, p.From)
	}
	if found.State != mfpgate.HoldingActive && len(silent) > 0 {
		add(RegionUnreached, "These regions did not say whether they hold the device: %q.", silent)
	}
	if p.From == s.Region {
		add(AlreadyHome, "The device's data are in region %s already.", p.From)
	} else if _, err := s.services(p.From); err != nil {
		p.Blockers = append(p.Blockers, blocker(err))
	} else if err := s.vacant(ctx, p.MFP); errors.Is(err, mfpgate.ErrRefused) {
		p.Blockers = append(p.Blockers, blocker(err))
	} else if err != nil {
		return refuse(RegionUnreached, "the services of this region do not answer, try again: %v", err)
	}
	var open []byte
	err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
		open, err = at.Get(openKey(p.MFP))
		return err
	})
	switch {
	case err == nil:
		add(MoveIsOpen, "The device is being moved by %s.", open)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	slices.SortFunc(p.Blockers, func(a, b mfpgate.MoveBlocker) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detail, b.Detail))
	})
	return nil
}

func blocker(err error) mfpgate.MoveBlocker {
	why, text := describe(err)
	return mfpgate.MoveBlocker{Reason: why, Detail: text}
}

func notRolledOut(service, region string) error {
	return refuse(NotRolledOut, "Service %s is not rolled out in region %s: the device would lose it. Have it rolled out there, or end its registration first.", service, region)
}

// hash is that of what a plan does and what stands in its way, but not of how much data there are: they change with each page that
// is printed.
func hash(p mfpgate.MovePlan) (string, error) {
	p.Hash = ""
	p.Data = slices.Clone(p.Data)
	for i := range p.Data {
		p.Data[i].Items, p.Data[i].Bytes = 0, 0
	}
	text, err := json.Marshal(p) // fields in their order, lists sorted
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// offers are the children of each service that is rolled out in this region.
func (s *Saga) offers(ctx context.Context) (map[string][]string, error) {
	p, err := s.services(s.Region)
	if err != nil {
		return nil, err
	}
	list, err := p.Offers(ctx, s.Region)
	if err != nil {
		return nil, fmt.Errorf("the roll-out in region %s: %w", s.Region, err)
	}
	offers := map[string][]string{}
	for _, o := range list {
		offers[o.ID] = append(offers[o.ID], o.Children...)
	}
	return offers, nil
}

// policies are those of each planned class, and what becomes of classes that come after the plan.
func policies(p mfpgate.MovePlan, asked map[string]mfpgate.DataPolicy) map[string]mfpgate.DataPolicy {
	all := map[string]mfpgate.DataPolicy{"": mfpgate.DataMove}
	maps.Copy(all, asked)
	for _, d := range p.Data {
		all[d.Class] = d.Policy
	}
	return all
}
