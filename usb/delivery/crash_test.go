package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

var errDead = errors.New("the process is dead")

// life ends at a step: before and after each commit, and before and after each call. After that nothing has an effect.
type life struct {
	last  int64
	dead  atomic.Bool
	steps atomic.Int64
}

func (l *life) pass() error {
	if l.dead.Load() {
		return errDead
	}
	if n := l.steps.Add(1); l.last > 0 && n >= l.last {
		l.dead.Store(true)
		return errDead
	}
	return nil
}

// mortal is the store of a life.
type mortal struct {
	store.Store
	*life
}

func (m mortal) View(ctx context.Context, fn func(store.Snapshot) error) error {
	if m.dead.Load() {
		return errDead
	}
	return m.Store.View(ctx, fn)
}

func (m mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := m.pass(); err != nil {
		return err
	}
	if err := m.Store.Update(ctx, fn); err != nil {
		return err
	}
	return m.pass()
}

// TestEveryCrash ends the process at each step of a delivery, lets another one go on, and wants of each: at most one job that has bytes,
// one end that is told, the truth in it, and nothing left.
func TestEveryCrash(t *testing.T) {
	outcomes := map[string]int{}
	for last := int64(1); ; last++ {
		alive := false
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.plan(20 * time.Minute)
			h.poll = 4 * time.Hour
			l := &life{last: last}
			h.step = l.pass
			h.startOn(mortal{h.facts, l})
			h.pass(30 * time.Minute)
			h.halt()
			alive = !l.dead.Load()
			h.set(func() { h.step, h.works = nil, 0 })
			had := len(h.seen().jobs)
			h.start()
			defer func() { h.halt() }()
			h.pass(3 * time.Hour)
			outcome := h.outcome()
			outcomes[outcome]++
			switch outcome {
			case "done , 1 jobs":
				if !bytes.Equal(h.seen().jobs[0], h.bytes) {
					t.Errorf("killed at step %d: done, and the printer has %d of %d bytes", last, len(h.seen().jobs[0]), len(h.bytes))
				}
			case "failed interrupted, 1 jobs", "failed interrupted, 0 jobs": // 0: it was about to send the first byte
				if had != len(h.seen().jobs) {
					t.Errorf("killed at step %d: interrupted, and sent again", last)
				}
			default:
				t.Errorf("killed at step %d: %s", last, outcome)
			}
			ends := 0
			for _, r := range h.seen().told {
				if r.State != mfpgate.DeliveryRunning {
					ends++
				}
			}
			if ends != 1 || h.seen().told[0].State != mfpgate.DeliveryRunning {
				t.Errorf("killed at step %d: told %+v", last, h.seen().told)
			}
			h.clean()
		})
		if alive || t.Failed() {
			if last < 30 {
				t.Errorf("only %d steps", last)
			}
			t.Logf("%d steps: %v", last, outcomes)
			break
		}
	}
	if outcomes["failed interrupted, 1 jobs"] == 0 || outcomes["done , 1 jobs"] < 10 {
		t.Errorf("the kills missed a place: %v", outcomes)
	}
}

// TestStopInTheMidstOfAJob is no crash: a job that has begun goes on, and what is known in the end is told.
func TestStopInTheMidstOfAJob(t *testing.T) {
	for _, c := range []struct {
		rule string
		ends func(doc mfpgate.Document, read int) (mfpgate.JobStatus, error)
		want string
	}{
		{"it is given the time", func(doc mfpgate.Document, read int) (mfpgate.JobStatus, error) {
			n, err := io.Copy(io.Discard, doc.Content)
			return mfpgate.JobStatus{State: mfpgate.JobCompleted, Sent: int64(read) + n}, err
		}, "done , 0 jobs"},
		{"some of it went, and the printers are closed", func(_ mfpgate.Document, read int) (mfpgate.JobStatus, error) {
			return mfpgate.JobStatus{State: mfpgate.JobAborted, Sent: int64(read)}, context.Canceled
		}, "failed interrupted, 0 jobs"},
		{"none of it went, and the printers are closed", func(mfpgate.Document, int) (mfpgate.JobStatus, error) {
			return mfpgate.JobStatus{State: mfpgate.JobAborted}, context.Canceled
		}, "done , 1 jobs"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.plan(time.Minute)
			ctx, cancel := context.WithCancel(t.Context())
			h.print = func(doc mfpgate.Document) (mfpgate.JobStatus, error) {
				n, _ := doc.Content.Read(make([]byte, 1000)) // the printer takes a while
				<-ctx.Done()
				wait(time.Second) // the process is told to stop first
				return c.ends(doc, n)
			}
			h.start()
			h.pass(10 * time.Minute)
			cancel()
			h.halt()
			h.set(func() { h.print = nil })
			h.start()
			defer func() { h.halt() }()
			h.pass(10 * time.Minute)
			if got := h.outcome(); got != c.want {
				t.Errorf("%s: %s, want %s", c.rule, got, c.want)
			}
		})
	}
}
