package console_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// refused is an error of the server.
type refused struct {
	status  int
	problem api.Problem
}

func (r refused) Error() string        { return r.problem.Detail }
func (r refused) GetStatus() int       { return r.status }
func (r refused) Problem() api.Problem { return r.problem }

func refuse(status int, reason, detail string) error {
	return refused{status, api.Problem{Type: api.ProblemType + reason, Status: status, Detail: detail}}
}

// book is a delivery system in memory. It keeps versions, windows and the lead time, and refuses overloads.
type book struct {
	mu         sync.Mutex
	contract   api.Contract
	deliveries map[string]api.Delivery
	warnings   []api.Warning
	proposals  []api.ChangeProposal
	states     map[string]api.ProposalState
	actions    []string // what operators did
	err        error
	afterGet   func(*book) // runs once, after the next read of one delivery
}

func (b *book) lock() func() { b.mu.Lock(); return b.mu.Unlock }

func (b *book) Contract(context.Context, string) (api.Contract, error) {
	if b.contract.TimeZone == "" {
		return api.DefaultContract("gw"), b.err
	}
	return b.contract, b.err
}

func span(d api.Delivery) (from, to time.Time) {
	return *d.Schedule.StartUTC, d.Schedule.StartUTC.Add(time.Duration(d.Duration.P95))
}

func loads(d api.Delivery) bool { return d.State == "planned" || d.State == "running" }

func (b *book) sorted() []api.Delivery {
	var list []api.Delivery
	for _, d := range b.deliveries {
		list = append(list, d)
	}
	slices.SortFunc(list, func(x, y api.Delivery) int {
		return cmp.Or(x.Schedule.StartUTC.Compare(*y.Schedule.StartUTC), strings.Compare(x.DeliveryID, y.DeliveryID))
	})
	return list
}

func (b *book) Deliveries(_ context.Context, _ string, from, to time.Time) ([]api.Delivery, error) {
	defer b.lock()()
	return slices.DeleteFunc(b.sorted(), func(d api.Delivery) bool {
		start, end := span(d)
		return !start.Before(to) || !end.After(from)
	}), b.err
}

func (b *book) Delivery(_ context.Context, _, id string) (api.Delivery, error) {
	defer b.lock()()
	d, ok := b.deliveries[id]
	if !ok {
		return d, refuse(404, "no-delivery", "the gateway has no such delivery")
	}
	if f := b.afterGet; f != nil {
		b.afterGet = nil
		f(b)
	}
	return d, b.err
}

// step is the load from a moment on.
type step struct {
	at      time.Time
	devices int
}

// load is every device's once, whatever it does, without one delivery.
func (b *book) load(without string) []step {
	type event struct {
		at     time.Time
		device string
		add    int
	}
	var events []event
	for id, d := range b.deliveries {
		if id != without && loads(d) {
			from, to := span(d)
			events = append(events, event{from, d.DeviceID, 1}, event{to, d.DeviceID, -1})
		}
	}
	slices.SortFunc(events, func(x, y event) int { return x.at.Compare(y.at) })
	busy := map[string]int{}
	var steps []step
	for i, e := range events {
		busy[e.device] += e.add
		if busy[e.device] == 0 {
			delete(busy, e.device)
		}
		if i+1 == len(events) || !events[i+1].at.Equal(e.at) {
			steps = append(steps, step{e.at, len(busy)})
		}
	}
	return steps
}

func peak(steps []step, from, to time.Time) int {
	most := 0
	for i, s := range steps {
		if s.at.Before(to) && (i+1 == len(steps) || steps[i+1].at.After(from)) {
			most = max(most, s.devices)
		}
	}
	return most
}

func bandsOf(steps []step, capacity int) []api.Band {
	var bands []api.Band
	for i, s := range steps {
		if s.devices <= capacity || i+1 == len(steps) {
			continue
		}
		if n := len(bands); n > 0 && bands[n-1].To.Equal(s.at) {
			bands[n-1].To = steps[i+1].at
		} else {
			bands = append(bands, api.Band{BandID: "now-" + strconv.Itoa(i), From: s.at, To: steps[i+1].at, Capacity: capacity, Certainty: "risk", Probability: 0.7})
		}
		last := &bands[len(bands)-1]
		last.ExcessDeviceSeconds += float64(s.devices-capacity) * steps[i+1].at.Sub(s.at).Seconds()
		if s.devices > last.Peak {
			last.Peak, last.PeakAt, last.MustMove = s.devices, s.at, s.devices-capacity
		}
	}
	return bands
}

func (b *book) Bands(context.Context, string, time.Time, time.Time) ([]api.Band, error) {
	defer b.lock()()
	return bandsOf(b.load(""), b.contract.MaxConcurrent), b.err
}

func (b *book) Capacity(_ context.Context, _ string, from, to time.Time) (api.Capacity, error) {
	defer b.lock()()
	var c api.Capacity
	steps := b.load("")
	for at := from; at.Before(to); at = at.Add(15 * time.Minute) {
		s := api.CapacitySlot{From: at, To: at.Add(15 * time.Minute), Load: peak(steps, at, at.Add(15*time.Minute)), Limit: b.contract.MaxConcurrent, State: api.SlotFree}
		switch {
		case s.Load > s.Limit:
			s.State = api.SlotOver
		case s.Load == s.Limit:
			s.State = api.SlotFull
		}
		c.Slots = append(c.Slots, s)
	}
	return c, b.err
}

func (b *book) alternatives(d api.Delivery, limit int) []api.Alternative {
	var out []api.Alternative
	steps, slot, start := b.load(d.DeliveryID), time.Duration(b.contract.Slot), *d.Schedule.StartUTC
	lasts := time.Duration(d.Duration.P95)
	first := start.Truncate(slot)
	for n := 1; n <= int(time.Duration(b.contract.MaxMove)/slot) && len(out) < limit; n++ {
		for _, at := range []time.Time{first.Add(time.Duration(n) * slot), first.Add(-time.Duration(n) * slot)} {
			if b.allowed(d, at) == nil && peak(steps, at, at.Add(lasts)) < b.contract.MaxConcurrent && len(out) < limit {
				out = append(out, api.Alternative{StartUTC: at, MoveBy: api.Shift(at.Sub(start))})
			}
		}
	}
	return out
}

func (b *book) Alternatives(_ context.Context, _, id string, limit int) ([]api.Alternative, error) {
	defer b.lock()()
	return b.alternatives(b.deliveries[id], limit), b.err
}

func (b *book) allowed(d api.Delivery, start time.Time) error {
	end := start.Add(time.Duration(d.Duration.P95))
	if start.Before(now.Add(time.Duration(b.contract.LeadTime))) {
		return refuse(422, api.LeadTimeViolation, "the start is within the contract's lead time")
	}
	if w := d.Window; w != nil && (w.EarliestStart != nil && start.Before(*w.EarliestStart) || w.LatestEnd != nil && end.After(*w.LatestEnd)) {
		return refuse(422, api.WindowViolation, "the delivery would not lie within its window")
	}
	return nil
}

func (b *book) PutDelivery(_ context.Context, _ string, d api.Delivery, version api.Version, by string) (api.Delivery, error) {
	defer b.lock()()
	was, there := b.deliveries[d.DeliveryID]
	if there != (version != "") || was.Version != version {
		return was, refuse(http.StatusPreconditionFailed, api.PreconditionFailed, "another version is the present one")
	}
	if d.Duration == nil {
		d.Duration = &api.Estimate{P95: api.Duration(15 * time.Minute), Basis: "assumed"}
	}
	if d.Schedule.Local != "" {
		loc, err := time.LoadLocation(d.Schedule.TimeZone)
		if err != nil {
			return was, refuse(422, "invalid", "schedule.timeZone: unknown")
		}
		start, err := time.ParseInLocation("2006-01-02T15:04:05", d.Schedule.Local, loc)
		if err != nil {
			return was, refuse(422, "invalid", "schedule.local: not a local time")
		}
		start = start.UTC()
		d.Schedule.StartUTC = &start
	}
	if d.State = cmp.Or(d.State, "planned"); d.State == "planned" {
		if err := b.allowed(d, *d.Schedule.StartUTC); err != nil {
			return was, err
		}
		b.deliveries[d.DeliveryID] = d
		from, to := span(d)
		var hit []api.Band
		for _, band := range bandsOf(b.load(""), b.contract.MaxConcurrent) {
			if band.From.Before(to) && band.To.After(from) {
				hit = append(hit, band)
			}
		}
		if len(hit) > 0 {
			p := api.Problem{Type: api.ProblemType + api.WouldOverload, Status: 409, Detail: "too many devices would be served at once", Bands: hit, Alternatives: b.alternatives(d, 5)}
			if b.deliveries[d.DeliveryID] = was; !there {
				delete(b.deliveries, d.DeliveryID)
			}
			return was, refused{409, p}
		}
	}
	n, _ := strconv.Atoi(string(was.Version))
	d.Version = api.Version(strconv.Itoa(n + 1))
	b.deliveries[d.DeliveryID] = d
	b.actions = append(b.actions, fmt.Sprintf("%s saved %s", by, d.DeliveryID))
	return d, b.err
}

func (b *book) Background(context.Context, string) ([]api.BackgroundSchedule, error) {
	return nil, b.err
}

func (b *book) Warnings(_ context.Context, _, state string) ([]api.Warning, error) {
	defer b.lock()()
	return slices.DeleteFunc(slices.Clone(b.warnings), func(w api.Warning) bool { return state != "" && w.State != state }), b.err
}

func (b *book) Warning(_ context.Context, _, band string) (api.Warning, error) {
	defer b.lock()()
	for _, w := range b.warnings {
		if w.BandID == band {
			return w, b.err
		}
	}
	return api.Warning{}, refuse(404, "no-warning", "the gateway has no such warning")
}

func (b *book) ActOnWarning(_ context.Context, _, band string, a api.WarningAction, by string) (api.Warning, error) {
	defer b.lock()()
	for i := range b.warnings {
		if w := &b.warnings[i]; w.BandID == band {
			w.By = by
			b.actions = append(b.actions, by+" "+a.Action)
			switch a.Action {
			case "acknowledge":
				w.State = api.WarningAcknowledged
			case "ignoreUntil":
				w.State, w.IgnoredUntil = api.WarningIgnored, a.Until
			}
			return *w, b.err
		}
	}
	return api.Warning{}, refuse(404, "no-warning", "the gateway has no such warning")
}

func (b *book) Proposals(_ context.Context, _ string, limit int) ([]api.ProposalState, error) {
	defer b.lock()()
	var out []api.ProposalState
	for _, p := range b.proposals[:min(len(b.proposals), limit)] {
		out = append(out, b.states[p.ProposalID])
	}
	return out, b.err
}

func (b *book) etag(id string) string {
	s := b.states[id]
	return `"` + s.State + fmt.Sprint(slices.IndexFunc(s.Changes, func(c api.ChangeStatus) bool { return c.State == "pending" })) + `"`
}

func (b *book) Proposal(_ context.Context, _, id string) (api.ChangeProposal, api.ProposalState, string, error) {
	defer b.lock()()
	for _, p := range b.proposals {
		if p.ProposalID == id {
			return p, b.states[id], b.etag(id), b.err
		}
	}
	return api.ChangeProposal{}, api.ProposalState{}, "", refuse(404, "no-proposal", "the gateway has no such proposal")
}

func (b *book) Decide(_ context.Context, _, id, ifMatch string, d api.Decision, by string) (api.ProposalState, error) {
	defer b.lock()()
	s, ok := b.states[id]
	if !ok || ifMatch != b.etag(id) {
		return s, refuse(http.StatusPreconditionFailed, api.PreconditionFailed, "another version is the present one")
	}
	s.Changes = slices.Clone(s.Changes)
	pending := false
	for i := range s.Changes {
		c := &s.Changes[i]
		at := slices.IndexFunc(d.Reject, func(r api.Rejection) bool { return r.ID == c.ChangeID })
		switch {
		case c.State != "pending":
		case at >= 0:
			c.State, c.Reason = "rejected", d.Reject[at].Reason
		case d.Accept.Every() || slices.Contains(d.Accept, c.ChangeID):
			c.State, c.NewVersion = "applied", "2"
		}
		pending = pending || c.State == "pending"
	}
	if !pending {
		s.State = "decided"
	}
	s.By = by
	b.states[id] = s
	return s, b.err
}
