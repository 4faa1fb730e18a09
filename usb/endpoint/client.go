package endpoint

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
)

// A client has to move when the printer waits for it: it has the grace, which each KiB that moves restores by a second.
const (
	grace   = time.Minute
	minRate = 1 << 10 // bytes a second
)

// client is who is at the other end of a request.
type client struct {
	w       http.ResponseWriter
	control *http.ResponseController
	clock   mfpgate.Clock
	body    clientBody
	out     patience
	began   time.Time
	status  int
	up      int64       // bytes from the printer
	over    atomic.Bool // the request is over: the connection's deadlines are the server's again

	mu      sync.Mutex
	failure error // of reading the body
}

// patience is what is left of the grace.
type patience struct{ left time.Duration }

// waited takes the time that moving n bytes took from the patience, and gives it what they are worth.
func (p *patience) waited(took time.Duration, n int) {
	p.left = min(grace, p.left-took+time.Duration(n)*time.Second/minRate)
}

type clientKey struct{}

func newClient(w http.ResponseWriter, r *http.Request, clock mfpgate.Clock) *client {
	c := &client{w: w, control: http.NewResponseController(w), clock: clock, out: patience{grace}, began: clock.Now()}
	c.body = clientBody{ReadCloser: r.Body, client: c, patience: patience{grace}}
	return c
}

// request is r with its body watched. The printer is sent the whole of it even where it answers before all has come.
func (c *client) request(r *http.Request) *http.Request {
	_ = c.control.EnableFullDuplex()
	r = r.WithContext(context.WithValue(r.Context(), clientKey{}, c))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &c.body
	}
	return r
}

func (c *client) writer() http.ResponseWriter { return &clientWriter{ResponseWriter: c.w, client: c} }

func clientOf(r *http.Request) *client {
	c, _ := r.Context().Value(clientKey{}).(*client)
	return c
}

// fault is why the body could not be read: the client's doing, and not the printer's.
func (c *client) fault() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// leave gives the last of the answer its time.
func (c *client) leave() {
	c.over.Store(true)
	_ = c.control.SetWriteDeadline(c.clock.Now().Add(grace))
}

// clientBody is a request's body. One goroutine reads it.
type clientBody struct {
	io.ReadCloser
	client *client
	moved  atomic.Int64
	patience
}

func (b *clientBody) Read(p []byte) (int, error) {
	c := b.client
	if c.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	began := c.clock.Now()
	_ = c.control.SetReadDeadline(began.Add(b.left))
	n, err := b.ReadCloser.Read(p)
	if !c.over.Load() {
		_ = c.control.SetReadDeadline(time.Time{})
	}
	b.waited(c.clock.Now().Sub(began), n)
	b.moved.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.mu.Lock()
		c.failure = err
		c.mu.Unlock()
	}
	return n, err
}

// clientWriter is the way back.
type clientWriter struct {
	http.ResponseWriter
	client *client
}

// Unwrap is for http.ResponseController.
func (w *clientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the status.
func (w *clientWriter) WriteHeader(status int) {
	w.client.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *clientWriter) Write(b []byte) (n int, err error) {
	return w.wait(func() (int, error) { return w.ResponseWriter.Write(b) })
}

// FlushError is for http.ResponseController.
func (w *clientWriter) FlushError() error {
	_, err := w.wait(func() (int, error) { return 0, w.client.control.Flush() })
	return err
}

func (w *clientWriter) wait(write func() (int, error)) (n int, err error) {
	c := w.client
	began := c.clock.Now()
	_ = c.control.SetWriteDeadline(began.Add(c.out.left))
	n, err = write()
	c.out.waited(c.clock.Now().Sub(began), n)
	c.up += int64(n)
	return n, err
}
