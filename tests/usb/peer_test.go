package usb_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/peers"
	"github.com/mfpgate/mfpgate/tests/rig"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// ippUSB is OpenPrinting's ipp-usb in a world of its own: a mount namespace in which it has its folders, at the places that are built
// into it.
type ippUSB struct {
	cmd *exec.Cmd
}

// ownFolders makes an empty /var/ipp-usb and /var/log in the namespace, and leaves the rest of /var as it is.
const ownFolders = `set -e
new=$1; shift
mount -t tmpfs none "$new"
mkdir -p "$new/var/ipp-usb" "$new/var/log"
for each in /var/*; do
	at="$new$each"
	if [ -e "$at" ]; then :
	elif [ -h "$each" ]; then cp -P "$each" "$at"
	elif [ -d "$each" ]; then mkdir "$at"; mount --rbind "$each" "$at"
	fi
done
mount --rbind "$new/var" /var
exec "$@"`

func startIPPUSB(t *testing.T, b *bus) *ippUSB {
	t.Helper()
	need.Root(t)
	unshare := need.Program(t, "unshare")
	tree, err := peers.Tree("ipp-usb")
	need.That(t, err == nil, fmt.Sprintf("ipp-usb cannot be unpacked: %v; run `sudo apt-get update` with a network", err))
	libraries, err := peers.Libraries(tree)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(tree, "root/sbin/ipp-usb")
	if _, err := os.Stat(program); err != nil {
		program = filepath.Join(tree, "root/usr/sbin/ipp-usb")
	}
	// The library is for ipp-usb alone: its bus knows nothing of mount(8).
	run := append(append([]string{"env", "LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}, b.environment()...), program, "standalone")
	cmd := exec.Command(unshare, append([]string{"--mount", "--propagation", "private", "sh", "-c", ownFolders, "sh", rig.Dir(t)}, run...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &ippUSB{cmd: cmd}
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("ipp-usb said:\n%s", said.String())
		}
	})
	rig.Until(t, "ipp-usb is there", func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/var/ipp-usb/ctrl", cmd.Process.Pid))
		return err == nil
	})
	return p
}

func (p *ippUSB) end() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait() // how it says that it was told to
	}
}

// beside has a gateway see ipp-usb's folders, with the rights that it would have had elsewhere.
func (p *ippUSB) beside(t *testing.T) rig.Option {
	t.Helper()
	nsenter, setpriv := need.Program(t, "nsenter"), need.Program(t, "setpriv")
	return func(cmd *exec.Cmd) {
		enter := []string{nsenter, fmt.Sprintf("--mount=/proc/%d/ns/mnt", p.cmd.Process.Pid), "--wdns=" + cmd.Dir, "--", setpriv, "--pdeathsig", "KILL",
			"--reuid", fmt.Sprint(nobody), "--regid", fmt.Sprint(nobody), "--clear-groups", "--"}
		cmd.SysProcAttr.Credential = nil // for entering takes root
		cmd.Args = append(append(enter, cmd.Path), cmd.Args[1:]...)
		cmd.Path = nsenter
	}
}

// TestBesideIPPUSB: a printer that ipp-usb drives is left to it and used through its port, and is taken over when ipp-usb ends.
func TestBesideIPPUSB(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	p := model.NewPrinter("S1")
	b.plug(p, "1-1")
	other := startIPPUSB(t, b)
	rig.Until(t, "ipp-usb has asked the printer", func() bool { return p.IPP.Asked() > 0 })
	g := rig.Start(t, "  allow: [{host: update.vendor.example, ports: [443]}]\nusb: {enabled: true, share: local}\ndevices: {polling: {status: 1s}}\n", b.inside, other.beside(t))
	d := comes(t, g, "the printer is ipp-usb's", driven("1-1", mfpgate.USBModeOther))
	if d.USB.Reason != "usb-ipp-usb" || !strings.Contains(d.USB.Detail, "ipp-usb") || d.USB.Shared || d.Attachment != mfpgate.AttachmentUSB {
		t.Errorf("%+v, %+v", d, d.USB)
	}
	shown := func(word string) func() bool {
		return func() bool { return strings.Contains(command(t, g, "devices", "show", string(d.ID)), word) }
	}
	rig.Until(t, "its supplies are asked through ipp-usb", shown("Black"))
	p.OutOfPaper()
	rig.Until(t, "that paper is out is seen through ipp-usb", shown("media-empty"))
	p.LoadPaper()

	other.end()
	back := comes(t, g, "the gateway drives the printer", driven("1-1", mfpgate.USBModeIPP))
	if back.ID != d.ID || back.USB.URL == d.USB.URL || back.USB.Reason != "" {
		t.Errorf("it was %+v, %+v and is %+v, %+v", d, d.USB, back, back.USB)
	}
	path, digest := document(t, 1<<20)
	ipptool(t, strings.TrimPrefix(back.USB.URL, "http://"), path)
	if got := p.IPP.Documents(); len(got) != 1 || got[0].SHA256 != digest {
		t.Errorf("the printer has %+v, want the digest %s", got, digest)
	}
}
