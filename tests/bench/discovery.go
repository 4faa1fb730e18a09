package main

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"

	"github.com/mfpgate/mfpgate"
	registry "github.com/mfpgate/mfpgate/discovery"
	volatile "github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
)

// How much of a round is looked up.
const (
	known       = 2000      // devices
	lookUps     = 2_000_000 // of each peer in a pass
	lookUpPass  = 5
	fewDevices  = 200
	manyDevices = 10 * fewDevices
)

// discovery measures what knowing the site's devices costs: the look-up of each connection, and the devices themselves.
func discovery(ctx context.Context, b *bench) ([]*series, error) {
	looked, err := lookUp(ctx, b)
	if err != nil {
		return nil, err
	}
	scaled, err := scale(ctx, b)
	return append(looked, scaled...), err
}

// lookUp compares the registry's look-up with a plain map that has the same addresses as keys, in this process.
func lookUp(ctx context.Context, b *bench) ([]*series, error) {
	r, err := registry.New(ctx, registry.Options{Clock: b.clock, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Store: volatile.New()},
		&registry.Policy{SiteRegion: "jp"})
	if err != nil {
		return nil, err
	}
	plain := map[netip.Addr]*mfpgate.Device{}
	addresses := make([]netip.Addr, known)
	for i := range addresses {
		a := netip.AddrFrom4([4]byte{10, 2, byte(i / 250), byte(i%250 + 1)})
		addresses[i], plain[a] = a, &mfpgate.Device{}
		r.Identify(a, "")
	}
	r.Sweep()
	misses := 0
	ways := []struct {
		name string
		one  func(int)
	}{
		{"map", func(n int) {
			for i := range n {
				if plain[addresses[i%known]] == nil {
					misses++
				}
			}
		}},
		{ours, func(n int) {
			for i := range n {
				if _, _, _, ok := r.Lookup(addresses[i%known], ""); !ok {
					misses++
				}
			}
		}},
		{"Identify", func(n int) {
			for i := range n {
				if id, _, _ := r.Identify(addresses[i%known], ""); id == "" {
					misses++
				}
			}
		}},
	}
	took := &series{name: "lookup", unit: "ns", targets: []target{{peer: "map", bound: 2}}}
	allocations := &series{name: "lookup_allocations", unit: "1", targets: []target{{bound: 0}}}
	for round := range b.rounds {
		b.progress(round, b.rounds, "look-up")
		for pass := range lookUpPass {
			for _, w := range turns(ways, round+pass) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				began := b.clock.Now()
				w.one(lookUps)
				each := float64(b.clock.Now().Sub(began).Nanoseconds()) / lookUps
				runtime.ReadMemStats(&after)
				took.put(round*lookUpPass+pass, w.name, each)
				if w.name != "map" {
					allocations.put(round*lookUpPass+pass, w.name, float64((after.Mallocs-before.Mallocs)*1000/lookUps)/1000)
				}
			}
		}
	}
	if misses > 0 {
		return nil, fmt.Errorf("%d look-ups found nothing", misses)
	}
	return []*series{took, allocations}, nil
}
