package snmp

import (
	"net/netip"

	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate"
)

// Digest does with a packet all that is done with an agent's answer after the socket, and returns the texts that come of it.
func Digest(packet []byte) (texts []string, volume int) {
	if id, community, ok := decode(packet); ok {
		_ = id
		texts = append(texts, text([]byte(community)))
	}
	var p *gosnmp.SnmpPacket
	func() {
		defer func() { _ = recover() }() // as the library does around its own use of the decoder
		p, _ = (&gosnmp.GoSNMP{Version: gosnmp.Version2c}).SnmpDecodePacket(packet)
	}()
	if p == nil {
		return texts, 0
	}
	a := &answers{single: map[string]any{}, columns: map[string][]cell{}}
	var asked []*want
	for _, oid := range []string{oidSysDescr, oidDeviceID + ".1", oidPrinterErrors + ".1"} {
		asked = append(asked, &want{oid: oid, next: before(oid), single: true})
	}
	for _, oid := range []string{oidIfPhysAddress, oidConsoleText + ".1", oidAlertCode + ".1", oidSupplyName + ".1", oidDeviceID} {
		asked = append(asked, &want{oid: oid, next: oid})
	}
	volume = a.take(p.Variables, asked, true)
	id := a.deviceID()
	texts = append(texts, id.Make, id.Model, id.Serial, a.mac(oidIfPhysAddress+".1"), a.text(oidSysDescr), firmware(a.text(oidSysDescr)))
	for _, column := range a.columns {
		for _, c := range column {
			n, _ := number(c.value)
			texts = append(texts, text(c.value), alertKeyword(n), supplyType(n), unit(n))
		}
	}
	worst := map[string]string{}
	detected(octets(a.single[oidPrinterErrors+".1"]), mfpgate.PrinterStopped, worst)
	for keyword, suffix := range worst {
		texts = append(texts, keyword+suffix)
	}
	return texts, volume
}

// Reasons are the keywords of hrPrinterDetectedErrorState.
func Reasons(raw []byte, state mfpgate.PrinterState) map[string]string {
	worst := map[string]string{}
	detected(raw, state, worst)
	return worst
}

// After and Before are the order of names.
func After(a, b string) bool   { return after(a, b) }
func Before(oid string) string { return before(oid) }

// Remember puts n addresses into a memory of the given size, and says how many it keeps.
func Remember(size, n int) int {
	m := newMemory(size)
	firstAddr := netip.MustParseAddr("10.0.0.1")
	addr := firstAddr
	for range n {
		m.put(addr, knowledge{})
		addr = addr.Next()
	}
	if _, ok := m.get(firstAddr); ok && n > size {
		return -1 // the oldest should have gone
	}
	return len(m.at)
}
