package proxy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/telemetry"
)

// anybody is a registry that knows each address.
type anybody struct{}

func (anybody) Identify(addr netip.Addr, _ string) (mfpgate.DeviceID, string, bool) {
	return mfpgate.DeviceID("dev_" + strings.ReplaceAll(addr.String(), ".", "")), addr.String(), true
}

// A client that begins a hello and falls silent, or only dribbles on, is cut; one that says nothing may wait.
func TestAHelloMustComeInTime(t *testing.T) {
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer origin.Close()
	var serving sync.WaitGroup
	got := make(chan int, 2)
	serving.Go(func() {
		for {
			conn, err := origin.Accept()
			if err != nil {
				return
			}
			b, _ := io.ReadAll(conn)
			got <- len(b)
			_ = conn.Close()
		}
	})
	pattern, err := mfpgate.ParseHostPattern("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	policy := &proxy.Policy{Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AdmitUnknown: true,
		Allow:    []mfpgate.AllowRule{{Host: pattern, Ports: []uint16{uint16(origin.Addr().(*net.TCPAddr).Port)}, Private: true}},
		Capacity: func(time.Time) (int, time.Time) { return 5, time.Time{} }, QueueTimeout: time.Minute, Linger: time.Minute,
		DialTimeout: time.Minute, Idle: time.Hour, HeadTimeout: time.Minute}
	metrics := telemetry.NewMetrics()
	relay, err := proxy.New(proxy.Options{Name: "test", Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Metrics: metrics,
		Devices: anybody{}, Descriptors: 4096, FirstBytes: 100 * time.Millisecond}, policy)
	if err != nil {
		t.Fatal(err)
	}
	door, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	serving.Go(func() { _ = relay.Run(ctx) })
	serving.Go(func() {
		if err := relay.Serve([]*net.TCPListener{door}); err != nil {
			t.Error(err)
		}
	})
	stop := sync.OnceFunc(func() {
		drained, end := context.WithCancel(context.Background())
		end()
		relay.Drain(drained)
		cancel()
		_ = origin.Close()
		serving.Wait()
	})
	defer stop()

	for _, dribble := range []bool{false, true} {
		conn, err := net.Dial("tcp", door.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", origin.Addr())
		answer := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
		if _, err := io.ReadFull(conn, answer); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
			t.Fatalf("%q, %v", answer, err)
		}
		// A record of 16 KiB is announced, of which no more than its beginning comes.
		if _, err := conn.Write([]byte("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03")); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		serving.Go(func() {
			_, err := conn.Read(make([]byte, 1))
			ended <- err
		})
		for open := true; open; {
			if dribble {
				_, _ = conn.Write([]byte{0})
			}
			select {
			case err = <-ended:
				open = false
			default:
				if !dribble {
					err, open = <-ended, false
				}
			}
		}
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Fatal("the tunnel is not cut")
		}
		if n := <-got; n != 0 {
			t.Errorf("the origin got %d bytes", n)
		}
	}
	stop() // after which everything is counted
	if n := metrics.Value("mfpgate_relay_tunnels_total", "outcome", string(proxy.BadHello)); n != 2 {
		t.Errorf("%v tunnels ended for their hello", n)
	}
}
