package load_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

const (
	devices  = 1000
	capacity = 50
	chunk    = 16 << 10
	chunks   = 8
)

// meter counts, at the origin, which devices are served: between the first byte and the last of a download.
type meter struct {
	mu     sync.Mutex
	now    map[uint32]int
	most   int
	served map[uint32]bool
}

func (m *meter) begin(device uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now[device]++
	m.most = max(m.most, len(m.now))
}

func (m *meter) end(device uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now[device]--; m.now[device] == 0 {
		delete(m.now, device)
	}
	m.served[device] = true
}

// firmware is an origin: a device says its number, gets chunks, and acknowledges each, so that "at once" means what a
// device has in its hands and not what lies in buffers.
func (m *meter) firmware(c *net.TCPConn) {
	var number [4]byte
	if _, err := io.ReadFull(c, number[:]); err != nil {
		return
	}
	device := binary.BigEndian.Uint32(number[:])
	m.begin(device)
	defer m.end(device)
	ack := make([]byte, 1)
	for range chunks {
		if _, err := c.Write(make([]byte, chunk)); err != nil {
			return
		}
		if _, err := io.ReadFull(c, ack); err != nil {
			return
		}
	}
}

// download is one device: it comes back as Retry-After says until it has everything. It returns how often it was told to.
func download(g *rig.Gateway, source string, number uint32, target string) (retries int, err error) {
	for {
		conn, err := g.DialFrom(source)
		if err != nil {
			return retries, err
		}
		retry, err := try(conn, number, target)
		_ = conn.Close()
		if err != nil || retry == 0 {
			return retries, err
		}
		retries++
		if err := mfpgate.Wait(g.Context(), mfpgate.SystemClock{}, retry); err != nil {
			return retries, err
		}
	}
}

func try(conn *net.TCPConn, number uint32, target string) (retry time.Duration, err error) {
	if _, err := io.WriteString(conn, rig.ConnectRequest(target)); err != nil {
		return 0, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			return 0, fmt.Errorf("503 without a good Retry-After: %q", resp.Header.Get("Retry-After"))
		}
		return time.Duration(seconds) * time.Second, nil
	default:
		return 0, errors.New(resp.Status)
	}
	if err := binary.Write(conn, binary.BigEndian, number); err != nil {
		return 0, err
	}
	for range chunks {
		if _, err := io.CopyN(io.Discard, in, chunk); err != nil {
			return 0, err
		}
		if _, err := conn.Write([]byte{1}); err != nil {
			return 0, err
		}
	}
	// The origin's end says that it counts this device no more.
	_, err = io.Copy(io.Discard, in)
	return 0, err
}

func address(i int) string { return fmt.Sprintf("127.1.%d.%d", i/250, 1+i%250) }

// A device gives its place back with its last connection; linger is longer than a busy machine leaves one waiting, so that
// the origin and the relay mean the same by a device that is served.
func TestAThousandDevicesAndFiftyPlaces(t *testing.T) {
	m := &meter{now: map[uint32]int{}, served: map[uint32]bool{}}
	origin := rig.Listen(t, m.firmware)
	g := rig.Start(t, rig.Allow(origin.Port)+"  capacity: {devices: "+strconv.Itoa(capacity)+", linger: 60s, queue_timeout: 2s}\n")
	goroutines, files := g.Metric(t, "go_goroutines"), g.Descriptors(t)
	turns := g.Metric(t, "mfpgate_relay_queue_turns_total")

	var running sync.WaitGroup
	retries := make([]int, devices)
	for i := range devices {
		running.Go(func() {
			var err error
			if retries[i], err = download(g, address(i), uint32(i), origin.Address); err != nil {
				t.Errorf("device %d: %v", i, err)
			}
		})
	}
	running.Wait()

	m.mu.Lock()
	most, served := m.most, len(m.served)
	m.mu.Unlock()
	if most > capacity {
		t.Errorf("%d devices were served at once, %d may be", most, capacity)
	}
	if served != devices {
		t.Errorf("%d of %d devices were served", served, devices)
	}
	given := g.Metric(t, "mfpgate_relay_queue_turns_total") - turns
	told := 0
	for _, n := range retries {
		told += n
	}
	if given < 1 || given > devices {
		t.Errorf("%v turns were given to %d devices: each has at most one", given, devices)
	}
	t.Logf("at most %d at once, %v turns, told to come back %d times", most, given, told)
	rig.Until(t, "nothing is left", func() bool {
		s := g.Status(t).Relay
		return s.Connections == 0 && s.Served == 0 && s.Queued == 0 && len(g.Slots(t)) == 0 &&
			g.Descriptors(t) <= files && g.Metric(t, "go_goroutines") <= goroutines
	})
}

// The turns go round in the order of arrival: nobody waits for more turns than devices stood before it.
func TestTurnsGoByArrival(t *testing.T) {
	const waiting = 30
	order := make(chan uint32, waiting+1)
	origin := rig.Listen(t, func(c *net.TCPConn) {
		var number [4]byte
		if _, err := io.ReadFull(c, number[:]); err == nil {
			order <- binary.BigEndian.Uint32(number[:])
		}
	})
	g := rig.Start(t, rig.Allow(origin.Port)+"  capacity: {devices: 1, linger: 10m, queue_timeout: 10m}\n")
	first := g.Raw(t, address(0))
	first.Connect(origin.Address)
	for i := 1; i <= waiting; i++ {
		conn := g.Raw(t, address(i))
		conn.Send(rig.ConnectRequest(origin.Address))
		rig.Until(t, "the device stands in the queue", func() bool { return g.Status(t).Relay.Queued == i })
		go func() { // ends when the origin has the number and closes
			conn.Answer(http.MethodConnect)
			_ = binary.Write(conn, binary.BigEndian, uint32(i))
			_, _ = conn.Rest()
			_ = conn.Close()
		}()
	}
	_ = first.Close()
	for want := uint32(1); want <= waiting; want++ {
		if got := rig.Wait(t, "a device is served", order); got != want {
			t.Fatalf("device %d is served, it is device %d's turn", got, want)
		}
	}
}

// Sixty devices that keep a tunnel for ever, as they do for push messages, must not lock out ten that have work to do.
func TestPermanentTunnelsAndDownloads(t *testing.T) {
	m := &meter{now: map[uint32]int{}, served: map[uint32]bool{}}
	firmware := rig.Listen(t, m.firmware)
	push := rig.Listen(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	g := rig.Start(t, rig.Allow(firmware.Port, push.Port)+"  capacity: {devices: "+strconv.Itoa(capacity)+", linger: 50ms, queue_timeout: 20s}\n")
	stop := make(chan struct{})
	var permanent, working sync.WaitGroup
	for i := range 60 {
		conn := g.Raw(t, address(i))
		if resp, body := conn.Connect(push.Address); resp.StatusCode != http.StatusOK {
			t.Fatalf("device %d got %s %s", i, resp.Status, body)
		}
		permanent.Go(func() {
			for {
				if _, err := conn.Write([]byte("ping")); err != nil {
					t.Errorf("heartbeat of device %d: %v", i, err)
					return
				}
				if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
					t.Errorf("heartbeat of device %d: %v", i, err)
					return
				}
				again := time.NewTimer(200 * time.Millisecond)
				select {
				case <-stop:
					again.Stop()
					return
				case <-again.C:
				}
			}
		})
	}
	for i := range 10 {
		working.Go(func() {
			if _, err := download(g, address(100+i), uint32(i), firmware.Address); err != nil {
				t.Errorf("download %d: %v", i, err)
			}
		})
	}
	working.Wait()
	close(stop)
	permanent.Wait()
	if s := g.Status(t).Relay; s.Tunnels < 60 {
		t.Errorf("%d permanent tunnels are left", s.Tunnels)
	}
}
