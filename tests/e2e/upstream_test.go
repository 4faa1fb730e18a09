package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
	"github.com/mfpgate/mfpgate/tests/peers"
	"github.com/mfpgate/mfpgate/tests/port"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// squid runs an unprivileged squid with one account, "mfp" and "right", that lets through what acl says. It returns its
// address.
func squid(t *testing.T, acl string) string {
	t.Helper()
	program, auth, share := peers.Path(t, "squid"), peers.Path(t, "basic_ncsa_auth"), peers.Share(t, "squid")
	dir, address := rig.Dir(t), port.Free(t, "127.0.0.1")
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	// crypt(3) knows bcrypt as $2b$.
	accounts := rig.WriteFile(t, dir, "accounts", "mfp:"+strings.Replace(string(hash), "$2a$", "$2b$", 1)+"\n")
	conf := rig.WriteFile(t, dir, "squid.conf", `http_port `+address+`
pid_filename none
cache deny all
cache_log `+dir+`/cache.log
access_log stdio:`+dir+`/access.log
coredump_dir `+dir+`
icon_directory `+share+`/icons
mime_table `+share+`/mime.conf
error_directory `+share+`/errors/templates
pinger_enable off
unlinkd_program /bin/true
netdb_filename none
shutdown_lifetime 0 seconds
auth_param basic program `+auth+` `+accounts+`
auth_param basic children 1
acl known proxy_auth REQUIRED
`+acl+`
http_access deny all
`)
	cmd := exec.Command(program, "-N", "-f", conf)
	rig.Unprivileged(cmd)
	if cmd.SysProcAttr.Credential != nil {
		// The unpacked tree may stand where only root may look.
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_DAC_OVERRIDE}
	}
	cmd.Dir = dir
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			for _, name := range []string{out.Name(), filepath.Join(dir, "cache.log"), filepath.Join(dir, "access.log")} {
				text, _ := os.ReadFile(name)
				t.Logf("%s:\n%s", name, text)
			}
		}
	})
	rig.Until(t, "squid listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return address
}

// through is the configuration of an upstream with the account mfp.
func through(t *testing.T, dir, address, password, more string) string {
	t.Helper()
	file := rig.WriteFile(t, dir, "password", password+"\n")
	return fmt.Sprintf("  upstream: {url: \"http://%s\", user: mfp, password: {file: %s}%s}\n", address, file, more)
}

func TestThroughSquid(t *testing.T) {
	_, securePort := rig.HTTP(t, true, hello)
	_, port := rig.HTTP(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Saw", r.Header.Get("Proxy-Authorization")+"|"+strings.Join(r.Header["Via"], ", "))
		hello(w, r)
	})
	forbidden := rig.Listen(t, echo)
	address := squid(t, "acl some port "+port+" "+securePort+"\nacl CONNECT method CONNECT\nhttp_access allow known some")
	dir := rig.Dir(t)
	g := rig.StartIn(t, dir, rig.Allow(port, securePort, forbidden.Port)+through(t, dir, address, "right", ""))

	client := g.Client(t)
	for _, url := range []string{"http://127.0.0.1:" + port, "https://127.0.0.1:" + securePort} {
		resp, err := client.Post(url+"/a", "text/plain", strings.NewReader("scan"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(body) != "POST /a 4" {
			t.Errorf("%s: %s %q", url, resp.Status, body)
		}
		if saw := resp.Header.Get("X-Saw"); strings.HasPrefix(url, "http:") && (!strings.HasPrefix(saw, "|1.1 mfpgate-e2e-") || !strings.Contains(saw, "squid")) {
			t.Errorf("the origin saw %q", saw)
		}
	}
	out, code := run(t, nil, "", "curl", "-sS", "-k", "-x", g.Address, "https://127.0.0.1:"+securePort+"/a")
	if code != 0 || out != "GET /a 0" {
		t.Errorf("curl: %d %q", code, out)
	}

	t.Run("squid denies a tunnel", func(t *testing.T) {
		resp, body := g.Raw(t).Connect(forbidden.Address)
		refused(t, resp, body, http.StatusBadGateway, "upstream-refused")
	})
	t.Run("the host rule holds", func(t *testing.T) {
		resp, body := g.Raw(t).Connect("192.0.2.7:443")
		refused(t, resp, body, http.StatusForbidden, "destination-not-allowed")
	})
	t.Run("a wrong account is said in words", func(t *testing.T) {
		g.Reload(t, rig.Allow(port, securePort)+through(t, dir, address, "wrong", ""))
		for method, request := range map[string]string{
			"CONNECT": rig.ConnectRequest("127.0.0.1:" + securePort),
			"GET":     "GET http://127.0.0.1:" + port + "/ HTTP/1.1\r\nHost: x\r\n\r\n",
		} {
			conn := g.Raw(t)
			conn.Send(request)
			resp, body := conn.Answer(method)
			refused(t, resp, body, http.StatusBadGateway, "upstream-auth")
			if !strings.Contains(body, "relay.upstream.user and password") || resp.Header.Get("Proxy-Authenticate") != "" {
				t.Errorf("%s: %v %s", method, resp.Header, body)
			}
		}
	})
	t.Run("exceptions go directly", func(t *testing.T) {
		g.Reload(t, rig.Allow(port, securePort)+through(t, dir, address, "wrong", ", except: [127.0.0.0/8]"))
		resp, err := client.Get("http://127.0.0.1:" + port + "/a")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if saw := resp.Header.Get("X-Saw"); resp.StatusCode != http.StatusOK || strings.Contains(saw, "squid") {
			t.Errorf("%s, the origin saw %q", resp.Status, saw)
		}
		// An exception is of what was asked for: localhost is no literal address.
		r, body := g.Raw(t).Connect("localhost:" + securePort)
		refused(t, r, body, http.StatusBadGateway, "upstream-auth")
	})
}

// An upstream that is ill must not hold devices, and is told apart from an origin that is.
func TestAnUpstreamThatDoesNotAnswer(t *testing.T) {
	silent := rig.Listen(t, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	closes := rig.Listen(t, func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)) })
	babbles := rig.Listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "220 ftp.example ready\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	endless := rig.Listen(t, func(c *net.TCPConn) {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for err == nil {
			_, err = io.WriteString(c, "X: "+strings.Repeat("a", 1000)+"\r\n")
		}
	})
	busy := rig.Listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	dead, deaf := rig.Refusing(t), rig.Deaf(t)
	dir := rig.Dir(t)
	g := rig.StartIn(t, dir, rig.Allow("443"))
	for _, c := range []struct {
		rule, address, reason, retry string
		status                       int
	}{
		{"dead", "127.0.0.1:" + dead, "upstream-unreachable", "", 502},
		{"away", deaf.Address, "upstream-timeout", "", 504},
		{"silent", silent.Address, "upstream-timeout", "", 504},
		{"closes", closes.Address, "upstream-broken", "", 502},
		{"speaks no HTTP", babbles.Address, "upstream-broken", "", 502},
		{"answers without end", endless.Address, "upstream-broken", "", 502},
		{"busy", busy.Address, "upstream-busy", "7", 503},
	} {
		t.Run(c.rule, func(t *testing.T) {
			g.Reload(t, rig.Allow("443")+"  timeouts: {dial: 300ms}\n"+through(t, dir, c.address, "right", ""))
			resp, body := g.Raw(t).Connect("127.0.0.1:443")
			refused(t, resp, body, c.status, c.reason)
			if got := resp.Header.Get("Retry-After"); got != c.retry {
				t.Errorf("Retry-After is %q, want %q", got, c.retry)
			}
		})
	}
	rig.Until(t, "no slot is held", func() bool { return len(g.Slots(t)) == 0 })
}

// A silent upstream holds a plain request no longer than the dial's time.
func TestASilentUpstreamAndAPlainRequest(t *testing.T) {
	deaf := rig.Deaf(t)
	dir := rig.Dir(t)
	g := rig.StartIn(t, dir, rig.Allow("80")+"  timeouts: {dial: 300ms}\n"+through(t, dir, deaf.Address, "right", ""))
	conn := g.Raw(t)
	conn.Send("GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, body := conn.Answer("GET")
	refused(t, resp, body, http.StatusGatewayTimeout, "upstream-timeout")
	g.Log.Event(t, event.RelayRefused, field.Reason, "upstream-timeout")
}

// What the upstream sends behind its 200 is the origin's: a server that speaks first.
func TestBytesBehindTheUpstreamsAnswerAreKept(t *testing.T) {
	upstream := rig.Listen(t, func(c *net.TCPConn) {
		if _, err := c.Read(make([]byte, 4096)); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\nX: y\r\n\r\n220 ready\r\n")
			echo(c)
		}
	})
	dir := rig.Dir(t)
	g := rig.StartIn(t, dir, rig.Allow("25")+through(t, dir, upstream.Address, "right", ""))
	conn := g.Raw(t)
	conn.Connect("127.0.0.1:25")
	conn.Expect("220 ready\r\n")
	conn.Send("EHLO\r\n")
	conn.Expect("EHLO\r\n")
}

// Behind an upstream the relay does not resolve names; an address that stands in the request is judged all the same.
func TestTheGuardHoldsBehindAnUpstream(t *testing.T) {
	busy := rig.Listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	})
	dir := rig.Dir(t)
	g := rig.StartIn(t, dir, "  allow: [{host: 0.0.0.0/0, ports: [80]}]\n"+through(t, dir, busy.Address, "right", ""))
	for _, host := range []string{"169.254.169.254", "127.0.0.1", "10.0.0.1"} {
		conn := g.Raw(t)
		conn.Send(rig.ConnectRequest(host + ":80"))
		resp, body := conn.Answer("CONNECT")
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("CONNECT %s: %s %s", host, resp.Status, body)
		}
		plain := g.Raw(t)
		plain.Send("GET http://" + host + "/ HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, body := plain.Answer("GET"); resp.StatusCode != http.StatusForbidden {
			t.Errorf("GET %s: %s %s", host, resp.Status, body)
		}
	}
	if n := busy.Total(); n != 0 {
		t.Errorf("the upstream was asked %d times", n)
	}
}
