package regiontest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

var errDead = errors.New("the process is dead")

// revival is how long a process is down after it was killed.
const revival = 7 * time.Second

// process is killed and comes back with what its disk has.
type process struct {
	w     *world
	name  string
	disk  store.Store
	start func(*life) error // makes the parts of a life

	commits atomic.Int64 // passed: before and after each
	kill    int64        // at which it is killed; 0: never

	mu  sync.Mutex
	now *life
}

// life is a process between two kills.
type life struct {
	p      *process
	ctx    context.Context
	clock  mfpgate.Clock
	store  store.Store
	dead   atomic.Bool
	died   chan struct{}
	run    []func(context.Context) error
	region *regionParts
	relay  *relay
}

// alive is the present life, or nil while there is none.
func (p *process) alive() *life {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil || p.now.dead.Load() {
		return nil
	}
	return p.now
}

// live runs one life after the other until the world ends.
func (p *process) live() error {
	for p.w.ctx.Err() == nil {
		if err := p.once(); err != nil && p.w.ctx.Err() == nil {
			return err
		}
		if mfpgate.Wait(p.w.ctx, p.w.clock, revival) != nil {
			break
		}
	}
	return nil
}

func (p *process) once() error {
	ctx, cancel := context.WithCancel(p.w.ctx)
	defer cancel()
	l := &life{p: p, ctx: ctx, clock: skewed{p.w.clock, p.w.c.Skew[p.name]}, died: make(chan struct{})}
	l.store = mortal{p.disk, l}
	if err := p.start(l); err != nil {
		if l.dead.Load() {
			return nil
		}
		return err
	}
	p.mu.Lock()
	p.now = l
	p.mu.Unlock()
	var tasks sync.WaitGroup
	errs := make(chan error, len(l.run))
	for _, run := range l.run {
		tasks.Go(func() {
			if err := run(ctx); err != nil && !l.dead.Load() && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case <-l.died:
	case err = <-errs:
	}
	cancel()
	tasks.Wait()
	return err
}

// mortal is the store of a life.
type mortal struct {
	store.Store
	l *life
}

func (m mortal) pass() error {
	if m.l.dead.Load() {
		return errDead
	}
	if p := m.l.p; p.commits.Add(1) == p.kill && m.l.dead.CompareAndSwap(false, true) {
		close(m.l.died)
		return errDead
	}
	return nil
}

func (m mortal) View(ctx context.Context, fn func(store.Snapshot) error) error {
	if m.l.dead.Load() {
		return errDead
	}
	return m.Store.View(ctx, fn)
}

func (m mortal) Update(ctx context.Context, fn func(store.Tx) error) error {
	if err := m.pass(); err != nil {
		return err
	}
	if err := m.Store.Update(ctx, fn); err != nil {
		return err
	}
	return m.pass()
}

// skewed is a clock that is wrong by a constant.
type skewed struct {
	mfpgate.Clock
	by time.Duration
}

func (s skewed) Now() time.Time { return s.Clock.Now().Add(s.by) }
