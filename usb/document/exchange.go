package document

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/OpenPrinting/goipp"
)

// The ways in which a printer does not print, besides the errors of the Client's transport.
var (
	// ErrNotIPP is returned when what answers speaks no IPP, or its message is broken or beyond the bounds.
	ErrNotIPP = errors.New("not an IPP answer")
	// ErrRefused is returned when the printer does not take the job, as it stands: its status is in the text.
	ErrRefused = errors.New("the printer refused the job")
	// ErrAborted is returned when the printer gave a job up that it had taken.
	ErrAborted = errors.New("the printer aborted the job")
	// ErrCanceled is returned when somebody else canceled the job: at the printer, or from another host.
	ErrCanceled = errors.New("the job was canceled at the printer")
	// ErrUnknown is returned when the connection ended before the printer answered, and it cannot be asked whether it has the
	// job: it may be printed all the same.
	ErrUnknown = errors.New("it is not known whether the printer has the job")

	// errBusy is a printer's that takes no job now.
	errBusy = errors.New("the printer is busy")
)

// exchangeTimeout bounds an exchange that carries no document.
const exchangeTimeout = 30 * time.Second

// ask is an exchange without a document. A status that is no success is in the answer; an error says that there is no answer.
func (p *printing) ask(ctx context.Context, m *goipp.Message) (answer, error) {
	head, err := m.EncodeBytes()
	if err != nil {
		return answer{}, fmt.Errorf("encode %s: %w", goipp.Op(m.Code), err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	stop := p.ipp.Clock.AfterFunc(exchangeTimeout, func() { cancel(context.DeadlineExceeded) })
	defer stop()
	a, err := p.post(ctx, bytes.NewReader(head), int64(len(head)), m.RequestID)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause // the transport says less
	}
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", goipp.Op(m.Code), err)
	}
	return a, nil
}

// post is the HTTP part (RFC 8010 §4). The error wraps errBusy where HTTP says so.
func (p *printing) post(ctx context.Context, body io.Reader, length int64, id uint32) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.ipp.URL, body)
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", err)
	}
	req.ContentLength = length
	req.Header = http.Header{"Content-Type": {goipp.ContentType}, "Accept": {goipp.ContentType}, "User-Agent": {"mfpgate"}}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return answer{}, fmt.Errorf("%w: HTTP %d", errBusy, code)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return answer{}, fmt.Errorf("%w: it wants a login: HTTP %d", ErrRefused, code)
	case code == http.StatusNotFound:
		return answer{}, fmt.Errorf("%w: no printer at this path: HTTP %d", ErrRefused, code)
	default:
		return answer{}, fmt.Errorf("%w: HTTP %d", ErrNotIPP, code)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return answer{}, err
	}
	if len(text) > maxAnswer {
		return answer{}, fmt.Errorf("%w: larger than %d KiB", ErrNotIPP, maxAnswer>>10)
	}
	a, err := decode(text)
	return a, err
}

// refusal is the error of a status that is no success; nil for one that is (RFC 8011 §B.1.2).
func (a answer) refusal() error {
	if a.status < 0x0100 {
		return nil
	}
	said := a.status.String()
	if a.text != "" {
		said += ": " + a.text
	}
	switch a.status {
	case goipp.StatusErrorBusy, goipp.StatusErrorServiceUnavailable, goipp.StatusErrorTemporary, goipp.StatusErrorNotAcceptingJobs,
		goipp.StatusErrorTooManyJobs, goipp.StatusErrorTimeout:
		return fmt.Errorf("%w: %s", errBusy, said)
	}
	return fmt.Errorf("%w: %s", ErrRefused, said)
}
