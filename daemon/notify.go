package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// notify tells the service manager the daemon's state (sd_notify(3)). Without one it does nothing.
func (d *Daemon) notify(state string) {
	path := d.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(state))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		d.log.Warn().Err(err).Str(field.Text, state).Msg(event.DaemonDegraded)
	}
}

// monotonicMicroseconds is what RELOADING=1 needs beside it: the manager orders messages by it.
func monotonicMicroseconds() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano() / 1000
}

// RelaySilent is the degradation while the relay does not answer its own probe.
const RelaySilent mfpgate.Reason = "relay-silent"

// watchdog proves to the service manager that the relay answers, at half the interval that it was given. A probe that
// fails is not reported, so the manager restarts the daemon: a full disk or a cloud that is away must not do that, and
// is no part of the probe.
func (d *Daemon) watchdog(ctx context.Context) error {
	usec, err := strconv.ParseInt(d.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return nil
	}
	interval := time.Duration(usec) * time.Microsecond / 2
	for {
		if err := d.probe(ctx, interval); err == nil {
			d.health.clear(RelaySilent)
			d.notify("WATCHDOG=1")
		} else if ctx.Err() == nil {
			d.health.set(RelaySilent, "the relay does not answer itself: "+err.Error())
			d.log.Error().Err(err).Msg(event.DaemonDegraded)
		}
		if mfpgate.Wait(ctx, d.Clock, interval) != nil {
			return nil
		}
	}
}

// probe asks the relay, through its own socket, whether it serves: OPTIONS * is a question to the proxy itself
// (RFC 9110 §9.3.7).
func (d *Daemon) probe(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	to, err := netip.ParseAddrPort(d.where.Relay[0].String())
	if err != nil {
		return err
	}
	if to.Addr().IsUnspecified() {
		to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: mfpgate\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the relay answered its own question with %d", resp.StatusCode)
	}
	return nil
}
