package snmp

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ieee1284"
)

// Identify asks the agent at the address who it is: two exchanges with a device whose way is not known, one afterwards.
// Errors: ErrSilent, ErrCredentials, ErrNotPrinter, the network's, the context's.
func (c *Client) Identify(ctx context.Context, addr netip.Addr) (mfpgate.Sighting, error) {
	s, err := c.open(ctx, addr.Unmap())
	defer s.close()
	if err != nil {
		return mfpgate.Sighting{}, err
	}
	return s.identify()
}

func (s *session) identify() (mfpgate.Sighting, error) {
	if err := s.locate(); err != nil {
		return mfpgate.Sighting{}, err
	}
	i := "." + s.know.index
	onInterface := addressInterface(s.addr)
	a, err := s.fetch([]string{
		oidSysDescr, oidSysObjectID, oidSysName, oidSysLocation, onInterface, oidDeviceDescr + i, oidPrinterName + i,
		oidSerialNumber + i, oidDeviceID + ".1", oidHPID, oidLexmark, oidZebra, oidXerox,
	}, []string{oidIfType, oidIfPhysAddress})
	if err != nil {
		return mfpgate.Sighting{}, err
	}

	id := a.deviceID()
	who := mfpgate.Identity{Make: id.Make, Model: id.Model, Serial: id.Serial}
	if who.Make == "" || who.Model == "" {
		// What the 1284 id says stands; the description fills the gap.
		brand, model := ieee1284.SplitMake(a.text(oidDeviceDescr + i))
		if who.Make == "" {
			who.Make = brand
		}
		if who.Model == "" {
			who.Model = model
		}
	}
	if who.Serial == "" {
		who.Serial = mfpgate.CleanSerial(a.text(oidSerialNumber + i))
	}
	who.SysObjectID, _ = a.single[oidSysObjectID].(string)
	who.SysObjectID = strings.TrimPrefix(who.SysObjectID, ".")
	if strings.Count(who.SysObjectID, ".") < 2 || len(who.SysObjectID) > MaxText {
		who.SysObjectID = "" // 0.0 says nothing
	}
	who.MAC = a.mac(onInterface)

	seen := mfpgate.Sighting{
		ID: mfpgate.NewSightingID(mfpgate.SourceSNMP, s.addr.String()), At: s.Clock.Now(), Identity: who,
		Name: a.text(oidSysName), Location: a.text(oidSysLocation), Answered: true,
		Firmware:  firmware(a.text(oidSysDescr), a.text(oidDeviceDescr+i)),
		Endpoints: []mfpgate.Endpoint{{Protocol: mfpgate.ProtocolSNMP, Address: netip.AddrPortFrom(s.addr, s.Port)}},
	}
	if seen.Name == "" {
		seen.Name = a.text(oidPrinterName + i)
	}
	return seen, nil
}

// deviceID is the first IEEE 1284 device id that names a make or a model: PWG 5107.1's place for it, then the vendors'.
func (a *answers) deviceID() ieee1284.ID {
	all := []any{a.single[oidDeviceID+".1"]}
	for _, c := range a.columns[oidDeviceID] {
		all = append(all, c.value)
	}
	for _, oid := range []string{oidHPID, oidLexmark, oidZebra, oidXerox} {
		all = append(all, a.single[oid])
	}
	for _, v := range all {
		if id := ieee1284.Parse(string(octets(v))); id.Make != "" || id.Model != "" {
			return id
		}
	}
	return ieee1284.ID{}
}

// ethernetCsmacd is the ifType (RFC 2863) of wired interfaces; printers show their wireless ones as it, too, or as
// ieee80211(71).
const (
	ethernetCsmacd = 6
	ieee80211      = 71
)

// mac is the hardware address of the interface that has the address that was asked, else of the first Ethernet interface
// that has one.
func (a *answers) mac(onInterface string) string {
	if n, ok := a.number(onInterface); ok {
		if mac := hardware(a.row(oidIfPhysAddress, strconv.FormatInt(n, 10))); mac != "" {
			return mac
		}
	}
	for _, c := range a.columns[oidIfPhysAddress] {
		kind, known := number(a.row(oidIfType, c.index))
		if known && kind != ethernetCsmacd && kind != ieee80211 {
			continue
		}
		if mac := hardware(c.value); mac != "" {
			return mac
		}
	}
	return ""
}

// hardware writes six octets as a MAC address, and nothing for any other number, all zeros, all ones or a group address.
func hardware(v any) string {
	b := octets(v)
	if len(b) != 6 || b[0]&1 != 0 || string(b) == "\x00\x00\x00\x00\x00\x00" {
		return ""
	}
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}

// versions are the forms in which makers put their firmware's version into sysDescr or hrDeviceDescr. No object of a
// standard MIB has it, so what none of them matches stays unknown rather than guessed.
var versions = []*regexp.Regexp{
	// Brother NC-8300w, Firmware Ver.1.15 ,MID 8C5-G09
	regexp.MustCompile(`(?i)\bfirmware[ :]*(?:ver(?:sion)?|rev(?:ision)?)?[. :]*([0-9A-Z][0-9A-Za-z._-]*)`),
	// Lexmark MS415dn version NH41.TL2.N407 kernel 3.0.0 All-N-1
	regexp.MustCompile(`\bversion ([0-9A-Z][0-9A-Za-z._-]*) kernel\b`),
	// Xerox WorkCentre 7855;System Software 073.040.004.06100, ...; Xerox VersaLink C405; System 68.36.91, Controller ...
	regexp.MustCompile(`[;,] ?System (?:Software )?([0-9][0-9.]*)`),
	// Dell 3130cn Color Laser; Net 11.74,ESS 200902042300,IOT 06.07.00
	regexp.MustCompile(`[;,] ?ESS ?([0-9][0-9.]*)`),
	// Samsung CLP-620 Series; OS 1.20.04.03 08-26-2009;Engine 1.01.11;NIC V4.02.14
	regexp.MustCompile(`^Samsung .*; ?(?:OS |V)([0-9][0-9.]*)`),
	// RICOH Aficio MP C2050 1.17 / RICOH Network Printer C model / RICOH Network Scanner C model
	regexp.MustCompile(` ([0-9]+\.[0-9.]+) / \S+ Network Printer`),
	// OKI OkiLAN 8450e Rev.02.73 10/100BASE Ethernet PrintServer: Attached to C5600 Rev.D3.04 : (C)2004
	regexp.MustCompile(`Attached to .* Rev\.([0-9A-Z][0-9A-Z.]*)`),
	// HP ETHERNET MULTI-ENVIRONMENT,ROM none,JETDIRECT,JD153,EEPROM JSI24090012,CIDATE 12/11/2019
	regexp.MustCompile(`JETDIRECT.*,EEPROM ([0-9A-Z][0-9A-Za-z._-]*)`),
}

// firmware is the version that the first form finds in the first text that has one, or empty.
func firmware(texts ...string) string {
	for _, t := range texts {
		for _, form := range versions {
			if m := form.FindStringSubmatch(t); m != nil {
				return strings.TrimRight(m[1], ".-_")
			}
		}
	}
	return ""
}
