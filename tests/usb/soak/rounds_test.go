package soak_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/need"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

// variable is a number of the environment, by which a round is played again.
func variable(t *testing.T, name string) (n uint64, given bool) {
	text := os.Getenv(name)
	if text == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n, true
}

// table plays rounds at one site, one after the other.
type table struct {
	s *site
	p *plugged // nil: none is in
	d door
	l model.Layout
}

// lay sees to it that a printer for a door is in and driven.
func (x *table) lay(d door, l model.Layout) {
	if x.p != nil && x.d == d && x.l == l {
		return
	}
	if x.p != nil {
		x.p.pull()
	}
	x.p, x.d, x.l = x.s.plug(d.printer(l), "1-2"), d, l
	x.s.driven(x.p, d.mode())
	x.s.rests()
}

// rests waits until nothing moves for a moment.
func (s *site) rests() {
	s.t.Helper()
	last, since := s.moved(), time.Now()
	s.await("it rests", func() bool {
		if now := s.moved(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Millisecond
	})
}

// play plays a round and has the printer work again, plugged back where it was unplugged.
func (x *table) play(t *testing.T, r *round) (happened bool) {
	t.Helper()
	r.s, r.t = x.s, t
	x.lay(r.door, r.layout)
	happened = r.play(x.p)
	out := false
	select {
	case <-x.p.Out():
		out = true
	default:
	}
	if out || x.p.faults() > 0 || r.spoilt() {
		if r.rng.IntN(2) == 0 { // plugged back at once, or after the gateway has seen that it left
			x.p.pull()
			x.s.await("the gateway sees that it left", func() bool { return len(x.s.printers.List()) == 0 })
		}
		x.p.pull()
		before := x.p
		x.p = x.s.plug(x.d.printer(x.l), "1-2")
		x.s.driven(x.p, x.d.mode())
		x.s.await("nothing is left of the plug before", func() bool { return before.Opened() == 0 && before.Claimed() == 0 })
		if n := before.copies(x.d, r.doc) + x.p.copies(x.d, r.doc); n > 1 {
			t.Errorf("%s: printed %d times", r.name(), n)
		}
	}
	x.s.driven(x.p, x.d.mode())
	x.s.prints(x.p, x.d, newPaper(noise(r.rng, 30_000)))
	if n := x.p.copies(x.d, r.doc); x.d.mode() != "raw" && n > 1 {
		t.Errorf("%s: printed %d times", r.name(), n)
	}
	x.s.driven(x.p, x.d.mode())
	x.s.rests()
	return happened
}

// spoilt reports whether the fault changed the printer for good.
func (r *round) spoilt() bool {
	return slices.Contains([]string{"short reads", "silent", "gives the job up", "unplug while it prints"}, r.fault.name)
}

// TestEachFault plays each fault once through each door, at each place where it may matter, on printers of one interface.
func TestEachFault(t *testing.T) {
	s := newSite(t)
	x := &table{s: s}
	size := 150_000
	for _, d := range doors() {
		t.Run(string(d), func(t *testing.T) {
			x.s.t = t
			defer func() { x.s.t = s.t }()
			for i, f := range faults() {
				if !slices.Contains(f.on, d) {
					continue
				}
				rng := rand.New(rand.NewPCG(7, uint64(i)))
				r := &round{rng: rng, door: d, layout: d.layouts()[0], fault: f, doc: newPaper(noise(rng, size))}
				if f.pos != nil {
					r.pos = f.pos(int64(size))
				}
				begun := time.Now()
				happened := x.play(t, r)
				t.Logf("%s: %v, %s %v, %v", r.name(), time.Since(begun).Round(time.Millisecond), r.job.status.State, r.job.status.Reasons, r.job.err)
				if !happened {
					t.Errorf("%s: it did not happen", r.name())
				}
			}
		})
	}
	x.s.t = t
	s.without()
}

// rounds is how many rounds of chance there are.
func rounds() uint64 {
	if need.Long {
		return 1000
	}
	return 200
}

// TestRounds plays rounds of chance: door, printer, fault, its place, and the document's size.
func TestRounds(t *testing.T) {
	s := newSite(t)
	x := &table{s: s}
	seed, given := variable(t, "SOAK_SEED")
	if !given {
		seed = 1
	}
	only, one := variable(t, "SOAK_ROUND")
	all, happened := faults(), map[bool]int{}
	for n := range rounds() {
		if one && n != only {
			continue
		}
		rng := rand.New(rand.NewPCG(seed, n))
		f := all[rng.IntN(len(all))]
		d := f.on[rng.IntN(len(f.on))]
		layouts := d.layouts()
		r := &round{rng: rng, door: d, layout: layouts[rng.IntN(len(layouts))], fault: f, doc: newPaper(noise(rng, 1+rng.IntN(400_000)))}
		if f.pos != nil {
			r.pos = f.pos(r.doc.size())
			if r.pos > 1000 {
				r.pos = rng.Int64N(r.doc.size())
			}
		}
		t.Run(fmt.Sprintf("SOAK_SEED=%d SOAK_ROUND=%d", seed, n), func(t *testing.T) {
			s.t = t
			happened[x.play(t, r)]++
		})
		s.t = t
		if t.Failed() {
			return
		}
	}
	t.Logf("in %d rounds the fault happened, in %d it had no occasion", happened[true], happened[false])
	s.without()
}
