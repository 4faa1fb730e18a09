package usb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/bus"
)

// Where ipp-usb (OpenPrinting, 0.9.22 and later) has its control socket and the state of its printers, unless it was told otherwise.
const (
	IPPUSBSocket = "/var/ipp-usb/ctrl"
	IPPUSBState  = "/var/ipp-usb/dev"
)

// Daemon is another program that drives printers on this machine's USB, and can be asked which.
type Daemon interface {
	// Drives reports the TCP port on the loopback at which the daemon serves a device, and false if it does not serve it: it is not
	// there, does not know the device, or could not start with it. serial is the device's, as far as it is known.
	Drives(ctx context.Context, d bus.Device, serial string) (port uint16, yes bool, err error)
}

// IPPUSB asks the daemon ipp-usb.
type IPPUSB struct {
	Clock  mfpgate.Clock
	Socket string // IPPUSBSocket; it answers GET /status over HTTP with a text
	State  string // IPPUSBState; releases whose status has no port keep it here
}

const (
	statusPatience = 2 * time.Second
	maxStatus      = 1 << 20 // bytes
	maxState       = 64 << 10
)

var _ Daemon = IPPUSB{}

// Drives asks the daemon now. No socket, or nobody behind it, is no daemon, and no error.
func (i IPPUSB) Drives(ctx context.Context, d bus.Device, serial string) (uint16, bool, error) {
	status, err := i.status(ctx)
	if err != nil || status == nil {
		return 0, false, err
	}
	for _, s := range parseStatus(status) {
		if s.bus != d.Bus || s.address != d.Address || s.vendor != d.Vendor || s.product != d.Product || !s.ok {
			continue
		}
		if s.port == 0 {
			s.port = i.kept(d, serial)
		}
		if s.port == 0 {
			return 0, true, errors.New("ipp-usb does not say the port of the printer that it drives")
		}
		return s.port, true, nil
	}
	return 0, false, nil
}

func (i IPPUSB) status(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer i.Clock.AfterFunc(statusPatience, cancel)()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", i.Socket)
	}
	t := &http.Transport{DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: maxState}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/status", nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.RoundTrip(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("ask ipp-usb at %s: %w", i.Socket, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask ipp-usb at %s: it answers %s", i.Socket, resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxStatus))
	if err != nil {
		return nil, fmt.Errorf("ask ipp-usb at %s: %w", i.Socket, err)
	}
	return text, nil
}

// served is one printer in ipp-usb's status.
type served struct {
	bus, address    int
	vendor, product uint16
	port            uint16 // 0: not said
	ok              bool
}

//  1. Bus 003 Device 004  03f0:5054  60000 "HP Smart Tank 5100 series"
//     status: OK
var servedLine = regexp.MustCompile(`^\s*\d+\.\s+Bus (\d{1,5}) Device (\d{1,5})\s+([0-9a-fA-F]{4}):([0-9a-fA-F]{4})\s+(?:(\d{1,5})\s+)?"`)

func parseStatus(text []byte) []served {
	var all []served
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	lines.Buffer(nil, maxStatus)
	for lines.Scan() {
		if m := servedLine.FindStringSubmatch(lines.Text()); m != nil {
			var s served
			s.bus, _ = strconv.Atoi(m[1])
			s.address, _ = strconv.Atoi(m[2])
			s.vendor, s.product = number(m[3]), number(m[4])
			if port, err := strconv.ParseUint(m[5], 10, 16); err == nil {
				s.port = uint16(port)
			}
			all = append(all, s)
			continue
		}
		if state, found := strings.CutPrefix(strings.TrimSpace(lines.Text()), "status:"); found && len(all) > 0 {
			all[len(all)-1].ok = strings.TrimSpace(state) == "OK"
		}
	}
	return all
}

func number(s string) uint16 {
	n, _ := strconv.ParseUint(s, 16, 16) // four digits, as the expression wants
	return uint16(n)
}

// kept looks for the port in the daemon's files, one for each printer, whose names begin with vendor, product and serial number.
func (i IPPUSB) kept(d bus.Device, serial string) uint16 {
	names, err := filepath.Glob(filepath.Join(i.State, fmt.Sprintf("%04x-*.state", d.Vendor)))
	if err != nil {
		return 0
	}
	in := "-" + strings.Map(func(c rune) rune {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-', c == '_':
			return c
		}
		return '-'
	}, serial) + "-"
	var found uint16
	for _, name := range names {
		if serial != "" && !strings.Contains(filepath.Base(name), in) {
			continue
		}
		port := keptPort(name)
		if port != 0 && found != 0 {
			return 0 // it may be either
		}
		found = max(found, port)
	}
	return found
}

var keptLine = regexp.MustCompile(`(?m)^\s*http-port\s*=\s*(\d{1,5})\s*$`)

func keptPort(name string) uint16 {
	f, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return 0
	}
	if m := keptLine.FindSubmatch(text); m != nil {
		port, _ := strconv.ParseUint(string(m[1]), 10, 16)
		return uint16(port)
	}
	return 0
}
