package lan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/tests/need"
)

// LAN is one Ethernet, 10.77.0.0/24 and fd77::/64.
type LAN struct {
	hosts []*Host
	wire  *place // the network namespace of the bridge
	ip    string // the program
}

// New makes a network of that many hosts, 1 to 250. Host N has the addresses 10.77.0.N+1 and fd77::N+1 (in hex) and the name
// hN. The network goes with the test.
func New(t testing.TB, hosts int) *LAN {
	t.Helper()
	need.Root(t)
	l := &LAN{ip: need.Program(t, "ip")}
	dir := t.TempDir() // removed after the cleanup below
	var err error
	l.wire, err = newPlace(unix.CLONE_NEWNET, func() error {
		// The first program that a Go process starts is preceded by a child that tries the kernel's abilities. It runs here:
		// in a host it would be process 1, and end.
		return l.configure("link set lo up", "link add br0 type bridge mcast_snooping 0", "link set br0 up")
	})
	if errors.Is(err, unix.EPERM) {
		need.That(t, false, err.Error()+"; run where CAP_SYS_ADMIN is")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.wire.leave(); err != nil {
			t.Error(err)
		}
	})
	for i := range hosts {
		h, err := l.host(t, i, dir)
		if err != nil {
			t.Fatalf("host %d: %v", i, err)
		}
		l.hosts = append(l.hosts, h)
	}
	return l
}

// Host returns host i, from 0.
func (l *LAN) Host(i int) *Host { return l.hosts[i] }

// Gateway returns host 0.
func (l *LAN) Gateway() *Host { return l.hosts[0] }

func (l *LAN) host(t testing.TB, i int, dir string) (*Host, error) {
	h := &Host{Name: fmt.Sprintf("h%d", i), lan: l, port: fmt.Sprintf("p%d", i),
		V4: netip.AddrFrom4([4]byte{10, 77, 0, byte(i + 1)}), V6: netip.MustParseAddr(fmt.Sprintf("fd77::%x", i+1)),
		MAC: net.HardwareAddr{2, 0, 10, 77, 0, byte(i + 1)}}
	h.dir = dir + "/" + h.Name
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		return nil, err
	}
	flags := unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC
	var err error
	h.place, err = newPlace(flags, func() (err error) {
		if h.first, err = firstProcess(); err != nil {
			return err
		}
		if h.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return furnish(h.Name)
	})
	if err != nil {
		if h.first != nil {
			_ = h.first.Process.Kill()
			_ = h.first.Wait()
		}
		return nil, err
	}
	t.Cleanup(func() { h.close(t) }) // before the network's
	err = l.wire.do(func() error {
		return l.configure(
			fmt.Sprintf("link add %s type veth peer name eth0 address %s netns %d", h.port, h.MAC, h.first.Process.Pid),
			fmt.Sprintf("link set %s master br0 up", h.port))
	})
	if err != nil {
		return nil, err
	}
	return h, h.place.do(func() error {
		err := l.configure("link set lo up", "address add "+h.V4.String()+"/24 dev eth0",
			"address add "+h.V6.String()+"/64 dev eth0 nodad", "link set eth0 up", multicast)
		return errors.Join(err, doubt())
	})
}

// doubt makes the calling thread's kernel notice in 3 s that a neighbour is away. By default it may take a minute, in which
// nothing tells a device without power from one that does not answer.
func doubt() error {
	for name, value := range map[string]string{"base_reachable_time_ms": "1000", "delay_first_probe_time": "1", "retrans_time_ms": "300"} {
		for _, family := range []string{"ipv4", "ipv6"} {
			if err := os.WriteFile("/proc/sys/net/"+family+"/neigh/eth0/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// multicast is the route that a host without a default route needs.
const multicast = "route replace 224.0.0.0/4 dev eth0"

// configure runs ip(8) with these lines in the calling thread's network.
func (l *LAN) configure(lines ...string) error {
	cmd := exec.Command(l.ip, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %q: %w: %s", lines, err, out)
	}
	return nil
}
