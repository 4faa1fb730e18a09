package region_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
)

// cloud is one region.
type cloud struct {
	w      *world
	region string
	offers []mfpgate.ServiceOffer
	held   map[string]*mfpgate.Holding
	models map[string][2]string // model and serial, by MFP
	fence  map[string]int       // by device and move
	acked  time.Time
}

type services struct{ *cloud }

func (c services) Offers(_ context.Context, country string) (list []mfpgate.ServiceOffer, err error) {
	err = c.w.pass(call{region: c.region, role: "services", step: askOffers, offers: &list}, func() error {
		if country == c.region {
			list = slices.Clone(c.offers)
		}
		return nil
	})
	return list, err
}

func (c services) Holding(_ context.Context, mfp string) (h mfpgate.Holding, err error) {
	err = c.w.pass(call{region: c.region, role: "services", step: askHolding, holding: &h}, func() error {
		held := c.held[mfp]
		if held == nil {
			return region.ErrNoHolding
		}
		h = *held
		h.Digest = digest(held)
		return nil
	})
	return h, err
}

func digest(h *mfpgate.Holding) string {
	text, _ := json.Marshal([]any{h.Services, h.Data})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (c services) Order(ctx context.Context, o mfpgate.MoveOrder) (a mfpgate.MoveAnswer, err error) {
	if c.w.hang != nil {
		c.w.hang(ctx, c.region+" services "+string(o.Step))
	}
	if err := ctx.Err(); err != nil {
		return a, err
	}
	err = c.w.pass(call{region: c.region, role: "services", step: o.Step, order: o, answer: &a}, func() (err error) {
		a, err = c.obey(o)
		return err
	})
	return a, err
}

// obey is one order, with the fence.
func (c *cloud) obey(o mfpgate.MoveOrder) (a mfpgate.MoveAnswer, err error) {
	key := o.MFP + "/" + string(o.Move)
	if high, ok := c.fence[key]; ok && o.Step.Seq() < high {
		return a, region.ErrFenced
	}
	h := c.held[o.MFP]
	if h == nil {
		h = &mfpgate.Holding{MFP: o.MFP, Region: c.region}
	}
	wrong := fmt.Errorf("%s while %q: %w", o.Step, h.State, region.ErrOutOfTurn)
	want := func(states ...mfpgate.HoldingState) {
		if !slices.Contains(states, h.State) {
			err = wrong
		}
	}
	next := *h
	switch o.Step {
	case mfpgate.StepUnlink, mfpgate.StepRelink:
		want(mfpgate.HoldingActive)
		next.Services = slices.Clone(h.Services)
		for i, s := range next.Services {
			next.Services[i].Children = slices.DeleteFunc(slices.Clone(s.Children), func(child string) bool { return slices.Contains(o.Children, s.ID+"/"+child) })
			for _, child := range o.Children {
				if o.Step == mfpgate.StepRelink && len(child) > len(s.ID) && child[:len(s.ID)] == s.ID {
					next.Services[i].Children = append(next.Services[i].Children, child[len(s.ID)+1:])
				}
			}
			slices.Sort(next.Services[i].Children)
		}
	case mfpgate.StepCopy, mfpgate.StepDelta:
		want(map[mfpgate.MoveStep]mfpgate.HoldingState{mfpgate.StepCopy: mfpgate.HoldingActive, mfpgate.StepDelta: mfpgate.HoldingDraining}[o.Step])
		if err == nil {
			err = c.w.clouds[o.To].receive(o, h)
		}
		a.Digest = digest(h)
	case mfpgate.StepVerify:
		want(mfpgate.HoldingPrepared)
		a.Digest = digest(h)
	case mfpgate.StepDrain:
		want(mfpgate.HoldingActive)
		next.State = mfpgate.HoldingDraining
	case mfpgate.StepActivate:
		want(mfpgate.HoldingPrepared)
		next.State = mfpgate.HoldingActive
	case mfpgate.StepRetire:
		want(mfpgate.HoldingDraining)
		next.State, next.To = mfpgate.HoldingMoved, o.To
	case mfpgate.StepDelete:
		want(mfpgate.HoldingMoved)
		next.State = mfpgate.HoldingAbsent
	case mfpgate.StepAbort:
		next.State = mfpgate.HoldingAborted
	case mfpgate.StepUndrain:
		if h.State == mfpgate.HoldingDraining {
			next.State = mfpgate.HoldingActive
		}
	}
	if again := c.fence[key] == o.Step.Seq() && err != nil; again { // the answer was lost
		err, next = nil, *h
	}
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	c.fence[key] = o.Step.Seq()
	next.Move, next.Seq = o.Move, o.Step.Seq()
	c.held[o.MFP] = &next
	a.State = next.State
	if o.Step == mfpgate.StepRetire {
		a.Receipt = &mfpgate.DeletionReceipt{ID: "rcp_1", Region: c.region, MFP: o.MFP, Move: o.Move, Signed: "jws"}
	}
	a.Seen = o.Seen.Merge(mfpgate.Seen{c.region + "/services": o.Seen[c.region+"/services"] + 1})
	return a, nil
}

func (c *cloud) receive(o mfpgate.MoveOrder, from *mfpgate.Holding) error {
	key := o.MFP + "/" + string(o.Move)
	if high, ok := c.fence[key]; ok && o.Step.Seq() < high {
		return region.ErrFenced
	}
	c.fence[key] = o.Step.Seq()
	c.held[o.MFP] = &mfpgate.Holding{MFP: o.MFP, Region: c.region, State: mfpgate.HoldingPrepared, Epoch: o.Epoch, Registration: o.Registration,
		Services: from.Services, Data: from.Data, Move: o.Move, Seq: o.Step.Seq()}
	c.models[o.MFP] = c.w.clouds[o.From].models[o.MFP]
	return nil
}

type manager struct{ *cloud }

func (c manager) Find(_ context.Context, model, serial string) (r mfpgate.Registrant, err error) {
	err = c.w.pass(call{region: c.region, role: "management", step: askFind, found: &r}, func() error {
		for _, mfp := range slices.Sorted(maps.Keys(c.models)) {
			if h := c.held[mfp]; c.models[mfp] == [2]string{model, serial} && h != nil {
				r = mfpgate.Registrant{MFP: mfp, Model: model, Serial: serial, Registration: h.Registration, Region: c.region, Epoch: h.Epoch, State: h.State,
					Services: h.Services, Data: h.Data}
				if h.To != "" {
					r.Region = h.To
				}
				return nil
			}
		}
		return region.ErrNoHolding
	})
	return r, err
}

func (c manager) Order(ctx context.Context, o mfpgate.MoveOrder) (a mfpgate.MoveAnswer, err error) {
	if err := ctx.Err(); err != nil {
		return a, err
	}
	err = c.w.pass(call{region: c.region, role: "management", step: o.Step, order: o, answer: &a}, func() error {
		switch o.Step {
		case mfpgate.StepCopy, mfpgate.StepDelta:
			a.Management, _ = json.Marshal(map[string]string{"of": o.MFP, "at": string(o.Step)})
		case mfpgate.StepRedirect:
			a.AckedAt = c.acked
		}
		a.Seen = o.Seen
		return nil
	})
	return a, err
}
