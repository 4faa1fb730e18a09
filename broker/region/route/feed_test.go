package route_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/tests/need"
)

// states are one move, message by message.
func states(m mfpgate.Move) (list []mfpgate.Move) {
	began := time.Now()
	for n, step := range []mfpgate.MoveStep{mfpgate.StepCheck, mfpgate.StepUnlink, mfpgate.StepCopy, mfpgate.StepVerify, mfpgate.StepDrain, mfpgate.StepDelta,
		mfpgate.StepActivate, mfpgate.StepCommit, mfpgate.StepSwitch, mfpgate.StepNotify, mfpgate.StepRetire, mfpgate.StepRedirect, mfpgate.StepConfirm, mfpgate.StepDelete} {
		m.Step, m.Since = step, began.Add(time.Duration(n)*time.Second)
		if n >= mfpgate.StepSwitch.Seq() {
			m.State = mfpgate.MoveCommitted
		}
		list = append(list, m)
	}
	m.State, m.EndedAt = mfpgate.MoveDone, m.Since.Add(time.Second)
	return append(list, m)
}

// TestFeedInAnyOrder has a device moved to jp, then away to de, and the messages of that come often and in any order.
func TestFeedInAnyOrder(t *testing.T) {
	for seed := range need.Seeds(30) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 1)
			away := move(2, device(1), 3)
			away.From, away.To = "jp", "de"
			feed := slices.Concat(states(move(1, device(1), 2)), states(away))
			feed = slices.Concat(feed, feed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			rnd.Shuffle(len(feed), func(i, j int) { feed[i], feed[j] = feed[j], feed[i] })
			w.cloud.onSwitched = func(_ mfpgate.MoveID, epoch uint64, _ mfpgate.Seen) {
				if got := w.to(1).Epoch; got < epoch {
					t.Errorf("seed %d: epoch %d acknowledged, and the table has %d", seed, epoch, got)
				}
			}
			w.start()
			defer func() { w.stop() }()
			highest := uint64(0)
			for _, m := range feed {
				looked := w.site.reroutes.Load()
				w.cloud.say(m)
				w.pass(time.Second)
				got := w.to(1).Epoch
				if got > highest && w.site.reroutes.Load() == looked {
					t.Fatalf("seed %d: nobody looked at the tunnels at the switch", seed)
				}
				if got < highest {
					t.Fatalf("seed %d: epoch %d after %d", seed, got, highest)
				}
				if m.State.Committed() {
					highest = max(highest, m.Epoch)
				}
				if got != highest {
					t.Fatalf("seed %d: epoch %d, want %d: a switch is at the commit and at no other time", seed, got, highest)
				}
			}
			w.pass(10 * time.Second)
			if got := w.Route(device(1), host(t, "svc.jp.example"), 80, false); got.Action != forward || got.To != "svc.de.example:80" {
				t.Errorf("seed %d: %+v", seed, got)
			}
			for _, id := range []mfpgate.MoveID{"mov_0001", "mov_0002"} {
				if m, err := w.Move(t.Context(), id); err != nil || m.State != mfpgate.MoveDone {
					t.Errorf("seed %d: %s: %s, %v", seed, id, m.State, err)
				}
			}
			if n := len(w.audit("move.switched")); n == 0 || n > 2 {
				t.Errorf("seed %d: %d switches", seed, n)
			}
			w.sound()
		})
	}
}

// TestNoSwitchWithoutCommit has everything told of a move but that it is committed, and what is a lie.
func TestNoSwitchWithoutCommit(t *testing.T) {
	change := func(m mfpgate.Move, fn func(*mfpgate.Move)) mfpgate.Move { fn(&m); return m }
	for _, c := range []struct {
		rule string
		feed func() []mfpgate.Move
		want uint64 // epoch of the routes
	}{
		{"active, and then taken back", func() []mfpgate.Move {
			feed := states(move(1, device(1), 2))[:8]
			return append(feed, change(feed[7], func(m *mfpgate.Move) { m.State, m.Step = mfpgate.MoveCompensating, mfpgate.StepAbort }),
				change(feed[7], func(m *mfpgate.Move) { m.State, m.Step = mfpgate.MoveRolledBack, mfpgate.StepRelink }))
		}, 0},
		{"taken back, and then said to be committed", func() []mfpgate.Move {
			m := move(1, device(1), 2)
			return []mfpgate.Move{change(m, func(m *mfpgate.Move) { m.State = mfpgate.MoveRolledBack }), committed(m)}
		}, 0},
		{"committed, and then said to be taken back", func() []mfpgate.Move {
			m := move(1, device(1), 2)
			return []mfpgate.Move{committed(m), change(m, func(m *mfpgate.Move) { m.State = mfpgate.MoveRolledBack })}
		}, 2},
		{"committed in a step before the commit", func() []mfpgate.Move {
			return []mfpgate.Move{change(move(1, device(1), 2), func(m *mfpgate.Move) { m.State, m.Step = mfpgate.MoveCommitted, mfpgate.StepCopy })}
		}, 0},
		{"another gateway's", func() []mfpgate.Move {
			return []mfpgate.Move{change(committed(move(1, device(1), 2)), func(m *mfpgate.Move) { m.Gateway = "tokyo-1" })}
		}, 0},
		{"the id of another device's move", func() []mfpgate.Move {
			return []mfpgate.Move{move(1, device(2), 2), committed(move(1, device(1), 2))}
		}, 0},
		{"another move in the same epoch", func() []mfpgate.Move {
			return []mfpgate.Move{committed(move(1, device(1), 2)), change(committed(move(2, device(1), 2)), func(m *mfpgate.Move) { m.To = "de" })}
		}, 2},
		{"an epoch that goes back", func() []mfpgate.Move {
			return []mfpgate.Move{committed(move(1, device(1), 5)), change(committed(move(2, device(1), 4)), func(m *mfpgate.Move) { m.To, m.AckedAt = "de", time.Now() })}
		}, 5},
		{"from a region to itself", func() []mfpgate.Move {
			return []mfpgate.Move{change(committed(move(1, device(1), 2)), func(m *mfpgate.Move) { m.To = "us" })}
		}, 0},
		{"no epoch", func() []mfpgate.Move { return []mfpgate.Move{committed(move(1, device(1), 0))} }, 0},
		{"ids that are keys", func() []mfpgate.Move {
			return []mfpgate.Move{committed(move(1, "a/../b", 2)), change(committed(move(1, device(1), 2)), func(m *mfpgate.Move) { m.ID = "x/y" })}
		}, 0},
		{"a state of a later version", func() []mfpgate.Move {
			return []mfpgate.Move{change(move(1, device(1), 2), func(m *mfpgate.Move) { m.State = "archived" })}
		}, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 2)
				w.start()
				defer func() { w.stop() }()
				for _, m := range c.feed() {
					w.cloud.say(m)
					w.pass(2 * time.Second)
				}
				got := w.to(1)
				if got.Epoch != c.want || c.want > 0 && got.To != "svc.jp.example:80" {
					t.Errorf("%+v, want epoch %d", got, c.want)
				}
				if m := w.Route(device(1), host(t, "mgmt.us.example"), 443, true); c.want > 0 && m.Action != pass {
					t.Errorf("the directive of another move closes the old management: %+v", m)
				}
				if acknowledged := len(w.cloud.switched); acknowledged != min(int(c.want), 1) {
					t.Errorf("%d acknowledged", acknowledged)
				}
			})
		})
	}
}

// damage makes a record one that cannot be read.
func (w *world) damage(key string) {
	if err := w.store.Update(w.t.Context(), func(tx store.Tx) error { return tx.Set(key, []byte("{")) }); err != nil {
		w.t.Fatal(err)
	}
}

// TestALateMoveMendsNoRoute has a device that was moved twice, a route that cannot be read, and a region that tells of the first move.
func TestALateMoveMendsNoRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moved(t)
		last := committed(move(7, device(1), 3))
		last.From, last.To = "jp", "de"
		w.cloud.say(last)
		w.pass(time.Minute)
		w.stop()
		w.damage("route/" + string(device(1)))
		w.set(func(c *cloud) { c.feed = []mfpgate.Move{committed(move(1, device(1), 2))} })
		w.start()
		defer func() { w.stop() }()
		w.pass(time.Minute)
		if got := w.to(1); got.Action != blocked || got.Reason != mfpgate.RegionMap {
			t.Errorf("after the first move was told of: %+v", got)
		}
		w.cloud.say(last)
		w.pass(time.Minute)
		if got := w.Route(device(1), host(t, "svc.jp.example"), 80, false); got.Action != forward || got.Epoch != 3 {
			t.Errorf("after the last was: %+v", got)
		}
	})
}

// TestRestart has a new process with a region that is away.
func TestRestart(t *testing.T) {
	away := errors.New("no route to host")
	for _, c := range []struct {
		rule          string
		change        func(*world)
		moved, others mfpgate.Route // to the old region's services, in plain HTTP
		back          uint64        // epoch of the moved device once the region is there
	}{
		{"routes are in force", func(*world) {}, mfpgate.Route{Action: forward, To: "svc.jp.example:80", Region: "us", Epoch: 2}, mfpgate.Route{Region: "us"}, 2},
		{"a route that cannot be read", func(w *world) { w.damage("route/" + string(device(1))) },
			mfpgate.Route{Action: blocked, Region: "us", Reason: mfpgate.RegionMap}, mfpgate.Route{Region: "us"}, 2},
		{"hosts that cannot be read", func(w *world) { w.damage("hosts") }, mfpgate.Route{Action: blocked, Epoch: 2, Reason: mfpgate.RegionMap}, mfpgate.Route{}, 2},
		{"a move that cannot be read", func(w *world) { w.damage("move/mov_0001") },
			mfpgate.Route{Action: forward, To: "svc.jp.example:80", Region: "us", Epoch: 2}, mfpgate.Route{Region: "us"}, 2},
		{"a place that cannot be read", func(w *world) { w.damage("cursor") },
			mfpgate.Route{Action: forward, To: "svc.jp.example:80", Region: "us", Epoch: 2}, mfpgate.Route{Region: "us"}, 2},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := moved(t)
				w.set(func(c *cloud) { c.residences = []mfpgate.Residence{{Device: device(3), Home: "jp"}} })
				w.pass(route.ResidenceEvery + time.Minute)
				w.stop()
				c.change(w)
				w.set(func(c *cloud) { c.down = away })
				w.open()
				check := func() {
					t.Helper()
					if diff := cmp.Diff(c.moved, w.to(1)); diff != "" {
						t.Errorf("the moved one (-want +got):\n%s", diff)
					}
					if diff := cmp.Diff(c.others, w.to(3)); diff != "" {
						t.Errorf("the other (-want +got):\n%s", diff)
					}
				}
				check()
				w.run()
				defer func() { w.stop() }()
				w.pass(time.Hour)
				check()
				r := w.residence(3)
				if r.Home != "jp" || !strings.Contains(r.Detail, "cannot be asked") {
					t.Errorf("the last good answer with its age: %+v", r)
				}
				if (w.residence(1).Reason == mfpgate.RegionMap) != (c.moved.Reason == mfpgate.RegionMap) {
					t.Errorf("the residence does not say it: %+v", w.residence(1))
				}
				w.cloud.mu.Lock()
				w.cloud.down = nil
				w.cloud.mu.Unlock()
				w.pass(5 * time.Minute)
				if got := w.to(1); got.Epoch != c.back || got.Action != forward {
					t.Errorf("after the region came back: %+v", got)
				}
			})
		})
	}
}

// TestHosts has documents that are of no use, and one that forgets a region.
func TestHosts(t *testing.T) {
	long := make([]string, 1_000_000)
	for n := range long {
		long[n] = "a.example"
	}
	for rule, doc := range map[string][]mfpgate.RegionHosts{
		"none":                        {},
		"a million hosts":             {{Region: "jp", Services: long}},
		"a host of two regions":       {{Region: "jp", Services: []string{"svc.us.example:80"}}, {Region: "us", Services: []string{"svc.us.example:80"}}},
		"a region twice":              {{Region: "jp"}, {Region: "jp"}},
		"what is no host":             {{Region: "jp", Services: []string{"http://svc.jp.example"}}},
		"a port that is none":         {{Region: "jp", Services: []string{"svc.jp.example:0"}}},
		"a region that has no name":   {{Region: "", Services: []string{"svc.jp.example"}}},
		"more than a record may hold": {{Region: "jp", Services: slices.Repeat([]string{strings.Repeat("a.", 140) + "example"}, 32)}},
		"the old region is left out":  {hosts[0]},
		"the old region is empty":     {hosts[0], {Region: "us"}},
	} {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := moved(t)
				defer func() { w.stop() }()
				before := w.to(1)
				w.cloud.mu.Lock()
				w.cloud.hosts = doc
				w.cloud.mu.Unlock()
				w.pass(2 * route.HostsEvery)
				if diff := cmp.Diff(before, w.to(1)); diff != "" {
					t.Errorf("the last good ones stay (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// FuzzFeed has a region that says anything. Each line of the input is a move, or a document of hosts.
func FuzzFeed(f *testing.F) {
	ok, _ := json.Marshal(committed(move(1, device(1), 2)))
	open, _ := json.Marshal(move(1, device(1), 2))
	doc, _ := json.Marshal(hosts)
	f.Add(strings.Join([]string{string(doc), string(open), string(ok), string(ok)}, "\n"))
	f.Add(`{"moveId":"mov_1","gatewayId":"osaka-1","deviceId":"dev_0001","from":"us","to":"jp","epoch":18446744073709551615,"state":"done"}`)
	f.Add(`[{"region":"jp","serviceHosts":["[::1]:0","a:1:2","*.x","-"]}]`)
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Split(text[:min(len(text), 1<<16)], "\n")
		lines = lines[:min(len(lines), 30)] // each takes its time
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, 2)
			w.start()
			defer func() { w.stop() }()
			highest, may := uint64(0), map[uint64]bool{0: true}
			for _, line := range lines {
				var m mfpgate.Move
				var doc []mfpgate.RegionHosts
				switch {
				case json.Unmarshal([]byte(line), &m) == nil:
					may[m.Epoch] = may[m.Epoch] || m.State.Committed() && m.Gateway == gateway && m.Device == device(1)
					w.cloud.say(m)
				case json.Unmarshal([]byte(line), &doc) == nil:
					w.cloud.mu.Lock()
					w.cloud.hosts = doc
					w.cloud.mu.Unlock()
				}
				w.pass(2 * time.Second)
				got := w.to(1)
				if got.Epoch < highest || !may[got.Epoch] {
					t.Fatalf("epoch %d after %d", got.Epoch, highest)
				}
				if got.Action == forward && got.To == "" || got.Action == blocked && got.Reason == "" {
					t.Fatalf("half a route: %+v", got)
				}
				highest = got.Epoch
			}
			if _, err := w.Residences(context.Background()); err != nil {
				t.Error(err)
			}
			w.sound()
		})
	})
}

// TestAPageOfMoves has a page of moves taken that were committed while the gateway was away: some share a transaction, those whose
// records are long do not fit into one.
func TestAPageOfMoves(t *testing.T) {
	const devices = 40
	for _, c := range []struct {
		rule   string
		change func(*mfpgate.Move)
	}{
		{"short", func(*mfpgate.Move) {}},
		{"long", func(m *mfpgate.Move) {
			m.Plan.Children = []mfpgate.PlannedChild{{Service: strings.Repeat("c", 50<<10)}}
		}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, devices)
				var page []mfpgate.Move
				for n := range devices {
					m := committed(move(n+1, device(n+1), 2))
					c.change(&m)
					page = append(page, m)
				}
				w.cloud.say(page...)
				w.start()
				defer func() { w.stop() }()
				w.pass(time.Minute)
				for n := range devices {
					if got := w.to(n + 1); got.Epoch != 2 {
						t.Errorf("device %d: %+v", n+1, got)
					}
				}
				if got := len(w.audit(event.MoveSwitched)); got != devices || len(w.cloud.switched) != devices {
					t.Errorf("%d lines of the audit, %d acknowledged", got, len(w.cloud.switched))
				}
			})
		})
	}
}
