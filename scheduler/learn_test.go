package scheduler_test

import (
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
)

func TestDurationsAreLearned(t *testing.T) {
	within(t, func(g *gateway) {
		unknown := func(i, minutes int) mfpgate.Delivery {
			d := delivery(i, minutes)
			d.Duration, d.Bytes = mfpgate.DurationEstimate{}, 60e6
			return d
		}
		estimate := func() mfpgate.DurationEstimate {
			snap, _, _ := g.Snapshot()
			for _, d := range snap.Deliveries {
				if d.ID == "d9" {
					return d.Duration
				}
			}
			return mfpgate.DurationEstimate{}
		}
		g.office.put(unknown(9, 600))
		for i := range 6 {
			g.office.put(unknown(i, i*30))
		}
		g.start()
		g.pass(time.Minute)
		if e := estimate(); e != (mfpgate.DurationEstimate{}) {
			g.t.Errorf("of nothing: %v", e)
		}
		at := func(minutes int) time.Time { return epoch.Add(10*time.Hour + time.Duration(minutes)*time.Minute) }
		g.Transferred(device(0), at(1), at(5), 61e6)       // its delivery
		g.Transferred(device(1), at(31), at(35), 59e6)     // too small
		g.Transferred(device(2), at(20), at(24), 61e6)     // before it was due
		g.Transferred(device(3), at(91), at(91), 61e6)     // takes no time
		g.Transferred(device(4), at(121), at(125), 61e6)   // of a delivery that failed
		g.Transferred(device(5), at(151), at(155), 61e6)   // of one that is only running
		g.Transferred("dev_other", at(151), at(155), 61e6) // of no delivery
		g.pass(13 * time.Hour)
		for i := range 6 {
			d := unknown(i, i*30)
			d.State = []mfpgate.DeliveryState{mfpgate.DeliveryDone, mfpgate.DeliveryDone, mfpgate.DeliveryDone, mfpgate.DeliveryDone,
				mfpgate.DeliveryFailed, mfpgate.DeliveryRunning}[i]
			g.office.put(d)
		}
		g.pass(time.Minute)
		e := estimate()
		if e.Basis != mfpgate.DurationHistory || e.Samples != 1 || e.P50 < 4*time.Minute || e.P50 > 8*time.Minute || e.P95 <= e.P50 {
			g.t.Errorf("after one transfer of four minutes: %v", e)
		}
		d := unknown(0, 0)
		d.State, d.Priority = mfpgate.DeliveryDone, 2
		g.office.put(d)
		g.pass(time.Minute)
		if again := estimate(); again != e {
			g.t.Errorf("the same transfer taught twice: %v, then %v", e, again)
		}
		g.stop()
		g.start()
		if again := estimate(); again != e {
			g.t.Errorf("after a restart: %v, before %v", again, e)
		}
	})
}
