package poll_test

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/discovery/poll"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"sync"
	"sync/atomic"
	"testing/synctest"
)

// A host that announces hundreds of printers and answers for none of them does not keep the others from being asked.
func TestAHostOfNoAnswersIsNobodyElsesMatter(t *testing.T) {
	run(t, &discovery.Policy{}, func(s *site) {
		sight := func(i int, a netip.Addr, port uint16, p *printer) {
			p.identity = mfpgate.Identity{UUID: fmt.Sprintf("11111111-aaaa-4b6c-9000-%012d", i)}
			s.put("ipp "+netip.AddrPortFrom(a, port).String(), p)
			s.devices.Sight(mfpgate.Sighting{ID: mfpgate.NewSightingID(mfpgate.SourceDNSSD, fmt.Sprintf("Copier %d._ipp._tcp.local", i)), Identity: p.identity,
				Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: netip.AddrPortFrom(a, port), Host: fmt.Sprintf("h%d.local", i)}}})
		}
		for i := range 20 {
			sight(i, netip.AddrFrom4([4]byte{10, 1, 0, byte(1 + i)}), 631, &printer{})
		}
		s.pass(2 * time.Minute)
		for i := range 1000 {
			sight(100+i, netip.AddrFrom4([4]byte{10, 1, 9, 9}), uint16(10000+i), &printer{takes: time.Hour})
		}
		s.pass(5 * time.Minute)
		s.reset()
		s.pass(10 * time.Minute)
		for i := range 20 {
			if n := s.count("ipp read", fmt.Sprintf(" 10.1.0.%d:", 1+i)); n < 9 || n > 11 {
				t.Errorf("10.1.0.%d was asked %d times in ten minutes", 1+i, n)
			}
		}
	})
}

// stepped is a clock whose wall time was set.
type stepped struct {
	mfpgate.SystemClock
	by atomic.Int64
}

func (c *stepped) Now() time.Time {
	return c.SystemClock.Now().Round(0).Add(time.Duration(c.by.Load()))
}

func TestAClockThatIsSetStopsNoQuestion(t *testing.T) {
	for _, by := range []time.Duration{-365 * 24 * time.Hour, 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			clock := &stepped{}
			n := &network{at: map[string]*printer{}, asked: map[string]int{}}
			metrics := telemetry.NewMetrics()
			db := memory.New()
			defer db.Close()
			devices, err := discovery.New(t.Context(), discovery.Options{Clock: clock, Log: telemetry.Discard(), Metrics: metrics, Store: db}, &discovery.Policy{Monitoring: mfpgate.MonitoringPolling})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() {
				_ = poll.New(poll.Options{Clock: clock, Log: telemetry.Discard(), Metrics: metrics, Devices: devices, IPP: ippSide{n}, SNMP: snmpSide{n},
					Intervals: func() poll.Intervals { return every }, Took: func(context.Context, mfpgate.Device, mfpgate.Reading) {}}).Run(ctx)
			})
			n.put("ipp 10.1.0.9:631", copier())
			devices.Sight(announced("10.1.0.9"))
			s := &site{network: n, t: t}
			s.pass(3 * time.Minute)
			clock.by.Store(int64(by))
			s.pass(2 * time.Minute)
			s.reset()
			s.pass(time.Hour)
			if got := s.count("ipp read"); got < 58 || got > 62 {
				t.Errorf("set by %s: asked %d times in an hour, want 60", by, got)
			}
			if got := s.count("ipp read parts=01"); got < 3 {
				t.Errorf("set by %s: asked for supplies %d times in an hour, want 4", by, got)
			}
			cancel()
			running.Wait()
		})
	}
}
