//go:build long

package moves_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/regions"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// killsOfScene is how many devices, and so how many kills, a scene has.
const killsOfScene = 14

// everyStrike is each process at each moment of each message of a move, and some at any moment in between.
func everyStrike() (list []strike) {
	calls := []string{"gateway/start", "source/unlink", "manager/copy", "source/copy", "transfer/copy", "gateway/probes", "source/drain", "manager/delta", "source/delta",
		"transfer/delta", "gateway/switch", "manager/notify", "source/retire", "manager/redirect", "device/directive", "device/ack", "device/arrive",
		"gateway/check-ins", "source/delete", "manager/delete", "source/undrain", "source/relink"}
	for _, call := range calls {
		undo := call == "source/undrain" || call == "source/relink"
		for _, victim := range []string{"jp", "us", "gateway", "device"} {
			for _, phase := range []string{arriving, taken, answered} {
				if phase != taken && (victim == "gateway" || victim == "device") && call[:6] != victim[:6] {
					continue // it is no party to it
				}
				list = append(list, strike{victim: victim, call: call, phase: phase, abort: undo})
			}
		}
	}
	// What a region does by itself: check, verify, activate, commit, confirm, and abort of its own services.
	for _, victim := range []string{"jp", "us", "gateway"} {
		for _, call := range []string{"gateway/start", "transfer/copy", "source/delta", "gateway/switch", "device/arrive"} {
			for range 2 {
				list = append(list, strike{victim: victim, call: call, phase: answered, within: 400 * time.Millisecond})
			}
		}
	}
	for _, call := range []string{"transfer/copy", "source/drain", "source/delta", "gateway/switch", "source/retire", "device/ack", "source/undrain"} {
		list = append(list, strike{victim: "jp+us", call: call, phase: taken, abort: call == "source/undrain"},
			strike{victim: "gateway+jp+us+device", call: call, phase: answered, within: 200 * time.Millisecond, abort: call == "source/undrain"})
	}
	for range 4 {
		list = append(list, strike{victim: "jp", call: "source/drain", phase: answered, within: 100 * time.Millisecond, abort: true})
	}
	return list
}

// TestEachProcessIsKilledAtEachStep plays all of them, in scenes of their own.
func TestEachProcessIsKilledAtEachStep(t *testing.T) {
	list := everyStrike()
	var scenes [][]strike
	for len(list) > 0 {
		n := min(killsOfScene, len(list))
		scenes, list = append(scenes, list[:n]), list[n:]
	}
	var mu sync.Mutex
	kills, outcomes := 0, map[mfpgate.MoveState]int{}
	networks := []string{"127.50", "127.51", "127.52"}
	t.Run("networks", func(t *testing.T) {
		for i, network := range networks {
			t.Run(network, func(t *testing.T) {
				t.Parallel()
				for n := i; n < len(scenes); n += len(networks) {
					t.Run(fmt.Sprint(n), func(t *testing.T) {
						k := newKillScene(t, network, len(scenes[n]), 15)
						for d, s := range scenes[n] {
							k.round(d+1, s)
						}
						came := k.end()
						mu.Lock()
						defer mu.Unlock()
						kills += len(scenes[n])
						for state := range maps.Keys(came) {
							outcomes[state] += came[state]
						}
					})
				}
			})
		}
	})
	t.Logf("%d kills: %v", kills, outcomes)
}

// TestARegionThatForgetsIsFound gives a region that was killed the disk of its drain back when the move is committed: what it had
// acknowledged since is gone.
func TestARegionThatForgetsIsFound(t *testing.T) {
	t.Parallel()
	k := newKillScene(t, "127.50", 1, 0)
	copied := false
	k.dead = func(r *regions.Region) {
		from, to := r.State, r.State+"-before"
		if copied {
			if from, to = to, from; os.RemoveAll(to) != nil {
				t.Fatal("cannot forget")
			}
		}
		cmd := exec.Command("cp", "-a", from, to)
		rig.Unprivileged(cmd)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("cp: %v: %s", err, out)
		}
		copied = true
	}
	k.round(1, strike{victim: "us", call: "source/drain", phase: arriving})
	k.arm(strike{victim: "us", call: "source/retire", phase: arriving}, mfp(1))
	k.wait("the second end of us", func() bool { return k.struck() && len(k.down) == 0 })
	k.wait("us answers, and has forgotten", func() bool {
		var page api.Page[mfpgate.Holding]
		err := k.operator(k.US, k.services(k.US), http.MethodGet, "/svc/v1/registrations?limit=500", &page)
		return err == nil && len(page.Items) == 1 && page.Items[0].State == mfpgate.HoldingActive
	})
	facts := k.facts()
	facts.Running = true
	if got := rules(regiontest.Check(k.chains(), facts)); !slices.Contains(got, regiontest.RuleTrace) {
		t.Errorf("the checker found %q, want %q", got, regiontest.RuleTrace)
	}
}
