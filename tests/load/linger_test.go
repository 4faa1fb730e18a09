package load_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// shortLinger is shorter than some devices are silent in the midst of a download: they lose their slots, and have to wait for others. What
// the origin may see at once is what moved within that time. It is longer than a busy machine leaves the gateway or the origin waiting.
const shortLinger = 400 * time.Millisecond

// silent is one device of so many that falls silent.
const silent = 5

// lately counts, at the origin, the devices whose acknowledgement came within half of linger: by then the relay still
// keeps their slots, whatever lies between its clock and the origin's. Times in which this process itself was not run are
// left out, because what comes in them came earlier.
type lately struct {
	test     context.Context
	mu       sync.Mutex
	last     map[uint32]time.Time
	tick     time.Time // when this process last ran on time
	late     time.Time // until when what comes is not judged
	most     int
	judged   int
	excluded int
	served   map[uint32]bool
}

const slack = shortLinger / 2

// watch notices when this process is not run on time, until done is closed.
func (l *lately) watch(done <-chan struct{}) {
	const every = 2 * time.Millisecond
	for {
		select {
		case <-done:
			return
		case <-time.After(every):
		}
		l.mu.Lock()
		now := time.Now()
		if now.Sub(l.tick) > slack/2 {
			l.late = now.Add(slack)
		}
		l.tick = now
		l.mu.Unlock()
	}
}

func (l *lately) moved(device uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.last[device] = now
	if now.Before(l.late) || now.Sub(l.tick) > slack/2 {
		l.excluded++
		return
	}
	n := 0
	for _, at := range l.last {
		if now.Sub(at) < slack {
			n++
		}
	}
	l.judged++
	l.most = max(l.most, n)
}

func (l *lately) ended(device uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.last, device)
	l.served[device] = true
}

func (l *lately) firmware(c *net.TCPConn) {
	var number [4]byte
	if _, err := io.ReadFull(c, number[:]); err != nil {
		return
	}
	device := binary.BigEndian.Uint32(number[:])
	ack := make([]byte, 1)
	for n := range chunks {
		if n == chunks/2 && device%silent == 0 && mfpgate.Wait(l.test, mfpgate.SystemClock{}, shortLinger*3/2) != nil {
			return
		}
		if _, err := c.Write(make([]byte, chunk)); err != nil {
			return
		}
		if _, err := io.ReadFull(c, ack); err != nil {
			return
		}
		l.moved(device)
	}
	l.ended(device)
}

func TestAThousandDevicesWithAShortLinger(t *testing.T) {
	l := &lately{test: t.Context(), last: map[uint32]time.Time{}, served: map[uint32]bool{}, tick: time.Now()}
	done := make(chan struct{})
	defer close(done)
	go l.watch(done)
	origin := rig.Listen(t, l.firmware)
	g := rig.Start(t, rig.Allow(origin.Port)+"  capacity: {devices: "+strconv.Itoa(capacity)+", linger: "+shortLinger.String()+", queue_timeout: 60s}\n")
	base := g.Metric(t, "go_goroutines")

	var running sync.WaitGroup
	for i := range devices {
		running.Go(func() {
			if _, err := download(g, address(i), uint32(i), origin.Address); err != nil {
				t.Errorf("device %d: %v", i, err)
			}
		})
	}
	running.Wait()

	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("at most %d at once; %d moments judged, %d left out", l.most, l.judged, l.excluded)
	if l.most > capacity {
		t.Errorf("%d devices moved bytes at once, %d may", l.most, capacity)
	}
	if l.judged < devices {
		t.Errorf("%d moments were judged, %d left out: too few to tell; the machine is too busy", l.judged, l.excluded)
	}
	if len(l.served) != devices {
		t.Errorf("%d of %d devices were served", len(l.served), devices)
	}
	rig.Until(t, "nothing is left", func() bool {
		return g.Status(t).Relay.Connections == 0 && g.Metric(t, "go_goroutines") <= base
	})
}
