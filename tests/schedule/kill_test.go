//go:build long

package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// TestEachChangeIsAppliedOnce kills the gateway in mode auto around each call of the delivery system, and at any time. However often it is
// killed, an overload is reported once and repaired once: nothing is moved that had not to be, and nothing twice.
func TestEachChangeIsAppliedOnce(t *testing.T) {
	const printers, places = 6, 2
	r, f, config := behindFront(t, printers, places, mfpgate.ScheduleAuto)
	dir := rig.Dir(t)
	trusts := func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+r.certificate) }
	g := rig.StartIn(t, dir, config, trusts)
	rig.Until(t, "the region knows all devices, and the gateway plans", func() bool {
		return len(r.devices(t)) == printers && f.count("GET events") > 0
	})
	g.Kill(t)
	ids := r.devices(t)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	day := mfpgate.SystemClock{}.Now().UTC().Truncate(time.Hour).Add(24 * time.Hour)
	for round, step := range []string{"GET deliveries/arriving", "GET deliveries/answered", "GET background-schedules/answered",
		"PUT overload-reports/arriving", "PUT overload-reports/taken", "PUT overload-reports/answered", "POST change-proposals/arriving",
		"POST change-proposals/taken", "POST change-proposals/answered", "GET events/answered", "any", "any"} {
		at := day.Add(time.Duration(round) * 6 * time.Hour)
		batch := fmt.Sprintf("round-%d", round)
		var list []api.Delivery
		for _, id := range ids {
			list = append(list, api.Delivery{DeviceID: id, BatchID: batch, Schedule: api.Schedule{StartUTC: &at},
				Duration: &api.Estimate{P50: api.Duration(10 * time.Minute), P95: api.Duration(10 * time.Minute), Basis: "assumed"}})
		}
		var created api.Page[api.Delivery]
		f.forget()
		r.call(t, http.MethodPost, "deliveries:batch?allowOverload=true", "", map[string]any{"items": list}, &created)

		g := rig.Launch(t, dir, config, trusts)
		kill := sync.OnceFunc(func() { g.Signal(t, syscall.SIGKILL) })
		f.when(func(call string, _ http.ResponseWriter, forward func() func()) {
			if step == call+"/arriving" {
				kill()
			}
			answer := forward()
			if step == call+"/taken" {
				kill()
			}
			answer()
			if step == call+"/answered" {
				kill()
			}
		})
		var after *time.Timer
		if step == "any" {
			after = time.AfterFunc(time.Duration(random.IntN(1500))*time.Millisecond, kill)
		}
		if code, stderr := g.Exit(t); code != -1 {
			t.Fatalf("step %s: the gateway ended by itself with %d: %s", step, code, stderr)
		}
		if after != nil {
			after.Stop()
		}
		f.when(nil)

		g = rig.StartIn(t, dir, config, trusts)
		var moved int
		slowly := time.NewTicker(50 * time.Millisecond)
		rig.Until(t, step+": the overload is repaired, and its warning closed", func() bool {
			<-slowly.C
			moved = 0
			for _, d := range r.deliveries(t) {
				if d.BatchID == batch && !d.Schedule.StartUTC.Equal(at) {
					moved++
				}
			}
			var warnings api.Page[api.Warning]
			r.call(t, http.MethodGet, "warnings?state=open", "", nil, &warnings)
			return moved > 0 && len(warnings.Items) == 0
		})
		slowly.Stop()
		g.Kill(t)
		for _, d := range r.deliveries(t) {
			want := api.Version("1")
			if !d.Schedule.StartUTC.Equal(at) {
				want = "2"
			}
			if d.BatchID == batch && d.Version != want {
				t.Errorf("step %s: %s has version %s, want %s: each change is applied once", step, d.DeliveryID, d.Version, want)
			}
		}
		f.mu.Lock()
		if moved != printers-places || len(f.reports) != 1 || len(f.proposals) != 1 {
			t.Errorf("step %s: %d were moved, want %d; %d overload reports and %d proposals were sent, want one of each",
				step, moved, printers-places, len(f.reports), len(f.proposals))
		}
		f.mu.Unlock()
	}
}

func (f *front) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[call]
}
