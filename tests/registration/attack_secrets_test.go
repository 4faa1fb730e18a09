package registration_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/badger"
)

// glassFront stands before a region and reads every secret that goes by.
type glassFront struct {
	*httptest.Server
	mu      sync.Mutex
	to      *url.URL
	through http.RoundTripper
	secrets map[string]string // by what they are
}

func newGlassFront(t *testing.T) *glassFront {
	t.Helper()
	f := &glassFront{secrets: map[string]string{}}
	f.Server = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(f.to) }, FlushInterval: -1,
		Transport: attackTrip(func(r *http.Request) (*http.Response, error) { return f.through.RoundTrip(r) }),
		ModifyResponse: func(r *http.Response) error {
			if strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			f.read(r.Request.URL.Path, body)
			return err
		}})
	inner := f.Config.Handler
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("code_verifier") != "" {
			f.keep("verifier", form.Get("code_verifier"))
		}
		inner.ServeHTTP(w, r)
	})
	t.Cleanup(f.Close)
	return f
}

func (f *glassFront) keep(what, secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if secret != "" {
		f.secrets[what] = secret
	}
}

func (f *glassFront) read(path string, body []byte) {
	var said map[string]any
	if json.Unmarshal(body, &said) != nil || !strings.HasPrefix(path, "/oauth/") {
		return
	}
	for what, name := range map[string]string{"device code": "device_code", "user code": "user_code", "token": "access_token"} {
		text, _ := said[name].(string)
		f.keep(what, text)
	}
	if text, _ := said["user_code"].(string); text != "" {
		f.keep("bare user code", strings.ReplaceAll(text, "-", ""))
	}
}

// TestAttackSecretsAfterTheEnd looks for each secret of a real registration in all that the gateway leaves: its log, its API, its metrics,
// its audit, its state folder with the backups, and the records in it.
func TestAttackSecretsAfterTheEnd(t *testing.T) {
	front := newGlassFront(t)
	s := attackOn(t, 3, "", func(o *server.Options) { o.PublicURL = front.URL })
	front.to, _ = url.Parse(s.region.URL)
	front.through = s.region.HTTP(t).Transport
	g := s.ask(1, "office", attackUser)
	if status, page := s.region.Decide(t, attackBoss, s.password, s.code(g.ID), attackUser); status != 200 {
		t.Fatal(page)
	}
	end := s.ends(g.ID, mfpgate.RegistrationRegistered)
	s.box.AwaitTo(t, attackUser)
	if end.UserCode != "" {
		t.Errorf("the code is shown after the end: %s", end.UserCode)
	}
	said := map[string]string{}
	for _, resource := range []string{"registrations", "registrations/" + g.ID, "audit?limit=1000", "status", "refusals", "users", "devices"} {
		said["/api/v1/"+resource] = s.want("GET", resource, "", 200)
	}
	resp, err := http.Get("http://" + s.Metrics + "/metrics")
	servertest.Must(t, err)
	text, err := io.ReadAll(resp.Body)
	servertest.Must(t, errors.Join(err, resp.Body.Close()))
	said["/metrics"] = string(text)
	s.Stop(t)
	said["the log"] = s.Log.Text()
	for _, line := range s.region.Log() {
		said["the region's log"] += line
	}
	state := filepath.Join(s.Dir, "state")
	servertest.Must(t, filepath.WalkDir(state, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		said[path] = string(data)
		return err
	}))
	if info, err := os.Stat(filepath.Join(state, "seal.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the sealing key: %v, %v", info, err)
	}
	key := said[filepath.Join(state, "seal.key")]
	servertest.Must(t, os.Chown(filepath.Join(state, "store"), os.Geteuid(), os.Getegid())) // the gateway ran as another user, whose folder nobody else opens
	db, err := badger.Open(t.Context(), badger.Options{Dir: filepath.Join(state, "store"), Clock: mfpgate.SystemClock{}, BallastSize: -1})
	servertest.Must(t, err)
	records, kept := 0, false
	servertest.Must(t, db.View(t.Context(), func(at store.Snapshot) error {
		for r, err := range store.All(at, "") {
			if err != nil {
				return err
			}
			records++
			kept = kept || strings.HasSuffix(r.Key, "approval/registration/"+g.ID)
			said["record "+r.Key] = r.Key + string(r.Value)
		}
		return nil
	}))
	servertest.Must(t, db.Close())
	if !kept || records < 5 || !strings.Contains(said["the log"], g.ID) {
		t.Fatalf("nothing is looked at: %d records, %q", records, slices.Sorted(maps.Keys(said)))
	}
	front.mu.Lock()
	defer front.mu.Unlock()
	for _, what := range []string{"device code", "user code", "token", "verifier"} {
		if front.secrets[what] == "" {
			t.Fatalf("no %s went by: %v", what, front.secrets)
		}
	}
	front.secrets["administrator's password"] = s.password.Reveal()
	front.secrets["portal's password"] = attackPassword
	front.secrets["sealing key"] = key
	// A private key of P-256 in PKCS #8 (RFC 5208) begins like this.
	pkcs8, _ := hex.DecodeString("308187020100301306072a8648ce3d020106082a8648ce3d030107")
	front.secrets["private key"] = string(pkcs8)
	for where, text := range said {
		for what, secret := range front.secrets {
			for form, written := range map[string]string{"": secret, "in base64": base64.StdEncoding.EncodeToString([]byte(secret)), "in hex": hex.EncodeToString([]byte(secret)),
				"in JSON": fmt.Sprintf("%q", secret)} {
				if n := len(written) - len(written)%4; form == "in base64" {
					written = strings.TrimRight(written[:n], "=")
					written = written[:max(0, len(written)-2)]
				}
				ours := what == "sealing key" && filepath.Base(where) == "seal.key" || what == "private key" && strings.HasPrefix(where, filepath.Join(state, "portal")) // of its TLS
				if written != "" && strings.Contains(text, written) && !ours {
					t.Errorf("the %s is there to read %s: %s", what, form, where)
				}
			}
		}
	}
}
