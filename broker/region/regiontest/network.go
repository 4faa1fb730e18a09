package regiontest

import (
	"cmp"
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// errUnreached is what a caller hears of a message that was lost, or whose answer was.
var errUnreached = errors.New("not reached")

// Faults say how bad the network is, each as a share of the messages.
type Faults struct {
	Lost    float64       // never arrive
	Unheard float64       // arrive, and their answer does not
	Twice   float64       // arrive once more within seconds
	Late    float64       // arrive once more within LateBy
	LateBy  time.Duration // 0 is 10 minutes
	// Strays are messages of which is known what becomes of them, by what they are ("jp to us orders unlink").
	Strays map[string]Stray
}

// Stray is what becomes of each message of a kind.
type Stray struct {
	Lost  bool          // what comes at once is lost
	Again time.Duration // it comes (again) so much later
}

// lateBy is how much later than it was sent a message comes at most.
func (f Faults) lateBy() time.Duration { return cmp.Or(f.LateBy, 10*time.Minute) }

// longest is for how long something may be on its way.
func (f Faults) longest() (d time.Duration) {
	if f.Late > 0 {
		d = f.lateBy()
	}
	for _, s := range f.Strays {
		d = max(d, s.Again)
	}
	return d
}

// Bad is a network on which moves still end.
var Bad = Faults{Lost: 0.08, Unheard: 0.12, Twice: 0.15, Late: 0.25}

// network carries messages. What becomes of the nth message of a link depends on the seed, the link and n alone.
type network struct {
	seed   uint64
	faults Faults
	tasks  sync.WaitGroup // copies that are on their way, and effects whose callers have gone

	mu    sync.Mutex
	count map[string]uint64
}

type fate struct {
	there, back   time.Duration
	lost, unheard bool
	again         []time.Duration
}

func (n *network) fate(link string, once bool) (f fate) {
	n.mu.Lock()
	n.count[link]++
	h := fnv.New64a()
	_, _ = h.Write([]byte(link))
	r := rand.New(rand.NewPCG(n.seed, h.Sum64()+n.count[link]))
	n.mu.Unlock()
	f.there, f.back = time.Duration(1+r.IntN(400))*time.Millisecond, time.Duration(1+r.IntN(400))*time.Millisecond
	f.lost, f.unheard = r.Float64() < n.faults.Lost, r.Float64() < n.faults.Unheard
	twice, late := r.Float64() < n.faults.Twice, r.Float64() < n.faults.Late
	if twice && !once {
		f.again = append(f.again, time.Duration(r.IntN(3000))*time.Millisecond)
	}
	if late && !once {
		f.again = append(f.again, time.Duration(r.Int64N(int64(n.faults.lateBy()))))
	}
	if stray, there := n.faults.Strays[link]; there {
		f.lost, f.again = f.lost || stray.Lost, append(f.again, stray.Again)
	}
	return f
}

// once tells whether messages come once at most, as on one connection: those of a device, and of an administrator.
func once(from, what string) bool {
	return from == deviceName || slices.Contains([]string{"plan", "start", "abort", "retry", "confirm-lost"}, what)
}

// call has the present life of a process do something for a caller elsewhere.
func call[A any](ctx context.Context, w *world, from string, to *process, what string, do func(context.Context, *life) (A, error)) (none A, err error) {
	f := w.net.fate(from+" to "+to.name+" "+what, once(from, what))
	arrive := func() (none A, err error) {
		l := to.alive()
		if l == nil {
			return none, errUnreached
		}
		ctx, cancel := context.WithTimeout(l.ctx, time.Minute)
		defer cancel()
		a, err := do(ctx, l)
		if l.dead.Load() {
			return none, errUnreached
		}
		return a, err
	}
	for _, after := range f.again {
		w.net.tasks.Go(func() {
			if mfpgate.Wait(w.ctx, w.clock, after) == nil {
				_, _ = arrive() // nobody listens
			}
		})
	}
	if err := mfpgate.Wait(ctx, w.clock, f.there); err != nil {
		return none, err
	}
	if f.lost {
		if err := mfpgate.Wait(ctx, w.clock, 5*time.Second); err != nil {
			return none, err
		}
		return none, errUnreached
	}
	type answer struct {
		a   A
		err error
	}
	answers := make(chan answer, 1)
	w.net.tasks.Go(func() { // the effect happens whether the caller waits or not
		a, err := arrive()
		answers <- answer{a, err}
	})
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case got := <-answers:
		if f.unheard {
			return none, errUnreached
		}
		if err := mfpgate.Wait(ctx, w.clock, f.back); err != nil {
			return none, err
		}
		return got.a, got.err
	}
}
