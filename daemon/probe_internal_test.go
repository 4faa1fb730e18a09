package daemon

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// connecting is a proxy that opens tunnels for who gives the password.
func connecting(t *testing.T, asked *[]string) *url.URL {
	t.Helper()
	var mu sync.Mutex
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		*asked = append(*asked, r.Method+" "+r.Host)
		mu.Unlock()
		if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("mfp:s3cret")) {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, from); _ = to.Close() }() // ends with the connections
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCertificatesAreProbedByTheRelaysWay(t *testing.T) {
	target := httptest.NewUnstartedServer(http.NotFoundHandler())
	target.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of each handshake that is broken off
	target.StartTLS()                                   // good for example.com
	defer target.Close()
	roots := x509.NewCertPool()
	roots.AddCert(target.Certificate())
	host := target.Listener.Addr().String()
	var asked []string
	through := connecting(t, &asked)
	pattern, err := mfpgate.ParseHostPattern("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule, host, name string
		upstream         config.Upstream
		strangers        bool // the system's roots
		forbidden        bool // no rule lets devices reach private addresses
		fails            string
		asked            []string
	}{
		{rule: "a name that the certificate has", host: host, name: "example.com"},
		{rule: "one that it has not", host: host, name: "us.cloud.example", fails: "us.cloud.example"},
		{rule: "one that nobody known has signed", host: host, name: "example.com", strangers: true, fails: "unknown authority"},
		{rule: "this machine, where devices may not go", host: host, name: "example.com", forbidden: true, fails: "not allowed"},
		{rule: "also in the clothes of IPv6", host: strings.Replace(host, "127.0.0.1", "[::ffff:127.0.0.1]", 1), name: "example.com", forbidden: true, fails: "not allowed"},
		{rule: "also through the upstream", host: host, name: "example.com", forbidden: true, upstream: config.Upstream{URL: through, User: "mfp", Password: "s3cret"}, fails: "not allowed"},
		{rule: "where a cloud keeps its machines' secrets", host: "169.254.169.254:80", name: "example.com", fails: "not allowed"},
		{rule: "a host that is none", host: "2130706433:443", name: "example.com", fails: "not a host"},
		{rule: "a host that is away", host: "127.0.0.1:1", name: "example.com", fails: "connect to 127.0.0.1:1"},
		{rule: "through the upstream", host: host, name: "example.com", upstream: config.Upstream{URL: through, User: "mfp", Password: "s3cret"}, asked: []string{"CONNECT " + host}},
		{rule: "and a wrong name", host: host, name: "us.cloud.example", upstream: config.Upstream{URL: through, User: "mfp", Password: "s3cret"},
			fails: "us.cloud.example", asked: []string{"CONNECT " + host}},
		{rule: "an upstream that refuses", host: host, name: "example.com", upstream: config.Upstream{URL: through}, fails: "the upstream proxy: it answers 407", asked: []string{"CONNECT " + host}},
		{rule: "a host that is dialled directly", host: host, name: "example.com", upstream: config.Upstream{URL: through, Except: []mfpgate.HostPattern{pattern}}},
	} {
		asked = nil
		d := &Daemon{Options: Options{Clock: mfpgate.SystemClock{}}}
		_, port, err := splitHost(host)
		if err != nil {
			t.Fatal(err)
		}
		rules := []mfpgate.AllowRule{{Host: pattern, Ports: []uint16{port, 1}, Private: !c.forbidden}}
		d.config.Store(&config.Config{Relay: config.Relay{Allow: rules, Upstream: c.upstream, Timeouts: config.Timeouts{Dial: 5 * time.Second}}})
		p := prober{daemon: d, roots: roots}
		if c.strangers {
			p.roots = nil
		}
		err = p.Probe(t.Context(), c.host, c.name)
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v, want %q", c.rule, err, c.fails)
		}
		if diff := cmp.Diff(c.asked, asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestKeysArePinned(t *testing.T) {
	p := &pins{file: filepath.Join(t.TempDir(), "region-keys.json")}
	key := func(b byte) ed25519.PublicKey {
		return ed25519.PublicKey(strings.Repeat(string(rune(b)), ed25519.PublicKeySize))
	}
	want := func(rule, cloud string, keys ...ed25519.PublicKey) {
		t.Helper()
		got, err := (&pins{file: p.file}).load(cloud) // as after a restart
		if diff := cmp.Diff(keys, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", rule, err, diff)
		}
	}
	start := mfpgate.SystemClock{}.Now()
	want("before the first contact", "https://jp osaka-1")
	for cloud, b := range map[string]byte{"https://jp osaka-1": 1, "https://us osaka-1": 2} {
		if err := p.store(cloud, []ed25519.PublicKey{key(b), key(b + 10)}, start); err != nil {
			t.Fatal(err)
		}
	}
	want("one cloud", "https://jp osaka-1", key(1), key(11))
	want("another", "https://us osaka-1", key(2), key(12))
	want("a third", "https://de osaka-1")
	if entries, err := os.ReadDir(filepath.Dir(p.file)); err != nil || len(entries) != 1 {
		t.Errorf("files are left: %v %v", entries, err)
	}
	// What cannot be read is no first contact: whoever damages the file must not be met as a new region.
	for _, text := range []string{"", "{", `{"schema":2}`, `{"schema":1,"clouds":[{"cloud":"https://jp osaka-1","keys":["AA=="]}]}`, `{"schema":1,"clouds":[{"cloud":"https://jp osaka-1"}]}`} {
		if err := os.WriteFile(p.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if keys, err := p.load("https://jp osaka-1"); err == nil {
			t.Errorf("%q gives %d keys", text, len(keys))
		}
	}
}

func TestAFewThingsAreNamedAndTheRestCounted(t *testing.T) {
	d := &Daemon{Options: Options{Clock: mfpgate.SystemClock{}}}
	d.health = newHealth(d)
	m := &moves{daemon: d}
	var things []string
	for i := range 7 {
		things = append(things, fmt.Sprint("copier ", 7-i))
	}
	m.say(MoveIsStuck, things, "stuck: ")
	if wrong, _ := d.health.list(); len(wrong) != 1 || wrong[0].Text != "stuck: copier 1, copier 2, copier 3, copier 4, copier 5, and 2 more" {
		t.Errorf("%+v", wrong)
	}
	m.say(MoveIsStuck, nil, "stuck: ")
	if wrong, _ := d.health.list(); len(wrong) != 0 {
		t.Errorf("%+v", wrong)
	}
}

func TestWhatIsWrongWithMoves(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, time.March, 3, 5, 0, 0, 0, time.UTC))
	now := clock.Now()
	committed := func(ago time.Duration) mfpgate.Move {
		return mfpgate.Move{ID: "mov_1", Device: "dev_1", State: mfpgate.MoveCommitted, CommittedAt: now.Add(-ago)}
	}
	switched := committed(time.Hour)
	switched.SwitchedAt = now
	for _, c := range []struct {
		rule       string
		residences []mfpgate.Residence
		moves      []mfpgate.Move
		want       []mfpgate.Reason
	}{
		{"nothing", []mfpgate.Residence{{Device: "dev_1", Enforcement: mfpgate.Enforced}}, []mfpgate.Move{committed(5 * time.Minute)}, nil},
		{"a switch that nobody has taken for more than five minutes", nil, []mfpgate.Move{committed(5*time.Minute + time.Second)}, []mfpgate.Reason{SwitchLate}},
		{"one that was taken", nil, []mfpgate.Move{switched}, nil},
		{"a stuck move", nil, []mfpgate.Move{{ID: "mov_1", State: mfpgate.MoveStuck}}, []mfpgate.Reason{MoveIsStuck}},
		{"a device that goes by another way", []mfpgate.Residence{{Device: "dev_1", Enforcement: mfpgate.Unenforced, Bypassed: "not seen"}}, nil, []mfpgate.Reason{DevicesUnenforced}},
		{"a map that cannot be read", []mfpgate.Residence{{Device: "dev_1", Reason: mfpgate.RegionMap}}, nil, []mfpgate.Reason{MapUnreadable}},
	} {
		d := &Daemon{Options: Options{Clock: clock}, metrics: telemetry.NewMetrics(), log: telemetry.Discard()}
		d.config.Store(&config.Config{Site: config.Site{TimeZone: time.UTC}})
		d.health = newHealth(d)
		var err error
		if d.registry, err = discovery.New(t.Context(), discovery.Options{Clock: clock, Log: d.log, Metrics: d.metrics, Store: memory.New()}, &discovery.Policy{}); err != nil {
			t.Fatal(err)
		}
		m := &moves{daemon: d}
		m.judge(c.residences, c.moves)
		var got []mfpgate.Reason
		wrong, _ := d.health.list()
		for _, w := range wrong {
			got = append(got, w.Reason)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
		if m.judge(nil, nil); d.health.ready() {
			if left, _ := d.health.list(); len(left) > 0 {
				t.Errorf("%s: it does not end: %+v", c.rule, left)
			}
		}
	}
}
