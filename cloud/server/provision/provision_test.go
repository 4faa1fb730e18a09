package provision_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func open(t testing.TB, clock mfpgate.Clock) *provision.Folder {
	t.Helper()
	f, err := provision.Open(t.TempDir(), clock)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func FuzzTokens(f *testing.F) {
	folder := open(f, mfpgate.SystemClock{})
	gateway, err := folder.AddGateway("gw")
	if err != nil {
		f.Fatal(err)
	}
	key, err := folder.FactoryKey()
	if err != nil {
		f.Fatal(err)
	}
	device := provision.DeviceToken(key, "mfp-1")
	for _, s := range []string{gateway.Reveal(), device.Reveal(), "gw.", "mfp-1.", "", ".", "../gw.x", "gw.\x00", "gw/../gw.x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := folder.GatewayOf(mfpgate.Secret(s)); (err == nil) != (s == gateway.Reveal()) || err == nil && id != "gw" {
			t.Errorf("GatewayOf(%q) = %q, %v", s, id, err)
		} else if err != nil && !errors.Is(err, provision.ErrToken) {
			t.Errorf("GatewayOf(%q): %v, want ErrToken", s, err)
		}
		id, err := provision.DeviceOf(key, mfpgate.Secret(s))
		if err == nil && s != provision.DeviceToken(key, id).Reveal() || err != nil && s == device.Reveal() {
			t.Errorf("DeviceOf(%q) = %q, %v", s, id, err)
		}
	})
}

func TestCertificateIsMadeAnewWhenItMust(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	f := open(t, clock)
	names := []string{"localhost", "127.0.0.1", "::1", "jp.cloud.test"}
	serial := func(names ...string) string {
		t.Helper()
		pair, err := f.Certificate(names)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			if err := pair.Leaf.VerifyHostname(n); err != nil {
				t.Error(err)
			}
		}
		return pair.Leaf.SerialNumber.String()
	}
	first := serial(names...)
	if serial(names[:2]...) != first {
		t.Error("fewer names: it was made anew")
	}
	second := serial(append(names, "us.cloud.test")...)
	if second == first {
		t.Error("one more name: it was kept")
	}
	clock.Advance(5*365*24*time.Hour - 29*24*time.Hour)
	if serial(names...) == second {
		t.Error("29 days before its end: it was kept")
	}
}

func TestFactoryKeyIsKept(t *testing.T) {
	f := open(t, mfpgate.SystemClock{})
	first, err := f.FactoryKey()
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.FactoryKey()
	if err != nil || !first.Equal(second) {
		t.Errorf("the second time it is another, or %v", err)
	}
	if _, err := provision.ParseFactoryKey([]byte(strings.Repeat("x", 31))); err == nil {
		t.Error("a key of 31 characters was taken")
	}
}

func TestOperators(t *testing.T) {
	dir := t.TempDir()
	f, err := provision.Open(dir, mfpgate.SystemClock{})
	if err != nil {
		t.Fatal(err)
	}
	password, err := f.AddOperator("hana")
	if err != nil || len(password.Reveal()) < 26 {
		t.Fatalf("a password of %d characters, %v", len(password.Reveal()), err)
	}
	if _, err := f.AddOperator("hana"); !errors.Is(err, provision.ErrExists) {
		t.Errorf("again: %v, want ErrExists", err)
	}
	if _, err := f.AddOperator("../hana"); !errors.Is(err, provision.ErrName) {
		t.Errorf("a name that leaves the folder: %v, want ErrName", err)
	}
	file := filepath.Join(dir, "operators", "hana.json")
	data, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(data), password.Reveal()) {
		t.Errorf("the file holds the password, or %v", err)
	}
	for _, c := range []struct {
		rule, name string
		password   mfpgate.Secret
		want       error
	}{
		{"the account", "hana", password, nil}, {"another password", "hana", "x", provision.ErrOperator}, {"none", "hana", "", provision.ErrOperator},
		{"nobody", "nobody", password, provision.ErrOperator}, {"nobody with none", "nobody", "", provision.ErrOperator}, {"no name", "", "", provision.ErrOperator},
	} {
		if err := f.CheckOperator(c.name, c.password); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.rule, err, c.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := f.CheckOperator("hana", password); !errors.Is(err, provision.ErrOperator) {
		t.Errorf("after the file was removed: %v, want ErrOperator", err)
	}
}
