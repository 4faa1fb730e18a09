package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate"
)

// nobody is the user of whatever serves without privilege, as a service does.
const nobody = 65534

// peer is one relay as its own process.
type peer struct {
	name    string
	address string // host:port that clients connect to
	plain   bool   // relays to one origin without CONNECT
	metrics string // host:port of /metrics; ours only
	debug   string // host:port of /free; programs of this bench only
	state   string // its state directory; ours only

	cmd *exec.Cmd
	log string
}

// program says how a peer is started.
type program struct {
	path   string
	args   []string
	env    []string // beside this process's own
	asRoot bool     // keep this process's user
}

// start runs a peer until stop and waits until it listens.
func (b *bench) start(ctx context.Context, p *peer, how program) error {
	p.cmd = exec.CommandContext(ctx, how.path, how.args...)
	p.cmd.Dir = b.dir
	p.cmd.Env = append(os.Environ(), how.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 && !how.asRoot {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	p.log = filepath.Join(b.dir, p.name+".log")
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	for began := b.clock.Now(); ; {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		if b.clock.Now().Sub(began) > 30*time.Second {
			p.stop()
			return fmt.Errorf("%s does not listen: %w\n%s", p.name, err, p.tail())
		}
		if err := mfpgate.Wait(ctx, b.clock, 20*time.Millisecond); err != nil {
			p.stop()
			return err
		}
	}
}

// stop kills the peer: nothing that it would still do is measured.
func (p *peer) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// tail is the end of what the peer has said.
func (p *peer) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-2000):])
}

func (p *peer) proc(file string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), file)
}

// cpu is what all threads of the peer have used so far, the ended ones too, in user and system mode.
func (p *peer) cpu() (time.Duration, error) {
	// The clock of another process's CPU time (clock_getcpuclockid(3)) counts nanoseconds, where /proc counts 10 ms.
	const scheduler = 2
	clock := int32(^uint32(p.cmd.Process.Pid)<<3 | scheduler)
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("%s has died: %w\n%s", p.name, err, p.tail())
	}
	return time.Duration(t.Nano()), nil
}

// rss is the peer's resident memory in KiB; the kernel's memory for its sockets is not in it.
func (p *peer) rss() (float64, error) { return p.kib("smaps_rollup", "Rss:") }

// peak is the most that rss was since forgetPeak.
func (p *peer) peak() (float64, error) { return p.kib("status", "VmHWM:") }

func (p *peer) forgetPeak() error { return os.WriteFile(p.proc("clear_refs"), []byte("5"), 0) }

// kib is what a file of /proc says after a word.
func (p *peer) kib(file, word string) (float64, error) {
	text, err := os.ReadFile(p.proc(file))
	if err != nil {
		return 0, fmt.Errorf("%s has died: %w\n%s", p.name, err, p.tail())
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
		}
	}
	return 0, fmt.Errorf("%s: %s has no %s", p.name, file, word)
}

// descriptors is how many the peer has open.
func (p *peer) descriptors() (int, error) {
	list, err := os.ReadDir(p.proc("fd"))
	return len(list), err
}

// freeAddress is a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// tick is the unit of CPU time in /proc (USER_HZ), the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// load tells how busy the machine was beside this run.
type pressure struct {
	ticks int64
	own   time.Duration
}

func startPressure() (pressure, error) {
	busy, err := busyTicks()
	return pressure{busy, ownCPU()}, err
}

// busyTicks is the CPU time of everything since boot: the first line of /proc/stat without idle and iowait.
func busyTicks() (int64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	var busy int64
	for i, f := range strings.Fields(first)[1:] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		if i != 3 && i != 4 && i < 8 { // guest time is in user time already
			busy += n
		}
	}
	return busy, nil
}

// ownCPU is what this process and its ended children have used.
func ownCPU() time.Duration {
	var sum int64
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return time.Duration(sum)
}

func (l pressure) String() string {
	busy, err := busyTicks()
	if err != nil {
		return ""
	}
	all := time.Duration(busy-l.ticks) * tick
	own := ownCPU() - l.own
	average, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("load: this run used %.0f CPU-s, everything else on the machine %.0f CPU-s; load average %s",
		own.Seconds(), (all - own).Seconds(), bytes.TrimSpace(average))
}
