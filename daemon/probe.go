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
	"strings"
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
	conn, err := p.dial(ctx, host, name)
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

// dial connects directly, or through the relay's upstream. Which host it is, a region says: it may not lead the gateway to what the
// relay would keep a device from, such as this machine and the site's own network.
func (p prober) dial(ctx context.Context, hostPort, name string) (net.Conn, error) {
	to, port, err := splitHost(hostPort)
	if err != nil {
		return nil, err
	}
	relay := p.daemon.config.Load().Relay
	clock, resolver := p.daemon.Clock, destination.ResolverOf(relay.DNSServers)
	guarded := destination.Dialer{Resolver: resolver, Clock: clock, Box: &destination.Box{Clock: clock}, Timeout: relay.Timeouts.Dial}
	rule := guardOf(relay.Allow, to, name, port)
	up := relay.Upstream
	if up.URL == nil || excepted(up, to) {
		conn, err := guarded.Dial(ctx, rule, to, port)
		if err != nil {
			return nil, err // not a *net.TCPConn that is nil
		}
		return conn, nil
	}
	if err := guarded.CheckLiteral(rule, to, port); err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: relay.Timeouts.Dial, Resolver: resolver}
	conn, err := dialer.DialContext(ctx, "tcp", up.URL.Host)
	if err != nil {
		return nil, fmt.Errorf("the upstream proxy: %w", err)
	}
	through, err := connectThrough(ctx, conn, up, hostPort)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("the upstream proxy: %w", err)
	}
	return through, nil
}

// guardOf is the rule by which the relay would judge the addresses of a host that it leads a device to, in place of one by another name:
// the host's own, or that of the name. Without either, only public addresses are.
func guardOf(allow []mfpgate.AllowRule, to mfpgate.Host, name string, port uint16) mfpgate.AllowRule {
	rules := destination.NewPolicy(allow)
	if rule, ok := rules.Allow(to, port); ok {
		return rule
	}
	if asked, err := mfpgate.ParseHost(name); err == nil {
		if rule, ok := rules.Allow(asked, port); ok {
			return rule
		}
	}
	return mfpgate.AllowRule{}
}

func splitHost(hostPort string) (mfpgate.Host, uint16, error) {
	text, digits, err := net.SplitHostPort(hostPort)
	if err != nil {
		return mfpgate.Host{}, 0, err
	}
	if strings.Contains(text, ":") {
		text = "[" + text + "]"
	}
	host, err := mfpgate.ParseHost(text)
	if err != nil {
		return mfpgate.Host{}, 0, err
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return mfpgate.Host{}, 0, fmt.Errorf("port of %.64q", hostPort)
	}
	return host, uint16(port), nil
}

func excepted(up config.Upstream, host mfpgate.Host) bool {
	return slices.ContainsFunc(up.Except, func(p mfpgate.HostPattern) bool { return p.Matches(host) })
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
