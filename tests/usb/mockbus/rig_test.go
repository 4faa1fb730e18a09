package mockbus_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/gousb"
	"go.uber.org/goleak"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

func TestMain(m *testing.M) {
	mockbus.Reexec()
	goleak.VerifyTestMain(m) // of the buses, the printers and gousb
}

// newBus is a bus that libusb sees in this process until the test ends.
func newBus(t testing.TB) *mockbus.Bus {
	t.Helper()
	need.Preload(t, mockbus.Preload)
	b, err := mockbus.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("UMOCKDEV_DIR", b.Dir) // cgo's setenv: the preload library sees it
	t.Cleanup(b.Close)
	return b
}

func plug(t testing.TB, b *mockbus.Bus, m *model.Device, port string) *mockbus.Dev {
	t.Helper()
	d, err := b.Plug(m, port)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func newContext(t testing.TB) *gousb.Context {
	t.Helper()
	c := gousb.NewContext()
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

func isPrinter(d *gousb.DeviceDesc) bool { return d.Vendor == 0x1209 }

// open opens the printer at a port of the root hub.
func open(t testing.TB, c *gousb.Context, port int) *gousb.Device {
	t.Helper()
	all, err := c.OpenDevices(func(d *gousb.DeviceDesc) bool { return isPrinter(d) && d.Port == port })
	if err != nil || len(all) != 1 {
		t.Fatalf("open: %d devices, %v", len(all), err)
	}
	t.Cleanup(func() { must(t, all[0].Close()) })
	return all[0]
}

// claim claims an interface and returns its endpoints.
func claim(t testing.TB, d *gousb.Device, number, alt int) (*gousb.OutEndpoint, *gousb.InEndpoint) {
	t.Helper()
	config, err := d.Config(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, config.Close()) })
	i, err := config.Interface(number, alt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	out, err := i.OutEndpoint(number + 1)
	if err != nil {
		t.Fatal(err)
	}
	in, err := i.InEndpoint(number + 1)
	if err != nil {
		t.Fatal(err)
	}
	return out, in
}

// eventually waits for a state.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// pending starts a transfer, waits until it is under way, and returns how it ends.
func pending(t testing.TB, d *mockbus.Dev, transfer func() (int, error)) <-chan error {
	t.Helper()
	before := d.Count("SUBMITURB")
	ended := make(chan error, 1)
	go func() { _, err := transfer(); ended <- err }()
	eventually(t, "a transfer is under way", func() bool { return d.Count("SUBMITURB") > before })
	return ended
}

func wait(t testing.TB, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
		return nil
	}
}

func soon(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// count is how many printers libusb lists.
func count(c *gousb.Context) int {
	n := 0
	_, _ = c.OpenDevices(func(d *gousb.DeviceDesc) bool {
		if isPrinter(d) {
			n++
		}
		return false
	})
	return n
}
