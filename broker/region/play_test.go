package region_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
)

// soon are limits that let a move of a pinned device end on the same day.
var soon = region.Limits{Redirect: time.Hour, Stuck: 2 * time.Hour}

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
	sound(t, play(t, regiontest.Config{Seed: 1, Back: true}), mfpgate.MoveDone, mfpgate.MoveDone)
	sound(t, play(t, regiontest.Config{Seed: 1, Abort: 2 * time.Second}), mfpgate.MoveRolledBack)
}

func TestMovesOnABadNetwork(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := regiontest.Config{Seed: seed, Faults: regiontest.Bad, Pinned: seed%4 == 1, Back: seed%4 == 2,
				Skew: map[string]time.Duration{"jp": time.Duration(seed%7) * time.Hour, "us": -time.Duration(seed%3) * 24 * time.Hour, "gateway": time.Duration(seed%5) * time.Minute}}
			if seed%4 == 3 {
				c.Abort = time.Duration(seed) * time.Second
			}
			r := play(t, c)
			sound(t, r)
			if !r.Finished {
				t.Errorf("not finished: %s", told(r))
			}
			t.Log(told(r), r.Commits)
		})
	}
}

// TestEveryCrashOfTheWorld kills each process at each of its commits of a move that is done, and of one that is taken back.
func TestEveryCrashOfTheWorld(t *testing.T) {
	for _, c := range []struct {
		name  string
		world regiontest.Config
		end   mfpgate.MoveState
	}{
		{"done", regiontest.Config{}, mfpgate.MoveDone},
		{"taken back", regiontest.Config{Abort: 15 * time.Second, Break: regiontest.Break{Told: regiontest.NotVerifying}}, mfpgate.MoveRolledBack},
	} {
		c.world.Seed, c.world.Faults.LateBy = 5, time.Second
		alive := play(t, c.world)
		sound(t, alive, c.end)
		for _, process := range []string{"jp", "us", "gateway"} {
			t.Run(c.name+" "+process, func(t *testing.T) {
				for at := int64(1); at <= alive.Commits[process]; at++ {
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
