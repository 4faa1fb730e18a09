package ipp

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Options are what a Client is built from.
type Options struct {
	Clock     mfpgate.Clock
	Timeout   time.Duration // of one exchange, from the dial to the answer's last byte; 0: 10 s
	Sent      func()        // called before each request, by the goroutine that sends it; may be nil
	UserAgent string        // empty: mfpgate
}

// Client asks printers. Its methods may be called from many goroutines; how many ask at once is for the caller to bound.
type Client struct {
	clock     mfpgate.Clock
	timeout   time.Duration
	sent      func()
	userAgent string
	transport *http.Transport

	mu       sync.Mutex
	dialects map[mfpgate.Endpoint]dialect // what printers need that do not understand the first
}

// New returns a client that has nothing open yet.
func New(o Options) *Client {
	c := &Client{
		clock: o.Clock, timeout: o.Timeout, sent: o.Sent, userAgent: o.UserAgent,
		transport: newTransport(), dialects: map[mfpgate.Endpoint]dialect{},
	}
	if c.timeout <= 0 {
		c.timeout = 10 * time.Second
	}
	if c.sent == nil {
		c.sent = func() {}
	}
	if c.userAgent == "" {
		c.userAgent = "mfpgate"
	}
	return c
}

// Close forgets what was learnt of the printers. Calls in flight end with their contexts; nothing else is left open.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.dialects)
}

// Identify asks the printer at the endpoint who it is. The sighting's only endpoint is the one that answered; its id is
// "ipp:" and URI of that endpoint. It takes one exchange, up to five with a printer that is met for the first time and
// speaks an old version. A device that describes no printer is ErrNotPrinter.
func (c *Client) Identify(ctx context.Context, e mfpgate.Endpoint) (mfpgate.Sighting, error) {
	t, err := newTarget(e)
	if err != nil {
		return mfpgate.Sighting{}, err
	}
	a, err := c.ask(ctx, t, identityNames())
	if err != nil {
		return mfpgate.Sighting{}, fmt.Errorf("identify %s: %w", t.uri, err)
	}
	return a.sighting(t, c.clock.Now()), nil
}

func (a attributes) sighting(t target, at time.Time) mfpgate.Sighting {
	return mfpgate.Sighting{
		ID:        mfpgate.NewSightingID(mfpgate.SourceIPP, t.place),
		At:        at,
		Identity:  a.identity(),
		Name:      a.first("printer-dns-sd-name", "printer-name", "printer-info"),
		Location:  a.text("printer-location"),
		Firmware:  a.firmware(),
		Endpoints: []mfpgate.Endpoint{t.endpoint},
		Answered:  true,
	}
}

// Read asks the printer at the endpoint for the parts, all in one exchange. A part that the printer does not have is nil;
// the status is always there when asked for, with PrinterUnknown if the printer does not say.
func (c *Client) Read(ctx context.Context, e mfpgate.Endpoint, parts mfpgate.Parts) (mfpgate.Reading, error) {
	t, err := newTarget(e)
	if err != nil {
		return mfpgate.Reading{}, err
	}
	a, err := c.ask(ctx, t, readingNames(parts))
	if err != nil {
		return mfpgate.Reading{}, fmt.Errorf("read %s: %w", t.uri, err)
	}
	r := a.reading(parts)
	r.At = c.clock.Now()
	return r, nil
}
