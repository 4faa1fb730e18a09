// Command mockusbd plays a USB bus with printers to the programs that are started with
//
//	LD_PRELOAD=libumockdev-preload.so.0 UMOCKDEV_DIR=DIR
//
// It says "ready DIR", and is told by standard input what to do (package console). It ends with its input, or with -stay by a signal.
// The programs end before it: the preload library ends those that do not.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/mfpgate/mfpgate/tests/usb/cmd/console"
	"github.com/mfpgate/mfpgate/tests/usb/mockbus"
	"github.com/mfpgate/mfpgate/tests/usb/model"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// carrier is the bus.
type carrier struct{ bus *mockbus.Bus }

func (c carrier) Plug(p *model.Printer, port string) (console.Plugged, error) {
	return c.bus.Plug(p.Device, port)
}

func run(args []string, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("mockusbd", flag.ContinueOnError)
	flags.SetOutput(errs)
	dir := flags.String("dir", "", "the bus's folder, empty or not there, with a short name; open to all users (default: a new one)")
	stay := flags.Bool("stay", false, "stay when the input ends, until a signal")
	if flags.Parse(args) != nil {
		return 2
	}
	if err := serve(*dir, *stay, in, out); err != nil {
		fmt.Fprintln(errs, "mockusbd:", err)
		return 1
	}
	return 0
}

func serve(dir string, stay bool, in io.Reader, out io.Writer) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	bus, err := lay(dir)
	if err != nil {
		return err
	}
	defer bus.Close()
	if _, err := fmt.Fprintln(out, "ready", bus.Dir); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- console.New(carrier{bus}).Run(in, out) }() // it ends with the process, where a signal came first
	for {
		select {
		case err := <-ended:
			if !stay || err != nil {
				return err
			}
		case <-signals:
			return nil
		}
	}
}

func lay(dir string) (*mockbus.Bus, error) {
	if dir == "" {
		return mockbus.New()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil { // monitors of udev bind their sockets in it, whoever they are
		return nil, err
	}
	return mockbus.NewAt(dir)
}
