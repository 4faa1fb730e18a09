package region_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/store/badger"
	"github.com/mfpgate/mfpgate/store/storetest"
	"github.com/mfpgate/mfpgate/tests/need"
)

// TestOneRegionThatHangsStopsNoOther: its calls take half of the places at most for longer than two seconds.
func TestOneRegionThatHangsStopsNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n = 40
		w.hang = func(ctx context.Context, at string) {
			if at == "us services unlink" {
				<-ctx.Done()
			}
		}
		w.start()
		for i := range n {
			device := mfpgate.DeviceID(fmt.Sprint("dev_", i+1))
			w.enter(device, i+1)
			w.moves(device)
		}
		w.enter("dev_x", 100)
		w.change(func() {
			us, de, mfp := w.clouds["us"], w.clouds["de"], mfpOf(100)
			de.models[mfp], de.held[mfp] = us.models[mfp], us.held[mfp]
			de.held[mfp].Region = "de"
			delete(us.models, mfp)
			delete(us.held, mfp)
		})
		m := w.moves("dev_x")
		w.sleep(25 * time.Second)
		w.gateway(m.ID)
		w.want(m.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
	})
}

// TestAnUnknownOutcomeIsFoundOut: each commit in turn may have happened or not.
func TestAnUnknownOutcomeIsFoundOut(t *testing.T) {
	for i, fate := range []storetest.Fate{storetest.CommittedUnseen, storetest.LostUnseen} {
		first, stride := need.Points(uint64(4 * i))
		for at := first; at <= 24; at += stride {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				s := &storetest.Unsure{Store: w.store}
				w.begin(s)
				defer func() { w.halt() }()
				// What follows one of the calls.
				n := int64(0)
				w.after = func(c call) error {
					w.mu.Lock()
					defer w.mu.Unlock()
					if n++; n == at {
						s.Next(fate)
					}
					return nil
				}
				m := w.moves("dev_1")
				w.carry(m.ID, nil)
				m = w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
				w.after = nil
				if n := len(m.Steps); n != 14 {
					t.Errorf("unsure at call %d: %d steps: %+v", at, n, m.Steps)
				}
				w.audits()
			})
		}
	}
}

// BenchmarkThousandMoves carries 1,000 moves out at once, on a store on disk.
func BenchmarkThousandMoves(b *testing.B) {
	for b.Loop() {
		manyMoves(b, 1000)
	}
}

func manyMoves(b *testing.B, n int) {
	s, err := badger.Open(b.Context(), badger.Options{Dir: b.TempDir(), Clock: mfpgate.SystemClock{}, BallastSize: -1})
	if err != nil {
		b.Fatal(err)
	}
	w := newWorld(b)
	w.store, w.limits = s, region.Limits{Poll: 100 * time.Millisecond}
	for i := range n {
		w.enter(mfpgate.DeviceID(fmt.Sprint("dev_", i+1)), i+1)
	}
	w.begin(s)
	began := now()
	var starts sync.WaitGroup
	places := make(chan struct{}, 8)
	for i := range n {
		starts.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			r := w.wants(mfpgate.DeviceID(fmt.Sprint("dev_", i+1)))
			p, err := w.Plan(b.Context(), gw, r)
			if err != nil {
				b.Error(err)
				return
			}
			r.Plan = p.Hash
			if _, _, err = w.Start(b.Context(), gw, r, admin, ""); err != nil {
				b.Error(err)
			}
		})
	}
	starts.Wait()
	b.ReportMetric(now().Sub(began).Seconds(), "s/started")
	for cursor, ended := "", 0; ended < n && !b.Failed(); {
		if err := w.Await(b.Context(), gw, cursor); err != nil {
			b.Fatal(err)
		}
		moves, next, err := w.Changes(b.Context(), gw, cursor, 0)
		if err != nil {
			b.Fatal(err)
		}
		cursor = next
		for _, m := range moves {
			if m.State.Ended() {
				ended++
				continue
			}
			w.gateway(m.ID)
			w.comes(m.MFP)
		}
	}
	b.ReportMetric(now().Sub(began).Seconds(), "s/done")
	w.halt()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// TestTheLargestMoveFits: what regions and a gateway may say at most of one device is less than a record may measure.
func TestTheLargestMoveFits(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		held := w.clouds["us"].held[mfpOf(1)]
		held.Services[0].Children, held.Data = nil, nil
		for i := range 95 {
			held.Services[0].Children = append(held.Services[0].Children, fmt.Sprintf("%02d%s", i, strings.Repeat("c", 46)))
		}
		lies := strings.Repeat("<", 200)
		w.before = func(c call) error {
			if c.step == mfpgate.StepNotify && w.count("us management notify") < 3 {
				return errors.New(strings.Repeat("<", 5000))
			}
			return nil
		}
		w.after = func(c call) error {
			if c.answer == nil {
				return nil
			}
			if c.answer.Receipt != nil {
				receipt := *c.answer.Receipt
				receipt.Signed = strings.Repeat("s", 11<<10)
				c.answer.Receipt = &receipt
			}
			c.answer.Seen = mfpgate.Seen{}
			for i := range 20 {
				c.answer.Seen[fmt.Sprintf("%02d%s", i, strings.Repeat("w", 158))] = 1 << 60
			}
			return nil
		}
		w.start()
		m := w.moves("dev_1")
		probes := make([]mfpgate.NameProbe, 8)
		for i := range probes {
			probes[i] = mfpgate.NameProbe{Name: strings.Repeat("n", 100), Host: strings.Repeat("h", 100), Detail: lies + lies}
		}
		if err := w.Probed(t.Context(), gw, m.ID, probes, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.Probed(t.Context(), gw, m.ID, slices.Repeat(probes, 4), nil); reason(err) != region.BadRequest {
			t.Errorf("too many probes: %v", err)
		}
		w.carry(m.ID, nil)
		m = w.want(m.ID, mfpgate.MoveDone, mfpgate.StepDelete, "")
		if len(m.Plan.Children) != 95 || len(m.Probes) != 8 || len(m.Seen) != 16 || m.Steps[9].Attempts != 2 {
			t.Errorf("%d children, %d probes, %d writers, %+v", len(m.Plan.Children), len(m.Probes), len(m.Seen), m.Steps[9])
		}
	})
}

// TestFewDevicesAreDrainedAtOnce: a device's changes wait while it is drained, so that whoever has come so far goes first.
func TestFewDevicesAreDrainedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		const n, parallel = 200, 16
		var mu sync.Mutex
		drained, most := 0, 0
		w.hang = func(ctx context.Context, at string) {
			mu.Lock()
			switch at {
			case "us services drain":
				drained++
				most = max(most, drained)
			case "jp services activate":
				drained--
			}
			mu.Unlock()
			_ = mfpgate.Wait(ctx, mfpgate.SystemClock{}, 20*time.Millisecond)
		}
		w.start()
		var last mfpgate.Move
		for i := range n {
			device := mfpgate.DeviceID(fmt.Sprint("dev_", i+1))
			w.enter(device, i+1)
			last = w.moves(device)
		}
		w.sleep(10 * time.Minute)
		w.want(last.ID, mfpgate.MoveCommitted, mfpgate.StepSwitch, region.AwaitsGateway)
		if most > 2*parallel {
			t.Errorf("%d devices were drained at once, where %d steps run at once", most, parallel)
		}
	})
}
