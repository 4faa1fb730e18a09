package usb

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/quirk"
	"github.com/mfpgate/mfpgate/usb/raw"
)

// rawSession drives a printer as a stream of bytes.
type rawSession struct {
	p      *plug
	port   *raw.Port
	h      bus.Handle
	face   bus.Interface
	resets bool          // after each job
	turn   chan struct{} // of who prints, where resets stand between jobs
	failed atomic.Int32  // jobs in a row whose transfers failed
	broke  chan error
}

func (p *plug) beginRaw(ctx context.Context, h bus.Handle, face bus.Interface, q quirk.Quirks, w who) (session, error) {
	port, err := raw.Open(ctx, raw.Options{Clock: p.m.o.Clock, Log: p.m.o.Log, Handle: metered{h, p.m.o.Metrics, mfpgate.USBModeRaw}, Interface: face,
		CommandSet: w.id.CommandSet, Quirks: raw.Quirks{OneWay: q.Unidirectional, NoPJL: q.NoPJL, NoPortStatus: q.NoPortStatus, NoSoftReset: q.NoSoftReset}})
	if err != nil {
		return nil, err
	}
	s := &rawSession{p: p, port: port, h: h, face: face, resets: q.ResetAfterJob, turn: make(chan struct{}, 1), broke: make(chan error, 1)}
	if q.Reset == quirk.ResetSoft && !p.wasReset {
		p.wasReset = true
		if err := p.softReset(ctx, h, face); err != nil {
			p.noise("its quirk wants a soft reset", err)
		}
	}
	return s, nil
}

func (s *rawSession) mode() mfpgate.USBMode { return mfpgate.USBModeRaw }
func (s *rawSession) at() netip.AddrPort    { return netip.AddrPort{} }
func (s *rawSession) broken() <-chan error  { return s.broke }

func (s *rawSession) print(ctx context.Context, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	if s.resets {
		select {
		case s.turn <- struct{}{}:
		default:
			told(mfpgate.JobStatus{State: mfpgate.JobPending, Message: "it waits for the jobs before it"})
			select {
			case s.turn <- struct{}{}:
			case <-ctx.Done():
				return mfpgate.JobStatus{State: mfpgate.JobCanceled, Reasons: []string{"job-canceled-by-user"}}, ctx.Err()
			}
		}
		defer func() { <-s.turn }()
	}
	status, err := s.port.Print(ctx, doc, told)
	if errors.Is(err, bus.ErrFailed) || errors.Is(err, bus.ErrOverflow) {
		// After one the port mends itself, and the jobs that wait may go on; a reset ends them, and what the printer has buffered.
		if s.failed.Add(1) > 1 {
			select {
			case s.broke <- err:
			default:
			}
		}
		return status, err
	}
	s.failed.Store(0)
	if s.resets && status.Sent > 0 {
		if err := s.p.softReset(context.WithoutCancel(ctx), s.h, s.face); err != nil {
			s.p.noise("its quirk wants a soft reset after each job", err)
		}
	}
	return status, err
}

func (s *rawSession) read(ctx context.Context, parts mfpgate.Parts) (mfpgate.Reading, error) {
	return s.port.Read(ctx, parts)
}

func (s *rawSession) close(ctx context.Context) (hung bool) { return s.port.Close(ctx) != nil }
