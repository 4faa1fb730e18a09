package ippusb_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/usb/membus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/ippusb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a printer's end of an interface, for a script.
type peer struct {
	ctx  context.Context
	n    int // of the interface, from 0
	out  *model.Out
	in   *model.In
	r    *bufio.Reader
	seen bytes.Buffer // all that it read
}

func (p *peer) Read(b []byte) (int, error) {
	n, err := p.out.Read(p.ctx, b)
	p.seen.Write(b[:n])
	return n, err
}

func (p *peer) say(text string) { _, _ = p.in.Write(p.ctx, []byte(text)) }

// sleep ends early when the interface does.
func (p *peer) sleep(d time.Duration) { _ = mfpgate.Wait(p.ctx, mfpgate.SystemClock{}, d) }

// hear reads one request whole.
func (p *peer) hear() (*http.Request, []byte, error) {
	req, err := http.ReadRequest(p.r)
	if err != nil {
		return nil, nil, err
	}
	b, err := io.ReadAll(req.Body)
	return req, b, err
}

// rig is a transport to a scripted printer.
type rig struct {
	*ippusb.Transport
	bus     *membus.Bus
	plugged *membus.Plugged
	device  *model.Device
	ins     []*model.In
	outs    []*model.Out
	control atomic.Int32 // soft resets seen

	mu     sync.Mutex
	broken []error
}

// plug plugs a printer with interfaces for scripts in.
func plug(tb testing.TB, interfaces int, script func(*peer)) *rig {
	tb.Helper()
	r := &rig{device: &model.Device{VID: 0x1209, PID: 7}}
	for n := range interfaces {
		out, in := model.NewOut(), model.NewIn()
		r.ins, r.outs = append(r.ins, in), append(r.outs, out)
		r.device.Interfaces = append(r.device.Interfaces, model.Interface{
			Number: uint8(n), Class: 7, SubClass: 1, Proto: 4, Out: uint8(n + 1), In: 0x81 + uint8(n), FromHost: out, ToHost: in,
			Serve: func(ctx context.Context) {
				p := &peer{ctx: ctx, n: n, out: out, in: in}
				p.r = bufio.NewReader(p)
				script(p)
			},
		})
	}
	r.device.Class = func(s model.Setup, _ []byte) ([]byte, error) {
		if s.Request == 2 && s.RequestType == 0x23 { // a printer of release 1.0
			r.control.Add(1)
			return nil, nil
		}
		return nil, model.ErrStall
	}
	r.bus = membus.New()
	r.plugged = r.bus.Plug(r.device, "1-1")
	tb.Cleanup(r.plugged.Unplug)
	return r
}

// open opens the transport. What the test changes of the options is in change.
func (r *rig) open(tb testing.TB, change func(*ippusb.Options)) *rig {
	tb.Helper()
	h, err := r.handle(tb)
	if err != nil {
		tb.Fatal(err)
	}
	o := ippusb.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(), Handle: h, Interfaces: ippInterfaces(r.plugged.Device()),
		Broken: func(err error) { r.mu.Lock(); defer r.mu.Unlock(); r.broken = append(r.broken, err) }}
	if change != nil {
		change(&o)
	}
	if r.Transport, err = ippusb.New(o); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
		if n := r.plugged.Claimed(); n != 0 {
			tb.Errorf("%d interfaces are lost", n)
		}
	})
	return r
}

func (r *rig) handle(tb testing.TB) (bus.Handle, error) {
	h, err := r.bus.Open(tb.Context(), r.plugged.Device())
	if err == nil {
		tb.Cleanup(func() { h.Close() })
	}
	return h, err
}

// breaks are the calls of Broken so far.
func (r *rig) breaks() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

func ippInterfaces(d bus.Device) (all []bus.Interface) {
	for _, i := range d.Interfaces {
		if i.Is(7, 1, 4) {
			all = append(all, i)
		}
	}
	return all
}

// answering is a script that answers each request with what it is given.
func answering(answer func(p *peer, req *http.Request, body []byte) string) func(*peer) {
	return func(p *peer) {
		for {
			req, body, err := p.hear()
			if err != nil {
				return
			}
			p.say(answer(p, req, body))
		}
	}
}

// fixed is a script that answers each request alike.
func fixed(text string) func(*peer) {
	return answering(func(*peer, *http.Request, []byte) string { return text })
}

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func request(ctx context.Context, method, target string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "http://printer"+target, body)
	if err != nil {
		panic(err)
	}
	return req
}

// get asks for / and reads the answer.
func (r *rig) get(ctx context.Context) (string, error) {
	resp, err := r.RoundTrip(request(ctx, "GET", "/", nil))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// mustGet asserts that the transport works.
func (r *rig) mustGet(t *testing.T) {
	t.Helper()
	if got, err := r.get(t.Context()); err != nil || got != "ok" {
		t.Errorf("a request after it: %q, %v", got, err)
	}
}

// big is longer than what is read in advance, and not the same anywhere.
func big(n int) string { return text()[:n] }

var text = sync.OnceValue(func() string {
	var b strings.Builder
	for i := 0; b.Len() < 3<<20; i++ {
		b.WriteString(strings.Repeat(string(rune('a'+i%26)), i%97+1))
	}
	return b.String()
})

// pause lets a bubble's time go by.
func pause(d time.Duration) { _ = mfpgate.Wait(context.Background(), mfpgate.SystemClock{}, d) }
