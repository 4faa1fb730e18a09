package poll_test

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/discovery/poll"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
)

// printers answer over IPP, except those that are away: of these nothing comes back.
type printers struct {
	mu    sync.Mutex
	away  func(netip.Addr) bool
	reads map[netip.Addr]int
}

func (p *printers) Identify(ctx context.Context, at mfpgate.Endpoint) (mfpgate.Sighting, error) {
	if err := p.reach(ctx, at.Address.Addr()); err != nil {
		return mfpgate.Sighting{}, err
	}
	return mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceIPP, at.Address.String()), Identity: mfpgate.Identity{Serial: "SN-" + at.Address.String()},
		Answered: true, Endpoints: []mfpgate.Endpoint{at}}, nil
}

func (p *printers) Find(ctx context.Context, at netip.Addr) (mfpgate.Sighting, error) {
	return p.Identify(ctx, mfpgate.Endpoint{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(at, 631)})
}

func (p *printers) Read(ctx context.Context, at mfpgate.Endpoint, _ mfpgate.Parts) (mfpgate.Reading, error) {
	if err := p.reach(ctx, at.Address.Addr()); err != nil {
		return mfpgate.Reading{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads[at.Address.Addr()]++
	return mfpgate.Reading{Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}}, nil
}

func (p *printers) reach(ctx context.Context, at netip.Addr) error {
	p.mu.Lock()
	away := p.away(at)
	p.mu.Unlock()
	if away {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// At night half a site is switched off, and each of those takes many seconds to ask.
func TestDevicesThatAreAwayDelayNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, interval, turns = 400, time.Minute, 10
		address := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(n / 250), byte(n%250 + 1)}) }
		policy := &discovery.Policy{AskStatic: true}
		gone := map[netip.Addr]bool{}
		for n := range devices {
			policy.Static = append(policy.Static, discovery.Static{Name: fmt.Sprint(n), Address: address(n)})
			gone[address(n)] = n%4 != 0
		}
		metrics := telemetry.NewMetrics()
		db := memory.New()
		defer db.Close()
		r, err := discovery.New(t.Context(), discovery.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: metrics, Store: db}, policy)
		if err != nil {
			t.Fatal(err)
		}
		all := &printers{away: func(netip.Addr) bool { return false }, reads: map[netip.Addr]int{}}
		p := poll.New(poll.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: metrics, Devices: r, IPP: all,
			Intervals: func() poll.Intervals {
				return poll.Intervals{Status: interval, Supplies: time.Hour, Counters: time.Hour}
			},
			Took: func(context.Context, mfpgate.Device, mfpgate.Reading) {}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		pass := func(d time.Duration) { _ = mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, d) }
		pass(2 * interval)
		all.mu.Lock()
		all.away = func(a netip.Addr) bool { return gone[a] }
		all.mu.Unlock()
		pass(5 * interval) // all of them are known to be away
		all.mu.Lock()
		clear(all.reads)
		all.mu.Unlock()
		pass(turns * interval)
		all.mu.Lock()
		for n := 0; n < devices; n += 4 {
			if got := all.reads[address(n)]; got < turns-1 || got > turns+1 {
				t.Errorf("device %d was asked %d times in %d intervals", n, got, turns)
			}
		}
		all.away = func(netip.Addr) bool { return false }
		all.mu.Unlock()
		pass(5 * interval)
		for _, d := range r.List() {
			if d.State != mfpgate.DeviceOnline {
				t.Errorf("%s is back, and %s (%s)", d.Name, d.State, d.Reason)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
