package mfpgate

import (
	"net/netip"
	"strings"
	"time"
)

// Source is how the gateway came to know of something.
type Source string

// The sources, and what the name of a sighting of each is.
const (
	SourceDNSSD  Source = "dns-sd" // the service instance: Copier 2F._ipp._tcp.local
	SourceSNMP   Source = "snmp"   // the agent's address
	SourceIPP    Source = "ipp"    // the printer's URI
	SourceUSB    Source = "usb"    // bus and port, as the kernel names them: 1-2.4
	SourceStatic Source = "static" // the name in the configuration
	SourceRelay  Source = "relay"  // the source address of a connection, or its account
)

// SightingID names one thing that one source shows, for as long as it shows it: the source, a colon, and the source's own
// name for it. One device may have many.
type SightingID string

// NewSightingID joins source and name.
func NewSightingID(source Source, name string) SightingID {
	return SightingID(string(source) + ":" + name)
}

// Source is the part before the colon.
func (id SightingID) Source() Source {
	source, _, _ := strings.Cut(string(id), ":")
	return Source(source)
}

// Identity is what one source knows of who a device is, as the device says it. What it does not say is empty.
type Identity struct {
	UUID        string `json:"uuid,omitempty"`        // printer-uuid (PWG 5100.13), TXT UUID: without "urn:uuid:"
	Make        string `json:"make,omitempty"`        // IEEE 1284 MFG
	Model       string `json:"model,omitempty"`       // IEEE 1284 MDL
	Serial      string `json:"serial,omitempty"`      // IEEE 1284 SN, prtGeneralSerialNumber, printer-serial-number
	SysObjectID string `json:"sysObjectId,omitempty"` // SNMPv2-MIB, dotted
	MAC         string `json:"mac,omitempty"`         // of the interface that answered, xx:xx:xx:xx:xx:xx
	USB         string `json:"usb,omitempty"`         // VID:PID:serial in hex and as the device says it
}

// Protocol is what a device speaks at an endpoint.
type Protocol string

// The protocols that devices are found by.
const (
	ProtocolIPP       Protocol = "ipp"
	ProtocolIPPS      Protocol = "ipps"
	ProtocolLPD       Protocol = "lpd"       // RFC 1179
	ProtocolAppSocket Protocol = "appsocket" // raw port, usually 9100
	ProtocolESCL      Protocol = "escl"
	ProtocolESCLS     Protocol = "escls"
	ProtocolSNMP      Protocol = "snmp"
	ProtocolUSB       Protocol = "usb" // a printer class interface without HTTP: Endpoint.Path is the port
)

// Endpoint is where a device speaks a protocol.
type Endpoint struct {
	Protocol Protocol       `json:"protocol"`
	Address  netip.AddrPort `json:"address"`        // with its zone if it is link-local
	Host     string         `json:"host,omitempty"` // the name that the device gives itself, for TLS and the Host field; no final dot
	Path     string         `json:"path,omitempty"` // without the first slash: ipp/print
}

// Sighting is what a source shows of one device at one time.
type Sighting struct {
	ID       SightingID `json:"sightingId"`
	At       time.Time  `json:"at"`
	Identity Identity   `json:"identity"`
	Name     string     `json:"name,omitempty"`     // what the device calls itself
	Location string     `json:"location,omitempty"` // where it says it stands
	Firmware string     `json:"firmware,omitempty"`
	// Endpoints are those that the source names. Only those that answered themselves are Answered: a device with several
	// interfaces announces all its addresses, and others' in the same machine.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
	Answered  bool       `json:"answered,omitempty"` // the endpoints answered the gateway: their addresses are the device's
	// Gone says that the source withdrew it: a goodbye (RFC 6762 §10.1), records that expired, a plug that was pulled.
	Gone bool `json:"gone,omitempty"`
}
