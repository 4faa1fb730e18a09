package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
)

// How much each measurement of a round takes.
const (
	bulkTunnels = 64
	bulkWarmUp  = 300 * time.Millisecond
	bulkWindow  = time.Second
	bulkPasses  = 3    // windows of each peer in a round, by turns, for the machine's mood changes in seconds
	beside      = 2500 // idle tunnels that ours holds while it moves bulk
	idle        = 9500 // two descriptors each, within a limit of 20,000
	idleGoproxy = 3000 // six descriptors each
	idleRounds  = 3    // resident memory repeats to 2 %
	setUpWarmUp = 500
	setUps      = 2000 // of each peer in a pass
	setUpPasses = 4
	settle      = 300 * time.Millisecond // for what a closed connection leaves to do
)

const gb = 1e9

// relay measures what a tunnel costs: the CPU of its bytes, the memory of its silence and the CPU of its set-up.
func relay(ctx context.Context, b *bench) ([]*series, error) {
	if os.Geteuid() != 0 {
		b.notes = append(b.notes, "note: not root, so the splice relay is bounded in its pipes (fs.pipe-user-pages-soft) as ours is; run as root to compare with the kernel's limit")
	}
	if err := b.build(ctx, "cmd/mfpgate", "tests/bench/splicerelay", "tests/bench/goproxyhost", "tests/bench/relayhost"); err != nil {
		return nil, err
	}
	o, err := startOrigin()
	if err != nil {
		return nil, err
	}
	defer o.close()
	var all []*series
	for _, measure := range []func(context.Context, *bench, *origin) ([]*series, error){bulk, memory, setUpCost} {
		some, err := measure(ctx, b, o)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// starter starts a peer.
type starter struct {
	name  string
	start func(context.Context, *origin) (*peer, error)
}

// startAll starts the peers that this machine has.
func (b *bench) startAll(ctx context.Context, o *origin, from []starter) (started []*peer, stop func(), err error) {
	stop = func() {
		for _, p := range started {
			p.stop()
		}
	}
	for _, s := range from {
		p, err := s.start(ctx, o)
		if err != nil && s.name != ours {
			b.missing(s.name, err)
			continue
		}
		if err != nil {
			stop()
			return nil, nil, err
		}
		p.name = s.name
		started = append(started, p)
	}
	return started, stop, nil
}

func (b *bench) missing(name string, err error) {
	b.notes = append(b.notes, fmt.Sprintf("note: %s is not measured: %v", name, err))
}

func (b *bench) progress(round, of int, what string) {
	average, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(b.out, "%s round %d of %d, load average %.4s\n", what, round+1, of, average)
}

// turns returns the peers of a round: each begins once.
func turns[T any](all []T, round int) []T {
	n := round % len(all)
	return append(append([]T{}, all[n:]...), all[:n]...)
}

func bulk(ctx context.Context, b *bench, o *origin) ([]*series, error) {
	peers, stop, err := b.startAll(ctx, o, []starter{
		{ours, func(ctx context.Context, o *origin) (*peer, error) { return b.daemon(ctx, ours, "mfpgate", o) }},
		{"splicerelay", b.spliceRelay}, {"squid", b.squid}, {"haproxy", b.haproxy},
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	still, err := b.openMany(ctx, peers[0], o, beside, echo)
	if err != nil {
		return nil, err
	}
	defer still.close()
	download := &series{name: "cpu_per_gb_64", unit: "CPU-s/GB",
		targets: []target{{peer: "splicerelay", bound: 1.1}, {peer: "squid", bound: 0.3}, {peer: "haproxy", bound: 0.3}}}
	speed := &series{name: "bytes_per_second_64", unit: "GB/s"}
	upload := &series{name: "cpu_per_gb_64_up", unit: "CPU-s/GB"}
	share := &series{name: "spliced_share_64", unit: "%", targets: []target{{bound: 99, least: true}}}
	for round := range b.rounds {
		b.progress(round, b.rounds, "bulk")
		before, splicedBefore, err := b.relayed(ctx, peers[0])
		if err != nil {
			return nil, err
		}
		downs, err := b.passes(ctx, peers, round, bulkPasses, func(p *peer) (figure, error) { return b.move(ctx, p, o, down) })
		if err != nil {
			return nil, err
		}
		after, splicedAfter, err := b.relayed(ctx, peers[0])
		if err != nil {
			return nil, err
		}
		share.put(round, ours, 100*(splicedAfter-splicedBefore)/(after-before))
		ups, err := b.passes(ctx, peers, round, 1, func(p *peer) (figure, error) { return b.move(ctx, p, o, up) })
		if err != nil {
			return nil, err
		}
		for _, p := range peers {
			download.put(round, p.name, downs[p].cost()*gb)
			speed.put(round, p.name, downs[p].rate()/gb)
			upload.put(round, p.name, ups[p].cost()*gb)
		}
	}
	return []*series{download, speed, upload, share}, nil
}

// figure is what one window came to, or several.
type figure struct {
	cpu  time.Duration
	done float64 // bytes or set-ups
	took time.Duration
}

func (f figure) cost() float64 { return f.cpu.Seconds() / f.done }
func (f figure) rate() float64 { return f.done / f.took.Seconds() }

// passes measures the peers by turns, several times each, and adds up.
func (b *bench) passes(ctx context.Context, peers []*peer, round, passes int, measure func(*peer) (figure, error)) (map[*peer]figure, error) {
	sum := map[*peer]figure{}
	for pass := range passes {
		for _, p := range turns(peers, round+pass) {
			f, err := measure(p)
			if err != nil {
				return nil, err
			}
			so := sum[p]
			sum[p] = figure{so.cpu + f.cpu, so.done + f.done, so.took + f.took}
		}
	}
	return sum, ctx.Err()
}

// move floods the bulk tunnels in one direction and measures for a window once they run.
func (b *bench) move(ctx context.Context, p *peer, o *origin, what byte) (f figure, err error) {
	open, err := b.openMany(ctx, p, o, bulkTunnels, what)
	if err != nil {
		return f, err
	}
	var moved atomic.Int64
	flows := flood(open, what, &moved)
	defer flows.Wait()
	defer open.close()
	if err := mfpgate.Wait(ctx, b.clock, bulkWarmUp); err != nil {
		return f, err
	}
	cpu, err := p.cpu()
	if err != nil {
		return f, err
	}
	began, from := b.clock.Now(), moved.Load()
	if err := mfpgate.Wait(ctx, b.clock, bulkWindow); err != nil {
		return f, err
	}
	used, err := p.cpu()
	f = figure{used - cpu, float64(moved.Load() - from), b.clock.Now().Sub(began)}
	if err == nil && f.done == 0 {
		err = fmt.Errorf("%s moved nothing", p.name)
	}
	return f, err
}

// memory opens idle tunnels on a fresh process of each peer.
func memory(ctx context.Context, b *bench, o *origin) ([]*series, error) {
	before := &series{name: "memory_per_idle_tunnel", unit: "KiB", targets: []target{{bound: 10}}}
	after := &series{name: "memory_per_idle_tunnel_collected", unit: "KiB", targets: []target{{bound: 10}}}
	fds := &series{name: "descriptors_per_idle_tunnel", unit: "", targets: []target{{bound: 2.01}}}
	type entrant struct {
		starter
		count int
		gc    bool
	}
	entrants := []entrant{
		{starter{ours, func(ctx context.Context, o *origin) (*peer, error) { return b.daemon(ctx, ours, "mfpgate", o) }}, idle, false},
		{starter{ours, func(ctx context.Context, o *origin) (*peer, error) { return b.daemon(ctx, "relayhost", "relayhost", o) }}, idle, true},
		{starter{"haproxy", b.haproxy}, idle, false},
		{starter{"squid", b.squid}, idle, false},
		{starter{"goproxy", b.goproxy}, idleGoproxy, false},
	}
	rounds := min(b.rounds, idleRounds)
	for round := range rounds {
		b.progress(round, rounds, "idle")
		for _, e := range turns(entrants, round) {
			p, err := e.start(ctx, o)
			if err != nil && e.name != ours {
				if round == 0 {
					b.missing(e.name, err)
				}
				continue
			}
			if err != nil {
				return nil, err
			}
			kib, each, err := b.idleCost(ctx, p, o, e.count, e.gc)
			p.stop()
			if err != nil {
				return nil, err
			}
			if e.gc {
				after.put(round, ours, kib)
				continue
			}
			before.put(round, e.name, kib)
			fds.put(round, e.name, each)
		}
	}
	return []*series{before, after, fds}, nil
}

// idleCost is what each of count tunnels adds to p that have moved a byte each way and then fell silent. What their
// devices cost is in it: every fourth tunnel is a device's first.
func (b *bench) idleCost(ctx context.Context, p *peer, o *origin, count int, collected bool) (kib, fds float64, err error) {
	// The first connections page in the program's code.
	warm, err := b.openMany(ctx, p, o, parallel, echo)
	if err != nil {
		return 0, 0, err
	}
	defer warm.close()
	at := func() (rss float64, fds int, err error) {
		if err := mfpgate.Wait(ctx, b.clock, settle); err != nil {
			return 0, 0, err
		}
		if collected {
			if err := b.free(ctx, p); err != nil {
				return 0, 0, err
			}
		}
		rss, err = p.rss()
		if err == nil {
			fds, err = p.descriptors()
		}
		return rss, fds, err
	}
	rss0, fds0, err := at()
	if err != nil {
		return 0, 0, err
	}
	open, err := b.openMany(ctx, p, o, count-parallel, echo)
	if err != nil {
		return 0, 0, err
	}
	defer open.close()
	rss, n, err := at()
	if err != nil {
		return 0, 0, err
	}
	return (rss - rss0) / float64(len(open)), float64(n-fds0) / float64(len(open)), nil
}

// setUpCost makes and closes tunnels.
func setUpCost(ctx context.Context, b *bench, o *origin) ([]*series, error) {
	peers, stop, err := b.startAll(ctx, o, []starter{
		{ours, func(ctx context.Context, o *origin) (*peer, error) { return b.daemon(ctx, ours, "mfpgate", o) }},
		{"goproxy", b.goproxy},
	})
	if err != nil {
		return nil, err
	}
	defer stop()
	cost := &series{name: "setup_cpu", unit: "CPU us", targets: []target{{peer: "goproxy", bound: 1.0}}}
	rate := &series{name: "setups_per_second", unit: "1/s"}
	for _, p := range peers {
		if err := b.setUps(ctx, p, o, setUpWarmUp); err != nil {
			return nil, err
		}
	}
	for round := range b.rounds {
		b.progress(round, b.rounds, "set-up")
		sum, err := b.passes(ctx, peers, round, setUpPasses, func(p *peer) (figure, error) { return b.setUpWindow(ctx, p, o) })
		if err != nil {
			return nil, err
		}
		for p, f := range sum {
			cost.put(round, p.name, f.cost()*1e6)
			rate.put(round, p.name, f.rate())
		}
	}
	return []*series{cost, rate}, nil
}

func (b *bench) setUpWindow(ctx context.Context, p *peer, o *origin) (f figure, err error) {
	before, err := p.cpu()
	if err != nil {
		return f, err
	}
	began := b.clock.Now()
	err = b.setUps(ctx, p, o, setUps)
	f.done, f.took = setUps, b.clock.Now().Sub(began)
	// The relay's part of a close comes after the client's.
	err = errors.Join(err, mfpgate.Wait(ctx, b.clock, settle))
	if err != nil {
		return f, err
	}
	after, err := p.cpu()
	f.cpu = after - before
	return f, err
}
