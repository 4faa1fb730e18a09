package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/usb"
	"github.com/mfpgate/mfpgate/usb/bus"
	"github.com/mfpgate/mfpgate/usb/libusb"
)

func checkUSB(ctx context.Context, s *site) []Finding {
	switch {
	case s.config != nil && !s.config.USB.Enabled && s.OpenUSB == nil:
		return []Finding{{Result: Skipped, Detail: "usb.enabled is off, and this build has no USB"}}
	case s.config != nil && !s.config.USB.Enabled:
		return []Finding{{Result: Skipped, Detail: "usb.enabled is off"}}
	case s.OpenUSB == nil: // which is an error of the configuration, if that wants it
		why, fix, _ := strings.Cut(libusb.ErrNotBuilt.Error(), "; ")
		return []Finding{{Result: Failed, Detail: why, Fix: fix}}
	case s.config == nil:
		return unread()
	case s.status != nil && slices.Contains(s.status.Off, "usb"):
		return []Finding{{Result: Warning, Detail: "the running daemon has USB off, the file has it on", Fix: "systemctl reload mfpgate"}}
	case s.status != nil:
		return append(s.driven(ctx), s.shared()...)
	}
	return append(s.plugged(ctx), s.shared()...)
}

// none is no failure: a printer may be switched off.
func none() []Finding {
	return []Finding{{Result: Warning, Detail: "no printer is plugged in", Fix: "plug one in and switch it on; lsusb lists what the kernel sees"}}
}

// driven is what the daemon says of each printer.
func (s *site) driven(ctx context.Context) (found []Finding) {
	printers, err := s.printers(ctx)
	if err != nil {
		return []Finding{{Result: Failed, Detail: "the daemon was asked for its printers: " + err.Error(), Fix: "journalctl -u mfpgate says why"}}
	}
	if len(printers) == 0 {
		if slices.ContainsFunc(s.status.Degraded, func(d control.Degradation) bool { return d.Reason == daemon.USBFailed }) {
			return []Finding{{Result: Failed, Detail: "no printer is found, for the daemon cannot use USB", Fix: "do what the check of the daemon says of " + string(daemon.USBFailed)}}
		}
		return none()
	}
	for _, d := range printers {
		p := d.USB
		f := Finding{Result: Good, Detail: title(p.Bus, p.ID, d.Name) + control.USBMode(p.Mode)}
		if p.URL != "" {
			f.Detail += " at " + p.URL + ", " + control.USBReach(*p)
		}
		if p.Detail != "" {
			f.Detail += ": " + p.Detail
		}
		if p.Mode == mfpgate.USBModeUnused {
			f.Result, f.Fix = Failed, s.mend(p.Reason)
			if p.Reason == usb.ReasonOpening {
				f.Result, f.Fix = Warning, "wait a moment and look again"
			}
		}
		found = append(found, f)
	}
	return found
}

// mend is what to do about a printer that the daemon does not drive.
func (s *site) mend(why mfpgate.Reason) string {
	switch why {
	case usb.ReasonAccess:
		return s.missingRight()
	case usb.ReasonBusy:
		return "end the program that has it, or let it go: a print queue of CUPS with a usb:// address has it while it prints"
	case usb.ReasonSilent, usb.ReasonBroken:
		return "switch it off and on, and try another cable or port"
	case usb.ReasonUnsupported:
		return "it has no interface that the gateway can drive; if it is known to print, docs/usb.md says how a quirk is added"
	}
	return "journalctl -u mfpgate says why"
}

func title(port, id, name string) string {
	return strings.Join(strings.Fields(port+" "+id+" "+name), " ") + ": "
}

// plugged is what can be seen of each printer without the daemon.
func (s *site) plugged(ctx context.Context) (found []Finding) {
	b, err := s.OpenUSB()
	if err != nil {
		return []Finding{{Result: Failed, Detail: "USB cannot be opened: " + err.Error(), Fix: "check that this machine has USB, and that /dev/bus/usb and /sys are there"}}
	}
	defer func() { _ = b.Close() }() // nothing was opened
	devices, err := b.Printers(ctx, isPrinter)
	if err != nil {
		return []Finding{{Result: Failed, Detail: "USB cannot be listed: " + err.Error(), Fix: "dmesg says what the kernel sees"}}
	}
	if len(devices) == 0 {
		return none()
	}
	slices.SortFunc(devices, func(a, b bus.Device) int { return cmp.Compare(a.Port, b.Port) })
	for _, d := range devices {
		found = append(found, s.one(d))
	}
	return found
}

// isPrinter reports whether a device is of the printer class, or speaks IPP as HP's did before the class had it. A site's quirks may
// know more; the daemon does.
func isPrinter(d bus.Device) bool {
	return slices.ContainsFunc(d.Interfaces, func(i bus.Interface) bool {
		return i.Class == 7 && i.SubClass == 1 || d.Vendor == 0x03f0 && i.Is(0xff, 9, 1)
	})
}

func (s *site) one(d bus.Device) Finding {
	f := Finding{Result: Good, Detail: title(string(d.Port), d.ID(), s.product(d.Port))}
	node := s.path("dev/bus/usb", fmt.Sprintf("%03d/%03d", d.Bus, d.Address))
	if may, who := s.may(node); !may {
		f.Result, f.Fix = Failed, s.missingRight()
		f.Detail += fmt.Sprintf("%s has no right to %s", who, node)
		return f
	}
	driver, held := s.holder(d)
	switch {
	case held && strings.HasPrefix(driver, "ipp-usb"):
		f.Detail += driver + " has it; the gateway will use it through its port"
	case held:
		f.Result, f.Detail, f.Fix = Warning, f.Detail+driver+" has it", s.mend(usb.ReasonBusy)
	case driver != "":
		f.Detail += "the gateway may use it; it is given back to the kernel's " + driver + " whenever the gateway ends"
	default:
		f.Detail += "the gateway may use it"
	}
	return f
}

// product is what the kernel read of the device's name.
func (s *site) product(port bus.Port) string {
	text, _ := os.ReadFile(s.path("sys/bus/usb/devices", string(port), "product"))
	return strings.TrimSpace(string(text))
}

// holder is who has a printer's interface: the program that claimed it, or the kernel's driver, which gives way (held is false).
func (s *site) holder(d bus.Device) (who string, held bool) {
	for _, i := range d.Interfaces {
		if i.Class != 7 && !i.Is(0xff, 9, 1) {
			continue
		}
		at := s.path("sys/bus/usb/devices", fmt.Sprintf("%s:%d.%d", d.Port, i.Config, i.Number), "driver")
		driver, err := os.Readlink(at)
		switch driver = filepath.Base(driver); {
		case err != nil:
		case driver == "usbfs":
			return cmp.Or(s.opener(d), "another program"), true
		default:
			who = driver
		}
	}
	return who, false
}

// opener is the program that has the device's node open, "" where this user may not see it.
func (s *site) opener(d bus.Device) string {
	node := filepath.Join("/dev/bus/usb", fmt.Sprintf("%03d/%03d", d.Bus, d.Address))
	all, _ := filepath.Glob(s.path("proc/[0-9]*/fd/*")) // the pattern is good
	for _, fd := range all {
		if to, err := os.Readlink(fd); err != nil || to != node {
			continue
		}
		process := filepath.Dir(filepath.Dir(fd))
		if pid := filepath.Base(process); pid != strconv.Itoa(os.Getpid()) {
			name, err := os.ReadFile(filepath.Join(process, "comm"))
			if errors.Is(err, os.ErrNotExist) {
				continue // it has ended
			}
			return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return ""
}
