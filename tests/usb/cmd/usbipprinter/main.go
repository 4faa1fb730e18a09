// Command usbipprinter gives printers to a kernel that has vhci_hcd (modprobe vhci-hcd), as root: PORT is one of its ports, 0 to 7. With
// -listen it is a USB/IP server for `usbip attach` instead, with one printer, and the PORT's name is free.
//
// It says "ready", and is told by standard input what to do (package console). It ends with its input, and the printers with it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/mfpgate/mfpgate/tests/usb/cmd/console"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/tests/usb/usbip"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("usbipprinter", flag.ContinueOnError)
	flags.SetOutput(errs)
	listen := flags.String("listen", "", "address of a USB/IP server: 127.0.0.1:3240")
	if flags.Parse(args) != nil {
		return 2
	}
	carrier := console.Carrier(kernel{})
	if *listen != "" {
		carrier = server{*listen}
	}
	c := console.New(carrier)
	_, err := fmt.Fprintln(out, "ready")
	if err == nil {
		err = c.Run(in, out)
	}
	if err = errors.Join(err, c.Close()); err != nil {
		fmt.Fprintln(errs, "usbipprinter:", err)
		return 1
	}
	return 0
}

// kernel is this machine's vhci_hcd.
type kernel struct{}

func (kernel) Plug(p *model.Printer, port string) (console.Plugged, error) {
	n, err := strconv.ParseUint(port, 10, 3)
	if err != nil {
		return nil, fmt.Errorf("port %q is none of 0 to 7", port)
	}
	plugged, err := usbip.Attach(p.Device, int(n))
	if err != nil {
		return nil, err
	}
	return attached{plugged}, nil
}

type attached struct{ *usbip.Plugged }

func (a attached) Unplug() error {
	a.Plugged.Unplug()
	return nil
}

// server waits for kernels.
type server struct{ address string }

func (s server) Plug(p *model.Printer, _ string) (console.Plugged, error) {
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		return nil, err
	}
	served := &listening{l: l, out: make(chan struct{})}
	go func() { // Unplug waits for it
		defer close(served.out)
		_ = usbip.Listen(l, p.Device) // it ends with the listener
	}()
	return served, nil
}

// listening is a printer that kernels may take, one at a time. Unplug ends that too.
type listening struct {
	l   net.Listener
	out chan struct{}
}

func (l *listening) Unplug() error {
	err := l.l.Close()
	<-l.out
	return err
}

func (l *listening) Out() <-chan struct{} { return l.out }
