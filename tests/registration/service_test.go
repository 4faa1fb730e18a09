package registration_test

import (
	"bufio"
	"bytes"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/tests/rig"
)

// service is a print service: a process of mfpcloud behind a front.
type service struct {
	*front
	t         *testing.T
	state     string // its folder
	passwords map[string]string
}

// startService runs one, with an account for each administrator.
func startService(t *testing.T, h *house, flags ...string) *service {
	t.Helper()
	s := &service{t: t, front: newFront(t), state: filepath.Join(rig.Dir(t), "region"), passwords: map[string]string{}}
	for _, name := range administrators {
		cmd := exec.Command(rig.Cloud(t), "administrator", "add", name, "--state", s.state)
		rig.Unprivileged(cmd)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		s.passwords[name] = strings.TrimSpace(string(out))
	}
	out := start(t, rig.Cloud(t), append([]string{"serve", "--region", "jp", "--listen", "127.0.0.1:0", "--http", "--state", s.state, "--log-level", "error",
		"--public-url", s.url, "--smtp", h.box.Address, "--mail-from", fromService}, flags...)...)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, at, found := strings.Cut(strings.TrimSpace(line), "listens on ")
	if !found {
		t.Fatalf("the region says %q", line)
	}
	to, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	s.serve(to)
	return s
}

// start runs a program until the test ends, and wants it to end well then.
func start(t *testing.T, program string, args ...string) io.Reader {
	t.Helper()
	cmd := exec.Command(program, args...)
	rig.Unprivileged(cmd)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%s ended with %v: %s", filepath.Base(program), err, stderr)
		}
	})
	return out
}

// ask fetches or, with a form, posts to one of the service's pages as an administrator.
func (s *service) ask(t *testing.T, administrator, path string, form url.Values) (status int, page string) {
	t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(administrator, s.passwords[administrator])
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// approve does what the browser does, for stories that are not about the page.
func (s *service) approve(t *testing.T, administrator, code, user string) (status int) {
	t.Helper()
	status, _ = s.ask(t, administrator, "/device/decision", url.Values{"code": {code}, "do": {"approve"}, "user": {user}})
	return status
}

// printer is what the service's page says of one.
type printer struct {
	id, fingerprint string
	users           map[string]string // state by mail address
}

var (
	section = regexp.MustCompile(`(?s)<section class="panel"[^>]* data-printer="([^"]+)">(.*?)</section>`)
	print   = regexp.MustCompile(`Certificate, SHA-256</dt><dd><code>([0-9a-f ]+)</code>`)
	user    = regexp.MustCompile(`<th role="rowheader" scope="row">([^<]+)</th><td role="cell" data-label="State">.*?</span> (\w+)</span>`)
)

// printers are those of a serial number on the service's page.
func (s *service) printers(t *testing.T, serial string) (list []printer) {
	t.Helper()
	status, page := s.ask(t, boss, "/print/", nil)
	if status != http.StatusOK || strings.Contains(page, "More printers") {
		t.Fatalf("the page of printers: %d %s", status, page)
	}
	for _, m := range section.FindAllStringSubmatch(page, -1) {
		if !strings.Contains(m[2], "<dd>"+serial+"</dd>") {
			continue
		}
		p := printer{id: m[1], users: map[string]string{}}
		if found := print.FindStringSubmatch(m[2]); found != nil {
			p.fingerprint = strings.ReplaceAll(found[1], " ", "")
		}
		for _, u := range user.FindAllStringSubmatch(m[2], -1) {
			p.users[html.UnescapeString(u[1])] = u[2]
		}
		list = append(list, p)
	}
	return list
}

// has wants exactly one printer of a serial number, with these users in this state.
func (s *service) has(t *testing.T, serial, state string, users ...string) printer {
	t.Helper()
	list := s.printers(t, serial)
	if len(list) != 1 || len(list[0].users) != len(users) {
		t.Fatalf("the service has %+v, want one printer with %q", list, users)
	}
	for _, u := range users {
		if list[0].users[u] != state {
			t.Errorf("%s is %q at the service, want %q", u, list[0].users[u], state)
		}
	}
	return list[0]
}

// entry is how the gateway's configuration names the service.
func (s *service) entry(name, completion string) string {
	return fmt.Sprintf("  - {name: %s, kind: reference, url: %q, ca: %s, completion: %s}\n", name, s.url, s.certificate, completion)
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
