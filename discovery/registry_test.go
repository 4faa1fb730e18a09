package discovery_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var (
	start    = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	copierAt = netip.MustParseAddr("10.1.0.9")
	static   = policy(discovery.Static{Name: "2F copier", Address: copierAt})
)

func policy(static ...discovery.Static) *discovery.Policy {
	return &discovery.Policy{Static: static, SiteRegion: "jp"}
}

type site struct {
	t       *testing.T
	clock   *fakeclock.Clock
	store   store.Store
	metrics *telemetry.Metrics
}

func newSite(t *testing.T) *site {
	s := &site{t: t, clock: fakeclock.New(start), store: memory.New(), metrics: telemetry.NewMetrics()}
	t.Cleanup(func() { _ = s.store.Close() })
	return s
}

// open builds a registry on what an earlier one stored. Its stop stores everything, as a stop of the daemon does.
func (s *site) open(p *discovery.Policy) (r *discovery.Registry, stop func()) {
	s.t.Helper()
	r, err := discovery.New(context.Background(), discovery.Options{Clock: s.clock, Log: telemetry.Discard(), Metrics: s.metrics,
		Store: s.store}, p)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

func TestDevicesKeepTheirIDs(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	copier, name, known := r.Identify(copierAt, "")
	if name != "2F copier" || !known {
		t.Errorf("the configured device is %q, known %v", name, known)
	}
	stranger, _, known := r.Identify(netip.MustParseAddr("10.1.0.77"), "")
	if known || stranger == "" || stranger == copier {
		t.Errorf("the stranger is %q, known %v", stranger, known)
	}
	account, name, known := r.Identify(copierAt, "mfp-7")
	if name != "mfp-7" || !known || account == copier {
		t.Errorf("the account is %q %q, known %v", account, name, known)
	}
	stop()

	r, stop = s.open(static)
	defer stop()
	for _, tc := range []struct {
		address, account string
		want             mfpgate.DeviceID
	}{{"10.1.0.9", "", copier}, {"10.1.0.77", "", stranger}, {"10.1.0.9", "mfp-7", account}} {
		if got, _, _ := r.Identify(netip.MustParseAddr(tc.address), tc.account); got != tc.want {
			t.Errorf("after a restart %s/%s is %s, want %s", tc.address, tc.account, got, tc.want)
		}
	}
}

func TestConfigureNamesAndForgets(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(policy())
	defer stop()
	before, _, known := r.Identify(copierAt, "")
	if known {
		t.Error("known without a configuration")
	}
	r.Configure(static)
	after, name, known := r.Identify(copierAt, "")
	if after != before || name != "2F copier" || !known {
		t.Errorf("named: %s %q known %v; the id was %s", after, name, known, before)
	}
	r.Configure(policy())
	if id, _, known := r.Identify(copierAt, ""); id != before || known {
		t.Errorf("no longer named: %s known %v", id, known)
	}
	// A device that is named by account and address is one, and keeps its id when its address changes.
	r.Configure(policy(discovery.Static{Name: "2F copier", Address: copierAt, Account: "mfp-9"}))
	byAccount, _, _ := r.Identify(netip.MustParseAddr("10.9.9.9"), "mfp-9")
	moved := netip.MustParseAddr("10.1.0.10")
	r.Configure(policy(discovery.Static{Name: "2F copier", Address: moved, Account: "mfp-9"}))
	byAddress, _, _ := r.Identify(moved, "")
	if byAccount != before || byAddress != before {
		t.Errorf("by account %s, by its new address %s, want %s", byAccount, byAddress, before)
	}
}

func TestStatesAreTrue(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	defer stop()
	state := func() string {
		var b strings.Builder
		for _, d := range r.List() {
			fmt.Fprintf(&b, "%s %s %s %s\n", d.Name, d.State, d.Reason, d.Since.Format(time.TimeOnly))
		}
		return b.String()
	}
	check := func(want string) {
		t.Helper()
		if diff := cmp.Diff(want, state()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	check("2F copier known never-seen 00:00:00\n")
	r.Identify(copierAt, "")
	r.Sweep()
	s.clock.Advance(time.Minute)
	r.Identify(copierAt, "")
	check("2F copier online  09:00:00\n")
	s.clock.Advance(discovery.Present + time.Second)
	check("2F copier offline silent 09:01:00\n")
	r.Identify(copierAt, "")
	r.Identify(netip.MustParseAddr("10.1.0.77"), "")
	check("10.1.0.77 unknown not-named 09:06:01\n2F copier online  09:06:01\n")
}

func TestStrangersAreBounded(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	defer stop()
	address := netip.MustParseAddr("10.2.0.0")
	for range discovery.MaxStrangers {
		address = address.Next()
		if id, _, _ := r.Identify(address, ""); id == "" {
			t.Fatalf("%s was not recorded", address)
		}
	}
	if id, name, known := r.Identify(address.Next(), ""); id != "" || name == "" || known {
		t.Errorf("one stranger too many is %q %q, known %v", id, name, known)
	}
	if id, _, known := r.Identify(copierAt, ""); id == "" || !known {
		t.Error("strangers keep a configured device out")
	}
}

func TestLookUpDoesNotAllocate(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	defer stop()
	r.Sweep() // the table has all
	for name, look := range map[string]func(){
		"Identify": func() { r.Identify(copierAt, "") },
		"Lookup":   func() { r.Lookup(copierAt, "") },
	} {
		if n := testing.AllocsPerRun(1000, look); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// BenchmarkLookup has its peer beside it: a plain map of the same keys.
func BenchmarkLookup(b *testing.B) {
	r, err := discovery.New(b.Context(), discovery.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(),
		Store: memory.New()}, policy())
	if err != nil {
		b.Fatal(err)
	}
	plain := map[netip.Addr]*mfpgate.Device{}
	addresses := make([]netip.Addr, 2000)
	address := netip.MustParseAddr("10.2.0.0")
	for i := range addresses {
		address = address.Next()
		addresses[i], plain[address] = address, &mfpgate.Device{}
		r.Identify(address, "")
	}
	r.Sweep()
	b.Run("peer=map", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if plain[addresses[i%len(addresses)]] == nil {
				b.Fatal("absent")
			}
		}
	})
	b.Run("lookup", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, _, _, ok := r.Lookup(addresses[i%len(addresses)], ""); !ok {
				b.Fatal("absent")
			}
		}
	})
	b.Run("identify", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if id, _, _ := r.Identify(addresses[i%len(addresses)], ""); id == "" {
				b.Fatal("absent")
			}
		}
	})
}
