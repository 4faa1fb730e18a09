package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/proxy/devicename"
)

// maxUpstreamHead bounds the upstream's answer to CONNECT.
const maxUpstreamHead = 32 << 10

// maxUpstreamRetry bounds the Retry-After that is passed on.
const maxUpstreamRetry = time.Hour

// dialUpstream asks the upstream proxy for the tunnel. One deadline covers the connection and the answer.
func (r *Relay) dialUpstream(ctx context.Context, p *Policy, x *exchange) (conn *net.TCPConn, said []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.DialTimeout)
	defer cancel()
	conn, err = connectUpstream(ctx, p.Upstream)
	if err != nil {
		return nil, nil, err
	}
	// The deadline wakes the exchange below when ctx ends, for whatever reason.
	unhook := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	said, err = r.askUpstream(conn, p.Upstream, x)
	if !unhook() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			err = &refusal{reason: UpstreamSilent, err: err}
		}
		return nil, nil, err
	}
	return conn, said, nil
}

// connectUpstream dials the administrator's own choice, which is usually a private address: no guard applies.
func connectUpstream(ctx context.Context, u *Upstream) (*net.TCPConn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.URL.Host)
	if err != nil {
		if destination.Classify(err) == destination.ReasonConnectionTimeout {
			return nil, &refusal{reason: UpstreamSilent, err: err}
		}
		return nil, &refusal{reason: UpstreamAway, err: err}
	}
	return conn.(*net.TCPConn), nil
}

func (r *Relay) askUpstream(conn *net.TCPConn, u *Upstream, x *exchange) (said []byte, err error) {
	to := x.way.to.String()
	var ask bytes.Buffer
	fmt.Fprintf(&ask, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", to, to)
	for name, value := range u.fields(r.clock, http.MethodConnect, to, x.device) {
		fmt.Fprintf(&ask, "%s: %s\r\n", name, value)
	}
	fmt.Fprintf(&ask, "Via: %s\r\n\r\n", strings.Join(append(x.via, "1.1 "+r.pseudonym), ", "))
	if _, err := conn.Write(ask.Bytes()); err != nil {
		return nil, &refusal{reason: UpstreamBroken, err: err}
	}
	limited := &io.LimitedReader{R: conn, N: maxUpstreamHead}
	in := bufio.NewReaderSize(limited, 4<<10)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, &refusal{reason: UpstreamBroken, err: err}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return nil, upstreamRefusal(resp)
	}
	said, err = in.Peek(in.Buffered())
	return bytes.Clone(said), err
}

// upstreamRefusal says in our words what the upstream proxy answered; its text is not passed on.
func upstreamRefusal(resp *http.Response) *refusal {
	no := &refusal{reason: UpstreamRefused, err: fmt.Errorf("upstream proxy answered %d", resp.StatusCode)}
	switch resp.StatusCode {
	case http.StatusProxyAuthRequired:
		no.reason = UpstreamAuth
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		no.reason = UpstreamBusy
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
			no.retryAfter = min(time.Duration(seconds)*time.Second, maxUpstreamRetry)
		}
	}
	return no
}

// fields are what the upstream proxy gets beside the request itself: the relay's own account, and the device's name if
// the upstream is another mfpgate.
func (u *Upstream) fields(clock mfpgate.Clock, method, authority string, d device) map[string]string {
	fields := map[string]string{}
	if u.User != "" {
		fields["Proxy-Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User+":"+u.Password.Reveal()))
	}
	if u.DeviceKey != "" && d.id != "" {
		fields[devicename.Header] = devicename.Sign(clock, u.DeviceKey, u.User, method, authority, d.id)
	}
	return fields
}
