// Package need lets a test declare what it needs of the machine. Where that is missing the test skips by name, and the
// skip says how to get it; with NEED=all in the environment, as in CI, a missing need is a failure.
package need

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Program finds a program on PATH or in the folders where Debian keeps daemons, and returns its path.
func Program(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/lib/squid/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	missing(t, name+" is not installed; `make deps` installs it")
	return ""
}

// Root needs the effective uid 0.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "needs root; run `sudo make test`")
	}
}

// Preload needs that the test runs with a library preloaded, which its TestMain sees to where the library is installed.
func Preload(t testing.TB, library string) {
	t.Helper()
	if !strings.Contains(os.Getenv("LD_PRELOAD"), library) {
		missing(t, library+" is not installed; `make deps` installs it")
	}
}

// That needs any other fact of the machine; why says what is missing and how to get it.
func That(t testing.TB, there bool, why string) {
	t.Helper()
	if !there {
		missing(t, why)
	}
}

func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("NEED") == "all" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// With the race detector, which finds nothing in more of them and takes its time, a test tries fewer of many alike cases: one in so many.
// The long tests try all.
const (
	racedSeeds  = 8
	racedPoints = 12
)

// Seeds is how many of n generated cases a test tries.
func Seeds(n uint64) uint64 {
	if Racing && !Long {
		return max(n/racedSeeds, 1)
	}
	return n
}

// Points says at which points of a run a test kills what it tests: at first, and then at each stride. The seed decides where that begins.
func Points(seed uint64) (first, stride int64) {
	if Racing && !Long {
		return 1 + int64(seed%racedPoints), racedPoints
	}
	return 1, 1
}
