package throttle_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/fakeclock"
	"github.com/mfpgate/mfpgate/throttle"
)

func TestThrottle(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC))
	const every = 30 * time.Second
	limit := throttle.New(clock, 3, every)
	want := func(rule, key string, wait time.Duration) {
		t.Helper()
		if got := limit.Wait(key); got != wait {
			t.Errorf("%s: Wait says %v, want %v", rule, got, wait)
		}
		if got := limit.Take(key); got != wait {
			t.Errorf("%s: Take says %v, want %v", rule, got, wait)
		}
	}
	for range 3 {
		want("the burst goes through", "a", 0)
	}
	want("then one has to wait", "a", every)
	want("who is refused takes nothing", "a", every)
	want("others do not", "b", 0)
	clock.Advance(every)
	want("after an interval one goes through", "a", 0)
	want("and no other", "a", every)
	limit.GiveBack("a")
	want("what was given back is there again", "a", 0)
	limit.GiveBack("nobody")
	clock.Advance(time.Hour)
	for range 3 {
		want("in time the whole burst is there again, and no more", "a", 0)
	}
	want("that is all", "a", every)
}

func TestMemoryIsBounded(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, time.November, 22, 12, 0, 0, 0, time.UTC))
	limit := throttle.New(clock, 5, time.Minute)
	for range 5 {
		limit.Take("attacker")
	}
	for n := range 2 * throttle.MaxKeys {
		limit.Take(fmt.Sprint("passer-by ", n))
	}
	if n := limit.Keys(); n > throttle.MaxKeys {
		t.Errorf("%d keys are remembered, %d at most", n, throttle.MaxKeys)
	}
	if limit.Take("attacker") == 0 {
		t.Error("a crowd made the throttle forget the attacker")
	}
	clock.Advance(time.Hour)
	limit.Take("newcomer")
	if n := limit.Keys(); n != 1 {
		t.Errorf("%d keys are remembered that are long forgiven", n-1)
	}
}

func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:4711":                "192.0.2.7",
		"[::ffff:192.0.2.7]:4711":       "192.0.2.7",
		"[2001:db8:0:1:a:b:c:d]:4711":   "2001:db8:0:1::/64",
		"[2001:db8:0:1:ffff::1%eth0]:1": "2001:db8:0:1::/64",
		"@":                             "@",
		"printer.example:1":             "printer.example",
	} {
		if got := throttle.Source(remote); got != want {
			t.Errorf("Source(%s) = %s, want %s", remote, got, want)
		}
	}
}
