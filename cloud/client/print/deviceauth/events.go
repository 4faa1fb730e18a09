package deviceauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api/sse"
	"github.com/mfpgate/mfpgate/cloud/client/print/exchange"
)

const (
	maxLine   = 4 << 10 // bytes
	maxStream = 4 << 20 // bytes before an event: heartbeats of a day
	// silence is after how long a stream without even a heartbeat counts as lost.
	silence = 2 * time.Minute
)

// errSilent says that a stream has died without a word.
var errSilent = fmt.Errorf("no heartbeat for %v", silence)

// AwaitEvent returns nil when the server says that something has changed for the code (`event: changed` in a text/event-stream).
// It blocks until then, until ctx ends or the stream does. mfpgate.ErrNoEvents if the server has no such stream. The client's
// Timeout does not bound it.
func (c Client) AwaitEvent(ctx context.Context, code mfpgate.Code) error {
	if code.Events == "" {
		return mfpgate.ErrNoEvents
	}
	if err := c.await(ctx, code); err != nil {
		return fmt.Errorf("await event: %w", err)
	}
	return nil
}

func (c Client) await(ctx context.Context, code mfpgate.Code) error {
	if _, err := exchange.Secure(code.Events); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, code.Events, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", sse.ContentType)
	req.Header.Set("Authorization", "Bearer "+code.DeviceCode.Reveal())
	req.Header.Set("Cache-Control", "no-store")
	req.Header.Set("User-Agent", "mfpgate")
	stream := *c.HTTP
	stream.Timeout = 0
	stream.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := stream.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusNotImplemented:
		return fmt.Errorf("%w: status %d", mfpgate.ErrNoEvents, res.StatusCode)
	default:
		a := exchange.Answer{Status: res.StatusCode, Header: res.Header, Now: c.clock().Now()}
		return a.Refuse(nil, "", "")
	}
	if kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || kind != sse.ContentType {
		return fmt.Errorf("%w: it is no event stream", mfpgate.ErrNoEvents)
	}
	watch := &watched{in: io.LimitReader(res.Body, maxStream)}
	watch.rearm = func() {
		if watch.stop != nil {
			watch.stop()
		}
		watch.stop = c.clock().AfterFunc(silence, func() { cancel(errSilent) })
	}
	watch.rearm()
	defer func() { watch.stop() }()
	if err := changed(watch); err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			return errSilent
		}
		return err
	}
	return nil
}

// watched tells of every byte that comes.
type watched struct {
	in    io.Reader
	rearm func()
	stop  func() bool
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if n > 0 {
		w.rearm()
	}
	return n, err
}

// changed reads an event stream until an event named changed has ended. The data of an event say nothing.
func changed(in io.Reader) error {
	for event, err := range sse.Read(in, maxLine) {
		if err != nil {
			return err
		}
		if event.Name == "changed" {
			return nil
		}
	}
	return io.ErrUnexpectedEOF
}
