// Package printertest runs simulated printers for tests of other folders.
//
// A site that it starts answers until its test ends, and has ended by then. What cannot be set up fails the test.
package printertest

import (
	"context"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/printer"
)

// Start runs a site until the end of the test. Without a Clock it takes the machine's; its shared sockets are on lo unless
// Interface says another.
func Start(t testing.TB, o printer.SiteOptions) *printer.Site {
	t.Helper()
	if o.Clock == nil {
		o.Clock = mfpgate.SystemClock{}
	}
	if o.Interface == "" {
		o.Interface = "lo"
	}
	s, err := printer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }() // the cleanup waits
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// Add adds a printer.
func Add(t testing.TB, s *printer.Site, o printer.Options) *printer.Printer {
	t.Helper()
	p, err := s.Add(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
