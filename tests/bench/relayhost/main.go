// Command relayhost is the whole daemon of mfpgate serve with one door more, for measuring: on the address given by -debug
// it serves Go's profiles (/debug/pprof/), and POST /free collects garbage and returns the free memory to the kernel.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon"
)

func main() {
	file := flag.String("config", "", "the gateway's configuration `file`")
	door := flag.String("debug", "127.0.0.1:0", "`address` of the profiles")
	flag.Parse()
	if err := serve(*file, *door); err != nil {
		fmt.Fprintln(os.Stderr, "relayhost:", err)
		os.Exit(1)
	}
}

func serve(file, door string) error {
	ctx := context.Background()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	d, err := daemon.New(ctx, daemon.Options{ConfigFile: file, Clock: mfpgate.SystemClock{}, Output: os.Stdout, Getenv: os.Getenv, Signals: signals})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("POST /free", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(door, mux) }() // ends with the process
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	select {
	case err = <-failed:
	case err = <-ended:
	}
	return err
}
