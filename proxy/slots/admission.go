package slots

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
)

// Key names a device to admission. The relay chooses what it stands for: the registry's id, or the source address of a
// device that the registry does not know.
type Key string

// Options configure an Admission. They are one value: a reload passes a new one to Reconfigure.
type Options struct {
	// Clock is read once, by New; Reconfigure keeps the first.
	Clock mfpgate.Clock
	// Capacity says how many devices may be served at t, and until when that holds (zero: for ever). It is called under
	// the lock of admission: it must be quick and must not call back.
	Capacity func(t time.Time) (devices int, until time.Time)
	// Planned says whether it is a device's planned slot at t, in which it is served before others that wait. It is called
	// under the lock of admission for whoever joins the queue, and for all in it once a second while turns are given: it must
	// be quick and must not call back. Nil: nothing is planned.
	Planned func(device Key, t time.Time) bool
	// Linger is how long after its last byte a device keeps its slot, to a thousandth.
	Linger time.Duration
	// QueueTimeout is how long a connection waits for its device's turn.
	QueueTimeout time.Duration
	// QueueLimit is how many devices may wait at once to set up a connection. Zero: none waits.
	QueueLimit int
	// Connections is how many connections one device may have open. Zero: no limit.
	Connections int
	// Rate is how many bytes per second one device may move, over all its connections and both directions. Zero: no limit.
	Rate int64
	// Metrics, if not nil, gets RelayDevices, RelayCapacity, RelayQueueWait (of those who waited), RelayQueueTurns and
	// RelayQueuePlannedTurns.
	// The gauges are right whenever a device is granted, waits or leaves; call Count before a scrape to make them right
	// then too, because nothing here wakes up to notice that the last device has gone quiet.
	Metrics *telemetry.Metrics
}

const (
	// maxSleep bounds how late a step of the wall clock over an edge of the calendar is noticed while somebody waits.
	maxSleep = 30 * time.Second
	// minSleep bounds how often Run wakes while busy devices hold every slot: a slot lapses at most this much late.
	minSleep = 10 * time.Millisecond
)

// settings is what one set of Options puts in force; changed is closed when the next set is.
type settings struct {
	Options
	changed chan struct{}
}

// Admission gives slots to devices. All methods may be called at once from many goroutines.
type Admission struct {
	clock mfpgate.Clock
	epoch time.Time // Admission's own time is nanoseconds since then: monotonic, and always positive
	set   atomic.Pointer[settings]
	kick  chan struct{} // wakes Run to plan anew
	gauge gauges

	mu       sync.Mutex
	devices  map[Key]*device
	queue    line
	turns    turns
	passed   int       // turns in a row that passed the first who waits outside a planned slot
	looked   int64     // when lookAll did
	held     int       // devices whose word is not zero
	lapses   alarms    // of the devices that hold a slot and are not setting up: their words' times, or earlier
	kept     alarms    // of the devices with a ticket that is away
	wakes    int64     // when Run wakes next, if it waits for a moment; else 0
	wall     time.Time // the wall clock when it was last read
	capacity int       // in force from capFrom (inclusive) until capUntil (exclusive; zero is for ever), by the wall clock
	capFrom  time.Time
	capUntil time.Time
	capStale bool // the calendar must be asked in any case

	trace func(device Key, held bool) // for tests: called under mu at every grant and every end of a slot
}

// gauges are nil where no Metrics were given.
type gauges struct {
	served, queued, capacity telemetry.Gauge
}

// New returns an Admission that serves nobody yet. Run must run for waiting devices to get their turns on time.
func New(o Options) *Admission {
	a := &Admission{
		clock:   o.Clock,
		epoch:   o.Clock.Now().Add(-time.Second),
		kick:    make(chan struct{}, 1),
		devices: map[Key]*device{},

		capStale: true,
	}
	if m := o.Metrics; m != nil {
		a.gauge = gauges{m.RelayDevices.WithLabelValues("served"), m.RelayDevices.WithLabelValues("queued"), m.RelayCapacity}
	}
	a.set.Store(&settings{Options: o, changed: make(chan struct{})})
	a.Count()
	return a
}

// Reconfigure puts o in force, except its Clock and Metrics. Holders keep their slots and open connections stay, also
// where the new limits would not admit them; whoever waits goes on waiting in the same place under the new limits.
func (a *Admission) Reconfigure(o Options) {
	a.mu.Lock()
	old := a.set.Load()
	o.Clock, o.Metrics = old.Clock, old.Metrics
	a.set.Store(&settings{Options: o, changed: make(chan struct{})})
	a.capStale = true
	a.settle(a.look())
	a.mu.Unlock()
	close(old.changed)
}

// Run gives waiting devices their turns when a slot lapses or capacity changes. It blocks until ctx ends and returns nil.
// It arms no timer while nobody waits.
func (a *Admission) Run(ctx context.Context) error {
	timer := a.clock.NewTimer(maxSleep)
	timer.Stop()
	defer timer.Stop()
	for {
		a.mu.Lock()
		now := a.look()
		a.wakes = now // no kick from this very round
		a.settle(now)
		wake := a.nextWake(now)
		a.wakes = wake
		a.mu.Unlock()
		var due <-chan time.Time
		if wake != 0 {
			timer.Reset(time.Duration(wake - now))
			due = timer.C()
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-due:
		case <-a.kick:
		}
	}
}

// now returns Admission's own time. It is even: the lowest bit of a device's word has another meaning.
func (a *Admission) now() int64 { return int64(a.clock.Now().Sub(a.epoch)) &^ 1 }

// look reads the clock and, where the calendar says that its last answer has run out, the capacity. It returns
// Admission's own time. Edges are compared on the wall clock, also when that was set back.
func (a *Admission) look() int64 {
	t := a.clock.Now()
	a.wall = t.Round(0)
	if a.capStale || a.wall.Before(a.capFrom) || (!a.capUntil.IsZero() && !a.wall.Before(a.capUntil)) {
		n, until := a.set.Load().Capacity(t)
		a.capacity, a.capFrom, a.capUntil, a.capStale = max(0, n), a.wall, until.Round(0), false
	}
	return int64(t.Sub(a.epoch)) &^ 1
}

// settle brings everything up to now: lapsed slots are taken back, lost places forgotten, and those who wait get what is
// free. It is called under mu before a decision and after each change, so that between calls the rule holds that decides
// fairness: if a slot is free, nobody waits.
func (a *Admission) settle(now int64) {
	for len(a.lapses) > 0 && a.lapses[0].at <= now {
		d := a.lapses[0].device
		if w := d.word.Load(); until(w) > now {
			a.lapses.move(&d.lapse, until(w)) // it moved since
		} else if d.word.CompareAndSwap(w, 0) {
			a.released(d)
		}
	}
	for len(a.kept) > 0 && a.kept[0].at < now {
		a.drop(a.kept[0].device)
	}
	a.turns.elapse(now, a.queue.present > 0, a.set.Load().QueueTimeout)
	if a.held < a.capacity && a.queue.present > 0 {
		a.lookAll(now)
	}
	for a.held < a.capacity && a.queue.present > 0 {
		t, passing := a.next()
		if m := a.set.Load().Metrics; m != nil && passing {
			m.RelayQueuePlannedTurns.Inc()
		}
		a.turn(t.device, now)
	}
	if wake := a.nextWake(now); wake != 0 && (a.wakes == 0 || wake < a.wakes) {
		a.wakes = wake
		select {
		case a.kick <- struct{}{}:
		default: // Run is about to look anyway
		}
	}
	a.publish()
}

// nextWake is when something may change for those who wait, or 0 when nobody does.
func (a *Admission) nextWake(now int64) int64 {
	if a.queue.present == 0 {
		return 0
	}
	sleep := maxSleep
	if len(a.lapses) > 0 {
		sleep = min(sleep, time.Duration(a.lapses[0].at-now))
	}
	if !a.capUntil.IsZero() {
		sleep = min(sleep, a.capUntil.Sub(a.wall))
	}
	return now + int64(max(sleep, minSleep))
}

func (a *Admission) publish() {
	if a.gauge.served == nil {
		return
	}
	a.gauge.served.Set(float64(a.held))
	a.gauge.queued.Set(float64(a.queue.present))
	a.gauge.capacity.Set(float64(a.capacity))
}
