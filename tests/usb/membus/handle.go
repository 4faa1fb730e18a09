package membus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// users lets calls in until it is closed, and waits for those that are in.
type users struct {
	mu     sync.Mutex
	closed bool
	ctx    context.Context // ends when it is closed
	end    context.CancelCauseFunc
	in     sync.WaitGroup
}

func newUsers() *users {
	u := &users{}
	u.ctx, u.end = context.WithCancelCause(context.Background())
	return u
}

func (u *users) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.in.Add(1)
	return true
}

// close turns users away, ends those that are in, and waits for them. It reports whether it was the first.
func (u *users) close() bool {
	u.mu.Lock()
	first := !u.closed
	u.closed = true
	u.mu.Unlock()
	u.end(bus.ErrClosed)
	u.in.Wait()
	return first
}

// handle is an open device.
type handle struct {
	p     *Plugged
	gone  chan struct{} // of the plug that was opened
	users *users
}

func newHandle(p *Plugged) *handle { return &handle{p: p, gone: p.gone, users: newUsers()} }

// do runs a call while the handle, and what of it is used, is open and the device in. The call's context ends with any of them.
func (h *handle) do(ctx context.Context, what string, own *users, call func(ctx context.Context) error) error {
	if !own.enter() {
		return fmt.Errorf("%s: %w", what, bus.ErrClosed)
	}
	defer own.in.Done()
	h.p.bus.mu.Lock()
	select {
	case <-h.gone:
		h.p.bus.mu.Unlock()
		return fmt.Errorf("%s: %w", what, bus.ErrGone)
	default:
	}
	h.p.users.Add(1)
	h.p.bus.mu.Unlock()
	defer h.p.users.Done()

	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(own.ctx, func() { cancel(bus.ErrClosed) })()
	over := make(chan struct{})
	defer close(over)
	go func() { // ends with the call
		select {
		case <-h.gone:
			cancel(bus.ErrGone)
		case <-over:
		}
	}()
	err := call(inner)
	switch {
	case err == nil:
		return nil
	case inner.Err() != nil && errors.Is(err, inner.Err()):
		err = context.Cause(inner)
	default:
		err = word(err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Strings are the texts of the device's descriptor.
func (h *handle) Strings(ctx context.Context) (manufacturer, product, serial string, err error) {
	err = h.do(ctx, "read strings", h.users, func(ctx context.Context) error {
		if _, err := h.control(ctx, 0x80, 6, 3<<8, 0, make([]byte, 255)); err != nil && !errors.Is(err, model.ErrStall) {
			return err
		}
		manufacturer, product, serial = h.p.dev.Manufacturer, h.p.dev.Product, h.p.dev.Serial
		return nil
	})
	return manufacturer, product, serial, err
}

// Control is a control transfer.
func (h *handle) Control(ctx context.Context, requestType, request uint8, value, index uint16, data []byte) (n int, err error) {
	err = h.do(ctx, "control transfer", h.users, func(ctx context.Context) error {
		n, err = h.control(ctx, requestType, request, value, index, data)
		return err
	})
	return n, err
}

func (h *handle) control(ctx context.Context, requestType, request uint8, value, index uint16, data []byte) (int, error) {
	if err := h.p.dev.Submit(0); err != nil {
		return 0, err
	}
	s := model.Setup{RequestType: requestType, Request: request, Value: value, Index: index, Length: uint16(len(data))}
	if s.ToHost() {
		in, err := h.p.dev.Control(ctx, s, nil)
		return copy(data, in), err
	}
	if _, err := h.p.dev.Control(ctx, s, data); err != nil {
		return 0, err
	}
	return len(data), nil
}

// Reset resets the device. It comes back under another address.
func (h *handle) Reset(ctx context.Context) error {
	if !h.users.enter() {
		return fmt.Errorf("reset: %w", bus.ErrClosed)
	}
	defer h.users.in.Done()
	b, p := h.p.bus, h.p
	b.mu.Lock()
	if p.out || p.gone != h.gone || !p.open() {
		b.mu.Unlock()
		return fmt.Errorf("reset: %w", bus.ErrGone)
	}
	p.resets++
	p.end()
	lost := p.lost
	b.mu.Unlock()
	if lost {
		p.Unplug()
		return nil
	}
	p.users.Wait()
	p.dev.Reset()
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.out {
		return nil
	}
	b.address++
	p.address, p.gone = b.address, make(chan struct{})
	return nil
}

// Close closes the handle and its claims.
func (h *handle) Close() error {
	if !h.users.close() {
		return nil
	}
	h.p.bus.mu.Lock()
	var mine []*claim
	for _, c := range h.p.claims {
		if c.h == h {
			mine = append(mine, c)
		}
	}
	h.p.bus.opens--
	h.p.bus.mu.Unlock()
	for _, c := range mine {
		_ = c.Close() // it has no error to tell
	}
	return nil
}

// Claim takes an interface in one of its settings.
func (h *handle) Claim(ctx context.Context, i bus.Interface) (bus.Claim, error) {
	c := &claim{h: h, i: i, users: newUsers()}
	err := h.do(ctx, fmt.Sprintf("claim interface %d", i.Number), h.users, func(ctx context.Context) error {
		p := h.p
		p.bus.mu.Lock()
		if p.held[i.Number] || p.claims[i.Number] != nil {
			p.bus.mu.Unlock()
			return bus.ErrBusy
		}
		p.claims[i.Number] = c
		p.bus.mu.Unlock()
		if err := p.dev.SetAlt(uint8(i.Number), uint8(i.Alternate)); err != nil {
			c.release()
			return err
		}
		p.bus.mu.Lock()
		defer p.bus.mu.Unlock()
		p.claimed++
		return ctx.Err()
	})
	if err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

// claim is an interface that is claimed.
type claim struct {
	h     *handle
	i     bus.Interface
	users *users
}

// release gives the interface back, if it is still the claim's.
func (c *claim) release() {
	c.h.p.bus.mu.Lock()
	defer c.h.p.bus.mu.Unlock()
	if c.h.p.claims[c.i.Number] == c {
		delete(c.h.p.claims, c.i.Number)
	}
}

// Close gives the interface back.
func (c *claim) Close() error {
	if c.users.close() {
		c.release()
	}
	return nil
}

// transfer is one transfer, after which a halt is cleared as a driver does.
func (c *claim) transfer(ctx context.Context, address uint8, p []byte) (int, error) {
	d := c.h.p.dev
	if len(p) > c.h.p.room() {
		return 0, bus.ErrNoMemory
	}
	if err := d.Submit(address); err != nil {
		return 0, err
	}
	n, err := d.Transfer(ctx, address, p)
	if errors.Is(err, model.ErrStall) {
		_ = d.ClearHalt(address) // the device is there, and so is its endpoint
	}
	return n, err
}

// Write sends to the OUT endpoint.
func (c *claim) Write(ctx context.Context, p []byte) (n int, err error) {
	err = c.h.do(ctx, fmt.Sprintf("write to interface %d", c.i.Number), c.users, func(ctx context.Context) error {
		for {
			k, err := c.transfer(ctx, uint8(c.i.Out.Number), p[n:min(len(p), n+bus.MaxTransfer)])
			n += k
			if err != nil || n == len(p) {
				return err
			}
		}
	})
	return n, err
}

// Read receives from the IN endpoint, in one transfer.
func (c *claim) Read(ctx context.Context, p []byte) (n int, err error) {
	err = c.h.do(ctx, fmt.Sprintf("read from interface %d", c.i.Number), c.users, func(ctx context.Context) error {
		if len(p)%c.i.In.MaxPacket != 0 {
			return bus.ErrOverflow
		}
		n, err = c.transfer(ctx, 0x80|uint8(c.i.In.Number), p)
		return err
	})
	return n, err
}

// ClearHalt clears both endpoints' halts.
func (c *claim) ClearHalt(ctx context.Context) error {
	return c.h.do(ctx, fmt.Sprintf("clear halts of interface %d", c.i.Number), c.users, func(context.Context) error {
		for _, address := range []int{c.i.Out.Number, 0x80 | c.i.In.Number} {
			if address&0x0f == 0 {
				continue
			}
			if err := c.h.p.dev.ClearHalt(uint8(address)); err != nil {
				return err
			}
		}
		return nil
	})
}
