package daemon

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/proxy/destination"
)

// probeTimeout bounds one look at a certificate, with its connection.
const probeTimeout = 10 * time.Second

// prober asks hosts of regions for their certificates, by the way that the relay would take.
type prober struct {
	daemon *Daemon
	roots  *x509.CertPool // nil: the system's
}

// Probe implements route.Prober: host is host:port, and name the one that the certificate must be good for, by the system's roots.
func (p prober) Probe(ctx context.Context, host, name string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := p.dial(ctx, host)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", host, err)
	}
	defer func() { _ = conn.Close() }()
	// What is spoken afterwards is nobody's business here.
	if err := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: p.roots, MinVersion: tls.VersionTLS12}).HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%s as %s: %w", host, name, err)
	}
	return nil
}

// dial connects directly, or through the relay's upstream.
func (p prober) dial(ctx context.Context, host string) (net.Conn, error) {
	relay := p.daemon.config.Load().Relay
	dialer := net.Dialer{Timeout: relay.Timeouts.Dial, Resolver: destination.ResolverOf(relay.DNSServers)}
	up := relay.Upstream
	if up.URL == nil || excepted(up, host) {
		return dialer.DialContext(ctx, "tcp", host)
	}
	conn, err := dialer.DialContext(ctx, "tcp", up.URL.Host)
	if err != nil {
		return nil, fmt.Errorf("the upstream proxy: %w", err)
	}
	through, err := connectThrough(ctx, conn, up, host)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("the upstream proxy: %w", err)
	}
	return through, nil
}

func excepted(up config.Upstream, hostPort string) bool {
	text, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	host, err := mfpgate.ParseHost(text)
	return err == nil && slices.ContainsFunc(up.Except, func(p mfpgate.HostPattern) bool { return p.Matches(host) })
}

// connectThrough has a proxy open a tunnel (RFC 9110 §9.3.6).
func connectThrough(ctx context.Context, conn net.Conn, up config.Upstream, host string) (net.Conn, error) {
	if until, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(until); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	ask := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: host}, Host: host, Header: http.Header{}}
	if up.User != "" {
		ask.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(up.User+":"+up.Password.Reveal())))
	}
	if err := ask.Write(conn); err != nil {
		return nil, err
	}
	// A TLS server does not speak first: nothing that follows the answer is lost in the reader.
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4<<10), ask)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s to CONNECT %s", strconv.Itoa(resp.StatusCode), host)
	}
	return conn, nil
}
