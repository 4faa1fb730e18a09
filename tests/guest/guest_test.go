//go:build vm

package guest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// part is the environment's name for what this binary is to do; absent: test.
const part = "MFPGATE_GUEST"

const (
	checks    = "checks" // in the guest, as root
	printsIPP = "ipp"    // the user's program
	printsRaw = "raw"    // the service of bytes
)

func TestMain(m *testing.M) {
	switch os.Getenv(part) {
	case printsIPP:
		os.Exit(printThere(os.Args[1:]))
	case printsRaw:
		os.Exit(printBytes(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// TestPrintersOnARealKernel is all there is outside; what is checked stands in inside_test.go.
func TestPrintersOnARealKernel(t *testing.T) {
	if os.Getenv(part) == checks {
		inside(t)
		return
	}
	for _, name := range []string{"qemu-system-x86_64", "qemu-img", "zstd"} {
		program(t, name)
	}
	job := stage(t)
	status := carryOut(t, job)
	out, err := os.ReadFile(filepath.Join(job, "out"))
	if err != nil {
		t.Fatal(err)
	}
	if status != "0" {
		t.Errorf("in the guest, status %s; its journal is %s/journal:\n%s", status, job, out)
	} else if testing.Verbose() {
		t.Logf("in the guest:\n%s", out)
	}
}

// stage makes the folder that the guest gets: what is installed, and the checks.
func stage(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	job, err := filepath.Abs(filepath.Join(cache, "job"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(job), os.MkdirAll(job, 0o755), os.CopyFS(filepath.Join(job, "systemd"), os.DirFS(filepath.Join(top, "systemd")))); err != nil {
		t.Fatal(err)
	}
	build(t, top, "1", filepath.Join(job, "mfpgate"), "./cmd/mfpgate")
	build(t, top, "0", filepath.Join(job, "usbipprinter"), "./tests/usb/cmd/usbipprinter")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(job, "checks"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	// The checks know nothing of the machine that made them: their folder is the job's.
	run := fmt.Sprintf("#!/bin/sh\n%s=%s exec ./checks -test.v -test.run='^TestPrintersOnARealKernel$' -test.timeout=%v\n", part, checks, jobTime-time.Minute)
	if err := os.WriteFile(filepath.Join(job, "run"), []byte(run), 0o755); err != nil {
		t.Fatal(err)
	}
	return job
}

func build(t *testing.T, top, cgo, to, pkg string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "netgo,osusergo", "-ldflags=-s", "-o", to, pkg)
	cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
}
