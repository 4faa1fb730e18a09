package daemon_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// asks sends a request to the portal's port from an address.
func (g *gateway) asks(t *testing.T, dir, from, path string, change func(*http.Request)) (status int, reason string, device mfpgate.DeviceID) {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, "state", "portal", "certificate.pem"))
	servertest.Must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+g.Portal.String()+path, nil)
	servertest.Must(t, err)
	if change != nil {
		change(r)
	}
	res, err := client.Do(r)
	servertest.Must(t, err)
	defer res.Body.Close()
	var document struct {
		Type     string
		DeviceID mfpgate.DeviceID
	}
	if strings.Contains(res.Header.Get("Content-Type"), "json") {
		servertest.Must(t, json.NewDecoder(res.Body).Decode(&document))
	}
	return res.StatusCode, document.Type[strings.LastIndexByte(document.Type, '/')+1:], document.DeviceID
}

func TestDevicesAreKnownAtTheirDoor(t *testing.T) {
	dir := t.TempDir()
	const entries = `devices:
  static:
    - {address: 127.0.0.77, name: itself, registration: agent}
    - {address: 127.0.0.78, name: delegated}
portal: {listen: "127.0.0.1:0"}
`
	g := startIn(t, dir, "1", entries)
	defer g.stop(t)
	var list struct{ Items []mfpgate.Device }
	g.control(t, "GET", "devices", "", &list)
	ids := map[mfpgate.DeviceID]string{"": ""}
	for _, d := range list.Items {
		ids[d.ID] = d.Name
	}
	const requests = "/device/v1/registration-requests"
	expect := func(rule, from string, change func(*http.Request), status int, reason, name string) {
		t.Helper()
		got, why, id := g.asks(t, dir, from, requests, change)
		if got != status || why != reason || ids[id] != name {
			t.Errorf("%s: got %d %q as %q, want %d %q as %q", rule, got, why, ids[id], status, reason, name)
		}
	}
	expect("an address that the configuration names", "127.0.0.77", nil, 200, "", "itself")
	expect("a device that the gateway registers", "127.0.0.78", nil, 403, "not-agent", "")
	expect("any other address", "127.0.0.79", nil, 401, "needs-account", "")
	basic := func(password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth("mover", password) }
	}
	expect("an account where there are none", "127.0.0.79", basic("right"), 401, "needs-account", "")
	if status, _, _ := g.asks(t, dir, "127.0.0.79", "/login", nil); status != 200 {
		t.Errorf("the portal beside it: %d, want 200", status)
	}

	t.Log("after a reload that adds accounts")
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	servertest.Must(t, err)
	servertest.Must(t, os.WriteFile(filepath.Join(dir, "accounts"), []byte("mover:"+string(hash)+"\nother:"+string(hash)+"\n"), 0o600))
	file := filepath.Join(dir, "mfpgate.yaml")
	text, err := os.ReadFile(file)
	servertest.Must(t, err)
	changed := strings.NewReplacer("  allow:", "  accounts: {file: "+filepath.Join(dir, "accounts")+"}\n  allow:",
		"    - {address: 127.0.0.78", "    - {account: mover, name: mover, registration: agent}\n    - {account: other, address: 127.0.0.80, name: other, registration: agent}\n    - {address: 127.0.0.78").Replace(string(text))
	servertest.Must(t, os.WriteFile(file, []byte(changed), 0o600))
	g.signals <- syscall.SIGHUP
	reached(t, "the accounts", func() bool {
		status, _, _ := g.asks(t, dir, "127.0.0.79", requests, basic("right"))
		g.control(t, "GET", "devices", "", &list) // after it: what was known before may be without them
		for _, d := range list.Items {
			ids[d.ID] = d.Name
		}
		return status == 200
	})
	expect("the account of a device, from anywhere", "127.0.0.79", basic("right"), 200, "", "mover")
	expect("a wrong password", "127.0.0.77", basic("wrong"), 401, "bad-account", "")
	expect("the address of a device that has an account", "127.0.0.80", nil, 401, "needs-account", "")
}
