package snmp_test

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gosnmp/gosnmp"
)

// mib is what an agent shows, by name without the first dot.
type mib map[string]any

// agent is an SNMP agent of versions 1 and 2c with the habits that a test gives it.
type agent struct {
	mib       mib
	community string
	mute      bool                                                // never answers
	only1     bool                                                // drops version 2c
	noBulk    bool                                                // drops GETBULK
	most      int                                                 // variables in an answer; above it is tooBig
	bend      func(in, out *gosnmp.SnmpPacket, raw []byte) []byte // changes the answer's octets
	next      func(oid string) (string, any, bool)                // instead of the mib's order

	requests atomic.Int64
	mu       sync.Mutex
	gets     int // GET requests
}

// start serves the agent at addr (port 0: any) until the test ends.
func (a *agent) start(t testing.TB, addr string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	names := slices.SortedFunc(maps.Keys(a.mib), compare)
	go func() { // Cleanup waits for it
		defer close(done)
		buffer := make([]byte, 65535)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			a.requests.Add(1)
			if answer := a.answer(names, buffer[:n]); answer != nil {
				_, _ = conn.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func compare(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return cmp.Compare(m, n)
		}
	}
	return cmp.Compare(len(x), len(y))
}

func (a *agent) answer(names []string, raw []byte) []byte {
	in, err := (&gosnmp.GoSNMP{Version: gosnmp.Version2c}).SnmpDecodePacket(raw)
	if err != nil || a.mute || a.community != "" && in.Community != a.community || a.only1 && in.Version != gosnmp.Version1 {
		return nil
	}
	if a.noBulk && in.PDUType == gosnmp.GetBulkRequest {
		return nil
	}
	out := &gosnmp.SnmpPacket{Version: in.Version, Community: in.Community, PDUType: gosnmp.GetResponse, RequestID: in.RequestID}
	fail := func(status gosnmp.SNMPError, index int) {
		if out.Error == gosnmp.NoError {
			out.Error, out.ErrorIndex = status, uint8(index)
		}
	}
	follow := func(oid string) (string, any, bool) {
		oid = strings.TrimPrefix(oid, ".")
		if a.next != nil {
			if name, v, ok := a.next(oid); ok {
				return name, v, true
			}
		}
		i, found := slices.BinarySearchFunc(names, oid, compare)
		if found {
			i++
		}
		if i == len(names) {
			return oid, nil, false
		}
		return names[i], a.mib[names[i]], true
	}
	add := func(oid string, v any, there bool, index int) {
		if !there {
			if in.Version == gosnmp.Version1 {
				fail(gosnmp.NoSuchName, index)
			}
			out.Variables = append(out.Variables, gosnmp.SnmpPDU{Name: "." + oid, Type: gosnmp.EndOfMibView})
			return
		}
		out.Variables = append(out.Variables, variable(oid, v))
	}
	switch in.PDUType {
	case gosnmp.GetRequest:
		a.mu.Lock()
		a.gets++
		a.mu.Unlock()
		for i, v := range in.Variables {
			name := strings.TrimPrefix(v.Name, ".")
			value, there := a.mib[name]
			add(name, value, there, i+1)
		}
	case gosnmp.GetNextRequest:
		for i, v := range in.Variables {
			name, value, there := follow(v.Name)
			add(name, value, there, i+1)
		}
	case gosnmp.GetBulkRequest:
		singles := min(int(in.NonRepeaters), len(in.Variables))
		for _, v := range in.Variables[:singles] {
			name, value, there := follow(v.Name)
			add(name, value, there, 0)
		}
		at := in.Variables[singles:]
		for range in.MaxRepetitions {
			for i := range at {
				name, value, there := follow(at[i].Name)
				add(name, value, there, 0)
				at[i].Name = name
			}
		}
	}
	if a.most > 0 && len(out.Variables) > a.most {
		fail(gosnmp.TooBig, 0)
	}
	if out.Error != gosnmp.NoError {
		out.Variables = in.Variables
		for i := range out.Variables {
			out.Variables[i].Type, out.Variables[i].Value = gosnmp.Null, nil
		}
	}
	encoded, err := out.MarshalMsg()
	if err != nil {
		return nil
	}
	if a.bend != nil {
		encoded = a.bend(in, out, encoded)
	}
	return encoded
}

// variable encodes a value by its Go type: int, uint32 as a counter, string as octets, oid as a name.
func variable(name string, v any) gosnmp.SnmpPDU {
	switch v := v.(type) {
	case int:
		return gosnmp.SnmpPDU{Name: "." + name, Type: gosnmp.Integer, Value: v}
	case uint32:
		return gosnmp.SnmpPDU{Name: "." + name, Type: gosnmp.Counter32, Value: v}
	case oid:
		return gosnmp.SnmpPDU{Name: "." + name, Type: gosnmp.ObjectIdentifier, Value: string(v)}
	case string:
		return gosnmp.SnmpPDU{Name: "." + name, Type: gosnmp.OctetString, Value: []byte(v)}
	}
	panic("a type that no test uses")
}

type oid string

// copier is a printer with everything, at hrDeviceIndex d.
func copier(d string) mib {
	m := mib{
		"1.3.6.1.2.1.1.1.0":                     "Acme Net, Firmware Ver.1.15 ,MID 8C5",
		"1.3.6.1.2.1.1.2.0":                     oid(".1.3.6.1.4.1.9999.1"),
		"1.3.6.1.2.1.1.5.0":                     "copier-2f",
		"1.3.6.1.2.1.1.6.0":                     "Floor 2",
		"1.3.6.1.2.1.2.2.1.3.1":                 24, // softwareLoopback
		"1.3.6.1.2.1.2.2.1.3.2":                 6,
		"1.3.6.1.2.1.2.2.1.3.3":                 6,
		"1.3.6.1.2.1.2.2.1.6.1":                 "",
		"1.3.6.1.2.1.2.2.1.6.2":                 "\x02\x00\x00\x00\x00\x02",
		"1.3.6.1.2.1.2.2.1.6.3":                 "\x02\x00\x00\x00\x00\x03",
		"1.3.6.1.2.1.4.20.1.2.127.0.0.1":        3,
		"1.3.6.1.2.1.25.3.2.1.2." + d:           oid(".1.3.6.1.2.1.25.3.1.5"),
		"1.3.6.1.2.1.25.3.2.1.3." + d:           "RICOH Aficio MP C2050",
		"1.3.6.1.2.1.25.3.2.1.5." + d:           2,
		"1.3.6.1.2.1.25.3.5.1.1." + d:           3,
		"1.3.6.1.2.1.25.3.5.1.2." + d:           "\x80",
		"1.3.6.1.2.1.43.5.1.1.16." + d:          "MP C2050",
		"1.3.6.1.2.1.43.5.1.1.17." + d:          "V1234567890",
		"1.3.6.1.2.1.43.10.2.1.3." + d + ".1":   7,
		"1.3.6.1.2.1.43.10.2.1.4." + d + ".1":   uint32(4294967295),
		"1.3.6.1.2.1.43.10.2.1.3." + d + ".2":   8,
		"1.3.6.1.2.1.43.10.2.1.4." + d + ".2":   uint32(12),
		"1.3.6.1.2.1.43.16.5.1.2." + d + ".1.1": "Ready\x00junk",
		"1.3.6.1.2.1.43.18.1.1.2." + d + ".5":   4,
		"1.3.6.1.2.1.43.18.1.1.7." + d + ".5":   807,
		"1.3.6.1.2.1.43.18.1.1.2." + d + ".9":   3,
		"1.3.6.1.2.1.43.18.1.1.7." + d + ".9":   1109,
	}
	for _, s := range []struct {
		index, name                             string
		colorant, class, kind, unit, top, level int
	}{
		{"1", "Noir \xe9t\xe9", 1, 3, 21, 19, 100, 60},
		{"4", "Cyan", 2, 3, 21, 19, 100, -3}, // a gap before it
		{"7", "Waste", 0, 4, 4, 13, -2, -2},
	} {
		at := "." + d + "." + s.index
		for column, v := range map[string]any{"3": s.colorant, "4": s.class, "5": s.kind, "6": s.name, "7": s.unit, "8": s.top, "9": s.level} {
			m["1.3.6.1.2.1.43.11.1.1."+column+at] = v
		}
	}
	m["1.3.6.1.2.1.43.12.1.1.4."+d+".1"] = "Black"
	m["1.3.6.1.2.1.43.12.1.1.4."+d+".2"] = "cyan"
	m["1.3.6.1.2.1.43.99.1.0"] = 1
	m["1.3.6.1.4.1.99999.1.0"] = 1
	return m
}

func without(m mib, prefixes ...string) mib {
	maps.DeleteFunc(m, func(name string, _ any) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
	return m
}

func with(m mib, more mib) mib {
	maps.Copy(m, more)
	return m
}
