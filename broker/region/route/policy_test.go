package route_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/route"
	"github.com/mfpgate/mfpgate/telemetry"
)

// lines is a log that can be counted.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(event string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), fmt.Sprintf("%q", event))
}

// abroad is a site whose devices are at home in us.
func abroad(t *testing.T, devices int, mode string) (*world, *lines) {
	w, l := newWorld(t, devices), &lines{}
	w.log = telemetry.NewLogger(l, mfpgate.SystemClock{}, new(telemetry.Level), false)
	w.policy.Mode = mode
	for n := 1; n <= devices; n++ {
		w.cloud.residences = append(w.cloud.residences, mfpgate.Residence{Device: device(n), Home: "us", Market: "us", State: mfpgate.ResidenceAbroad, Epoch: 1})
	}
	return w, l
}

func (w *world) starts() int {
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	return len(w.cloud.keys)
}

func (w *world) end(m mfpgate.Move, state mfpgate.MoveState, why mfpgate.Reason) {
	m.State, m.Reason, m.EndedAt, m.Since = state, why, time.Now(), time.Now()
	w.cloud.say(m)
	w.pass(2 * time.Second)
}

func (w *world) first() mfpgate.Move {
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	return w.cloud.now["mov_0001"]
}

func TestPolicy(t *testing.T) {
	run := func(rule string, devices int, mode string, fn func(*world, *lines)) {
		t.Run(rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, l := abroad(t, devices, mode)
				defer func() { w.stop() }()
				fn(w, l)
			})
		})
	}
	run("ask suggests once, also after a restart", 3, route.ModeAsk, func(w *world, l *lines) {
		w.start()
		w.pass(time.Hour)
		w.stop()
		w.start()
		w.pass(time.Hour)
		if n := l.count("move.suggested"); n != 3 || w.starts() != 0 || w.cloud.plans != 0 {
			w.t.Errorf("%d suggestions, %d starts, %d plans", n, w.starts(), w.cloud.plans)
		}
		if r := w.residence(1); r.State != mfpgate.ResidenceAbroad || r.Home != "us" || r.Name != "mfp 0001" {
			w.t.Errorf("%+v", r)
		}
	})
	run("never does nothing", 3, route.ModeNever, func(w *world, l *lines) {
		w.start()
		w.pass(time.Hour)
		if n := l.count("move.suggested"); n != 0 || w.starts() != 0 || w.cloud.plans != 0 {
			w.t.Errorf("%d suggestions, %d starts, %d plans", n, w.starts(), w.cloud.plans)
		}
	})
	run("automatic has so many under way, and goes on when they are switched", 50, route.ModeAutomatic, func(w *world, _ *lines) {
		w.start()
		w.pass(time.Hour)
		if n := w.starts(); n != route.MaxAutomatic {
			w.t.Fatalf("%d starts", n)
		}
		for n := 1; n <= 5; n++ {
			m := committed(w.first())
			m.ID, m.Device, m.MFP = mfpgate.MoveID(fmt.Sprintf("mov_%04d", n)), device(n), "mfp_"+string(device(n))
			m.SwitchedAt = time.Now()
			w.cloud.say(m)
		}
		w.pass(10 * time.Minute)
		if n := w.starts(); n != route.MaxAutomatic+5 {
			w.t.Errorf("%d starts after five switches", n)
		}
	})
	run("what has blockers is left alone, says why, and is planned again in an hour", 2, route.ModeAutomatic, func(w *world, l *lines) {
		w.cloud.blockers[device(1)] = []mfpgate.MoveBlocker{{Reason: "not-rolled-out", Detail: "document-cloud is not offered in jp"}}
		w.start()
		w.pass(30 * time.Minute)
		if r := w.residence(1); w.starts() != 1 || r.Reason != "not-rolled-out" || !strings.Contains(r.Detail, "document-cloud") {
			w.t.Errorf("%d starts; %+v", w.starts(), r)
		}
		plans := w.cloud.plans
		if plans != 2 || l.count("move.suggested") != 3 {
			w.t.Errorf("%d plans, %d suggestions", plans, l.count("move.suggested"))
		}
		w.cloud.mu.Lock()
		w.cloud.blockers = nil
		w.cloud.mu.Unlock()
		w.pass(35 * time.Minute)
		if w.starts() != 2 {
			w.t.Errorf("%d starts after the blocker is gone", w.starts())
		}
	})
	run("a move that was taken back is begun again in an hour, as another one", 1, route.ModeAutomatic, func(w *world, _ *lines) {
		w.start()
		w.pass(time.Minute)
		w.end(w.first(), mfpgate.MoveRolledBack, "digest-differs")
		w.pass(50 * time.Minute)
		if n := w.starts(); n != 1 {
			w.t.Fatalf("%d starts within the hour", n)
		}
		w.pass(15 * time.Minute)
		if n := w.starts(); n != 2 {
			w.t.Errorf("%d starts after the hour", n)
		}
	})
	run("an administrator's abort is the end, until an administrator begins one", 1, route.ModeAutomatic, func(w *world, _ *lines) {
		w.start()
		w.pass(time.Minute)
		if _, err := w.Abort(w.t.Context(), "mov_0001", "taro"); err != nil {
			w.t.Fatal(err)
		}
		w.end(w.first(), mfpgate.MoveRolledBack, "whatever")
		w.pass(4 * time.Hour)
		if n := w.starts(); n != 1 {
			w.t.Fatalf("%d starts after an abort", n)
		}
		m, err := w.Start(w.t.Context(), mfpgate.MoveRequest{Device: device(1), Plan: "h"}, "taro", "k")
		if err != nil {
			w.t.Fatal(err)
		}
		w.end(m, mfpgate.MoveRolledBack, "digest-differs")
		w.pass(2 * time.Hour)
		if n := w.starts(); n != 3 {
			w.t.Errorf("%d starts", n)
		}
		if a := w.audit("move.abort-requested"); len(a) != 1 || a[0].Actor != "taro" || a[0].Object != "mov_0001" {
			w.t.Errorf("audit %+v", a)
		}
	})
	run("an abort by somebody else, which the region tells of", 1, route.ModeAutomatic, func(w *world, _ *lines) {
		w.start()
		w.pass(time.Minute)
		w.end(w.first(), mfpgate.MoveRolledBack, route.Aborted)
		w.pass(4 * time.Hour)
		if n := w.starts(); n != 1 {
			w.t.Errorf("%d starts", n)
		}
	})
	for rule, c := range map[string]struct{ from, to, home string }{
		"a device that an administrator has moved away is left there":            {"jp", "de", "de"},
		"a device that has come here is not moved because that is not known yet": {"us", "jp", "us"},
	} {
		run(rule, 1, route.ModeAutomatic, func(w *world, l *lines) {
			w.cloud.residences[0].Home, w.cloud.residences[0].Epoch = c.home, 3
			m := committed(move(1, device(1), 3))
			m.From, m.To, m.State, m.Step, m.SwitchedAt, m.EndedAt = c.from, c.to, mfpgate.MoveDone, mfpgate.StepDelete, time.Now(), time.Now()
			w.cloud.say(m)
			w.start()
			w.pass(2 * time.Hour)
			if w.starts() != 0 || l.count("move.suggested") != 0 {
				w.t.Errorf("%d starts, %d suggestions", w.starts(), l.count("move.suggested"))
			}
		})
	}
	run("what is registered here under its market's id is left alone", 1, route.ModeAutomatic, func(w *world, l *lines) {
		w.cloud.residences[0].State = mfpgate.ResidenceForeign
		w.start()
		w.pass(2 * time.Hour)
		if w.starts() != 0 || l.count("move.suggested") != 0 {
			w.t.Errorf("%d starts", w.starts())
		}
	})
	run("a refusal is said, and tried again in an hour; a region that is away at once", 1, route.ModeAutomatic, func(w *world, l *lines) {
		w.cloud.refuse = fmt.Errorf("the device is being moved already: %w", mfpgate.ErrRefused)
		w.start()
		w.pass(30 * time.Minute)
		if r := w.residence(1); !strings.Contains(r.Detail, "moved already") || w.cloud.plans != 1 {
			w.t.Errorf("%d plans; %+v", w.cloud.plans, r)
		}
		w.cloud.mu.Lock()
		w.cloud.refuse = errors.New("connection reset")
		w.cloud.mu.Unlock()
		w.pass(40 * time.Minute)
		w.cloud.mu.Lock()
		w.cloud.refuse = nil
		w.cloud.mu.Unlock()
		w.pass(2 * time.Minute)
		if w.starts() != 1 {
			w.t.Errorf("%d starts", w.starts())
		}
		if n := l.count("move.unreached"); n < 2 || n > 4 {
			w.t.Errorf("an outage is told of %d times", n)
		}
	})
}
