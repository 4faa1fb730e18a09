package report_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/report"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var start = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// rows is a queue that counts what was appended by transactions that committed.
type rows struct{ key string }

func (q rows) Append(tx store.Tx, add ...json.RawMessage) error {
	var all []json.RawMessage
	if err := store.GetJSON(tx, q.key, &all); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return store.SetJSON(tx, q.key, append(all, add...))
}

// desk is a reporter with everything around it.
type desk struct {
	t      *testing.T
	clock  *fakeclock.Clock
	store  store.Store
	mu     sync.Mutex
	failed []error
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, clock: fakeclock.New(start), store: memory.New()}
	t.Cleanup(func() { _ = d.store.Close() })
	return d
}

// take gives answers to a reporter of the desk's store, which ends then, as at a restart.
func (d *desk) take(answers ...answer) {
	d.t.Helper()
	r := report.New(report.Options{Clock: d.clock, Store: d.store, Telemetry: rows{"telemetry"}, Alerts: rows{"alerts"},
		Heartbeat: func() time.Duration { return 6 * time.Hour }, Failed: func(err error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.failed = append(d.failed, err)
		}})
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for _, a := range answers {
		r.Took(ctx, a.device, a.reading)
	}
	cancel()
	if err := <-done; err != nil {
		d.t.Fatal(err)
	}
}

// told is what was queued since the last call, a line each.
func (d *desk) told() string {
	d.t.Helper()
	var lines []string
	err := d.store.Update(d.t.Context(), func(tx store.Tx) error {
		lines = nil
		for _, key := range []string{"alerts", "telemetry"} {
			var all []json.RawMessage
			if err := store.GetJSON(tx, key, &all); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			for _, row := range all {
				lines = append(lines, describe(key, row))
			}
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func describe(key string, row json.RawMessage) string {
	if key == "alerts" {
		var a mfpgate.Alert
		if err := json.Unmarshal(row, &a); err != nil || a.ID == "" || a.At.IsZero() {
			return fmt.Sprintf("not an alert: %s", row)
		}
		sign := "+"
		if a.Cleared {
			sign = "-"
		}
		return strings.TrimSpace(fmt.Sprintf("%s%s %s %s %s", sign, a.Code, a.Severity, a.Device, a.Text))
	}
	var r report.Row
	if err := json.Unmarshal(row, &r); err != nil {
		return err.Error()
	}
	var parts []string
	if s := r.Reading.Status; s != nil {
		parts = append(parts, string(s.State))
	}
	for _, s := range r.Reading.Supplies {
		parts = append(parts, fmt.Sprintf("%s=%d", s.Name, s.Level))
	}
	for _, c := range r.Reading.Counters {
		parts = append(parts, fmt.Sprintf("%s=%d", c.Name, c.Value))
	}
	if r.Reading.Firmware != "" {
		parts = append(parts, "firmware="+r.Reading.Firmware)
	}
	return fmt.Sprintf("%s: %s", r.Device, strings.Join(parts, " "))
}

type answer struct {
	device  mfpgate.Device
	reading mfpgate.Reading
}

func (d *desk) online(change func(*mfpgate.Reading)) answer {
	a := answer{mfpgate.Device{ID: "dev_1", State: mfpgate.DeviceOnline, MonitoringMode: mfpgate.MonitoringPolling},
		mfpgate.Reading{At: d.clock.Now(), Status: &mfpgate.PrinterStatus{State: mfpgate.PrinterIdle}}}
	if change != nil {
		change(&a.reading)
	}
	return a
}

func (d *desk) offline(reason mfpgate.Reason) answer {
	return answer{device: mfpgate.Device{ID: "dev_1", State: mfpgate.DeviceOffline, Reason: reason, MonitoringMode: mfpgate.MonitoringPolling}}
}

func reasons(list ...string) func(*mfpgate.Reading) {
	return func(r *mfpgate.Reading) { r.Status.Reasons = list }
}

func counters(n int64) func(*mfpgate.Reading) {
	return func(r *mfpgate.Reading) { r.Counters = []mfpgate.Counter{{Name: "impressions", Value: n}} }
}

func toner(level int64) func(*mfpgate.Reading) {
	return func(r *mfpgate.Reading) {
		r.Supplies = []mfpgate.Supply{{Index: "1", Name: "black", Type: "toner", Level: level, Max: 10_000}}
	}
}

// Each step is an answer in a reporter of its own: what was said before survives in the store alone.
func TestWhatIsReported(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		rule  string
		after time.Duration
		say   answer
		want  string
	}{
		{"the first answer is news", 0, d.online(nil), "dev_1: idle"},
		{"the same again is none", time.Minute, d.online(nil), ""},
		{"a condition begins", time.Minute, d.online(reasons("media-jam-error", "toner-low-warning")),
			"+media-jam error dev_1\n+toner-low warning dev_1\ndev_1: idle"},
		{"it goes on, whatever the device says beside it", time.Minute, d.online(reasons("media-jam-error", "toner-low-warning")), ""},
		{"one ends, one gets worse", time.Minute, d.online(reasons("toner-low-error")), "-media-jam error dev_1\n+toner-low error dev_1\ndev_1: idle"},
		{"a keyword without suffix is an error", time.Minute, d.online(reasons("paused", "toner-low-error")), "+paused error dev_1\ndev_1: idle"},
		{"a device that is away is one alert, and ends no other", time.Minute, d.offline("no-answer"), "+offline error dev_1 no-answer"},
		{"it stays away, for whatever reason", time.Minute, d.offline("no-route"), ""},
		{"it is back", time.Minute, d.online(nil), "-offline error dev_1\n-paused error dev_1\n-toner-low error dev_1\ndev_1: idle"},
		{"a message goes with the only condition", time.Minute, d.online(func(r *mfpgate.Reading) {
			r.Status.Reasons, r.Status.Message = []string{"media-jam-error"}, "Jam in tray 2"
		}), "+media-jam error dev_1 Jam in tray 2\ndev_1: idle"},
		{"and with none of several", time.Minute, d.online(func(r *mfpgate.Reading) {
			r.Status.Reasons, r.Status.Message = []string{"media-jam-error", "toner-low-report"}, "Jam in tray 2"
		}), "+toner-low report dev_1\ndev_1: idle"},
		{"all ends", time.Minute, d.online(nil), "-media-jam error dev_1\n-toner-low report dev_1\ndev_1: idle"},
		{"counters", time.Minute, d.online(counters(128_734)), "dev_1: impressions=128734"},
		{"counters that rise", time.Minute, d.online(counters(128_740)), "dev_1: impressions=128740"},
		{"counters that fall are an event, and are reported", time.Minute, d.online(counters(12)),
			"+counter-reset warning dev_1 impressions: 128740, then 12\ndev_1: impressions=12"},
		{"an event has no end", time.Minute, d.online(counters(13)), "dev_1: impressions=13"},
		{"supplies", time.Minute, d.online(toner(6990)), "dev_1: black=6990"},
		{"less than a per cent is not news", time.Minute, d.online(toner(6910)), ""},
		{"a per cent is", time.Minute, d.online(toner(6890)), "dev_1: black=6890"},
		{"a level that is not known any more is", time.Minute, d.online(toner(mfpgate.LevelSome)), "dev_1: black=-3"},
		{"firmware", time.Minute, d.online(func(r *mfpgate.Reading) { r.Firmware = "2.1" }), "dev_1: firmware=2.1"},
		{"after the heartbeat everything is said again", 7 * time.Hour, d.online(nil), "dev_1: idle black=-3 impressions=13 firmware=2.1"},
		{"a condition of a device that is to report for itself", time.Minute, d.online(reasons("media-jam-error")), "+media-jam error dev_1\ndev_1: idle"},
		{"ends when it does", time.Minute, func() answer {
			a := d.online(reasons("media-jam-error"))
			a.device.MonitoringMode = mfpgate.MonitoringProxy
			return a
		}(), "-media-jam error dev_1"},
		{"one that is polled again is news", time.Minute, d.online(nil), "dev_1: idle"},
	} {
		d.clock.Advance(c.after)
		if !c.say.reading.At.IsZero() {
			c.say.reading.At = d.clock.Now()
		}
		d.take(c.say)
		if diff := cmp.Diff(c.want, d.told()); diff != "" {
			t.Errorf("%s: -want +got\n%s", c.rule, diff)
		}
	}
	if len(d.failed) > 0 {
		t.Error(d.failed)
	}
}

func TestManyAnswersAtOnce(t *testing.T) {
	d := newDesk(t)
	var all []answer
	for i := range 200 {
		a := d.online(reasons(fmt.Sprintf("media-jam-%s", []string{"error", "warning"}[i%2])))
		a.device.ID = mfpgate.DeviceID(fmt.Sprintf("dev_%03d", i/2)) // each device twice, in one batch
		all = append(all, a)
	}
	d.take(all...)
	lines := strings.Split(d.told(), "\n")
	if len(lines) != 100*2+100*2 {
		t.Errorf("%d lines, want an alert and a reading for each answer", len(lines))
	}
	if len(d.failed) > 0 {
		t.Error(d.failed)
	}
}

// full refuses every change.
type full struct{ store.Store }

func (full) Update(context.Context, func(store.Tx) error) error { return store.ErrFull }

func TestAFullStoreLosesNoCondition(t *testing.T) {
	d := newDesk(t)
	true := d.store
	d.store = full{true}
	d.take(d.online(reasons("media-jam-error")))
	if len(d.failed) != 1 || !errors.Is(d.failed[0], store.ErrFull) {
		t.Fatalf("failed: %v", d.failed)
	}
	d.store = true
	d.take(d.online(reasons("media-jam-error")))
	if diff := cmp.Diff("+media-jam error dev_1\ndev_1: idle", d.told()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestADeviceThatSaysTooMuchSilencesNoOther(t *testing.T) {
	d := newDesk(t)
	many := mfpgate.Reading{At: start}
	for range 100 {
		many.Supplies = append(many.Supplies, mfpgate.Supply{Name: strings.Repeat("x", 1000)})
	}
	talker := mfpgate.Device{ID: "dev_talker", State: mfpgate.DeviceOnline, MonitoringMode: mfpgate.MonitoringPolling}
	other := mfpgate.Device{ID: "dev_other", State: mfpgate.DeviceOnline, MonitoringMode: mfpgate.MonitoringPolling}
	d.take(answer{talker, many}, answer{other, mfpgate.Reading{At: start, Firmware: "1.2"}})
	if got := d.told(); !strings.Contains(got, "dev_other") || strings.Contains(got, "dev_talker") {
		t.Errorf("told:\n%s", got)
	}
	if len(d.failed) != 1 || !errors.Is(d.failed[0], store.ErrTooLarge) {
		t.Errorf("failures: %v", d.failed)
	}
}

// A clock that was ahead does not keep the heartbeat back until it comes to where it was.
func TestTheHeartbeatOutlivesAClockThatWasAhead(t *testing.T) {
	d := newDesk(t)
	d.take(d.online(nil))
	d.told()
	d.clock.Advance(-365 * 24 * time.Hour)
	d.take(d.online(nil))
	if got := d.told(); got != "dev_1: idle" {
		t.Errorf("after the step: %q", got)
	}
	d.take(d.online(nil))
	if got := d.told(); got != "" {
		t.Errorf("once more: %q", got)
	}
	d.clock.Advance(6 * time.Hour)
	d.take(d.online(nil))
	if got := d.told(); got != "dev_1: idle" {
		t.Errorf("after the heartbeat's time: %q", got)
	}
}
