package daemon

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
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

// closing is how long the daemon may take to stop beside the drain: requests on the pages, and the store.
const closing = 30 * time.Second

// notifyStopping asks for as much time as the drain may take, which is the configuration's to say and not the unit's.
func (d *Daemon) notifyStopping() {
	budget := d.config.Load().Relay.Timeouts.Drain + closing
	d.notify("STOPPING=1\nEXTEND_TIMEOUT_USEC=" + strconv.FormatInt(budget.Microseconds(), 10))
}

// RelaySilent is the degradation while the relay does not answer its own probe.
const RelaySilent mfpgate.Reason = "relay-silent"

// watchdog proves to the service manager that the relay answers. A probe that fails is not reported, so the manager
// restarts the daemon: a full disk or a cloud that is away must not do that, and is no part of the probe.
func (d *Daemon) watchdog(ctx context.Context) error {
	usec, err := strconv.ParseInt(d.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return nil
	}
	if pid := d.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil // meant for another process (sd_watchdog_enabled(3))
	}
	// A quarter to wait and at most a quarter to answer: one probe may be lost without a restart.
	interval := time.Duration(usec) * time.Microsecond / 4
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
// (RFC 9110 §9.3.7). A refusal is an answer, too: a relay at its limit of connections serves, and must not be restarted.
func (d *Daemon) probe(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := dialSelf(ctx, d.where.Relay[0])
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
	_, err = http.ReadResponse(bufio.NewReader(conn), nil)
	return err
}

// dialSelf connects to a listener of this process. One on the unspecified address is reached over a loopback address, of
// which an IPv6-only socket answers on its own alone.
func dialSelf(ctx context.Context, listener net.Addr) (net.Conn, error) {
	at, err := netip.ParseAddrPort(listener.String())
	if err != nil {
		return nil, err
	}
	to := []netip.AddrPort{at}
	if at.Addr().IsUnspecified() {
		to = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port())}
		if at.Addr().Is6() {
			to = append(to, netip.AddrPortFrom(netip.IPv6Loopback(), at.Port()))
		}
	}
	var all []error
	for _, a := range to {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", a.String())
		if err == nil {
			return conn, nil
		}
		all = append(all, err)
	}
	return nil, errors.Join(all...)
}
