// Command site runs a whole site on this machine: the gateway, the clouds of two regions, and eight simulated MFPs whose
// firmware flows through the relay against a capacity of five, so that queueing shows. It listens on loopback only, keeps
// its state in ./run, prints one line per event, and ends with Ctrl-C. `make run` builds the programs and starts it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}
