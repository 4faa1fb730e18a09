package approval_test

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
)

const crowd = 500

// crowded is a gateway with so many registrations, all asked for in one second.
func crowded(g *gateway) (writes *counted) {
	g.mailer.Fail(errors.New("not now")) // letters are not what is looked at
	g.noMail = true
	for n := range crowd {
		g.device(mfpgate.DeviceID(fmt.Sprint("crowd", n)))
	}
	writes = &counted{Store: g.store}
	g.begin(writes)
	for n := range crowd {
		q := mfpgate.RegistrationRequest{Device: mfpgate.DeviceID(fmt.Sprint("crowd", n)), Service: "office", User: fmt.Sprintf("user%d@example.com", n)}
		if _, _, err := g.Request(g.t.Context(), q, "a", ""); err != nil {
			g.t.Fatal(err)
		}
	}
	return writes
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
	for _, interval := range []time.Duration{10 * time.Second} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.office.Interval, g.office.Lifetime, g.office.Pushes = interval, time.Hour, true
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			writes := crowded(g)
			g.pass(2 * interval)
			runtime.GC()
			runtime.ReadMemStats(&after)
			t.Logf("%d bytes of memory for each open registration, with the service's and the store's", (after.HeapAlloc-before.HeapAlloc)/crowd)
			check := func(when string) {
				t.Helper()
				from := time.Now().Truncate(time.Second).Add(time.Second)
				cpu := used()
				g.pass(2*interval + time.Second)
				cpu = (used() - cpu) / (2*crowd + crowd/10)
				t.Logf("%s, interval %s: %s of CPU for each poll, with a store that copies all at each commit", when, interval, cpu)
				most, mean := g.perSecond(from, from.Add(2*interval))
				t.Logf("%s, interval %s: %.1f polls in a second, %d at most", when, interval, mean, most)
				if want := crowd / interval.Seconds(); float64(most) > 2*mean || mean < .9*want || mean > 1.1*want {
					t.Errorf("%s, interval %s: %d polls in one second, mean %.1f, want %.1f", when, interval, most, mean, want)
				}
			}
			if n := g.office.Listening(); n != approval.MaxListeners {
				t.Errorf("%d connections wait for events, want %d", n, approval.MaxListeners)
			}
			wrote := writes.n.Load()
			check("after the start")
			if n := writes.n.Load() - wrote; n > crowd/10 {
				t.Errorf("%d writes while nothing is decided: polls that bring nothing leave their rows as they are", n)
			}
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

func used() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
