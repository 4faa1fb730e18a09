package account_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestLimiter(t *testing.T) {
	clock := fakeclock.New(time.Unix(1e9, 0))
	l := account.NewLimiter(clock)
	source, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	wait := func(rule string, source netip.Addr, want time.Duration) {
		t.Helper()
		if got := l.Wait(source); got != want {
			t.Errorf("%s: %s, want %s", rule, got, want)
		}
	}
	for range 10 {
		wait("ten failures are free", source, 0)
		l.Failed(source)
	}
	wait("the eleventh waits", source, 6*time.Second)
	wait("others do not", other, 0)
	wait("the mapped form is the same source", netip.MustParseAddr("::ffff:10.0.0.1"), 6*time.Second)
	clock.Advance(2 * time.Second)
	wait("time counts", source, 4*time.Second)
	clock.Advance(4 * time.Second)
	wait("one more try", source, 0)
	l.Failed(source)
	wait("and no second", source, 6*time.Second)
	clock.Advance(time.Hour)
	for range 10 {
		wait("all is forgotten after a while", source, 0)
		l.Failed(source)
	}
	for range 1000 {
		l.Failed(source)
	}
	wait("failures at one time are bounded", source, 66*time.Second)
}

func TestLimiterKnowsNetworks(t *testing.T) {
	l := account.NewLimiter(fakeclock.New(time.Unix(1e9, 0)))
	for range 10 {
		l.Failed(netip.MustParseAddr("2001:db8::1"))
	}
	if l.Wait(netip.MustParseAddr("2001:db8::2:3%eth0")) == 0 {
		t.Error("another address of the same /64 starts anew")
	}
	if l.Wait(netip.MustParseAddr("2001:db8:0:1::1")) != 0 {
		t.Error("another /64 waits")
	}
}

// TestLimiterIsBounded: many sources that fail once push out each other, not the one that fails on.
func TestLimiterIsBounded(t *testing.T) {
	clock := fakeclock.New(time.Unix(1e9, 0))
	l := account.NewLimiter(clock)
	guesser := netip.MustParseAddr("10.0.0.1")
	for range 20 {
		l.Failed(guesser)
	}
	const flood = 20000
	addr := netip.MustParseAddr("11.0.0.0")
	for range flood {
		l.Failed(addr)
		addr = addr.Next()
	}
	if l.Wait(guesser) == 0 {
		t.Error("a flood made the limiter forget the source that guesses")
	}
	if n := account.Sources(l); n > 8192 {
		t.Errorf("%d sources are kept", n)
	}
}
