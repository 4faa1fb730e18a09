package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/rig"
)

func TestATunnelIsAnsweredInWordsThatOldClientsCompare(t *testing.T) {
	origin := rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(origin.Port))
	for _, version := range []string{"1.1", "1.0"} {
		conn := g.Raw(t)
		conn.Send("CONNECT " + origin.Address + " HTTP/" + version + "\r\nHost: " + origin.Address + "\r\n\r\n")
		conn.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
		conn.Send("x")
		conn.Expect("x")
	}
	conn := g.Raw(t)
	conn.Send("CONNECT " + origin.Address + " HTTP/1.0\r\n\r\n") // HTTP/1.0 needs no Host
	conn.Expect("HTTP/1.1 200 Connection established\r\n\r\n")
}

func TestBytesBehindTheConnectAreKept(t *testing.T) {
	origin := rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(origin.Port))
	for _, early := range []string{"x", strings.Repeat("early data ", 3000)} { // within and beyond the head's own read
		conn := g.Raw(t)
		conn.Send(rig.ConnectRequest(origin.Address) + early)
		conn.Answer("CONNECT")
		conn.Expect(early)
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		conn.ExpectEnd()
	}
}

func TestTheServerMaySpeakFirst(t *testing.T) {
	origin := rig.Listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "220 ready\r\n")
		echo(c)
	})
	g := rig.Start(t, rig.Allow(origin.Port))
	conn := g.Raw(t)
	conn.Connect(origin.Address)
	conn.Expect("220 ready\r\n")
	conn.Send("EHLO\r\n")
	conn.Expect("EHLO\r\n")
}

// Each side may end its stream and still get the other's, byte for byte.
func TestHalfCloses(t *testing.T) {
	const size = 8 << 20
	upload, download := noise(1, size), noise(2, size)
	sum := make(chan [32]byte, 1)
	t.Run("the client ends first", func(t *testing.T) {
		origin := rig.Listen(t, func(c *net.TCPConn) {
			got, _ := io.ReadAll(c) // the client's end
			sum <- sha256.Sum256(got)
			_, _ = c.Write(download)
		})
		g := rig.Start(t, rig.Allow(origin.Port))
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		conn.Send(string(upload))
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := rig.Wait(t, "the origin has the upload", sum); got != sha256.Sum256(upload) {
			t.Error("the upload arrived changed")
		}
		if got, err := conn.Rest(); err != nil || !bytes.Equal([]byte(got), download) {
			t.Errorf("the download arrived changed: %d bytes, %v", len(got), err)
		}
		e := g.Log.Event(t, event.RelayClosed)
		if e.Str(field.Outcome) != "closed" || e.Int(field.BytesUp) != size || e.Int(field.BytesDown) != size {
			t.Errorf("event is %v", e)
		}
	})
	t.Run("the origin ends first", func(t *testing.T) {
		origin := rig.Listen(t, func(c *net.TCPConn) {
			_, _ = c.Write(download)
			_ = c.CloseWrite()
			got, _ := io.ReadAll(c)
			sum <- sha256.Sum256(got)
		})
		g := rig.Start(t, rig.Allow(origin.Port))
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		if got, err := conn.Rest(); err != nil || !bytes.Equal([]byte(got), download) {
			t.Errorf("the download arrived changed: %d bytes, %v", len(got), err)
		}
		conn.Send(string(upload))
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := rig.Wait(t, "the origin has the upload", sum); got != sha256.Sum256(upload) {
			t.Error("the upload arrived changed")
		}
	})
}

// noise is the same for the same seed, and does not compress.
func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func TestAResetTravelsOn(t *testing.T) {
	t.Run("from the client", func(t *testing.T) {
		ended := make(chan error, 1)
		origin := rig.Listen(t, func(c *net.TCPConn) {
			_, err := io.Copy(io.Discard, c)
			ended <- err
		})
		g := rig.Start(t, rig.Allow(origin.Port))
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		conn.Reset()
		if err := rig.Wait(t, "the origin sees the end", ended); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the origin saw %v", err)
		}
		g.Log.Event(t, event.RelayClosed, field.Outcome, "client-reset")
	})
	t.Run("from the origin", func(t *testing.T) {
		origin := rig.Listen(t, func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0)
		})
		g := rig.Start(t, rig.Allow(origin.Port))
		conn := g.Raw(t)
		conn.Connect(origin.Address)
		conn.Send("x")
		if _, err := conn.Rest(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client saw %v", err)
		}
		g.Log.Event(t, event.RelayClosed, field.Outcome, "origin-reset")
	})
}

func TestAnIdleTunnelIsCut(t *testing.T) {
	origin := rig.Listen(t, echo)
	quick := rig.Listen(t, echo)
	g := rig.Start(t, "  timeouts: {idle: 1h}\n  allow:\n    - {host: 127.0.0.1, ports: ["+quick.Port+"], private: true, idle: 300ms}\n"+
		"    - {host: 127.0.0.1, ports: ["+origin.Port+"], private: true}\n")
	stays, conn := g.Raw(t), g.Raw(t)
	stays.Connect(origin.Address)
	conn.Connect(quick.Address)
	conn.Send("x")
	conn.Expect("x")
	conn.ExpectEnd()
	g.Log.Event(t, event.RelayClosed, field.Outcome, "idle")
	stays.Send("x")
	stays.Expect("x")
}

// A device that gives up must not keep the relay dialling, nor its slot.
func TestAnAbandonedDialIsCancelled(t *testing.T) {
	deaf := rig.Deaf(t)
	g := rig.Start(t, rig.Allow(deaf.Port)+"  timeouts: {dial: 5m}\n  capacity: {devices: 1}\n")
	for method, request := range map[string]string{
		"CONNECT": rig.ConnectRequest(deaf.Address),
		"GET":     "GET http://" + deaf.Address + "/ HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(method, func(t *testing.T) {
			conn := g.Raw(t)
			conn.Send(request)
			rig.Until(t, "the relay dials", func() bool { return g.Status(t).Relay.Served == 1 })
			_ = conn.Close()
			rig.Until(t, "the slot is free and the connection gone", func() bool {
				s := g.Status(t).Relay
				return s.Served == 0 && s.Connections == 0 && len(g.Slots(t)) == 0
			})
			g.Log.Event(t, event.RelayRefused, field.Reason, "client-left", field.Method, method)
			rig.Until(t, "the relay dials no more", func() bool { return rig.Sockets(t, "02", deaf.Port) == 0 })
		})
	}
}

func TestAClientMayLeaveWhileItWaits(t *testing.T) {
	origin := rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(origin.Port)+"  capacity: {devices: 1, linger: 10m, queue_timeout: 10m}\n")
	g.Raw(t, "127.0.0.1").Connect(origin.Address)
	waits := g.Raw(t, "127.0.0.2")
	waits.Send(rig.ConnectRequest(origin.Address))
	rig.Until(t, "the second device waits", func() bool { return g.Status(t).Relay.Queued == 1 })
	_ = waits.Close()
	rig.Until(t, "its place is free", func() bool { return g.Status(t).Relay.Queued == 0 })
	g.Log.Event(t, event.RelayRefused, field.Reason, "client-left")
}

func TestAQueuedDeviceIsToldToComeBack(t *testing.T) {
	origin := rig.Listen(t, echo)
	_, port := rig.HTTP(t, false, hello)
	g := rig.Start(t, rig.Allow(origin.Port, port)+"  capacity: {devices: 1, linger: 10m, queue_timeout: 1s}\n")
	first := g.Raw(t, "127.0.0.1")
	first.Connect(origin.Address)
	waits := g.Raw(t, "127.0.0.2")
	for _, c := range []struct{ method, request string }{
		{"CONNECT", rig.ConnectRequest(origin.Address)},
		{"GET", "GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n"},
	} {
		waits.Send(c.request)
		resp, body := waits.Answer(c.method)
		refused(t, resp, body, http.StatusServiceUnavailable, "queue-timeout")
		if resp.Header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
		}
	}
	// The device that is served may open more.
	if resp, _ := g.Raw(t, "127.0.0.1").Connect(origin.Address); resp.StatusCode != http.StatusOK {
		t.Errorf("the served device got %s", resp.Status)
	}
}
