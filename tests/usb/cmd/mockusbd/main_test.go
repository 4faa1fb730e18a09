package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/gousb"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/usb/cmd/console"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
)

// probeEnv makes this program the one that knows nothing of the rig: a gousb program under the preload library.
const probeEnv = "MFPGATE_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(probeEnv) != "" {
		probe()
		return
	}
	mockbus.Reexec()
	m.Run()
}

// probe prints to the first printer's raw port and says what it saw.
func probe() {
	c := gousb.NewContext()
	defer c.Close()
	all, err := c.OpenDevices(func(d *gousb.DeviceDesc) bool { return d.Vendor == 0x1209 })
	if err != nil || len(all) == 0 {
		os.Stdout.WriteString("no printer\n")
		return
	}
	d := all[0]
	defer d.Close()
	id := make([]byte, 1024)
	n, err := d.Control(0xA1, 0, 0, 0, id)
	if err != nil {
		panic(err)
	}
	i, done, err := d.DefaultInterface()
	if err != nil {
		panic(err)
	}
	defer done()
	out, err := i.OutEndpoint(1)
	if err != nil {
		panic(err)
	}
	if _, err := out.Write([]byte("hello, paper")); err != nil {
		panic(err)
	}
	os.Stdout.Write(append(id[2:n], '\n'))
}

// daemon is a mockusbd in a process of its own.
type daemon struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
	dir string
}

func start(t *testing.T) *daemon {
	t.Helper()
	need.Preload(t, mockbus.Preload)
	bin := filepath.Join(t.TempDir(), "mockusbd")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, bin)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("mockusbd: %v", err)
		}
		if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", d.dir, err)
		}
	})
	d.dir = strings.TrimPrefix(d.line(), "ready ")
	return d
}

func (d *daemon) line() string {
	d.t.Helper()
	if !d.out.Scan() {
		d.t.Fatal("mockusbd says no more")
	}
	return d.out.Text()
}

func (d *daemon) do(command, want string) string {
	d.t.Helper()
	if _, err := io.WriteString(d.in, command+"\n"); err != nil {
		d.t.Fatal(err)
	}
	got := d.line()
	if !strings.HasPrefix(got, want) {
		d.t.Errorf("%s: %q, want %q", command, got, want)
	}
	return strings.TrimPrefix(got, want)
}

// TestOtherProcess: a program under the preload library meets printers of a process that is told what to plug in.
func TestOtherProcess(t *testing.T) {
	d := start(t)
	look := func() string {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), probeEnv+"=1", "UMOCKDEV_DIR="+d.dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if got := look(); got != "no printer" {
		t.Errorf("an empty bus: %q", got)
	}
	d.do("plug composite S1 1-1 make=Acme model=9000", "ok")
	if got := look(); !strings.Contains(got, "MFG:Acme;MDL:9000;") {
		t.Errorf("plugged: %q", got)
	}
	var stats console.Stats
	if err := json.Unmarshal([]byte(d.do("stats 1-1", "ok ")), &stats); err != nil || stats.RawBytes != 12 || !stats.Plugged {
		t.Errorf("%+v, %v", stats, err)
	}
	d.do("unplug 1-1", "ok")
	if got := look(); got != "no printer" {
		t.Errorf("unplugged: %q", got)
	}
	d.do("unplug 1-1", "error: unplug: nothing is plugged into port 1-1")
}
