package region_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
)

// steps is the saga's order with some left out, and others moved behind one.
func steps(without []mfpgate.MoveStep, behind mfpgate.MoveStep, moved ...mfpgate.MoveStep) func(*region.Saga) {
	return func(s *region.Saga) {
		var order []mfpgate.MoveStep
		for _, step := range s.Order() {
			if slices.Contains(without, step) || slices.Contains(moved, step) {
				continue
			}
			order = append(order, step)
			if step == behind {
				order = append(order, moved...)
			}
		}
		s.SetOrder(order...)
	}
}

// The worlds of the mutants. Nothing is broken in them; that the gateway probes no certificates, or that the disk is busy, holds a move up.
var (
	good      = &regiontest.Config{}
	impatient = &regiontest.Config{Within: 30 * time.Minute}
	verifying = &regiontest.Config{Unprobed: true}
	pinned    = &regiontest.Config{Unprobed: true, Pinned: true} // with a tunnel open when the routes change
	busy      = &regiontest.Config{Busy: 20 * time.Second}
	lateness  = takenBack(regiontest.Faults{Late: 0.9, LateBy: 5 * time.Minute}) // nothing is lost, and much comes again minutes later
	unlinking = takenBack(strays("jp to us orders unlink", false))
	copying   = takenBack(strays("us to jp transfers copy", false))
	copyless  = takenBack(strays("us to jp transfers copy", true))
)

// takenBack is a world in which a move is aborted while it waits for the gateway's probes.
func takenBack(faults regiontest.Faults) *regiontest.Config {
	return &regiontest.Config{Faults: faults, Abort: 20 * time.Second, Unprobed: true}
}

// strays is a good network on which one kind of message comes (again) when the move has long been taken back.
func strays(message string, lost bool) regiontest.Faults {
	return regiontest.Faults{Strays: map[string]regiontest.Stray{message: {Lost: lost, Again: 3 * time.Minute}}}
}

// mutant is a thing that is broken, the world in which that shows, and the rule that it breaks.
type mutant struct {
	rule   string
	world  *regiontest.Config
	breaks regiontest.Break
	want   regiontest.Rule
	seeds  uint64 // so many are tried at most; 0: the first shows it
}

var mutants = []mutant{
	{"delete waits for the device", good, regiontest.Break{
		Saga: steps(nil, mfpgate.StepRetire, mfpgate.StepDelete)}, regiontest.RuleTombstone, 0},
	{"activate waits for drain", good, regiontest.Break{
		Saga: steps(nil, mfpgate.StepVerify, mfpgate.StepActivate), Services: regiontest.Eager}, regiontest.RuleTwoActive, 0},
	{"commit waits for activate", good, regiontest.Break{
		Saga: steps(nil, mfpgate.StepDelta, mfpgate.StepCommit)}, regiontest.RuleCommitted, 0},
	{"retire waits for activate", good, regiontest.Break{
		Saga: steps(nil, mfpgate.StepDelta, mfpgate.StepRetire)}, regiontest.RuleReachable, 0},
	{"a copy that comes again is the same one", verifying, regiontest.Break{
		Services: regiontest.Appending}, regiontest.RuleDigest, 20}, // once the device has deleted an item in between
	{"what is not offered is unlinked", good, regiontest.Break{
		Saga: steps([]mfpgate.MoveStep{mfpgate.StepUnlink}, ""), Credulous: true}, regiontest.RuleChildren, 0},
	{"a late step is fenced", lateness, regiontest.Break{
		Services: regiontest.NoFence}, regiontest.RuleFence, 20},
	{"a late unlink does not meet a source where all was taken back", unlinking, regiontest.Break{
		Services: regiontest.NoFence}, regiontest.RuleRestored, 0},
	{"an abort leaves a tombstone", copying, regiontest.Break{
		Services: regiontest.NoTombstone}, regiontest.RuleRestored, 0},
	{"an abort leaves a tombstone where nothing was", copyless, regiontest.Break{
		Services: regiontest.NoTombstone}, regiontest.RuleRestored, 0},
	{"retire waits for the switch", good, regiontest.Break{
		Saga: steps(nil, mfpgate.StepRetire, mfpgate.StepSwitch)}, regiontest.RuleReachable, 0},
	{"the gateway waits for the commit", busy, regiontest.Break{
		Told: regiontest.AheadOfCommit}, regiontest.RuleReachable, 0},
	{"a move ends only when the gateway switches", impatient, regiontest.Break{
		Told: regiontest.NeverCommitted}, regiontest.RuleEnd, 0},
	{"open tunnels are looked at again", pinned, regiontest.Break{
		Deaf: true}, regiontest.RuleRelay, 0},
	{"the relay enforces what the region hears of", pinned, regiontest.Break{
		Lax: true}, regiontest.RuleRelay, 0},
	{"the old management server is left open until the device has its directive", impatient, regiontest.Break{
		Told: regiontest.Heedless}, regiontest.RuleDirective, 0},
}

// broken is the world with the mutant in it.
func (m mutant) broken(seed uint64) regiontest.Config {
	c := *m.world
	c.Seed, c.Break = seed, m.breaks
	return c
}

// TestMutants breaks one thing each, and wants it noticed. The same worlds without the breakage are sound.
func TestMutants(t *testing.T) {
	whole := map[*regiontest.Config]bool{}
	for _, m := range mutants {
		t.Run(m.rule, func(t *testing.T) {
			if !whole[m.world] {
				whole[m.world] = true
				r := play(t, *m.world)
				if sound(t, r); !r.Finished {
					t.Errorf("without the breakage: %s", told(r))
				}
			}
			var seen []regiontest.Rule
			for seed := range max(m.seeds, 1) {
				r := play(t, m.broken(seed))
				if slices.Contains(r.Rules(), m.want) {
					t.Logf("seed %d: %v", seed, r.Broken)
					if m.want == regiontest.RuleEnd {
						awaited(t, r)
					}
					return
				}
				if seen = append(seen, r.Rules()...); t.Failed() {
					return
				}
			}
			t.Errorf("%s was not noticed, but %q", m.want, seen)
		})
	}
}

// awaited wants the move to say for how long the gateway has been waited for.
func awaited(t *testing.T, r regiontest.Result) {
	t.Helper()
	m := r.Facts.Moves[0]
	if m.Step != mfpgate.StepSwitch || m.Reason != region.AwaitsGateway || m.Detail == "" || m.Since.IsZero() || !m.SwitchedAt.IsZero() {
		t.Errorf("the move is in %s, %s (%s) since %s", m.Step, m.Reason, m.Detail, m.Since)
	}
}
