package duration_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/scheduler/duration"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
)

var start = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

type shelf struct {
	t    *testing.T
	s    store.Store
	book *duration.Book
	now  time.Time
}

func newShelf(t *testing.T) *shelf {
	s := memory.New()
	t.Cleanup(func() { _ = s.Close() })
	x := &shelf{t: t, s: s, now: start}
	x.reopen()
	return x
}

func (x *shelf) reopen() {
	b, err := duration.Open(x.t.Context(), x.s)
	if err != nil {
		x.t.Fatal(err)
	}
	x.book = b
}

func (x *shelf) took(d mfpgate.Delivery, took time.Duration) {
	x.t.Helper()
	x.tookAll([]mfpgate.Delivery{d}, took)
}

// tookAll notes many in one transaction, each a minute after the one before it.
func (x *shelf) tookAll(all []mfpgate.Delivery, took time.Duration) {
	x.t.Helper()
	var keep []func()
	err := x.s.Update(x.t.Context(), func(tx store.Tx) error {
		for _, d := range all {
			x.now = x.now.Add(time.Minute)
			one, err := x.book.Observe(tx, d, x.now, x.now.Add(took), d.Bytes)
			if err != nil {
				return err
			}
			keep = append(keep, one)
		}
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, one := range keep {
		one()
	}
}

func delivery(model, pkg string, bytes int64) mfpgate.Delivery {
	return mfpgate.Delivery{ID: "d", Model: model, Package: pkg, Kind: "firmware", Bytes: bytes}
}

func near(got time.Duration, want float64, tolerance float64) bool {
	return math.Abs(math.Log(got.Seconds()/want)) <= math.Log(1+tolerance)
}

// A log-normal of known quantiles is found again, before and after a restart.
func TestQuantilesAreLearned(t *testing.T) {
	x := newShelf(t)
	r := rand.New(rand.NewPCG(1, 2))
	d := delivery("C2570", "fw-2", 80e6)
	const median, sigma = 540.0, 0.35
	for range 300 {
		x.took(d, time.Duration(median*math.Exp(sigma*r.NormFloat64())*float64(time.Second)))
	}
	before := x.book.Estimate(d)
	x.reopen()
	got := x.book.Estimate(d)
	if got != before {
		t.Errorf("after a restart %v, before %v", got, before)
	}
	if got.Basis != mfpgate.DurationHistory || got.Samples != 300 || !near(got.P50, median, .06) || !near(got.P95, median*math.Exp(1.645*sigma), .12) {
		t.Errorf("got %v, want a median of %v s and 95 %% below %.0f s", got, median, median*math.Exp(1.645*sigma))
	}
}

func TestWhatAnEstimateStandsOn(t *testing.T) {
	x := newShelf(t)
	fw, other := delivery("C2570", "fw-2", 90e6), delivery("C2570", "fw-3", 90e6)
	if e := x.book.Estimate(delivery("C2570", "fw-2", 0)); e.Basis != mfpgate.DurationAssumed || e.P50 != 10*time.Minute || e.P95 <= e.P50 {
		t.Errorf("of nothing: %v", e)
	}
	if e := x.book.Estimate(fw); e.Basis != mfpgate.DurationAssumed || !near(e.P50, 600, .01) {
		t.Errorf("of a size without a rate: %v", e)
	}
	x.took(delivery("B100", "app", 30e6), 100*time.Second) // 300 kB/s
	size := x.book.Estimate(fw)
	if size.Basis != mfpgate.DurationSize || size.P50 <= 300*time.Second || size.P50 >= 600*time.Second {
		t.Errorf("of a size and a sample of the rate: %v, want a time between those of both rates", size)
	}
	x.took(fw, 200*time.Second)
	one := x.book.Estimate(fw)
	if one.Basis != mfpgate.DurationHistory || one.Samples != 1 || one.P50 <= 200*time.Second || one.P50 >= size.P50 {
		t.Errorf("of one sample: %v, want a time between it and %v", one, size.P50)
	}
	if e := x.book.Estimate(other); e.Basis != mfpgate.DurationSize {
		t.Errorf("of another package of a model that was seen once: %v", e)
	}
	for range 5 {
		x.took(fw, 200*time.Second)
	}
	if e := x.book.Estimate(other); e.Basis != mfpgate.DurationHistory || !near(e.P50, 200, .4) || e.P95 < x.book.Estimate(fw).P95 {
		t.Errorf("of another package of a model that is known: %v, want about 200 s and less sure", e)
	}
}

func TestFill(t *testing.T) {
	x := newShelf(t)
	d := delivery("C2570", "fw-2", 90e6)
	for range 10 {
		x.took(d, 200*time.Second)
	}
	estimate := func(basis mfpgate.DurationBasis, samples int) mfpgate.DurationEstimate {
		return mfpgate.DurationEstimate{P50: time.Hour, P95: 2 * time.Hour, Basis: basis, Samples: samples}
	}
	for _, c := range []struct {
		rule  string
		d     mfpgate.Delivery
		given mfpgate.DurationEstimate
		ours  bool
	}{
		{"more history stays", d, estimate(mfpgate.DurationHistory, 412), false},
		{"less history goes", d, estimate(mfpgate.DurationHistory, 4), true},
		{"a size goes", d, estimate(mfpgate.DurationSize, 0), true},
		{"none goes", d, mfpgate.DurationEstimate{}, true},
		{"a size of what was not seen stays", delivery("X", "y", 90e6), estimate(mfpgate.DurationSize, 0), false},
		{"what is assumed goes for a size", delivery("X", "y", 90e6), estimate(mfpgate.DurationAssumed, 0), true},
		{"what is assumed stays where nothing is known", delivery("X", "y", 0), estimate(mfpgate.DurationAssumed, 0), false},
	} {
		c.d.Duration = c.given
		if got := x.book.Fill(c.d); (got != c.given) != c.ours || got.P50 <= 0 || got.P95 < got.P50 {
			t.Errorf("%s: got %v", c.rule, got)
		}
	}
}

func TestBounds(t *testing.T) {
	x := newShelf(t)
	d := delivery("C2570", "fw-2", 90e6)
	for _, took := range []time.Duration{-time.Second, 0, 999 * time.Millisecond, 25 * time.Hour} {
		x.took(d, took)
	}
	if x.book.Len() != 0 {
		t.Errorf("%d keys of what is no transfer", x.book.Len())
	}
	if err := x.s.Update(t.Context(), func(tx store.Tx) error { return tx.Set("duration/x", []byte(`{"schema":1,"n":-1}`)) }); err != nil {
		t.Fatal(err)
	}
	x.reopen()
	if x.book.Len() != 0 {
		t.Error("a damaged record was taken")
	}
}

func TestOldKeysGoFirst(t *testing.T) {
	x := newShelf(t)
	const full = duration.MaxKeys/2 - 1 // of each two keys are its own, and two are all's
	var models []mfpgate.Delivery
	for i := range full + 20 {
		models = append(models, delivery(fmt.Sprint("m", i), "p", 1e6))
	}
	for some := range slices.Chunk(models[:full], 15) { // an update may touch 64 records
		x.tookAll(some, time.Minute)
	}
	if x.book.Len() != duration.MaxKeys {
		t.Errorf("%d keys when it is full, want %d", x.book.Len(), duration.MaxKeys)
	}
	for _, d := range models[full:] {
		x.took(d, time.Minute)
	}
	if x.book.Len() != duration.MaxKeys {
		t.Errorf("%d keys, want %d", x.book.Len(), duration.MaxKeys)
	}
	for i, d := range models {
		if known := x.book.Estimate(d).Basis == mfpgate.DurationHistory; known != (i >= 20) {
			t.Errorf("model %d is known: %v; the oldest 20 go", i, known)
		}
	}
	x.reopen()
	if x.book.Len() != duration.MaxKeys {
		t.Errorf("%d keys after a restart", x.book.Len())
	}
}
