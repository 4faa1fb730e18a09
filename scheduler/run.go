package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/cronjob"
	"github.com/mfpgate/mfpgate/store"
)

// run is one run of the fetch job. The job never runs twice at once; Apply is kept out by busy.
func (s *Scheduler) run(ctx context.Context, cause cronjob.Cause) error {
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.busy }()
	number := s.started.Add(1)
	if cause == cronjob.Due {
		s.replans = 0
	}
	now := s.Clock.Now().Round(0).UTC()
	defer func() {
		if v := recover(); v != nil {
			s.stale = true
			s.finish(ctx, number, now, outcomeFailed, fmt.Errorf("panic: %v", v))
			panic(v) // the job makes an error of it, with the stack
		}
	}()
	outcome, err := s.once(ctx, now)
	if err != nil && ctx.Err() != nil {
		outcome = outcomeStopped
	}
	s.finish(ctx, number, now, outcome, err)
	return err
}

// The outcomes of a run.
const (
	outcomePlanned = "planned"
	outcomeIdle    = "idle"
	outcomeFailed  = "failed"
	outcomeRefused = "refused" // the answer
	outcomeStopped = "stopped"
)

// once brings the gateway's plan, and what the delivery system was told, up to date.
func (s *Scheduler) once(ctx context.Context, now time.Time) (string, error) {
	p := s.policy()
	st, err := s.system(ctx, p)
	if err != nil {
		return outcomeFailed, err
	}
	contract, why, _ := s.idle()
	if why != "" {
		if why != ModesNotTold { // that lasts a minute after each new device, and the plan holds meanwhile
			s.plans.Store(nil)
		}
		return outcomeIdle, nil
	}
	if st, err = s.hear(ctx, st, now); err != nil {
		return failure(err), err
	}
	if st, err = s.fetch(ctx, st, p, now); err != nil {
		return failure(err), err
	}
	if err := s.plan(ctx, st, p, contract, now, true); err != nil {
		return failure(err), err
	}
	return outcomePlanned, nil
}

func failure(err error) string {
	if errors.Is(err, ErrAnswer) {
		return outcomeRefused
	}
	return outcomeFailed
}

// system loads what is kept, if that is needed, and drops what is of another delivery system.
func (s *Scheduler) system(ctx context.Context, p Policy) (st state, err error) {
	if s.stale {
		st, err = s.load(ctx)
	} else {
		st, err = s.state(ctx)
	}
	if err != nil || st.System == p.System {
		return st, err
	}
	if st.System != "" || st.Token != "" {
		if err := s.forget(ctx); err != nil {
			return st, fmt.Errorf("drop the schedule of another delivery system: %w", err)
		}
	}
	return s.change(ctx, func(_ store.Tx, next *state) error {
		*next = state{Schema: schema, System: p.System}
		return nil
	})
}

// forget removes everything but what was learned. Interrupted, it is done again: the state still names the other system.
func (s *Scheduler) forget(ctx context.Context) error {
	for {
		list, err := s.journal.List(ctx, "", 50)
		if err != nil || len(list) == 0 {
			if err != nil {
				return err
			}
			break
		}
		err = s.Store.Update(ctx, func(tx store.Tx) error {
			var errs []error
			for _, in := range list {
				_, err := s.journal.Cancel(tx, in.ID)
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		})
		if err != nil {
			return err
		}
	}
	s.stale = true
	var keys []string
	for id := range s.deliveries {
		keys = append(keys, deliveryPrefix+id)
	}
	for id := range s.rejected {
		keys = append(keys, rejectedPrefix+id)
	}
	slices.Sort(keys)
	if err := s.remove(ctx, keys); err != nil {
		return err
	}
	s.deliveries, s.rejected, s.background, s.stale = map[string]mfpgate.Delivery{}, map[string]rejection{}, nil, false
	s.plans.Store(nil)
	return s.sweep(ctx, state{})
}

// idle says why there is nothing to do; the contract is the one in force if there is.
func (s *Scheduler) idle() (c mfpgate.Contract, why mfpgate.Reason, text string) {
	c, ok := s.Site.Contract()
	served := slices.ContainsFunc(s.Site.Devices(), mfpgate.ScheduledDevice.Served)
	switch {
	case !ok:
		return c, NoContract, "there is no contract: no cloud is configured, or it has not answered yet"
	case !slices.Contains(c.Services, mfpgate.ServiceDelivery):
		return c, NotInContract, "the contract does not include " + mfpgate.ServiceDelivery
	case !served:
		return c, NoProxyDevices, "no device is in mode proxy, or on USB: no delivery goes through the gateway"
	case !s.Site.Told():
		return c, ModesNotTold, "the cloud has not acknowledged the mode of every device yet, so it may not know whose deliveries to tell"
	}
	return c, "", ""
}

// effective is the smaller of what the configuration and the contract allow, and why it is less than was configured.
func effective(p Policy, c mfpgate.Contract) (mfpgate.ScheduleMode, string) {
	rank := func(m mfpgate.ScheduleMode) int { return max(slices.Index(modes, m), 0) } // one that nobody knows allows the least
	configured, contracted := modes[rank(p.Mode)], modes[rank(c.Mode)]
	if rank(contracted) < rank(configured) {
		return contracted, fmt.Sprintf("the contract allows no more than %s", contracted)
	}
	return configured, ""
}

var modes = []mfpgate.ScheduleMode{mfpgate.ScheduleNotify, mfpgate.SchedulePropose, mfpgate.ScheduleAuto}

// plan makes the plan of what is known and, if it may act, decides what follows from it.
func (s *Scheduler) plan(ctx context.Context, st state, p Policy, c mfpgate.Contract, now time.Time, act bool) error {
	mode, why := effective(p, c)
	c.Mode = mode
	if st.requested() && mode == mfpgate.ScheduleNotify {
		c.Mode = mfpgate.SchedulePropose
	}
	rejected := maps.Clone(s.rejected)
	for id, r := range rejected { // a new version, or none, may be moved again
		if d, there := s.deliveries[id]; !there || d.Version != r.Version {
			delete(rejected, id)
		}
	}
	snap := s.snapshot(p, c, st, now, rejected)
	if st.Proposal.open() {
		if err := s.hysteresis(ctx, st, &snap, rejected); err != nil {
			return err
		}
	}
	made, err := s.make(snap)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	before := len(rejected)
	for id, r := range rejected { // so may one whose overload is another now
		if !r.Band.To.IsZero() && !slices.ContainsFunc(made.Bands, func(b mfpgate.Band) bool {
			return b.To.Equal(r.Band.To) && b.Capacity == r.Capacity && (b.From.Equal(r.Band.From) || !b.From.After(now) && !r.Band.From.After(now))
		}) {
			delete(rejected, id)
		}
	}
	if len(rejected) != before {
		snap = s.snapshot(p, c, st, now, rejected)
		if made, err = s.make(snap); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
	}
	if act {
		if err := s.drop(ctx, rejected); err != nil {
			return err
		}
		if err := s.decide(ctx, st, mode, c, siteLoad(p, snap), snap, made, now); err != nil {
			return err
		}
	}
	s.plans.Store(&planning{snap: snap, plan: made, slots: planned(snap), mode: mode, why: why, rejected: len(rejected)})
	return nil
}

// make is Planner.Make; a panic in it is an error, for a plan is made at the start too.
func (s *Scheduler) make(snap mfpgate.ScheduleSnapshot) (made mfpgate.SchedulePlan, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &cronjob.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return s.Planner.Make(snap)
}

// hysteresis tells the planner of the starts that are proposed already.
func (s *Scheduler) hysteresis(ctx context.Context, st state, snap *mfpgate.ScheduleSnapshot, rejected map[string]rejection) error {
	var kept keptProposal
	if err := s.read(ctx, st.Proposal.Body, &kept); err != nil {
		return err
	}
	snap.Proposed = map[string]time.Time{}
	for _, d := range snap.Deliveries { // that one may stay was proposed as well
		if d.State == mfpgate.DeliveryPlanned && d.Movable && d.Schedule.RRule == "" {
			if at := starts(d, snap.Contract.TimeZone, snap.Now, snap.Now.Add(snap.Horizon)); len(at) == 1 {
				snap.Proposed[d.ID] = at[0]
			}
		}
	}
	for _, c := range kept.Proposal.Changes {
		if _, no := rejected[c.Delivery]; !no {
			snap.Proposed[c.Delivery] = c.To
		}
	}
	return nil
}

// drop forgets rejections that hold no more.
func (s *Scheduler) drop(ctx context.Context, hold map[string]rejection) error {
	var keys []string
	for id := range s.rejected {
		if _, holds := hold[id]; !holds {
			keys = append(keys, rejectedPrefix+id)
		}
	}
	slices.Sort(keys)
	if err := s.remove(ctx, keys); err != nil {
		s.stale = true
		return fmt.Errorf("forget rejections: %w", err)
	}
	s.rejected = hold
	return nil
}
