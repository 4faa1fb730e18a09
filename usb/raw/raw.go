package raw

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/raw/pjl"
)

// ErrClosed is returned to who comes, or waits, when the port is being closed.
var ErrClosed = errors.New("the printer's port is closed")

// Options are what a Port is built from.
type Options struct {
	Clock      mfpgate.Clock
	Log        telemetry.Logger
	Handle     bus.Handle    // stays the caller's; it is closed after the Port
	Interface  bus.Interface // has an OUT endpoint
	CommandSet []string      // CMD of the device id
	Quirks     Quirks
}

// Quirks are what a model cannot bear.
type Quirks struct {
	OneWay       bool // never read from it, though it has an IN endpoint
	NoPJL        bool // never speak PJL to it, though its command set has it
	NoPortStatus bool // never ask for its port status
	NoSoftReset  bool // never reset it by SOFT_RESET
}

// Port is one printer's interface. Its methods may be called from many goroutines.
type Port struct {
	clock     mfpgate.Clock
	log       telemetry.Logger
	handle    bus.Handle
	claim     bus.Claim
	face      bus.Interface
	commands  []string
	quirks    Quirks
	speaksPJL bool // and may
	answers   bool // it is read

	life   context.Context // of every transfer; ends with Close, and nothing of a caller ends it
	end    context.CancelFunc
	reader sync.WaitGroup
	turns  turns
	cut    chan struct{} // closed at Close's deadline
	news   chan struct{} // capacity 1: what the printer says of itself has changed; for the job that has the turn
	lost   chan struct{} // closed once the printer is gone
	closed chan struct{} // closed when Close is through
	once   sync.Once

	// Of the stream to the printer; whoever has the turn uses them.
	limit int    // bytes of a write, less than bus.MaxTransfer once the kernel had no memory for more
	owed  []byte // what the printer must still get before anything else, for it took the bytes before it
	jobs  int    // begun since Open; it numbers their marks

	mu    sync.Mutex
	heard heard
	port  portStatus
	doing mfpgate.JobStatus // the job that has the turn; zero: none
}

// Open claims the interface and begins to read from it. ctx bounds the claim alone. The errors are those of bus.
func Open(ctx context.Context, o Options) (*Port, error) {
	if o.Interface.Out.Number == 0 {
		return nil, fmt.Errorf("open USB printer: interface %d.%d has no endpoint to send to", o.Interface.Number, o.Interface.Alternate)
	}
	claim, err := o.Handle.Claim(ctx, o.Interface)
	if err != nil {
		return nil, fmt.Errorf("claim USB interface %d.%d: %w", o.Interface.Number, o.Interface.Alternate, err)
	}
	p := &Port{
		clock: o.Clock, log: o.Log, handle: o.Handle, claim: claim, face: o.Interface, commands: o.CommandSet, quirks: o.Quirks,
		speaksPJL: pjl.Spoken(o.CommandSet) && !o.Quirks.NoPJL,
		answers:   o.Interface.In.Number != 0 && !o.Interface.Is(7, 1, 1) && !o.Quirks.OneWay,
		cut:       make(chan struct{}), news: make(chan struct{}, 1), lost: make(chan struct{}), closed: make(chan struct{}),
		limit: blockSize,
	}
	p.heard.silent = map[string]silence{}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	if p.answers {
		p.reader.Go(p.listen) // Close waits for it
	}
	return p, nil
}

// Close lets the job that is being sent come to its end until ctx ends; then it is broken off as cleanly as two seconds allow. Jobs
// that wait are aborted at once. A ctx that ends because of bus.ErrGone says that the printer was unplugged, and so do its jobs then.
// Close releases the interface, waits for everything of the port to end, and returns ctx's error if a job was broken off. Closing twice
// is closing once, and the second call waits for the first.
func (p *Port) Close(ctx context.Context) error {
	first := false
	p.once.Do(func() { first = true })
	if !first {
		<-p.closed
		return nil
	}
	defer close(p.closed)
	unplugged := func() { // who closes may know it before any transfer does
		if why := context.Cause(ctx); errors.Is(why, bus.ErrGone) {
			p.lose(why)
		}
	}
	unplugged()
	err := p.turns.close(ctx)
	if err != nil {
		unplugged()
		close(p.cut)
		p.turns.close(context.WithoutCancel(ctx)) // bounded: every wait of a job listens to cut
		err = fmt.Errorf("close USB printer: a job was broken off: %w", err)
	}
	p.end()
	if closing := p.claim.Close(); err == nil && closing != nil && !errors.Is(closing, bus.ErrGone) {
		err = fmt.Errorf("release USB interface: %w", closing)
	}
	p.reader.Wait()
	return err
}

// lose notes that the printer is not there any more.
func (p *Port) lose(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard.gone == nil {
		p.heard.gone = why
		close(p.lost)
	}
}

// gone is why the printer is not there any more, nil if it is.
func (p *Port) gone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard.gone
}

// within is a context that ends d from now by the port's clock, or with the port.
func (p *Port) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := p.clock.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
	unbind := context.AfterFunc(p.life, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		unbind()
		cancel(context.Canceled)
	}
}
