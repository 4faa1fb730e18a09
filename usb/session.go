package usb

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/document"
	"github.com/mfpgate/mfpgate/usb/endpoint"
	"github.com/mfpgate/mfpgate/usb/ippusb"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// Endpoints serve printers over HTTP on this machine: *endpoint.Endpoints.
type Endpoints interface {
	Serve(ctx context.Context, key string, rt http.RoundTripper, about endpoint.About) (*endpoint.Endpoint, error)
}

var _ Endpoints = (*endpoint.Endpoints)(nil)

// session is a printer that is driven in one mode.
type session interface {
	mode() mfpgate.USBMode
	// at is where it is served over HTTP, not valid if it is not.
	at() netip.AddrPort
	print(ctx context.Context, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error)
	read(ctx context.Context, parts mfpgate.Parts) (mfpgate.Reading, error)
	// broken tells once why the printer must be reset.
	broken() <-chan error
	// close lets what is under way come to an end until ctx ends, and releases everything. It reports whether the printer must be
	// reset before its next use.
	close(ctx context.Context) (hung bool)
}

// lastWord is how long the clients of a printer that is given up have to be told so.
const lastWord = 2 * time.Second

// errHung says that a printer must be reset before its next use.
var errHung = errors.New("the printer hangs")

// path is where every printer with IPP over USB takes jobs (IPP over USB 1.0 §4.3).
const path = "ipp/print"

// begin chooses the mode, and begins with it.
func (p *plug) begin(ctx context.Context, h bus.Handle, d bus.Device, q quirk.Quirks, w who) (session, error) {
	faces, streams := ippFaces(d, q), rawFaces(d, q)
	if len(faces) > 0 && !p.deaf {
		s, err := p.beginIPP(ctx, h, d, faces, q, w)
		if !errors.Is(err, ippusb.ErrSilent) {
			return s, err
		}
		p.silences++
		p.deaf = p.silences > 1 && len(streams) > 0
		p.unused(ReasonSilent, "it does not answer over IPP; it is reset and asked again", q)
		return nil, fmt.Errorf("%w: %w", errHung, err)
	}
	if len(streams) == 0 {
		return nil, errUnsupported
	}
	return p.beginRaw(ctx, h, streams[0], q, w)
}

type ippSession struct {
	p         *plug
	transport *ippusb.Transport
	endpoint  *endpoint.Endpoint // nil: there is none
	about     endpoint.About     // what USB tells of it
	broke     chan error
	asking    context.CancelFunc // ends describe
	asked     chan struct{}      // closed when it has ended
}

func (p *plug) beginIPP(ctx context.Context, h bus.Handle, d bus.Device, faces []bus.Interface, q quirk.Quirks, w who) (session, error) {
	s := &ippSession{p: p, broke: make(chan error, 1), asked: make(chan struct{})}
	var err error
	s.transport, err = ippusb.New(ippusb.Options{Clock: p.m.o.Clock, Log: p.m.o.Log, Handle: metered{h, p.m.o.Metrics, mfpgate.USBModeIPP}, Interfaces: faces,
		Quirks: ippusb.Quirks{ZLPSend: q.ZLP, ZLPEnds: q.ZLPEnds, Connection: q.Connection, MaxInterfaces: q.Interfaces, SoftReset: q.Reset == quirk.ResetSoft, NoSoftReset: q.NoSoftReset,
			InitTimeout: q.AnswerWithin, WriteDelay: q.WriteDelay, WriteDelayOver: q.WriteDelayOver},
		Broken: func(err error) { s.hurt(err) }})
	if err != nil {
		return nil, err
	}
	if err := s.transport.Probe(ctx); err != nil {
		_ = s.transport.Close() // what matters is why the printer could not be asked
		if errors.Is(err, bus.ErrGone) || errors.Is(err, ippusb.ErrSilent) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errHung, err)
	}
	i := p.identity()
	s.about = endpoint.About{Make: i.Make, Model: i.Model, CommandSet: w.id.CommandSet}
	if p.m.o.Endpoints != nil {
		if s.endpoint, err = p.publish(ctx, s.transport, key(i, d), s.about); err != nil {
			p.noise("it is not served over HTTP", err)
		}
	}
	ctx, s.asking = context.WithCancel(ctx)
	go func() { // close waits for it
		defer close(s.asked)
		s.describe(ctx)
	}()
	return s, nil
}

// hurt tells why the printer must be reset, or driven otherwise.
func (s *ippSession) hurt(err error) {
	select {
	case s.broke <- err:
	default: // it was told
	}
}

// publish serves the printer over HTTP. One that was pulled out of another port a moment ago may still be served there.
func (p *plug) publish(ctx context.Context, rt http.RoundTripper, key string, about endpoint.About) (*endpoint.Endpoint, error) {
	ctx, done := p.m.within(ctx, comesBack)
	defer done()
	for {
		e, err := p.m.o.Endpoints.Serve(ctx, key, rt, about)
		if !errors.Is(err, endpoint.ErrServed) || mfpgate.Wait(ctx, p.m.o.Clock, lookAgain) != nil {
			return e, err
		}
	}
}

func (s *ippSession) mode() mfpgate.USBMode { return mfpgate.USBModeIPP }
func (s *ippSession) broken() <-chan error  { return s.broke }

func (s *ippSession) at() netip.AddrPort {
	if s.endpoint == nil {
		return netip.AddrPort{}
	}
	return s.endpoint.Address()
}

func (s *ippSession) print(ctx context.Context, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	return document.IPP{Clock: s.p.m.o.Clock, Client: &http.Client{Transport: s.transport}, URL: "http://localhost/" + path}.Print(ctx, doc, told)
}

func (s *ippSession) read(context.Context, mfpgate.Parts) (mfpgate.Reading, error) {
	return mfpgate.Reading{}, refusal(ReasonUnsupported, "the printer at %s speaks IPP; ask it at its endpoint", s.p.port)
}

func (s *ippSession) close(ctx context.Context) (hung bool) {
	s.asking()
	<-s.asked
	if ctx.Err() != nil { // nothing can come of what is under way, and its clients are told so before their connections end
		hung = s.transport.Shutdown(ctx) != nil
		if s.endpoint != nil {
			last, done := s.p.m.within(context.WithoutCancel(ctx), lastWord)
			defer done()
			_ = s.endpoint.Close(last) // it is closed in any case
		}
		return hung
	}
	// The endpoint's requests end with the transport's: they are told to come to an end at once, not one after the other.
	if s.endpoint != nil {
		_ = s.endpoint.Close(ctx) // it is closed in any case
	}
	return s.transport.Shutdown(ctx) != nil
}
