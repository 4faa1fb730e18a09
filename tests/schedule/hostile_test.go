package schedule_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// mostMemory is more than a gateway with a handful of devices needs, with the race detector too, and less than the largest answer below.
const mostMemory = 600 << 20

// TestWhatTheCloudMayAnswer: whatever it answers to the question for deliveries, the gateway says what is wrong with it, keeps its last good
// plan, and lives within its memory.
func TestWhatTheCloudMayAnswer(t *testing.T) {
	const printers, places = 6, 2
	r, f, config := behindFront(t, printers, places, mfpgate.ScheduleNotify)
	g := rig.Start(t, config, func(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+r.certificate) })
	rig.Until(t, "the region knows all devices", func() bool { return len(r.devices(t)) == printers })
	at := mfpgate.SystemClock{}.Now().UTC().Truncate(time.Hour).Add(24 * time.Hour)
	var list []api.Delivery
	for _, id := range r.devices(t) {
		list = append(list, api.Delivery{DeviceID: id, Schedule: api.Schedule{StartUTC: &at}})
	}
	var created api.Page[api.Delivery]
	r.call(t, http.MethodPost, "deliveries:batch?allowOverload=true", "", map[string]any{"items": list}, &created)
	schedule := func() (s control.Schedule) {
		g.API(t, "schedule", &s)
		return s
	}
	rig.Until(t, "all is planned", func() bool { s := schedule(); return s.Deliveries == printers && len(s.Bands) == 1 && s.Error == "" })
	bad := func() float64 {
		return g.Metric(t, `mfpgate_scheduler_runs_total{outcome="failed"}`) + g.Metric(t, `mfpgate_scheduler_runs_total{outcome="refused"}`)
	}

	said := func(delivery string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"items": [%s], "removed": [], "whole": true, "deltaToken": "x"}`, delivery)
		}
	}
	device := r.devices(t)["SIM000001"]
	for _, test := range []struct {
		rule   string
		says   string // the status
		answer func(http.ResponseWriter)
	}{
		{"a gateway between that is not well", "502 Bad Gateway", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }},
		{"a page for people", "not an answer of a region", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!doctype html><title>Log in</title>")
		}},
		{"an answer that does not end", "longer than 33554432 bytes", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, err := io.WriteString(w, `{"items": [`)
			part := []byte(strings.Repeat(" ", 1<<20))
			for n := 0; n < 1024 && err == nil; n++ {
				_, err = w.Write(part)
			}
		}},
		{"lists within lists", "exceeded max depth", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"items": `+strings.Repeat("[", 1<<20))
		}},
		{"a delivery that lasts less than nothing", "not an ISO 8601 duration", said(`{"deliveryId": "d", "version": "1", "deviceId": "` + device +
			`", "schedule": {"startUtc": "2030-01-01T00:00:00Z"}, "duration": {"p50": "-PT5M", "p95": "-PT5M"}}`)},
		{"a start in the year 1", "no start", said(`{"deliveryId": "d", "version": "1", "deviceId": "` + device + `", "schedule": {"startUtc": "0001-01-01T00:00:00Z"}, "state": "planned"}`)},
		{"a start in the year 9999", "startUtc: is in the year 9999", said(`{"deliveryId": "d", "version": "1", "deviceId": "` + device + `", "schedule": {"startUtc": "9999-12-31T23:59:59Z"}, "state": "planned"}`)},
		{"less than no bytes", "bytes", said(`{"deliveryId": "d", "version": "1", "deviceId": "` + device +
			`", "schedule": {"startUtc": "2030-01-01T00:00:00Z"}, "bytes": -1}`)},
	} {
		before := bad()
		f.when(func(call string, w http.ResponseWriter, forward func() func()) {
			if call == "GET deliveries" {
				test.answer(w)
				return
			}
			forward()()
		})
		refusal := propose(t, g)
		rig.Until(t, test.rule+": the run has ended badly", func() bool { return bad() > before })
		s := schedule()
		t.Logf("%s: %s", test.rule, s.Error)
		if !strings.Contains(s.Error, test.says) || refusal == http.StatusOK {
			t.Errorf("%s: the status says %q, want %q in it; who asked for a proposal got %d", test.rule, s.Error, test.says, refusal)
		}
		if s.Deliveries != printers || len(s.Bands) != 1 {
			t.Errorf("%s: the last good plan is gone: %d deliveries, %d overloads", test.rule, s.Deliveries, len(s.Bands))
		}
		f.when(nil)
	}
	if peak := peakMemory(t, g.PID()); peak > mostMemory {
		t.Errorf("the gateway took %d MiB", peak>>20)
	}
	propose(t, g)
	rig.Until(t, "all is well again", func() bool { s := schedule(); return s.Error == "" && s.Deliveries == printers })
}

// propose has the gateway ask the cloud now.
func propose(t *testing.T, g *rig.Gateway) (status int) {
	t.Helper()
	client := control.Client(g.Socket)
	client.Timeout = 4 * rig.Deadline // a proposal is computed with the race detector, beside other tests
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://mfpgate/api/v1/schedule/propose", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// peakMemory is the most that a process has had in memory, from proc_pid_status(5).
func peakMemory(t *testing.T, pid int) (bytes int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, "VmHWM:"); is {
			if _, err := fmt.Sscan(value, &bytes); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("the gateway took %d MiB at most", bytes>>10)
	return bytes << 10
}
