package mfp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// listen keeps the push channel open.
func (d *Device) listen(ctx context.Context) {
	pause := backoff{jitter: d.o.Jitter}
	for ctx.Err() == nil {
		err := d.channel(ctx, pause.reset)
		if ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if errors.Is(err, errLeft) {
			pause.reset()
			continue
		}
		if errors.Is(err, io.EOF) {
			wait = pause.next(0)
			d.tell(Event{Kind: PushClosed, Channel: "push", RetryMS: wait.Milliseconds(), Text: "push channel ended, opens it again in " + round(wait).String()})
		} else {
			wait = d.tellTrouble(err, "push", &pause)
		}
		timer := d.o.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
}

// channel opens the channel once and reads it to its end, which is io.EOF.
func (d *Device) channel(ctx context.Context, opened func()) error {
	ctx, kick, stop := watchdog(ctx, d.o.Clock, d.o.PushIdle)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.home.Load().here, func() { cancel(errLeft) })()
	req, err := d.request(ctx, http.MethodGet, "/v1/devices/"+d.o.ID+"/push", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := d.do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	opened()
	d.tell(Event{Kind: PushOpened, Channel: "push", Text: "push channel is open"})
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		kick()
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok && name == api.PushOffer {
			select {
			case d.nudge <- struct{}{}:
			default: // one is waiting already
			}
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := lines.Err(); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return io.EOF
}
