package print_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/print"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

const (
	base     = "https://print.example"
	verifier = "correct-horse-battery-staple-0123456789-ABCDEF"
	hana     = "hana@example.jp"
	admin    = "it@example.jp"
	password = "sesame"
)

// desk is a service whose clock a test moves.
type desk struct {
	t       testing.TB
	facts   store.Store
	clock   mfpgate.Clock
	fake    *fakeclock.Clock // nil in a bubble, whose own clock holds
	service *print.Service
	mux     *http.ServeMux
	mail    *letters
	from    string // remote address
}

// letters keeps what was mailed.
type letters struct {
	mu   sync.Mutex
	all  []mfpgate.Letter
	fail error
}

func (l *letters) Send(_ context.Context, letter mfpgate.Letter) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.all = append(l.all, letter)
	return nil
}

func (l *letters) list() []mfpgate.Letter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// authority is made once: its keys take most of a test's time.
var authority = sync.OnceValue(func() print.Authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "printers"}, NotBefore: noon.AddDate(-30, 0, 0), NotAfter: noon.AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return print.Authority{Certificate: cert, Key: key}
})

// open builds a service on a store; change may set what a test needs otherwise.
func open(t testing.TB, facts store.Store, clock mfpgate.Clock, change ...func(*print.Options)) *desk {
	t.Helper()
	d := &desk{t: t, facts: facts, clock: clock, mux: http.NewServeMux(), mail: &letters{}, from: "192.0.2.7:4711"}
	d.fake, _ = clock.(*fakeclock.Clock)
	sealer, err := seal.New([]byte(strings.Repeat("k", seal.KeySize)))
	servertest.Must(t, err)
	o := print.Options{
		Region: "jp", Store: facts, Clock: clock, Sealer: sealer, Authority: authority(), Mailer: d.mail, URL: base,
		Administrator: func(mail string, given mfpgate.Secret) (bool, error) {
			return strings.HasSuffix(mail, "@example.jp") && mail != hana && given.Reveal() == password, nil
		},
		Asset:    func(name string) (string, error) { return "/ui/assets/" + name, nil },
		Noted:    func(_ *http.Request, _ mfpgate.Reason, _ string, cause error) string { return d.cause(cause) },
		Caller:   func(*http.Request, string) {},
		Troubled: func(err error) { t.Errorf("in trouble: %v", err) },
		Ending:   make(chan struct{}),
	}
	for _, c := range change {
		c(&o)
	}
	d.service, err = print.New(o)
	servertest.Must(t, err)
	d.service.Mount(d.mux)
	return d
}

func (d *desk) cause(err error) string {
	if err != nil {
		d.t.Errorf("internal error: %v", err)
	}
	return "req_1"
}

func newDesk(t testing.TB, change ...func(*print.Options)) *desk {
	t.Helper()
	return open(t, memory.New(), fakeclock.New(noon), change...)
}

// run does what is due until the test ends.
func (d *desk) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.service.Run(ctx) }() // the cleanup waits
	d.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			d.t.Error(err)
		}
	})
}

// await waits until something is so.
func (d *desk) await(what string, so func() bool) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 20*time.Second)
	defer cancel()
	for !so() {
		if err := mfpgate.Wait(ctx, mfpgate.SystemClock{}, time.Millisecond); err != nil {
			d.t.Fatalf("waited too long for %s", what)
		}
	}
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// connected is a recorder that takes deadlines as a connection does.
type connected struct{ *httptest.ResponseRecorder }

func (connected) SetWriteDeadline(time.Time) error { return nil }

func (d *desk) do(r *http.Request) reply {
	w := connected{httptest.NewRecorder()}
	r.RemoteAddr = d.from
	d.mux.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

func (d *desk) form(path string, in url.Values, headers ...string) reply {
	r := httptest.NewRequestWithContext(d.t.Context(), http.MethodPost, path, strings.NewReader(in.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return d.do(r)
}

// as sends a form as an administrator, from the service's own page.
func (d *desk) as(who, path string, in url.Values) reply {
	return d.form(path, in, "Authorization", basic(who, password), "Sec-Fetch-Site", "same-origin")
}

func basic(who, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(who+":"+password))
}

func (d *desk) get(path string, headers ...string) reply {
	r := httptest.NewRequestWithContext(d.t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return d.do(r)
}

func (d *desk) page(who, path string) reply {
	return d.get(path, "Authorization", basic(who, password))
}

// codeAnswer is RFC 8628 §3.2.
type codeAnswer struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	Expires    int    `json:"expires_in"`
	Interval   int    `json:"interval"`
	Events     string `json:"events_uri"`
}

func challengeOf(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// about is the request for a device's code.
func about(change ...string) url.Values {
	in := url.Values{
		"client_id": {"mfpgate"}, "scope": {"print.register"}, "code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
		"device_uuid": {deviceUUID}, "device_name": {"2F copier"}, "device_make": {"Example"}, "device_model": {"SIM-C300"}, "device_serial": {"A17-0042"},
		"device_location": {"Osaka 2F"}, "device_address": {"10.1.2.9"}, "requester": {hana}, "site": {"osaka-branch"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		in.Set(change[i], change[i+1])
	}
	return in
}

func (d *desk) code(change ...string) codeAnswer {
	d.t.Helper()
	got := d.form("/oauth/device_authorization", about(change...))
	if got.status != http.StatusOK {
		d.t.Fatalf("device authorization: %d %s", got.status, got.body)
	}
	return decode[codeAnswer](d.t, got)
}

func decode[T any](t testing.TB, r reply) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Fatalf("%v in %q", err, r.body)
	}
	return v
}

// poll returns the error's word, or "" and the answer.
func (d *desk) poll(c codeAnswer, verifier string) (word, answer string) {
	d.t.Helper()
	in := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {c.DeviceCode}, "client_id": {"mfpgate"}}
	if verifier != "" {
		in.Set("code_verifier", verifier)
	}
	got := d.form("/oauth/token", in)
	if kind := got.header.Get("Content-Type"); kind != "application/json" || got.header.Get("Cache-Control") != "no-store" {
		d.t.Errorf("token endpoint answers %s, %s", kind, got.header.Get("Cache-Control"))
	}
	if got.status == http.StatusOK {
		return "", got.body
	}
	return decode[struct{ Error string }](d.t, got).Error, got.body
}

func (d *desk) decide(who string, c codeAnswer, do string, users ...string) reply {
	return d.as(who, "/device/decision", url.Values{"code": {c.UserCode}, "do": {do}, "user": users})
}

// granted goes all the way to a token.
func (d *desk) granted(change ...string) string {
	d.t.Helper()
	c := d.code(change...)
	if got := d.decide(admin, c, "approve", hana, "ken@example.jp"); got.status != http.StatusOK {
		d.t.Fatalf("decision: %d %s", got.status, got.body)
	}
	return d.redeemed(c)
}

func (d *desk) redeemed(c codeAnswer) string {
	d.t.Helper()
	word, answer := d.poll(c, verifier)
	if word != "" {
		d.t.Fatalf("redeem: %s", word)
	}
	return decode[struct {
		Token string `json:"access_token"`
	}](d.t, reply{body: answer}).Token
}

func (d *desk) api(method, path, token, key string, in any) reply {
	d.t.Helper()
	data, err := json.Marshal(in)
	servertest.Must(d.t, err)
	r := httptest.NewRequestWithContext(d.t.Context(), method, path, strings.NewReader(string(data)))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return d.do(r)
}

// register enters the device and waits for the end of the operation.
func (d *desk) register(token, key string, der []byte) operation {
	d.t.Helper()
	got := d.api(http.MethodPost, "/print/v1/printers", token, key, map[string]any{
		"deviceUuid": deviceUUID, "name": "2F copier", "make": "Example", "model": "SIM-C300", "serial": "A17-0042", "user": hana, "certificateRequest": der,
	})
	if got.status != http.StatusAccepted {
		d.t.Fatalf("printers: %d %s", got.status, got.body)
	}
	path := strings.TrimPrefix(got.header.Get("Operation-Location"), base)
	var op operation
	d.await("the operation", func() bool {
		op = decode[operation](d.t, d.api(http.MethodGet, path, token, "", nil))
		return op.Status != "running"
	})
	return op
}

// dump is all that is stored.
func (d *desk) dump() map[string]string {
	d.t.Helper()
	return dumpOf(d.t, d.facts)
}

func dumpOf(t testing.TB, facts store.Store) map[string]string {
	t.Helper()
	var all map[string]string
	err := facts.View(context.Background(), func(at store.Snapshot) error {
		all = map[string]string{}
		for r, err := range store.All(at, "") {
			if err != nil {
				return err
			}
			all[r.Key] = string(r.Value)
		}
		return nil
	})
	servertest.Must(t, err)
	return all
}

// count is how many records there are under a prefix.
func (d *desk) count(prefix string) (n int) {
	for key := range d.dump() {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n
}
