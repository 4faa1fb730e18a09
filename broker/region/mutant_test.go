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

// late is a network on which nothing is lost, and much comes again minutes later.
var late = regiontest.Faults{Late: 0.9, LateBy: 5 * time.Minute}

// strays is a good network on which one kind of message comes (again) when the move has long been taken back.
func strays(message string, lost bool) regiontest.Faults {
	return regiontest.Faults{Strays: map[string]regiontest.Stray{message: {Lost: lost, Again: 3 * time.Minute}}}
}

// mutant is a thing that is broken, the world in which that shows, and what is seen of it.
type mutant struct {
	rule   string
	world  regiontest.Config
	breaks regiontest.Break // of the world, in which nothing else is broken
	seeds  uint64           // so many are tried at most; 0: the first shows it
	want   regiontest.Rule
}

// taken back is a world in which a move is aborted while it is waiting for the gateway's probes.
func takenBack(faults regiontest.Faults) regiontest.Config {
	return regiontest.Config{Faults: faults, Abort: 20 * time.Second, Break: regiontest.Break{Told: regiontest.NotVerifying}}
}

var mutants = []mutant{
	{rule: "delete waits for the device", want: regiontest.RuleTombstone,
		breaks: regiontest.Break{Saga: steps(nil, mfpgate.StepRetire, mfpgate.StepDelete)}},
	{rule: "activate waits for drain", want: regiontest.RuleTwoActive,
		breaks: regiontest.Break{Saga: steps(nil, mfpgate.StepVerify, mfpgate.StepActivate), Services: regiontest.Eager()}},
	{rule: "commit waits for activate", want: regiontest.RuleCommitted,
		breaks: regiontest.Break{Saga: steps(nil, mfpgate.StepDelta, mfpgate.StepCommit)}},
	{rule: "retire waits for activate", want: regiontest.RuleReachable,
		breaks: regiontest.Break{Saga: steps(nil, mfpgate.StepDelta, mfpgate.StepRetire)}},
	{rule: "a copy that comes again is the same one", seeds: 20, want: regiontest.RuleDigest, // once the device has deleted an item in between
		world:  regiontest.Config{Break: regiontest.Break{Told: regiontest.NotVerifying}},
		breaks: regiontest.Break{Services: regiontest.Appending()}},
	{rule: "what is not offered is unlinked", want: regiontest.RuleChildren,
		breaks: regiontest.Break{Saga: steps([]mfpgate.MoveStep{mfpgate.StepUnlink}, ""), Credulous: true}},
	{rule: "a late step is fenced", seeds: 20, want: regiontest.RuleFence,
		world: takenBack(late), breaks: regiontest.Break{Services: regiontest.NoFence}},
	{rule: "a late unlink does not meet a source where all was taken back", want: regiontest.RuleRestored,
		world: takenBack(strays("jp to us orders unlink", false)), breaks: regiontest.Break{Services: regiontest.NoFence}},
	{rule: "an abort leaves a tombstone", want: regiontest.RuleRestored,
		world: takenBack(strays("us to jp transfers copy", false)), breaks: regiontest.Break{Services: regiontest.NoTombstone}},
	{rule: "an abort leaves a tombstone where nothing was", want: regiontest.RuleRestored,
		world: takenBack(strays("us to jp transfers copy", true)), breaks: regiontest.Break{Services: regiontest.NoTombstone}},
	{rule: "retire waits for the switch", want: regiontest.RuleReachable,
		breaks: regiontest.Break{Saga: steps(nil, mfpgate.StepRetire, mfpgate.StepSwitch)}},
	{rule: "the gateway waits for the commit", want: regiontest.RuleReachable,
		world:  regiontest.Config{Break: regiontest.Break{Adopt: regiontest.Busy(20 * time.Second)}},
		breaks: regiontest.Break{Told: regiontest.AheadOfCommit}},
	{rule: "a move ends only when the gateway switches", want: regiontest.RuleEnd,
		world: regiontest.Config{Within: 3 * time.Hour}, breaks: regiontest.Break{Told: regiontest.NeverCommitted}},
	{rule: "open tunnels are looked at again", want: regiontest.RuleRelay,
		world:  regiontest.Config{Pinned: true, Break: regiontest.Break{Told: regiontest.NotVerifying}}, // it has one when the routes change
		breaks: regiontest.Break{Deaf: true}},
	{rule: "the relay enforces what the region hears of", want: regiontest.RuleRelay,
		world: regiontest.Config{Pinned: true}, breaks: regiontest.Break{Lax: true}},
	{rule: "the old management server is left open until the device has its directive", want: regiontest.RuleDirective,
		breaks: regiontest.Break{Told: regiontest.Heedless}},
}

// broken is the world with the mutant in it.
func (m mutant) broken(seed uint64) regiontest.Config {
	c, b := m.world, m.breaks
	c.Seed = seed
	if b.Told == nil {
		b.Told = c.Break.Told
	}
	if b.Adopt == nil {
		b.Adopt = c.Break.Adopt
	}
	c.Break = b
	return c
}

// TestMutants breaks one thing each, and wants it noticed. The same worlds without the breakage are sound.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.rule, func(t *testing.T) {
			whole := play(t, m.world)
			if sound(t, whole); !whole.Finished {
				t.Errorf("without the breakage: %s", told(whole))
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
