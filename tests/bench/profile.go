package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// profile puts each of the relay's loads on relayhost and writes what Go's profiler says of it: bulk.cpu, setup.cpu,
// setup.allocs, idle.heap, idle.goroutine and, in words, idle.memstats. With only discovery, it is of the devices instead:
// find.cpu, poll.cpu, poll.allocs and poll.heap.
func profile(ctx context.Context, b *bench, folder, only string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := b.build(ctx, "tests/bench/relayhost"); err != nil {
		return err
	}
	if only == "discovery" {
		return b.profileDevices(ctx, folder)
	}
	o, err := startOrigin()
	if err != nil {
		return err
	}
	defer o.close()
	p, err := b.daemon(ctx, "relayhost", "relayhost", o)
	if err != nil {
		return err
	}
	defer p.stop()
	save := saver(ctx, p, folder)
	if err := b.setUps(ctx, p, o, setUpWarmUp); err != nil {
		return err
	}
	g, during := errgroup.WithContext(ctx)
	g.Go(func() error { return b.setUps(during, p, o, 16*setUps) })
	g.Go(func() error { return save("setup.cpu", "profile?seconds=5") })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := save("setup.allocs", "allocs"); err != nil {
		return err
	}
	g, during = errgroup.WithContext(ctx)
	g.Go(func() error {
		for range 4 {
			if _, err := b.move(during, p, o, down); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error { return save("bulk.cpu", "profile?seconds=4") })
	if err := g.Wait(); err != nil {
		return err
	}
	open, err := b.openMany(ctx, p, o, idle, echo)
	if err != nil {
		return err
	}
	defer open.close()
	for name, path := range map[string]string{"idle.heap": "heap?gc=1", "idle.memstats": "heap?debug=1"} {
		if err := save(name, path); err != nil {
			return err
		}
	}
	return save("idle.goroutine", "goroutine")
}

// saver returns what writes a profile of p to a file.
func saver(ctx context.Context, p *peer, folder string) func(name, path string) error {
	return func(name, path string) error {
		text, err := fetch(ctx, http.MethodGet, "http://"+p.debug+"/debug/pprof/"+path)
		if err != nil {
			return fmt.Errorf("profile %s: %w", name, err)
		}
		return os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644)
	}
}

// profileDevices has a gateway find many devices and then ask them.
func (b *bench) profileDevices(ctx context.Context, folder string) error {
	f, err := b.startFleet(ctx, manyDevices)
	if err != nil {
		return err
	}
	defer f.stop()
	save := saver(ctx, f.gateway, folder)
	if err := save("find.cpu", "profile?seconds=20"); err != nil {
		return err
	}
	if err := f.found(ctx, b); err != nil {
		return err
	}
	for _, of := range [][2]string{{"poll.cpu", "profile?seconds=20"}, {"poll.allocs", "allocs"}, {"poll.heap", "heap?gc=1"}} {
		if err := save(of[0], of[1]); err != nil {
			return err
		}
	}
	return nil
}
