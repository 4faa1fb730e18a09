//go:build cgo && !nousb

package libusb

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

const (
	// memoryPatience is how long a transfer of one packet waits for memory: that another program's transfers end.
	memoryPatience = 2 * time.Second
	// memoryPause is the first of its waits, each twice as long as the one before.
	memoryPause = 10 * time.Millisecond
)

// errNoProgress is for a host controller that took a transfer and says that none of it went.
var errNoProgress = errors.New("nothing of it went")

type claim struct {
	handle  *handle
	taken   *gousb.Interface
	gate    *gate
	in, out pipe
	once    sync.Once
	failed  error // to close it
}

// pipe is one endpoint.
type pipe struct {
	bus.Endpoint
	address  gousb.EndpointAddress
	transfer func(context.Context, []byte) (int, error) // nil: there is no such endpoint
	turn     chan struct{}
}

func newClaim(h *handle, i bus.Interface) (*claim, error) {
	taken, err := h.config.Interface(i.Number, i.Alternate)
	if err != nil {
		return nil, err
	}
	c := &claim{handle: h, taken: taken, gate: newGate(h.lost),
		in:  pipe{Endpoint: i.In, turn: make(chan struct{}, 1), address: gousb.EndpointAddress(0x80 | i.In.Number)},
		out: pipe{Endpoint: i.Out, turn: make(chan struct{}, 1), address: gousb.EndpointAddress(i.Out.Number)},
	}
	if c.in.Number != 0 && c.in.MaxPacket > 0 {
		endpoint, err := taken.InEndpoint(c.in.Number)
		if err != nil {
			taken.Close()
			return nil, err
		}
		c.in.transfer = endpoint.ReadContext
	}
	if c.out.Number != 0 && c.out.MaxPacket > 0 {
		endpoint, err := taken.OutEndpoint(c.out.Number)
		if err != nil {
			taken.Close()
			return nil, err
		}
		c.out.transfer = endpoint.WriteContext
	}
	return c, nil
}

// Write implements bus.Claim. Writes go one by one, whole.
func (c *claim) Write(ctx context.Context, p []byte) (int, error) {
	n, err := c.write(ctx, p)
	if err != nil {
		return n, fmt.Errorf("write to USB endpoint %v: %w", c.out.address, err)
	}
	return n, nil
}

func (c *claim) write(ctx context.Context, p []byte) (n int, err error) {
	ctx, leave, err := c.enter(ctx, &c.out)
	if err != nil {
		return 0, err
	}
	defer leave()
	for {
		moved, err := c.out.move(ctx, c, p[n:])
		n += moved
		switch {
		case err != nil:
			return n, err
		case n == len(p):
			return n, nil
		case moved == 0:
			return n, fmt.Errorf("%w: %w", bus.ErrFailed, errNoProgress)
		}
	}
}

// Read implements bus.Claim. It asks for MaxTransfer at most, and for less where the kernel has no memory for more.
func (c *claim) Read(ctx context.Context, p []byte) (int, error) {
	n, err := c.read(ctx, p)
	if err != nil {
		return n, fmt.Errorf("read from USB endpoint %v: %w", c.in.address, err)
	}
	return n, nil
}

func (c *claim) read(ctx context.Context, p []byte) (int, error) {
	if c.in.MaxPacket > 0 && (len(p) == 0 || len(p)%c.in.MaxPacket != 0) {
		return 0, fmt.Errorf("%d bytes are no multiple of the packet's %d", len(p), c.in.MaxPacket)
	}
	ctx, leave, err := c.enter(ctx, &c.in)
	if err != nil {
		return 0, err
	}
	defer leave()
	return c.in.move(ctx, c, p)
}

// enter enters the claim and takes the endpoint's turn; leave gives both back.
func (c *claim) enter(ctx context.Context, p *pipe) (inside context.Context, leave func(), err error) {
	if p.transfer == nil {
		return nil, nil, errors.New("the interface has no such bulk endpoint")
	}
	inside, leaveGate, err := c.gate.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	giveBack, err := take(inside, p.turn)
	if err != nil {
		leaveGate()
		return nil, nil, err
	}
	return inside, func() { giveBack(); leaveGate() }, nil
}

// move makes one transfer of as much of data as goes.
func (p *pipe) move(ctx context.Context, c *claim, data []byte) (int, error) {
	size := min(len(data), bus.MaxTransfer/p.MaxPacket*p.MaxPacket)
	pause := memoryPause
	for waited := time.Duration(0); ; {
		if ctx.Err() != nil { // a transfer of a context that has ended would go out for a moment yet
			return 0, context.Cause(ctx)
		}
		n, err := p.transfer(ctx, data[:size])
		if err == nil {
			return n, nil
		}
		if errors.Is(err, gousb.TransferCancelled) && ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		err = c.handle.told(err)
		switch {
		case errors.Is(err, bus.ErrStalled):
			if halt := clearHalt(c.handle.dev, p.address); halt != nil {
				err = fmt.Errorf("%w; its halt cannot be cleared: %v", err, halt)
			}
			return n, err
		case !errors.Is(err, bus.ErrNoMemory) || n > 0:
			return n, err
		case size > p.MaxPacket:
			size = (size/2 + p.MaxPacket - 1) / p.MaxPacket * p.MaxPacket
		case waited >= memoryPatience:
			return 0, err
		default:
			if err := mfpgate.Wait(ctx, c.handle.clock, pause); err != nil {
				return 0, context.Cause(ctx)
			}
			waited += pause
			pause *= 2
		}
	}
}

// ClearHalt implements bus.Claim. It waits for the transfers that run.
func (c *claim) ClearHalt(ctx context.Context) error {
	_, err := attempt(ctx, c.gate, func(inside context.Context) (struct{}, error) {
		for _, p := range []*pipe{&c.out, &c.in} {
			if p.transfer == nil {
				continue
			}
			giveBack, err := take(inside, p.turn)
			if err != nil {
				return struct{}{}, err
			}
			err = clearHalt(c.handle.dev, p.address)
			giveBack()
			if err != nil {
				return struct{}{}, c.handle.told(err)
			}
		}
		return struct{}{}, nil
	}, nil)
	if err != nil {
		return fmt.Errorf("clear the halt of USB interface %d: %w", c.taken.Setting.Number, err)
	}
	return nil
}

// Close implements bus.Claim.
func (c *claim) Close() error { return c.end(bus.ErrClosed) }

// end closes the claim; who waits in it gets why.
func (c *claim) end(why error) error {
	c.once.Do(func() {
		c.gate.shut(why)
		if err := c.handle.release(c); err != nil {
			c.failed = fmt.Errorf("release USB interface %d: %w", c.taken.Setting.Number, err)
		}
	})
	return c.failed
}
