package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"context"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// crowded is a desk whose gateway has devices and deliveries d0, d1... that all start tonight: more than it serves.
func crowded(t *testing.T, n int, gateways ...string) *desk {
	t.Helper()
	d := newDesk(t, gateways...)
	gw := gateways[len(gateways)-1]
	var list []api.Delivery
	for i := range n {
		d.tell(gw, fmt.Sprint("dev_", i), "proxy")
		list = append(list, at(fmt.Sprint("d", i), fmt.Sprint("dev_", i), tonight))
	}
	if n > 0 {
		d.plan(gw, list...)
	}
	return d
}

// move proposes another start of d0, d1... as they were planned.
func move(n int, later time.Duration) api.Change {
	to := tonight.Add(later)
	return api.Change{ChangeID: fmt.Sprint("c", n), DeliveryID: fmt.Sprint("d", n), IfMatch: `"1"`, From: tonight, To: to, MoveBy: api.Shift(later),
		Reason: api.Reason{Code: "OVERLOAD", Text: "ends last"}}
}

func proposal(id string, apply bool, changes ...api.Change) api.ChangeProposal {
	return api.ChangeProposal{ProposalID: id, Apply: apply, Changes: changes, Unresolved: []api.Unresolved{{DeliveryID: "dx", Reason: "no room", Options: []string{"widenWindow"}}},
		Quality: api.Quality{Status: "optimal", Solver: "flow"}}
}

// states are those of the changes, with their versions and reasons.
func states(s api.ProposalState) (list []string) {
	for _, c := range s.Changes {
		list = append(list, strings.TrimSpace(strings.Join([]string{c.ChangeID, c.State, string(c.NewVersion) + string(c.CurrentVersion), c.Reason}, " ")))
	}
	return list
}

func (d *desk) propose(gw string, p api.ChangeProposal, query string, headers ...string) reply {
	return d.as(gw, "POST", path(gw, "change-proposals")+query, p, headers...)
}

func TestAutoAppliesAtOnce(t *testing.T) {
	d := crowded(t, 4, "osaka-1")
	p := proposal("p1", true, move(2, 15*time.Minute), move(3, 15*time.Minute))
	rehearsed := d.propose("osaka-1", p, "?dryRun=true")
	if got := states(decode[api.ProposalState](t, rehearsed)); rehearsed.status != 200 || !cmp.Equal(got, []string{"c2 applied 2", "c3 applied 2"}) {
		t.Errorf("rehearsed: %d %v", rehearsed.status, got)
	}
	d.refused("a rehearsal leaves nothing", d.as("osaka-1", "GET", path("osaka-1", "change-proposals", "p1"), nil), 404, "unknown-proposal")
	got := d.propose("osaka-1", p, "", "Idempotency-Key", "k")
	state := decode[api.ProposalState](t, got)
	if got.status != 202 || got.header.Get("Location") != path("osaka-1", "change-proposals", "p1") || state.State != "decided" ||
		!cmp.Equal(states(state), []string{"c2 applied 2", "c3 applied 2"}) {
		t.Errorf("applied: %d %s", got.status, got.body)
	}
	if w := d.get("osaka-1", "d2"); !w.Schedule.StartUTC.Equal(tonight.Add(15*time.Minute)) || w.Version != "2" {
		t.Errorf("moved: %+v", w)
	}
	again := d.propose("osaka-1", p, "", "Idempotency-Key", "k")
	if diff := cmp.Diff(state, decode[api.ProposalState](t, again)); diff != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s", diff)
	}
	other := proposal("p1", true, move(1, time.Hour))
	d.refused("the key for another body", d.propose("osaka-1", other, "", "Idempotency-Key", "k"), 422, "idempotency-key-reuse")
	d.refused("the id for another body", d.propose("osaka-1", other, ""), 422, "idempotency-key-reuse")
	d.contract("osaka-1", func(c *api.Contract) { c.Mode = "propose" })
	d.refused("mode propose", d.propose("osaka-1", proposal("p2", true, move(1, time.Hour)), ""), 403, "not-in-contract")
	d.contract("osaka-1", func(c *api.Contract) { c.Mode = "notify" })
	d.refused("mode notify", d.propose("osaka-1", proposal("p2", false, move(1, time.Hour)), ""), 403, "not-in-contract")
	d.contract("osaka-1", func(c *api.Contract) { c.Mode, c.Services = "auto", nil })
	d.refused("no such service", d.propose("osaka-1", proposal("p2", false, move(1, time.Hour)), ""), 403, "not-in-contract")
}

func TestEachChangeHasAnOutcome(t *testing.T) {
	d := crowded(t, 8, "osaka-1")
	change := func(n int, edit func(*api.Delivery)) {
		w := d.get("osaka-1", fmt.Sprint("d", n))
		edit(&w)
		if got := d.as("hana", "PUT", path("osaka-1", "deliveries", w.DeliveryID)+"?allowOverload=true", w, "If-Match", `"1"`); got.status != 200 {
			t.Fatalf("change %d: %d %s", n, got.status, got.body)
		}
	}
	second := func(c api.Change) api.Change { c.IfMatch = `"2"`; return c }
	change(1, func(w *api.Delivery) { w.Priority = 3 })
	change(2, func(w *api.Delivery) { w.Movable = new(bool) })
	change(3, func(w *api.Delivery) { e := tonight.Add(time.Hour); w.Window = &api.StartWindow{LatestEnd: &e} })
	change(4, func(w *api.Delivery) { w.State = "cancelled" })
	d.contract("osaka-1", func(c *api.Contract) { c.MaxMove = api.Duration(12 * time.Hour) })
	soon := move(5, 0)
	soon.To = noon.Add(30 * time.Minute)
	unknown := move(9, time.Hour)
	late := move(6, 13*time.Hour)
	p := proposal("p1", true, move(0, 5*time.Hour), move(1, 5*time.Hour), second(move(2, 5*time.Hour)), second(move(3, 5*time.Hour)), second(move(4, 5*time.Hour)), soon, late, unknown)
	want := []string{"c0 applied 2", "c1 conflict 2", "c2 rejected  pinned", "c3 rejected  window-violation", "c4 rejected  not-planned",
		"c5 rejected  lead-time-violation", "c6 rejected  max-move", "c9 rejected  unknown-delivery"}
	got := states(decode[api.ProposalState](t, d.propose("osaka-1", p, "")))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestProposalsThatOverload(t *testing.T) {
	d := crowded(t, 4, "outer", "inner")
	p := d.refused("all into the next quarter", d.propose("inner", proposal("p1", true, move(0, time.Hour), move(1, time.Hour), move(2, time.Hour)), ""), 422, "would-overload")
	if len(p.Bands) == 0 || p.Bands[0].Peak != 3 {
		t.Errorf("bands: %+v", p.Bands)
	}
	if got := d.propose("inner", proposal("p2", true, move(0, time.Hour)), ""); got.status != 202 {
		t.Errorf("what leaves an overload, and leaves a smaller one: %d %s", got.status, got.body)
	}
	d.tell("outer", "dev_o1", "proxy")
	d.tell("outer", "dev_o2", "proxy")
	d.plan("outer", at("o1", "dev_o1", tonight.Add(3*time.Hour)), at("o2", "dev_o2", tonight.Add(3*time.Hour)))
	d.refused("room inside, none outside", d.propose("inner", proposal("p3", true, move(1, 3*time.Hour)), ""), 422, "would-overload")
	stale := proposal("p4", true, move(1, 3*time.Hour))
	stale.BasedOn.DeltaToken = "log_x.1"
	d.refused("computed from something else", d.propose("inner", stale, ""), 409, "stale-snapshot")
	if got := d.propose("outer", proposal("p5", true, move(1, 2*time.Hour)), ""); got.status != 202 || d.get("inner", "d1").Version != "2" {
		t.Errorf("the outer one moves what it relays: %d %s", got.status, got.body)
	}
}

func TestPeopleDecide(t *testing.T) {
	d := crowded(t, 6, "osaka-1")
	p := proposal("p1", false, move(2, time.Hour), move(3, time.Hour), move(4, 2*time.Hour), move(5, 2*time.Hour))
	made := d.propose("osaka-1", p, "")
	if got := decode[api.ProposalState](t, made); got.State != "pending" || got.Changes[0].State != "pending" || d.get("osaka-1", "d2").Version != "1" {
		t.Fatalf("proposed: %+v", got)
	}
	target := path("osaka-1", "change-proposals", "p1", "decision")
	decide := func(body any, headers ...string) reply { return d.as("hana", "POST", target, body, headers...) }
	tag := made.header.Get("ETag")
	d.refused("without a tag", decide(map[string]any{"accept": "all"}), 428, "precondition-required")
	d.refused("with a stale one", decide(map[string]any{"accept": "all"}, "If-Match", `"9-pending"`), 412, "precondition-failed")
	d.refused("about nothing", decide(map[string]any{"accept": []string{}}, "If-Match", tag), 422, "invalid-request")
	d.refused("about what is not in it", decide(map[string]any{"accept": []string{"c9"}}, "If-Match", tag), 422, "invalid-request")
	d.refused("yes and no", decide(map[string]any{"accept": []string{"c2"}, "reject": []api.Rejection{{ID: "c2"}}}, "If-Match", tag), 422, "invalid-request")
	d.refused("some other word", decide(map[string]any{"accept": "none"}, "If-Match", tag), 422, "invalid-request")
	got := decide(map[string]any{"accept": []string{"c2"}, "reject": []api.Rejection{{ID: "c3", Reason: "not that one"}}}, "If-Match", tag, "Idempotency-Key", "k")
	want := []string{"c2 applied 2", "c3 rejected  not that one", "c4 pending", "c5 pending"}
	if state := decode[api.ProposalState](t, got); state.State != "pending" || state.By != "hana" || !cmp.Equal(want, states(state)) {
		t.Errorf("decided in part: %s", got.body)
	}
	again := decide(map[string]any{"accept": []string{"c2"}, "reject": []api.Rejection{{ID: "c3", Reason: "not that one"}}}, "If-Match", tag, "Idempotency-Key", "k")
	if again.header.Get("Idempotency-Replayed") != "true" || string(again.body) != string(got.body) {
		t.Errorf("again: %d %s", again.status, again.body)
	}
	full := decode[struct {
		Proposal api.ChangeProposal `json:"proposal"`
	}](t, d.as("hana", "GET", path("osaka-1", "change-proposals", "p1?full=true"), nil))
	if diff := cmp.Diff(p, full.Proposal); diff != "" {
		t.Error(diff)
	}
	tag = got.header.Get("ETag")
	if got := d.as("osaka-1", "GET", path("osaka-1", "change-proposals", "p1"), nil, "If-None-Match", tag); got.status != 304 {
		t.Errorf("unchanged: %d", got.status)
	}
	got = decide(map[string]any{"accept": "all"}, "If-Match", tag)
	if state := decode[api.ProposalState](t, got); state.State != "decided" || state.DecidedAt == nil {
		t.Errorf("decided: %s", got.body)
	}
	d.refused("once more", decide(map[string]any{"accept": "all"}, "If-Match", got.header.Get("ETag")), 409, "already-decided")
	d.refused("withdrawn too late", d.as("osaka-1", "DELETE", path("osaka-1", "change-proposals", "p1"), nil, "If-Match", "*"), 409, "already-decided")

	second := func(c api.Change) api.Change {
		c.IfMatch, c.From = `"2"`, c.From.Add(2*time.Hour)
		c.To = c.To.Add(2 * time.Hour)
		return c
	}
	d.propose("osaka-1", proposal("p2", false, second(move(4, time.Hour))), "")
	if got := d.as("osaka-1", "DELETE", path("osaka-1", "change-proposals", "p2"), nil, "If-Match", "*"); got.status != 204 {
		t.Errorf("withdrawn: %d %s", got.status, got.body)
	}
	made = d.propose("osaka-1", proposal("p3", false, second(move(4, time.Hour))), "")
	d.clock.Advance(11*time.Hour + time.Minute) // its start is 12 hours off, and 1 hour is the lead time
	d.refused("too late", d.as("hana", "POST", path("osaka-1", "change-proposals", "p3", "decision"), map[string]any{"accept": "all"}, "If-Match", made.header.Get("ETag")),
		410, "proposal-expired")
	if err := d.server.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	list := decode[api.Page[api.ProposalState]](t, d.as("hana", "GET", path("osaka-1", "change-proposals"), nil))
	var found []string
	for _, s := range list.Items {
		found = append(found, s.ProposalID+" "+s.State)
	}
	if len(found) != 3 || !cmp.Equal(map[string]bool{found[0]: true, found[1]: true, found[2]: true}, map[string]bool{"p3 expired": true, "p2 withdrawn": true, "p1 decided": true}) {
		t.Errorf("listed: %v", found)
	}
	events := decode[api.ScheduleEvents](t, d.as("osaka-1", "GET", path("osaka-1", "events"), nil))
	var told []string
	for _, e := range events.Items {
		if e.Type == "proposalDecided" {
			told = append(told, e.Object)
		}
	}
	if diff := cmp.Diff([]string{"p1", "p1", "p3"}, told); diff != "" {
		t.Errorf("told of: %s", diff)
	}
}

// dying is a store whose process dies at some commit: that one, and all after it, do not happen.
type dying struct {
	store.Store
	left int
}

var errDead = errors.New("the process is dead")

func (s *dying) Update(ctx context.Context, fn func(store.Tx) error) error {
	if s.left == 0 {
		return errDead
	}
	s.left-- // below nothing: it lives
	return s.Store.Update(ctx, fn)
}

// TestEveryCrashLeadsToTheSameEnd kills the server before each commit of a proposal that is applied, and of a batch. The same request again,
// or the next start alone, leads to where an unharmed one does.
func TestEveryCrashLeadsToTheSameEnd(t *testing.T) {
	const count = 34 // more than one part
	d := crowded(t, 0, "osaka-1")
	life := &dying{d.facts, -1}
	d.facts = life
	d.restart()
	for n := range count {
		d.tell("osaka-1", fmt.Sprint("dev_", n), "proxy")
	}
	for crash := 0; ; crash++ {
		survived := false
		prefix := fmt.Sprintf("r%d-", crash)
		var items []api.Delivery
		var changes []api.Change
		night := tonight.Add(time.Duration(crash) * 48 * time.Hour)
		for n := range count {
			w := at(prefix+fmt.Sprint(n), fmt.Sprint("dev_", n), night)
			w.Duration = &api.Estimate{P50: api.Duration(time.Minute), P95: api.Duration(time.Minute)}
			items = append(items, w)
			to := night.Add(time.Duration(n+1) * 5 * time.Minute)
			changes = append(changes, api.Change{ChangeID: fmt.Sprint("c", n), DeliveryID: w.DeliveryID, IfMatch: `"1"`, From: night, To: to, MoveBy: api.Shift(to.Sub(night)),
				Reason: api.Reason{Code: "OVERLOAD"}})
		}
		batch := func() reply {
			return d.as("hana", "POST", path("osaka-1", "deliveries:batch?allowOverload=true"), map[string]any{"items": items}, "Idempotency-Key", prefix)
		}
		propose := func() reply {
			return d.propose("osaka-1", proposal(prefix+"p", true, changes...), "", "Idempotency-Key", prefix)
		}
		run := func(send func() reply) {
			t.Helper()
			life.left = crash
			survived = send().status < 300
			life.left = -1
			d.restart()
			if again := send(); again.status >= 300 {
				t.Fatalf("crash before commit %d: then %d %s", crash, again.status, again.body)
			}
		}
		run(batch)
		early := survived
		run(propose)
		state := decode[api.ProposalState](t, d.as("osaka-1", "GET", path("osaka-1", "change-proposals", prefix+"p"), nil))
		for n, c := range state.Changes {
			if w := d.get("osaka-1", c.DeliveryID); state.State != "decided" || c.State != "applied" || w.Version != "2" || !w.Schedule.StartUTC.Equal(changes[n].To) {
				t.Fatalf("crash before commit %d: %s %+v, %+v", crash, state.State, c, w.Schedule)
			}
		}
		if len(state.Changes) != count {
			t.Fatalf("%d changes", len(state.Changes))
		}
		if survived && early {
			break
		}
		if crash > 40 {
			t.Fatal("it takes no end")
		}
	}
}
