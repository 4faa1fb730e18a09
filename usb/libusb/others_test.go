//go:build cgo && !nousb

package libusb_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/libusb"
)

// holder makes the tests' program another one, which takes interface 1 of the printer, says so, and keeps it.
const holder = "MFPGATE_TEST_HOLD"

// nobody is a user without rights, and noRight what a program of his says.
const (
	nobody  = 65534
	noRight = "ErrAccess"
)

func hold() {
	err := func() error {
		b, err := libusb.Open(libusb.Options{Log: telemetry.Discard()})
		if err != nil {
			return err
		}
		ds, err := b.Printers(context.Background(), isPrinter)
		if err != nil || len(ds) != 1 {
			return fmt.Errorf("%d printers, %w", len(ds), err)
		}
		h, err := b.Open(context.Background(), ds[0])
		if errors.Is(err, bus.ErrAccess) {
			return errors.New(noRight)
		}
		if err != nil {
			return err
		}
		_, err = h.Claim(context.Background(), ds[0].Interfaces[1])
		return err
	}()
	fmt.Println("claimed:", err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is done
}

// another starts that program as a user, and returns what it says and what ends it.
func another(t *testing.T, user uint32) (says string, end func()) {
	t.Helper()
	other := exec.CommandContext(t.Context(), "/proc/self/exe") // which any user may run, wherever it lies
	other.Env = append(os.Environ(), holder+"=1", "GORACE=atexit_sleep_ms=0")
	other.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if user != uint32(os.Geteuid()) {
		other.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
	}
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	other.Stderr = &stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the other program says %q, %v\n%s", line, err, &stderr)
	}
	return strings.TrimSpace(line), func() {
		t.Helper()
		_ = stdin.Close()
		if err := other.Wait(); err != nil {
			t.Errorf("the other program: %v\n%s", err, &stderr)
		}
	}
}

const claimed = "claimed: <nil>"

func TestAnotherProgramHasTheInterface(t *testing.T) {
	rig, _ := lay(t, model.NewPrinter("A").Device)
	says, end := another(t, uint32(os.Geteuid()))
	if says != claimed {
		t.Fatalf("the other program says %q", says)
	}
	d, h := open(t, start(t, rig), "1-1")
	if _, err := h.Claim(t.Context(), d.Interfaces[1]); !errors.Is(err, bus.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	claim(t, h, d.Interfaces[2])
	end()
	await(t, "the interface is free", func() bool {
		c, err := h.Claim(t.Context(), d.Interfaces[1])
		return err == nil && c.Close() == nil
	})
}

func TestNoRightToTheNode(t *testing.T) {
	need.Root(t) // to be somebody else: root has every right
	rig, _ := lay(t, model.NewPrinter("A").Device)
	if err := os.Chmod(rig.Dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(rig.Dir, "dev/bus/usb/001/002"), 0o600); err != nil {
		t.Fatal(err)
	}
	says, end := another(t, nobody)
	defer end()
	if says != "claimed: "+noRight {
		t.Errorf("a program of user nobody says %q", says)
	}
}

// second gives the printer a second configuration, of value 2, like its first, and puts it in force.
func second(t *testing.T, rig *mockbus.Bus) {
	if err := os.WriteFile(filepath.Join(rig.Dir, "sys/bus/usb/devices/1-1/bConfigurationValue"), []byte("2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	describe(t, rig, "1-1", func(d []byte) []byte {
		d[17] = 2
		again := bytes.Clone(d[config:])
		again[5] = 2
		return append(d, again...)
	})
}

func TestAnotherConfigurationIsSetWhereItIsNeeded(t *testing.T) {
	for _, c := range []struct {
		rule   string
		driver string
		held   bool
		sets   int
		want   error
	}{
		{"nobody has an interface: it is set", "", false, 1, nil},
		{"a driver of the kernel has one: it is set without it", "usblp", false, 2, nil},
		{"a program has one: it is not set, and the driver has its own again", "usblp", true, 1, bus.ErrBusy},
	} {
		t.Run(c.rule, func(t *testing.T) {
			rig, plugged := lay(t, model.NewPrinter("A").Device)
			second(t, rig)
			if c.driver != "" {
				plugged[0].BindDriver(0, c.driver)
			}
			if c.held {
				plugged[0].Hold(1)
			}
			d, h := open(t, start(t, rig), "1-1")
			if len(d.Interfaces) != 6 || d.Interfaces[3].Config != 2 || d.Interfaces[3].ConfigIndex != 1 {
				t.Fatalf("interfaces: %+v", d.Interfaces)
			}
			wanted, err := h.Claim(t.Context(), d.Interfaces[0])
			if !errors.Is(err, c.want) {
				t.Fatalf("claim: %v, want %v", err, c.want)
			}
			if got := plugged[0].Count("SETCONFIGURATION"); got != c.sets {
				t.Errorf("it is set %d times, want %d", got, c.sets)
			}
			if err != nil {
				if got := plugged[0].Driver(0); got != c.driver {
					t.Errorf("interface 0 is with %q, want %q", got, c.driver)
				}
				return
			}
			if _, err := h.Claim(t.Context(), d.Interfaces[4]); err == nil || !strings.Contains(err.Error(), "configuration 1 are in use") {
				t.Errorf("an interface of the second configuration beside it: %v", err)
			}
			if n, err := wanted.Write(t.Context(), []byte("x")); n != 1 || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
			if err := wanted.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
