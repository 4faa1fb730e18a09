package approval_test

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mfpgate/mfpgate"
)

const crowd = 500

// crowded is a gateway with so many registrations, all asked for in one second.
func crowded(g *gateway) {
	g.mailer.Fail(errors.New("not now")) // letters are not what is looked at
	g.noMail = true
	for n := range crowd {
		g.device(mfpgate.DeviceID(fmt.Sprint("crowd", n)))
	}
	g.start()
	for n := range crowd {
		g.ask(mfpgate.DeviceID(fmt.Sprint("crowd", n)), fmt.Sprintf("user%d@example.com", n))
	}
}

// perSecond counts the polls of each second from one time to another, and returns the most and the mean.
func (g *gateway) perSecond(from, to time.Time) (most int, mean float64) {
	count, all := map[int64]int{}, 0
	for _, at := range g.office.Polls() {
		if !at.Before(from) && at.Before(to) {
			count[at.Unix()]++
			all++
		}
	}
	for _, n := range count {
		most = max(most, n)
	}
	return most, float64(all) / to.Sub(from).Seconds()
}

func TestPollsAreSpread(t *testing.T) {
	for _, interval := range []time.Duration{5 * time.Second, 30 * time.Second} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.office.Interval, g.office.Lifetime = interval, time.Hour
			crowded(g)
			g.pass(2 * interval)
			check := func(when string) {
				t.Helper()
				from := time.Now().Truncate(time.Second).Add(time.Second)
				g.pass(2*interval + time.Second)
				most, mean := g.perSecond(from, from.Add(2*interval))
				t.Logf("%s, interval %s: %.1f polls in a second, %d at most", when, interval, mean, most)
				if want := crowd / interval.Seconds(); float64(most) > 2*mean || mean < .9*want || mean > 1.1*want {
					t.Errorf("%s, interval %s: %d polls in one second, mean %.1f, want %.1f", when, interval, most, mean, want)
				}
			}
			check("after the start")
			g.halt()
			g.pass(10 * time.Minute)
			g.start()
			begun := time.Now()
			g.pass(interval)
			if most, mean := g.perSecond(begun, begun.Add(interval)); float64(most) > 2*max(mean, crowd/interval.Seconds()) {
				t.Errorf("after ten minutes' sleep, interval %s: %d polls in one second, mean %.1f", interval, most, mean)
			}
			check("after ten minutes' sleep")
		})
	}
}

// BenchmarkOpen prints what one open registration costs: CPU by the hour, polled each 5 seconds, and bytes of memory.
func BenchmarkOpen(b *testing.B) {
	if b.N > 1 {
		b.Skip("one round is enough: -benchtime 1x")
	}
	synctest.Test(&testing.T{}, func(*testing.T) {
		g := newGateway(b)
		g.office.Lifetime = time.Hour
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		crowded(g)
		g.pass(10 * time.Second)
		runtime.GC()
		runtime.ReadMemStats(&after)
		polls, cpu := len(g.office.Polls()), used()
		g.pass(time.Minute)
		cpu, polls = used()-cpu, len(g.office.Polls())-polls
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/crowd, "bytes/registration")
		b.ReportMetric(float64(cpu.Microseconds())/float64(polls), "CPU-µs/poll")
		b.ReportMetric(cpu.Seconds()*60/crowd*1000, "CPU-ms/registration-hour")
		g.halt()
	})
}

func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
