//go:build vm

package guest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/document"
	"github.com/mfpgate/mfpgate/usb/libusb"
	"github.com/mfpgate/mfpgate/usb/quirk"
)

// content is a document's bytes: the same for the same seed.
func content(seed byte, size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
}

// digest is of documents of a size, one after the other.
func digest(size int64, seeds ...byte) string {
	h := sha256.New()
	for _, seed := range seeds {
		_, _ = io.Copy(h, content(seed, size))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// printed is what became of a document, as JSON on standard output.
type printed struct {
	Status mfpgate.JobStatus
	Error  string
}

func tell(status mfpgate.JobStatus, err error) int {
	p := printed{Status: status}
	if err != nil {
		p.Error = err.Error()
	}
	if json.NewEncoder(os.Stdout).Encode(p) != nil {
		return 1
	}
	return 0
}

// order is what both programs are told: whom to print on, the document's seed and its size.
func order(args []string) (to string, doc mfpgate.Document, err error) {
	if len(args) != 3 {
		return "", doc, errors.New("wants a printer, a seed and a size")
	}
	seed, err := strconv.ParseUint(args[1], 10, 8)
	if err != nil {
		return "", doc, err
	}
	size, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return "", doc, err
	}
	return args[0], mfpgate.Document{Name: "test", Format: "application/octet-stream", Size: size, Content: content(byte(seed), size)}, nil
}

// printThere prints at an address, as a program beside the gateway does.
func printThere(args []string) int {
	url, doc, err := order(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ipp := document.IPP{Client: &http.Client{Transport: &http.Transport{}}, URL: url, Clock: mfpgate.SystemClock{}}
	return tell(ipp.Print(context.Background(), doc, nil))
}

// printBytes drives all printers on USB, as the daemon does, prints on one that takes bytes, and gives all back.
func printBytes(args []string) int {
	port, doc, err := order(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	clock := mfpgate.SystemClock{}
	host, err := libusb.Open(libusb.Options{Clock: clock, Log: telemetry.Discard()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	local := memory.New()
	printers := usb.New(usb.Options{Clock: clock, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Bus: host, Store: local, Quirks: quirk.Known(),
		Sighted: func(mfpgate.Sighting) {}, Grace: time.Second})
	ctx, end := context.WithTimeout(context.Background(), soon)
	defer end()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- printers.Run(running) }() // awaited below
	id := mfpgate.NewSightingID(mfpgate.SourceUSB, port)
	for {
		if p := printers.Port(id); p != nil && p.Mode == mfpgate.USBModeRaw {
			break
		}
		if err = mfpgate.Wait(ctx, clock, 20*time.Millisecond); err != nil {
			fmt.Fprintf(os.Stderr, "the printer at %s is not driven: %+v\n", port, printers.List())
			break
		}
	}
	var status mfpgate.JobStatus
	if err == nil {
		status, err = printers.Print(ctx, id, doc, nil)
	}
	stop()
	return max(tell(status, err), report(errors.Join(<-ended, host.Close(), local.Close())))
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// parsed is what one of the two said.
func parsed(text []byte) (p printed, err error) {
	return p, json.Unmarshal(bytes.TrimSpace(text), &p)
}
