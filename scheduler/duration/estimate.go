package duration

import (
	"math"
	"time"

	"github.com/mfpgate/mfpgate"
)

const (
	// Pull is the weight, in samples, of what is known one step less exactly.
	Pull = 4
	// enough is how many samples of the model and kind an estimate needs to count as history.
	enough = 3

	// What is assumed where nothing is known: a spread by a factor of 1.6 about the mean, and a slot of 10 minutes. 150 kB/s is
	// what a branch's line leaves to one of several devices.
	assumedSigma  = 0.5
	assumedMedian = 10 * time.Minute
	assumedRate   = 150e3

	z95 = 1.6448536269514722 // of the normal distribution
)

// sums is what is kept of samples: enough to add one, and to forget which.
type sums struct {
	N    float64 `json:"n"`
	Mean float64 `json:"mean"` // of the natural logarithm
	M2   float64 `json:"m2"`   // sum of squared differences from it
}

// remembered bounds the weight of the past, so that an estimate follows a line that got faster.
const remembered = 500

// add is Welford's step.
func (s sums) add(x float64) sums {
	if s.N >= remembered {
		s.M2 *= (remembered - 1) / s.N
		s.N = remembered - 1
	}
	s.N++
	d := x - s.Mean
	s.Mean += d / s.N
	s.M2 += d * (x - s.Mean)
	return s
}

// fit is a log-normal distribution of something positive.
type fit struct {
	mean, sigma float64
	n           float64 // samples behind the mean, those of the wider fits as far as they weigh
}

// within is the fit of samples that belong to a wider one.
func (s sums) within(wider fit) fit {
	if s.N == 0 {
		return wider
	}
	weight := s.N + Pull
	apart := s.Mean - wider.mean
	variance := (s.M2 + Pull*wider.sigma*wider.sigma + s.N*Pull/weight*apart*apart/weight) / weight
	return fit{mean: (s.N*s.Mean + Pull*wider.mean) / weight, sigma: math.Sqrt(variance), n: weight}
}

// quantile of the next sample: wider than the fit, for its mean is not exactly known.
func (f fit) quantile(z float64) float64 {
	return math.Exp(f.mean + z*f.sigma*math.Sqrt(1+1/max(f.n, 1)))
}

func (f fit) estimate(basis mfpgate.DurationBasis, samples float64) mfpgate.DurationEstimate {
	return mfpgate.DurationEstimate{P50: seconds(f.quantile(0)), P95: seconds(f.quantile(z95)), Basis: basis, Samples: int(samples)}
}

// seconds rounds up: nothing shorter than a second is learned, so nothing shorter is said.
func seconds(s float64) time.Duration {
	return time.Duration(math.Ceil(min(max(s, 1), longest.Seconds()))) * time.Second
}

// Estimate says how long a delivery will take, as far as was learned. Its basis is history if its model and kind were seen,
// size if its bytes and a rate are known, and assumed otherwise.
func (b *Book) Estimate(d mfpgate.Delivery) mfpgate.DurationEstimate {
	b.mu.RLock()
	defer b.mu.RUnlock()
	keys := keysOf(d)
	exact, model, kind, rate := b.known[keys[0]].sums, b.known[keys[1]].sums, b.known[keys[2]].sums, b.known[keys[3]].sums
	assumed := fit{mean: math.Log(assumedMedian.Seconds()), sigma: assumedSigma}
	if d.Bytes > 0 {
		r := rate.within(fit{mean: math.Log(assumedRate), sigma: assumedSigma})
		assumed = fit{mean: math.Log(float64(d.Bytes)) - r.mean, sigma: r.sigma, n: r.n}
	}
	switch {
	case model.N >= enough || exact.N > 0:
		wider := assumed
		if d.Bytes <= 0 || rate.N == 0 {
			wider = kind.within(assumed)
		}
		return exact.within(model.within(wider)).estimate(mfpgate.DurationHistory, max(exact.N, 1))
	case d.Bytes > 0 && rate.N > 0:
		return assumed.estimate(mfpgate.DurationSize, rate.N)
	default:
		return kind.within(assumed).estimate(mfpgate.DurationAssumed, kind.N)
	}
}

// Fill puts what was learned in the place of an estimate that stands on less: on nothing, or on fewer samples of history.
// Where nothing was learned the delivery's own stays, also if it has none.
func (b *Book) Fill(d mfpgate.Delivery) mfpgate.DurationEstimate {
	given := d.Duration
	ours := b.Estimate(d)
	switch {
	case ours.Basis == mfpgate.DurationAssumed && ours.Samples == 0: // the plan assumes as well as this does
	case given.P50 <= 0 && given.P95 <= 0:
		return ours
	case given.Basis == mfpgate.DurationHistory:
		if ours.Basis == mfpgate.DurationHistory && ours.Samples > given.Samples {
			return ours
		}
	case ours.Basis == mfpgate.DurationHistory:
		return ours
	case given.Basis != mfpgate.DurationSize && ours.Basis == mfpgate.DurationSize:
		return ours
	}
	return given
}
