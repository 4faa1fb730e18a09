package proxy_test

import (
	"sync/atomic"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
)

// late answers from before a switch that comes, with its Reroute, between one of the relay's questions and the answer.
type late struct {
	asked, on atomic.Int64 // how many questions, and which of them is overtaken
	blocked   atomic.Bool
	reroute   func()
}

func (l *late) Route(mfpgate.DeviceID, mfpgate.Host, uint16, bool) mfpgate.Route {
	blocked := l.blocked.Load()
	if l.asked.Add(1) == l.on.Load() {
		l.blocked.Store(true)
		l.reroute()
	}
	if blocked {
		return mfpgate.Route{Action: mfpgate.RouteBlock, Region: "us", Epoch: 1}
	}
	return mfpgate.Route{Epoch: 1}
}

// Whichever of the relay's questions a switch overtakes, the tunnel is refused or cut: none is open that Reroute did not see.
func TestNoQuestionLeavesAGap(t *testing.T) {
	routes := &late{}
	w := newWorld(t, func(o *proxy.Options, _ *proxy.Policy) { o.Routes = routes })
	routes.reroute = func() { w.relay.Reroute(0) }
	for on := int64(1); ; on++ {
		routes.blocked.Store(false)
		routes.asked.Store(0)
		routes.on.Store(on)
		c, resp := w.connect(t, "127.0.0.2", w.us.insecure())
		if routes.asked.Load() < on { // it opened before so many were asked
			if on < 4 {
				t.Errorf("the relay asks %d times only", on-1)
			}
			return
		}
		if resp.StatusCode == 200 {
			c.ends(t)
		}
		_ = c.Close()
	}
}
