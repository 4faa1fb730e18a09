package calendar

// walkTicks gives the instants of an hourly or minutely rule after the given one. Ticks are even steps of elapsed time from
// the rule's start, whatever the clock does; the rule's limits are held against what the clock shows at the tick. Stretches
// that the limits rule out are jumped over, a local day or hour at a time.
func (r *rule) walkTicks(after int64, yield func(u int64) bool) {
	step := r.interval * 60
	if r.freq == hourly {
		step = r.interval * 3600
	}
	// The minutes of an hourly rule may come before or after the tick, within its local hour: hence one tick back.
	k := max(0, floorDiv(after-r.start, step)-1)
	zone := spanAt(r.loc, r.start+k*step)
	day, dayAllowed := int64(distantPast), false
	for idle := 0; idle <= maxIdle; idle += 4 {
		u := r.start + k*step
		if u > r.until+3600 || u > lastWall {
			return
		}
		if u >= zone.end {
			zone = spanAt(r.loc, u)
		}
		wall := u + zone.offset
		if d := floorDiv(wall, daySeconds); d != day {
			year, month, n := dateOf(d)
			day, dayAllowed = d, r.dates.match(year, month, n, monthLength(year, month), weekdayOf(d))
		}
		second := wall - day*daySeconds
		hour, minute := second/3600, second%3600/60
		resume := u + 1 // the next tick is the first at or after it
		switch {
		case !dayAllowed:
			resume = min((day+1)*daySeconds-zone.offset, zone.end)
		case r.hours != 0 && r.hours>>hour&1 == 0:
			resume = min(wall-second%3600+3600-zone.offset, zone.end)
		case r.freq == minutely || r.minutes == 0:
			if r.minutes != 0 && r.minutes>>minute&1 == 0 {
				break
			}
			idle = 0
			if u > after && (u > r.until || !yield(u)) {
				return
			}
		default:
			idle = 0
			for m := range int64(60) {
				if r.minutes>>m&1 == 0 {
					continue
				}
				// A clock change within the hour may skip the minute or show it to the next tick.
				at := u + (m-minute)*60
				if at < zone.start || at >= zone.end || at < r.start || at <= after {
					continue
				}
				if at > r.until || !yield(at) {
					return
				}
			}
		}
		k = max(k+1, -floorDiv(r.start-resume, step))
	}
}
