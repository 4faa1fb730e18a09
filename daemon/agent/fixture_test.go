package agent_test

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/agent"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/telemetry"
)

const (
	byAccount = mfpgate.DeviceID("dev_account") // account copier, password right
	byAddress = mfpgate.DeviceID("dev_address") // 127.0.0.9
	delegated = mfpgate.DeviceID("dev_delegated")
)

// desk keeps requests as the broker does.
type desk struct {
	mu      sync.Mutex
	open    []mfpgate.Registration
	results map[string]agent.Result
	watch   map[chan struct{}]bool
}

func newDesk() *desk {
	return &desk{results: map[string]agent.Result{}, watch: map[chan struct{}]bool{}}
}

func (d *desk) add(id string, device mfpgate.DeviceID) {
	d.change(func() {
		d.open = append(d.open, mfpgate.Registration{ID: id, Device: mfpgate.PrintDevice{ID: device, Name: "copier", UUID: "u"}, Service: "office",
			User: "hana@example.co.jp", Admin: "it@example.co.jp", From: "10.0.0.7", Purpose: mfpgate.PurposeRegister, State: mfpgate.RegistrationAwaitingDevice,
			UserCode: "WDJBMJHT", Attempts: 4, Deadline: time.Date(2026, 12, 2, 1, 0, 0, 0, time.UTC)})
	})
}

func (d *desk) end(id string) {
	d.change(func() { d.open = slices.DeleteFunc(d.open, func(g mfpgate.Registration) bool { return g.ID == id }) })
}

func (d *desk) change(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
	for w := range d.watch {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// watchers is how many wait for changes.
func (d *desk) watchers() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.watch)
}

func (d *desk) ForDevice(_ context.Context, device mfpgate.DeviceID) (list []mfpgate.Registration, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.open {
		if g.Device.ID == device {
			list = append(list, g)
		}
	}
	return list, nil
}

func (d *desk) Report(ctx context.Context, device mfpgate.DeviceID, id string, r agent.Result) error {
	d.mu.Lock()
	before, known := d.results[id]
	mine := slices.ContainsFunc(d.open, func(g mfpgate.Registration) bool { return g.ID == id && g.Device.ID == device })
	d.mu.Unlock()
	switch {
	case known && before.State.Ended() && before == r:
		return nil
	case known && before.State.Ended():
		return agent.ErrEnded
	case !mine:
		return agent.ErrNoRequest
	}
	d.mu.Lock()
	d.results[id] = r
	d.mu.Unlock()
	if r.State.Ended() {
		d.end(id)
	}
	return nil
}

func (d *desk) Changes(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		w := make(chan struct{}, 1)
		d.mu.Lock()
		d.watch[w] = true
		d.mu.Unlock()
		defer func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.watch, w)
		}()
		for ok := yield(""); ok; ok = yield("") {
			select {
			case <-ctx.Done():
				return
			case <-w:
			}
		}
	}
}

// devices are those of a configuration.
type devices struct{ accounts *account.File }

func (d devices) Accounts() *account.File { return d.accounts }

func (d devices) ByAccount(name string) (mfpgate.DeviceID, bool) {
	id, ok := map[string]mfpgate.DeviceID{"copier": byAccount, "plain": delegated}[name]
	return id, ok
}

func (d devices) ByAddress(a netip.Addr) (mfpgate.DeviceID, bool) {
	return byAddress, a == netip.MustParseAddr("127.0.0.9")
}

func (d devices) RegistersItself(id mfpgate.DeviceID) bool { return id != delegated }

func (d devices) Service(name string) api.PrintService {
	return api.PrintService{Name: name, Kind: "reference", URL: "https://print.example", ClientID: "mfpgate"}
}

func (d devices) Site() string { return "osaka-branch" }

func accounts(t *testing.T) *account.File {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"copier", "stranger", "plain"} {
		hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(name + ":" + string(hash) + "\n")
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := account.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// scene is the door with a desk behind it.
type scene struct {
	t *testing.T
	*desk
	http.Handler
}

func open(t *testing.T, clock mfpgate.Clock) *scene {
	d := newDesk()
	return &scene{t, d, agent.Handler(agent.Options{Requests: d, Devices: devices{accounts(t)}, Clock: clock, Log: telemetry.Discard()})}
}

// ask makes a request as the device of the account, unless change says otherwise.
func (s *scene) ask(method, path, body string, change ...func(*http.Request)) *http.Response {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), method, path, strings.NewReader(body))
	r.RemoteAddr = "10.0.0.7:40000"
	r.SetBasicAuth("copier", "right")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", `"k"`)
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Del(name)
		if value != "" {
			r.Header.Set(name, value)
		}
	}
}

func from(address string) func(*http.Request) {
	return func(r *http.Request) { r.RemoteAddr = address }
}

func as(name, password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(name, password) }
}

// manyDevices has one for each address.
type manyDevices struct{ devices }

func (manyDevices) ByAddress(a netip.Addr) (mfpgate.DeviceID, bool) {
	return mfpgate.DeviceID("dev_" + a.String()), true
}
