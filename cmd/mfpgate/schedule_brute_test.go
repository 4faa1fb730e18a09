package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"

	"github.com/mfpgate/mfpgate/tests/need"
)

// plan runs `mfpgate schedule plan` on a document.
func planned(t *testing.T, doc []byte, args ...string) (code int, out, err string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := &process{in: bytes.NewReader(doc), out: &stdout, err: &stderr, getenv: func(string) string { return "" }, clock: mfpgate.SystemClock{}}
	code = p.run(t.Context(), append([]string{"schedule", "plan", "--snapshot", "-"}, args...))
	return code, stdout.String(), stderr.String()
}

// TestPlansAreWhatCountingEveryTickSays draws schedules around the night on which the clock goes back and holds the plan, as
// the command prints it, against counting.
func TestPlansAreWhatCountingEveryTickSays(t *testing.T) {
	rounds := int(need.Seeds(500))
	if testing.Short() {
		rounds = int(need.Seeds(200))
	}
	var changes, unresolved, chains, optimal, bands, tried int
	for seed := range rounds {
		r := drawing{rand.New(rand.NewPCG(uint64(seed), 7))}
		s := r.snapshot()
		doc, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		code, out, stderr := planned(t, doc, "--json", "--budget", "2ms")
		if code != done || stderr != "" {
			t.Fatalf("seed %d: exit %d, %s\n%s", seed, code, stderr, doc)
		}
		var p api.Plan
		if err := json.Unmarshal([]byte(out), &p); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		j := judge{c: count(s), p: p}
		j.judge()
		if len(j.faults) > 0 {
			t.Fatalf("seed %d:\n%s\n%s\n%s", seed, strings.Join(j.faults, "\n"), doc, out)
		}
		if seed%5 == 0 {
			same(t, s, out)
		}
		changes, unresolved, bands = changes+len(p.Proposal.Changes), unresolved+len(p.Proposal.Unresolved), bands+len(p.Bands)
		tried += j.tried
		for _, c := range p.Proposal.Changes {
			if c.Reason.Code != "OVERLOAD" {
				chains++
			}
		}
		if p.Proposal.ProposalID != "" && p.Proposal.Quality.Status == "optimal" {
			optimal++
		}
	}
	t.Logf("%d bands, %d changes, %d of them to make room, %d unresolved, %d proposals proved the best, %d proofs tried", bands, changes, chains, unresolved, optimal, tried)
	if changes < rounds/2 || unresolved < rounds/20 || tried < rounds/30 {
		t.Error("the schedules that are drawn are too easy")
	}
}

// same plans the snapshot again, listed in another order.
func same(t *testing.T, s api.Snapshot, want string) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(s.Deliveries), func(i, j int) { s.Deliveries[i], s.Deliveries[j] = s.Deliveries[j], s.Deliveries[i] })
	r.Shuffle(len(s.Background), func(i, j int) { s.Background[i], s.Background[j] = s.Background[j], s.Background[i] })
	r.Shuffle(len(s.Devices), func(i, j int) { s.Devices[i], s.Devices[j] = s.Devices[j], s.Devices[i] })
	doc, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, _ := planned(t, doc, "--json", "--budget", "2ms"); got != want {
		t.Fatalf("another order of the lists makes another plan:\n%s", cmp.Diff(want, got))
	}
}

// judge holds a plan against a count.
type judge struct {
	c      *counted
	p      api.Plan
	faults []string
	tried  int // proofs that were tried
}

func (j *judge) fail(format string, args ...any) {
	j.faults = append(j.faults, fmt.Sprintf(format, args...))
}

func (j *judge) judge() {
	contract := j.c.s.Contract
	before := j.c.load(nil, false)
	j.bands("bands", j.p.Bands, j.c.over(before, contract.NotifyMinExcess))
	left := map[string]string{}
	for _, l := range j.p.LeftOut {
		left[l.DeliveryID] = l.Reason
	}
	if diff := cmp.Diff(j.c.left, left); diff != "" {
		j.fail("left out: %s", diff)
	}
	if contract.Mode == "notify" && (j.p.Proposal.ProposalID != "" || len(j.p.Proposal.Changes) > 0) {
		j.fail("mode notify proposes")
	}
	if j.p.Proposal.Apply != (contract.Mode == "auto" && len(j.p.Bands) > 0) {
		j.fail("apply is %v in mode %s", j.p.Proposal.Apply, contract.Mode)
	}
	moves := map[string]time.Time{}
	for _, c := range j.p.Proposal.Changes {
		j.change(c)
		moves[c.DeliveryID] = c.To
	}
	after := j.c.load(moves, false)
	j.bands("bandsAfter", j.p.BandsAfter, j.c.over(after, contract.NotifyMinExcess))
	for _, u := range j.p.Proposal.Unresolved {
		if _, moved := moves[u.DeliveryID]; moved || j.c.fixed[u.DeliveryID] {
			j.fail("%s is unresolved, and moved or fixed", u.DeliveryID)
		}
		moves[u.DeliveryID] = time.Time{}
	}
	if len(j.p.Bands) > 0 && contract.Mode != "notify" {
		j.kept(before, j.c.load(moves, false))
		j.reasons()
	}
	j.quality()
}

func (j *judge) bands(what string, got, want []api.Band) {
	if len(got) != len(want) {
		j.fail("%d %s, counted %d: %+v", len(got), what, len(want), want)
		return
	}
	for i, g := range got {
		w := want[i]
		shares := 0
		for _, c := range g.Contributors {
			shares += c.PeakShare
		}
		if !g.From.Equal(w.From) || !g.To.Equal(w.To) || g.Capacity != w.Capacity || g.Peak != w.Peak || !g.PeakAt.Equal(w.PeakAt) ||
			g.ExcessDeviceSeconds != w.ExcessDeviceSeconds || shares != g.Peak {
			j.fail("%s[%d] is %+v, counted %+v", what, i, g, w)
		}
	}
}

// change holds one new start against every rule.
func (j *judge) change(c api.Change) {
	s := j.c.s
	for _, d := range s.Deliveries {
		if d.DeliveryID != c.DeliveryID {
			continue
		}
		start, ok := j.c.start[d.DeliveryID]
		end := c.To.Add(time.Duration(d.Duration.P95))
		far := c.To.Sub(start).Abs()
		switch {
		case !ok || j.c.fixed[d.DeliveryID]:
			j.fail("%s moves, and may not", d.DeliveryID)
		case !c.From.Equal(start) || c.To.Equal(start) || time.Duration(c.MoveBy) != c.To.Sub(start) || c.IfMatch != `"`+string(d.Version)+`"`:
			j.fail("change %+v is not from %s, version %s", c, start, d.Version)
		case c.To.Before(night.Add(time.Duration(s.Contract.LeadTime))):
			j.fail("%s starts within the lead time", d.DeliveryID)
		case c.To.UnixNano()%int64(s.Contract.Slot) != 0:
			j.fail("%s starts beside the slots", d.DeliveryID)
		case s.Contract.MaxMove > 0 && far > time.Duration(s.Contract.MaxMove):
			j.fail("%s moves by %s", d.DeliveryID, far)
		case end.After(night.Add(ticks * tick)):
			j.fail("%s ends beyond the horizon", d.DeliveryID)
		}
		w := d.Window
		if w == nil {
			return
		}
		if w.EarliestStart != nil && c.To.Before(*w.EarliestStart) || w.LatestEnd != nil && end.After(*w.LatestEnd) {
			j.fail("%s leaves its window", d.DeliveryID)
		}
		for _, b := range w.Blackouts {
			if c.To.Before(b.To) && b.From.Before(end) {
				j.fail("%s touches a blackout", d.DeliveryID)
			}
		}
		return
	}
	j.fail("%s is no delivery", c.DeliveryID)
}

// kept demands that what is resolved overloads nothing but where that was there before and is too small to be told of, or
// cannot move.
func (j *judge) kept(before, after []int) {
	fixed := j.c.load(nil, true)
	room := append([]int(nil), j.c.room...)
	for _, b := range j.c.over(before, 1) {
		if b.Peak-b.Capacity < j.c.s.Contract.NotifyMinExcess {
			for i := index(b.From); i < index(b.To); i++ {
				room[i] = b.Peak
			}
		}
	}
	for i := range after {
		if after[i] > max(room[i], fixed[i]) {
			j.fail("%d at %s after the changes, room %d, fixed %d", after[i], night.Add(tick*time.Duration(i)), room[i], fixed[i])
			return
		}
	}
}

// reasons follows each change back to a band.
func (j *judge) reasons() {
	byDelivery := map[string]api.Change{}
	for _, c := range j.p.Proposal.Changes {
		byDelivery[c.DeliveryID] = c
	}
	for _, c := range j.p.Proposal.Changes {
		start, end := j.c.start[c.DeliveryID], j.c.end[c.DeliveryID]
		in := ""
		for _, b := range j.p.Bands {
			if start.Before(b.To) && b.From.Before(end) && in == "" {
				in = b.BandID
			}
		}
		other, follows := byDelivery[c.Reason.FreedBy]
		came := other.To.Add(j.c.end[other.DeliveryID].Sub(j.c.start[other.DeliveryID]))
		switch c.Reason.Code {
		case "OVERLOAD":
			if in != c.Reason.BandID || c.Reason.FreedBy != "" {
				j.fail("%s is in band %q: %+v", c.DeliveryID, in, c.Reason)
			}
		case "SWAP", "CHAIN":
			if in != "" || !follows || !other.To.Before(end) || !start.Before(came) || other.Reason.BandID != c.Reason.BandID ||
				(c.Reason.Code == "SWAP") != (other.Reason.Code == "OVERLOAD") {
				j.fail("%s makes room for nobody: %+v", c.DeliveryID, c.Reason)
			}
		default:
			j.fail("%s has reason %+v", c.DeliveryID, c.Reason)
		}
	}
}

func (j *judge) quality() {
	q, far := j.p.Proposal.Quality, time.Duration(0)
	for _, c := range j.p.Proposal.Changes {
		far += c.To.Sub(c.From).Abs()
	}
	if q.Moved != len(j.p.Proposal.Changes) || q.Unresolved != len(j.p.Proposal.Unresolved) || time.Duration(q.Displacement) != far ||
		q.MovedLB > q.Moved || q.UnresolvedLB > q.Unresolved || q.DisplacementLB > q.Displacement && q.UnresolvedLB == q.Unresolved && q.MovedLB == q.Moved ||
		q.Status == "optimal" && q.Gap != 0 {
		j.fail("quality %+v of %d changes by %s and %d unresolved", q, len(j.p.Proposal.Changes), far, len(j.p.Proposal.Unresolved))
	}
	if q.Status != "optimal" || len(j.p.Bands) == 0 || j.c.s.Contract.Mode == "notify" {
		return
	}
	has := cost{q.Unresolved, q.Moved, far}
	if q.Unresolved > 0 {
		has = cost{unresolved: q.Unresolved} // which of them remain is a matter of priority, and so is what the rest costs
	}
	found, sure := better(j.c, has, j.c.load(nil, false))
	if found {
		j.fail("quality %+v is called optimal, and trying finds better", q)
	}
	if sure {
		j.tried++
	}
}
