package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/scheduler/cronjob"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
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
	proxied := slices.ContainsFunc(s.Site.Devices(), func(d mfpgate.ScheduledDevice) bool { return d.MonitoringMode == mfpgate.MonitoringProxy })
	switch {
	case !ok:
		return c, NoContract, "there is no contract: no cloud is configured, or it has not answered yet"
	case !slices.Contains(c.Services, mfpgate.ServiceDelivery):
		return c, NotInContract, "the contract does not include " + mfpgate.ServiceDelivery
	case !proxied:
		return c, NoProxyDevices, "no device is in mode proxy: no delivery goes through the relay"
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
		if err := s.decide(ctx, st, mode, c, snap, made, now); err != nil {
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

// decide writes, in one transaction, what is to be sent and that it is.
func (s *Scheduler) decide(ctx context.Context, st state, mode mfpgate.ScheduleMode, c mfpgate.Contract, snap mfpgate.ScheduleSnapshot, made mfpgate.SchedulePlan, now time.Time) error {
	if st.Stale {
		s.replans++
	}
	if s.replans > MaxReplans {
		// Something changes faster than it can be planned. The next scheduled run begins anew.
		_, err := s.change(ctx, func(_ store.Tx, next *state) error { next.seen(st, now); return nil })
		return err
	}
	report, err := s.report(ctx, st, snap, made, now)
	if err != nil {
		return err
	}
	proposal, withdraw, err := s.propose(ctx, st, report, mode, snap, made)
	if err != nil {
		return err
	}
	next, err := s.change(ctx, func(tx store.Tx, next *state) error {
		next.seen(st, now)
		if report.ID != st.Report.ID {
			if err := s.replace(tx, kindReport, st.Report.ID, report.ID, report.Body); err != nil {
				return err
			}
			next.Report = report
		}
		if withdraw {
			if _, err := s.journal.Cancel(tx, kindProposal+"/"+st.Proposal.ID); err != nil {
				return err
			}
			if err := s.journal.Intend(tx, s.intent(kindWithdraw, st.Proposal.ID, ref{})); err != nil {
				return err
			}
			next.Proposal.Closed = true
		}
		if proposal.ID != "" {
			next.Proposal = proposal
			return s.journal.Intend(tx, s.intent(kindProposal, proposal.ID, proposal.Body))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("decide: %w", err)
	}
	return s.sweep(ctx, next)
}

// seen notes a good run, and what called for it.
func (st *state) seen(before state, now time.Time) {
	st.Ran, st.CallsSeen, st.RequestsSeen = now, before.Calls, before.Requests
	if st.Calls == before.Calls {
		st.Stale = false
	}
}

// report returns what is to be reported, or what was if that is the same.
func (s *Scheduler) report(ctx context.Context, st state, snap mfpgate.ScheduleSnapshot, made mfpgate.SchedulePlan, now time.Time) (reported, error) {
	bands := slices.Clone(made.Bands)
	if len(bands) > maxBands {
		bands = bands[:maxBands] // the earliest
	}
	same := slices.Clone(bands)
	for i := range same {
		b := &same[i]
		unresolved := 0
		if b.Certificate != nil {
			unresolved = b.Certificate.AtLeastUnresolved
		}
		// Words, and the bounds of a proof, move with the clock, and what is left of a band that has begun shrinks: no news.
		b.ID, b.Text, b.Certificate = "", "", &mfpgate.Certificate{AtLeastUnresolved: unresolved}
		if !b.From.After(now) {
			*b = mfpgate.Band{To: b.To, Capacity: b.Capacity, Certainty: b.Certainty}
		}
	}
	content := digestOf(same)
	if content == st.Report.Content {
		return st.Report, nil
	}
	today := now.Truncate(day)
	r := mfpgate.OverloadReport{
		ComputedAt: now, Bands: bands, Supersedes: st.Report.ID,
		Horizon: mfpgate.Interval{From: today, To: today.Add(snap.Horizon)},
		Inputs: mfpgate.ReportInputs{Contract: snap.Contract.Version, DeltaToken: snap.DeltaToken, Background: st.BackgroundVersion,
			TZData: calendar.TZData()},
	}
	// Durations learned, the relay's capacity and the site's own background are inputs too: the content stands for them.
	r.ID = digestOf([]any{r.Inputs, r.Horizon, made.Proposal.Quality.Solver, content, st.Report.ID})
	body, err := s.write(ctx, r)
	return reported{ID: r.ID, Content: content, Body: body, Bands: len(bands)}, err
}

// maxBands is what a report can carry.
const maxBands = 1000

// propose returns the proposal that is to be handed over, if any, and whether the one before is to be withdrawn.
func (s *Scheduler) propose(ctx context.Context, st state, report reported, mode mfpgate.ScheduleMode, snap mfpgate.ScheduleSnapshot, made mfpgate.SchedulePlan) (next proposed, withdraw bool, err error) {
	old := st.Proposal
	p := made.Proposal
	if mode == mfpgate.ScheduleNotify && !st.requested() || len(p.Changes) == 0 {
		return next, old.open(), nil
	}
	p.Report, p.DeltaToken, p.Apply = report.ID, snap.DeltaToken, mode == mfpgate.ScheduleAuto
	content := contentOf(p)
	if old.open() && old.Content == content && (old.Apply || !p.Apply) {
		return next, false, nil
	}
	p.ID = proposalID(content, p.Apply, old.ID)
	next = proposed{ID: p.ID, Content: content, Changes: len(p.Changes), Apply: p.Apply, Requested: st.requested()}
	next.Body, err = s.write(ctx, keptProposal{p, bandsOf(made.Bands)})
	return next, old.open(), err
}

func bandsOf(list []mfpgate.Band) map[string]mfpgate.Band {
	of := make(map[string]mfpgate.Band, len(list))
	for _, b := range list {
		b.Contributors, b.Certificate, b.Text = nil, nil, ""
		of[b.ID] = b
	}
	return of
}

// contentOf is the digest of what a proposal would change.
func contentOf(p mfpgate.Proposal) string {
	type change struct {
		Delivery, Version string
		To                time.Time
	}
	var list []change
	for _, c := range p.Changes {
		list = append(list, change{c.Delivery, c.Version, c.To})
	}
	slices.SortFunc(list, func(a, b change) int { return cmp.Or(strings.Compare(a.Delivery, b.Delivery), a.To.Compare(b.To)) })
	return digestOf(list)
}

// proposalID tells a proposal from the one before it, which may have changed the same and have come to nothing.
func proposalID(content string, apply bool, before string) string {
	return digestOf([]any{content, apply, before})
}

// replace takes an intent back that nobody has called yet, and writes another one.
func (s *Scheduler) replace(tx store.Tx, kind, old, id string, body ref) error {
	if old != "" {
		if _, err := s.journal.Cancel(tx, kind+"/"+old); err != nil {
			return err
		}
	}
	return s.journal.Intend(tx, s.intent(kind, id, body))
}

func (s *Scheduler) intent(kind, id string, body ref) journal.Intent {
	return journal.Intent{ID: kind + "/" + id, Kind: kind, Object: "schedule", Payload: raw(call{id, body})}
}
