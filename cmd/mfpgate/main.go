// Command mfpgate is the appliance: it relays a site's devices to their clouds.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/mfpgate/mfpgate"
)

func main() {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	p := &process{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, signals: signals, clock: mfpgate.SystemClock{}}
	os.Exit(p.run(context.Background(), os.Args[1:]))
}
