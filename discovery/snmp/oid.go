package snmp

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// The objects that are asked for; those of a table are columns, which an index completes.
const (
	oidSysDescr    = ".1.3.6.1.2.1.1.1.0" // SNMPv2-MIB, RFC 3418
	oidSysObjectID = ".1.3.6.1.2.1.1.2.0"
	oidSysName     = ".1.3.6.1.2.1.1.5.0"
	oidSysLocation = ".1.3.6.1.2.1.1.6.0"

	oidIfType           = ".1.3.6.1.2.1.2.2.1.3" // IF-MIB, RFC 2863
	oidIfPhysAddress    = ".1.3.6.1.2.1.2.2.1.6"
	oidIPAdEntIfIndex   = ".1.3.6.1.2.1.4.20.1.2" // RFC 1213, by IPv4 address
	oidIPAddressIfIndex = ".1.3.6.1.2.1.4.34.1.3" // IP-MIB, RFC 4293, by type, length and address

	oidDeviceType    = ".1.3.6.1.2.1.25.3.2.1.2" // HOST-RESOURCES-MIB, RFC 2790, by hrDeviceIndex
	oidDeviceType1   = oidDeviceType + ".1"
	oidTypePrinter   = ".1.3.6.1.2.1.25.3.1.5"
	oidDeviceDescr   = ".1.3.6.1.2.1.25.3.2.1.3"
	oidDeviceStatus  = ".1.3.6.1.2.1.25.3.2.1.5"
	oidPrinterStatus = ".1.3.6.1.2.1.25.3.5.1.1"
	oidPrinterErrors = ".1.3.6.1.2.1.25.3.5.1.2"

	oidPrinterName     = ".1.3.6.1.2.1.43.5.1.1.16" // Printer-MIB, RFC 3805, by hrDeviceIndex
	oidSerialNumber    = ".1.3.6.1.2.1.43.5.1.1.17"
	oidMarkerUnit      = ".1.3.6.1.2.1.43.10.2.1.3" // and by marker
	oidMarkerLifeCount = ".1.3.6.1.2.1.43.10.2.1.4"
	oidMarkerStatus    = ".1.3.6.1.2.1.43.10.2.1.15"
	oidSupplyColorant  = ".1.3.6.1.2.1.43.11.1.1.3" // and by supply
	oidSupplyClass     = ".1.3.6.1.2.1.43.11.1.1.4"
	oidSupplyType      = ".1.3.6.1.2.1.43.11.1.1.5"
	oidSupplyName      = ".1.3.6.1.2.1.43.11.1.1.6"
	oidSupplyUnit      = ".1.3.6.1.2.1.43.11.1.1.7"
	oidSupplyMax       = ".1.3.6.1.2.1.43.11.1.1.8"
	oidSupplyLevel     = ".1.3.6.1.2.1.43.11.1.1.9"
	oidColorant        = ".1.3.6.1.2.1.43.12.1.1.4" // and by colorant
	oidConsoleText     = ".1.3.6.1.2.1.43.16.5.1.2" // and by line
	oidAlertSeverity   = ".1.3.6.1.2.1.43.18.1.1.2" // and by alert
	oidAlertCode       = ".1.3.6.1.2.1.43.18.1.1.7"

	oidDeviceID = ".1.3.6.1.4.1.2699.1.2.1.2.1.1.3" // ppmPrinterIEEE1284DeviceId, PWG 5107.1, by printer
	oidHPID     = ".1.3.6.1.4.1.11.2.3.9.1.1.7.0"   // and the vendors' own places for it
	oidLexmark  = ".1.3.6.1.4.1.641.2.1.2.1.3.1"
	oidZebra    = ".1.3.6.1.4.1.10642.1.3.0"
	oidXerox    = ".1.3.6.1.4.1.128.2.1.3.1.2.0"
)

// before is a name such that the next one is oid, if the agent has it: that of the last arc less one, or without it.
func before(oid string) string {
	i := strings.LastIndexByte(oid, '.')
	n, err := strconv.ParseUint(oid[i+1:], 10, 32)
	if err != nil || n == 0 {
		return oid[:i]
	}
	return oid[:i+1] + strconv.FormatUint(n-1, 10)
}

// under is the part of oid below column, as an index; ok is false for a name elsewhere.
func under(oid, column string) (index string, ok bool) {
	rest, ok := strings.CutPrefix(oid, column)
	if !ok || len(rest) < 2 || rest[0] != '.' {
		return "", false
	}
	return rest[1:], true
}

// after reports whether name a comes after name b in the order of the tree.
func after(a, b string) bool {
	a, b = strings.TrimPrefix(a, "."), strings.TrimPrefix(b, ".")
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if x != y {
			if len(x) != len(y) { // no leading zeros: the longer number is the greater
				return len(x) > len(y)
			}
			return x > y
		}
	}
	return a != ""
}

// addressInterface is where an agent says which interface has an address.
func addressInterface(addr netip.Addr) string {
	raw := addr.WithZone("").AsSlice()
	var b strings.Builder
	if addr.Is4() {
		b.WriteString(oidIPAdEntIfIndex)
	} else {
		b.WriteString(oidIPAddressIfIndex + ".2.16") // InetAddressType ipv6(2)
	}
	for _, octet := range raw {
		b.WriteByte('.')
		b.WriteString(strconv.Itoa(int(octet)))
	}
	return b.String()
}

// number is an integer of any of the types that agents use for one.
func number(v any) (int64, bool) {
	switch n := v.(type) {
	case int:
		return int64(n), true
	case uint:
		return int64(n), true
	case uint32:
		return int64(n), true
	case uint64:
		return int64(min(n, 1<<63-1)), true
	case int64:
		return n, true
	}
	return 0, false
}

// octets is an octet string, however the library hands it over.
func octets(v any) []byte {
	switch b := v.(type) {
	case []byte:
		return b
	case string:
		return []byte(b)
	}
	return nil
}

// bits reads a BITS of RFC 2578 §7.1.4 of any length: bit 0 is the first octet's most significant.
func bits(raw []byte) uint32 {
	var four [4]byte
	copy(four[:], raw)
	return binary.BigEndian.Uint32(four[:])
}
