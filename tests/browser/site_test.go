package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// site is a gateway that runs, and an origin that its devices may reach.
type site struct {
	t      *testing.T
	at     daemon.Listening
	origin string
}

const siteConfig = `
site: {name: osaka-branch, region: jp, time_zone: Asia/Tokyo, location: "Osaka 3F"}
state_dir: %s
relay:
  listen: ["127.0.0.1:0"]
  clients: [127.0.0.0/8]
  allow: [{host: 127.0.0.1, ports: [%s], private: true}]
  capacity: {devices: 1, queue_timeout: 5m, linger: 10m}
devices:
  static:
    - {address: 127.0.1.1, name: "2F copier"}
    - {address: 127.0.1.2, name: "<img src=x onerror=document.title='broken'>"}
portal: {listen: "127.0.0.1:0"}
`

func startSite(t *testing.T) *site {
	t.Helper()
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = origin.Close() })
	go echo(origin) // ends with the listener
	dir := t.TempDir()
	file := filepath.Join(dir, "mfpgate.yaml")
	_, port, _ := net.SplitHostPort(origin.Addr().String())
	if err := os.WriteFile(file, fmt.Appendf(nil, siteConfig, filepath.Join(dir, "state"), port), 0o600); err != nil {
		t.Fatal(err)
	}
	ready := make(chan daemon.Listening, 1)
	d, err := daemon.New(t.Context(), daemon.Options{ConfigFile: file, Clock: mfpgate.SystemClock{}, Output: t.Output(),
		Getenv: func(string) string { return "" }, Build: daemon.Build{Version: "test"}, Ready: func(at daemon.Listening) { ready <- at }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }() // the clean-up waits for it
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case at := <-ready:
		return &site{t, at, origin.Addr().String()}
	case err := <-ended:
		ended <- err
		t.Fatal("the daemon did not start")
		return nil
	}
}

func echo(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // ends with its connection, at the latest with the daemon
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}()
	}
}

func (s *site) portal() string { return "https://" + s.at.Portal.String() }

// addUser makes a portal account by the control socket, as mfpgate user add does.
func (s *site) addUser(name, password string) {
	s.t.Helper()
	addUser(s.t, s.at.Control, name, password)
}

func addUser(t *testing.T, socket, name, password string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"password": password})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://mfpgate/api/v1/users/"+name, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := control.Client(socket).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("user add: %s", resp.Status)
	}
}

// connect asks for a tunnel as the device at address, and returns the connection before the answer.
func (s *site) connect(address, target string) net.Conn {
	s.t.Helper()
	from := &net.TCPAddr{IP: net.ParseIP(address)}
	conn, err := (&net.Dialer{LocalAddr: from, Timeout: 10 * time.Second}).DialContext(s.t.Context(), "tcp", s.at.Relay[0].String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// answered reads the answer to connect and wants this status in it.
func (s *site) answered(conn net.Conn, status int) {
	s.t.Helper()
	if err := conn.SetReadDeadline(mfpgate.SystemClock{}.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != status {
		s.t.Fatalf("the relay answered %s, want %d", resp.Status, status)
	}
}

// send moves text through a tunnel and back.
func (s *site) send(conn net.Conn, text string) {
	s.t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		s.t.Fatal(err)
	}
	back, err := io.ReadAll(io.LimitReader(conn, int64(len(text))))
	if err != nil || !strings.HasPrefix(text, string(back)) {
		s.t.Fatalf("read back %d bytes, %v", len(back), err)
	}
}
