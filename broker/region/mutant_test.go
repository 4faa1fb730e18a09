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

// TestMutants breaks one thing each, and wants it noticed. The same worlds without the breakage are sound.
func TestMutants(t *testing.T) {
	for _, c := range []struct {
		rule  string
		world regiontest.Config
		seeds uint64 // of which one at least shows it
		want  regiontest.Rule
	}{
		{"delete waits for the device", regiontest.Config{Break: regiontest.Break{
			Saga: steps(nil, mfpgate.StepRetire, mfpgate.StepDelete)}}, 1, regiontest.RuleTombstone},
		{"activate waits for drain", regiontest.Config{Break: regiontest.Break{
			Saga: steps(nil, mfpgate.StepVerify, mfpgate.StepActivate), Services: regiontest.Eager()}}, 1, regiontest.RuleTwoActive},
		{"commit waits for activate", regiontest.Config{Break: regiontest.Break{
			Saga: steps(nil, mfpgate.StepDelta, mfpgate.StepCommit)}}, 1, regiontest.RuleCommitted},
		{"retire waits for activate", regiontest.Config{Break: regiontest.Break{
			Saga: steps(nil, mfpgate.StepDelta, mfpgate.StepRetire)}}, 1, regiontest.RuleReachable},
		{"a copy that comes again is the same one", regiontest.Config{Break: regiontest.Break{
			Told: regiontest.NotVerifying, Services: regiontest.Appending()}}, 20, regiontest.RuleDigest},
		{"what is not offered is unlinked", regiontest.Config{Break: regiontest.Break{
			Saga: steps([]mfpgate.MoveStep{mfpgate.StepUnlink}, ""), Credulous: true}}, 1, regiontest.RuleChildren},
		{"a late step is fenced", regiontest.Config{Faults: late, Abort: 20 * time.Second, Break: regiontest.Break{
			Told: regiontest.NotVerifying, Services: regiontest.NoFence}}, 20, regiontest.RuleRestored},
		{"an abort leaves a tombstone", regiontest.Config{Faults: late, Abort: 20 * time.Second, Break: regiontest.Break{
			Told: regiontest.NotVerifying, Services: regiontest.NoTombstone}}, 20, regiontest.RuleRestored},
		{"retire waits for the switch", regiontest.Config{Break: regiontest.Break{
			Saga: steps(nil, mfpgate.StepRetire, mfpgate.StepSwitch)}}, 1, regiontest.RuleReachable},
		{"the gateway waits for the commit", regiontest.Config{Break: regiontest.Break{
			Told: regiontest.AheadOfCommit, Adopt: regiontest.Refusing(3)}}, 1, regiontest.RuleReachable},
		{"a move ends only when the gateway switches", regiontest.Config{Within: 3 * time.Hour, Break: regiontest.Break{
			Told: regiontest.NeverCommitted}}, 1, regiontest.RuleEnd},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var seen []regiontest.Rule
			for seed := range c.seeds {
				c.world.Seed = seed
				c.world.Limits.Redirect, c.world.Limits.Stuck = soon.Redirect, soon.Stuck
				if seed == 0 && c.want != regiontest.RuleEnd {
					whole := c.world
					if whole.Break.Services != nil { // what holds the move up is no breakage
						whole.Break.Saga, whole.Break.Services, whole.Break.Credulous = nil, nil, false
					} else {
						whole.Break = regiontest.Break{Adopt: c.world.Break.Adopt}
					}
					sound(t, play(t, whole))
				}
				r := play(t, c.world)
				if seen = append(seen, r.Rules()...); slices.Contains(r.Rules(), c.want) {
					t.Logf("seed %d: %v", seed, r.Broken)
					if c.want == regiontest.RuleEnd {
						awaited(t, r)
					}
					return
				}
				if t.Failed() {
					return
				}
			}
			t.Errorf("%s was not noticed in %d worlds, but %q", c.want, c.seeds, seen)
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
