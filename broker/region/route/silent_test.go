package route_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
)

// While the region is silent, only the first who looks waits for it.
func TestNobodyWaitsForASilentRegionTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.open()
		w.set(func(c *cloud) { c.mute = true })
		look := func() (waited time.Duration) {
			began := time.Now()
			if r := w.residence(1); r.State != mfpgate.ResidenceUnknown {
				t.Errorf("the residence is %s", r.State)
			}
			return time.Since(began)
		}
		for i, want := range []time.Duration{3 * time.Second, 0, 0} {
			if got := look(); got != want {
				t.Errorf("look %d takes %s, want %s", i, got, want)
			}
		}
		w.pass(31 * time.Second)
		if got := look(); got != 3*time.Second {
			t.Errorf("half a minute later it takes %s", got)
		}
		w.set(func(c *cloud) {
			c.mute, c.residences = false, []mfpgate.Residence{{Device: device(1), Home: "us", State: mfpgate.ResidenceAbroad}}
		})
		w.pass(31 * time.Second)
		if r := w.residence(1); r.Home != "us" {
			t.Errorf("the region answers again, and the residence is %+v", r)
		}
		w.set(func(c *cloud) { c.down = errors.New("down") })
		if r := w.residence(1); r.Home != "us" {
			t.Errorf("a fresh answer is not used: %+v", r)
		}
	})
}

// A directive that is acknowledged closes the way to the old region's management; it switches nothing.
func TestASwitchIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		told := &lines{}
		w.log = telemetry.NewLogger(told, mfpgate.SystemClock{}, &telemetry.Level{}, false)
		w.start()
		defer func() { w.stop() }()
		m := committed(move(1, device(1), 2))
		w.cloud.say(m)
		w.pass(time.Second)
		looked := w.site.reroutes.Load()
		m.AckedAt, m.Step = time.Now(), mfpgate.StepConfirm
		w.cloud.say(m)
		w.pass(time.Second)
		if w.site.reroutes.Load() == looked {
			t.Error("nobody looked at the tunnels when the directive was acknowledged")
		}
		if n := told.count("move.switched"); n != 1 {
			t.Errorf("the log has %d switches", n)
		}
		audit := w.audit("move.switched")
		if len(audit) != 1 || !strings.Contains(string(audit[0].After), `"seq":8`) {
			t.Errorf("the audit has %+v", audit)
		}
		w.sound()
	})
}
