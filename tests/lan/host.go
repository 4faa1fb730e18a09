package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// Host is one computer or device of the network.
type Host struct {
	Name string // without .local
	V4   netip.Addr
	V6   netip.Addr
	MAC  net.HardwareAddr

	lan      *LAN
	port     string // of the bridge
	dir      string // its programs' files, seen from everywhere
	place    *place
	first    *exec.Cmd
	net      *os.File
	programs []*program
	avahi    *program
}

// close ends everything on the host.
func (h *Host) close(t testing.TB) {
	for _, p := range h.programs {
		p.verify(t)
	}
	_ = h.first.Process.Kill()
	_ = h.first.Wait()
	for _, p := range h.programs {
		rig.Wait(t, p.name+" has ended", p.done)
	}
	_ = h.net.Close()
	if err := h.place.leave(); err != nil {
		t.Errorf("%s: %v", h.Name, err)
	}
}

// Output runs a program on the host to its end and returns what it wrote to standard output. A status other than 0 is the
// test's end.
func (h *Host) Output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := h.Try(t, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs a program on the host to its end.
func (h *Host) Try(t testing.TB, name string, args ...string) (stdout string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need.Program(t, name), args...)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &complaint, h.dir
	if err = h.place.do(cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("%s: %s %s: %w\n%s%s", h.Name, name, strings.Join(args, " "), err, &out, &complaint)
	}
	return out.String(), err
}

// Inside is an option of rig.Start: the gateway runs on this host, with the rights that it would have had outside. Its
// folder and its control socket are the test's. The relay's address is the host's: reach it with Client or DialContext.
func (h *Host) Inside(t testing.TB) rig.Option {
	t.Helper()
	nsenter, setpriv := need.Program(t, "nsenter"), need.Program(t, "setpriv")
	return func(cmd *exec.Cmd) {
		enter := []string{nsenter}
		for option, ns := range map[string]string{"net": "net", "mount": "mnt", "uts": "uts", "ipc": "ipc"} {
			enter = append(enter, fmt.Sprintf("--%s=/proc/%d/ns/%s", option, h.first.Process.Pid, ns))
		}
		if cmd.Dir != "" {
			enter = append(enter, "--wdns="+cmd.Dir)
		}
		enter = append(enter, "--", setpriv, "--pdeathsig", "KILL") // a change of user forgets the one that Go has set
		if as := cmd.SysProcAttr; as != nil && as.Credential != nil {
			enter = append(enter, "--reuid", strconv.Itoa(int(as.Credential.Uid)), "--regid", strconv.Itoa(int(as.Credential.Gid)), "--clear-groups")
			as.Credential = nil // for entering takes root
		}
		cmd.Args = append(append(enter, "--", cmd.Path), cmd.Args[1:]...)
		cmd.Path = nsenter
	}
}

// DialContext connects from the host to an address, which must not be a name.
func (h *Host) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial from %s: %w", h.Name, err)
	}
	err = h.visit(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address) // makes the socket of a literal address on this goroutine
		return err
	})
	return conn, err
}

// visit runs f on a thread in the host's network. The host's own thread has other things to do.
func (h *Host) visit(f func() error) error {
	visit := &place{takeThread()}
	err := visit.do(func() error {
		if err := unix.Setns(int(h.net.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
	return errors.Join(err, visit.leave())
}

// Do runs f on a thread in the host's network: the sockets that f's own goroutine makes are the host's.
func (h *Host) Do(f func() error) error { return h.visit(f) }

// Client returns an HTTP client on the host, one connection for each request.
func (h *Host) Client() *http.Client {
	return &http.Client{Timeout: rig.Deadline, Transport: &http.Transport{DialContext: h.DialContext, DisableKeepAlives: true}}
}

// Unplug pulls the host's cable. Its programs go on, and see that the link is down.
func (h *Host) Unplug(t testing.TB) { h.link(t, "down") }

// Plug puts the cable back.
func (h *Host) Plug(t testing.TB) { h.link(t, "up") }

func (h *Host) link(t testing.TB, state string) {
	t.Helper()
	if err := h.lan.wire.do(func() error { return h.lan.configure("link set " + h.port + " " + state) }); err != nil {
		t.Fatal(err)
	}
}

// Readdress gives the host another IPv4 address, as a DHCP server would. Its programs go on.
func (h *Host) Readdress(t testing.TB, v4 netip.Addr) {
	t.Helper()
	h.configure(t, "address add "+v4.String()+"/24 dev eth0", "address del "+h.V4.String()+"/24 dev eth0",
		"address replace "+v4.String()+"/24 dev eth0", // the kernel removes the second address of a network with the first
		multicast)
	h.V4 = v4
}

// IPv6Only takes the IPv4 address away for good.
func (h *Host) IPv6Only(t testing.TB) {
	t.Helper()
	h.configure(t, "address del "+h.V4.String()+"/24 dev eth0")
	h.V4 = netip.Addr{}
}

func (h *Host) configure(t testing.TB, lines ...string) {
	t.Helper()
	if err := h.place.do(func() error { return h.lan.configure(lines...) }); err != nil {
		t.Fatal(err)
	}
}

// PowerOff ends everything on the host at once: nobody says goodbye. After Plug its programs may be started anew.
func (h *Host) PowerOff(t testing.TB) {
	t.Helper()
	h.Unplug(t) // first, for avahi says goodbye for a printer that dies before it
	for _, p := range h.programs {
		p.stopped = true
	}
	rig.Until(t, h.Name+" is off", func() bool {
		others := h.processes(t)
		for _, pid := range others {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return len(others) == 0
	})
	h.avahi = nil
}

// processes are those of the host but the first.
func (h *Host) processes(t testing.TB) (pids []int) {
	t.Helper()
	mine, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h.first.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if ns, err := os.Readlink(path); err != nil || ns != mine {
			continue // of another host, or it has ended
		}
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil && pid != h.first.Process.Pid {
			pids = append(pids, pid)
		}
	}
	return pids
}
