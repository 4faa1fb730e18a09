package usb

import (
	"context"
	"io"
	"net/http"
	"net/netip"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/document"
)

// otherSession is a printer that another program drives.
type otherSession struct {
	p       *plug
	address netip.AddrPort
	ctx     context.Context // ends with the session
	end     context.CancelFunc
	// transport is the session's own: its idle connections are closed with it.
	transport *http.Transport
}

func (s *otherSession) mode() mfpgate.USBMode { return mfpgate.USBModeOther }
func (s *otherSession) at() netip.AddrPort    { return s.address }
func (s *otherSession) broken() <-chan error  { return nil }

// RoundTrip brings a request to the other program for as long as it has the printer. That the session ends is a fault of the way to
// the printer, and no order to cancel the job.
func (s *otherSession) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.ctx.Err() != nil {
		return nil, refusal(ReasonGone, "the printer at %s is not ipp-usb's any more", s.p.port)
	}
	ctx, cancel := context.WithCancel(req.Context())
	unbind := context.AfterFunc(s.ctx, cancel)
	free := func() {
		unbind()
		cancel()
	}
	resp, err := s.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		free()
		return nil, err
	}
	resp.Body = lentBody{resp.Body, free}
	return resp, nil
}

// lentBody is an answer's body; its Close is the end of the request.
type lentBody struct {
	io.ReadCloser
	free func()
}

func (b lentBody) Close() error {
	defer b.free()
	return b.ReadCloser.Close()
}

func (s *otherSession) print(ctx context.Context, doc mfpgate.Document, told func(mfpgate.JobStatus)) (mfpgate.JobStatus, error) {
	return document.IPP{Clock: s.p.m.o.Clock, Client: &http.Client{Transport: s}, URL: "http://" + s.address.String() + "/" + path}.Print(ctx, doc, told)
}

func (s *otherSession) read(context.Context, mfpgate.Parts) (mfpgate.Reading, error) {
	return mfpgate.Reading{}, refusal(ReasonIPPUSB, "the printer at %s is ipp-usb's; ask it at its endpoint", s.p.port)
}

func (s *otherSession) close(context.Context) bool { return false }
