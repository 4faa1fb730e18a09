package tunnel_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is one tunnel between a device and an origin that the test plays.
type rig struct {
	device, origin *net.TCPConn
	registry       *tunnel.Registry
	ended          chan *tunnel.Tunnel
}

// patience bounds every wait of a test; only a broken tunnel meets it.
const patience = 20 * time.Second

var generous = tunnel.Limits{HalfClosed: time.Minute, Stalled: time.Minute, FirstBytes: time.Minute}

func newRig(t *testing.T, limits tunnel.Limits, spec tunnel.Spec) *rig {
	t.Helper()
	r := &rig{registry: tunnel.NewRegistry(mfpgate.SystemClock{}, limits), ended: make(chan *tunnel.Tunnel, 1)}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- r.registry.Run(ctx) }()
	t.Cleanup(func() {
		for _, open := range r.registry.List() {
			open.Cut(tunnel.Drained)
		}
		r.registry.Drain(context.Background(), time.Hour)
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	r.device, spec.Client = pair(t)
	r.origin, spec.Origin = pair(t)
	if spec.Idle == 0 {
		spec.Idle = time.Minute
	}
	spec.Done = func(t *tunnel.Tunnel) { r.ended <- t }
	for _, c := range []*net.TCPConn{r.device, r.origin} {
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	r.registry.Open(spec)
	return r
}

func (r *rig) end(t *testing.T) *tunnel.Tunnel {
	t.Helper()
	select {
	case ended := <-r.ended:
		return ended
	case <-time.After(patience):
		t.Fatal("the tunnel did not end")
		return nil
	}
}

func pair(t testing.TB) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func TestBulkIsSplicedBothWaysAtOnce(t *testing.T) {
	r := newRig(t, generous, tunnel.Spec{})
	up, down := make([]byte, 32<<20), make([]byte, 32<<20)
	_, _ = rand.Read(up[:1<<20])
	_, _ = rand.Read(down[:1<<20])
	send := func(c *net.TCPConn, b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
		_ = c.CloseWrite()
	}
	go send(r.device, up)   // ends with its bytes
	go send(r.origin, down) // likewise
	got := make(chan []byte, 1)
	go func() { // ends at the stream's end
		b, _ := io.ReadAll(r.origin)
		got <- b
	}()
	gotDown, err := io.ReadAll(r.device)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(gotDown, down) || !bytes.Equal(<-got, up) {
		t.Error("bytes changed on the way")
	}
	ended := r.end(t)
	bytesUp, bytesDown, spliced := ended.Bytes()
	if bytesUp != int64(len(up)) || bytesDown != int64(len(down)) || ended.Reason() != tunnel.Closed {
		t.Errorf("up %d, down %d, reason %s", bytesUp, bytesDown, ended.Reason())
	}
	if share := float64(spliced) / float64(bytesUp+bytesDown); share < 0.9 {
		t.Errorf("%.1f %% went by splice, want nearly all", 100*share)
	}
}

func TestStreamsEndEachByItself(t *testing.T) {
	for _, tc := range []struct {
		rule  string
		roles func(r *rig) (first, last *net.TCPConn)
	}{
		{"the device ends first, the answer follows", func(r *rig) (_, _ *net.TCPConn) { return r.device, r.origin }},
		{"the origin ends first, the upload follows", func(r *rig) (_, _ *net.TCPConn) { return r.origin, r.device }},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			r := newRig(t, generous, tunnel.Spec{FromClient: []byte("early "), FromOrigin: []byte("early ")})
			first, last := tc.roles(r)
			for _, step := range []struct{ from, to *net.TCPConn }{{first, last}, {last, first}} {
				if _, err := io.WriteString(step.from, "bytes"); err != nil {
					t.Fatal(err)
				}
				if err := step.from.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(step.to); err != nil || string(got) != "early bytes" {
					t.Fatalf("got %q, %v", got, err)
				}
			}
			if ended := r.end(t); ended.Reason() != tunnel.Closed {
				t.Errorf("reason %s", ended.Reason())
			}
		})
	}
}

func TestResetTravelsOn(t *testing.T) {
	for _, tc := range []struct {
		rule   string
		breaks func(r *rig) (breaks, sees *net.TCPConn)
		want   mfpgate.Reason
	}{
		{"from the device", func(r *rig) (_, _ *net.TCPConn) { return r.device, r.origin }, tunnel.ClientReset},
		{"from the origin", func(r *rig) (_, _ *net.TCPConn) { return r.origin, r.device }, tunnel.OriginReset},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			r := newRig(t, generous, tunnel.Spec{})
			breaks, sees := tc.breaks(r)
			_ = breaks.SetLinger(0)
			_ = breaks.Close()
			if _, err := io.ReadAll(sees); err == nil {
				t.Error("the other side saw a whole stream")
			}
			if ended := r.end(t); ended.Reason() != tc.want {
				t.Errorf("reason %s, want %s", ended.Reason(), tc.want)
			}
		})
	}
}

func TestLimitsCut(t *testing.T) {
	const short = 50 * time.Millisecond
	for _, tc := range []struct {
		rule   string
		limits tunnel.Limits
		idle   time.Duration
		play   func(t *testing.T, r *rig)
		want   mfpgate.Reason
	}{
		{"nothing moves", generous, short, func(*testing.T, *rig) {}, tunnel.Idle},
		{"one side has ended and the other is silent", tunnel.Limits{HalfClosed: short, Stalled: time.Minute}, time.Minute,
			func(_ *testing.T, r *rig) { _ = r.device.CloseWrite() }, tunnel.HalfClosed},
		{"the device reads nothing", tunnel.Limits{HalfClosed: time.Minute, Stalled: short}, time.Minute,
			func(_ *testing.T, r *rig) {
				go func() { // ends when the tunnel is cut
					for {
						if _, err := r.origin.Write(make([]byte, 1<<20)); err != nil {
							return
						}
					}
				}()
			}, tunnel.Stalled},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			r := newRig(t, tc.limits, tunnel.Spec{Idle: tc.idle})
			tc.play(t, r)
			if ended := r.end(t); ended.Reason() != tc.want {
				t.Errorf("reason %s, want %s", ended.Reason(), tc.want)
			}
			_ = r.origin.Close()
		})
	}
}

type refusal mfpgate.Reason

func (r refusal) Error() string       { return string(r) }
func (r refusal) Why() mfpgate.Reason { return mfpgate.Reason(r) }

func TestInspect(t *testing.T) {
	wantHello := func(first []byte, final bool) (bool, error) {
		switch {
		case bytes.Equal(first, []byte("hello")):
			return true, nil
		case final || !bytes.HasPrefix([]byte("hello"), first):
			return false, refusal("not-hello")
		}
		return false, nil
	}
	for _, tc := range []struct {
		rule  string
		sends []string
		want  mfpgate.Reason // empty: all passes
	}{
		{"in one segment", []string{"hello"}, ""},
		{"in several segments", []string{"h", "el", "lo"}, ""},
		{"other bytes cut", []string{"he", "xx"}, "not-hello"},
		{"an early end cuts", []string{"he"}, "not-hello"},
		{"nothing at all passes", nil, ""},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			r := newRig(t, generous, tunnel.Spec{Inspect: wantHello})
			// The server speaks first while the device's bytes are still judged.
			if _, err := io.WriteString(r.origin, "220 ready"); err != nil {
				t.Fatal(err)
			}
			banner := make([]byte, 9)
			if _, err := io.ReadFull(r.device, banner); err != nil {
				t.Fatal(err)
			}
			for _, s := range tc.sends {
				if _, err := io.WriteString(r.device, s); err != nil {
					t.Fatal(err)
				}
				_ = r.device.SetNoDelay(true)
			}
			_ = r.device.CloseWrite()
			got, err := io.ReadAll(r.origin)
			_ = r.origin.CloseWrite()
			ended := r.end(t)
			if tc.want == "" {
				if want := string(bytes.Join(func() (b [][]byte) {
					for _, s := range tc.sends {
						b = append(b, []byte(s))
					}
					return
				}(), nil)); err != nil || string(got) != want || ended.Reason() != tunnel.Closed {
					t.Errorf("origin got %q, %v, reason %s", got, err, ended.Reason())
				}
				return
			}
			if len(got) > 0 || ended.Reason() != tc.want {
				t.Errorf("origin got %q, reason %s, want none and %s", got, ended.Reason(), tc.want)
			}
		})
	}
}

func TestFirstBytesHaveATime(t *testing.T) {
	limits := generous
	limits.FirstBytes = 30 * time.Millisecond
	r := newRig(t, limits, tunnel.Spec{Inspect: func(_ []byte, final bool) (bool, error) {
		if final {
			return false, refusal("too-slow")
		}
		return false, nil
	}})
	if _, err := io.WriteString(r.device, "\x16"); err != nil {
		t.Fatal(err)
	}
	if ended := r.end(t); ended.Reason() != "too-slow" {
		t.Errorf("reason %s", ended.Reason())
	}
}

// gate is a Turn that a test opens.
type gate struct {
	open  chan struct{}
	taken chan int
}

func (g gate) Move(ctx context.Context) error {
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (g gate) Take(_ context.Context, n int) error {
	select {
	case g.taken <- n:
	default:
	}
	return nil
}

func TestReadsWaitForTheTurn(t *testing.T) {
	g := gate{open: make(chan struct{}), taken: make(chan int, 1)}
	r := newRig(t, generous, tunnel.Spec{Turn: g})
	if _, err := io.WriteString(r.device, "bytes"); err != nil {
		t.Fatal(err)
	}
	_ = r.origin.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if n, err := r.origin.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes came before the turn, %v", n, err)
	}
	_ = r.origin.SetReadDeadline(time.Now().Add(patience))
	close(g.open)
	got := make([]byte, 5)
	if _, err := io.ReadFull(r.origin, got); err != nil {
		t.Fatal(err)
	}
	if n := <-g.taken; n != 5 {
		t.Errorf("took %d bytes of the rate, want 5", n)
	}
}

func TestAClientThatLeavesEndsItsWait(t *testing.T) {
	r := newRig(t, generous, tunnel.Spec{Turn: gate{open: make(chan struct{}), taken: make(chan int, 1)}})
	if _, err := io.WriteString(r.device, "bytes"); err != nil {
		t.Fatal(err)
	}
	_ = r.device.SetLinger(0)
	_ = r.device.Close()
	if ended := r.end(t); ended.Reason() != tunnel.ClientReset {
		t.Errorf("reason %s", ended.Reason())
	}
}

func TestDrain(t *testing.T) {
	r := newRig(t, generous, tunnel.Spec{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if cut := r.registry.Drain(ctx, 10*time.Millisecond); cut != 0 {
		t.Errorf("the deadline cut %d", cut)
	}
	if ended := r.end(t); ended.Reason() != tunnel.Drained {
		t.Errorf("reason %s", ended.Reason())
	}

	r = newRig(t, generous, tunnel.Spec{})
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	if cut := r.registry.Drain(ctx, time.Hour); cut != 1 {
		t.Errorf("the deadline cut %d, want 1", cut)
	}
	if ended := r.end(t); ended.Reason() != tunnel.DrainDeadline {
		t.Errorf("reason %s", ended.Reason())
	}
}

// TestIdleTunnelsHoldTwoDescriptors counts the process's own descriptors after bulk has moved.
func TestIdleTunnelsHoldTwoDescriptors(t *testing.T) {
	descriptors := func() int {
		fds, err := filepath.Glob("/proc/self/fd/*")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	r := newRig(t, generous, tunnel.Spec{})
	before := descriptors()
	go func() { _, _ = r.device.Write(make([]byte, 1<<20)) }() // ends with its bytes
	if _, err := io.ReadFull(r.origin, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if grown := descriptors() - before; grown > 2 { // the pool keeps the one pipe that was used
		t.Errorf("%d descriptors more after the first bulk", grown)
	}
}
