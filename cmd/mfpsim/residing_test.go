package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

// asProgram makes the test's own binary be the program, so that a test can kill it.
const asProgram = "MFPSIM_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	m.Run()
}

// TestIsKilledBetweenStoringAndAcknowledging kills a device with SIGKILL while the server that it leaves has its acknowledgement and
// does not answer: the directive is in force when it comes back, and is acknowledged once more.
func TestIsKilledBetweenStoringAndAcknowledging(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	servertest.Must(t, err)
	acks, epochs := make(chan api.DirectiveAck, 10), make(chan uint64, 1000)
	answer := func(w http.ResponseWriter, value any) { _ = json.NewEncoder(w).Encode(value) }
	us := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in api.ServiceCheckIn
		if strings.HasPrefix(r.URL.Path, api.ServiceDevices) && json.NewDecoder(r.Body).Decode(&in) == nil {
			epochs <- in.Epoch
		}
		answer(w, api.HoldingBrief{Region: "us", Epoch: 2, State: mfpgate.HoldingActive})
	}))
	defer us.Close()
	silent := make(chan struct{}) // while the old server does not answer acknowledgements
	jp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == api.DevicesPath:
			answer(w, api.HoldingBrief{Registration: "r1.jp.1.x.y", Region: "jp", Epoch: 1, State: mfpgate.HoldingActive})
		case r.URL.Path == api.DirectivePath:
			signed, _ := jws.Sign(key, api.PurposeDirective, mfpgate.Directive{MFP: "mfp-1", Move: "mov_1", Epoch: 2, Region: "us", Management: us.URL, Services: us.URL})
			answer(w, api.SignedDirective{Signed: signed})
		case r.URL.Path == api.DirectiveAckPath:
			var ack api.DirectiveAck
			_ = json.NewDecoder(r.Body).Decode(&ack)
			acks <- ack
			select {
			case <-silent:
			case <-r.Context().Done():
			}
			w.WriteHeader(http.StatusNoContent)
		case strings.HasPrefix(r.URL.Path, api.ServiceDevices):
			w.WriteHeader(http.StatusMisdirectedRequest)
			answer(w, api.Problem{Type: api.ProblemType + api.Moved, Title: "Misdirected Request"})
		case strings.HasSuffix(r.URL.Path, "/push"):
			w.WriteHeader(http.StatusNotFound)
		default:
			answer(w, api.CheckInAnswer{})
		}
	}))
	defer jp.Close()

	dir := t.TempDir()
	token, state := filepath.Join(dir, "token"), filepath.Join(dir, "mfp-1.json")
	servertest.Must(t, os.WriteFile(token, []byte("secret"), 0o600))
	start := func() *exec.Cmd {
		c := exec.CommandContext(t.Context(), os.Args[0], "run", "--id", "mfp-1", "--cloud", jp.URL, "--token-file", token, "--state", state, "--poll", "20ms",
			"--service", "document-cloud=translate", "--region-key", base64.StdEncoding.EncodeToString(public))
		c.Env = append(os.Environ(), asProgram+"=1")
		servertest.Must(t, c.Start())
		return c
	}
	first := start()
	if ack := <-acks; ack != (api.DirectiveAck{Move: "mov_1", Epoch: 2}) {
		t.Errorf("acknowledged %+v", ack)
	}
	servertest.Must(t, first.Process.Kill())
	_ = first.Wait() // it was killed
	data, err := os.ReadFile(state)
	if err != nil || !strings.Contains(string(data), `"epoch":2`) || !strings.Contains(string(data), `"ackTo":"`+jp.URL) {
		t.Errorf("it was killed when it had stored %s, %v", data, err)
	}
	close(silent)
	second := start()
	if ack := <-acks; ack.Epoch != 2 {
		t.Errorf("acknowledged %+v after it was killed", ack)
	}
	if epoch := <-epochs; epoch != 2 {
		t.Errorf("checked in at the new region in epoch %d", epoch)
	}
	servertest.Must(t, second.Process.Signal(os.Interrupt))
	servertest.Must(t, second.Wait())
	if data, err := os.ReadFile(state); err != nil || strings.Contains(string(data), "ackTo") {
		t.Errorf("in the end it remembers %s, %v", data, err)
	}
}

func TestWhatADeviceIsToldOfRegions(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	servertest.Must(t, err)
	text := base64.StdEncoding.EncodeToString(public)
	file := filepath.Join(t.TempDir(), "jp.pub")
	servertest.Must(t, os.WriteFile(file, []byte(text+"\n"), 0o600))
	good := residing{services: []string{"document-cloud=translate, whiteboard", "fax"}, keys: []string{text, file}, directiveEvery: 5, servicesURL: "https://s.jp.example"}
	var o mfp.Options
	servertest.Must(t, good.complete(&o))
	want := []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"translate", "whiteboard"}}, {ID: "fax", Children: []string{}}}
	if diff := cmp.Diff(want, o.Residing.Services); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]ed25519.PublicKey{public, public}, o.RegionKeys); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		rule, says string
		args       []string
	}{
		{"a key that is none", "no key in base64", []string{"--region-key", "AAAA"}},
		{"a service without a name", "name=child,child", []string{"--service", "=translate"}},
		{"redirects over TLS", "needs --plain", []string{"--follow-redirects"}},
		{"a URL that is none", "services-url", []string{"--services-url", "jp"}},
		{"never asking, by count", "must be 1 or more", []string{"--directive-every", "0"}},
	} {
		var out strings.Builder
		args := append([]string{"run", "--id", "mfp-1", "--cloud", "https://jp.example", "--token-file", file}, c.args...)
		if code := run(t.Context(), args, io.Discard, &out); code != 1 || !strings.Contains(out.String(), c.says) {
			t.Errorf("%s: code %d, %q", c.rule, code, out.String())
		}
	}
}
