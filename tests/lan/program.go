package lan

import (
	"bytes"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/tests/rig"
)

// program is one that runs on a host until it is stopped.
type program struct {
	name    string
	cmd     *exec.Cmd
	out     output
	done    chan struct{}
	stopped bool // the test has ended it
}

// start runs a program on the host and waits until its output has the text ready.
func (h *Host) start(t testing.TB, name, ready string, env []string, path string, args ...string) *program {
	t.Helper()
	p := &program{name: h.Name + ": " + name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = h.dir
	p.cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", "HOME=" + h.dir, "TMPDIR=" + h.dir}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	// No Pdeathsig: seen from its own process namespace the parent is nobody, which Go takes for a parent that died.
	if err := h.place.do(p.cmd.Start); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	go func() { // the host's cleanup waits for it
		_ = p.cmd.Wait()
		close(p.done)
	}()
	h.programs = append(h.programs, p)
	rig.Until(t, p.name+" is ready", func() bool {
		if p.ended() {
			p.stopped = true
			t.Fatalf("%s ended: %v\n%s", p.name, p.cmd.ProcessState, p.out.String())
		}
		return strings.Contains(p.out.String(), ready)
	})
	return p
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the program and waits for its end.
func (p *program) stop(t testing.TB, s syscall.Signal) {
	t.Helper()
	p.stopped = true
	_ = p.cmd.Process.Signal(s) // fails where it has ended
	rig.Wait(t, p.name+" has ended", p.done)
}

// verify fails the test if the program ended by itself, and shows what it said if the test has failed.
func (p *program) verify(t testing.TB) {
	if p.ended() && !p.stopped {
		t.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
	}
	if t.Failed() {
		text := p.out.String()
		t.Logf("%s said:\n%s", p.name, text[max(0, len(text)-4000):])
	}
}

// output collects what a program writes.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns all so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
