package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
)

// TestMain lets the test's own binary be the command, so that a test can kill it.
func TestMain(m *testing.M) {
	if os.Getenv("MFPCLOUD_BE_THE_COMMAND") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func child(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), "MFPCLOUD_BE_THE_COMMAND=1")
	return c
}

// region is a serving child.
type region struct {
	url   string
	cmd   *exec.Cmd
	http  *http.Client
	roots *x509.CertPool
}

func serve(t *testing.T, dir string) *region {
	t.Helper()
	cmd := child(t.Context(), "serve", "--region", "jp", "--listen", "127.0.0.1:0", "--state", dir, "--log-level", "error")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	check(t, err)
	_, rest, _ := strings.Cut(line, "listens on ")
	url, trust, found := strings.Cut(strings.TrimSpace(rest), ", trusted by ")
	if !found {
		t.Fatalf("serve says %q", line)
	}
	pem, err := os.ReadFile(trust)
	check(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &region{url, cmd, &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, roots}
}

func (r *region) end(t *testing.T, signal os.Signal) error {
	t.Helper()
	check(t, r.cmd.Process.Signal(signal))
	r.http.CloseIdleConnections()
	return r.cmd.Wait()
}

func (r *region) call(ctx context.Context, method, path, token, key string, in, out any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: status %d", method, path, res.StatusCode)
	}
	return json.NewDecoder(res.Body).Decode(out)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := child(t.Context(), args...).Output()
	check(t, err)
	return strings.TrimSpace(string(out))
}

// await waits for n signals.
func await(t *testing.T, signals <-chan struct{}, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for i := range n {
		select {
		case <-signals:
		case <-ctx.Done():
			t.Fatalf("%d of %d were acknowledged", i, n)
		}
	}
}

// What the server or a command acknowledged is there after kill -9 of both.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	const devices, checkIns, gateways = 3, 20, 2 // acknowledged before the kill
	acked := make([]int, devices)                // the last check-in that each device saw acknowledged
	tokens := map[string]string{}                // by gateway, as printed
	deviceTokens := make([]string, devices)
	for i := range devices {
		deviceTokens[i] = output(t, "device", "token", fmt.Sprint("mfp-", i), "--state", dir)
	}
	for round := range 2 {
		r := serve(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		checkedIn, added := make(chan struct{}, 100_000), make(chan struct{}, 10_000)
		var work sync.WaitGroup
		for i := range devices {
			work.Go(func() {
				for n := acked[i] + 1; ; n++ {
					var answer api.CheckInAnswer
					in := api.CheckIn{Model: "m", Serial: "s", Firmware: fmt.Sprint(n), State: "idle"}
					if r.call(ctx, http.MethodPost, fmt.Sprintf("/v1/devices/mfp-%d/check-ins", i), deviceTokens[i], fmt.Sprint(n), in, &answer) != nil {
						return // killed
					}
					acked[i] = n
					checkedIn <- struct{}{}
				}
			})
		}
		work.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("gw-%d-%d", round, n)
				out, err := child(ctx, "gateway", "add", id, "--state", dir).Output() // cancel kills it with SIGKILL
				if err != nil {
					return // killed; had it failed, await says what is missing
				}
				tokens[id] = strings.TrimSpace(string(out))
				added <- struct{}{}
			}
		})
		await(t, checkedIn, checkIns)
		await(t, added, gateways)
		_ = r.end(t, syscall.SIGKILL)
		cancel()
		work.Wait()

		r = serve(t, dir)
		for i := range devices {
			var m api.MFP
			var kept int
			check(t, r.call(t.Context(), http.MethodGet, fmt.Sprintf("/v1/devices/mfp-%d", i), deviceTokens[i], "", nil, &m))
			if _, err := fmt.Sscan(m.Firmware, &kept); err != nil || kept < acked[i] || kept > acked[i]+1 {
				t.Errorf("mfp-%d: kept check-in %s, acknowledged was %d", i, m.Firmware, acked[i])
			}
			acked[i] = kept // one that was kept and not acknowledged must not go back
		}
		for id, token := range tokens {
			var c api.Contract
			if err := r.call(t.Context(), http.MethodGet, "/v1/gateways/"+id+"/contract", token, "", nil, &c); err != nil {
				t.Errorf("the printed token of %s: %v", id, err)
			}
		}
		if err := r.end(t, syscall.SIGTERM); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
	}
}

func TestSIGTERMDoesNotWaitForPushChannels(t *testing.T) {
	dir := t.TempDir()
	r := serve(t, dir)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/v1/devices/mfp-1/push", nil)
	check(t, err)
	req.Header.Set("Authorization", "Bearer "+output(t, "device", "token", "mfp-1", "--state", dir))
	res, err := r.http.Do(req)
	check(t, err)
	defer res.Body.Close()
	clock := mfpgate.SystemClock{}
	begun := clock.Now()
	if err := r.end(t, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if took := clock.Now().Sub(begun); took > 8*time.Second {
		t.Errorf("it took %s to end; the drain budget was waited for", took)
	}
}

func TestCertificateIsKept(t *testing.T) {
	dir := t.TempDir()
	check(t, serve(t, dir).end(t, syscall.SIGTERM))
	first, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	check(t, err)
	check(t, serve(t, dir).end(t, syscall.SIGTERM))
	second, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	check(t, err)
	if !bytes.Equal(first, second) {
		t.Error("the second start made another certificate")
	}
	for _, name := range []string{"key.pem", "factory.key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", name, info.Mode().Perm())
		}
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		rule string
		args string
		code int
		text string
	}{
		{"done", "gateway add osaka-1 --state DIR", 0, "osaka-1."},
		{"a gateway has one token", "gateway add osaka-1 --state DIR", 1, "exists already"},
		{"an id that would leave the folder", "gateway add ../x --state DIR", 1, "must be 1 to 64 letters"},
		{"a contract of nobody", "contract set nobody --state DIR --mode auto", 1, "not found"},
		{"a contract that breaks a rule", "contract set osaka-1 --state DIR --mode often", 1, "must be notify, propose or auto"},
		{"a contract", "contract set osaka-1 --state DIR --max-concurrent 7 --time-zone Asia/Tokyo", 0, ""},
		{"is kept", "contract show osaka-1 --state DIR", 0, `"maxConcurrent": 7`},
		{"a package", "package generate --state DIR --model M --version 1 --size 2kB", 0, "pkg_"},
		{"a size that is none", "package generate --state DIR --model M --version 2 --size 20TB", 1, "such as 20MB"},
		{"a file that is not there", "package add --state DIR --model M --version 2 /nonexistent", 1, "no such file"},
		{"plain HTTP that others can reach", "serve --region jp --listen 0.0.0.0:0 --state DIR --http", 1, "loopback"},
		{"a region that is none", "serve --region Japan --listen 127.0.0.1:0 --state DIR", 1, "two lower-case letters"},
		{"an interval that is too short", "contract set osaka-1 --state DIR --poll-status 1s", 1, "/polling/status: is PT1S; must be PT10S to PT1H"},
		{"an interval", "contract set osaka-1 --state DIR --poll-status 30s", 0, ""},
		{"is kept, with the others' defaults", "contract show osaka-1 --state DIR", 0, `"supplies": "PT15M"`},
		{"an operator", "operator add hana --state DIR", 0, ""},
		{"has one password", "operator add hana --state DIR", 1, "exists already"},
		{"a password in the clear", "device list x --url http://jp.cloud.example --operator hana --password-file /dev/null", 1, "https://"},
		{"no state", "gateway add x", 2, `required flag(s) "state"`},
		{"no id", "gateway add --state DIR", 2, "accepts 1 arg"},
		{"no such flag", "serve --prot 1", 2, "unknown flag"},
		{"no such command", "sevre", 2, "unknown command"},
		{"no such command of a group", "gateway ad x", 2, "unknown command"},
		{"no command of a group", "gateway", 2, "needs a command"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), strings.Fields(strings.ReplaceAll(c.args, "DIR", dir)), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.text) {
			t.Errorf("%s: mfpcloud %s: got %d %q, want %d %q", c.rule, c.args, code, out.String(), c.code, c.text)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "gateways", "*"))
	check(t, err)
	for _, f := range files {
		if data, _ := os.ReadFile(f); strings.Contains(string(data), "osaka-1.") {
			t.Errorf("%s holds the token: %s", f, data)
		}
	}
}
