package ippusb

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// pair is an interface's two pipes and what was read from it ahead. Whoever acquired it has it alone: one may send and one receive.
type pair struct {
	t     *Transport
	iface bus.Interface
	claim bus.Claim

	in   []byte    // what is read ahead lies in in[r:w]; its length is a multiple of MaxPacket
	r, w int       // of the receiving side
	used time.Time // when the last transaction ended
	most int       // bytes in a write, for as many as the kernel has memory; of the sending side
}

// outcome is what came of a transfer.
type outcome int

const (
	worked   outcome = iota
	early            // its time was up; what it moved is moved, and the rest may go on
	memory           // the kernel has no room for so much
	stopped          // its context ended; what it moved is moved
	defeated         // it failed
)

// transfer carries out one transfer within d. It is cut after d without loss: bus.Claim says what was moved until then.
func (p *pair) transfer(ctx context.Context, d time.Duration, do func(context.Context) (int, error)) (int, outcome, error) {
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := p.t.clock.AfterFunc(d, cancel)
	defer stop()
	n, err := do(within)
	if err == nil {
		return n, worked, nil
	}
	if errors.Is(err, bus.ErrNoMemory) {
		return n, memory, err
	}
	// The driver may have found in the same moment that the transfer failed, which is another thing than an end of its context.
	for _, lost := range [...]error{bus.ErrGone, bus.ErrStalled, bus.ErrOverflow, bus.ErrFailed, bus.ErrClosed, bus.ErrAccess, bus.ErrBusy} {
		if errors.Is(err, lost) {
			return n, defeated, err
		}
	}
	switch {
	case ctx.Err() != nil:
		return n, stopped, context.Cause(ctx)
	case within.Err() != nil:
		return n, early, err
	}
	return n, defeated, err
}

// send sends all of b. A printer may take as long as it likes while it takes a byte now and then.
func (p *pair) send(ctx context.Context, b []byte, x *exchange) error {
	total, last, pause := len(b), p.t.clock.Now(), firstPause
	zlp := p.t.o.Quirks.ZLPSend && total%p.iface.Out.MaxPacket == 0
	for len(b) > 0 || zlp {
		left := x.limits.SendTimeout - p.t.clock.Now().Sub(last)
		if left <= 0 {
			return fmt.Errorf("send to interface %d: %w: it took no byte for %v", p.iface.Number, ErrTimeout, x.limits.SendTimeout)
		}
		part := b[:min(len(b), p.most)]
		n, what, err := p.transfer(ctx, min(left, x.limits.SendTimeout/sendSlices), func(ctx context.Context) (int, error) { return p.claim.Write(ctx, part) })
		if n < 0 || n > len(part) {
			return fmt.Errorf("send to interface %d: the driver says that %d of %d bytes are sent", p.iface.Number, n, len(part))
		}
		if n > 0 {
			x.took(total-len(b), n)
			b, last, pause = b[n:], p.t.clock.Now(), firstPause
			x.moved()
		}
		switch {
		case what == defeated, what == stopped:
			return fmt.Errorf("send to interface %d: %w", p.iface.Number, err)
		case what == memory, what == worked && n == 0 && len(part) > 0:
			p.most = max(p.iface.Out.MaxPacket, p.most/2/p.iface.Out.MaxPacket*p.iface.Out.MaxPacket)
			if err := p.pause(ctx, &pause); err != nil {
				return err
			}
		case what == worked && len(part) == 0:
			zlp = false
		case what == worked:
			p.most = min(2*p.most, bus.MaxTransfer)
		}
	}
	if q := p.t.o.Quirks; q.WriteDelay > 0 && total > q.WriteDelayOver {
		return mfpgate.Wait(ctx, p.t.clock, q.WriteDelay)
	}
	return nil
}

// errShort says that the printer ended its answer by a zero-length packet, before its end (Quirks.ZLPEnds).
var errShort = errors.New("the printer ended its answer early")

// receive reads up to len(b) bytes, of which there are a multiple of MaxPacket, and waits for the first. Where ctx ends before, nothing is lost.
func (p *pair) receive(ctx context.Context, b []byte, x *exchange) (int, error) {
	begun, pause, slice, empty, most := p.t.clock.Now(), firstPause, firstSlice, 0, min(len(b), p.largest())
	for {
		left := x.patience(begun)
		if left <= 0 {
			return 0, fmt.Errorf("receive from interface %d: %w: it owes an answer and sent no byte for %v", p.iface.Number, ErrTimeout, p.t.clock.Now().Sub(begun))
		}
		ends := p.t.o.Quirks.ZLPEnds && empty > 0 && x.failed
		if ends {
			slice = zlpQuiet
		}
		n, what, err := p.transfer(ctx, min(left, slice), func(ctx context.Context) (int, error) { return p.claim.Read(ctx, b[:most]) })
		if n < 0 || n > most {
			return 0, fmt.Errorf("receive from interface %d: the driver says that %d of %d bytes came", p.iface.Number, n, most)
		}
		if what == defeated || what == stopped && n == 0 {
			return 0, fmt.Errorf("receive from interface %d: %w", p.iface.Number, err)
		}
		if n > 0 { // also where ctx ended: whoever reads on must not miss it
			x.moved()
			return n, nil
		}
		switch what {
		case early:
			slice = min(2*slice, lastSlice)
			if !x.sent.Load() {
				slice = sendingSlice
			}
			if ends {
				return 0, fmt.Errorf("receive from interface %d: %w", p.iface.Number, errShort)
			}
		case memory:
			most = max(p.iface.In.MaxPacket, most/2/p.iface.In.MaxPacket*p.iface.In.MaxPacket)
			if err := p.pause(ctx, &pause); err != nil {
				return 0, err
			}
		case worked: // a zero-length packet: one may end a transfer of whole packets, more are a printer that has nothing to say yet
			if empty++; empty > 1 {
				if err := p.pause(ctx, &pause); err != nil {
					return 0, err
				}
			}
		}
	}
}

// pause waits, each time twice as long.
func (p *pair) pause(ctx context.Context, d *time.Duration) error {
	now := *d
	*d = min(2**d, lastPause)
	if err := mfpgate.Wait(ctx, p.t.clock, now); err != nil {
		return context.Cause(ctx)
	}
	return nil
}

// largest is the largest read, in bytes.
func (p *pair) largest() int {
	return bus.MaxTransfer / p.iface.In.MaxPacket * p.iface.In.MaxPacket
}

// fill reads ahead; nothing is read ahead yet. No more is asked for than is known to come, if that is known: a printer that ends an
// answer by a whole packet, and sends no empty one behind it, has then ended the transfer all the same.
func (p *pair) fill(ctx context.Context, x *exchange, known int64) error {
	in := p.in
	if packet := int64(p.iface.In.MaxPacket); known > 0 && known < int64(len(in)) {
		in = in[:(known+packet-1)/packet*packet]
	}
	n, err := p.receive(ctx, in, x)
	p.r, p.w = 0, n
	return err
}

// line takes the rest of a line into *line, without its end, of max bytes at most. Where ctx ends before, *line keeps what came.
func (p *pair) line(ctx context.Context, line *[]byte, most int, x *exchange) error {
	for {
		for i := p.r; i < p.w; i++ {
			if p.in[i] != '\n' {
				continue
			}
			*line = append(*line, p.in[p.r:i]...)
			p.r = i + 1
			if len(*line) > most {
				return fmt.Errorf("%w: a line of more than %d bytes", ErrProtocol, most)
			}
			if k := len(*line); k > 0 && (*line)[k-1] == '\r' {
				*line = (*line)[:k-1]
			}
			return nil
		}
		*line = append(*line, p.in[p.r:p.w]...)
		p.r = p.w
		if len(*line) > most {
			return fmt.Errorf("%w: a line of more than %d bytes", ErrProtocol, most)
		}
		if err := p.fill(ctx, x, 0); err != nil {
			return err
		}
	}
}

// flush throws away what the printer has to say that nobody asked it: the end of what another program was told, or a farewell to a
// connection that it takes for idle. It returns when the printer has been quiet for a moment.
func (p *pair) flush(ctx context.Context, quiet time.Duration) error {
	p.r, p.w = 0, 0
	for range 256 { // 4 MiB; a printer that says more will be found out by its answer
		n, what, err := p.transfer(ctx, quiet, func(ctx context.Context) (int, error) { return p.claim.Read(ctx, p.in) })
		switch {
		case what == defeated, what == stopped:
			return fmt.Errorf("receive from interface %d: %w", p.iface.Number, err)
		case n <= 0 && what != memory:
			return nil
		}
	}
	return nil
}
