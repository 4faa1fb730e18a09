package head_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/head"
)

// pair returns both ends of a TCP connection on loopback.
func pair(t testing.TB) (client, server *net.TCPConn) {
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

func edge(t testing.TB) (*net.TCPConn, *head.Conn) {
	client, server := pair(t)
	return client, head.New(server, mfpgate.SystemClock{}, 10*time.Second)
}

func TestReadHeadRefuses(t *testing.T) {
	const host = "Host: a.example\r\n"
	for _, tc := range []struct {
		rule, in string
		status   int
	}{
		{"bare LF ends the head", "GET http://a.example/ HTTP/1.1\nHost: a.example\n\n", 400},
		{"bare LF ends one line", "GET http://a.example/ HTTP/1.1\r\nHost: a.example\n\r\n", 400},
		{"bare LF inside a value", "GET http://a.example/ HTTP/1.1\r\nHost: a.example\nX: 1\r\n\r\n", 400},
		{"bare CR inside a value", "GET http://a.example/ HTTP/1.1\r\nX: 1\rY: 2\r\n" + host + "\r\n", 400},
		{"NUL inside a value", "GET http://a.example/ HTTP/1.1\r\nX: 1\x00\r\n" + host + "\r\n", 400},
		{"folded field", "GET http://a.example/ HTTP/1.1\r\n" + host + "X: 1\r\n 2\r\n\r\n", 400},
		{"folded first field", "GET http://a.example/ HTTP/1.1\r\n X: 1\r\n" + host + "\r\n", 400},
		{"space before the colon", "GET http://a.example/ HTTP/1.1\r\n" + host + "Content-Length : 5\r\n\r\n", 400},
		{"field without a colon", "GET http://a.example/ HTTP/1.1\r\n" + host + "X\r\n\r\n", 400},
		{"length and coding", "POST http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"coding and length", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
		{"two lengths that differ", "POST http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
		{"two lengths that agree", "POST http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
		{"a list of lengths", "POST http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 5, 5\r\n\r\n", 400},
		{"a signed length", "POST http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: +5\r\n\r\n", 400},
		{"an overflowing length", "POST http://a.example/ HTTP/1.1\r\n" + host + "Content-Length: 9223372036854775808\r\n\r\n", 400},
		{"an unknown coding", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"coding twice", "POST http://a.example/ HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"coding in HTTP/1.0", "POST http://a.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		{"content on CONNECT", "CONNECT a.example:443 HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\n", 400},
		{"no Host", "GET http://a.example/ HTTP/1.1\r\n\r\n", 400},
		{"two Hosts", "GET http://a.example/ HTTP/1.1\r\n" + host + host + "\r\n", 400},
		{"two spaces", "GET  http://a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"no version", "GET http://a.example/\r\n" + host + "\r\n", 400},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		{"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		{"two empty lines first", "\r\n\r\nGET http://a.example/ HTTP/1.1\r\n" + host + "\r\n", 400},
		{"over 32 KiB", "GET http://a.example/ HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 33<<10) + "\r\n\r\n", 431},
		{"over 32 KiB without an end", strings.Repeat("x", 33<<10), 431},
		{"over 100 fields", "GET http://a.example/ HTTP/1.1\r\n" + host + strings.Repeat("X: 1\r\n", 100) + "\r\n", 431},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			client, conn := edge(t)
			go func() { // ends when the test's cleanup closes the connection
				_, _ = io.WriteString(client, tc.in)
			}()
			h, err := conn.ReadHead()
			var refused *head.Error
			if !errors.As(err, &refused) || refused.Status != tc.status {
				t.Fatalf("ReadHead() = %+v, %v; want status %d", h, err, tc.status)
			}
		})
	}
}

func TestReadHeadTakesAnySegmentation(t *testing.T) {
	const text = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nProxy-Connection: keep-alive\r\n\r\nearly"
	client, conn := edge(t)
	if err := client.SetNoDelay(true); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with its input
		for i := range len(text) {
			_, _ = io.WriteString(client, text[i:i+1])
		}
	}()
	h, err := conn.ReadHead()
	if err != nil {
		t.Fatal(err)
	}
	if h.Method != "CONNECT" || h.Target != "a.example:443" || h.Minor != 1 || !h.KeepAlive() {
		t.Errorf("head = %+v", h)
	}
	conn.Consume()
	early := conn.Early()
	rest := make([]byte, 5-len(early))
	if _, err := io.ReadFull(conn.TCPConn, rest); err != nil {
		t.Fatal(err)
	}
	if got := string(early) + string(rest); got != "early" {
		t.Errorf("behind the head: %q", got)
	}
}

// TestServerSeesWhatTheEdgeSaw serves pipelined requests with net/http behind the edge.
func TestServerSeesWhatTheEdgeSaw(t *testing.T) {
	for _, tc := range []struct {
		rule, in string
		want     []string // bodies that the handler read; "refused N" for a stand-in
	}{
		{"a length, chunks with a trailer, and none",
			"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" +
				"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\ndef\r\n2\r\ngh\r\n0\r\nT: 1\r\n\r\n" +
				"GET http://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			[]string{"abc", "defgh", ""}},
		{"a bad head behind a good one is answered in its turn",
			"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n",
			[]string{"", "refused 400"}},
		{"a request hidden in a body stays a body",
			"POST http://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 35\r\n\r\nGET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n",
			[]string{"GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n"}},
		{"a bare LF in chunk framing ends the connection",
			"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
			[]string{"error"}},
		{"a chunk longer than its size ends the connection",
			"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
			[]string{"error"}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			client, server := pair(t)
			got := serve(t, client, server, tc.in)
			if strings.Join(got, "|") != strings.Join(tc.want, "|") {
				t.Errorf("the handler saw %q, want %q", got, tc.want)
			}
		})
	}
}

// oneListener gives one connection, and then waits until it is closed.
type oneListener struct {
	conn chan net.Conn
	addr net.Addr
}

func (l *oneListener) Accept() (net.Conn, error) {
	c, ok := <-l.conn
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return l.addr }

// serve sends in, and returns what a handler behind the edge saw until the connection's end.
func serve(t testing.TB, client, server *net.TCPConn, in string) (saw []string) {
	t.Helper()
	conn := head.New(server, mfpgate.SystemClock{}, 10*time.Second)
	ended := make(chan struct{})
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refused := conn.Refusal(r); refused != nil {
				saw = append(saw, "refused "+strconv.Itoa(refused.Status))
				w.WriteHeader(refused.Status)
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				saw = append(saw, "error")
				panic(http.ErrAbortHandler)
			}
			saw = append(saw, string(body))
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				close(ended)
			}
		},
	}
	go func() { // ends when the connection's other side has gone
		_, _ = io.WriteString(client, in)
		_ = client.CloseWrite()
		_, _ = io.Copy(io.Discard, client)
	}()
	h, err := conn.ReadHead()
	if err != nil {
		t.Fatal(err)
	}
	conn.Release(h)
	l := &oneListener{conn: make(chan net.Conn, 1), addr: server.LocalAddr()}
	l.conn <- conn
	close(l.conn)
	_ = srv.Serve(l)
	<-ended
	return saw
}

func TestTunnelBytesBehindNetHTTPAreGivenBack(t *testing.T) {
	client, server := pair(t)
	conn := head.New(server, mfpgate.SystemClock{}, 10*time.Second)
	const tail = "\x16\x03\x01 no head\n\nat all"
	_, err := io.WriteString(client, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\nCONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"+tail)
	if err != nil {
		t.Fatal(err)
	}
	h, err := conn.ReadHead()
	if err != nil {
		t.Fatal(err)
	}
	conn.Release(h)
	r := bufio.NewReader(conn)
	for _, method := range []string{"GET", "CONNECT"} {
		req, err := http.ReadRequest(r)
		if err != nil || req.Method != method {
			t.Fatalf("request %+v, %v; want %s", req, err, method)
		}
	}
	buffered, _ := r.Peek(r.Buffered())
	conn.Unread(buffered)
	early := conn.Early()
	rest := make([]byte, len(tail)-len(early))
	if _, err := io.ReadFull(conn.TCPConn, rest); err != nil {
		t.Fatal(err)
	}
	if got := string(early) + string(rest); got != tail {
		t.Errorf("behind the CONNECT: %q, want %q", got, tail)
	}
}

// FuzzEdge holds the edge against net/http: where the edge lets a stream of requests through, net/http must see the same
// requests with the same bodies, however the stream is cut.
func FuzzEdge(f *testing.F) {
	for _, s := range []string{
		"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET http://a/ HTTP/1.0\r\n\r\n",
		"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"\r\nCONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03",
		"GET http://a/ HTTP/1.1\nHost: a\n\n",
	} {
		f.Add([]byte(s), 7)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		client, server := pair(t)
		go func() { // ends when the cleanup closes the connection
			k := max(0, min(cut, len(in)))
			_, _ = client.Write(in[:k])
			_, _ = client.Write(in[k:])
			_ = client.CloseWrite()
			_, _ = io.Copy(io.Discard, client)
		}()
		conn := head.New(server, mfpgate.SystemClock{}, 10*time.Second)
		h, err := conn.ReadHead()
		if err != nil {
			return
		}
		if h.Method == "" || strings.ContainsAny(h.Method+h.Target, " \r\n\t") {
			t.Fatalf("head = %+v", h)
		}
		conn.Release(h)
		var given bytes.Buffer
		r := bufio.NewReader(io.TeeReader(conn, &given))
		requests := 0
		for ; ; requests++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				break
			}
			if req.Header.Get("Transfer-Encoding") != "" && req.ContentLength >= 0 && len(req.TransferEncoding) > 0 {
				t.Fatalf("net/http saw two framings in %q", given.Bytes())
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil || req.Method == http.MethodConnect {
				break
			}
		}
		if requests == 0 && h.Method != http.MethodConnect {
			// net/http may be stricter about the target, never about where the head ends.
			if _, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(given.Bytes()))); errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("the edge released a part of a head: %q", given.Bytes())
			}
		}
	})
}
