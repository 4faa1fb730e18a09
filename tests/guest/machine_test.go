//go:build vm

package guest_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/need"
)

// cache is where the guest is kept, seen from here.
const cache = "../../.cache/guest"

// Deadlines that only a hang meets, on a machine that does much beside.
const (
	bootTime = 10 * time.Minute
	jobTime  = 12 * time.Minute
)

// hardware is what the boot, the snapshot and the runs must have in common. PVH boots the kernel as it is.
func hardware(dir string) []string {
	return []string{"-accel", "tcg,thread=multi,tb-size=256", "-machine", "q35,usb=off", "-cpu", "max", "-smp", "2", "-m", "768",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-device", "virtio-rng-pci",
		"-kernel", filepath.Join(dir, "vmlinux"), "-initrd", filepath.Join(dir, "initrd.img"),
		"-append", "root=/dev/vda rootfstype=ext4 rw console=ttyS0 quiet loglevel=4 systemd.show_status=0 panic=-1 tsc=reliable nowatchdog"}
}

// machine is a guest that runs.
type machine struct {
	t       *testing.T
	cmd     *exec.Cmd
	control net.Conn // its second serial port
	qmp     *json.Decoder
	ask     net.Conn
}

// start starts QEMU. job is the folder that the guest shares; sockets are in a folder with a short name.
func start(t *testing.T, ctx context.Context, image, disk, job string, more ...string) *machine {
	t.Helper()
	sockets, err := os.MkdirTemp("", "guest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	control, qmp := filepath.Join(sockets, "control"), filepath.Join(sockets, "qmp")
	args := append(hardware(image), "-drive", "if=virtio,cache=unsafe,"+disk,
		"-fsdev", "local,id=job,security_model=none,path="+job, "-device", "virtio-9p-pci,fsdev=job,mount_tag=job",
		"-serial", "file:"+filepath.Join(job, "console"), "-serial", "unix:"+control+",server=on,wait=off", "-qmp", "unix:"+qmp+",server=on,wait=off")
	m := &machine{t: t, cmd: exec.CommandContext(ctx, program(t, "qemu-system-x86_64"), append(args, more...)...)}
	m.cmd.Stderr = os.Stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also with a test that is killed
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.control, m.ask = dial(t, ctx, control), dial(t, ctx, qmp)
	t.Cleanup(func() {
		_ = m.control.Close()
		_ = m.ask.Close()
	})
	m.qmp = json.NewDecoder(m.ask)
	m.do("qmp_capabilities", nil)
	return m
}

func dial(t *testing.T, ctx context.Context, socket string) net.Conn {
	t.Helper()
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return c
		}
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 20*time.Millisecond) != nil {
			t.Fatalf("QEMU does not listen: %v", err)
		}
	}
}

// do carries out a command of QEMU's machine protocol.
func (m *machine) do(command string, arguments any) json.RawMessage {
	m.t.Helper()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m.ask).Encode(request); err != nil {
		m.t.Fatalf("ask QEMU to %s: %v", command, err)
	}
	for { // past its greeting and its events
		var answer struct{ Return, Error json.RawMessage }
		if err := m.qmp.Decode(&answer); err != nil {
			m.t.Fatalf("QEMU's answer to %s: %v", command, err)
		}
		if answer.Error != nil {
			m.t.Fatalf("%s: %s", command, answer.Error)
		}
		if answer.Return != nil {
			return answer.Return
		}
	}
}

// until asks for a status until it is one.
func (m *machine) until(ctx context.Context, command string, is func(status string) bool) {
	m.t.Helper()
	for {
		var s struct{ Status string }
		if err := json.Unmarshal(m.do(command, nil), &s); err != nil {
			m.t.Fatal(err)
		}
		if is(s.Status) {
			return
		}
		if mfpgate.Wait(ctx, mfpgate.SystemClock{}, 50*time.Millisecond) != nil {
			m.t.Fatalf("%s: still %s", command, s.Status)
		}
	}
}

// program finds one of apt.txt's.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	need.That(t, err == nil, name+" is not installed; `make vm` installs it")
	return path
}

// mark is what names the files that something is made of.
func mark(t *testing.T, of ...string) string {
	t.Helper()
	h := sha256.New()
	for _, name := range of {
		text, err := os.ReadFile(name)
		if err != nil {
			text = []byte(name)
		}
		_, _ = h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fresh reports whether what is in dir was made of what mark names.
func fresh(dir, mark string) bool {
	text, err := os.ReadFile(filepath.Join(dir, "mark"))
	return err == nil && string(text) == mark
}

func made(t *testing.T, dir, mark string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "mark"), []byte(mark), 0o644); err != nil {
		t.Fatal(err)
	}
}

// image returns the folder of the guest's disk and kernel, and makes them first where they are missing or old.
func image(t *testing.T) (dir, of string) {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(cache, "image"))
	if err != nil {
		t.Fatal(err)
	}
	of = mark(t, "image.sh", "boot/guest-job", "boot/guest-job.service")
	if fresh(dir, of) {
		return dir, of
	}
	for _, name := range []string{"mmdebstrap", "mke2fs", "xz"} {
		program(t, name)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // it is this user's, whoever makes what is in it
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./image.sh", dir)
	if os.Geteuid() != 0 {
		cmd = exec.CommandContext(ctx, "sudo", "-n", "./image.sh", dir)
	}
	begun := mfpgate.SystemClock{}.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make the guest, which needs root (sudo tests/guest/image.sh %s): %v\n%s", dir, err, out)
	}
	t.Logf("made the guest in %v", mfpgate.SystemClock{}.Now().Sub(begun).Round(time.Second))
	made(t, dir, of)
	return dir, of
}

// snapshot returns the folders of the image and of its guest that has booted and waits, and boots it first where there is none.
func snapshot(t *testing.T) (from, dir string) {
	t.Helper()
	from, of := image(t)
	version, err := exec.CommandContext(t.Context(), program(t, "qemu-system-x86_64"), "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir, err = filepath.Abs(filepath.Join(cache, "snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	of = mark(t, append(hardware(""), of, string(version))...)
	if fresh(dir, of) {
		return from, dir
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bootTime)
	defer cancel()
	begun := mfpgate.SystemClock{}.Now()
	disk, memory := filepath.Join(dir, "disk.qcow2"), filepath.Join(dir, "memory")
	out, err := exec.CommandContext(ctx, program(t, "qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw", "-b", filepath.Join(from, "disk.img"), disk).CombinedOutput()
	if err != nil {
		t.Fatalf("make the snapshot's disk: %v\n%s", err, out)
	}
	m := start(t, ctx, from, "format=qcow2,file="+disk, dir)
	said, err := bufio.NewReader(m.control).ReadString('\n')
	if err != nil || strings.TrimSpace(said) != "ready running" {
		t.Fatalf("the guest's boot: %q, %v; want ready running; see %s/console", said, err, dir)
	}
	m.do("stop", nil)
	m.do("migrate-set-parameters", map[string]any{"max-bandwidth": int64(1) << 40})
	m.do("migrate", map[string]any{"uri": "exec:zstd -3 -q -f -o '" + memory + "'"})
	m.until(ctx, "query-migrate", func(status string) bool {
		if status == "failed" {
			t.Fatal("the guest's memory cannot be saved")
		}
		return status == "completed"
	})
	m.do("quit", nil)
	if err := m.cmd.Wait(); err != nil {
		t.Fatalf("QEMU: %v", err)
	}
	t.Logf("booted the guest and saved its state in %v", mfpgate.SystemClock{}.Now().Sub(begun).Round(time.Second))
	made(t, dir, of)
	return from, dir
}

// carryOut lets a guest run the job in a folder, and returns its status.
func carryOut(t *testing.T, job string) (status string) {
	t.Helper()
	image, snapshot := snapshot(t)
	ctx, cancel := context.WithTimeout(t.Context(), jobTime)
	defer cancel()
	m := start(t, ctx, image, "snapshot=on,format=qcow2,file="+filepath.Join(snapshot, "disk.qcow2"), job,
		"-incoming", "exec:zstd -dcq '"+filepath.Join(snapshot, "memory")+"'")
	m.until(ctx, "query-status", func(status string) bool { return status != "inmigrate" })
	m.do("cont", nil)
	if _, err := fmt.Fprintf(m.control, "go %d\n", mfpgate.SystemClock{}.Now().Unix()); err != nil {
		t.Fatalf("start the job: %v", err)
	}
	if _, err := io.Copy(io.Discard, m.control); err != nil && ctx.Err() == nil { // it ends with the guest
		t.Logf("the guest's line: %v", err)
	}
	if err := m.cmd.Wait(); err != nil {
		t.Errorf("QEMU: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(job, "rc"))
	if err != nil {
		t.Fatalf("the guest told no status; see %s/console", job)
	}
	return strings.TrimSpace(string(text))
}
