package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/bench/document"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// How much is printed, in bytes.
const (
	rawJob   = 256_000_000   // each in a round
	ippJob   = 64_000_000    // the same
	sweepJob = 64_000_000    // to find the bare loop's best chunk
	largeJob = 1_000_000_000 // to see whether memory is flat
	peerJob  = 128_000_000   // the same of ipp-usb, which takes minutes for a large one
)

const mb = 1e6

// stillMiB is how much memory may grow behind document.Mark bytes of a job.
const stillMiB = 16

// usbPrinting compares the gateway's ways to print on USB with a bare loop of gousb's writes and with ipp-usb.
func usbPrinting(ctx context.Context, b *bench) ([]*series, error) {
	if err := b.build(ctx, "tests/usb/cmd/mockusbd", "tests/bench/usbhost"); err != nil {
		return nil, err
	}
	hosts, stop, err := b.usbHosts(ctx)
	defer stop()
	if err != nil {
		return nil, err
	}
	bare, raw := hosts[0], hosts[1]
	best, err := b.bestChunk(ctx, bare)
	if err != nil {
		return nil, err
	}
	fast := &series{name: "usb_raw_throughput", unit: "MB/s", targets: []target{{peer: "bare", bound: 0.8, least: true}, {peer: "bare best", bound: 0.8, least: true}}}
	work := &series{name: "usb_raw_cpu", unit: "CPU-s/GB"}
	ippFast := &series{name: "usb_ipp_throughput", unit: "MB/s", targets: []target{{peer: "ipp-usb", bound: 0.8, least: true}}}
	ippWork := &series{name: "usb_ipp_cpu", unit: "CPU-s/GB"}
	type way struct {
		host  *usbHost
		who   string
		chunk int
	}
	raws := []way{{bare, "bare", bus.MaxTransfer}, {bare, "bare best", best}, {raw, ours, 0}}
	for round := range b.rounds {
		b.progress(round, b.rounds, "USB")
		for _, w := range turns(raws, round) {
			f, err := b.printRaw(ctx, w.host, rawJob, w.chunk, nil)
			if err != nil {
				return nil, err
			}
			fast.put(round, w.who, f.rate()/mb)
			work.put(round, w.who, f.cost()*gb)
			if w.who != ours {
				ippFast.put(round, w.who, f.rate()/mb)
				ippWork.put(round, w.who, f.cost()*gb)
			}
		}
		for _, h := range turns(hosts[2:], round) {
			f, err := b.printIPP(ctx, h, ippJob, nil)
			if err != nil {
				return nil, err
			}
			ippFast.put(round, h.who, f.rate()/mb)
			ippWork.put(round, h.who, f.cost()*gb)
		}
	}
	all := []*series{fast, work, ippFast, ippWork}
	for _, s := range []*series{
		{name: "usb_raw_memory", unit: "MiB", targets: []target{{bound: stillMiB}}},
		{name: "usb_ipp_memory", unit: "MiB", targets: []target{{bound: stillMiB}}},
	} {
		for _, h := range hosts {
			if (h.url == "") != (s.name == "usb_raw_memory") {
				continue
			}
			grew, err := b.growth(ctx, h)
			if err != nil {
				return nil, err
			}
			s.put(0, h.who, grew)
		}
		all = append(all, s)
	}
	b.notes = append(b.notes,
		fmt.Sprintf("note: the printer is a process that digests what comes; bare writes %d bytes at once as ours does, bare best %d; the CPU is the host program's, without printer and client", bus.MaxTransfer, best),
		"note: jobs over HTTP come from the bench itself; memory is the peak above what a job of 1 GB (ipp-usb: 128 MB) took after its first 16 MB")
	return all, nil
}

// bestChunk finds out how much the bare loop should write at once.
func (b *bench) bestChunk(ctx context.Context, bare *usbHost) (best int, err error) {
	most := 0.0
	for chunk := 64 << 10; chunk <= document.Longest; chunk *= 2 {
		f, err := b.printRaw(ctx, bare, sweepJob, chunk, nil)
		if err != nil {
			return 0, err
		}
		if f.rate() > most {
			best, most = chunk, f.rate()
		}
	}
	return best, nil
}

// measured prints and says what it took; the printer must have the whole document, and nothing else.
func (b *bench) measured(ctx context.Context, h *usbHost, size int64, do func() (figure, error), check func() (bool, error)) (f figure, err error) {
	before, err := h.peer.cpu()
	if err != nil {
		return f, err
	}
	if f, err = do(); err != nil {
		return f, fmt.Errorf("%s: %w\n%s", h.peer.name, err, h.peer.tail())
	}
	after, err := h.peer.cpu()
	if err != nil {
		return f, err
	}
	f.cpu, f.done = after-before, float64(size)
	for began := b.clock.Now(); ; {
		ok, err := check()
		if ok || err != nil {
			return f, err
		}
		if b.clock.Now().Sub(began) > patience {
			return f, fmt.Errorf("%s: the printer has not got what was sent: %s", h.peer.name, h.last)
		}
		if err := mfpgate.Wait(ctx, b.clock, settle); err != nil {
			return f, err
		}
	}
}

// growth is by how many MiB the host's memory grows over a large job, from when its first bytes have gone.
func (b *bench) growth(ctx context.Context, h *usbHost) (float64, error) {
	var level float64
	var failed error
	mark := func() {
		failed = h.peer.forgetPeak()
		if failed == nil {
			level, failed = h.peer.peak()
		}
	}
	size, job := int64(largeJob), func(size int64) error {
		_, err := b.printRaw(ctx, h, size, 0, mark)
		return err
	}
	if h.url != "" {
		if h.who != ours {
			size = peerJob
		}
		job = func(size int64) error {
			_, err := b.printIPP(ctx, h, size, mark)
			return err
		}
	}
	if err := job(size); err != nil {
		return 0, err
	}
	peak, err := h.peer.peak()
	if err := errors.Join(failed, err); err != nil {
		return 0, err
	}
	return (peak - level) / 1024, nil
}
