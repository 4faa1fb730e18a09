package vm_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	_ "github.com/mfpgate/mfpgate/daemon" // the binary is built from it: a change must not be answered from the test cache
	"github.com/mfpgate/mfpgate/tests/need"
)

// The parts that the test binary plays, in MFPGATE_VM.
const (
	part   = "MFPGATE_VM"
	stage  = "stage"
	checks = "checks"
)

// bootLimit ends a system that hangs.
const bootLimit = 2 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(part) == stage {
		fmt.Fprintln(os.Stderr, "stage:", becomeSystemd(os.Args[len(os.Args)-1])) // returns only with an error
		os.Exit(125)
	}
	os.Exit(m.Run())
}

// TestInstalledGateway boots, and reports what the checks found, which is this same test inside.
func TestInstalledGateway(t *testing.T) {
	if os.Getenv(part) == checks {
		inside(t)
		return
	}
	need.Root(t)
	need.That(t, isThere(systemd), "systemd is not installed; `make deps` installs it")
	need.Program(t, "journalctl")
	need.Program(t, "systemd-sysusers")
	v2 := cgroups(t)
	need.That(t, v2 != "", "no cgroup v2 tree is mounted; mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup")

	job := t.TempDir()
	bring(t, job)
	group := makeGroup(t, v2)

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The kernel kills the system when the thread that started it ends: with this test, however that ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self, job)
	cmd.Env = append(os.Environ(), part+"="+stage)
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
		Pdeathsig:   syscall.SIGKILL,
		UseCgroupFD: true,
		CgroupFD:    int(group.Fd()),
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		need.That(t, !errors.Is(err, unix.EPERM), "namespaces may not be made here (EPERM); run on a machine or in a privileged container")
		t.Fatal(err)
	}
	late := time.AfterFunc(bootLimit, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	late.Stop()
	t.Logf("the system ran for %s and ended with: %v", time.Since(began).Round(10*time.Millisecond), err)
	if out := said.String(); strings.Contains(out, "stage:") {
		need.That(t, !strings.Contains(out, overlayRefused), "this kernel refuses an overlay over its root: "+out)
		t.Fatal(out)
	}

	code, err := os.ReadFile(filepath.Join(job, "rc"))
	report, _ := os.ReadFile(filepath.Join(job, "out"))
	switch {
	case err != nil:
		t.Fatalf("no status came back; the system said:\n%s\nthe checks:\n%s\nits journal:\n%s", &said, report, journalOf(job))
	case strings.TrimSpace(string(code)) != "0":
		t.Fatalf("the checks ended with %s:\n%s\nthe journal:\n%s", code, report, journalOf(job))
	}
	t.Logf("the checks:\n%s", report)
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// bring puts into the job's folder what the system installs: the gateway, its units, and this binary for the checks.
func bring(t *testing.T, job string) {
	t.Helper()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(job, "mfpgate"), "../../cmd/mfpgate").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if err := os.CopyFS(filepath.Join(job, "systemd"), os.DirFS("../../systemd")); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Link(self, filepath.Join(job, "checks")); err == nil {
		return
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(job, "checks"), text, 0o755); err != nil {
		t.Fatal(err)
	}
}

// cgroups returns where a cgroup v2 tree is mounted, or nothing.
func cgroups(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if f := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(f) > 4 {
			return f[4]
		}
	}
	return ""
}

const groupPrefix = "mfpgate-vm-"

// makeGroup makes the cgroup that the system lives in, and removes those that tests left which were killed.
func makeGroup(t *testing.T, v2 string) *os.File {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(v2, groupPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range old {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), groupPrefix))
		if err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			removeGroup(dir)
		}
	}
	dir := filepath.Join(v2, groupPrefix+strconv.Itoa(os.Getpid()))
	err = os.Mkdir(dir, 0o755)
	need.That(t, !errors.Is(err, unix.EROFS) && !errors.Is(err, unix.EACCES), "the cgroup v2 tree is read-only here; run on a machine or in a privileged container")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		until := time.Now().Add(10 * time.Second)
		for !removeGroup(dir) { // the kernel reaps what was killed a little later
			if time.Now().After(until) {
				t.Errorf("%s cannot be removed", dir)
				return
			}
			runtime.Gosched()
		}
	})
	group, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = group.Close() })
	return group
}

// removeGroup removes a cgroup and all below it, and reports whether it is gone.
func removeGroup(dir string) bool {
	var all []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, path := range slices.Backward(all) {
		_ = unix.Rmdir(path)
	}
	return !isThere(dir)
}

// journalOf is what the system wrote to its journal, for a person who looks for what went wrong.
func journalOf(job string) string {
	text, err := os.ReadFile(filepath.Join(job, "journal"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
