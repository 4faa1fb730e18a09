package peers

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/need"
)

// OIDC is an authorization server with the device grant (RFC 8628) that is none of ours: the example server of zitadel/oidc, as
// pinned in tests/tools. Its ways: it has OpenID discovery only; its issuer ends with a slash; a replay is answered again; a code that
// it does not know is access_denied; it never says slow_down.
type OIDC struct {
	Issuer   string
	ClientID string // public
}

// OIDCServer builds the server and runs it on a loopback port until the test ends. Codes expire at the server after lifetime, 0 being
// the example's five minutes, of which it tells its clients in any case.
func OIDCServer(t testing.TB, lifetime time.Duration) *OIDC {
	t.Helper()
	program, err := oidcProgram()
	need.That(t, err == nil, fmt.Sprintf("zitadel's OpenID server cannot be built: %v; run `go mod download -modfile=tests/tools/go.mod` with a network", err))
	cmd := exec.Command(program, "-lifetime", lifetime.String())
	log := filepath.Join(t.TempDir(), "oidcserver.log")
	if cmd.Stderr, err = os.Create(log); err != nil {
		t.Fatal(err)
	}
	life, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = life.Close()
		if err := cmd.Wait(); err != nil {
			said, _ := os.ReadFile(log)
			t.Errorf("zitadel's OpenID server: %v\n%s", err, said)
		}
	})
	issuer, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("zitadel's OpenID server says no issuer: %v", err)
	}
	return &OIDC{Issuer: strings.TrimSpace(issuer), ClientID: "device"}
}

// oidcProgram builds the server, once for its sources.
var oidcProgram = sync.OnceValues(func() (string, error) {
	root, err := treeRoot()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	sum := crc32.NewIEEE()
	for _, name := range []string{"testdata/oidcserver/main.go", "../tools/go.mod", "../tools/go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, "tests/peers", name))
		if err != nil {
			return "", err
		}
		_, _ = sum.Write(text)
	}
	program := filepath.Join(cache, fmt.Sprintf("oidcserver-%08x", sum.Sum32()))
	if _, err := os.Stat(program); !errors.Is(err, fs.ErrNotExist) {
		return program, err
	}
	work, err := os.MkdirTemp(cache, "building") // test processes run side by side; who is last wins, with the same
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	made := filepath.Join(work, "oidcserver")
	if _, err := run(root, "go", "build", "-modfile=tests/tools/go.mod", "-o", made, "./tests/peers/testdata/oidcserver"); err != nil {
		return "", err
	}
	return program, os.Rename(made, program)
})

// Decide does what a person does on the server's pages: log in with the code, and allow or deny.
func (o *OIDC) Decide(t testing.TB, verificationURI, userCode string, allow bool) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	page := read(t)(browser.PostForm(verificationURI+"/login", url.Values{
		"user_code": {userCode}, "username": {"test-user2"}, "password": {"verysecure"},
	}))
	if !strings.Contains(page, o.ClientID) {
		t.Fatalf("the code was not taken: %s", page)
	}
	action := "denied"
	if allow {
		action = "allowed"
	}
	if page = read(t)(browser.Get(verificationURI + "/confirm?action=" + action)); !strings.Contains(page, "Device authorization "+action) {
		t.Fatalf("the decision was not taken: %s", page)
	}
}

func read(t testing.TB) func(*http.Response, error) string {
	return func(res *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}
