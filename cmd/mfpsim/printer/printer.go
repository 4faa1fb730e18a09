package printer

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Options are one printer. Addresses and Serial are required; the rest has defaults, of which UUID, MAC and Host follow from
// the serial number.
type Options struct {
	Addresses   []netip.Addr // of this machine; each belongs to one printer
	Name        string       // as its owner calls it; "": make and model and the end of the serial number
	Make        string       // "": Simulated
	Model       string       // "": SIM-100
	Serial      string
	UUID        string // without "urn:uuid:"
	MAC         net.HardwareAddr
	Host        string // DNS label; the name is this and .local
	Location    string
	Firmware    string // "": 1.0
	SysObjectID string // dotted; "": under RFC 5612's number for examples
	Supplies    []mfpgate.Supply
	Impressions int64 // printed before

	NoIPP   bool
	NoSNMP  bool
	DNSSD   bool // it announces itself, if its site does
	Scanner bool // it announces eSCL as well
}

// Meter is one of a printer's counters over its life.
type Meter uint8

// The counters, as IPP's printer-...-completed has them.
const (
	Impressions Meter = iota
	ImpressionsColor
	MediaSheets
	Pages
	meters
)

type power uint8

const (
	on power = iota
	off
	unplugged
)

// Printer is one simulated MFP's printing side. It is safe for concurrent use.
type Printer struct {
	site  *Site
	stats stats

	mu            sync.Mutex
	o             Options
	levels        []int64 // of o.Supplies, whose own levels are those at the start
	state         mfpgate.PrinterState
	message       string
	reasons       []string // as set
	trouble       string   // what the printer's own life brought, besides
	counters      [meters]int64
	sinceOn       int64 // impressions
	started       time.Time
	stateSince    time.Time
	configSince   time.Time
	configChanges uint32
	power         power
	conns         map[net.Conn]struct{}
	own           *sockets // with OwnSockets, while it is not off
	ports         ports    // that they have, also while it is off
}

var toners = []mfpgate.Supply{
	{Index: "1", Name: "Black toner", Type: "toner", Color: "black", Unit: "percent", Level: 80, Max: 100},
	{Index: "2", Name: "Cyan toner", Type: "toner", Color: "cyan", Unit: "percent", Level: 70, Max: 100},
	{Index: "3", Name: "Magenta toner", Type: "toner", Color: "magenta", Unit: "percent", Level: 60, Max: 100},
	{Index: "4", Name: "Yellow toner", Type: "toner", Color: "yellow", Unit: "percent", Level: 50, Max: 100},
	{Index: "5", Name: "Waste toner box", Type: "wasteToner", Receives: true, Unit: "percent", Level: 10, Max: 100},
	{Index: "6", Name: "Fuser kit", Type: "fuser", Unit: "impressions", Level: 180_000, Max: 225_000},
}

func newPrinter(s *Site, o Options) (*Printer, error) {
	if o.Serial == "" {
		return nil, errors.New("a printer needs a serial number")
	}
	addresses, err := plain(o.Addresses)
	if err != nil {
		return nil, err
	}
	digest := digestOf(o.Make, o.Model, o.Serial)
	o.Addresses = addresses
	o.Make, o.Model, o.Firmware = cmp.Or(o.Make, Make), cmp.Or(o.Model, "SIM-100"), cmp.Or(o.Firmware, "1.0")
	o.Name = cmp.Or(o.Name, fmt.Sprintf("%s %s (%s)", o.Make, o.Model, o.Serial))
	o.UUID = cmp.Or(o.UUID, uuid([16]byte(digest[:16])))
	if o.MAC == nil {
		o.MAC = net.HardwareAddr{0x02, digest[16], digest[17], digest[18], digest[19], digest[20]}
	}
	o.Host = cmp.Or(o.Host, strings.ToLower(fmt.Sprintf("mfp%x", []byte(o.MAC))))
	o.SysObjectID = cmp.Or(o.SysObjectID, "1.3.6.1.4.1.32473.1.1")
	if o.Supplies == nil {
		o.Supplies = toners
	}
	if len(o.Supplies) > maxSupplies {
		return nil, fmt.Errorf("%d supplies: at most %d", len(o.Supplies), maxSupplies)
	}
	p := &Printer{site: s, o: o, state: mfpgate.PrinterIdle, levels: make([]int64, len(o.Supplies))}
	for i, supply := range o.Supplies {
		p.levels[i] = supply.Level
	}
	p.counters = [meters]int64{o.Impressions, o.Impressions / 3, o.Impressions * 2 / 3, o.Impressions}
	now := s.now()
	p.started, p.stateSince, p.configSince = now, now, now
	return p, nil
}

// maxSupplies bounds what one printer has.
const maxSupplies = 64

// plain refuses what cannot be a printer's address, and leaves the forms that the sockets show.
func plain(addresses []netip.Addr) ([]netip.Addr, error) {
	if len(addresses) == 0 {
		return nil, errors.New("a printer needs an address")
	}
	all := make([]netip.Addr, len(addresses))
	for i, a := range addresses {
		if all[i] = a.Unmap().WithZone(""); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
			return nil, fmt.Errorf("address %q: a printer cannot have it", a)
		}
	}
	return all, nil
}

// Make is what a printer says whose Options name none.
const Make = "Simulated"

// UUID is what a printer of these Options says, if they name none.
func UUID(maker, model, serial string) string {
	digest := digestOf(maker, model, serial)
	return uuid([16]byte(digest[:16]))
}

func digestOf(maker, model, serial string) [sha256.Size]byte {
	return sha256.Sum256([]byte(maker + "\x00" + model + "\x00" + serial))
}

// uuid writes a version 8 UUID (RFC 9562 §5.8), whose bits are ours to define.
func uuid(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// SetState says what the printer does. It returns to idle by itself only after a job of its own.
func (p *Printer) SetState(state mfpgate.PrinterState, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enter(state, message)
}

func (p *Printer) enter(state mfpgate.PrinterState, message string) {
	if p.state != state {
		p.stateSince = p.site.now()
	}
	p.state, p.message = state, message
}

// SetReasons replaces the reasons (keywords with -error, -warning or -report; none: clears them). Those that follow from
// supplies (toner-low-warning) come by themselves.
func (p *Printer) SetReasons(reasons ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reasons = slices.Clone(reasons)
}

// SetSupply changes the level of a supply; the error says that it has none of that index.
func (p *Printer) SetSupply(index string, level int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.o.Supplies, func(s mfpgate.Supply) bool { return s.Index == index })
	if i < 0 {
		return fmt.Errorf("supply %q: the printer has no such", index)
	}
	p.levels[i] = level
	return nil
}

// AddCounter counts n more. Counters do not count each other: a colour sheet is the caller's to add to all.
func (p *Printer) AddCounter(m Meter, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(m, n)
}

func (p *Printer) count(m Meter, n int64) {
	p.counters[m] = min(p.counters[m]+n, math.MaxInt32)
	if m == Impressions {
		p.sinceOn += n
	}
}

// ResetCounters sets all to zero, as a new main board does.
func (p *Printer) ResetCounters() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counters, p.sinceOn = [meters]int64{}, 0
}

// SetFirmware is what it runs from now on.
func (p *Printer) SetFirmware(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.o.Firmware = version
	p.reconfigured()
}

func (p *Printer) reconfigured() {
	p.configChanges++
	p.configSince = p.site.now()
}

// SetName renames it: the old name is withdrawn, the new one announced.
func (p *Printer) SetName(name string) error {
	return p.rename(func() { p.o.Name = name; p.reconfigured() })
}

// rename withdraws the printer's names, changes them and announces it again.
func (p *Printer) rename(change func()) error {
	if p.site.mdns == nil || !p.announced() {
		p.mu.Lock()
		defer p.mu.Unlock()
		change()
		return nil
	}
	before := p.view()
	p.mu.Lock()
	o := p.o
	change()
	p.mu.Unlock()
	p.site.mdns.remove(p)
	if err := p.site.mdns.add(p); err != nil {
		p.mu.Lock()
		p.o = o
		p.mu.Unlock()
		return errors.Join(err, p.site.mdns.add(p))
	}
	if before.power == on {
		p.site.mdns.goodbye(before)
	}
	p.announce()
	return nil
}

func (p *Printer) announced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.o.DNSSD
}

// SetAddress moves it to other addresses.
func (p *Printer) SetAddress(addresses ...netip.Addr) error {
	next, err := plain(addresses)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.o.Addresses
	p.mu.Unlock()
	if err := p.site.claim(p, old, next); err != nil {
		return err
	}
	p.mu.Lock()
	p.o.Addresses = next
	p.reconfigured()
	power := p.power
	p.mu.Unlock()
	p.hangUp()
	if p.site.o.OwnSockets && power != off {
		p.closeOwn()
		if err := p.openOwn(); err != nil {
			return err
		}
	}
	p.site.filter()
	p.announce()
	return nil
}

// Stats count what it received.
func (p *Printer) Stats() Stats { return p.stats.read() }
