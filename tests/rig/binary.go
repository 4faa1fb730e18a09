package rig

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/tests/need"
)

// nobody is who the gateway and its peers run as under a root: root passes permissions and limits that a service meets.
const nobody = 65534

// binaries is the folder that Main makes and removes.
var binaries string

// Main is a TestMain: it runs the tests and then removes the binary that they shared.
func Main(m *testing.M) {
	dir, err := os.MkdirTemp("", "mfpgate-test-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	binaries = dir
	m.Run()
}

// Binary returns the path of mfpgate, built once. It stands where anybody may run it, wherever the source tree is. It has USB if the
// environment lets the go command build it so, as make's does where libusb is.
func Binary(t testing.TB) string {
	t.Helper()
	return must(t, built)
}

// Cloud returns the path of mfpcloud, and Simulator of mfpsim, as Binary does. They have no race detector: they are the
// gateway's surroundings.
func Cloud(t testing.TB) string {
	t.Helper()
	return must(t, cloud)
}

// Simulator returns the path of mfpsim.
func Simulator(t testing.TB) string {
	t.Helper()
	return must(t, simulator)
}

func must(t testing.TB, program func() (string, error)) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var (
	built     = program("mfpgate", need.Racing)
	cloud     = program("mfpcloud", false)
	simulator = program("mfpsim", false)
)

func program(name string, racing bool) func() (string, error) {
	return sync.OnceValues(func() (string, error) { return build(name, racing) })
}

func build(name string, racing bool) (string, error) {
	root, err := sourceTree()
	if err != nil {
		return "", err
	}
	cache := filepath.Join(root, ".cache", "test")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	// Test processes run side by side, and go build links anew only what changed: the first of them pays.
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	at := filepath.Join(cache, name) // the toolchain builds it anew where the flags differ
	args := []string{"build", "-buildvcs=false", "-o", at}
	if racing {
		// With it a hash of a password would cost seconds, and Blowfish shares nothing: as in Makefile.
		args = append(args, "-trimpath", "-race", "-gcflags=golang.org/x/crypto/blowfish=-race=false")
	}
	cmd := exec.Command("go", append(args, "./cmd/"+name)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return copyTo(filepath.Join(binaries, name), at)
}

func sourceTree() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(string(out)), nil
}

func copyTo(to, from string) (string, error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return "", err
	}
	return to, out.Close()
}

// Unprivileged makes cmd run as nobody if the test runs as root, and die with the test.
func Unprivileged(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
}

// Dir makes a folder that Unprivileged programs own and that goes with the test.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mfpgate-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	own(t, dir)
	return dir
}

// WriteFile writes a file that belongs to Unprivileged programs, readable by them alone, and returns its path.
func WriteFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own(t, path)
	return path
}

func own(t testing.TB, path string) {
	t.Helper()
	if os.Geteuid() == 0 {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}
