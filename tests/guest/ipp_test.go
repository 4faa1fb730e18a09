//go:build vm

package guest_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// as starts this binary's program that prints at a printer's address, as a user. wait returns what became of the document.
func as(t *testing.T, user string, d mfpgate.Device, seed byte, size int64) (wait func() printed) {
	t.Helper()
	if d.USB.URL == "" {
		t.Fatalf("%s has no address", d.Serial)
	}
	id := func(flag string) uint32 {
		n, _ := strconv.ParseUint(must(t, "id", flag, user), 10, 32)
		return uint32(n)
	}
	cmd := exec.CommandContext(t.Context(), "/job/checks", strings.TrimSuffix(d.USB.URL, "/")+"/ipp/print", strconv.Itoa(int(seed)), strconv.FormatInt(size, 10))
	cmd.Env = []string{part + "=" + printsIPP}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id("-u"), Gid: id("-g")}}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() printed {
		t.Helper()
		err := cmd.Wait()
		p, wrong := parsed(out.Bytes())
		if err = errors.Join(err, wrong); err != nil {
			t.Fatalf("print as %s: %v\n%s%s", user, err, &out, &errs)
		}
		return p
	}
}

const documentSize = 4 << 20

// arrived checks that a printer's last document by IPP is one.
func (g *guest) arrived(t *testing.T, port int, p printed, seed byte, size int64) {
	t.Helper()
	if p.Error != "" || p.Status.State != mfpgate.JobCompleted || p.Status.Sent != size {
		t.Errorf("the job: got %+v, want it completed", p)
	}
	all := g.printers.stats(t, port).Documents
	if len(all) == 0 {
		t.Fatal("no document arrived")
	}
	if last := all[len(all)-1]; last.Bytes != size || last.SHA256 != digest(size, seed) || last.Cut {
		t.Errorf("the printer got %+v, want %d bytes, %s", last, size, digest(size, seed))
	}
}

func (g *guest) testPrints(t *testing.T) {
	all := devices(t)
	first, second := as(t, "mfpgate", all[compositeSerial], 1, documentSize), as(t, "mfpgate", all[alternatesSerial], 2, documentSize)
	g.arrived(t, composite, first(), 1, documentSize)
	g.arrived(t, alternates, second(), 2, documentSize)
	for _, other := range []string{"root", "nobody"} {
		if p := as(t, other, all[compositeSerial], 3, 1000)(); p.Status.State != mfpgate.JobAborted {
			t.Errorf("usb.share is off, and %s printed: %+v", other, p)
		}
	}
	if n := len(g.printers.stats(t, composite).Documents); n != 1 {
		t.Errorf("%d documents arrived, want one", n)
	}
	g.scarce(t)
	g.arrived(t, alternates, as(t, "mfpgate", all[alternatesSerial], 4, documentSize)(), 4, documentSize)
}

// scarce leaves USB's programs less of the kernel's memory than one transfer of the largest size takes, for the rest of the test.
func (g *guest) scarce(t *testing.T) {
	t.Helper()
	const limit = "/sys/module/usbcore/parameters/usbfs_memory_mb"
	before, err := os.ReadFile(limit)
	if err == nil {
		err = os.WriteFile(limit, []byte("1"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(limit, before, 0); err != nil {
			t.Error(err)
		}
	})
	// What is mapped of a device's node counts as transfers do (usbdev_mmap in the kernel's drivers/usb/core/devio.c).
	node, err := os.OpenFile(kernels(t, streamSerial).node(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() })
	take := func(size int) error {
		mapped, err := unix.Mmap(int(node.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err == nil {
			t.Cleanup(func() { _ = unix.Munmap(mapped) })
		}
		return err
	}
	for range 6 { // of eight such pieces that there are
		if err := take(128 << 10); err != nil {
			t.Fatalf("take the kernel's memory for USB: %v", err)
		}
	}
	if err := take(bus.MaxTransfer); !errors.Is(err, unix.ENOMEM) {
		t.Fatalf("%d bytes more than there are: got %v, want %v", bus.MaxTransfer, err, unix.ENOMEM)
	}
}

func (g *guest) testUnplugged(t *testing.T) {
	d := devices(t)[alternatesSerial]
	g.printers.do(t, "fault %d 01 unplug after=%d", alternates, documentSize/2)
	wait := as(t, "mfpgate", d, 5, documentSize)
	await(t, alternatesSerial, mfpgate.DeviceOffline, "")
	if p := wait(); p.Status.State != mfpgate.JobAborted || p.Error == "" {
		t.Errorf("the job of a printer that was unplugged: got %+v, want it aborted", p)
	}
	g.printers.do(t, "back %d", alternates)
	d = await(t, alternatesSerial, mfpgate.DeviceOnline, mfpgate.USBModeIPP)
	g.arrived(t, alternates, as(t, "mfpgate", d, 6, documentSize)(), 6, documentSize)
}

// A transfer fails on the wire, as with a bad cable.
func (g *guest) testFailure(t *testing.T) {
	g.printers.do(t, "fault %d 01 failure after=%d", alternates, documentSize/2)
	if p := as(t, "mfpgate", devices(t)[alternatesSerial], 7, documentSize)(); p.Status.State != mfpgate.JobAborted || p.Error == "" {
		t.Errorf("the job whose transfer failed: got %+v, want it aborted", p)
	}
	d := await(t, alternatesSerial, mfpgate.DeviceOnline, mfpgate.USBModeIPP)
	g.arrived(t, alternates, as(t, "mfpgate", d, 8, documentSize)(), 8, documentSize)
}
