package moves_test

import (
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
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
	var m mfpgate.Move
	k.wait("the end of the move", func() bool {
		m = k.all()[mfp(1)]
		return m.State.Ended()
	})
	if got := rules(regiontest.Check(k.chains(), k.facts())); !slices.Contains(got, regiontest.RuleReachable) {
		t.Errorf("the checker found %q, want %q", got, regiontest.RuleReachable)
	}
}
