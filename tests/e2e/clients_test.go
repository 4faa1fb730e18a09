package e2e_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// run runs a client program with no proxy settings but the given ones, and returns both outputs together.
func run(t *testing.T, env []string, stdin string, name string, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, need.Program(t, name), args...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + t.TempDir()}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	if err := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return both.String(), cmd.ProcessState.ExitCode()
}

// certificate writes the server's certificate for clients that are to verify it.
func certificate(t *testing.T, s *httptest.Server) string {
	t.Helper()
	return rig.WriteFile(t, t.TempDir(), "origin.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
}

func TestClients(t *testing.T) {
	secure, securePort := rig.HTTP(t, true, hello)
	_, port := rig.HTTP(t, false, hello)
	g := rig.Start(t, rig.Allow(port, securePort))
	ca, plain, tls := certificate(t, secure), "http://127.0.0.1:"+port, "https://127.0.0.1:"+securePort
	upload := rig.WriteFile(t, t.TempDir(), "scan", string(noise(3, 3<<20)))
	for _, c := range []struct {
		rule string
		env  []string
		args []string // the first is the program
		in   string
		want string
	}{
		{rule: "curl, https", args: []string{"curl", "-sS", "--cacert", ca, "-x", g.Address, tls + "/a"}, want: "GET /a 0"},
		{rule: "curl, http", args: []string{"curl", "-sS", "-x", g.Address, plain + "/a"}, want: "GET /a 0"},
		{rule: "curl, http through a tunnel", args: []string{"curl", "-sS", "-p", "-x", g.Address, plain + "/a"}, want: "GET /a 0"},
		{rule: "curl, environment", env: []string{"http_proxy=http://" + g.Address}, args: []string{"curl", "-sS", plain + "/a"}, want: "GET /a 0"},
		{rule: "curl, HTTP/1.0 to the proxy", args: []string{"curl", "-sS", "--cacert", ca, "--proxy1.0", g.Address, tls + "/a"}, want: "GET /a 0"},
		{rule: "curl, HTTP/1.0 at all", args: []string{"curl", "-sS", "-0", "-x", g.Address, plain + "/a"}, want: "GET /a 0"},
		{rule: "curl, several requests on one connection", args: []string{"curl", "-sS", "-x", g.Address, plain + "/a", plain + "/b", plain + "/c",
			"-w", " %{num_connects}\n"}, want: "GET /a 0 1\nGET /b 0 0\nGET /c 0 0\n"},
		{rule: "curl, upload", args: []string{"curl", "-sS", "-H", "Expect: 100-continue", "--expect100-timeout", "20", "-T", upload, "-x", g.Address, plain + "/a"},
			want: "PUT /a 3145728"},
		{rule: "curl, upload of unknown length", args: []string{"curl", "-sS", "-T", "-", "-x", g.Address, plain + "/a"}, in: "scan", want: "PUT /a 4"},
		{rule: "curl, upload through a tunnel", args: []string{"curl", "-sS", "--cacert", ca, "-T", upload, "-x", g.Address, tls + "/a"}, want: "PUT /a 3145728"},
		{rule: "curl, HEAD", args: []string{"curl", "-sS", "-I", "-o", "/dev/null", "-w", "%{http_code}", "-x", g.Address, plain + "/a"}, want: "200"},
		{rule: "wget, http", env: []string{"http_proxy=http://" + g.Address}, args: []string{"wget", "-qO-", plain + "/a"}, want: "GET /a 0"},
		{rule: "wget, https", env: []string{"https_proxy=http://" + g.Address}, args: []string{"wget", "-qO-", "--ca-certificate", ca, tls + "/a"}, want: "GET /a 0"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			before := g.Log.Count(event.RelayServed) + g.Log.Count(event.RelayClosed)
			out, code := run(t, c.env, c.in, c.args[0], c.args[1:]...)
			if code != 0 || out != c.want {
				t.Errorf("exit code %d, output %q, want %q", code, out, c.want)
			}
			rig.Until(t, "the relay has recorded it", func() bool {
				return g.Log.Count(event.RelayServed)+g.Log.Count(event.RelayClosed) > before
			})
		})
	}
	t.Run("openssl s_client", func(t *testing.T) {
		out, code := run(t, nil, "GET /a HTTP/1.0\r\n\r\n", "openssl", "s_client", "-quiet", "-ign_eof", "-proxy", g.Address,
			"-CAfile", ca, "-verify_return_error", "-connect", "127.0.0.1:"+securePort)
		if code != 0 || !strings.HasSuffix(out, "GET /a 0") {
			t.Errorf("exit code %d, output %s", code, out)
		}
	})
	t.Run("net/http", func(t *testing.T) {
		client := g.Client(t)
		for _, url := range []string{plain, tls} {
			resp, err := client.Post(url+"/a", "application/octet-stream", bytes.NewReader(noise(4, 1<<20)))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || string(body) != "POST /a 1048576" {
				t.Errorf("%s: %q, %v", url, body, err)
			}
		}
	})
	t.Run("curl shows a refusal", func(t *testing.T) {
		out, code := run(t, nil, "", "curl", "-sS", "-x", g.Address, "https://192.0.2.7/")
		if code != 56 || !strings.Contains(out, "403") {
			t.Errorf("exit code %d, output %q", code, out)
		}
	})
	rig.Until(t, "no connection is left", func() bool { return g.Status(t).Relay.Connections == 0 })
}

// 100 Continue must be the origin's, or the client sends what nobody wants.
func TestExpectContinueIsTheOriginsToAnswer(t *testing.T) {
	var body int
	_, port := rig.HTTP(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		b, _ := io.ReadAll(r.Body)
		body = len(b)
	})
	g := rig.Start(t, rig.Allow(port))
	head := " HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	conn := g.Raw(t)
	conn.Send("POST http://127.0.0.1:" + port + "/no" + head)
	if resp, _ := conn.Answer("POST"); resp.StatusCode != http.StatusExpectationFailed {
		t.Errorf("the refused upload got %s", resp.Status)
	}
	conn = g.Raw(t)
	conn.Send("POST http://127.0.0.1:" + port + "/yes" + head)
	conn.Expect("HTTP/1.1 100 Continue\r\n\r\n")
	conn.Send("hello")
	if resp, _ := conn.Answer("POST"); resp.StatusCode != http.StatusOK || body != 5 {
		t.Errorf("the upload got %s, the origin %d bytes", resp.Status, body)
	}
	// And a refusal of the relay's own comes instead of it.
	conn = g.Raw(t)
	conn.Send("POST http://192.0.2.7/" + head)
	if resp, _ := conn.Answer("POST"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("the forbidden upload got %s", resp.Status)
	}
}
