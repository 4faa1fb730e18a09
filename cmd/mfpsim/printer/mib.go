package printer

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gosnmp/gosnmp"
)

type oid []uint32

// parseOID reads dotted numbers, with or without a first dot; ok is false for anything else.
func parseOID(text string) (o oid, ok bool) {
	text = strings.TrimPrefix(text, ".")
	o = make(oid, 0, 16)
	for part := range strings.SplitSeq(text, ".") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || len(o) == 128 {
			return nil, false
		}
		o = append(o, uint32(n))
	}
	return o, true
}

// object is one variable of the agent.
type object struct {
	oid   oid
	text  string
	value func(*view) (gosnmp.Asn1BER, any)
}

// mib has its objects in the order of their identifiers.
type mib []object

// shape says which objects there are. Printers of one shape share a mib.
type shape struct {
	supplies, colorants, alerts int
}

func (v *view) shape() shape {
	return shape{supplies: len(v.levels), colorants: len(v.colorants()), alerts: len(v.reasons)}
}

// mibs keeps one mib per shape: at most maxSupplies × maxReasons, a few in practice.
type mibs struct {
	mu  sync.RWMutex
	all map[shape]mib
}

func (m *mibs) of(v *view) mib {
	sh := v.shape()
	m.mu.RLock()
	found := m.all[sh]
	m.mu.RUnlock()
	if found != nil {
		return found
	}
	made := newMIB(sh)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all[sh] = made
	return made
}

// look finds the variable itself, or the one after it.
func (m mib) look(v *view, name string, next bool, version gosnmp.SnmpVersion) (_ gosnmp.SnmpPDU, found bool) {
	o, ok := parseOID(name)
	if !ok {
		return gosnmp.SnmpPDU{Name: name, Type: gosnmp.NoSuchObject}, false
	}
	i, exact := slices.BinarySearchFunc(m, o, func(a object, b oid) int { return slices.Compare(a.oid, b) })
	switch {
	case next && exact:
		i++
	case !next && !exact:
		return gosnmp.SnmpPDU{Name: name, Type: gosnmp.NoSuchInstance}, false
	}
	if i == len(m) {
		return gosnmp.SnmpPDU{Name: name, Type: gosnmp.EndOfMibView}, false
	}
	kind, value := m[i].value(v)
	return gosnmp.SnmpPDU{Name: m[i].text, Type: kind, Value: value}, true
}

// bulk is GETBULK (RFC 3416 §4.2.3), cut where the message is full.
func (m mib) bulk(v *view, request *gosnmp.SnmpPacket) (all []gosnmp.SnmpPDU) {
	room := maxSNMPAnswer - 64 - len(request.Community)
	add := func(name string) (next string, ok bool) {
		variable, _ := m.look(v, name, true, request.Version)
		if room -= size(variable); room < 0 {
			return "", false
		}
		all = append(all, variable)
		return variable.Name, true
	}
	single := min(int(request.NonRepeaters), len(request.Variables))
	for _, asked := range request.Variables[:single] {
		if _, ok := add(asked.Name); !ok {
			return all
		}
	}
	at := make([]string, 0, len(request.Variables)-single)
	for _, asked := range request.Variables[single:] {
		at = append(at, asked.Name)
	}
	for repetition := uint32(0); repetition < request.MaxRepetitions && len(at) > 0; repetition++ {
		ended := true
		for i := range at {
			next, ok := add(at[i])
			if !ok {
				return all
			}
			at[i], ended = next, ended && all[len(all)-1].Type == gosnmp.EndOfMibView
		}
		if ended {
			return all
		}
	}
	return all
}

// size bounds a variable's encoding in bytes.
func size(pdu gosnmp.SnmpPDU) int {
	n := 10 // three tags with their lengths
	for part := range strings.SplitSeq(pdu.Name, ".") {
		n += (len(part) + 1) / 2 // seven bits a byte: 127, 16383, 2097151...
	}
	switch value := pdu.Value.(type) {
	case string:
		n += len(value)
	case []byte:
		n += len(value)
	default:
		n += 6
	}
	return n
}
