package mdns_test

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/discovery/mdns"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/need"
)

// lan is network namespaces on one bridge. Each is a host with an eth0.
type lan struct {
	t      *testing.T
	prefix string
}

func newLAN(t *testing.T) *lan {
	t.Helper()
	need.Root(t)
	for _, p := range []string{"avahi-daemon", "avahi-publish", "avahi-browse", "dbus-daemon", "ip", "nsenter", "unshare"} {
		need.Program(t, p)
	}
	n := &lan{t: t, prefix: fmt.Sprintf("mdns%d-", os.Getpid())}
	n.add("sw")
	n.ip("-n", n.prefix+"sw", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	n.ip("-n", n.prefix+"sw", "link", "set", "br0", "up")
	return n
}

func (n *lan) ip(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(need.Program(n.t, "ip"), args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (n *lan) add(host string) {
	n.t.Helper()
	n.ip("netns", "add", n.prefix+host)
	n.t.Cleanup(func() { n.ip("netns", "del", n.prefix+host) })
	n.ip("netns", "exec", n.prefix+host, "sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad")
}

// host plugs a host in. It has a link-local IPv6 address, and others as given.
func (n *lan) host(name string, addresses ...string) {
	n.t.Helper()
	n.add(name)
	at := n.prefix + name
	n.ip("link", "add", "p-"+name, "netns", n.prefix+"sw", "type", "veth", "peer", "name", "eth0", "netns", at)
	n.ip("-n", n.prefix+"sw", "link", "set", "p-"+name, "master", "br0", "up")
	n.ip("-n", at, "link", "set", "lo", "up")
	for _, a := range addresses {
		n.ip("-n", at, "addr", "add", a, "dev", "eth0")
	}
	n.ip("-n", at, "link", "set", "eth0", "up")
}

// process is a command that runs until the test or stop ends it.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines *bufio.Scanner
	ended bool
}

func (n *lan) start(name string, args ...string) *process {
	n.t.Helper()
	cmd := exec.Command(need.Program(n.t, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r, w, err := os.Pipe()
	if err != nil {
		n.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	_ = w.Close()
	_ = r.SetReadDeadline(time.Now().Add(deadline))
	p := &process{t: n.t, cmd: cmd, lines: bufio.NewScanner(r)}
	n.t.Cleanup(func() { p.end(syscall.SIGKILL); _ = r.Close() })
	return p
}

func (p *process) end(sig syscall.Signal) {
	if !p.ended {
		p.ended = true
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
		_ = p.cmd.Wait()
	}
}

// await returns once the process has written a line that contains ready.
func (p *process) await(ready string) {
	p.t.Helper()
	for said := ""; ; {
		if !p.lines.Scan() {
			p.t.Fatalf("%s: not %q: %v: %s", p.cmd, ready, p.lines.Err(), said)
		}
		if said += p.lines.Text() + "\n"; strings.Contains(p.lines.Text(), ready) {
			return
		}
	}
}

// avahi starts avahi on a host, and returns how to run commands beside it until they say that they are ready.
func (n *lan) avahi(host string) (run func(ready string, args ...string) *process) {
	n.t.Helper()
	daemon := n.start("ip", "netns", "exec", n.prefix+host, "unshare", "--mount", "--uts", "--propagation", "private",
		"sh", "testdata/host.sh", host, "testdata/dbus.conf")
	serves := sync.OnceFunc(func() { daemon.await("ready") })
	return func(ready string, args ...string) *process {
		n.t.Helper()
		serves()
		p := n.start("nsenter", append([]string{"-t", strconv.Itoa(daemon.cmd.Process.Pid), "-m", "-n", "-u"}, args...)...)
		p.await(ready)
		return p
	}
}

// sighting is what the querier on a host said, and when after its start.
type sighting struct {
	mfpgate.Sighting
	after time.Duration
}

// querier runs one on a host, as a user without rights: with the system's sockets and interfaces.
func (n *lan) querier(host string) <-chan sighting {
	n.t.Helper()
	ns, err := os.Open("/run/netns/" + n.prefix + host)
	if err != nil {
		n.t.Fatal(err)
	}
	sightings := make(chan sighting, 1000)
	began := time.Now()
	q, err := mdns.New(mdns.Options{Clock: mfpgate.SystemClock{}, Log: telemetry.Discard(),
		Sighted: func(x mfpgate.Sighting) { sightings <- sighting{x, time.Since(began)} }})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		// Of this thread alone, as the system call has it.
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			done <- errno
			return
		}
		done <- q.Run(ctx)
	}()
	n.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
		_ = ns.Close()
	})
	return sightings
}

// await collects sightings until each wanted one was there, and as wanted.
func (n *lan) await(from <-chan sighting, within time.Duration, want map[string]func(mfpgate.Sighting) bool) {
	n.t.Helper()
	end := time.After(2 * deadline) // an answer that a busy machine lost is asked for again after 63 s, and then after 127 s
	var had []string
	for len(want) > 0 {
		select {
		case x := <-from:
			had = append(had, fmt.Sprintf("\n%v %+v", x.after, x.Sighting))
			if ok := want[x.Name]; ok != nil && ok(x.Sighting) {
				delete(want, x.Name)
				if within > 0 && x.after > within {
					n.t.Errorf("%s after %v, want %v", x.Name, x.after, within)
				}
			}
		case <-end:
			n.t.Fatalf("still want %d sightings; had %s", len(want), had)
		}
	}
}

func has(ok func(netip.Addr) bool) func(mfpgate.Sighting) bool {
	return func(x mfpgate.Sighting) bool {
		return slices.ContainsFunc(x.Endpoints, func(e mfpgate.Endpoint) bool {
			return e.Address.Port() == 631 && e.Path == "ipp/print" && ok(e.Address.Addr())
		})
	}
}

// beforeFourth is before the fourth query, which comes after 7 s: what is found till then is found by the third.
const beforeFourth = 6 * time.Second

func TestBesideAvahi(t *testing.T) {
	n := newLAN(t)
	t.Parallel()
	n.host("gw", "10.77.0.1/24")
	n.host("h2", "10.77.0.2/24")
	n.host("h3") // IPv6 alone
	first := n.querier("gw")
	publish := func(name string) []string {
		return []string{"avahi-publish", "-s", name, "_ipp._tcp", "631", "rp=ipp/print", "ty=Rigworks Composite 100"}
	}
	h2, h3, gw := n.avahi("h2"), n.avahi("h3"), n.avahi("gw")
	publisher := h2("Established", publish("Copier 2F")...)
	gw("Established", publish("Beside us")...)
	h3("Established under name 'Copier 2F #2'", publish("Copier 2F")...) // renamed, as the name is taken
	gw("Copier", "avahi-browse", "-rp", "_ipp._tcp")                     // avahi hears, too

	want := func() map[string]func(mfpgate.Sighting) bool {
		return map[string]func(mfpgate.Sighting) bool{
			"Copier 2F":    has(func(a netip.Addr) bool { return a == netip.MustParseAddr("10.77.0.2") }),
			"Copier 2F #2": has(func(a netip.Addr) bool { return a.IsLinkLocalUnicast() && a.Zone() == "eth0" }),
			"Beside us":    has(func(a netip.Addr) bool { return a == netip.MustParseAddr("10.77.0.1") }),
		}
	}
	n.await(first, 0, want())    // it was there before avahi and its devices
	n.host("h4", "10.77.0.4/24") // nobody else has the port: the first question may be answered to it alone
	n.await(n.querier("h4"), beforeFourth, want())
	second := n.querier("gw")
	n.await(second, 0, want()) // and this one came after them; avahi may take what the first one states for its own, and be silent for a while
	began := time.Now()
	publisher.end(syscall.SIGTERM)
	for _, from := range []<-chan sighting{first, second} {
		for x := range from {
			if x.Gone {
				if want := "dns-sd:Copier 2F._ipp._tcp.local"; string(x.ID) != want {
					t.Errorf("%s is gone, want %s", x.ID, want)
				}
				break
			}
		}
	}
	if took := time.Since(began); took > 30*time.Second { // without the goodbye it is more than an hour
		t.Errorf("gone after %v", took)
	}
}
