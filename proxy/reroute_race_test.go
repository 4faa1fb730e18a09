package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
)

// flapping blocks everything in its odd turns. Its answers are stale by the time that they are heard, as any may be.
type flapping struct{ turn atomic.Int64 }

func (f *flapping) Route(mfpgate.DeviceID, mfpgate.Host, uint16, bool) mfpgate.Route {
	turn := f.turn.Load()
	for range rand.IntN(20) {
		runtime.Gosched()
	}
	if turn%2 == 1 {
		return mfpgate.Route{Action: mfpgate.RouteBlock, Region: "us", Epoch: uint64(turn)}
	}
	return mfpgate.Route{Epoch: uint64(turn)}
}

// No tunnel and no request slips through between a switch and Reroute: however they meet, nothing of what clients hold on
// to is open soon after.
func TestNothingSlipsThroughASwitch(t *testing.T) {
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving, asking sync.WaitGroup
	var open atomic.Int64
	serving.Go(func() {
		for {
			conn, err := origin.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { // says nothing, and ends when the relay does
				defer conn.Close()
				if _, err := conn.Read(make([]byte, 1)); err != nil {
					return // nobody's: the relay thought better of it
				}
				open.Add(1)
				defer open.Add(-1)
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	defer serving.Wait()
	defer origin.Close()

	routes := &flapping{}
	var pattern mfpgate.HostPattern
	if pattern, err = mfpgate.ParseHostPattern("127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	port := uint16(origin.Addr().(*net.TCPAddr).Port)
	w := newWorld(t, func(o *proxy.Options, p *proxy.Policy) {
		o.Routes, o.Reached, o.Descriptors = routes, nil, 1<<14
		p.Clients = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		p.Allow = []mfpgate.AllowRule{{Host: pattern, Ports: []uint16{port}, Private: true, AnySNI: true}}
	})
	ctx, stop := context.WithCancel(context.Background())
	defer asking.Wait()
	defer stop()
	var let, kept atomic.Int64
	for i := range 8 {
		dialer := from(fmt.Sprintf("127.0.0.%d", 2+i))
		asking.Go(func() {
			for ctx.Err() == nil {
				conn, err := dialer.DialContext(ctx, "tcp", w.at)
				if err != nil {
					return
				}
				unhook := context.AfterFunc(ctx, func() { _ = conn.Close() })
				if i%2 == 0 {
					fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", origin.Addr())
				} else {
					fmt.Fprintf(conn, "GET http://%s/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", origin.Addr(), origin.Addr())
				}
				answer := make([]byte, len("HTTP/1.1 200"))
				if n, _ := io.ReadFull(conn, answer); n == len(answer) && string(answer) == "HTTP/1.1 200" {
					let.Add(1)
					_, _ = conn.Write(answer)
					_, _ = io.Copy(io.Discard, conn) // holds on to it
				} else if n == len(answer) {
					kept.Add(1)
				}
				unhook()
				_ = conn.Close()
			}
		})
	}
	for range 60 {
		wait(t, "something is open", func() bool { return open.Load() > 0 })
		for range rand.IntN(200) {
			runtime.Gosched()
		}
		routes.turn.Add(1)
		w.relay.Reroute(0)
		wait(t, "nothing is open in a region that the devices have left", func() bool { return open.Load() == 0 })
		routes.turn.Add(1)
	}
	if let.Load() == 0 || kept.Load() == 0 {
		t.Errorf("%d were let through and %d kept back: nothing was tried", let.Load(), kept.Load())
	}
	if n := w.metrics.Value("mfpgate_region_blocks_total", "region", "us"); n == 0 {
		t.Errorf("%v blocks were counted", n)
	}
}
