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
// setup.allocs, idle.heap, idle.goroutine and, in words, idle.memstats.
func profile(ctx context.Context, b *bench, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := b.build(ctx, "tests/bench/relayhost"); err != nil {
		return err
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
	save := func(name, path string) error {
		text, err := fetch(ctx, http.MethodGet, "http://"+p.debug+"/debug/pprof/"+path)
		if err != nil {
			return fmt.Errorf("profile %s: %w", name, err)
		}
		return os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644)
	}
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
