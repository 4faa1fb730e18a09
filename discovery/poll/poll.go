package poll

import (
	"container/heap"
	"context"
	"hash/fnv"
	"net/netip"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/telemetry"
)

// IPP asks printers that speak IPP. An endpoint with port 0 stands for the usual ports and paths of its address.
type IPP interface {
	Identify(context.Context, mfpgate.Endpoint) (mfpgate.Sighting, error)
	Find(context.Context, netip.Addr) (mfpgate.Sighting, error)
	Read(context.Context, mfpgate.Endpoint, mfpgate.Parts) (mfpgate.Reading, error)
}

// SNMP asks printers that have an agent.
type SNMP interface {
	Identify(context.Context, netip.Addr) (mfpgate.Sighting, error)
	Read(context.Context, netip.Addr, mfpgate.Parts) (mfpgate.Reading, error)
}

// USB asks printers on the gateway's own USB that speak no IPP. Its errors say why by a method Reason() mfpgate.Reason.
type USB interface {
	Read(ctx context.Context, port string, parts mfpgate.Parts) (mfpgate.Reading, error)
}

// Intervals are how often each part is asked for.
type Intervals struct{ Status, Supplies, Counters time.Duration }

// Options are what a poller needs.
type Options struct {
	Clock     mfpgate.Clock
	Log       telemetry.Logger
	Metrics   *telemetry.Metrics
	Devices   *discovery.Registry
	IPP       IPP
	SNMP      SNMP                                                   // nil: off
	USB       USB                                                    // nil: off
	Intervals func() Intervals                                       // in force now
	Took      func(context.Context, mfpgate.Device, mfpgate.Reading) // what a device answered; the reading is empty when it did not
	Parallel  int                                                    // devices asked at once, and as many that are lost; 0 is 32
}

// Poller asks. See New and Run.
type Poller struct {
	Options
	jobs map[mfpgate.DeviceID]*job
	// A device that is away takes seconds to ask, one that is there takes milliseconds. At night half a site is away: those
	// wait for one another, and for nobody else.
	answering, lost lane
	done            chan *job     // has room for all that may run
	every           time.Duration // the interval that the lanes were planned with
	at              time.Time     // when Run looked at the plan last
}

// lane is the plan of devices that are asked one after the other, some at once.
type lane struct {
	queue queue
	busy  int // that run
}

// job is one device's part of the plan.
type job struct {
	id       mfpgate.DeviceID
	due      time.Time
	place    int   // in the queue; -1 outside
	lane     *lane // where it waits or runs
	running  bool
	failed   bool      // its last turn
	again    bool      // asked for while it ran
	who      time.Time // when it was asked who it is
	supplies time.Time // when each part was asked for
	counters time.Time
}

const (
	// identifyEvery is how often a device is asked who it is, in ways that have never answered, too.
	identifyEvery = time.Hour
	// resync is how often the plan is compared with the registry, whatever it told meanwhile.
	resync = 5 * time.Minute
	// longest bounds a sleep, so that a clock that was set is noticed, and that other intervals are in force.
	longest = 10 * time.Second
)

// New builds a poller.
func New(o Options) *Poller {
	if o.Parallel <= 0 {
		o.Parallel = 32
	}
	return &Poller{Options: o, jobs: map[mfpgate.DeviceID]*job{}, done: make(chan *job, 2*o.Parallel)}
}

// Run asks until ctx ends, and returns when the last question has.
func (p *Poller) Run(ctx context.Context) error {
	changes, stop := p.Devices.Watch(1024)
	defer stop()
	defer func() {
		for n := p.answering.busy + p.lost.busy; n > 0; n-- {
			<-p.done
		}
	}()
	timer := p.Clock.NewTimer(longest)
	defer timer.Stop()
	var synced time.Time
	for {
		now := p.now()
		if now.Before(p.at) { // the clock was set back: turns that were planned by it would be far away
			p.replan(now)
		}
		p.at = now
		if away := now.Sub(synced); away >= resync || away < 0 {
			p.resync(now)
			synced = now
		}
		if every := p.Intervals().Status; every != p.every {
			p.every = every
			p.replan(now)
		}
		wait := longest
		for _, l := range []*lane{&p.answering, &p.lost} {
			for l.busy < p.Parallel && len(l.queue) > 0 && !l.queue[0].due.After(now) {
				p.start(ctx, heap.Pop(&l.queue).(*job))
			}
			if len(l.queue) > 0 && l.busy < p.Parallel {
				wait = min(wait, max(l.queue[0].due.Sub(now), 0))
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case id := <-changes:
			p.changed(id, now)
		case j := <-p.done:
			j.lane.busy--
			p.finish(j, p.now())
		case <-timer.C():
		}
	}
}

// now is the wall time: turns are planned by it, and a monotonic reading beside it would hide that it was set.
func (p *Poller) now() time.Time { return p.Clock.Now().Round(0) }

// resync gives every device of the registry its place, and takes the others'.
func (p *Poller) resync(now time.Time) {
	there := map[mfpgate.DeviceID]bool{}
	for _, id := range p.Devices.IDs() {
		there[id] = true
		if p.jobs[id] == nil {
			p.plan(id, now)
		}
	}
	for id, j := range p.jobs {
		if !there[id] && !j.running {
			p.forget(j)
		}
	}
}

// replan gives every device that waits its turn of the interval in force, unless it has one before that.
func (p *Poller) replan(now time.Time) {
	for _, l := range []*lane{&p.answering, &p.lost} {
		for _, j := range l.queue {
			if at := next(now, p.every, j.id); at.Before(j.due) {
				j.due = at
			}
		}
		heap.Init(&l.queue)
	}
}

func (p *Poller) plan(id mfpgate.DeviceID, now time.Time) {
	j := &job{id: id, due: now, place: -1, lane: &p.lost} // where one that never answers delays nobody who does
	p.jobs[id] = j
	heap.Push(&j.lane.queue, j)
}

func (p *Poller) forget(j *job) {
	delete(p.jobs, j.id)
	if j.place >= 0 {
		heap.Remove(&j.lane.queue, j.place)
	}
}

// changed asks a device at once if it is new, or if the registry has reason to doubt what it knows.
func (p *Poller) changed(id mfpgate.DeviceID, now time.Time) {
	j := p.jobs[id]
	switch {
	case j == nil:
		p.plan(id, now)
	case !p.Devices.Doubtful(id):
	case j.running:
		j.again = true
	case j.due.After(now):
		j.due = now
		heap.Fix(&j.lane.queue, j.place)
	}
}

// start asks a device in a goroutine of its own.
func (p *Poller) start(ctx context.Context, j *job) {
	j.running = true
	j.lane.busy++
	go func() { // Run waits for it
		p.ask(ctx, j)
		p.done <- j
	}()
}

// finish gives a device its next turn: at its own moment of the interval.
func (p *Poller) finish(j *job, now time.Time) {
	j.running = false
	if p.jobs[j.id] != j {
		return
	}
	j.due = next(now, p.Intervals().Status, j.id)
	if j.again {
		j.again, j.due = false, now
	}
	if j.lane = &p.answering; j.failed {
		j.lane = &p.lost
	}
	heap.Push(&j.lane.queue, j)
}

// next is the first moment after now that is the device's own: the same in every interval, another for every device.
func next(now time.Time, interval time.Duration, id mfpgate.DeviceID) time.Time {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	phase := time.Duration(h.Sum64() % uint64(interval))
	at := now.Truncate(interval).Add(phase)
	for !at.After(now) {
		at = at.Add(interval)
	}
	return at
}

// queue is a heap by due time.
type queue []*job

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, k int) bool { return q[i].due.Before(q[k].due) }
func (q queue) Swap(i, k int) {
	q[i], q[k] = q[k], q[i]
	q[i].place, q[k].place = i, k
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	j := x.(*job)
	j.place = len(*q)
	*q = append(*q, j)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	j := (*q)[last]
	(*q)[last] = nil
	*q, j.place = (*q)[:last], -1
	return j
}
