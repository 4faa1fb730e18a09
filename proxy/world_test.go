package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/proxy/destination"
	"github.com/mfpgate/mfpgate/telemetry"
)

// patience bounds every wait of a test; only a broken relay meets it.
const patience = 20 * time.Second

// atlas is a map of regions that the test changes. What it does not name passes, for a device that is managed.
type atlas struct {
	routes atomic.Pointer[map[string]mfpgate.Route]
	asked  sync.Map // by device
}

func (a *atlas) Route(device mfpgate.DeviceID, host mfpgate.Host, _ uint16, connect bool) mfpgate.Route {
	a.asked.Store(device, true)
	routes := *a.routes.Load()
	if r, ok := routes[host.String()+" connect"]; ok && connect {
		return r
	}
	if r, ok := routes[host.String()]; ok {
		return r
	}
	return mfpgate.Route{Epoch: 7}
}

// set gives routes, of a managed device to hosts of us unless they say otherwise.
func (a *atlas) set(routes map[string]mfpgate.Route) {
	for host, r := range routes {
		if r.Region == "" {
			r.Epoch, r.Region = 7, "us"
			routes[host] = r
		}
	}
	a.routes.Store(&routes)
}

// region is one origin: by TLS and without, each with a port of its own.
type region struct {
	name, address string
	tls, plain    uint16
	open          *atomic.Int64 // connections
}

func (r region) secure() string   { return fmt.Sprintf("%s:%d", r.name, r.tls) }
func (r region) insecure() string { return fmt.Sprintf("%s:%d", r.name, r.plain) }

// world is a relay before hosts of two regions. The device's was changed from us to jp. The certificate of jp has the name
// of us too, that of kr has not; front is a host that regions share.
type world struct {
	us, jp, kr, front region

	atlas   *atlas
	relay   *proxy.Relay
	at      string // of the relay
	metrics *telemetry.Metrics
	log     *journal
	roots   *x509.CertPool
	ca      string // file
	reached chan string
	blocked chan string
	arrived chan string // what an origin was asked and does not answer

	resolving atomic.Pointer[func()] // called while the relay waits for an address
}

// journal is a log that may be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func newWorld(t *testing.T, change func(*proxy.Options, *proxy.Policy)) *world {
	t.Helper()
	w := &world{atlas: &atlas{}, metrics: telemetry.NewMetrics(), log: &journal{}, reached: make(chan string, 100), blocked: make(chan string, 100), arrived: make(chan string, 100)}
	w.atlas.set(nil)
	issue := w.authority(t)
	addresses := map[string]string{}
	for i, r := range []*region{&w.us, &w.jp, &w.kr, &w.front} {
		label := []string{"us", "jp", "kr", "front"}[i]
		r.name, r.address = label+".cloud.test", fmt.Sprintf("127.0.1.%d", i+1)
		addresses[r.name+"."] = r.address
		names := []string{r.name}
		if label == "jp" || label == "front" {
			names = append(names, "us.cloud.test")
		}
		r.open = &atomic.Int64{}
		r.tls, r.plain = origin(t, label, r.address, issue(names...), w.arrived, r.open)
	}
	var ports []uint16
	for _, r := range []region{w.us, w.jp, w.kr, w.front} {
		ports = append(ports, r.tls, r.plain)
	}
	rule := func(pattern string, anySNI bool) mfpgate.AllowRule {
		host, err := mfpgate.ParseHostPattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		return mfpgate.AllowRule{Host: host, Ports: ports, Private: true, AnySNI: anySNI}
	}
	policy := &proxy.Policy{Clients: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, AdmitUnknown: true,
		Allow:    []mfpgate.AllowRule{rule("*.cloud.test", false), rule("front.cloud.test", true), rule("127.0.1.0/24", true)},
		Capacity: func(time.Time) (int, time.Time) { return 50, time.Time{} }, QueueTimeout: time.Minute, Linger: time.Minute,
		Resolver:    destination.ResolverOf([]netip.AddrPort{w.nameserver(t, addresses)}),
		DialTimeout: time.Minute, Idle: time.Hour, HeadTimeout: time.Minute}
	options := proxy.Options{Name: "test", Clock: mfpgate.SystemClock{}, Log: telemetry.NewLogger(w.log, mfpgate.SystemClock{}, &telemetry.Level{}, false),
		Metrics: w.metrics, Devices: anybody{}, Descriptors: 4096, Routes: w.atlas, FirstBytes: 100 * time.Millisecond,
		Reached: func(device mfpgate.DeviceID, host mfpgate.Host, port uint16, down int64) {
			w.reached <- fmt.Sprintf("%s %s:%d %t", device, host, port, down > 0)
		},
		Blocked: func(device mfpgate.DeviceID, host mfpgate.Host, region string, reason mfpgate.Reason) {
			select { // few tests read them
			case w.blocked <- fmt.Sprintf("%s %s of %s: %s", device, host, region, reason):
			default:
			}
		}}
	if change != nil {
		change(&options, policy)
	}
	w.relay, w.at = start(t, options, policy)
	return w
}

// origin serves over TLS and in plain what tells who it is and what it was asked. It counts the connections that are open.
func origin(t *testing.T, label, address string, cert tls.Certificate, arrived chan<- string, open *atomic.Int64) (secure, insecure uint16) {
	t.Helper()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang": // in the midst of the answer, until the client has gone
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		case "/mute": // before the answer
			arrived <- label
			<-r.Context().Done()
			return
		}
		host, _, _ := net.SplitHostPort(r.Host)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s got %s %s for %s: %s\n", label, r.Method, r.URL.RequestURI(), host, body)
	})
	listen := func() net.Listener {
		l, err := net.Listen("tcp", address+":0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	server := func(secure bool) uint16 {
		s := httptest.NewUnstartedServer(handler)
		_ = s.Listener.Close()
		s.Listener = listen()
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Add(-1)
			}
		}
		if secure {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(func() {
			s.CloseClientConnections()
			s.Close()
		})
		return uint16(s.Listener.Addr().(*net.TCPAddr).Port)
	}
	return server(true), server(false)
}

// authority makes a certificate authority, and returns what it issues.
func (w *world) authority(t *testing.T) (issue func(names ...string) tls.Certificate) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	now := time.Now()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	must(err)
	w.roots = x509.NewCertPool()
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	w.roots.AppendCertsFromPEM(encoded)
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	must(os.WriteFile(w.ca, encoded, 0o600))
	return func(names ...string) tls.Certificate {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
			Subject: pkix.Name{CommonName: names[0]}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, &own.PublicKey, key)
		must(err)
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}
	}
}

// nameserver answers for A records of its names.
func (w *world) nameserver(t *testing.T, names map[string]string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	known := maps.Clone(names)
	ended := make(chan struct{})
	go func() { // the cleanup waits for it
		defer close(ended)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			if meanwhile := w.resolving.Load(); meanwhile != nil {
				(*meanwhile)()
			}
			q := m.Questions[0]
			m = dnsmessage.Message{Questions: m.Questions, Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}}
			address, known := known[strings.ToLower(q.Name.String())]
			switch {
			case !known:
				m.RCode = dnsmessage.RCodeNameError
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body: &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()}}}
			}
			if b, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(b, from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// caller is a device's end of a tunnel.
type caller struct {
	net.Conn
	in *bufio.Reader
}

// connect asks for a tunnel from an address.
func (w *world) connect(t testing.TB, address, to string, fields ...string) (caller, *http.Response) {
	t.Helper()
	conn, err := from(address).Dial("tcp", w.at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", to, to, strings.Join(fields, ""))
	c := caller{conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return c, resp
}

// tunnel is connect where it must succeed.
func (w *world) tunnel(t testing.TB, address, to string) caller {
	t.Helper()
	c, resp := w.connect(t, address, to)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s to %s: %s, %s", address, to, resp.Status, resp.Header.Get("Proxy-Status"))
	}
	return c
}

// ask makes a request of the plain origin behind the tunnel, and returns the answer, or what ended the tunnel.
func (c caller) ask() (string, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: inside\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// open reports whether the tunnel still answers.
func (c caller) open(t testing.TB) bool {
	t.Helper()
	_, err := c.ask()
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Fatal("the tunnel neither answers nor ends")
	}
	return err == nil
}

// ends waits for the relay to cut the tunnel, and sends nothing.
func (c caller) ends(t testing.TB) {
	t.Helper()
	_, err := c.in.ReadByte()
	if ne, ok := errors.AsType[net.Error](err); err == nil || ok && ne.Timeout() {
		t.Fatalf("the tunnel is not cut: %v", err)
	}
}

// client is Go's, through the relay.
func (w *world) client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: w.at}), TLSClientConfig: &tls.Config{RootCAs: w.roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// wait polls for a state.
func wait(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}
