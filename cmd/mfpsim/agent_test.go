package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/mailbox"
	"github.com/mfpgate/mfpgate/tests/port"
)

const (
	at   = "127.0.1.50" // the device's address
	boss = "it@example.co.jp"
	sato = "sato@example.co.jp"
)

// house is a region, a mail server and a whole gateway, for which a device registers itself.
type house struct {
	*testing.T
	dir      string
	region   *servertest.Region
	password mfpgate.Secret
	box      *mailbox.Box
	where    daemon.Listening
	panel    string
}

func newHouse(t *testing.T) *house {
	h := &house{T: t, dir: t.TempDir(), region: servertest.Start(t, servertest.Codes(time.Minute, time.Second)), box: mailbox.Start(t)}
	h.password = h.region.Administrator(t, boss)
	servertest.Must(t, os.WriteFile(h.path("mail.pem"), h.box.PEM(), 0o600))
	h.panel = port.Free(t, at)

	servertest.Must(t, os.WriteFile(h.path("mfpgate.yaml"), fmt.Appendf(nil, `site: {name: osaka, region: jp}
state_dir: %s
relay: {listen: ["127.0.0.1:0"], clients: [127.0.0.0/8], allow: [{host: cloud.example, ports: [443]}]}
devices: {static: [{address: %s, name: copier, registration: agent}]}
print_services: [{name: office, kind: reference, url: %q, ca: %s}]
registration: {admin: %s}
portal: {listen: "127.0.0.1:0"}
`, h.path("gateway"), at, h.region.URL, h.region.Folder.CertificatePath(), boss), 0o600))
	signals, ready, ended := make(chan os.Signal, 1), make(chan daemon.Listening, 1), make(chan error, 1)
	d, err := daemon.New(t.Context(), daemon.Options{ConfigFile: h.path("mfpgate.yaml"), Clock: mfpgate.SystemClock{}, Output: io.Discard, Signals: signals,
		Getenv: func(string) string { return "" }, Ready: func(l daemon.Listening) { ready <- l }})
	servertest.Must(t, err)
	go func() { ended <- d.Run(context.Background()) }() // the cleanup waits
	select {
	case h.where = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

// boot starts the device and returns how to switch it off.
func (h *house) boot(more ...string) (stop func()) {
	h.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{"run", "--id", "mfp-50", "--name", "2F copier", "--cloud", h.region.URL, "--ca", h.region.Folder.CertificatePath(),
		"--factory-key", filepath.Join(h.region.Dir, "factory.key"), "--bind", at, "--state", h.path("mfp-50.json"), "--panel", h.panel,
		"--print-service", "kind=reference,name=cloud,url=" + h.region.URL + ",ca=" + h.region.Folder.CertificatePath(),
		"--smtp", h.box.Address, "--smtp-ca", h.path("mail.pem"), "--mail-from", "mfp-50@example.co.jp"}, more...)
	var out bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, args, &out, &out) }() // stop waits
	stop = sync.OnceFunc(func() {
		cancel()
		if got := <-code; got != 0 {
			h.Errorf("exit code %d:\n%s", got, out.String())
		}
	})
	h.Cleanup(stop)
	return stop
}

// call asks the gateway.
func (h *house) call(method, path, body string, out any) {
	h.Helper()
	req, err := http.NewRequestWithContext(h.Context(), method, "http://mfpgate/api/v1/"+path, strings.NewReader(body))
	servertest.Must(h, err)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPost {
		req.Header.Set("Idempotency-Key", "k"+body)
	}
	res, err := control.Client(h.where.Control).Do(req)
	servertest.Must(h, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	servertest.Must(h, err)
	if res.StatusCode >= 300 {
		h.Fatalf("%s %s: %d %s", method, path, res.StatusCode, text)
	}
	servertest.Must(h, json.Unmarshal(text, out))
}

func (h *house) await(what string, reached func() bool) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 40*time.Second)
	defer cancel()
	for !reached() {
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 20*time.Millisecond) != nil {
			h.Fatalf("never: %s", what)
		}
	}
}

func (h *house) page(path string) string {
	h.Helper()
	req, err := http.NewRequestWithContext(h.Context(), http.MethodGet, "http://"+h.panel+path, nil)
	servertest.Must(h, err)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	servertest.Must(h, err)
	return string(text)
}

var typed = regexp.MustCompile(`\b[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}\b`)

// TestADeviceRegistersItselfForAWholeGateway is embodiment 2 from end to end: a user asks the gateway, the device is handed the
// request, mails the administrator itself, is switched off and on, and reports the end.
func TestADeviceRegistersItselfForAWholeGateway(t *testing.T) {
	h := newHouse(t)
	agent := []string{"--agent", "https://" + h.where.Portal.String(), "--agent-ca", h.path("gateway/portal/certificate.pem"), "--agent-session"}
	stop := h.boot(agent...)
	var devices struct{ Items []mfpgate.Device }
	h.call("GET", "devices", "", &devices)
	id := string(devices.Items[0].ID)
	link := "/register?device=" + id
	h.await("the panel links to the gateway's page", func() bool { return strings.Contains(h.page("/"), link) })

	var asked, end mfpgate.Registration
	h.call("POST", "registrations", fmt.Sprintf(`{"deviceId":%q,"service":"office","user":%q}`, id, sato), &asked)
	if asked.Mode != mfpgate.RegistrationAgent {
		t.Fatalf("asked for in mode %s", asked.Mode)
	}
	letter := h.box.AwaitTo(t, boss)
	if letter.From != "mfp-50@example.co.jp" {
		t.Errorf("the letter came from %s, want the device", letter.From)
	}
	stop()
	if status, page := h.region.Decide(t, boss, h.password, typed.FindString(letter.Text), sato); status >= 400 {
		t.Fatalf("the decision: %d %s", status, page)
	}
	h.boot(agent[:4]...) // and asks by long polls now
	h.await("the end", func() bool {
		h.call("GET", "registrations/"+asked.ID, "", &end)
		return end.State.Ended()
	})
	if end.State != mfpgate.RegistrationRegistered || end.PrinterID == "" || len(end.Certificate) != 64 {
		t.Errorf("ended as %+v", end)
	}
	if page := h.page("/registrations"); !strings.Contains(page, end.PrinterID) {
		t.Errorf("the panel shows\n%s", page)
	}
}
