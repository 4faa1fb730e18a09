package load

import "math"

const (
	maxInstants = 1024 // of a band at which the probability is looked at
	maxExact    = 128  // jobs beyond their p50 end up to which it is computed exactly
	maxNeed     = 4096 // devices more than the likely load, as well
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
	worst  []unsure
	place  []int32 // by device that has several occurrences: where in now it is, or sure
}

const sure = -1

func (c *chance) of(s *scene, b *Band) float64 {
	if c.place == nil && s.v.marked != nil {
		c.place = make([]int32, s.p.Devices)
	}
	stride := (instants(b, s.live) + maxInstants - 1) / maxInstants
	c.active = c.active[:0]
	worstZ, worstNeed := math.Inf(1), int64(0)
	for next, nth := 0, 0; ; nth++ {
		at := b.From
		if nth > 0 {
			if next == len(s.live) {
				break
			}
			at = s.live[next].start
		}
		for next < len(s.live) && s.live[next].start <= at {
			if !s.live[next].run {
				c.active = append(c.active, int32(next))
			}
			next++
		}
		if nth%stride != 0 {
			continue
		}
		if need, z := c.look(s, b, at, worstZ); z < worstZ {
			worstZ, worstNeed = z, need
			c.worst = append(c.worst[:0], c.now...)
		}
	}
	if math.IsInf(worstZ, 1) {
		return 0
	}
	if len(c.worst) <= maxExact && worstNeed <= maxNeed {
		return exceeds(c.worst, worstNeed)
	}
	return tail(worstZ)
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

// look returns how many devices more than the sure ones have room at an instant, and by how many standard deviations that is
// more than the expected load. It puts the unsure ones into c.now if this is less than best, and may give up if it is not.
func (c *chance) look(s *scene, b *Band, at int64, best float64) (need int64, z float64) {
	none := math.Inf(1)
	s.turn++
	c.tails, c.now = c.tails[:0], c.now[:0]
	need = int64(b.Capacity)
	kept := c.active[:0]
	var most, squares float64
	shared := false
	for _, i := range c.active {
		j := &s.live[i]
		if j.end <= at {
			continue
		}
		kept = append(kept, i)
		weight := j.occurrence.weight()
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
	room := float64(need) + 0.5
	if !shared {
		if most <= float64(need) {
			return need, none
		}
		// No tail is above one half: a bound that spares most logarithms.
		if z := (room - most/2) / (math.Sqrt(squares) / 2); z >= 0 && z >= best {
			return need, none
		}
	}
	for _, i := range c.tails {
		o := s.live[i].occurrence
		c.now = append(c.now, unsure{survival(at-o.Start, int64(o.Likely), int64(o.Duration)), o.weight()})
	}
	var mean, variance float64
	all := int64(0)
	for _, u := range c.now {
		all += u.weight
		mean += float64(u.weight) * u.probability
		variance += float64(u.weight*u.weight) * u.probability * (1 - u.probability)
	}
	if all <= need || variance == 0 {
		return need, none
	}
	return need, (room - mean) / math.Sqrt(variance)
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

// exceeds is the probability that more than need devices are served: the sum of independent variables, built up one by one.
func exceeds(list []unsure, need int64) float64 {
	sums := make([]float64, need+1)
	sums[0] = 1
	above := 0.0
	for _, u := range list {
		for n := need; n >= 0; n-- {
			moved := sums[n] * u.probability
			sums[n] -= moved
			if n+u.weight > need {
				above += moved
			} else {
				sums[n+u.weight] += moved
			}
		}
	}
	return above
}
