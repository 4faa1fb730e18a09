// Command usbhost prints on a USB bus for the bench: by the gateway's own package usb, as the daemon does, or with -bare by a loop of
// gousb's writes to a raw printer. It has one printer, and ends by a signal.
//
// On the address given by -door, where it listens once the printer can print, GET /printer says how the printer is driven (its mode,
// and its URL if it has one) and POST /print?size=N prints the first N bytes of package document to it; with -bare, chunk=N is how much
// is written at once. The answer comes in lines: "mark" when document.Mark bytes are on their way, "done BYTES NANOSECONDS" or "failed:"
// and why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	_ "net/http/pprof" //nolint:gosec // on the loopback, for -profile
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/bench/document"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// host prints.
type host interface {
	// printer says how the printer is driven.
	printer() string
	// print prints the first bytes of a document and returns how many the printer took.
	print(ctx context.Context, d *document.Document, size int64, chunk int, mark func()) (int64, error)
	close() error
}

// plugged is how long the printer has to become ready.
const (
	plugged   = 30 * time.Second
	lookAgain = 20 * time.Millisecond
)

func main() {
	bare := flag.Bool("bare", false, "write with gousb alone")
	door := flag.String("door", "127.0.0.1:0", "`address` of the door")
	flag.Parse()
	if err := serve(*bare, *door); err != nil {
		fmt.Fprintln(os.Stderr, "usbhost:", err)
		os.Exit(1)
	}
}

func serve(bare bool, door string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	open := openPrinters
	if bare {
		open = openBare
	}
	h, err := open(ctx)
	if err != nil {
		return err
	}
	doc, clock := document.New(), mfpgate.SystemClock{}
	http.HandleFunc("GET /printer", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, h.printer()) })
	http.HandleFunc("POST /print", func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.ParseInt(r.FormValue("size"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		chunk, err := strconv.Atoi(r.FormValue("chunk"))
		if err != nil || chunk < 1 || chunk > document.Longest {
			chunk = bus.MaxTransfer
		}
		tell := func(format string, args ...any) {
			fmt.Fprintf(w, format+"\n", args...)
			_ = http.NewResponseController(w).Flush() // who has gone misses it
		}
		began := clock.Now()
		sent, err := h.print(r.Context(), doc, size, chunk, func() { tell("mark") })
		took := clock.Now().Sub(began)
		if err == nil && sent != size {
			err = fmt.Errorf("%d of %d bytes were taken", sent, size)
		}
		if err != nil {
			tell("failed: %v", err)
			return
		}
		tell("done %d %d", sent, took.Nanoseconds())
	})
	server := &http.Server{Addr: door, ReadHeaderTimeout: time.Minute}
	go func() { // it ends with the process
		<-ctx.Done()
		_ = server.Close()
	}()
	err = server.ListenAndServe()
	if ctx.Err() != nil {
		err = nil
	}
	return errors.Join(err, h.close())
}
