package usb_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb/libusb"
)

// The stories wait most of the time: all of them go on at once, however few processors there are.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "5"); err != nil { // they wait more than they compute, and are not alone
		panic(err)
	}
	rig.Main(m)
}

// bus is a story's own, which programs under the preload library take for the machine's.
type bus struct {
	*mockbus.Bus
	t *testing.T
}

// newBus lays one out. What is started on it ends before it: the library ends programs whose bus goes first.
func newBus(t *testing.T) *bus {
	t.Helper()
	need.That(t, libusb.Built, "the gateway is built without USB; `make deps` installs libusb-1.0-0-dev")
	need.That(t, mockbus.Installed(), mockbus.Preload+" is not installed; `make deps` installs it")
	dir, err := os.MkdirTemp("", "usb") // its name is short: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	b, err := mockbus.NewAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &bus{b, t}
}

// environment is what a program needs to see the bus.
func (b *bus) environment() []string {
	return []string{"LD_PRELOAD=" + mockbus.Preload, "UMOCKDEV_DIR=" + b.Dir}
}

// inside has a gateway see the bus.
func (b *bus) inside(cmd *exec.Cmd) { cmd.Env = append(cmd.Env, b.environment()...) }

// plug plugs a printer in.
func (b *bus) plug(p *model.Printer, port string) *mockbus.Dev {
	b.t.Helper()
	d, err := b.Plug(p.Device, port)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func unplug(t *testing.T, d *mockbus.Dev) {
	t.Helper()
	if err := d.Unplug(); err != nil {
		t.Fatal(err)
	}
}

// devices are those that `mfpgate devices --json` lists.
func devices(t *testing.T, g *rig.Gateway) []mfpgate.Device {
	t.Helper()
	var list struct{ Items []mfpgate.Device }
	if err := json.Unmarshal([]byte(command(t, g, "devices", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// comes waits for a device to be as wanted, and returns it as the command line has it.
func comes(t *testing.T, g *rig.Gateway, what string, wanted func(mfpgate.Device) bool) (found mfpgate.Device) {
	t.Helper()
	rig.Until(t, what, func() bool {
		var list struct{ Items []mfpgate.Device }
		g.API(t, "devices", &list)
		for _, d := range list.Items {
			if wanted(d) {
				found = d
				return true
			}
		}
		return false
	})
	for _, d := range devices(t, g) {
		if d.ID == found.ID {
			return d
		}
	}
	t.Fatalf("the command line does not list %s", found.ID)
	panic("not reached")
}

// driven is a device that is online on a port, in a mode.
func driven(port string, mode mfpgate.USBMode) func(mfpgate.Device) bool {
	return func(d mfpgate.Device) bool {
		return d.USB != nil && d.USB.Bus == port && d.USB.Mode == mode && d.State == mfpgate.DeviceOnline
	}
}

// command runs mfpgate on a gateway.
func command(t *testing.T, g *rig.Gateway, args ...string) string {
	t.Helper()
	code, out, complaint := rig.Run(t, append(args, "--socket", g.Socket)...)
	if code != 0 {
		t.Fatalf("mfpgate %s: %d: %s", strings.Join(args, " "), code, complaint)
	}
	return out
}

// start runs a program until the test ends, and wants it to end well then.
func start(t *testing.T, program string, args ...string) io.Reader {
	t.Helper()
	cmd := exec.Command(program, args...)
	rig.Unprivileged(cmd)
	stderr := new(bytes.Buffer)
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("%s ended with %v: %s", filepath.Base(program), err, stderr)
		}
	})
	return out
}
