package tunnel

import (
	"sync"

	"golang.org/x/sys/unix"
)

// pipe carries spliced bytes between two sockets.
type pipe struct{ r, w int }

// A pipe of 128 pages takes what a socket has ready in one call; 128 of them are all that an unprivileged user may have
// (fs.pipe-user-pages-soft, 16,384 pages), behind which new pipes shrink to two pages.
const (
	pipeBytes = 512 << 10
	maxPipes  = 120
	keptPipes = 16 // through a sweep, for the next burst
)

// PipeDescriptors is the most descriptors that the pool holds, for whoever shares out RLIMIT_NOFILE.
const PipeDescriptors = 2 * maxPipes

type pipes struct {
	mu   sync.Mutex
	free []*pipe
	made int
}

func newPipes() *pipes { return &pipes{} }

// get returns an empty pipe, or nil if all are in use or no descriptor is left: the caller copies then.
func (p *pipes) get() *pipe {
	p.mu.Lock()
	if n := len(p.free); n > 0 {
		got := p.free[n-1]
		p.free = p.free[:n-1]
		p.mu.Unlock()
		return got
	}
	if p.made == maxPipes {
		p.mu.Unlock()
		return nil
	}
	p.made++
	p.mu.Unlock()

	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		p.mu.Lock()
		p.made--
		p.mu.Unlock()
		return nil
	}
	// A refusal leaves the default of 16 pages, which works too.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeBytes)
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes a pipe back; one that still holds bytes is closed.
func (p *pipes) put(q *pipe, drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if drained {
		p.free = append(p.free, q)
		return
	}
	p.made--
	q.close()
}

// trim closes all free pipes but the first keep.
func (p *pipes) trim(keep int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.free); n > keep; n-- {
		p.free[n-1].close()
		p.free = p.free[:n-1]
		p.made--
	}
}

func (q *pipe) close() {
	_ = unix.Close(q.r)
	_ = unix.Close(q.w)
}
