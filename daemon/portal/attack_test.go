package portal_test

import (
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal"
)

// TestTheAPIsStreamsEndWithTheSession has an administrator follow a registration over the API, and be one no more meanwhile.
func TestTheAPIsStreamsEndWithTheSession(t *testing.T) {
	for _, c := range []struct {
		rule string
		end  func(w *wire)
	}{
		{"a logout", func(w *wire) { w.ask("POST", "/logout", "") }},
		{"a removed account", func(w *wire) { _ = w.gateway.RemoveUser(w.t.Context(), "mori") }},
		{"another role", func(w *wire) {
			w.gateway.SetAccount("mori", control.User{Role: control.RoleUser, Email: "mori@example.co.jp"})
		}},
		{"the idle time, which the stream does not extend", func(w *wire) { pass(w.t, portal.IdleTimeout) }},
	} {
		onWire(t, func(t *testing.T, w *wire) {
			w.enterAs("mori")
			resp, _ := w.follow("/api/v1/registrations/reg_admin/events")
			if resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
			e := listen(resp)
			pass(t, time.Second)
			if e.ended() {
				t.Fatal("it ends by itself")
			}
			c.end(w)
			pass(t, 16*time.Second)
			w.gateway.Change("reg_admin", func(r *mfpgate.Registration) { r.Attempt++ })
			pass(t, time.Second)
			if !e.ended() {
				t.Errorf("%s does not end it", c.rule)
			}
		})
	}
	onWire(t, func(t *testing.T, w *wire) {
		w.enterAs("mori")
		for i := range 9 {
			resp, _ := w.follow("/api/v1/registrations/reg_admin/events")
			if want := map[bool]int{false: 200, true: 503}[i >= 8]; resp.StatusCode != want {
				t.Errorf("stream %d: %s, want %d", i+1, resp.Status, want)
			}
			listen(resp)
		}
	})
}
