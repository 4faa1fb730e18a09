//go:build vm

package guest_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/tests/usb/cmd/console"
)

// printers are plugged into the kernel by usbipprinter.
type printers struct {
	in  io.Writer
	out *bufio.Scanner
}

func plugger(t *testing.T) *printers {
	t.Helper()
	cmd := exec.Command("/job/usbipprinter")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("usbipprinter: %v", err)
		}
	})
	p := &printers{in: in, out: bufio.NewScanner(out)}
	p.out.Buffer(nil, 1<<20)
	if !p.out.Scan() || p.out.Text() != "ready" {
		t.Fatalf("usbipprinter says %q, want ready", p.out.Text())
	}
	return p
}

// do has a command of package console carried out.
func (p *printers) do(t *testing.T, format string, args ...any) string {
	t.Helper()
	command := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		t.Fatal(err)
	}
	if !p.out.Scan() {
		t.Fatalf("%s: no answer: %v", command, p.out.Err())
	}
	word, rest, _ := strings.Cut(p.out.Text(), " ")
	if word != "ok" {
		t.Fatalf("%s: %s", command, p.out.Text())
	}
	return rest
}

func (p *printers) stats(t *testing.T, port int) (s console.Stats) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.do(t, "stats %d", port)), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// device is a printer as the kernel sees it.
type device struct {
	t    *testing.T
	port string // 1-2
}

// kernels is the device with a serial number.
func kernels(t *testing.T, serial string) device {
	t.Helper()
	d := device{t: t}
	until(t, "the kernel sees "+serial, func() bool {
		all, _ := filepath.Glob("/sys/bus/usb/devices/*/serial") // the pattern is good
		for _, name := range all {
			if text, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(text)) == serial {
				d.port = filepath.Base(filepath.Dir(name))
				return true
			}
		}
		return false
	})
	return d
}

// node is the device's in /dev/bus/usb.
func (d device) node() string {
	number := func(name string) int {
		text, err := os.ReadFile(filepath.Join("/sys/bus/usb/devices", d.port, name))
		if err != nil {
			d.t.Fatal(err)
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return n
	}
	return fmt.Sprintf("/dev/bus/usb/%03d/%03d", number("busnum"), number("devnum"))
}

// driver has an interface: usblp, usbfs for a program, or "".
func (d device) driver(number int) string {
	to, err := os.Readlink(fmt.Sprintf("/sys/bus/usb/devices/%s:1.%d/driver", d.port, number))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// drivers waits until each interface's is one.
func (d device) drivers(what string, want ...string) {
	d.t.Helper()
	got := make([]string, len(want))
	until(d.t, fmt.Sprintf("%s: the drivers at %s are %q", what, d.port, want), func() bool {
		good := true
		for n := range want {
			got[n] = d.driver(n)
			good = good && got[n] == want[n]
		}
		return good
	}, func() string { return fmt.Sprintf("they are %q", got) })
}
