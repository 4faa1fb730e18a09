package regiontest_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
	"github.com/mfpgate/mfpgate/store/journal"
)

// entry is what a writer says of the move mov_1.
func entry(action, state string, step mfpgate.MoveStep, epoch uint64, seen mfpgate.Seen) mfpgate.MoveTrace {
	return mfpgate.MoveTrace{Move: "mov_1", MFP: "mfp_1", Region: action, State: state, Seq: step.Seq(), Epoch: epoch, Seen: seen}
}

// story is a move from us to jp that is done, told by its five writers.
func story() map[string][]mfpgate.MoveTrace {
	const us, jp, m, gw = "us/services", "jp/services", "jp/management", "gw/route"
	copied := entry("jp", "prepared", mfpgate.StepCopy, 2, mfpgate.Seen{m: 1, us: 2})
	delta := entry("us", "draining", mfpgate.StepDelta, 1, mfpgate.Seen{m: 3, us: 3, jp: 1})
	active := entry("jp", "active", mfpgate.StepActivate, 2, mfpgate.Seen{m: 4, us: 4, jp: 2})
	delta.Digest, active.Digest = "d", "d"
	return map[string][]mfpgate.MoveTrace{
		us: {
			{MFP: "mfp_1", Region: "us", State: "active", Epoch: 1, Children: []string{"scan/ocr"}, Seq: -1},
			entry("us", "active", mfpgate.StepCopy, 1, mfpgate.Seen{m: 1}),
			entry("us", "draining", mfpgate.StepDrain, 1, mfpgate.Seen{m: 2, us: 2, jp: 1}),
			delta,
			entry("us", "moved", mfpgate.StepRetire, 2, mfpgate.Seen{m: 7, us: 4, jp: 3, gw: 1}),
			entry("us", "", mfpgate.StepDelete, 2, mfpgate.Seen{m: 9, us: 5, jp: 3, gw: 1}),
		},
		jp: {copied, entry("jp", "prepared", mfpgate.StepDelta, 2, mfpgate.Seen{m: 3, us: 4, jp: 1}), active},
		m: {
			entry("jp", "open", mfpgate.StepCheck, 2, nil),
			entry("jp", "open", mfpgate.StepCopy, 2, mfpgate.Seen{m: 1, us: 2, jp: 1}),
			entry("jp", "open", mfpgate.StepDrain, 2, mfpgate.Seen{m: 2, us: 3, jp: 1}),
			entry("jp", "open", mfpgate.StepDelta, 2, mfpgate.Seen{m: 3, us: 4, jp: 2}),
			entry("jp", "open", mfpgate.StepActivate, 2, mfpgate.Seen{m: 4, us: 4, jp: 3}),
			entry("jp", "committed", mfpgate.StepCommit, 2, mfpgate.Seen{m: 5, us: 4, jp: 3}),
			entry("jp", "committed", mfpgate.StepSwitch, 2, mfpgate.Seen{m: 6, us: 4, jp: 3, gw: 1}),
			entry("jp", "committed", mfpgate.StepRetire, 2, mfpgate.Seen{m: 7, us: 5, jp: 3, gw: 1}),
			entry("jp", "committed", mfpgate.StepConfirm, 2, mfpgate.Seen{m: 8, us: 5, jp: 3, gw: 1}),
			entry("jp", "done", mfpgate.StepDelete, 2, mfpgate.Seen{m: 9, us: 6, jp: 3, gw: 1}),
		},
		gw: {entry("jp", "routed", mfpgate.StepSwitch, 2, mfpgate.Seen{m: 6, us: 4, jp: 3})},
	}
}

// written makes chains of a story.
func written(t *testing.T, told map[string][]mfpgate.MoveTrace) regiontest.Chains {
	t.Helper()
	chains := regiontest.Chains{}
	for writer, traces := range told {
		for i, trace := range traces {
			after, err := json.Marshal(trace)
			if err != nil {
				t.Fatal(err)
			}
			e := journal.Entry{Seq: uint64(i + 1), Action: "holding.changed", After: after}
			if trace.Seq == mfpgate.StepConfirm.Seq() {
				e.Action = "move.confirmed"
			}
			chains[writer] = append(chains[writer], e)
		}
	}
	return chains
}

var facts = regiontest.Facts{
	Moves:  []mfpgate.Move{{ID: "mov_1", Gateway: "gw", MFP: "mfp_1", From: "us", To: "jp", Epoch: 2}},
	Offers: map[string][]mfpgate.ServiceOffer{"jp": {{ID: "scan", Children: []string{"translate"}}}},
}

func TestCheckNamesTheRule(t *testing.T) {
	for _, c := range []struct {
		rule  string
		alter func(map[string][]mfpgate.MoveTrace)
		want  []regiontest.Rule
	}{
		{"a good move", func(map[string][]mfpgate.MoveTrace) {}, nil},
		{"of a gateway that nobody asked", func(s map[string][]mfpgate.MoveTrace) { delete(s, "gw/route") }, nil},
		{"active without having seen the drain", func(s map[string][]mfpgate.MoveTrace) {
			s["jp/services"][2].Seen, s["jp/services"][1].Seen = mfpgate.Seen{"us/services": 2}, mfpgate.Seen{"us/services": 2}
		}, []regiontest.Rule{regiontest.RuleDigest, regiontest.RuleTwoActive}},
		{"a commit that has not seen the activation", func(s map[string][]mfpgate.MoveTrace) {
			for i := 4; i < 6; i++ {
				s["jp/management"][i].Seen = mfpgate.Seen{"us/services": 4, "jp/services": 2}
			}
		}, []regiontest.Rule{regiontest.RuleCommitted}},
		{"a switch that has not seen the commit", func(s map[string][]mfpgate.MoveTrace) {
			s["gw/route"][0].Seen = mfpgate.Seen{"jp/management": 5, "jp/services": 3}
		}, []regiontest.Rule{regiontest.RuleReachable}},
		{"a retirement that has not seen the switch", func(s map[string][]mfpgate.MoveTrace) {
			s["us/services"][4].Seen = mfpgate.Seen{"jp/management": 6, "jp/services": 3}
		}, []regiontest.Rule{regiontest.RuleReachable}},
		{"a deletion that has not seen the device", func(s map[string][]mfpgate.MoveTrace) {
			s["us/services"][5].Seen = mfpgate.Seen{"jp/management": 8, "gw/route": 1}
		}, []regiontest.Rule{regiontest.RuleTombstone}},
		{"a child that is not offered", func(s map[string][]mfpgate.MoveTrace) {
			s["jp/services"][2].Children = []string{"scan/ocr"}
		}, []regiontest.Rule{regiontest.RuleChildren}},
		{"another digest", func(s map[string][]mfpgate.MoveTrace) { s["jp/services"][2].Digest = "e" }, []regiontest.Rule{regiontest.RuleDigest}},
		{"another epoch", func(s map[string][]mfpgate.MoveTrace) { s["jp/services"][2].Epoch = 3 }, []regiontest.Rule{regiontest.RuleEpoch}},
		{"no end", func(s map[string][]mfpgate.MoveTrace) { s["jp/management"] = s["jp/management"][:9] }, []regiontest.Rule{regiontest.RuleEnd}},
		{"a late copy at the target", func(s map[string][]mfpgate.MoveTrace) {
			s["jp/services"] = append(s["jp/services"], s["jp/services"][0])
		}, []regiontest.Rule{regiontest.RuleCommitted, regiontest.RuleFence, regiontest.RuleHome, regiontest.RuleReachable}},
		{"an end that is taken back at the source", func(s map[string][]mfpgate.MoveTrace) {
			m := s["jp/management"]
			s["jp/management"] = append(m[:2:2], entry("jp", "rolled_back", mfpgate.StepRelink, 2, mfpgate.Seen{"jp/management": 2, "us/services": 3, "jp/services": 2}))
			s["us/services"] = append(s["us/services"][:2:2], entry("us", "active", mfpgate.StepRelink, 1, nil)) // its child is gone
			s["jp/services"] = append(s["jp/services"][:1:1], entry("jp", "aborted", mfpgate.StepAbort, 0, nil))
			delete(s, "gw/route")
		}, []regiontest.Rule{regiontest.RuleRestored}},
		{"an entry is missing", func(s map[string][]mfpgate.MoveTrace) { s["us/services"] = s["us/services"][:5] }, []regiontest.Rule{regiontest.RuleTrace}},
		{"a circle", func(s map[string][]mfpgate.MoveTrace) {
			s["us/services"][1].Seen = mfpgate.Seen{"jp/services": 1}
		}, []regiontest.Rule{regiontest.RuleTrace}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			s := story()
			c.alter(s)
			r := regiontest.Result{Broken: regiontest.Check(written(t, s), facts)}
			got := slices.DeleteFunc(r.Rules(), func(rule regiontest.Rule) bool { return rule == regiontest.RuleEnd && !slices.Contains(c.want, rule) })
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q: %v", got, c.want, r.Broken)
			}
		})
	}
}

// FuzzCheck reads chains of anybody.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(`{"us/services":[{"seq":1,"action":"holding.changed","after":{"moveId":"mov_1","mfp":"mfp_1","state":"active","seen":{"us/services":9}}}]}`))
	f.Add([]byte(`{"jp/management":[{"seq":0,"after":{"moveId":"mov_1","mfp":"mfp_1","state":"done"}}],"gw/route":[{"seq":1,"after":{"moveId":"mov_1","mfp":"mfp_1","state":"routed","region":"de"}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var chains regiontest.Chains
		if len(data) < 4<<10 && json.Unmarshal(data, &chains) == nil {
			_ = regiontest.Check(chains, facts)
		}
	})
}
