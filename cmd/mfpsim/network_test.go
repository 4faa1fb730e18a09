package main

import (
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/cmd/mfpsim/internal/mfp"
)

func TestPrinterSaysTheFirmwareThatTheDeviceInstalled(t *testing.T) {
	r := servertest.Start(t)
	r.Package(t, "SIM-100", "2.0", 50_000)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	reader, writer := io.Pipe()
	code := make(chan int, 1)
	go func() { // the test waits for code
		code <- run(ctx, []string{"fleet", "--cloud", r.URL, "--ca", filepath.Join(r.Dir, "cert.pem"), "--factory-key", filepath.Join(r.Dir, "factory.key"),
			"--count", "2", "--first", "127.0.1.40", "--poll", "100ms", "--json", "--print", "--ipp-port", "26310", "--snmp-port", "20161"}, writer, os.Stderr)
		_ = writer.Close()
	}()
	sysDescr := func(address string) string {
		t.Helper()
		at := netip.MustParseAddr(address)
		g := &gosnmp.GoSNMP{Target: at.String(), Port: 20161, Community: "public", Version: gosnmp.Version2c, Timeout: 2 * time.Second, Transport: "udp"}
		servertest.Must(t, g.Connect())
		defer g.Close()
		answer, err := g.Get([]string{"1.3.6.1.2.1.1.1.0"})
		servertest.Must(t, err)
		return string(answer.Variables[0].Value.([]byte))
	}
	lines := json.NewDecoder(reader)
	for {
		var e mfp.Event
		if err := lines.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Device == "mfp-2" && e.Kind == mfp.Offered {
			if got := sysDescr("127.0.1.41"); got != "Simulated SIM-100; FW 1.0; SN SIM000002" {
				t.Errorf("before: %q", got)
			}
		}
		if e.Device == "mfp-2" && e.Kind == mfp.Installed {
			break
		}
	}
	if got := sysDescr("127.0.1.41"); got != "Simulated SIM-100; FW 2.0; SN SIM000002" {
		t.Errorf("after: %q", got)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, reader) }() // ends when writer is closed
	if got := <-code; got != 0 {
		t.Errorf("exit code %d, want 0", got)
	}
}
