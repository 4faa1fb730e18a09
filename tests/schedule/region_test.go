package schedule_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/rig"
)

const (
	gateway  = "osaka-1"
	operator = "hana"
	model    = "SIM-100"
)

// region is a process of mfpcloud, with one gateway's account and one operator.
type region struct {
	dir, url        string
	certificate     string
	token, password string // files
	http            *http.Client
}

func startRegion(t *testing.T) *region {
	t.Helper()
	r := &region{dir: rig.Dir(t)}
	state := filepath.Join(r.dir, "region")
	r.token = rig.WriteFile(t, r.dir, "token", r.command(t, "", "gateway", "add", gateway, "--state", state))
	r.password = rig.WriteFile(t, r.dir, "password", r.command(t, "", "operator", "add", operator, "--state", state))
	out := start(t, rig.Cloud(t), "serve", "--region", "jp", "--listen", "127.0.0.1:0", "--state", state, "--log-level", "error", "--push-interval", "110s")
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(line, "listens on ")
	url, certificate, found := strings.Cut(strings.TrimSpace(rest), ", trusted by ")
	if !found {
		t.Fatalf("the region says %q", line)
	}
	r.url, r.certificate = url, certificate
	pem, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	r.http = &http.Client{Transport: transport, Timeout: rig.Deadline}
	return r
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

// command runs mfpcloud to its end and returns what it prints.
func (r *region) command(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(rig.Cloud(t), args...)
	rig.Unprivileged(cmd)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("mfpcloud %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}

// local runs a command on the region's folder, and remote one on the running region as the operator.
func (r *region) local(t *testing.T, args ...string) string {
	t.Helper()
	return r.command(t, "", append(args, "--state", filepath.Join(r.dir, "region"))...)
}

func (r *region) remote(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	return r.command(t, stdin, append(args, "--url", r.url, "--operator", operator, "--password-file", r.password, "--ca", r.certificate)...)
}

// devices are the ids of the devices that the gateway has told of with their serial numbers.
func (r *region) devices(t *testing.T) map[string]string {
	t.Helper()
	var page api.Page[api.DeviceEntry]
	decode(t, r.remote(t, "", "device", "list", gateway, "--json"), &page)
	ids := map[string]string{}
	for _, d := range page.Items {
		if d.Serial != "" && d.Model != "" && d.MonitoringMode == "proxy" {
			ids[d.Serial] = d.DeviceID
		}
	}
	return ids
}

// deliveries are all of the gateway's.
func (r *region) deliveries(t *testing.T) []api.Delivery {
	t.Helper()
	var list api.Deliveries
	r.call(t, http.MethodGet, "deliveries?finished=true&limit=500", "", nil, &list)
	return list.Items
}

// call calls the region's API as the operator, and returns the entity tag.
func (r *region) call(t *testing.T, method, path, ifMatch string, in, out any) string {
	t.Helper()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+"/v1/gateways/"+gateway+"/"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	password, err := os.ReadFile(r.password)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(operator, strings.TrimSpace(string(password)))
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", rand.Text())
	}
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v: %s", method, path, resp.Status, err, text)
	}
	decode(t, string(text), out)
	return resp.Header.Get("ETag")
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(fmt.Errorf("%.200s: %w", text, err))
	}
}
