package model

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// IPP is a printer's IPP server, one for all of its IPP-USB interfaces.
type IPP struct {
	printer *Printer

	mu       sync.Mutex
	answers  []Answer
	usual    Answer
	requests []Request
	asked    int64
	jobs     []*job
	steps    []Step
	busy     int
	most     int // requests at once
	conns    int
	supplies []Marker
}

// Request is one that came.
type Request struct {
	Method, Path, Proto, Host string
	Header                    http.Header
	Chunked                   bool
	Operation                 string // IPP's, where it was understood
	Body                      int64  // bytes; fewer than were announced where the host went away
	Whole                     bool   // the body came to its end
}

// Answer is how a request is answered; the zero value is well, with a Content-Length.
type Answer struct {
	Chunked bool            // the body in chunks
	Pad     int             // so many bytes more in the body, in an attribute of their own kind
	Status  int             // of HTTP, in place of an answer: 503 of a printer that is still starting
	Cut     int             // the body stops after so many bytes, and the device's end of the connection closes without a word; 0: it does not
	Garbage bool            // bytes that are no HTTP
	Silent  bool            // nothing, for ever
	Early   bool            // before the body was read
	Delay   time.Duration   // between request and answer
	Until   <-chan struct{} // the answer waits until it is closed; nil: it does not
	Server  string          // header Server
}

// rememberedRequests bounds Requests.
const rememberedRequests = 256

func newIPP(p *Printer) *IPP {
	return &IPP{printer: p, steps: DefaultSteps(), supplies: DefaultMarkers()}
}

// Next says how the next requests are answered, in order; behind them as Always says.
func (s *IPP) Next(answers ...Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers = append(s.answers, answers...)
}

// Always says how requests are answered for which Next says nothing.
func (s *IPP) Always(a Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usual = a
}

// Requests are the last requests whose answer has begun.
func (s *IPP) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Asked is how many requests were answered, or refused an answer.
func (s *IPP) Asked() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// AtOnce is how many requests were under way at once, at most.
func (s *IPP) AtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// Connections is how many connections the server has had: one for each interface, and one more whenever it closed one.
func (s *IPP) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// serve is one interface's server, connection after connection over the same endpoints.
func (s *IPP) serve(ctx context.Context, pair Pair) {
	next := &listener{ctx: ctx, pair: pair, free: make(chan struct{}, 1), count: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns++
	}}
	next.free <- struct{}{}
	server := &http.Server{Handler: http.HandlerFunc(s.handle), BaseContext: func(net.Listener) context.Context { return ctx }}
	_ = server.Serve(next) // ends with ctx
	<-next.free            // the last connection's goroutine has ended
}

// listener has one connection at a time.
type listener struct {
	ctx   context.Context
	pair  Pair
	free  chan struct{} // holds a token while there is no connection
	count func()
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.free:
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
	if l.ctx.Err() != nil {
		l.free <- struct{}{}
		return nil, net.ErrClosed
	}
	l.count()
	c := newConn(l.ctx, l.pair.Out, l.pair.In)
	var once sync.Once
	c.closed = func() { once.Do(func() { l.free <- struct{}{} }) }
	return c, nil
}

func (l *listener) Close() error   { return nil }
func (l *listener) Addr() net.Addr { return address{} }

// handle answers one request.
func (s *IPP) handle(w http.ResponseWriter, r *http.Request) {
	answer := s.begin()
	defer s.end()
	request := Request{Method: r.Method, Path: r.URL.Path, Proto: r.Proto, Host: r.Host, Header: maps.Clone(r.Header),
		Chunked: slices.Contains(r.TransferEncoding, "chunked")}
	body := &counter{r: r.Body}
	var out []byte
	status, kind := http.StatusOK, "application/ipp"
	switch {
	case answer.Early:
	case answer.Status != 0:
		_, _ = io.Copy(io.Discard, body)
		status, kind, out = answer.Status, "text/html", []byte("<html><body>not now</body></html>\n")
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/ipp/"):
		request.Operation, out, status = s.operate(body, answer.Pad)
	default:
		_, _ = io.Copy(io.Discard, body)
		kind, out = "text/html", append([]byte("<html><body>"+s.printer.options.Model+"</body></html>\n"), make([]byte, answer.Pad)...)
		if r.URL.Path != "/" {
			status = http.StatusNotFound
		}
	}
	request.Body, request.Whole = body.n, body.err == io.EOF
	s.note(request)
	if !answer.wait(r.Context()) {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", kind)
	if answer.Server != "" {
		w.Header().Set("Server", answer.Server)
	}
	switch {
	case answer.Garbage:
		hijack(w, []byte("\x00\x00\x00\x1bI AM NOT HTTP\r\n\r\n"))
	case answer.Cut > 0:
		head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", status, http.StatusText(status), kind, max(len(out), answer.Cut+1))
		hijack(w, append([]byte(head), out[:min(answer.Cut, len(out))]...))
	case answer.Chunked:
		w.WriteHeader(status)
		for part := range slices.Chunk(out, 3000) {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush() // what does not come is seen by the host
		}
	default:
		w.Header().Set("Content-Length", fmt.Sprint(len(out)))
		w.WriteHeader(status)
		_, _ = w.Write(out)
	}
}

// wait is the time before an answer; it says false where none comes.
func (a Answer) wait(ctx context.Context) bool {
	var timer <-chan time.Time
	if a.Delay > 0 {
		timer = time.After(a.Delay)
		select {
		case <-timer:
		case <-ctx.Done():
		}
	}
	if a.Until != nil {
		select {
		case <-a.Until:
		case <-ctx.Done():
		}
	}
	if a.Silent {
		<-ctx.Done()
	}
	return ctx.Err() == nil
}

// hijack sends bytes and closes the device's end, of which the host learns nothing.
func hijack(w http.ResponseWriter, b []byte) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // the connection is ours
	}
	defer c.Close()
	_, _ = c.Write(b) // what does not come is seen by the host
}

func (s *IPP) begin() Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	s.most = max(s.most, s.busy)
	if len(s.answers) == 0 {
		return s.usual
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer
}

func (s *IPP) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
}

func (s *IPP) note(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.requests = append(s.requests, r)
	s.requests = slices.Delete(s.requests, 0, max(len(s.requests)-rememberedRequests, 0))
}

// counter counts what is read.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
