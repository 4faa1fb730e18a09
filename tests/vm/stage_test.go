package vm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	systemd        = "/lib/systemd/systemd"
	overlayRefused = "overlay over the root"
)

// becomeSystemd runs as the first process of new namespaces: it mounts a system over this machine's root, moves into it
// and executes systemd. It returns only with an error. The machine sees none of it: all mounts are private.
func becomeSystemd(job string) error {
	runtime.LockOSThread() // a cgroup namespace is a thread's until the exec
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("cgroup namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	work := filepath.Join(job, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", work, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("tmpfs: %w", err)
	}
	root := filepath.Join(work, "root")
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(work, dir), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", work, work)
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return fmt.Errorf("%s: %w", overlayRefused, err)
	}
	if err := furnish(root, job); err != nil {
		return err
	}
	if err := install(root, job); err != nil {
		return err
	}
	for _, capability := range []uintptr{unix.CAP_SYS_MODULE, unix.CAP_SYS_TIME} { // what no namespace holds back
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", capability, err)
		}
	}
	if err := unix.Sethostname([]byte("mfpgate-vm")); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("lo up: %w", err)
	}
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "mnt"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount("/mnt", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the machine's root: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return err
	}
	env := []string{"container=mfpgate-vm", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb"}
	return unix.Exec(systemd, []string{systemd, "systemd.unit=checks.target", "systemd.log_target=journal", "systemd.show_status=0"}, env)
}

// furnish mounts what a running system has, empties what would be the machine's own, and gives a /dev of pseudo devices.
func furnish(root, job string) error {
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"cgroup2", "/sys/fs/cgroup", ""},
		{"tmpfs", "/run", "mode=0755"}, {"tmpfs", "/tmp", "mode=1777"}, {"tmpfs", "/dev", "mode=0755"},
		{"tmpfs", "/etc/systemd/system", "mode=0755"}, // no unit that the machine's owner enabled or changed
		{"tmpfs", "/var/log", "mode=0755"},
	} {
		at := filepath.Join(root, m.at)
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, at, m.kind, 0, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	// Kernel settings are the machine's, too.
	for _, at := range []string{"/proc/sys", "/sys"} {
		at = filepath.Join(root, at)
		if err := unix.Mount(at, at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", at, err)
		}
		if err := unix.Mount("", at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make %s read-only: %w", at, err)
		}
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		at := filepath.Join(root, "dev", name)
		if err := os.WriteFile(at, nil, 0o644); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, at, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", name, err)
		}
	}
	for _, dir := range []string{"dev/pts", "dev/shm", "job", "mnt"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", filepath.Join(root, "dev/pts"), "devpts", 0, "newinstance,ptmxmode=0666"); err != nil {
		return fmt.Errorf("devpts: %w", err)
	}
	if err := os.Symlink("pts/ptmx", filepath.Join(root, "dev/ptmx")); err != nil {
		return err
	}
	if err := os.Symlink("/proc/self/fd", filepath.Join(root, "dev/fd")); err != nil {
		return err
	}
	return unix.Mount(job, filepath.Join(root, "job"), "", unix.MS_BIND, "")
}

// masked are units that have nothing to do here, or would wait for a device.
var masked = []string{"systemd-timesyncd.service", "systemd-sysctl.service", "systemd-modules-load.service", "systemd-binfmt.service",
	"proc-sys-fs-binfmt_misc.automount", "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket",
	"systemd-udevd-kernel.socket", "systemd-remount-fs.service", "systemd-networkd.service", "dev-hugepages.mount"}

// install puts the gateway where its package would, and beside it the service that runs the checks.
func install(root, job string) error {
	for _, own := range []string{"etc/mfpgate", "var/lib/mfpgate", "var/cache/mfpgate"} { // hidden in the overlay, if the machine has one
		if err := os.RemoveAll(filepath.Join(root, own)); err != nil {
			return err
		}
	}
	files := map[string]string{
		"/etc/fstab":                           "",
		"/etc/systemd/journald.conf.d/vm.conf": "[Journal]\nStorage=volatile\n",
		"/etc/systemd/system/checks.target":    "[Unit]\nRequires=sysinit.target\nWants=checks.service\nAfter=sysinit.target\nAllowIsolate=yes\n",
		"/etc/systemd/system/checks.service": `[Unit]
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=exec
Environment=` + part + "=" + checks + `
ExecStart=/job/checks -test.run=^TestInstalledGateway$ -test.v -test.timeout=100s
ExecStopPost=/bin/sh -c 'journalctl -q -o short-monotonic >/job/journal; echo "$EXIT_STATUS" >/job/rc'
StandardOutput=file:/job/out
StandardError=inherit
`,
	}
	for name, text := range files {
		at := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, name := range masked {
		if err := os.Symlink("/dev/null", filepath.Join(root, "etc/systemd/system", name)); err != nil {
			return err
		}
	}
	for from, to := range map[string]string{
		"mfpgate":                       "/usr/bin/mfpgate",
		"systemd/mfpgate.service":       "/usr/lib/systemd/system/mfpgate.service",
		"systemd/mfpgate.socket":        "/usr/lib/systemd/system/mfpgate.socket",
		"systemd/mfpgate-portal.socket": "/usr/lib/systemd/system/mfpgate-portal.socket",
		"systemd/mfpgate.sysusers":      "/usr/lib/sysusers.d/mfpgate.conf",
		"systemd/mfpgate.tmpfiles":      "/usr/lib/tmpfiles.d/mfpgate.conf",
		"systemd/70-mfpgate.rules":      "/usr/lib/udev/rules.d/70-mfpgate.rules",
	} {
		text, err := os.ReadFile(filepath.Join(job, from))
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if !strings.Contains(from, "/") {
			mode = 0o755
		}
		to = filepath.Join(root, to)
		_ = os.Remove(to) // a link, or a file with another mode
		if err := os.WriteFile(to, text, mode); err != nil {
			return err
		}
	}
	return nil
}

// loopbackUp sets the one interface of the new network up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}
