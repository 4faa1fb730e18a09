package hawkbit_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
)

// ending is one way for a move to go.
type ending struct {
	rule  string
	spoil func(*site, int) // what else happens, before round n
	check func(*testing.T, *site, map[string]mfpgate.Delivery)
}

// breaker breaks one effect of many.
type breaker struct {
	at    int64
	count atomic.Int64
}

func (b *breaker) hit() bool { return b.count.Add(1) == b.at }

func (b *breaker) done() bool { return b.count.Load() >= b.at }

func (b *breaker) answer(string, string) int {
	if b.hit() {
		return 1
	}
	return 0
}

// TestCrashAtEveryStep breaks the n-th effect outside the process, before or after it happened, starts a new client with the
// same log, and wants the same end for every n.
func TestCrashAtEveryStep(t *testing.T) {
	moved := func(t *testing.T, s *site, got map[string]mfpgate.Delivery) {
		if d := got["11"]; len(got) != 1 || !d.Schedule.Start.Equal(day(12, 19, 30)) || d.State != mfpgate.DeliveryRunning {
			t.Errorf("got %+v", got)
		}
		if w := s.Actions()[1].Order.Window; len(s.Actions()) != 2 || w.Schedule != "0 30 4 13 11 ? 2026" {
			t.Errorf("%d actions, window %+v", len(s.Actions()), w)
		}
	}
	for _, e := range []ending{
		{"a move", nil, moved},
		{"a move whose assignment is refused", func(s *site, round int) {
			if round == 2 {
				s.RemoveSet(1)
			} else if round == 3 {
				s.AddSet(1, "MFP firmware:2.1")
			}
		}, nil},
	} {
		for _, effect := range []bool{false, true} {
			steps := 0
			for n := 1; ; n++ {
				if done := crash(t, e, n, effect); done {
					steps = n - 1
					break
				}
				if n > 60 {
					t.Fatal("there is no end of effects")
				}
			}
			if steps < 8 {
				t.Errorf("%s: only %d effects were broken", e.rule, steps)
			}
		}
	}
}

// crash runs a move with its n-th effect broken. It reports true if there are not so many.
func crash(t *testing.T, e ending, n int, effect bool) (done bool) {
	t.Helper()
	name := fmt.Sprintf("%s: effect %d broken, done %v", e.rule, n, effect)
	s, c, d := planned(t)
	b := &breaker{at: int64(n)}
	if effect {
		s.log.After = b.hit
		s.Hook(nil, b.answer)
	} else {
		s.log.Before = b.hit
		s.Hook(b.answer, nil)
	}
	p := move("p1", d, day(12, 19, 30))
	restart := func(err error) {
		if err == nil {
			return
		}
		if !b.done() {
			t.Fatalf("%s: %v", name, err)
		}
		c = s.connect(t, nil)
	}
	for round := range 6 {
		if e.spoil != nil {
			e.spoil(s, round)
		}
		for range 3 { // a scheduler proposes until it was taken, and Run works until there is nothing to do
			_, err := c.Propose(t.Context(), p)
			restart(err)
			_, err = c.Work(t.Context())
			restart(err)
			ours := map[string]int{}
			for _, a := range s.Actions() {
				if a.Active && a.Status != "canceling" {
					ours[a.Target]++
				}
			}
			if ours["dev_a"] > 1 {
				t.Fatalf("%s: %d active actions", name, ours["dev_a"])
			}
		}
		switch round {
		case 0:
			s.Confirm()
		case 1:
			s.clock.Advance(7*time.Hour + 30*time.Minute)
		}
	}
	s.Hook(nil, nil)
	s.log.Before, s.log.After = nil, nil
	got := read(t, c)
	if e.check != nil {
		e.check(t, s, got)
	}
	if len(got) != 1 { // lost, or twice
		t.Errorf("%s: got %+v", name, got)
	}
	o, err := c.Outcome(t.Context(), "p1")
	if err != nil || len(o.Changes) != 1 || o.Changes[0].State != mfpgate.ChangeApplied {
		t.Errorf("%s: %+v, %v", name, o, err)
	}
	if t.Failed() {
		t.Fatal(name)
	}
	return !b.done()
}

func TestCrashOfAWithdrawal(t *testing.T) {
	for n := 1; n < 30; n++ {
		s, c, d := planned(t)
		propose(t, c, move("p1", d, day(12, 19, 30)))
		work(t, c)
		b := &breaker{at: int64(n)}
		s.log.After = b.hit
		s.Hook(nil, b.answer)
		for range 4 {
			if c.Withdraw(t.Context(), "p1") != nil {
				c = s.connect(t, nil)
			}
			s.Confirm()
			if _, err := c.Work(t.Context()); err != nil {
				c = s.connect(t, nil)
			}
		}
		s.Hook(nil, nil)
		s.log.After = nil
		got := read(t, s.connect(t, nil))
		for _, now := range got {
			if !now.Schedule.Start.Equal(d.Schedule.Start) || !now.Movable {
				t.Errorf("effect %d: got %+v", n, now)
			}
		}
		if active := s.Actions(); len(got) != 1 || len(active) != 2 {
			t.Fatalf("effect %d: got %+v of %+v", n, got, active)
		}
		if !b.done() {
			if n < 5 {
				t.Errorf("only %d effects were broken", n-1)
			}
			return
		}
	}
}

func TestLateAndBusyAnswers(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	s.Hook(func(method, _ string) int {
		if method == "DELETE" {
			return 429
		}
		return 0
	}, nil)
	_, err := c.Work(t.Context())
	var delay interface{ Delay() time.Duration }
	if !asDelay(err, &delay) || delay.Delay() != 90*time.Second {
		t.Errorf("got %v", err)
	}
	s.Hook(func(method, _ string) int {
		if method == "DELETE" {
			return 409
		}
		return 0
	}, nil)
	if _, err := c.Work(t.Context()); err == nil {
		t.Error("a conflict of hawkBit's own is no error")
	}
	s.Hook(nil, nil)
	work(t, c)
	s.Confirm()
	work(t, c)
	if got := outcome(t, c, "p1"); got.State != mfpgate.ChangeApplied {
		t.Errorf("got %+v", got)
	}
}

func TestAssignmentWithinAssignment(t *testing.T) {
	// What hawkBit has as assigned, without an action, cannot be assigned again: it is shown, and not asked for for ever.
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	work(t, c)
	s.Report(s.Assign("dev_a", 1, hawkbit.Order{Type: "forced"}), "finished") // installed by other means
	s.clock.Advance(7*time.Hour + 30*time.Minute)
	work(t, c)
	if got := read(t, c)["11"]; got.State != mfpgate.DeliveryFailed {
		t.Errorf("got %+v", got)
	}
}

func TestRefusalOfWhatWasDone(t *testing.T) {
	s, c, d := planned(t)
	propose(t, c, move("p1", d, day(12, 19, 30)))
	work(t, c)
	s.Confirm()
	work(t, c)
	s.Hook(nil, func(method, _ string) int { // something on the way says no after hawkBit has said yes
		if method == "POST" {
			return 400
		}
		return 0
	})
	s.clock.Advance(7*time.Hour + 30*time.Minute)
	work(t, c)
	if got := read(t, c); len(got) != 1 || got["11"].State != mfpgate.DeliveryRunning || len(s.Actions()) != 2 {
		t.Errorf("got %+v", got)
	}
}
