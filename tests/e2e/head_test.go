package e2e_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/tests/rig"
)

// Heads that two readers could read differently get an error, end the connection and reach no origin.
func TestHeadsThatAreRefused(t *testing.T) {
	origin := rig.Listen(t, echo)
	g := rig.Start(t, rig.Allow(origin.Port))
	url := "http://" + origin.Address + "/"
	host := "Host: " + origin.Address + "\r\n"
	get := "GET " + url + " HTTP/1.1\r\n" + host
	for _, c := range []struct {
		rule, request string
		status        int
	}{
		{"Content-Length and Transfer-Encoding", "POST " + url + " HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"two Content-Lengths", "POST " + url + " HTTP/1.1\r\n" + host + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400},
		{"two equal Content-Lengths", "POST " + url + " HTTP/1.1\r\n" + host + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400},
		{"a list of Content-Lengths", "POST " + url + " HTTP/1.1\r\n" + host + "Content-Length: 4, 4\r\n\r\nabcd", 400},
		{"a signed Content-Length", "POST " + url + " HTTP/1.1\r\n" + host + "Content-Length: +4\r\n\r\nabcd", 400},
		{"another transfer coding", "POST " + url + " HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		{"a misspelt transfer coding", "POST " + url + " HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501},
		{"Transfer-Encoding in HTTP/1.0", "POST " + url + " HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		{"a bare LF", "GET " + url + " HTTP/1.1\n" + host + "\r\n", 400},
		{"a bare LF at the end", get + "\n", 400},
		{"a bare CR", get + "X: a\rb\r\n\r\n", 400},
		{"a folded field", get + "X: a\r\n b\r\n\r\n", 400},
		{"a space before the colon", get + "X : a\r\n\r\n", 400},
		{"a space before the first field", "GET " + url + " HTTP/1.1\r\n X: a\r\n" + host + "\r\n", 400},
		{"a field without a name", get + ": a\r\n\r\n", 400},
		{"a NUL", get + "X: a\x00b\r\n\r\n", 400},
		{"two Hosts", get + host + "\r\n", 400},
		{"no Host", "GET " + url + " HTTP/1.1\r\n\r\n", 400},
		{"two spaces in the request line", "GET  " + url + " HTTP/1.1\r\n" + host + "\r\n", 400},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"HTTP/0.9", "GET " + url + "\r\n\r\n", 400},
		{"CONNECT with content", "CONNECT " + origin.Address + " HTTP/1.1\r\n" + host + "Content-Length: 4\r\n\r\nabcd", 400},
		{"a TLS client without CONNECT", clientHello(t, "x.example"), 400},
		{"an origin's request", "GET / HTTP/1.1\r\n" + host + "\r\n", 400},
		{"https in an absolute URI", "GET https://" + origin.Address + "/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"a user in the URI", "GET http://a:b@" + origin.Address + "/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"101 fields", get + strings.Repeat("X: a\r\n", 100) + "\r\n", 431},
		{"a head of 33 KiB", get + "X: " + strings.Repeat("a", 33<<10) + "\r\n\r\n", 431},
		{"a request line of 33 KiB", "GET " + url + strings.Repeat("a", 33<<10) + " HTTP/1.1\r\n" + host + "\r\n", 431},
	} {
		// The same must hold for the first request of a connection, behind another one, and behind a CONNECT that was
		// refused: three pieces of code read heads.
		for at, before := range map[string]func(*rig.Conn){
			"first":           func(*rig.Conn) {},
			"after a request": func(c *rig.Conn) { c.Send("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); c.Answer("OPTIONS") },
			"after a CONNECT": func(c *rig.Conn) { c.Connect("192.0.2.7:443") },
		} {
			t.Run(c.rule+"/"+at, func(t *testing.T) {
				conn := g.Raw(t)
				before(conn)
				conn.Send(c.request)
				resp, body := conn.Answer("GET")
				if resp.StatusCode != c.status {
					t.Errorf("status is %d, want %d: %s", resp.StatusCode, c.status, body)
				}
				if c.status != http.StatusBadRequest || !strings.HasPrefix(body, "not-a-proxy-request") {
					conn.ExpectEnd()
				}
			})
		}
	}
	if n := origin.Total(); n != 0 {
		t.Errorf("the origin got %d connections", n)
	}
}

// Behind a good request in the same segment stands a bad one: the first gets its answer, the second its refusal.
func TestAPipelinedBadHeadDoesNotSpoilTheRequestBeforeIt(t *testing.T) {
	_, port := rig.HTTP(t, false, hello)
	g := rig.Start(t, rig.Allow(port))
	good := "GET http://127.0.0.1:" + port + "/first HTTP/1.1\r\nHost: 127.0.0.1:" + port + "\r\n\r\n"
	for range 20 { // the order of two goroutines decides
		conn := g.Raw(t)
		conn.Send(good + "GET http://127.0.0.1:" + port + "/second HTTP/1.1\r\nHost : x\r\n\r\n")
		if resp, body := conn.Answer("GET"); resp.StatusCode != http.StatusOK || body != "GET /first 0" {
			t.Fatalf("the first request got %s %q", resp.Status, body)
		}
		if resp, _ := conn.Answer("GET"); resp.StatusCode != http.StatusBadRequest {
			t.Fatalf("the second request got %s", resp.Status)
		}
		conn.ExpectEnd()
	}
}

func TestASlowHeadIsClosed(t *testing.T) {
	_, port := rig.HTTP(t, false, hello)
	g := rig.Start(t, rig.Allow(port)+"  timeouts: {head: 300ms}\n")
	get := "GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n"
	t.Run("silent", func(t *testing.T) { g.Raw(t).ExpectEnd() })
	t.Run("half a head and silence", func(t *testing.T) {
		conn := g.Raw(t)
		conn.Send(get)
		conn.ExpectEnd()
	})
	t.Run("half a head behind a request, and silence", func(t *testing.T) {
		conn := g.Raw(t)
		conn.Send(get + "\r\n")
		conn.Answer("GET")
		conn.Send(get)
		conn.ExpectEnd()
	})
	t.Run("a drip", func(t *testing.T) {
		conn := g.Raw(t)
		conn.Send("GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\nX: ")
		ended := make(chan error, 1)
		go func() {
			_, err := conn.Rest()
			ended <- err
		}()
		for {
			select {
			case <-ended: // a reset is an end too: the last drops came after it
				return
			default:
			}
			_, _ = conn.Write([]byte("a"))
		}
	})
	rig.Until(t, "the relay has closed its side too", func() bool { return g.Status(t).Relay.Connections == 0 })
}

// Eight MiB of header that never end must not be kept.
func TestAnEndlessHeadIsCutOff(t *testing.T) {
	g := rig.Start(t, rig.Allow("1"))
	conn := g.Raw(t)
	conn.Send("GET http://127.0.0.1:1/ HTTP/1.1\r\nX: ")
	sent := 0
	for chunk := []byte(strings.Repeat("a", 64<<10)); sent < 64<<20; {
		n, err := conn.Write(chunk)
		sent += n
		if err != nil {
			if _, ok := err.(net.Error); !ok {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("the relay took %d bytes of one head", sent)
}
