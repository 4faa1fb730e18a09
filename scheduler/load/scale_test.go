package load_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mfpgate/mfpgate/scheduler/load"
)

// A problem drawn out in time has the same bands, drawn out: small ones are held against counting, long ones against these.
func TestLongHorizonsEqualShortOnes(t *testing.T) {
	for _, tt := range []struct {
		rule   string
		factor int64
		rest   int64 // of horizon after the problem's own, in which there is room for all
	}{
		{"49 days, in which offsets fit 32 bits", 80_000_000, 0},
		{"minutes", 7_001, 0},
		{"years", 80_000_000, 300_000_000_000},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			for seed := range uint64(300) {
				p := problemOf(rand.New(rand.NewPCG(seed, 3)).IntN)
				end := p.To
				p.Capacity = slices.DeleteFunc(p.Capacity, func(s load.Step) bool { return s.At >= end })
				p.Occurrences = slices.DeleteFunc(p.Occurrences, func(o load.Occurrence) bool { return o.Start >= end })
				want, err := load.Detect(p)
				if err != nil {
					t.Fatal(err)
				}
				for i := range want {
					b := &want[i]
					b.From, b.To, b.PeakAt, b.Excess = b.From*tt.factor, b.To*tt.factor, b.PeakAt*tt.factor, b.Excess*tt.factor
				}
				p.From, p.To = p.From*tt.factor, p.To*tt.factor
				for i := range p.Capacity {
					p.Capacity[i].At *= tt.factor
				}
				for i := range p.Occurrences {
					o := &p.Occurrences[i]
					o.Start, o.Duration, o.Likely = o.Start*tt.factor, o.Duration*int32(tt.factor), o.Likely*int32(tt.factor)
				}
				if tt.rest > 0 {
					p.Capacity = append(p.Capacity, load.Step{At: p.To, Devices: 1000})
					p.To += tt.rest
				}
				got, err := load.Detect(p)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(load.Band{}, "Probability")); diff != "" {
					t.Fatalf("%+v (-want +got):\n%s", p, diff)
				}
			}
		})
	}
}

// Where many jobs are beyond their p50 end the probability is approximated: it stays within a hundredth and a half.
func TestProbabilityOfManyJobs(t *testing.T) {
	const tolerance = 0.015
	worst, risks := 0.0, 0
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 4))
		p := load.Problem{To: 200, Devices: 160, Movable: []bool{true}, Capacity: []load.Step{{Devices: 70 + random.IntN(20)}}}
		for device := range int32(p.Devices) {
			o := load.Occurrence{Start: int64(random.IntN(120)), Likely: int32(20 + random.IntN(40)), Device: device}
			o.Duration = o.Likely + int32(40+random.IntN(80))
			p.Occurrences = append(p.Occurrences, o)
		}
		got, err := load.Detect(p)
		if err != nil {
			t.Fatal(err)
		}
		for _, band := range got {
			if band.Certainty != load.Risk {
				continue
			}
			risks++
			want := brute{p}.probability(band)
			t.Logf("got %.4f, want %.4f", band.Probability, want)
			worst = max(worst, math.Abs(band.Probability-want))
		}
	}
	if worst > tolerance || risks < 12 {
		t.Errorf("%d bands of risk, of which the probability is off by up to %.4f, more than %v", risks, worst, tolerance)
	}
	t.Logf("%d bands of risk, of which the probability is off by up to %.4f", risks, worst)
}
