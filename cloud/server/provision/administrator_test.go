package provision_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
)

func TestAdministrators(t *testing.T) {
	dir := t.TempDir()
	f, err := provision.Open(dir, mfpgate.SystemClock{})
	if err != nil {
		t.Fatal(err)
	}
	password, err := f.AddAdministrator(" IT@example.jp ")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AddAdministrator("it@example.jp"); !errors.Is(err, provision.ErrExists) {
		t.Errorf("twice: %v", err)
	}
	for _, bad := range []string{"", "it", "../it@example.jp", "it@../x", "it@example.jp/x", "a b@example.jp", ".it@example.jp"} {
		if _, err := f.AddAdministrator(bad); !errors.Is(err, provision.ErrMail) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, c := range []struct {
		mail, password string
		want           bool
	}{
		{"it@example.jp", password.Reveal(), true}, {"It@Example.jp", password.Reveal(), true}, {"it@example.jp", "x", false},
		{"it@example.jp", "", false}, {"ops@example.jp", password.Reveal(), false}, {"../../etc/passwd", "", false},
	} {
		if ok, err := f.CheckAdministrator(c.mail, mfpgate.Secret(c.password)); ok != c.want || err != nil {
			t.Errorf("%s: %t %v", c.mail, ok, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "administrators", "it@example.jp.json")); err != nil {
		t.Fatal(err)
	}
	if ok, _ := f.CheckAdministrator("it@example.jp", password); ok {
		t.Error("a removed account")
	}
}

func TestThePrintAuthorityStays(t *testing.T) {
	dir := t.TempDir()
	open := func() ([]byte, error) {
		f, err := provision.Open(dir, mfpgate.SystemClock{})
		if err != nil {
			t.Fatal(err)
		}
		cert, _, err := f.PrintAuthority()
		if err != nil {
			return nil, err
		}
		if _, err := f.PrintSealer(); err != nil {
			t.Fatal(err)
		}
		return cert.Raw, nil
	}
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := open(); err != nil || string(first) != string(second) {
		t.Errorf("it is another one at the next start: %v", err)
	}
	for name, mode := range map[string]os.FileMode{"print.key": 0o600, "print-ca.key": 0o600, "print-ca.pem": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	// A crash between the two files leaves the key alone, which has certified nothing.
	if err := os.Remove(filepath.Join(dir, "print-ca.pem")); err != nil {
		t.Fatal(err)
	}
	if again, err := open(); err != nil || string(again) == string(first) {
		t.Errorf("without its certificate: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "print-ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err == nil {
		t.Error("a new key was made beside a certificate that printers hold")
	}
}
