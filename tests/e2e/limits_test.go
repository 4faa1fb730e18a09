package e2e_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestADeviceHasSoManyConnections(t *testing.T) {
	origin := rig.Listen(t, echo)
	_, port := rig.HTTP(t, false, hello)
	g := rig.Start(t, rig.Allow(origin.Port, port)+"  per_device: {connections: 2}\n")
	first, second := g.Raw(t), g.Raw(t)
	first.Connect(origin.Address)
	second.Connect(origin.Address)
	third := g.Raw(t)
	resp, body := third.Connect(origin.Address)
	refused(t, resp, body, http.StatusTooManyRequests, "device-connections")
	third.Send("GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, body = third.Answer("GET")
	refused(t, resp, body, http.StatusTooManyRequests, "device-connections")
	if resp, _ := g.Raw(t, "127.0.0.2").Connect(origin.Address); resp.StatusCode != http.StatusOK {
		t.Errorf("another device got %s", resp.Status)
	}
	_ = first.Close()
	rig.Until(t, "the device has a connection less", func() bool {
		resp, _ := g.Raw(t).Connect(origin.Address)
		return resp.StatusCode == http.StatusOK
	})
}

// The clock that counts is the receiver's: what moves at 1 MB/s cannot have arrived sooner, however busy the machine is.
func TestTheRateOfADevice(t *testing.T) {
	const size, least = 3_000_000, 1500 * time.Millisecond // 3 s, less the burst and the buffers
	took := make(chan time.Duration, 2)
	origin := rig.Listen(t, func(c *net.TCPConn) {
		began := time.Now()
		n, _ := io.Copy(io.Discard, c)
		if n != size/2 {
			t.Errorf("the origin got %d bytes", n)
		}
		took <- time.Since(began)
	})
	g := rig.Start(t, rig.Allow(origin.Port)+"  per_device: {rate: 1MB/s}\n")
	// Two connections of one device share the rate.
	for range 2 {
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		go func() { // ends when all is sent
			_, _ = conn.Write(make([]byte, size/2))
			_ = conn.CloseWrite()
		}()
	}
	a, b := rig.Wait(t, "one upload is over", took), rig.Wait(t, "the other is", took)
	if max(a, b) < least {
		t.Errorf("%d bytes at 1 MB/s took %v and %v", size, a, b)
	}
}

// With fewer descriptors than clients the relay refuses in words, goes on serving, and is whole again afterwards.
func TestDescriptorsRunOut(t *testing.T) {
	origin := rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(origin.Port)+"  capacity: {devices: 1000}\n  per_device: {connections: 1000}\n", rig.Files(700))
	limit := g.Status(t).Relay.ConnectionsLimit
	if limit < 10 || limit > 350 {
		t.Fatalf("the limit of connections is %d", limit)
	}
	base := g.Descriptors(t)
	var open []*rig.Conn
	for range limit {
		conn := g.Raw(t)
		if resp, body := conn.Connect(origin.Address); resp.StatusCode != http.StatusOK {
			t.Fatalf("connection %d of %d got %s %s", len(open)+1, limit, resp.Status, body)
		}
		open = append(open, conn)
	}
	for range 100 {
		conn := g.Raw(t)
		conn.Send(rig.ConnectRequest(origin.Address))
		resp, body := conn.Answer("CONNECT")
		refused(t, resp, body, http.StatusServiceUnavailable, "descriptors")
		_ = conn.Close()
	}
	// All tunnels at once with more ready than a copy takes: what borrows pipes must not starve.
	for _, conn := range open {
		conn.Send(string(make([]byte, 64<<10)))
	}
	for _, conn := range open {
		conn.Expect(string(make([]byte, 64<<10)))
		_ = conn.Close()
	}
	rig.Until(t, "the relay has its descriptors back", func() bool {
		return g.Status(t).Relay.Connections == 0 && g.Descriptors(t) <= base+2
	})
}
