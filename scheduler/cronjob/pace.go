package cronjob

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Schedule says when a job is due: the first instant after t, or the zero time if there is none. A calendar.Recurrence is one.
type Schedule interface {
	Next(after time.Time) time.Time
}

const (
	// MaxSleep is the longest time between two looks at the wall clock.
	MaxSleep = 30 * time.Second
	// maxDrift is by how much wall and monotonic clock may differ between two looks before all is computed anew. What NTP slews
	// in that time is a hundredth of it.
	maxDrift = 2 * time.Second
	// minSleep keeps cron from turning without a pause when clocks differ by less than they can show.
	minSleep = time.Millisecond

	maxJitter = 10 * time.Minute
	// gaps is how many times of a schedule its interval is taken from.
	gaps = 64
)

// Interval is the shortest time between two of the first occurrences of a schedule after the year 2000, so that it is the same
// on each day that it is asked for. It is 0 for a schedule that is due less than twice.
func Interval(s Schedule) time.Duration {
	var shortest time.Duration
	last := s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	for range gaps {
		next := s.Next(last)
		if last.IsZero() || next.IsZero() {
			break
		}
		if gap := next.Sub(last); shortest == 0 || gap < shortest {
			shortest = gap
		}
		last = next
	}
	return shortest
}

// Jitter is how much later than its schedule one member of a fleet runs, so that not all call at the same moment: the same
// for the same name, less than half the schedule's interval and less than 10 minutes, in whole seconds.
func Jitter(name string, interval time.Duration) time.Duration {
	span := min(interval/2, maxJitter) / time.Second
	if span <= 0 {
		return 0
	}
	sum := sha256.Sum256([]byte(name))
	return time.Duration(binary.BigEndian.Uint64(sum[:])%uint64(span)) * time.Second
}

// shifted is a schedule that is due later by a fixed time.
type shifted struct {
	Schedule
	by time.Duration
}

func (s shifted) Next(after time.Time) time.Time {
	next := s.Schedule.Next(after.Add(-s.by))
	if next.IsZero() {
		return next
	}
	return next.Add(s.by)
}

// pace is what cron knows of a job: a tick. t comes from cron's own clock, whose monotonic part is all that counts here.
type pace struct{ *Job }

func (p pace) Next(t time.Time) time.Time { return t.Add(p.tick(t)) }

// tick looks at the wall clock, and says how long cron may sleep. The job's own goroutine may be before or behind it in
// seeing that the time has come; it is right both ways.
func (j *Job) tick(engine time.Time) time.Duration {
	wall := j.runner.clock.Now().Round(0)
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.engine.IsZero() {
		drift := wall.Sub(j.wall) - engine.Sub(j.engine)
		if drift.Abs() > maxDrift && j.due.After(wall) {
			j.due = j.after(wall, engine, drift < 0)
		}
	}
	j.engine, j.wall = engine, wall
	next := j.due
	if !next.IsZero() && !next.After(wall) { // it is being started
		next = j.schedule.Next(wall)
	}
	if next.IsZero() {
		return MaxSleep
	}
	return min(max(next.Sub(wall), minSleep), MaxSleep)
}

// after is the first time that counts after a step of the clock.
func (j *Job) after(wall, engine time.Time, back bool) time.Time {
	if back && !j.began.IsZero() {
		if rest := j.interval/2 - engine.Sub(j.began); rest > 0 {
			wall = wall.Add(rest)
		}
	}
	return j.schedule.Next(wall)
}
