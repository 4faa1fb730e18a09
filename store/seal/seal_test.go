package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store/seal"
)

func sealer(t *testing.T, first byte) *seal.Sealer {
	t.Helper()
	s, err := seal.New(append([]byte{first}, make([]byte, seal.KeySize-1)...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOnlyItsPlaceOpensWhatIsSealed(t *testing.T) {
	s, other := sealer(t, 1), sealer(t, 2)
	for _, secret := range []mfpgate.Secret{"", "a", "device-code", mfpgate.Secret(bytes.Repeat([]byte("x"), 4096))} {
		sealed := s.Seal("reg_1/code", secret)
		if got, err := s.Open("reg_1/code", sealed); err != nil || got.Reveal() != secret.Reveal() {
			t.Fatalf("opened as %q, %v", got.Reveal(), err)
		}
		if again := s.Seal("reg_1/code", secret); bytes.Equal(sealed, again) {
			t.Error("sealed twice to the same bytes")
		}
		if len(secret.Reveal()) > 3 && bytes.Contains(sealed, []byte(secret.Reveal())) {
			t.Error("the secret can be read")
		}
		wrong := map[string]func() (mfpgate.Secret, error){
			"another place": func() (mfpgate.Secret, error) { return s.Open("reg_2/code", sealed) },
			"another key":   func() (mfpgate.Secret, error) { return other.Open("reg_1/code", sealed) },
			"nothing":       func() (mfpgate.Secret, error) { return s.Open("reg_1/code", nil) },
		}
		for i := range sealed[:min(40, len(sealed))] {
			wrong[fmt.Sprintf("byte %d changed", i)] = func() (mfpgate.Secret, error) {
				changed := bytes.Clone(sealed)
				changed[i] ^= 1
				return s.Open("reg_1/code", changed)
			}
			wrong[fmt.Sprintf("cut to %d bytes", i)] = func() (mfpgate.Secret, error) { return s.Open("reg_1/code", sealed[:i]) }
		}
		for name, open := range wrong {
			if got, err := open(); !errors.Is(err, seal.ErrSealed) || got != "" {
				t.Errorf("%s: %q, %v; want ErrSealed", name, got.Reveal(), err)
			}
		}
	}
}

func TestMAC(t *testing.T) {
	s := sealer(t, 1)
	if !bytes.Equal(s.MAC("a", "b"), s.MAC("a", "b")) {
		t.Error("equal texts have other MACs")
	}
	if bytes.Equal(s.MAC("a", "bc"), s.MAC("ab", "c")) || bytes.Equal(s.MAC("a", "b"), sealer(t, 2).MAC("a", "b")) {
		t.Error("another context or key has the same MAC")
	}
}

func TestTheKeyIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seal.key")
	keys := make([][]byte, 8)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() { keys[i], _ = seal.OpenKey(path) })
	}
	all.Wait()
	made, err := seal.OpenKey(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k != nil && !bytes.Equal(k, made) { // who lost the race may have an error, and nothing else
			t.Error("two keys were made")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("%d files are left, want the key alone", len(left))
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenKey(path); err == nil {
		t.Error("a file of 5 bytes was taken for a key")
	}
	if err := os.WriteFile(path, made, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, good := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o644: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.OpenKey(path); (err == nil) != good {
			t.Errorf("a key of mode %v: %v", mode, err)
		}
	}
	if _, err := seal.OpenKey(filepath.Dir(path)); err == nil {
		t.Error("a folder was taken for a key")
	}
	if _, err := seal.New([]byte("short")); err == nil {
		t.Error("a key of 5 bytes was taken")
	}
}
