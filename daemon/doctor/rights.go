package doctor

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// usbGroup is who may use printers on USB (70-mfpgate.rules, mfpgate.sysusers).
const usbGroup = "mfpgate-usb"

// may reports whether the service may read and write what is at path, and who that is. Root asks as the service's user would, with the
// group that the unit adds; anybody else asks for itself.
func (s *site) may(path string) (may bool, who string) {
	if os.Geteuid() != 0 {
		own := strconv.Itoa(os.Geteuid())
		if u, err := user.Current(); err == nil {
			own = u.Username
		}
		return unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK, unix.AT_EACCESS) == nil, own
	}
	u, err := user.Lookup(s.Service)
	if err != nil {
		return true, "root" // there is no service: somebody runs it by hand
	}
	credential := &syscall.Credential{Uid: number(u.Uid), Gid: number(u.Gid)}
	groups, _ := u.GroupIds() // of none it is in none
	if g, err := user.LookupGroup(usbGroup); err == nil {
		groups = append(groups, g.Gid)
	}
	for _, g := range groups {
		credential.Groups = append(credential.Groups, number(g))
	}
	// The kernel judges, by owner, group and ACL alike.
	cmd := exec.Command("/usr/bin/test", "-r", path, "-a", "-w", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	return cmd.Run() == nil, s.Service
}

func number(id string) uint32 {
	n, _ := strconv.ParseUint(id, 10, 32) // of a system's own files
	return uint32(n)
}

// missingRight says what gives the service the right to printers: the first thing that lacks.
func (s *site) missingRight() string {
	const again = "udevadm control --reload && udevadm trigger --subsystem-match=usb"
	if _, err := user.LookupGroup(usbGroup); err != nil {
		return "make the group " + usbGroup + " with systemd-sysusers (mfpgate.sysusers), install /usr/lib/udev/rules.d/70-mfpgate.rules, and run " + again
	}
	for _, dir := range []string{"/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d"} {
		if _, err := os.Stat(s.path(dir, "70-mfpgate.rules")); err == nil {
			return "run " + again + "; the service needs SupplementaryGroups=" + usbGroup + ", and a user who runs it by hand must be in that group"
		}
	}
	return "install /usr/lib/udev/rules.d/70-mfpgate.rules, and run " + again + "; the service needs SupplementaryGroups=" + usbGroup
}

func (s *site) path(parts ...string) string {
	return filepath.Join(append([]string{"/", s.Root}, parts...)...)
}
