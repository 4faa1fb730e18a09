package moves_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/broker/region/regiontest"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/tests/regions"
)

// TestEachProcessIsKilledInAMove kills each at a moment of which much hangs, on a network that holds messages back, repeats and loses them.
// Other moves are under way meanwhile.
func TestEachProcessIsKilledInAMove(t *testing.T) {
	t.Parallel()
	strikes := []strike{
		{victim: "us", call: "source/drain", phase: taken},
		{victim: "jp", call: "source/delta", phase: answered, within: 100 * time.Millisecond}, // activate, commit
		{victim: "gateway", call: "gateway/switch", phase: arriving},                          // its own transaction is done
		{victim: "device", call: "device/ack", phase: arriving},
		{victim: "us", call: "source/retire", phase: taken},
		{victim: "jp", call: "source/undrain", phase: taken, abort: true},
	}
	k := newKillScene(t, "127.48", len(strikes), 15)
	for n, s := range strikes {
		k.round(n+1, s)
	}
	t.Logf("%d kills: %v", len(strikes), k.end())
}

// TestALieBetweenProcessesIsFound has the gateway told that a move is committed before it is. So what finds nothing after kills can find something.
func TestALieBetweenProcessesIsFound(t *testing.T) {
	t.Parallel()
	k := newKillScene(t, "127.49", 1, 0)
	k.lie = premature
	k.begin(1)
	writer := regions.Gateway + "/route"
	var chains regiontest.Chains
	k.wait("the gateway believes it", func() bool {
		chains = k.chains()
		return slices.ContainsFunc(chains[writer], func(e journal.Entry) bool { return e.Action == "move.switched" })
	})
	facts := k.facts()
	facts.Running = true
	if got := rules(regiontest.Check(chains, facts)); !slices.Contains(got, regiontest.RuleReachable) {
		t.Errorf("the checker found %q, want %q", got, regiontest.RuleReachable)
	}
}
