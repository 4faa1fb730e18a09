package load

import "math"

const (
	maxLooks    = 1 << 18 // jobs that are looked at for the probability of a band, over all instants
	minInstants = 64      // that are looked at even so
	maxExact    = 1024    // additions that the exact probability may take at one of them
	z95         = 1.6448536269514722
)

// survival is the probability that a job runs longer than age: certain before the p50, log-normal through p50 and p95 from
// there, none from the p95 on.
func survival(age, p50, p95 int64) float64 {
	switch {
	case age < p50:
		return 1
	case age >= p95:
		return 0
	}
	low := math.Log(float64(max(p50, 1)))
	return tail(z95 * (math.Log(float64(max(age, 1))) - low) / (math.Log(float64(max(p95, 2))) - low))
}

// tail is the probability that a standard normal variable exceeds z.
func tail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }

// unsure is one device, or a group, that is beyond its p50 end.
type unsure struct {
	probability float64
	weight      int64
}

// chance finds the probability of a band. Between two starts the load can only fall, so the worst instant is a start, or the
// band's own.
type chance struct {
	active []int32 // of the scene's live jobs
	tails  []int32 // of these, beyond their p50 end
	now    []unsure
	sums   []float64
	place  []int32 // by device that has several occurrences: where in now it is, or sure
}

const sure = -1

func (c *chance) of(s *scene, b *Band) float64 {
	if c.place == nil && s.v.marked != nil {
		c.place = make([]int32, s.p.Devices)
	}
	most := max(minInstants, maxLooks/len(s.live))
	stride := (instants(b, s.live) + most - 1) / most
	c.active = c.active[:0]
	worst := 0.0
	for next, nth := 0, 0; ; nth++ {
		at := b.From
		if nth > 0 {
			if next == len(s.live) {
				return worst
			}
			at = s.live[next].start
		}
		for next < len(s.live) && s.live[next].start <= at {
			if !s.live[next].run {
				c.active = append(c.active, int32(next))
			}
			next++
		}
		if nth%stride == 0 {
			worst = max(worst, c.look(s, b, at, worst))
		}
	}
}

// instants counts those at which the probability may be largest.
func instants(b *Band, live []job) int {
	n, last := 1, b.From
	for i := range live {
		if live[i].start > last {
			n, last = n+1, live[i].start
		}
	}
	return n
}

// look returns the probability at an instant, or any smaller one if it is not above best.
func (c *chance) look(s *scene, b *Band, at int64, best float64) float64 {
	s.turn++
	c.tails, c.now = c.tails[:0], c.now[:0]
	need := int64(b.Capacity) // how many unsure devices there is room for
	kept := c.active[:0]
	var most, squares float64
	shared := false
	for _, i := range c.active {
		j := &s.live[i]
		if j.end <= at {
			continue
		}
		kept = append(kept, i)
		weight := j.weight
		switch {
		case j.shared:
			shared = true
			need -= c.share(s, j, at)
		case at < j.likely:
			need -= weight
		default:
			c.tails = append(c.tails, i)
			most += float64(weight)
			squares += float64(weight * weight)
		}
	}
	c.active = kept
	exact := int64(len(c.tails)+len(c.now))*(need+1) <= maxExact
	if !shared {
		if most <= float64(need) {
			return 0
		}
		// No tail is above one half, which gives a bound that spares most logarithms: Markov's and Hoeffding's inequality, or
		// what the approximation would be.
		bound := 1.0
		switch over := float64(need) + 1 - most/2; {
		case exact && over > 0:
			bound = min(most/2/float64(need+1), math.Exp(-2*over*over/squares))
		case over > 0.5:
			bound = tail((over - 0.5) / (math.Sqrt(squares) / 2))
		}
		if bound <= best {
			return 0
		}
	}
	for _, i := range c.tails {
		o := s.live[i].occurrence
		c.now = append(c.now, unsure{survival(at-o.Start, int64(o.Likely), int64(o.Duration)), o.weight()})
	}
	if exact {
		return c.exceeds(need)
	}
	return approximate(c.now, need)
}

// approximate is the probability that more than need devices are served, by the normal approximation.
func approximate(list []unsure, need int64) float64 {
	var mean, variance float64
	all := int64(0)
	for _, u := range list {
		all += u.weight
		mean += float64(u.weight) * u.probability
		variance += float64(u.weight*u.weight) * u.probability * (1 - u.probability)
	}
	if all <= need || variance == 0 {
		return 0
	}
	return tail((float64(need) + 0.5 - mean) / math.Sqrt(variance))
}

// share takes an occurrence of a device that has several: the device is served while any of them runs. It returns how many
// devices became sure by it, 0 or 1.
func (c *chance) share(s *scene, j *job, at int64) int64 {
	o := j.occurrence
	first := s.first(o.Device)
	place := &c.place[o.Device]
	switch {
	case !first && *place == sure:
		return 0
	case at < j.likely:
		if !first {
			c.now[*place] = unsure{} // it is no longer unsure
		}
		*place = sure
		return 1
	}
	p := survival(at-o.Start, int64(o.Likely), int64(o.Duration))
	if first {
		*place = int32(len(c.now))
		c.now = append(c.now, unsure{p, 1})
	} else {
		u := &c.now[*place]
		u.probability = 1 - (1-u.probability)*(1-p)
	}
	return 0
}

// exceeds is the same, exactly: the distribution of a sum of independent variables, built up one by one.
func (c *chance) exceeds(need int64) float64 {
	c.sums = append(c.sums[:0], make([]float64, need+1)...)
	c.sums[0] = 1
	above := 0.0
	for _, u := range c.now {
		for n := need; n >= 0; n-- {
			moved := c.sums[n] * u.probability
			c.sums[n] -= moved
			if n+u.weight > need {
				above += moved
			} else {
				c.sums[n+u.weight] += moved
			}
		}
	}
	return above
}
