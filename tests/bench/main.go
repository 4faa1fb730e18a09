package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
)

// The exit codes.
const (
	met    = 0
	missed = 1
	broken = 2
)

// limit bounds the whole run, whatever hangs.
const limit = 20 * time.Minute

// suite measures one part of the product.
type suite struct {
	name string
	run  func(context.Context, *bench) ([]*series, error)
}

func suites() []suite {
	return []suite{{"relay", relay}, {"discovery", discovery}, {"schedule", schedule}, {"registration", registrations}, {"moves", moving}, {"usb", usbPrinting}}
}

// bench is what every suite works with.
type bench struct {
	clock   mfpgate.Clock
	rounds  int
	devices int       // that are moved
	out     io.Writer // progress and the table
	dir     string    // of this run's programs, state and logs; anybody may enter
	notes   []string  // what a reader of the figures must know
}

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

func run(args []string, out io.Writer) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("run", "", "the `suite` to run; all if empty")
	rounds := flags.Int("rounds", 5, "interleaved rounds; the median counts")
	devices := flags.Int("devices", 1000, "how many devices are moved, 20 at least")
	file := flags.String("out", "bin/bench.json", "the `file` for the figures")
	profiles := flags.String("profile", "", "write profiles of our relay, or with -run discovery of finding and asking devices, to this `folder`, and measure nothing")
	warn := flags.Bool("warn", false, "exit with 0 although a target is missed")
	if flags.Parse(args) != nil {
		return broken
	}
	chosen := slices.DeleteFunc(suites(), func(s suite) bool { return *only != "" && s.name != *only })
	if len(chosen) == 0 || *rounds < 1 || flags.NArg() > 0 {
		fmt.Fprintf(out, "bench: no suite %q; there are relay, discovery, schedule, registration, moves and usb, and at least one round\n", *only)
		return broken
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if *profiles != "" {
		chosen = []suite{{"profile", func(ctx context.Context, b *bench) ([]*series, error) { return nil, profile(ctx, b, *profiles, *only) }}}
		*file = os.DevNull
	}
	good, err := measure(ctx, chosen, *rounds, max(*devices, 20), *file, out)
	switch {
	case err != nil:
		fmt.Fprintln(out, "bench:", err)
		return broken
	case !good && !*warn:
		return missed
	}
	return met
}

func measure(ctx context.Context, chosen []suite, rounds, devices int, file string, out io.Writer) (good bool, err error) {
	dir, err := os.MkdirTemp("", "mfpgate-bench-")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return false, err
	}
	b := &bench{clock: mfpgate.SystemClock{}, rounds: rounds, devices: devices, out: out, dir: dir}
	load, err := startPressure()
	if err != nil {
		return false, err
	}
	var all []*series
	for _, s := range chosen {
		some, err := s.run(ctx, b)
		if err != nil {
			return false, fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, some...)
	}
	b.notes = append(b.notes, load.String())
	if err := writeJSON(file, all); err != nil {
		return false, err
	}
	good = writeTable(out, all)
	fmt.Fprintln(out, strings.Join(b.notes, "\n"))
	return good, nil
}
