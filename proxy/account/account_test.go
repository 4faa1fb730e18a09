package account_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
	"golang.org/x/crypto/bcrypt"
)

// hashed returns a bcrypt hash as htpasswd -B writes it.
func hashed(t testing.TB, password string, cost int) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return "$2y" + string(h[3:])
}

func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "devices.htpasswd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, text string) *account.File {
	t.Helper()
	f, err := account.Load(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestVerify(t *testing.T) {
	f := load(t, "# devices\n\nmfp-1:"+hashed(t, "geheim", 4)+"\r\nmüller:"+hashed(t, "ä:b", 4)+"\n")
	if f.Len() != 2 {
		t.Errorf("%d accounts, want 2", f.Len())
	}
	for _, tc := range []struct {
		rule, user string
		password   mfpgate.Secret
		want       bool
	}{
		{"right", "mfp-1", "geheim", true},
		{"a colon in the password, UTF-8", "müller", "ä:b", true},
		{"wrong password", "mfp-1", "Geheim", false},
		{"another's password", "mfp-1", "ä:b", false},
		{"no password", "mfp-1", "", false},
		{"unknown user", "mfp-2", "geheim", false},
		{"no user", "", "geheim", false},
		{"user and password cut elsewhere", "mfp-1g", "eheim", false},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			for _, turn := range []string{"first", "from memory"} {
				if got := verify(f, tc.user, tc.password); got != tc.want {
					t.Errorf("%s: %t, want %t", turn, got, tc.want)
				}
			}
			if got := f.Remembered(tc.user, tc.password); got != tc.want {
				t.Errorf("remembered: %t, want %t", got, tc.want)
			}
		})
	}
	if f := load(t, ""); verify(f, "mfp-1", "geheim") || f.Remembered("mfp-1", "geheim") {
		t.Error("an empty file knows somebody")
	}
}

// TestUnknownUsersCostAsMuch counts allocations, not time: bcrypt's own show that it runs for an unknown user too.
func TestUnknownUsersCostAsMuch(t *testing.T) {
	f := load(t, "mfp-1:"+hashed(t, "geheim", 4)+"\n")
	if known, unknown := allocated(f, "mfp-1"), allocated(f, "mfp-2"); unknown < known-1 || unknown > known+1 {
		t.Errorf("%v allocations for a known user, %v for an unknown one", known, unknown)
	}
}

func allocated(f *account.File, user string) float64 {
	n := 0
	return testing.AllocsPerRun(5, func() {
		n++
		verify(f, user, mfpgate.Secret(strings.Repeat("x", n)))
	})
}

func TestVerifyConcurrently(t *testing.T) {
	f := load(t, "mfp-1:"+hashed(t, "geheim", 4)+"\n")
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if want := i%2 == 0; verify(f, "mfp-1", mfpgate.Secret([]string{"geheim", "falsch"}[i%2])) != want {
				t.Errorf("caller %d: want %t", i, want)
			}
		})
	}
	wg.Wait()
}

func TestVerifyForgetsTheOldest(t *testing.T) {
	f := load(t, "mfp-1:"+hashed(t, "geheim", 4)+"\nmfp-2:"+hashed(t, "geheim", 4)+"\nmfp-3:"+hashed(t, "geheim", 4)+"\n")
	account.Remember(f, 2)
	for _, user := range []string{"mfp-1", "mfp-2", "mfp-2", "mfp-3"} {
		if !verify(f, user, "geheim") {
			t.Fatal(user)
		}
	}
	if f.Remembered("mfp-1", "geheim") || !f.Remembered("mfp-2", "geheim") || !f.Remembered("mfp-3", "geheim") {
		t.Error("want the oldest of three forgotten and the others not")
	}
	if !verify(f, "mfp-1", "geheim") || !f.Remembered("mfp-1", "geheim") || f.Remembered("mfp-2", "geheim") {
		t.Error("what is forgotten is checked anew, and the next oldest makes room")
	}
}

func TestLoadRefuses(t *testing.T) {
	good := hashed(t, "geheim", 4)
	for _, tc := range []struct{ rule, text, want string }{
		{"MD5", "a:$apr1$salt$hash\n", `1: not a device account file: user "a" has no bcrypt hash; write it anew with: htpasswd -B F a`},
		{"SHA-1", "ok:" + good + "\nb:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", `2: not a device account file: user "b" has no bcrypt hash; write it anew with: htpasswd -B F b`},
		{"plain text", "\n# c\nc:geheim\n", `3: not a device account file: user "c" has no bcrypt hash; write it anew with: htpasswd -B F c`},
		{"the broken $2x$", "d:$2x" + good[3:] + "\n", `1: not a device account file: user "d" has no bcrypt hash; write it anew with: htpasswd -B F d`},
		{"cut off", "e:" + good[:59] + "\n", `1: not a device account file: user "e" has a damaged bcrypt hash; write it anew with: htpasswd -B F e`},
		{"something behind", "e:" + good + ":x\n", `1: not a device account file: user "e" has a damaged bcrypt hash; write it anew with: htpasswd -B F e`},
		{"not bcrypt's alphabet", "e:" + good[:59] + "=\n", `1: not a device account file: user "e" has a damaged bcrypt hash; write it anew with: htpasswd -B F e`},
		{"a cost that stops the box", "f:$2y$15" + good[6:] + "\n", `1: not a device account file: user "f" has a bcrypt cost of 15, the highest is 14; write it anew with: htpasswd -B -C 10 F f`},
		{"no colon", "g\n", `1: not a device account file: want "name:hash"; write the line with: htpasswd -B F NAME`},
		{"no name", ":" + good + "\n", `1: not a device account file: want "name:hash"; write the line with: htpasswd -B F NAME`},
		{"Latin-1", "m\xfcller:" + good + "\n", `1: not a device account file: user name is not UTF-8; save the file as UTF-8`},
		{"a control character", "a\tb:" + good + "\n", `1: not a device account file: user name "a\tb" has control characters; remove them`},
		{"a long name", strings.Repeat("n", 256) + ":" + good + "\n", `1: not a device account file: user name longer than 255 bytes; shorten it`},
		{"twice", "h:" + good + "\nh:" + good + "\n", `2: not a device account file: user "h" stands in line 1 already; keep one of them`},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			path := write(t, tc.text)
			_, err := account.Load(path)
			if !errors.Is(err, account.ErrFile) {
				t.Fatalf("got %v, want ErrFile", err)
			}
			want := path + ":" + strings.ReplaceAll(tc.want, " F ", " "+path+" ")
			if err.Error() != want {
				t.Errorf("got  %s\nwant %s", err, want)
			}
			if strings.Contains(err.Error(), good[10:50]) {
				t.Error("the error quotes the hash")
			}
		})
	}
	path := write(t, strings.Repeat("x\n", 30))
	if _, err := account.Load(path); strings.Count(err.Error(), "\n") != 20 {
		t.Errorf("want 20 mistakes and a last line, got:\n%s", err)
	}
	path = write(t, strings.Repeat("#", account.MaxFileSize+1))
	if _, err := account.Load(path); !errors.Is(err, account.ErrFile) {
		t.Errorf("a file beyond the bound: %v", err)
	}
	if _, err := account.Load(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func BenchmarkVerifyRemembered(b *testing.B) {
	f := load(b, "mfp-1:"+hashed(b, "geheim", 4)+"\n")
	b.ReportAllocs()
	for b.Loop() {
		if !verify(f, "mfp-1", "geheim") {
			b.Fatal("refused")
		}
	}
}

// verify asks with a context that does not end.
func verify(f *account.File, user string, password mfpgate.Secret) bool {
	good, err := f.Verify(context.Background(), user, password)
	return good && err == nil
}

func TestAWaitForTheCheckEndsWithItsCaller(t *testing.T) {
	f := load(t, "mfp-1:"+hashed(t, "geheim", bcrypt.MinCost)+"\n")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range 64 { // some find the slot taken by another
		go func() { _ = verify(f, "mfp-1", mfpgate.Secret(fmt.Sprint("falsch", i))) }() // ends with its check
	}
	for i := range 64 {
		if good, err := f.Verify(ctx, "mfp-1", mfpgate.Secret(fmt.Sprint("anders", i))); good {
			t.Fatalf("a wrong password is good, %v", err)
		} else if errors.Is(err, context.Canceled) {
			return
		}
	}
	t.Error("nobody's wait ended with its caller")
}

func TestGuessesInParallelAreBounded(t *testing.T) {
	l := account.NewLimiter(fakeclock.New(time.Unix(1e9, 0)))
	source := netip.MustParseAddr("10.0.0.1")
	allowed := 0
	for range 200 {
		if l.Begin(source) == 0 {
			allowed++
		}
	}
	if allowed != 32 {
		t.Errorf("%d checks were allowed at once, want 32", allowed)
	}
	for range allowed {
		l.End(source, true)
	}
	if l.Begin(source) == 0 {
		t.Error("the failures are forgotten")
	}
	if other := netip.MustParseAddr("10.0.0.2"); l.Begin(other) != 0 {
		t.Error("another source pays for it")
	} else {
		l.End(other, false)
	}
}
