package endpoint_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

// curl asks as a user, and returns the status and the body.
func curl(t *testing.T, uid uint32, args ...string) (status string, body string) {
	t.Helper()
	cmd := exec.Command(need.Program(t, "curl"), append([]string{"-sS", "--noproxy", "*", "-m", "20", "-w", "\n%{http_code}"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	i := strings.LastIndexByte(string(out), '\n')
	if i < 0 {
		t.Fatalf("curl %s: %v: %s", args, err, out)
	}
	return string(out[i+1:]), string(out[:i])
}

const someoneElse = 65534

func TestOffIsForTheGatewaysOwnUser(t *testing.T) {
	need.Root(t) // to be somebody else
	var asked atomic.Int64
	rt := printer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, "printer")
	}))
	e := newEndpoints(t, func(o *endpoint.Options) { o.Share = endpoint.Off })
	p := serve(t, e, "a", rt)
	if r, body := exchange(t, p, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); r.StatusCode != 200 || body != "printer" {
		t.Errorf("the gateway itself got %d %q", r.StatusCode, body)
	}
	if status, body := curl(t, 0, p.URL()); status != "200" {
		t.Errorf("its own user got %s %s", status, body)
	}
	// A socket of IPv6 that sends to the mapped address is in another of the kernel's tables.
	if status, body := curl(t, 0, fmt.Sprintf("http://[::ffff:127.0.0.1]:%d", p.Address().Port())); status != "200" {
		t.Errorf("its own user got %s %s by a mapped address", status, body)
	}
	before := asked.Load()
	if status, body := curl(t, someoneElse, p.URL()); status != "403" || !strings.Contains(body, "usb.share: off") {
		t.Errorf("another user got %s %q", status, body)
	}
	// Of a socket that is closed the kernel says that it is root's: to send and go must not make one root.
	lingers := false
	asSomeoneElse(t, p.Address().String(), 50, func(c net.Conn) {
		if lingers = !lingers; lingers {
			_ = c.(*net.TCPConn).SetLinger(1)
		}
		_, _ = io.WriteString(c, "POST /ipp/print HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
		_ = c.Close()
	})
	closeNow(t, p) // all that was sent has been judged
	if n := asked.Load() - before; n != 0 {
		t.Errorf("the printer was asked %d times by another user", n)
	}
	if got := interfacesOf(t, e, rt); got != "127.0.0.1" {
		t.Errorf("listens at %s", got)
	}
}

// asSomeoneElse has another user of this machine do something with n connections.
func asSomeoneElse(t *testing.T, address string, n int, do func(net.Conn)) {
	t.Helper()
	need.Root(t)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, someoneElse, someoneElse, someoneElse); errno != 0 {
			done <- errno
			return
		}
		for range n {
			c, err := net.Dial("tcp", address)
			if err != nil {
				done <- err
				return
			}
			do(c)
		}
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// interfacesOf says where an endpoint is reached: loopbacks and, for others, the machine's first other address.
func interfacesOf(t *testing.T, e *endpoint.Endpoints, rt http.RoundTripper) string {
	t.Helper()
	p := serve(t, e, "where", rt)
	defer closeNow(t, p)
	return reached(p)
}

func reached(p *endpoint.Endpoint) string {
	var at []string
	for _, host := range []string{"127.0.0.1", "127.0.0.9", "::1"} { // 127.0.0.9 is the wildcard's alone
		c, err := net.DialTimeout("tcp", net.JoinHostPort(host, fmt.Sprint(p.Address().Port())), deadline)
		if err == nil {
			at = append(at, host)
			_ = c.Close()
		}
	}
	return strings.Join(at, " ")
}

func TestReconfigureKeepsThePortAndWhatIsUnderWay(t *testing.T) {
	published := &publisher{}
	e := newEndpoints(t, func(o *endpoint.Options) {
		o.Share, o.Publisher = endpoint.Off, published
		o.Clients = func(netip.Addr) bool { return true }
	})
	release := make(chan struct{})
	p := serve(t, e, "a", printer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			_, _ = io.WriteString(w, "begun\n")
			_ = http.NewResponseController(w).Flush()
			<-release
		}
		_, _ = io.WriteString(w, "done\n")
	})))
	at := p.Address()
	slow, err := http.Get(p.URL() + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	lines := bufio.NewReader(slow.Body)
	if line, err := lines.ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	for _, c := range []struct {
		share endpoint.Share
		at    string
		named int
	}{
		{endpoint.LAN, "127.0.0.1 127.0.0.9 ::1", 1},
		{endpoint.Local, "127.0.0.1 ::1", 0},
		{endpoint.LAN, "127.0.0.1 127.0.0.9 ::1", 1},
		{endpoint.LAN, "127.0.0.1 127.0.0.9 ::1", 1},
		{endpoint.Off, "127.0.0.1", 0},
	} {
		if err := e.Reconfigure(c.share); err != nil {
			t.Fatal(err)
		}
		if got := reached(p); got != c.at || p.Address() != at || p.Shared() != (c.share == endpoint.LAN) {
			t.Errorf("%s: reached at %s, want %s; at %s, was %s", c.share, got, c.at, p.Address(), at)
		}
		if n := len(published.published()); n != c.named {
			t.Errorf("%s: %d published, want %d", c.share, n, c.named)
		}
		if r, _ := exchange(t, p, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); r.StatusCode != 200 {
			t.Errorf("%s: %s", c.share, r.Status)
		}
	}
	close(release)
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "done\n" {
		t.Errorf("what was under way ended with %q %v", rest, err)
	}
	if err := e.Reconfigure("all"); err == nil {
		t.Error("a share that is none is taken")
	}
}

func TestAPortThatAnotherProgramHasOnTheNetwork(t *testing.T) {
	e := newEndpoints(t, nil)
	p := serve(t, e, "a", printer(t, http.NotFoundHandler()))
	other, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.9:%d", p.Address().Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := e.Reconfigure(endpoint.LAN); !errors.Is(err, endpoint.ErrTaken) || p.Shared() {
		t.Errorf("%v, shared %v", err, p.Shared())
	}
	if r, _ := exchange(t, p, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); r.StatusCode != 404 {
		t.Errorf("on this machine: %s", r.Status)
	}
}

// What could not be put in force is not taken for what is: it is tried again until it can be.
func TestAPortThatAnotherProgramHasOnThisMachine(t *testing.T) {
	e := newEndpoints(t, func(o *endpoint.Options) { o.Share = endpoint.Off })
	p := serve(t, e, "a", printer(t, http.NotFoundHandler()))
	other, err := net.Listen("tcp6", fmt.Sprintf("[::1]:%d", p.Address().Port()))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := e.Reconfigure(endpoint.Local); !errors.Is(err, endpoint.ErrTaken) {
			t.Error(err)
		}
	}
	_ = other.Close()
	if err := e.Reconfigure(endpoint.Local); err != nil || reached(p) != "127.0.0.1 ::1" {
		t.Errorf("%v, reached at %s", err, reached(p))
	}
}

// TestLANIsForTheClients asks by another address of this machine, as the network does: the kernel takes that for the source as well.
func TestLANIsForTheClients(t *testing.T) {
	var mine netip.Addr
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			mine, _ = netip.AddrFromSlice(n.IP.To4())
		}
	}
	need.That(t, mine.IsValid(), "needs an address that is no loopback")
	var welcome atomic.Bool
	e := newEndpoints(t, func(o *endpoint.Options) {
		o.Share = endpoint.LAN
		o.Clients = func(a netip.Addr) bool { return a == mine && welcome.Load() }
	})
	p := serve(t, e, "a", printer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "printer") })))
	url := "http://" + netip.AddrPortFrom(mine, p.Address().Port()).String()
	get := func(host string) (int, string) {
		r, _ := http.NewRequest(http.MethodGet, url, nil)
		r.Host = host
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		body, _ := io.ReadAll(a.Body)
		return a.StatusCode, string(body)
	}
	if status, body := get(""); status != 403 || !strings.Contains(body, "relay.clients") {
		t.Errorf("a stranger got %d %q", status, body)
	}
	welcome.Store(true)
	if status, body := get(""); status != 200 || body != "printer" {
		t.Errorf("a client got %d %q", status, body)
	}
	if status, _ := get("localhost"); status != 421 {
		t.Errorf("localhost is not what the network calls it: %d", status)
	}
	if status, _ := get("mfpgate-gate.local"); status != 200 {
		t.Errorf("the published name: %d", status)
	}
}

func TestTooManyConnections(t *testing.T) {
	for _, c := range []struct {
		share  endpoint.Share
		places int
	}{{endpoint.Local, 32}, {endpoint.Off, 8}} {
		e := newEndpoints(t, func(o *endpoint.Options) { o.Share = c.share })
		p := serve(t, e, "a", printer(t, http.NotFoundHandler()))
		var held []net.Conn
		hold := func(c net.Conn) { held = append(held, c) }
		asSomeoneElse(t, p.Address().String(), c.places+1, hold)
		last := held[c.places]
		_ = last.SetDeadline(time.Now().Add(deadline))
		if r, err := http.ReadResponse(bufio.NewReader(last), nil); err != nil || r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s: one too many: %v %v", c.share, r, err)
		}
		// They are in nobody's way but their own.
		if r, _ := exchange(t, p, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); r.StatusCode != 404 {
			t.Errorf("%s: the gateway itself got %s", c.share, r.Status)
		}
		_ = held[0].Close()
		free := func() (ok bool) { // once the server has seen that it left
			asSomeoneElse(t, p.Address().String(), 1, func(c net.Conn) {
				_ = c.SetDeadline(time.Now().Add(deadline))
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
				r, err := http.ReadResponse(bufio.NewReader(c), nil)
				ok = err == nil && r.StatusCode != 503
				_ = c.Close()
			})
			return ok
		}
		for end := time.Now().Add(deadline); !free(); {
			if time.Now().After(end) {
				t.Fatalf("%s: no place became free", c.share)
			}
		}
		for _, c := range held {
			_ = c.Close()
		}
		closeNow(t, p)
	}
}

func TestCloseDrains(t *testing.T) {
	release := make(chan struct{})
	begun := make(chan struct{}, 2)
	e := newEndpoints(t, nil)
	p := serve(t, e, "a", roundTripper(func(r *http.Request) (*http.Response, error) {
		begun <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
	}))
	answers := make(chan string, 1)
	get := func() {
		r, err := http.Get(p.URL())
		if err != nil {
			answers <- "broken off"
			return
		}
		_ = r.Body.Close()
		answers <- r.Status
	}
	go get()
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- p.Close(context.Background()) }()
	for end := time.Now().Add(deadline); reached(p) != ""; {
		if time.Now().After(end) {
			t.Fatal("still open")
		}
	}
	close(release)
	if got := <-answers; got != "200 OK" {
		t.Errorf("what was under way: %s", got)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	release = make(chan struct{})
	defer close(release)
	p = serve(t, e, "a", roundTripper(func(r *http.Request) (*http.Response, error) {
		begun <- struct{}{}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}))
	go get()
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := <-answers; got != "broken off" {
		t.Errorf("what had no time left: %s", got)
	}
}
