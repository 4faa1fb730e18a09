package ippusb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// ErrSilent says that there is no HTTP behind the interfaces: nothing came in time, or something else did.
var ErrSilent = errors.New("the USB printer does not answer HTTP")

// Probe asks each interface once, in turn, whether HTTP is behind it, by the one request that every IPP printer must know:
// Get-Printer-Attributes (RFC 8011 §4.2.5). Any answer will do, also 503 while the printer starts. An interface that is silent for
// Quirks.InitTimeout, or answers something else, gets one soft reset and a second try. An answer to another IPP request is one that
// the printer owed a former user of the interface: it is thrown away. So, done before the first request, Probe puts the printer in step
// whatever became of its former users.
//
// It fails with ErrBroken and ErrSilent, or with ErrBroken and what ended it in the midst, also ctx: the printer must be reset.
func (t *Transport) Probe(ctx context.Context) error {
	for range t.pairs {
		p, err := t.acquire(ctx)
		if err != nil {
			return fmt.Errorf("probe the USB printer: %w", err)
		}
		err = t.probe(ctx, p)
		if err != nil {
			err = t.fail(nil, fmt.Errorf("probe interface %d: %w", p.iface.Number, err))
		}
		p.r, p.w, p.used = 0, 0, t.clock.Now()
		t.release(p)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Transport) probe(ctx context.Context, p *pair) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.base, func() { cancel(context.Cause(t.base)) })()
	q := t.o.Quirks
	if q.SoftReset && !q.NoSoftReset {
		if err := t.softReset(ctx, p); err != nil {
			return err
		}
	}
	err := t.ask(ctx, p)
	if errors.Is(err, ErrSilent) && !q.NoSoftReset {
		t.o.Log.Info().Str(field.Interface, strconv.Itoa(p.iface.Number)).Err(err).Msg(event.USBSoftReset) // nobody else learns why
		if err := t.softReset(ctx, p); err != nil {
			return fmt.Errorf("%w; then %w", ErrSilent, err)
		}
		err = t.ask(ctx, p)
	}
	return err
}

// maxStale is how many answers to others are thrown away.
const maxStale = 4

// ask sends one request, and reads until its own answer is whole.
func (t *Transport) ask(ctx context.Context, p *pair) error {
	if err := p.flush(ctx, 4*quietFor); err != nil {
		return err
	}
	id := uint32(t.clock.Now().UnixNano())&0x3fffffff | 1 // no two of them alike, also not after a restart
	body := getPrinterAttributes(id)
	req := (&http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/ipp/print"}, Header: http.Header{"Content-Type": {"application/ipp"}}}).WithContext(ctx)
	head, err := t.head(req)
	if err != nil {
		return err
	}
	out := append(strconv.AppendInt(append(head, "Content-Length: "...), int64(len(body)), 10), "\r\n\r\n"...)
	o := t.o
	o.SendTimeout, o.AnswerTimeout = o.Quirks.InitTimeout, o.Quirks.InitTimeout
	x := &exchange{t: t, pair: p, req: req, limits: &o}
	x.moved()
	if err := p.send(ctx, append(out, body...), x); err != nil {
		return silence(ctx, err)
	}
	x.sent.Store(true)
	for range maxStale {
		mine, err := x.answered(ctx, id)
		if err != nil {
			return silence(ctx, err)
		}
		if mine {
			return nil
		}
	}
	return fmt.Errorf("%w: it answers what it was not asked", ErrSilent)
}

// silence says ErrSilent of an error that may be mended by a soft reset.
func silence(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrTimeout), errors.Is(err, ErrProtocol), errors.Is(err, errShort), errors.Is(err, bus.ErrStalled), errors.Is(err, bus.ErrOverflow), errors.Is(err, bus.ErrFailed):
		return fmt.Errorf("%w: %w", ErrSilent, err)
	}
	return err
}

// answered reads one answer and reports whether it is the one to request id.
func (x *exchange) answered(ctx context.Context, id uint32) (bool, error) {
	resp, c, err := x.head(ctx)
	if err != nil {
		return false, err
	}
	begins := make([]byte, 0, 8) // version, status, request-id (RFC 8010 §3.1.1)
	for total := int64(0); c != nil; {
		var b [8]byte
		n, more := 0, false
		if len(begins) < cap(begins) {
			n, more, err = c.read(ctx, b[:cap(begins)-len(begins)])
			begins = append(begins, b[:n]...)
		} else {
			n, more, err = c.skip(ctx)
		}
		total += int64(n)
		switch {
		case errors.Is(err, errShort):
			c = nil
		case err != nil:
			return false, err
		case !more:
			c = nil
		case total > 1<<20:
			return false, fmt.Errorf("%w: an answer of more than 1 MiB to a request for two attributes", ErrProtocol)
		}
	}
	ipp := resp.StatusCode == http.StatusOK && len(begins) == cap(begins) && resp.Header.Get("Content-Type") == "application/ipp"
	return !ipp || binary.BigEndian.Uint32(begins[4:]) == id, nil
}

// softReset puts an interface in step, on both sides.
func (t *Transport) softReset(ctx context.Context, p *pair) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer t.clock.AfterFunc(5*time.Second, cancel)()
	if err := bus.SoftReset(ctx, t.o.Handle, p.iface.Number); err != nil {
		return fmt.Errorf("soft reset of interface %d: %w", p.iface.Number, err)
	}
	if err := p.claim.ClearHalt(ctx); err != nil {
		return fmt.Errorf("soft reset of interface %d: %w", p.iface.Number, err)
	}
	return nil
}

// getPrinterAttributes is that request for printer-state and printer-name (RFC 8010 §3.1): every printer has them at hand.
func getPrinterAttributes(id uint32) []byte {
	const charset, language, uri, keyword = 0x47, 0x48, 0x45, 0x44
	b := []byte{2, 0, 0, 0x0b}
	b = binary.BigEndian.AppendUint32(b, id)
	b = append(b, 1) // operation attributes
	for _, a := range []struct {
		tag         byte
		name, value string
	}{
		{charset, "attributes-charset", "utf-8"},
		{language, "attributes-natural-language", "en"},
		{uri, "printer-uri", "ipp://localhost/ipp/print"},
		{keyword, "requested-attributes", "printer-state"},
		{keyword, "", "printer-name"}, // a further value
	} {
		b = append(b, a.tag)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(a.name))), a.name...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(a.value))), a.value...)
	}
	return append(b, 3)
}
