package usb_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/tests/rig"
)

const (
	gateway  = "osaka-1"
	operator = "hana"
)

// region is a process of mfpcloud, with one gateway's account and one operator.
type region struct {
	dir, state, url string
	token, password string // files
}

func startRegion(t *testing.T, flags ...string) *region {
	t.Helper()
	r := &region{dir: rig.Dir(t)}
	r.state = filepath.Join(r.dir, "region")
	r.token = rig.WriteFile(t, r.dir, "token", r.local(t, "gateway", "add", gateway))
	r.password = rig.WriteFile(t, r.dir, "password", r.local(t, "operator", "add", operator))
	r.local(t, "contract", "set", gateway, "--lead-time", "0s", "--slot", "1s", "--services", mfpgate.ServiceDelivery)
	out := start(t, rig.Cloud(t), append([]string{"serve", "--region", "jp", "--listen", "127.0.0.1:0", "--http", "--state", r.state, "--log-level", "error",
		"--poll-interval", "1s"}, flags...)...)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, at, found := strings.Cut(strings.TrimSpace(line), "listens on ")
	if !found {
		t.Fatalf("the region says %q", line)
	}
	r.url = at
	return r
}

// port is the region's.
func (r *region) port(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	return u.Port()
}

// config are the lines of a gateway's configuration that name the region.
func (r *region) config() string {
	return fmt.Sprintf("cloud: {url: %q, gateway_id: %s, token: {file: %s}}\n", r.url, gateway, r.token)
}

// local runs mfpcloud on the region's folder.
func (r *region) local(t *testing.T, args ...string) string {
	t.Helper()
	return r.command(t, append(args, "--state", r.state)...)
}

// remote runs mfpcloud as the operator.
func (r *region) remote(t *testing.T, args ...string) string {
	t.Helper()
	return r.command(t, append(args, "--url", r.url, "--operator", operator, "--password-file", r.password)...)
}

func (r *region) command(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(rig.Cloud(t), args...)
	rig.Unprivileged(cmd)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("mfpcloud %s: %v: %s", strings.Join(args, " "), err, &complaint)
	}
	return strings.TrimSpace(string(out))
}

// devices are those that the gateway has told of.
func (r *region) devices(t *testing.T) map[string]api.DeviceEntry {
	t.Helper()
	var page api.Page[api.DeviceEntry]
	if err := json.Unmarshal([]byte(r.remote(t, "device", "list", gateway, "--json")), &page); err != nil {
		t.Fatal(err)
	}
	all := map[string]api.DeviceEntry{}
	for _, d := range page.Items {
		all[d.DeviceID] = d
	}
	return all
}
