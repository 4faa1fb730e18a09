package systemd_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/proxy/tunnel"
)

func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

func TestReadinessReloadAndStopAreNotified(t *testing.T) {
	m, dir := newManager(t), t.TempDir()
	_, one := listen(t)
	_, two := listen(t)
	first := policy(dir, one, "  timeouts: {drain: 7s}\n")
	g := start(t, first, []string{"NOTIFY_SOCKET=" + m.path})
	m.want(t, "READY", "1")
	relay := g.relay()
	if got := ask(t, relay, one); got != 200 {
		t.Fatalf("after READY=1 an allowed destination: got %d, want 200", got)
	}

	reload := func(text string) {
		t.Helper()
		g.write(text)
		before := monotonic(t)
		g.signal(syscall.SIGHUP)
		message := m.want(t, "RELOADING", "1")
		if at, err := strconv.ParseInt(message["MONOTONIC_USEC"], 10, 64); err != nil || at < before || at > monotonic(t) {
			t.Errorf("MONOTONIC_USEC=%q (%v), want a time since the signal, %d", message["MONOTONIC_USEC"], err, before)
		}
		m.want(t, "READY", "1")
	}
	reload(policy(dir, two, "  timeouts: {drain: 7s}\n"))
	if a, b := ask(t, relay, one), ask(t, relay, two); a != 403 || b != 200 {
		t.Errorf("after a good reload: the old destination got %d, the new one %d, want 403 and 200", a, b)
	}
	reload(policy(dir, one, "nonsense: 1\n"))
	if said := g.event("config.refused")["error"].(string); !strings.Contains(said, "nonsense") {
		t.Errorf("the refused reload says %q, want the key named", said)
	}
	if a, b := ask(t, relay, one), ask(t, relay, two); a != 403 || b != 200 {
		t.Errorf("after a refused reload: got %d and %d, want what was in force, 403 and 200", a, b)
	}

	g.signal(syscall.SIGTERM)
	message := m.want(t, "STOPPING", "1")
	usec, err := strconv.ParseInt(message["EXTEND_TIMEOUT_USEC"], 10, 64)
	if more := time.Duration(usec) * time.Microsecond; err != nil || more <= 7*time.Second {
		t.Errorf("EXTEND_TIMEOUT_USEC=%q, want more than the drain's 7 s", message["EXTEND_TIMEOUT_USEC"])
	}
	if code := g.end(); code != 0 {
		t.Errorf("exit after SIGTERM: got %d, want 0; stderr: %s", code, &g.stderr)
	}
	if message, ok := m.next(t, time.Millisecond); ok {
		t.Errorf("after STOPPING=1 came %v", message)
	}
}

func TestNothingIsNotifiedBeforeTheRelayListens(t *testing.T) {
	m := newManager(t)
	taken, port := listen(t)
	text := strings.Replace(policy(t.TempDir(), port, ""), "127.0.0.1:0", taken.Addr().String(), 1)
	g := start(t, text, []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=1000000"})
	if code := g.end(); code != 1 || !strings.Contains(g.stderr.String(), "relay.listen") {
		t.Errorf("with its port taken: exit %d, stderr %q, want 1 and relay.listen named", code, &g.stderr)
	}
	if message, ok := m.next(t, time.Millisecond); ok {
		t.Errorf("a relay that does not listen notified %v", message)
	}
}

// The test shares the relay's listening socket. A socket filter that drops everything makes the relay silent for new
// clients, as a broken network stack or a hung accept loop would, and leaves the process as healthy as it was.
func TestTheWatchdogIsFedOnlyWhileTheRelayAnswers(t *testing.T) {
	m := newManager(t)
	shared, port := listen(t)
	file, err := shared.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const watchdog = 2 * time.Second
	g := start(t, policy(t.TempDir(), port, "metrics: {listen: \"127.0.0.1:0\"}\n"),
		[]string{"NOTIFY_SOCKET=" + m.path, fmt.Sprintf("WATCHDOG_USEC=%d", watchdog.Microseconds()), "LISTEN_FDS=1", "LISTEN_FDNAMES=relay"}, file)
	m.want(t, "READY", "1")
	for range 2 {
		if message, ok := m.next(t, watchdog); !ok || message["WATCHDOG"] != "1" {
			t.Fatalf("while the relay answers: got %v, want WATCHDOG=1 within WatchdogSec", message)
		}
	}

	fd := int(file.Fd())
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}); err != nil {
		t.Fatal(err)
	}
	g.event("daemon.degraded") // the first probe that was lost
	for ok := true; ok; {      // what was sent before it
		_, ok = m.next(t, time.Millisecond)
	}
	g.event("daemon.degraded")
	g.event("daemon.degraded")
	if message, ok := m.next(t, time.Millisecond); ok {
		t.Errorf("two probes of a silent relay later: got %v, want nothing", message)
	}

	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
		t.Fatal(err)
	}
	m.want(t, "WATCHDOG", "1")
}

// A relay that is full serves, and a restart would cut all that it serves.
func TestTheWatchdogTakesARefusalForAnAnswer(t *testing.T) {
	m := newManager(t)
	_, port := listen(t)
	connections := 2
	env := []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=1000000",
		fmt.Sprintf("DESCRIPTORS=%d", 128+tunnel.PipeDescriptors+2*connections)}
	g := start(t, policy(t.TempDir(), port, ""), env)
	m.want(t, "READY", "1")
	relay := g.relay()
	for range connections {
		conn, err := net.Dial("tcp", relay)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if got := g.event("relay.refused")["reason"]; got != "descriptors" {
		t.Fatalf("a probe of a full relay: refused for %v, want descriptors", got)
	}
	for { // what was sent before it
		if _, ok := m.next(t, time.Millisecond); !ok {
			break
		}
	}
	m.want(t, "WATCHDOG", "1")
}

func TestTheWatchdogOfAnotherProcessIsNotFed(t *testing.T) {
	m := newManager(t)
	_, port := listen(t)
	g := start(t, policy(t.TempDir(), port, ""), []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=40000", "WATCHDOG_PID=1"})
	m.want(t, "READY", "1")
	ask(t, g.relay(), port)
	g.signal(syscall.SIGTERM)
	m.want(t, "STOPPING", "1")
}
