package main

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mfpgate/mfpgate/scheduler/load"
	"github.com/mfpgate/mfpgate/scheduler/load/loadtest"
	"github.com/mfpgate/mfpgate/scheduler/repair"
	"github.com/mfpgate/mfpgate/scheduler/repair/repairtest"
)

// Sizes of what is measured.
const (
	occurrences = 1_000_000
	deliveries  = 100_000
	loose       = 0.3 // of the nights' room: everything finds a place
	// freshSeeds are other ones in each run; fixedSeeds are 1 and on.
	fixedSeeds, freshSeeds = 100, 10
	// Both solvers may take as long; ours counts work, of which a unit is about a nanosecond.
	cbcBudget = 8 * time.Second
)

// unitName is the peer of all times: what sort.Slice takes for the two million events of a million occurrences.
const unitName = "sort.Slice of 2M events"

// schedule measures how overloads are found and repaired, on one core, and how good the repairs are beside a MIP solver's.
func schedule(ctx context.Context, b *bench) ([]*series, error) {
	timed, err := scheduleTimes(ctx, b)
	if err != nil {
		return nil, err
	}
	good, err := scheduleQuality(ctx, b)
	return append(timed, good...), err
}

// onOneCore returns the CPU seconds that do takes, its garbage's collection included.
func onOneCore(do func()) float64 {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	runtime.GC()
	begun := processCPU()
	do()
	return (processCPU() - begun).Seconds()
}

func processCPU() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func scheduleTimes(ctx context.Context, b *bench) ([]*series, error) {
	detect := &series{name: "expand_detect_1m", unit: "CPU s", targets: []target{{peer: unitName, bound: 0.45}}}
	exact := &series{name: "repair_slots_100k", unit: "CPU s", targets: []target{{peer: unitName, bound: 0.6}}}
	general := &series{name: "repair_any_100k", unit: "CPU s", targets: []target{{peer: unitName, bound: 3}}}
	proved := &series{name: "repair_slots_100k_proved", unit: "1", targets: []target{{bound: 1, least: true}}}
	unresolved := &series{name: "repair_any_100k_unresolved", unit: "1", targets: []target{{bound: 0}}}
	moved := &series{name: "repair_any_100k_moved", unit: "1", targets: []target{{peer: "bound", bound: 1.1}}}
	displaced := &series{name: "repair_any_100k_displacement", unit: "slots", targets: []target{{peer: "bound", bound: 1.1}}}
	fleet := loadtest.New(1, occurrences)
	slots, anyLength := repairtest.Week(1, deliveries, 0.5), repairtest.Fleet(1, deliveries, loose)
	for round := range b.rounds {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		b.progress(round, b.rounds, "schedule")
		var p load.Problem
		var err error
		detect.put(round, ours, onOneCore(func() {
			p = fleet.Expand()
			_, err = load.Detect(p)
		}))
		if err != nil {
			return nil, err
		}
		unit := onOneCore(func() { sortEvents(p) }) * occurrences / float64(len(p.Occurrences))
		var r repair.Result
		exact.put(round, ours, onOneCore(func() { r = repair.Solve(slots) }))
		if err := repair.Feasible(slots, r); err != nil {
			return nil, err
		}
		proved.put(round, ours, toFigure(r.Optimal))
		general.put(round, ours, onOneCore(func() { r = repair.Solve(anyLength) }))
		if err := repair.Feasible(anyLength, r); err != nil {
			return nil, err
		}
		unresolved.put(round, ours, float64(len(r.Unresolved)))
		moved.put(round, ours, float64(r.Moved))
		moved.put(round, "bound", float64(r.Bound.Moved))
		displaced.put(round, ours, float64(r.Displacement/anyLength.Slot))
		displaced.put(round, "bound", float64(r.Bound.Displacement/anyLength.Slot))
		for _, s := range []*series{detect, exact, general} {
			s.put(round, unitName, unit)
		}
	}
	all := []*series{detect, exact, proved, general, unresolved, moved, displaced}
	for n := 1000; n <= occurrences; n *= 10 {
		all = append(all, growth(n)...)
	}
	return all, nil
}

// growth is what one occurrence, or one delivery, costs where there are n.
func growth(n int) []*series {
	per := func(name string, n int, do func()) *series {
		s := &series{name: fmt.Sprintf("%s_%d", name, n), unit: "CPU ns each"}
		again := max(1, 100_000/n)
		s.put(0, ours, 1e9*onOneCore(func() {
			for range again {
				do()
			}
		})/float64(n*again))
		return s
	}
	fleet := loadtest.New(1, n)
	slots, anyLength := repairtest.Week(1, n, 0.5), repairtest.Fleet(1, n, loose)
	return []*series{
		per("expand_detect", n, func() { _, _ = load.Detect(fleet.Expand()) }),
		per("repair_slots", n, func() { repair.Solve(slots) }),
		per("repair_any", n, func() { repair.Solve(anyLength) }),
	}
}

// sortEvents is how a program without further thought would begin: all starts and ends in order.
func sortEvents(p load.Problem) {
	type event struct {
		at    int64
		delta int32
	}
	events := make([]event, 0, 2*len(p.Occurrences))
	for _, o := range p.Occurrences {
		events = append(events, event{o.Start, 1}, event{o.Start + int64(o.Duration), -1})
	}
	sort.Slice(events, func(i, j int) bool { return events[i].at < events[j].at })
}

func toFigure(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// verdict is how one of our answers compares with the MIP solver's.
type verdict struct {
	seed   uint64
	proved bool // by the solver, every aim
	order  int  // ours compared with the solver's: -1 is better
	text   string
	err    error
}

// scheduleQuality compares small repairs with those of a MIP solver, two at once.
func scheduleQuality(ctx context.Context, b *bench) ([]*series, error) {
	equal := &series{name: "repair_small_equals_proved", unit: "share", targets: []target{{bound: 1, least: true}}}
	worse := &series{name: "repair_small_worse_than_cbc", unit: "problems", targets: []target{{bound: 0}}}
	better := &series{name: "repair_small_better_than_cbc", unit: "problems"}
	all := []*series{equal, worse, better}
	path, err := exec.LookPath("cbc")
	if err != nil {
		b.notes = append(b.notes, "cbc is not installed (package coinor-cbc): how good small repairs are was not measured")
		return all, nil
	}
	now := uint64(b.clock.Now().UnixNano())
	var seeds []uint64
	for i := range uint64(fixedSeeds) {
		seeds = append(seeds, 1+i)
	}
	for i := range uint64(freshSeeds) {
		seeds = append(seeds, now+i)
	}
	answers := make(chan verdict)
	work := make(chan uint64)
	for range 2 { // they end with work
		go func() {
			for seed := range work {
				answers <- judge(ctx, path, seed)
			}
		}()
	}
	go func() { // ends when each seed is taken, which judge's budget sees to
		defer close(work)
		for _, s := range seeds {
			work <- s
		}
	}()
	var list []verdict
	for i := range seeds {
		if i%10 == 0 {
			b.progress(i/10, len(seeds)/10, "beside cbc")
		}
		list = append(list, <-answers)
	}
	slices.SortFunc(list, func(a, b verdict) int { return cmp.Compare(a.seed, b.seed) })
	proved, same, lost, won := 0, 0, 0, 0
	for _, v := range list {
		if v.err != nil {
			return nil, v.err
		}
		if v.proved {
			proved++
		}
		switch {
		case v.order > 0:
			lost++
			b.notes = append(b.notes, fmt.Sprintf("worse than cbc: seed %d: %s", v.seed, v.text))
		case v.order < 0:
			won++
		}
		if v.proved && v.order == 0 {
			same++
		}
	}
	b.notes = append(b.notes, fmt.Sprintf("cbc: %d problems of 50 to 300 deliveries, fresh seeds from %d; it proved %d within %v each",
		len(list), now, proved, cbcBudget))
	equal.put(0, ours, float64(same)/float64(max(1, proved)))
	worse.put(0, ours, float64(lost))
	better.put(0, ours, float64(won))
	return all, nil
}

func judge(ctx context.Context, cbc string, seed uint64) verdict {
	v := verdict{seed: seed}
	us, them, proved, err := repairtest.Compare(ctx, repair.Solve, cbc, seed, int(cbcBudget.Seconds()))
	v.proved, v.err = proved, err
	switch {
	case us.Less(them):
		v.order = -1
	case them.Less(us):
		v.order = 1
	}
	v.text = fmt.Sprintf("ours %+v, cbc's %+v (proved: %t)", us, them, proved)
	return v
}
