package tunnel

import (
	"sync"

	"golang.org/x/sys/unix"
)

// pipe carries spliced bytes between two sockets.
type pipe struct {
	r, w  int
	large bool
}

// The larger the pipe, the fewer the calls: 1 MiB takes what a fast socket has ready. An unprivileged user may have
// 16,384 pages in all (fs.pipe-user-pages-soft), behind which new pipes shrink to two pages; so only the first pipes are
// large, and together they stay below: 28 x 256 + 70 x 128 pages = 16,128.
const (
	largePipes = 28
	largeBytes = 1 << 20
	maxPipes   = 98
	smallBytes = 512 << 10
	keptPipes  = 16 // of each size through a sweep, for the next burst
)

// PipeDescriptors is the most descriptors that the pool holds, for whoever shares out RLIMIT_NOFILE.
const PipeDescriptors = 2 * maxPipes

type pipes struct {
	mu          sync.Mutex
	large, free []*pipe // not in use; of both sizes
	made        int
	madeLarge   int // of them
}

func newPipes() *pipes { return &pipes{} }

// get returns an empty pipe, or nil if all are in use or no descriptor is left: the caller copies then.
func (p *pipes) get() *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := pop(&p.large); q != nil {
		return q
	}
	large := p.madeLarge < largePipes
	if !large {
		if q := pop(&p.free); q != nil {
			return q
		}
	}
	if p.made == maxPipes {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil
	}
	size := smallBytes
	if p.made++; large {
		p.madeLarge++
		size = largeBytes
	}
	// A refusal leaves the default of 16 pages, which works too.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, size)
	return &pipe{r: fds[0], w: fds[1], large: large}
}

func pop(list *[]*pipe) *pipe {
	n := len(*list)
	if n == 0 {
		return nil
	}
	q := (*list)[n-1]
	*list = (*list)[:n-1]
	return q
}

// put takes a pipe back; one that still holds bytes is closed.
func (p *pipes) put(q *pipe, drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !drained:
		p.close(q)
	case q.large:
		p.large = append(p.large, q)
	default:
		p.free = append(p.free, q)
	}
}

// trim closes all free pipes but the first keep of each size.
func (p *pipes) trim(keep int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.free) > keep {
		p.close(pop(&p.free))
	}
	for len(p.large) > keep {
		p.close(pop(&p.large))
	}
}

func (p *pipes) close(q *pipe) {
	if p.made--; q.large {
		p.madeLarge--
	}
	_ = unix.Close(q.r)
	_ = unix.Close(q.w)
}
