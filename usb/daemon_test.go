package usb_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/usb/model"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// ippUSB is the daemon's control socket, as far as it can be seen: GET /status, in text.
type ippUSB struct {
	usb.IPPUSB
	status string
	code   int
}

func newIPPUSB(t *testing.T) *ippUSB {
	dir, err := os.MkdirTemp("", "ctrl") // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &ippUSB{IPPUSB: usb.IPPUSB{Clock: mfpgate.SystemClock{}, Socket: filepath.Join(dir, "ctrl"), State: filepath.Join(dir, "dev")}, code: http.StatusOK}
	if err := os.Mkdir(d.State, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *ippUSB) serve(t *testing.T) {
	l, err := net.Listen("unix", d.Socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/status" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(d.code)
		fmt.Fprint(w, d.status)
	})}
	ended := make(chan struct{})
	go func() { // the cleanup waits for it
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
}

const two = `ipp-usb daemon: running
ipp-usb devices:
 Num  Device              Vndr:Prod  Port  Model
   1. Bus 001 Device 004  03f0:5054  60000 "HP Smart Tank 5100 series"
 status: OK
   2. Bus 003 Device 012  04A9:1798  60001 "Canon TS5100 status: no"
 status: init failed: context deadline exceeded
`

func TestWhatIPPUSBDrives(t *testing.T) {
	device := func(bus_, address int, vendor, product uint16) bus.Device {
		return bus.Device{Bus: bus_, Address: address, Vendor: vendor, Product: product}
	}
	hp := device(1, 4, 0x03f0, 0x5054)
	older := strings.ReplaceAll(strings.ReplaceAll(two, " 60000 ", " "), " 60001 ", " ")
	tests := []struct {
		rule   string
		status string
		code   int
		files  map[string]string
		of     bus.Device
		port   uint16
		yes    bool
		fails  bool
	}{
		{rule: "a printer that it drives", status: two, of: hp, port: 60000, yes: true},
		{rule: "another plug of the same model is not that", status: two, of: device(1, 5, 0x03f0, 0x5054)},
		{rule: "another model at a number that was used again is not that", status: two, of: device(1, 4, 0x03f0, 0x5055)},
		{rule: "a printer that it failed with is not driven", status: two, of: device(3, 12, 0x04a9, 0x1798)},
		{rule: "none", status: "ipp-usb daemon: running\nipp-usb devices: not found\n", of: hp},
		{rule: "an older one does not say the port, and keeps it in a file", status: older, of: hp, port: 60007, yes: true,
			files: map[string]string{"03f0-5054-CN12-34-HP-Smart-Tank.state": "[device]\n  http-port = 60007\n", "03f0-5054-XX-HP-Smart-Tank.state": "http-port = 60008\n"}},
		{rule: "or does not", status: older, of: hp, yes: true, fails: true},
		{rule: "what is no status", status: "\x00 1. Bus", of: hp},
		{rule: "another program's socket", status: "no", code: 404, of: hp, fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			d := newIPPUSB(t)
			d.status = tt.status
			if tt.code != 0 {
				d.code = tt.code
			}
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(d.State, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			d.serve(t)
			port, yes, err := d.Drives(t.Context(), tt.of, "CN12/34")
			if port != tt.port || yes != tt.yes || (err != nil) != tt.fails {
				t.Errorf("port %d, %t, %v", port, yes, err)
			}
		})
	}
}

func TestNoIPPUSB(t *testing.T) {
	d := newIPPUSB(t)
	for _, there := range []bool{false, true} {
		if there { // a socket that the last one left
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: d.Socket, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}
		if port, yes, err := d.Drives(t.Context(), bus.Device{}, ""); port != 0 || yes || err != nil {
			t.Errorf("a socket: %t: %d, %t, %v", there, port, yes, err)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add(two)
	f.Add(" 1. Bus 99999 Device 99999 ffff:ffff 99999 \"")
	f.Fuzz(func(t *testing.T, text string) {
		for _, n := range usb.StatusNumbers([]byte(text)) {
			if n < 0 || n > 99999 {
				t.Errorf("a bus or an address of %d", n)
			}
		}
	})
}

// other is a daemon that drives what the test says.
type other struct {
	port uint16
	left atomic.Bool
	err  error
}

func (o *other) Drives(context.Context, bus.Device, string) (uint16, bool, error) {
	return o.port, o.port != 0 && !o.left.Load(), o.err
}

// TestIPPUSBHasIt: its port is used, nothing of the printer is touched, and it is driven here once the daemon has left it.
func TestIPPUSBHasIt(t *testing.T) {
	daemon := &other{port: 60000}
	bubble(t, func(s *site) {
		p := model.New(model.Options{Serial: "S1"})
		plugged := s.in(p, "1-1")
		plugged.Hold(1)
		plugged.Hold(2)
		s.settle()
		s.is("1-1", mfpgate.USBModeOther, usb.ReasonIPPUSB)
		want := mfpgate.USBPort{Bus: "1-1", ID: "1209:0001", Mode: mfpgate.USBModeOther, URL: "http://127.0.0.1:60000", Reason: usb.ReasonIPPUSB,
			Detail: "ipp-usb drives it; its port 60000 is used"}
		if d := cmp.Diff(want, s.port("1-1")); d != "" {
			t.Error(d)
		}
		sighting := s.sighted("1-1")
		endpoints := []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolIPP, Address: netip.MustParseAddrPort("127.0.0.1:60000"), Path: "ipp/print"}}
		if d := cmp.Diff(endpoints, sighting.Endpoints, cmpopts.EquateComparable(netip.AddrPort{})); d != "" || !sighting.Answered || sighting.Identity.Serial != "S1" {
			t.Errorf("sighted as %+v %s", sighting, d)
		}
		if got := s.printers.Behind(netip.MustParseAddrPort("127.0.0.1:60000")); got != id("1-1") {
			t.Errorf("behind its port is %q", got)
		}
		if got := s.printers.Behind(netip.MustParseAddrPort("192.0.2.1:60000")); got != "" {
			t.Errorf("behind another machine's is %q", got)
		}
		if plugged.Claims() != 0 || s.bus.Opens() != 0 {
			t.Errorf("%d claims, %d handles of a printer that is another's", plugged.Claims(), s.bus.Opens())
		}

		daemon.left.Store(true)
		plugged.Unhold(1)
		plugged.Unhold(2)
		s.pass(15 * time.Second)
		s.is("1-1", mfpgate.USBModeIPP, "")
		s.prints("1-1", p, 1000)
		if got := s.printers.Behind(netip.MustParseAddrPort("127.0.0.1:60000")); got != "" {
			t.Errorf("behind a port that it has left is %q", got)
		}
	}, func(o *usb.Options) { o.Daemon = daemon })
}

// TestIPPUSBWithoutRights: whom ipp-usb serves need not be opened.
func TestIPPUSBWithoutRights(t *testing.T) {
	bubble(t, func(s *site) {
		s.in(model.New(model.Options{Serial: "S1"}), "1-1").Deny()
		s.settle()
		s.is("1-1", mfpgate.USBModeOther, usb.ReasonIPPUSB)
	}, func(o *usb.Options) { o.Daemon = &other{port: 60000} })
}

// TestIPPUSBThatCannotBeAsked: then the printer itself says whether it is free.
func TestIPPUSBThatCannotBeAsked(t *testing.T) {
	bubble(t, func(s *site) {
		s.plug(model.New(model.Options{Serial: "S1"}), "1-1")
		s.is("1-1", mfpgate.USBModeIPP, "")
	}, func(o *usb.Options) { o.Daemon = &other{err: errors.New("test")} })
}
