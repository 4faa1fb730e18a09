package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
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
	for i := range limit { // of several addresses: one alone may hold a quarter
		conn := g.Raw(t, fmt.Sprintf("127.0.2.%d", 1+i/50))
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

// One address that holds what it may, device known or not, leaves room for the others.
func TestOneAddressCannotHoldEveryConnection(t *testing.T) {
	origin := rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(origin.Port)+"  per_device: {connections: 1000}\n", rig.Files(700))
	limit := g.Status(t).Relay.ConnectionsLimit
	for i := 0; ; i++ {
		conn := g.Raw(t, "127.0.2.1")
		resp, body := conn.Connect(origin.Address)
		if resp.StatusCode == http.StatusOK && i < limit {
			continue
		}
		refused(t, resp, body, http.StatusTooManyRequests, "address-connections")
		break
	}
	if resp, body := g.Raw(t, "127.0.2.2").Connect(origin.Address); resp.StatusCode != http.StatusOK {
		t.Errorf("another address got %s %s", resp.Status, body)
	}
}

// The rate is of the device, whatever it speaks.
func TestTheRateOfPlainUploads(t *testing.T) {
	const size = 3 << 20
	_, port := rig.HTTP(t, false, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	g := rig.Start(t, rig.Allow(port)+"  per_device: {rate: 1MB/s}\n")
	began := time.Now()
	resp, err := g.Client(t).Post("http://127.0.0.1:"+port+"/", "application/octet-stream", bytes.NewReader(make([]byte, size)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if took := time.Since(began); took < 2500*time.Millisecond {
		t.Errorf("%d bytes at 1 MB/s took %v", size, took)
	}
}

// A device that waits for an answer is no work for the relay: its place is another's.
func TestAWaitForAnAnswerHoldsNoSlot(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	_, port := rig.HTTP(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/poll" {
			close(asked)
			<-answer
		}
		_, _ = io.WriteString(w, "answered")
	})
	g := rig.Start(t, rig.Allow(port)+"  capacity: {devices: 1, linger: 50ms, queue_timeout: 10s}\n")
	poll := g.Raw(t, "127.0.2.1")
	poll.Send("GET http://127.0.0.1:" + port + "/poll HTTP/1.1\r\nHost: x\r\n\r\n")
	rig.Wait(t, "the poll is at the origin", asked)
	other := g.Raw(t, "127.0.2.2")
	other.Send("GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, body := other.Answer("GET"); resp.StatusCode != http.StatusOK {
		t.Errorf("the other device got %s %s", resp.Status, body)
	}
	close(answer)
	if resp, body := poll.Answer("GET"); body != "answered" {
		t.Errorf("the poll got %s %q", resp.Status, body)
	}
}

// A plain request is cut like a tunnel when nothing moves for the idle time of its destination.
func TestSilentPlainRequestsAreCut(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	_, port := rig.HTTP(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/midway" {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-done:
		case <-r.Context().Done():
		}
	})
	g := rig.Start(t, "  allow: [{host: 127.0.0.1, ports: ["+port+"], private: true, idle: 300ms}]\n")
	conn := g.Raw(t)
	conn.Send("GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, body := conn.Answer("GET")
	refused(t, resp, body, http.StatusGatewayTimeout, "origin-silent")
	midway := g.Raw(t)
	midway.Send("GET http://127.0.0.1:" + port + "/midway HTTP/1.1\r\nHost: x\r\n\r\n")
	if text, err := midway.Rest(); err == nil && strings.HasSuffix(text, "0\r\n\r\n") {
		t.Errorf("the answer that stopped midway looks whole: %q", text)
	}
	g.Log.Event(t, event.RelayServed, field.Outcome, "origin-silent")
}

// An urgent byte (RFC 6093), at which splice(2) stops, neither stops a tunnel nor makes it spin.
func TestUrgentDataDoNotStopATunnel(t *testing.T) {
	got := make(chan int, 1)
	origin := rig.Listen(t, func(c *net.TCPConn) {
		n, _ := io.Copy(io.Discard, c)
		got <- int(n)
	})
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	conn.Connect(origin.Address)
	const size = 40000
	conn.Send(strings.Repeat("a", 100))
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte("!"), unix.MSG_OOB, nil) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.Send(strings.Repeat("a", size))
	_ = conn.CloseWrite()
	if n := rig.Wait(t, "the origin has the stream's end", got); n < size+100 {
		t.Errorf("%d bytes came, want at least %d", n, size+100)
	}
}
