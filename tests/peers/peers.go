package peers

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/tests/need"
)

// packages are what is unpacked for the peers, in one go.
var packages = []string{"squid", "squid-common", "haproxy", "tinyproxy", "prometheus"}

// needless packages are dependencies of scripts that no peer of ours runs; they are most of the bytes.
var needless = regexp.MustCompile(`^(perl|libperl|libdbi-perl|logrotate|libjs-|fonts-|node-)`)

// programs are where each peer's program and helpers stand in the unpacked tree.
var programs = map[string]string{
	"squid":           "usr/sbin/squid",
	"basic_ncsa_auth": "usr/lib/squid/basic_ncsa_auth",
	"haproxy":         "usr/sbin/haproxy",
	"tinyproxy":       "usr/bin/tinyproxy",
	"promtool":        "usr/bin/promtool",
}

// Path returns a command that runs the peer: a script that finds the unpacked libraries and becomes the program, so that
// the process id stays. Anybody may run it, whoever unpacked it.
func Path(t testing.TB, name string) string {
	t.Helper()
	if _, known := programs[name]; !known {
		t.Fatalf("peers: %s is none of them", name)
	}
	return filepath.Join(unpacked(t), "bin", name)
}

// Share returns a folder of the peers' data, such as "squid" for /usr/share/squid with its icons and MIME table.
func Share(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(unpacked(t), "root/usr/share", name)
}

// Tree returns a folder with the Debian packages unpacked below root/, with the libraries that this machine lacks; several tests
// share it. Unlike the peers above, what is missing is an error, and each call of a machine without packages waits for apt-get.
func Tree(packages ...string) (string, error) { return unpack(packages, nil) }

// Libraries are the folders below an unpacked tree where shared libraries may be.
func Libraries(tree string) ([]string, error) {
	var all []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		found, err := filepath.Glob(filepath.Join(tree, "root", pattern))
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// once spares each test of a machine without packages its own wait for apt-get.
var once = sync.OnceValues(func() (string, error) { return unpack(packages, programs) })

func unpacked(t testing.TB) string {
	t.Helper()
	dir, err := once()
	need.That(t, err == nil, fmt.Sprintf("the peers cannot be unpacked: %v; run `sudo apt-get update` with a network", err))
	return dir
}

// unpack returns the folder with bin/ and root/. Test processes run side by side, so it holds a lock meanwhile.
func unpack(packages []string, programs map[string]string) (dir string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", err
	}
	// Another choice of packages is another folder.
	dir = filepath.Join(cache, fmt.Sprintf("debian-%08x", crc32.ChecksumIEEE([]byte(strings.Join(packages, " ")+needless.String()))))
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	work := filepath.Join(cache, "unpacking")
	if err := os.RemoveAll(work); err != nil { // what a killed test left
		return "", err
	}
	if err := download(work, packages); err != nil {
		return "", err
	}
	if err := scripts(work, dir, programs); err != nil {
		return "", err
	}
	return dir, os.Rename(work, dir)
}

// cacheDir is .cache/peers beside go.mod or, where root has the tree in a folder of its own that the unprivileged user of a
// test cannot enter, a folder in /var/tmp.
func cacheDir() (string, error) {
	dir, err := treeRoot()
	if err != nil {
		return "", err
	}
	if os.Geteuid() == 0 && !open(dir) {
		dir = "/var/tmp/mfpgate"
	}
	dir = filepath.Join(dir, ".cache", "peers")
	return dir, os.MkdirAll(dir, 0o755)
}

// treeRoot is the folder of go.mod.
func treeRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working folder")
		}
		dir = filepath.Dir(dir)
	}
}

// open reports whether everybody may pass through dir and all that is above it.
func open(dir string) bool {
	for {
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// download brings the packages and what this machine lacks of their libraries into work/root.
func download(work string, packages []string) error {
	debs := filepath.Join(work, "debs")
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	// What an installation would fetch is exactly what is missing here.
	list, err := run(debs, "apt-get", append([]string{"-qq", "-o", "Debug::NoLocking=1", "--print-uris",
		"--no-install-recommends", "--reinstall", "install"}, packages...)...)
	if err != nil {
		return err
	}
	var names []string
	for line := range strings.Lines(list) {
		// 'URI' name_version_arch.deb size [hash]
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(line, "'") {
			continue
		}
		if name, _, _ := strings.Cut(fields[1], "_"); !needless.MatchString(name) {
			names = append(names, name)
		}
	}
	if len(names) < len(packages) {
		return fmt.Errorf("apt-get knows only %q", names)
	}
	if _, err := run(debs, "apt-get", append([]string{"-qq", "download"}, names...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range files {
		if _, err := run(debs, "dpkg-deb", "-x", deb, filepath.Join(work, "root")); err != nil {
			return err
		}
	}
	return os.RemoveAll(debs)
}

// scripts writes work/bin for the time when work is dir.
func scripts(work, dir string, programs map[string]string) error {
	if err := os.Mkdir(filepath.Join(work, "bin"), 0o755); err != nil {
		return err
	}
	libraries, err := Libraries(work)
	if err != nil {
		return err
	}
	for i, f := range libraries {
		libraries[i] = filepath.Join(dir, strings.TrimPrefix(f, work))
	}
	for name, at := range programs {
		if _, err := os.Stat(filepath.Join(work, "root", at)); err != nil {
			return err
		}
		text := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH='%s'\nexport LD_LIBRARY_PATH\nexec '%s' \"$@\"\n",
			strings.Join(libraries, ":"), filepath.Join(dir, "root", at))
		if err := os.WriteFile(filepath.Join(work, "bin", name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(complaint.String()))
	}
	return string(out), nil
}
