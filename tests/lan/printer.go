package lan

import (
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mfpgate/mfpgate/tests/need"
)

// Avahi starts the host's D-Bus and avahi-daemon, unless they run. It returns before the name is probed for, which takes
// another 0.8 s. Printer calls it.
func (h *Host) Avahi(t testing.TB) {
	t.Helper()
	if h.avahi != nil {
		return
	}
	dbus, avahi := need.Program(t, "dbus-daemon"), need.Program(t, "avahi-daemon")
	err := h.place.do(func() error {
		for _, dir := range []string{"/run/dbus", "/run/avahi-daemon"} { // what a power cut has left there would be in the way
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile("/run/dbus.conf", []byte(dbusConf), 0o644); err != nil {
			return err
		}
		return os.WriteFile("/run/avahi.conf", fmt.Appendf(nil, avahiConf, h.Name), 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	h.start(t, "dbus-daemon", "unix:path=", nil, dbus, "--config-file=/run/dbus.conf", "--nofork", "--nopidfile", "--print-address=1")
	h.avahi = h.start(t, "avahi-daemon", "Network interface enumeration completed", nil,
		avahi, "-f", "/run/avahi.conf", "--no-chroot", "--no-drop-root", "--no-rlimits", "--no-proc-title")
}

const dbusConf = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`

const avahiConf = `[server]
host-name=%s
domain-name=local
use-ipv4=yes
use-ipv6=yes
allow-interfaces=eth0
enable-dbus=yes
ratelimit-interval-usec=1000000
ratelimit-burst=1000
[wide-area]
enable-wide-area=no
[publish]
publish-hinfo=no
publish-workstation=no
`

// PrinterOptions say what a printer is.
type PrinterOptions struct {
	Name     string // of the DNS-SD service, and printer-name
	Make     string
	Model    string
	Location string
	Port     int // 631 if it is 0
	// With any of these the printer tells them, and else little: no media, no capabilities.
	Serial   string // in printer-device-id
	Firmware string // printer-firmware-string-version
}

// Printer is an ippeveprinter on a host, over ipp and ipps, with the path /ipp/print. It has five supplies in this order:
// waste, black, cyan, magenta, yellow.
type Printer struct {
	// UUID is printer-uuid without urn:uuid:. It is made of host name, port and name: another name is another UUID.
	UUID    string
	Options PrinterOptions

	host    *Host
	program *program
	dir     string
	levels  [len(fresh)]int
}

// fresh are the levels of ippeveprinter's supplies when it starts.
var fresh = [...]int{25, 75, 50, 33, 67}

// Printer starts a printer. It answers when this returns; until others find it about two more seconds pass.
func (h *Host) Printer(t testing.TB, o PrinterOptions) *Printer {
	t.Helper()
	if o.Port == 0 {
		o.Port = 631
	}
	p := &Printer{Options: o, host: h, dir: filepath.Join(h.dir, "printer-"+strconv.Itoa(o.Port))}
	if err := os.MkdirAll(filepath.Join(p.dir, "documents"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.start(t)
	return p
}

func (p *Printer) start(t testing.TB) {
	t.Helper()
	printer := need.Program(t, "ippeveprinter")
	p.host.Avahi(t)
	o := p.Options
	args := []string{"-vv", "-n", p.host.Name + ".local", "-p", strconv.Itoa(o.Port), "-K", filepath.Join(p.dir, "keys"),
		"-k", "-d", p.Documents(), "-r", "_print,_universal"}
	if o.Serial == "" && o.Firmware == "" {
		args = append(args, "-M", o.Make, "-m", o.Model, "-l", o.Location, "-s", "30,25", "-2",
			"-f", "application/pdf,image/pwg-raster,image/urf,image/jpeg")
	} else {
		file := filepath.Join(p.dir, "attributes")
		if err := os.WriteFile(file, []byte(o.attributes()), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-a", file) // it takes no -M, -m, -s, -2 or -f beside it
	}
	p.program = p.host.start(t, "ippeveprinter "+o.Name, `printer-uuid="urn:uuid:`, nil, printer, append(args, o.Name)...)
	p.levels = fresh
	p.UUID = uuid.FindStringSubmatch(p.program.out.String())[1]
}

var uuid = regexp.MustCompile(`printer-uuid="urn:uuid:([0-9a-f-]{36})"`)

// attributes is an attributes file, ippserver(5).
func (o PrinterOptions) attributes() string {
	var b strings.Builder
	quote := func(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
	text := func(name, value string) { fmt.Fprintf(&b, "ATTR text %s %s\n", name, quote(value)) }
	text("printer-make-and-model", o.Make+" "+o.Model)
	text("printer-location", o.Location)
	id := "MFG:" + o.Make + ";MDL:" + o.Model + ";CMD:PDF,PWGRaster;"
	if o.Serial != "" {
		id += "SN:" + o.Serial + ";"
	}
	text("printer-device-id", id)
	if o.Firmware != "" {
		text("printer-firmware-name", "system")
		text("printer-firmware-string-version", o.Firmware)
	}
	b.WriteString("ATTR boolean color-supported true\n")
	// The printer's form knows these five, and writes their printer-supply anew. A counter it does not take from here.
	var supplies, descriptions []string
	for i, s := range []struct{ class, kind, color, name string }{
		{"receptacleThatIsFilled", "wasteToner", "unknown", "Toner Waste Tank"},
		{"supplyThatIsConsumed", "toner", "black", "Black Toner"},
		{"supplyThatIsConsumed", "toner", "cyan", "Cyan Toner"},
		{"supplyThatIsConsumed", "toner", "magenta", "Magenta Toner"},
		{"supplyThatIsConsumed", "toner", "yellow", "Yellow Toner"},
	} {
		supplies = append(supplies, quote(fmt.Sprintf("index=%d;class=%s;type=%s;unit=percent;maxcapacity=100;level=%d;colorantname=%s;",
			i+1, s.class, s.kind, fresh[i], s.color)))
		descriptions = append(descriptions, quote(s.name))
	}
	fmt.Fprintf(&b, "ATTR octetString printer-supply %s\nATTR text printer-supply-description %s\n",
		strings.Join(supplies, ","), strings.Join(descriptions, ","))
	return b.String()
}

// Address is where the printer answers: over IPv4 if the host has it.
func (p *Printer) Address() netip.AddrPort {
	ip := p.host.V4
	if !ip.IsValid() {
		ip = p.host.V6
	}
	return netip.AddrPortFrom(ip, uint16(p.Options.Port))
}

// URI is the printer's at its Address.
func (p *Printer) URI() string { return "ipp://" + p.Address().String() + "/ipp/print" }

// Documents is the folder where what was printed lies, "<job>-<name>.<ext>".
func (p *Printer) Documents() string { return filepath.Join(p.dir, "documents") }

// SetSupply sets the level of a supply, 0 to 100, with the form on the printer's own page. A consumable under 10 gives
// the reason toner-low-report, at 0 toner-empty-report, waste at 95 marker-waste-almost-full-report.
func (p *Printer) SetSupply(t testing.TB, index, level int) {
	t.Helper()
	p.levels[index] = level
	form := url.Values{}
	for i, l := range p.levels { // a supply that the form leaves out is no longer told
		form.Set(fmt.Sprintf("supply%d", i), strconv.Itoa(l))
	}
	at := netip.AddrPortFrom(netip.IPv6Loopback(), uint16(p.Options.Port)) // a pulled cable is no obstacle
	resp, err := p.host.Client().Get(fmt.Sprintf("http://%s/supplies?%s", at, form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(page), "Supplies updated") {
		t.Fatalf("%s: the supplies are not changed: %s, %v\n%s", p.Options.Name, resp.Status, err, page)
	}
}

// Stop ends the printer. Its avahi-daemon says goodbye for it, however it ends; Unplug or PowerOff the host to silence it.
func (p *Printer) Stop(t testing.TB) {
	t.Helper()
	p.program.stop(t, syscall.SIGTERM)
}

// Kill ends the printer as a crash would: avahi-daemon says goodbye all the same.
func (p *Printer) Kill(t testing.TB) {
	t.Helper()
	p.program.stop(t, syscall.SIGKILL)
}

// Restart starts the printer anew, if need be after it was stopped, with another name unless it is empty. What it had
// counted and the levels of its supplies are what they were at first.
func (p *Printer) Restart(t testing.TB, name string) {
	t.Helper()
	p.program.stop(t, syscall.SIGTERM)
	if name != "" {
		p.Options.Name = name
	}
	p.start(t)
}
