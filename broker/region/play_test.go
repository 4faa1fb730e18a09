package region_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
	"github.com/mfpgate/mfpgate/tests/need"
)

// soon are limits that let a move of a pinned device end within minutes.
var soon = region.Limits{Redirect: 3 * time.Minute, Stuck: 6 * time.Minute}

// play runs a world, and returns what came of it.
func play(t *testing.T, c regiontest.Config) (r regiontest.Result) {
	t.Helper()
	if c.Limits == (region.Limits{}) {
		c.Limits = soon
	}
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = regiontest.Play(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	})
	return r
}

// sound wants nothing broken.
func sound(t *testing.T, r regiontest.Result, ends ...mfpgate.MoveState) {
	t.Helper()
	for _, v := range r.Broken {
		t.Error(v)
	}
	for i, end := range ends {
		if !r.Finished || len(r.Facts.Moves) <= i || r.Facts.Moves[i].State != end {
			t.Errorf("finished: %v, moves: %s", r.Finished, told(r))
		}
	}
}

func told(r regiontest.Result) (text string) {
	for _, m := range r.Facts.Moves {
		text += fmt.Sprintf("%s to %s: %s in %s, %s (%s); ", m.ID, m.To, m.State, m.Step, m.Reason, m.Detail)
	}
	return text
}

func TestAMoveOnAGoodNetwork(t *testing.T) {
	sound(t, play(t, regiontest.Config{Seed: 1}), mfpgate.MoveDone)
	sound(t, play(t, regiontest.Config{Seed: 1, Pinned: true}), mfpgate.MoveDone)
	sound(t, play(t, regiontest.Config{Seed: 1, Pinned: true, Plain: true, Unnamed: true}), mfpgate.MoveDone)
	sound(t, play(t, regiontest.Config{Seed: 1, Pinned: true, Unnamed: true}), mfpgate.MoveDone) // it is let nowhere, and given up
	sound(t, play(t, regiontest.Config{Seed: 1, Back: true}), mfpgate.MoveDone, mfpgate.MoveDone)
	sound(t, play(t, regiontest.Config{Seed: 1, Abort: 2 * time.Second}), mfpgate.MoveRolledBack)
}

// bad is a world on a bad network. The seed decides what happens in it.
func bad(seed uint64) (c regiontest.Config) {
	c = regiontest.Config{Seed: seed, Faults: regiontest.Bad, Pinned: seed%6 == 1, Back: seed%6 == 2, Plain: seed%5 == 0, Unnamed: seed%4 == 1,
		Skew: map[string]time.Duration{"jp": time.Duration(seed%7) * time.Hour, "us": -time.Duration(seed%3) * 24 * time.Hour, "gateway": time.Duration(seed%5) * time.Minute}}
	if seed%2 == 0 {
		c.Kill = map[string]int64{"jp": int64(1 + seed*7%90), "us": int64(1 + seed*5%60), "gateway": int64(1 + seed%14)}
	}
	if seed%3 == 0 { // in any of the steps before the commit, or just behind it
		c.Abort = time.Duration(1+seed%25) * 2 * time.Second
		c.Unprobed = true
	}
	return c
}

// TestMovesOnABadNetwork plays worlds in which messages are lost, doubled and minutes late, clocks differ, and each process is killed once:
// moves that are done, of devices that follow and of one that never does, there and back, and moves that are aborted.
func TestMovesOnABadNetwork(t *testing.T) {
	seeds := uint64(36)
	if testing.Short() || need.Racing && !need.Long {
		seeds = 8
	}
	ends := map[mfpgate.MoveState]int{}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := bad(seed)
			r := play(t, c)
			sound(t, r)
			if !r.Finished || t.Failed() {
				t.Errorf("%+v: %s", c, told(r))
			}
			for _, m := range r.Facts.Moves {
				ends[m.State]++
			}
		})
	}
	if ends[mfpgate.MoveDone] < int(seeds/3) || ends[mfpgate.MoveRolledBack] < int(seeds/12) {
		t.Errorf("the moves ended so: %v", ends)
	}
	t.Log(ends)
}

// TestEveryCrashOfTheWorld kills each process at each of its commits of a move that is done, and of one that is taken back.
func TestEveryCrashOfTheWorld(t *testing.T) {
	for _, c := range []struct {
		name  string
		world regiontest.Config
		end   mfpgate.MoveState
	}{
		{"done", regiontest.Config{}, mfpgate.MoveDone},
		{"taken back", regiontest.Config{Abort: 15 * time.Second, Unprobed: true}, mfpgate.MoveRolledBack},
	} {
		c.world.Seed, c.world.Faults.LateBy = 5, time.Second
		alive := play(t, c.world)
		sound(t, alive, c.end)
		for _, process := range []string{"jp", "us", "gateway"} {
			t.Run(c.name+" "+process, func(t *testing.T) {
				first, stride := need.Points(c.world.Seed + uint64(len(process)))
				for at := first; at <= alive.Commits[process]; at += stride {
					c.world.Kill = map[string]int64{process: at}
					r := play(t, c.world)
					if sound(t, r); !r.Finished || t.Failed() {
						t.Fatalf("killed at %d: %s", at, told(r))
					}
				}
				t.Logf("%d commits", alive.Commits[process])
			})
		}
	}
}
