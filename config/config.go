package config

import (
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
)

// Config is one read of the file. Nobody changes it: a reload makes another one. What was not configured is at its default
// or, where it has none, at its zero value, which is "off".
type Config struct {
	Site     Site
	StateDir string // absolute
	Relay    Relay
	Devices  Devices
	USB      USB
	Schedule Schedule

	PrintServices []PrintService
	Registration  Registration
	Mail          Mail
	Region        Region

	Portal  Portal
	Metrics Metrics
	Cloud   Cloud
	Log     Log
}

// Site is where the gateway stands.
type Site struct {
	Name     string // [a-z0-9-], 1 to 63
	Region   string // ISO 3166-1 alpha-2, lower case
	TimeZone *time.Location
	Location string
}

// Relay says who may use the relay, where it may go and how much of it one device gets.
type Relay struct {
	Listen         []string // host:port; port 0 takes a free one
	Clients        []netip.Prefix
	Accounts       Accounts
	Gateways       []Gateway
	UnknownDevices UnknownDevices
	Allow          []mfpgate.AllowRule
	Capacity       Capacity
	PerDevice      PerDevice
	DNSServers     []netip.AddrPort // asked in this order; none: those of /etc/resolv.conf
	Upstream       Upstream
	Timeouts       Timeouts
}

// Accounts is the htpasswd file of devices that identify themselves; File is "" when there are none. Load has found it
// readable and every account that the configuration names in it; the hashes are the relay's to judge.
type Accounts struct{ File string }

// Gateway is an inner gateway: a client with an account that may name devices in a header signed with Key.
type Gateway struct {
	Account string
	Key     mfpgate.Secret
}

// UnknownDevices says what happens to a client that is no configured device.
type UnknownDevices string

// The two answers to an unknown device.
const (
	Admit  UnknownDevices = "admit"
	Refuse UnknownDevices = "refuse"
)

// Capacity is how many devices are served at once, and how the others wait.
type Capacity struct {
	Devices      int                     // outside the calendar's steps
	Calendar     []calendar.CapacityStep // as configured
	InForce      *calendar.Capacity      // Devices and Calendar by the local clock of site.time_zone
	QueueTimeout time.Duration
	Linger       time.Duration
}

// PerDevice bounds what one device takes of the relay.
type PerDevice struct {
	Connections int
	Rate        ByteSize // per second; 0 is unlimited
}

// ByteSize is a number of bytes.
type ByteSize int64

// Upstream is the proxy through which the relay dials; URL is nil when it dials itself.
type Upstream struct {
	URL       *url.URL // http, a host and a port, nothing more
	User      string   // "" for none; Password is set with it
	Password  mfpgate.Secret
	Except    []mfpgate.HostPattern // dialled directly
	DeviceKey mfpgate.Secret        // signs the header that names devices to another mfpgate; "" sends none
}

// Timeouts bound each phase of a connection and the end of the process.
type Timeouts struct {
	Dial  time.Duration // to the destination or the upstream, names resolved and TLS included
	Idle  time.Duration // without a byte in either direction
	Drain time.Duration // for open tunnels when the relay stops
	Head  time.Duration // for a request's head to arrive
}

// Devices is how devices are found, and what the administrator says of them.
type Devices struct {
	Monitoring mfpgate.MonitoringMode // where nothing nearer to the device says otherwise
	Ranges     []DeviceRange
	DNSSD      bool
	SNMP       SNMP
	Polling    Polling
	Static     []StaticDevice
}

// DeviceRange is what holds for the devices of a network; "" leaves a setting to a wider range.
type DeviceRange struct {
	Network    netip.Prefix
	Monitoring mfpgate.MonitoringMode
	Market     string // ISO 3166-1 alpha-2, lower case

	Registration mfpgate.RegistrationMode
}

// SNMP is off without communities and users.
type SNMP struct {
	Ranges      []netip.Prefix
	Communities []string
	Users       []SNMPUser
	Port        uint16
	ScanEvery   time.Duration
}

// SNMPUser is a user of the User-based Security Model (RFC 3414).
type SNMPUser struct {
	Name            string
	Auth            string // none, md5, sha, sha224, sha256, sha384 or sha512
	AuthPassword    mfpgate.Secret
	Privacy         string // none, des, aes, aes192 or aes256
	PrivacyPassword mfpgate.Secret
	Context         string
}

// Polling is how often devices are asked.
type Polling struct{ Status, Supplies, Counters, Heartbeat time.Duration }

// StaticDevice is known by its address, its account or both.
type StaticDevice struct {
	Name       string
	Address    netip.Addr // the zero Addr when only the account is given
	Account    string
	Monitoring mfpgate.MonitoringMode // "" is the range's or the default
	Market     string
	URI        *url.URL // ipp or ipps; nil is the usual ports

	Registration mfpgate.RegistrationMode // "" is the range's, or delegate
}

// Portal is the pages of administrators and users; Listen is "" when it is off.
type Portal struct {
	Listen string
	URL    *url.URL // where browsers reach it; nil is not known
	TLS    TLS
}

// TLS names certificate and key; both are "" when the portal makes its own.
type TLS struct{ Cert, Key string }

// Metrics is the endpoint of /metrics, /healthz and /readyz; Listen is "" when it is off.
type Metrics struct{ Listen string }

// Cloud is the region's cloud; URL is nil when the gateway has none, and all three are set otherwise.
type Cloud struct {
	URL       *url.URL // https, or http on loopback
	GatewayID string
	Token     mfpgate.Secret
}

// Log is how much is logged: debug, info, warn or error.
type Log struct{ Level string }

// MaxSize bounds the file, in bytes.
const MaxSize = 1 << 20

// Lookups are the only ways in which a configuration reaches outside its own text.
type Lookups struct {
	Open func(path string) (fs.File, error) // an absolute path
	Env  func(name string) string
	// NoUSB is why this program cannot drive printers on USB, and the fix, as "rule; fix"; nil: it can.
	NoUSB error
}

// System looks up in this machine's files and the process's environment.
func System() Lookups {
	return Lookups{
		// Without O_NONBLOCK a FIFO in a secret's place would hold up the start for ever.
		Open: func(path string) (fs.File, error) { return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) },
		Env:  os.Getenv,
	}
}

// Load reads the file at path. It returns Errors when the text is at fault, and another error when the file cannot be read.
func Load(path string, look Lookups) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, src, look)
}

// Parse reads src, which errors call name. The error is of type Errors and never empty.
func Parse(name string, src []byte, look Lookups) (*Config, error) {
	r := &reader{file: name, look: look, seen: map[string]place{}, values: map[string]place{}, bad: map[string]bool{}}
	c := &Config{}
	table := keys(c)
	table.fill()
	if root := r.document(src); root != nil {
		table.read(r, "", root)
		r.check(c)
	}
	if len(r.errs) > 0 {
		return nil, r.sorted()
	}
	return c, nil
}
