package slots_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/proxy/slots"
	"github.com/mfpgate/mfpgate/telemetry"
)

func TestSnapshotSaysWhatEachDeviceHas(t *testing.T) {
	o := options()
	o.Metrics = telemetry.NewMetrics()
	bubble(t, o, func(s *site) {
		s.open("idle")
		s.advance(6 * time.Second)
		for _, d := range []slots.Key{"x", "y"} {
			s.setUp(s.ctx, s.connect(d)).want(nil)
		}
		away := s.connect("away")
		s.setUp(s.ctx, away)
		took := s.clock.Now()
		s.advance(30 * time.Second)
		away.Close()
		s.setUp(s.ctx, s.connect("q1"))
		s.setUp(s.ctx, s.connect("q2"))
		s.setUp(s.ctx, s.connect("q2"))
		now := s.clock.Now()
		want := slots.Snapshot{Capacity: 2, Served: 2, Queued: 2, Away: 1, Devices: []slots.Device{
			{Key: "away", State: slots.StateAway, Position: 1, Since: took, KeptUntil: now.Add(time.Minute)},
			{Key: "q1", State: slots.StateQueued, Connections: 1, Position: 1, Since: now},
			{Key: "q2", State: slots.StateQueued, Connections: 2, Position: 2, Since: now},
			{Key: "idle", State: slots.StateIdle, Connections: 1},
			{Key: "x", State: slots.StateHeld, Connections: 1},
			{Key: "y", State: slots.StateHeld, Connections: 1},
		}}
		got := s.Snapshot()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
		for name, want := range map[string]float64{"served": 2, "queued": 2} {
			if got := o.Metrics.Value("mfpgate_relay_devices", "state", name); got != want {
				t.Errorf("metric of %s is %v, want %v", name, got, want)
			}
		}
	})
}
