package moves_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/regiontest"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store/journal"
	"github.com/mfpgate/mfpgate/tests/regions"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// eventually is rig.Until with patience, for what many programs have a part in. now says how things stand.
func eventually(t *testing.T, what string, reached func() bool, now func() any) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !reached() {
		select {
		case <-again.C:
		case <-late.C:
			text, _ := json.MarshalIndent(now(), "", "  ")
			t.Fatalf("after %v still not: %s; now %s", patience, what, text)
		}
	}
}

// check holds what every writer has put down against the rules of moves, and against its own hashes. running says that moves are
// under way.
func (s *scene) check(t *testing.T, running bool) regiontest.Chains {
	t.Helper()
	s.verify(t)
	var page struct{ Items []mfpgate.Move }
	s.remote(t, s.JP, &page, "moves", "list", "--json")
	facts := regiontest.Facts{Moves: page.Items, Offers: map[string][]mfpgate.ServiceOffer{}, Running: running}
	for _, r := range []*regions.Region{s.JP, s.US} {
		text, err := r.Local(t.Context(), "rollout", "list", "--json")
		if err != nil {
			t.Fatal(err)
		}
		var offers struct{ Items []mfpgate.ServiceOffer }
		if err := json.Unmarshal([]byte(text), &offers); err != nil {
			t.Fatal(err)
		}
		facts.Offers[r.Name] = offers.Items
	}
	chains := s.chains(t)
	if len(facts.Moves) == 0 {
		t.Error("there are no moves to check")
	}
	for _, v := range regiontest.Check(chains, facts) {
		t.Error(v)
		for writer, chain := range chains {
			t.Logf("%s:%s", writer, entries(chain, v.Move))
		}
	}
	return chains
}

// verify has each writer's chain looked at by the programs that operators use.
func (s *scene) verify(t *testing.T) {
	t.Helper()
	if code, out, complaint := rig.Run(t, "audit", "verify", "--socket", s.Socket); code != 0 || !strings.Contains(out, regions.Gateway+"/route: ") {
		t.Errorf("mfpgate audit verify: %d: %s%s", code, out, complaint)
	}
	for _, r := range []*regions.Region{s.JP, s.US} {
		for _, room := range []string{"management", "services"} {
			out, err := r.Remote(t.Context(), "audit", "verify", room)
			if err != nil || !strings.HasPrefix(out, r.Name+"/"+room+": ") {
				t.Errorf("mfpcloud audit verify %s of %s: %v: %s", room, r.Name, err, out)
			}
		}
	}
}

// chains are those of the five writers, as of one moment: none has grown while the others were read.
func (s *scene) chains(t *testing.T) (all regiontest.Chains) {
	t.Helper()
	eventually(t, "the chains stand still while they are read", func() bool {
		before := all
		all = s.read(t)
		return before != nil && maps.EqualFunc(before, all, func(a, b []journal.Entry) bool { return len(a) == len(b) })
	}, func() any { return slices.Collect(maps.Keys(all)) })
	return all
}

func (s *scene) read(t *testing.T) regiontest.Chains {
	t.Helper()
	all := regiontest.Chains{regions.Gateway + "/route": whole(t, func(before uint64) (list []journal.Entry) {
		var page struct{ Items []journal.Entry }
		if err := s.ctl(t, &page, "audit", "list", "--room", "route", "--limit", "1000", "--before", fmt.Sprint(before)); err != nil {
			t.Fatal(err)
		}
		return page.Items
	})}
	for _, r := range []*regions.Region{s.JP, s.US} {
		for _, room := range []string{"management", "services"} {
			all[r.Name+"/"+room] = whole(t, func(before uint64) []journal.Entry {
				var page struct{ Items []journal.Entry }
				s.remote(t, r, &page, "audit", "list", room, "--json", "--limit", "500", "--before", fmt.Sprint(before))
				return page.Items
			})
		}
	}
	return all
}

// whole reads a chain page by page, and returns it the oldest first.
func whole(t *testing.T, page func(before uint64) []journal.Entry) (all []journal.Entry) {
	t.Helper()
	for before := uint64(0); before != 1; {
		list := page(before)
		if len(list) == 0 {
			break
		}
		all = append(all, list...)
		before = list[len(list)-1].Seq
	}
	slices.Reverse(all)
	return all
}

// remote reads what mfpcloud prints as JSON.
func (s *scene) remote(t *testing.T, r *regions.Region, into any, args ...string) {
	t.Helper()
	out, err := r.Remote(t.Context(), args...)
	if err == nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		t.Fatalf("mfpcloud %s of %s: %v", strings.Join(args, " "), r.Name, err)
	}
}

// refused runs a command of mfpgate that has to fail, and wants its complaint to say all of these.
func (s *scene) refused(t *testing.T, says []string, args ...string) {
	t.Helper()
	code, out, complaint := rig.Run(t, append(args, "--socket", s.Socket)...)
	if code == 0 {
		t.Errorf("mfpgate %s: done: %s", strings.Join(args, " "), out)
	}
	for _, text := range says {
		if !strings.Contains(complaint+out, text) {
			t.Errorf("mfpgate %s does not say %q: %s%s", strings.Join(args, " "), text, out, complaint)
		}
	}
}

// residence is what `mfpgate moves residences` says of a device.
func (s *scene) residence(t *testing.T, id mfpgate.DeviceID) (of mfpgate.Residence) {
	t.Helper()
	var page struct{ Items []mfpgate.Residence }
	if err := s.ctl(t, &page, "moves", "residences"); err != nil {
		t.Fatal(err)
	}
	for _, r := range page.Items {
		if r.Device == id {
			return r
		}
	}
	t.Fatalf("no residence of %s", id)
	panic("not reached")
}

// resides waits until a device's residence is as wanted.
func (s *scene) resides(t *testing.T, id mfpgate.DeviceID, what string, wanted func(mfpgate.Residence) bool) (of mfpgate.Residence) {
	t.Helper()
	eventually(t, string(id)+": "+what, func() bool { of = s.residence(t, id); return wanted(of) }, func() any { return of })
	return of
}

// seen waits until the simulator has told such an event.
func (d *device) seen(t *testing.T, what string, wanted func(e map[string]any) bool) (found map[string]any) {
	t.Helper()
	eventually(t, d.id+": "+what, func() bool {
		for _, e := range d.told() {
			if wanted(e) {
				found = e
				return true
			}
		}
		return false
	}, func() any { all := d.told(); return all[max(0, len(all)-10):] })
	return found
}

func (d *device) told() []map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events)
}

// stop switches a device off.
func (d *device) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rig.Wait(t, d.id+" has ended", d.ended)
}

// hand is somebody who speaks to the regions as a device does: from its address, with its token.
type hand struct {
	s     *scene
	d     *device
	token string
	roots *x509.CertPool
}

func (s *scene) hand(t *testing.T, d *device) *hand {
	t.Helper()
	token, err := s.US.Local(t.Context(), "device", "token", d.id)
	if err != nil {
		t.Fatal(err)
	}
	return &hand{s: s, d: d, token: strings.TrimSpace(token), roots: s.roots(t)}
}

func (s *scene) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(s.trust)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// host is the address of a region's services, or with management that of its management server.
func (s *scene) host(region string, management bool) string {
	n, role := 1, 2
	if region == "us" {
		n = 2
	}
	if management {
		role = 1
	}
	return fmt.Sprintf("%s.%d.%d:8443", s.World.Network, n, role)
}

// client speaks to one address whatever a URL says; with relay through it, as the device.
func (h *hand) client(t *testing.T, relay bool) *http.Client {
	t.Helper()
	ip := net.ParseIP(h.d.address)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}}).DialContext}
	if relay {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: h.s.relay()})
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: rig.Deadline}
}

// call makes one request, and returns its status and body. A body that is no []byte is sent as JSON.
func (h *hand) call(t *testing.T, c *http.Client, method, at string, body any) (int, []byte, error) {
	t.Helper()
	data, raw := body.([]byte)
	if !raw && body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, at, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", rand.Text())
	if raw {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// services asks a region's services about the device, on the way that no relay sees.
func (h *hand) services(t *testing.T, region, method, path string, body any) (int, []byte) {
	t.Helper()
	status, text, err := h.call(t, h.client(t, false), method, "https://"+h.s.host(region, false)+api.ServiceDevices+"/"+h.d.id+"/"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}

// signedBy opens a JWS (RFC 7515, compact, EdDSA) as an auditor would: with the key that `mfpcloud key` prints, and nothing of ours.
func signedBy(t *testing.T, r *regions.Region, signed string, into any) {
	t.Helper()
	text, err := r.Local(context.WithoutCancel(t.Context()), "key")
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	covered, signature, _ := cutLast(signed, ".")
	_, payload, _ := strings.Cut(covered, ".")
	seal, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(key, []byte(covered), seal) {
		t.Fatalf("region %s has not signed %s: %v", r.Name, signed, err)
	}
	data, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func cutLast(text, sep string) (before, after string, found bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

// abreast runs stories side by side, and waits for all of them. They wait for programs and not for the processor, so that they are not
// among those that -parallel counts.
func abreast(t *testing.T, stories map[string]func(*testing.T)) {
	t.Helper()
	var all sync.WaitGroup
	for rule, story := range stories {
		all.Go(func() { t.Run(rule, story) })
	}
	all.Wait()
}

// account makes one of the portal.
func (s *scene) account(t *testing.T, name string, flags ...string) {
	t.Helper()
	cmd := exec.Command(rig.Binary(t), append([]string{"user", "add", name, "--socket", s.Socket}, flags...)...)
	rig.Unprivileged(cmd)
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("user add %s: %v: %s", name, err, out)
	}
}
