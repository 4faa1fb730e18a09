package printer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"

	"github.com/mfpgate/mfpgate"
)

type valueOf = func(*view) (gosnmp.Asn1BER, any)

// newMIB lists what the agent has: MIB-II, HOST-RESOURCES (RFC 2790), Printer MIB (RFC 3805) and PWG 5107.1.
func newMIB(sh shape) mib {
	var m mib
	add := func(text string, value valueOf) {
		o, ok := parseOID(text)
		if !ok {
			panic("mib: " + text)
		}
		m = append(m, object{oid: o, text: "." + text, value: value})
	}
	for text, value := range scalars {
		add(text, value)
	}
	for i := range sh.supplies {
		for column, value := range supplyColumns {
			add(fmt.Sprintf("1.3.6.1.2.1.43.11.1.1.%d.1.%d", column, i+1), func(v *view) (gosnmp.Asn1BER, any) { return value(v, i) })
		}
	}
	for i := range sh.colorants {
		add(fmt.Sprintf("1.3.6.1.2.1.43.12.1.1.2.1.%d", i+1), integerOf(1)) // prtMarkerColorantMarkerIndex
		add(fmt.Sprintf("1.3.6.1.2.1.43.12.1.1.3.1.%d", i+1), integerOf(3)) // prtMarkerColorantRole: process
		add(fmt.Sprintf("1.3.6.1.2.1.43.12.1.1.4.1.%d", i+1), octetsOf(func(v *view) string { return v.colorants()[i] }))
	}
	for i := range sh.alerts {
		for column, value := range alertColumns {
			add(fmt.Sprintf("1.3.6.1.2.1.43.18.1.1.%d.1.%d", column, i+1), func(v *view) (gosnmp.Asn1BER, any) { return value(v, i) })
		}
	}
	slices.SortFunc(m, func(a, b object) int { return slices.Compare(a.oid, b.oid) })
	return m
}

// scalars are what every printer has once.
var scalars = map[string]valueOf{
	"1.3.6.1.2.1.1.1.0": octetsOf(func(v *view) string { return v.makeAndModel() + "; FW " + v.o.Firmware + "; SN " + v.o.Serial }),
	"1.3.6.1.2.1.1.2.0": func(v *view) (gosnmp.Asn1BER, any) {
		return gosnmp.ObjectIdentifier, "." + strings.TrimPrefix(v.o.SysObjectID, ".")
	},
	"1.3.6.1.2.1.1.3.0": func(v *view) (gosnmp.Asn1BER, any) { return gosnmp.TimeTicks, hundredths(v.up) },
	"1.3.6.1.2.1.1.4.0": octetsOf(func(*view) string { return "" }),
	"1.3.6.1.2.1.1.5.0": octetsOf(func(v *view) string { return v.o.Name }),
	"1.3.6.1.2.1.1.6.0": octetsOf(func(v *view) string { return v.o.Location }),
	"1.3.6.1.2.1.1.7.0": integerOf(72), // sysServices: end to end, applications

	"1.3.6.1.2.1.2.1.0":     integerOf(1), // ifNumber
	"1.3.6.1.2.1.2.2.1.1.1": integerOf(1),
	"1.3.6.1.2.1.2.2.1.2.1": octetsOf(func(*view) string { return "eth0" }),
	"1.3.6.1.2.1.2.2.1.3.1": integerOf(6), // ifType: ethernetCsmacd
	"1.3.6.1.2.1.2.2.1.6.1": func(v *view) (gosnmp.Asn1BER, any) { return gosnmp.OctetString, []byte(v.o.MAC) },
	"1.3.6.1.2.1.2.2.1.7.1": integerOf(1), // ifAdminStatus: up
	"1.3.6.1.2.1.2.2.1.8.1": integerOf(1),

	"1.3.6.1.2.1.25.3.2.1.1.1": integerOf(1), // hrDeviceIndex
	"1.3.6.1.2.1.25.3.2.1.2.1": identifierOf(".1.3.6.1.2.1.25.3.1.5"),
	"1.3.6.1.2.1.25.3.2.1.3.1": octetsOf(func(v *view) string { return v.makeAndModel() + " " + v.o.Firmware }),
	"1.3.6.1.2.1.25.3.2.1.4.1": identifierOf(".0.0"),
	"1.3.6.1.2.1.25.3.2.1.5.1": func(v *view) (gosnmp.Asn1BER, any) { return gosnmp.Integer, v.hrDeviceStatus() },
	"1.3.6.1.2.1.25.3.2.1.6.1": counterOf(func(*view) int64 { return 0 }),
	"1.3.6.1.2.1.25.3.5.1.1.1": func(v *view) (gosnmp.Asn1BER, any) { return gosnmp.Integer, v.hrPrinterStatus() },
	"1.3.6.1.2.1.25.3.5.1.2.1": func(v *view) (gosnmp.Asn1BER, any) { return gosnmp.OctetString, v.errorState() },

	"1.3.6.1.2.1.43.5.1.1.1.1":   counterOf(func(v *view) int64 { return int64(v.configChanges) }),
	"1.3.6.1.2.1.43.5.1.1.16.1":  octetsOf(func(v *view) string { return v.o.Name }),
	"1.3.6.1.2.1.43.5.1.1.17.1":  octetsOf(func(v *view) string { return v.o.Serial }),
	"1.3.6.1.2.1.43.6.1.1.2.1.1": octetsOf(func(*view) string { return "Front cover" }),
	"1.3.6.1.2.1.43.6.1.1.3.1.1": func(v *view) (gosnmp.Asn1BER, any) {
		if v.has("cover-open") {
			return gosnmp.Integer, 3
		}
		return gosnmp.Integer, 4
	},
	"1.3.6.1.2.1.43.8.2.1.9.1.1": integerOf(550), // prtInputMaxCapacity
	"1.3.6.1.2.1.43.8.2.1.10.1.1": func(v *view) (gosnmp.Asn1BER, any) {
		switch {
		case v.has("media-empty"):
			return gosnmp.Integer, 0
		case v.has("media-low"):
			return gosnmp.Integer, 20
		}
		return gosnmp.Integer, mfpgate.LevelSome
	},
	"1.3.6.1.2.1.43.8.2.1.11.1.1":  integerOf(0), // PrtSubUnitStatusTC: available and idle
	"1.3.6.1.2.1.43.8.2.1.13.1.1":  octetsOf(func(*view) string { return "Tray 1" }),
	"1.3.6.1.2.1.43.10.2.1.2.1.1":  integerOf(4), // prtMarkerMarkTech: electrophotographicLaser
	"1.3.6.1.2.1.43.10.2.1.3.1.1":  integerOf(7), // prtMarkerCounterUnit: impressions
	"1.3.6.1.2.1.43.10.2.1.4.1.1":  counterOf(func(v *view) int64 { return v.counters[Impressions] }),
	"1.3.6.1.2.1.43.10.2.1.5.1.1":  counterOf(func(v *view) int64 { return v.sinceOn }),
	"1.3.6.1.2.1.43.10.2.1.15.1.1": integerOf(0),
	"1.3.6.1.2.1.43.15.1.1.2.1.1":  integerOf(3), // prtInterpreterLangFamily: PCL
	"1.3.6.1.2.1.43.15.1.1.5.1.1":  octetsOf(func(*view) string { return "PCL" }),
	"1.3.6.1.2.1.43.15.1.1.2.1.2":  integerOf(6), // PostScript
	"1.3.6.1.2.1.43.15.1.1.5.1.2":  octetsOf(func(*view) string { return "PostScript" }),
	"1.3.6.1.2.1.43.16.5.1.2.1.1":  octetsOf((*view).console),

	"1.3.6.1.4.1.2699.1.2.1.2.1.1.3.1":   octetsOf((*view).deviceID),                                          // ppmPrinterIEEE1284DeviceId
	"1.3.6.1.4.1.2699.1.2.1.3.1.1.6.1.1": octetsOf(func(v *view) string { return v.uri("ipp", v.ports.ipp) }), // ppmPortServiceNameOrURI
}

// supplyColumns are prtMarkerSuppliesTable's.
var supplyColumns = map[int]func(v *view, i int) (gosnmp.Asn1BER, any){
	2: func(*view, int) (gosnmp.Asn1BER, any) { return gosnmp.Integer, 1 },
	3: func(v *view, i int) (gosnmp.Asn1BER, any) {
		return gosnmp.Integer, slices.Index(v.colorants(), v.o.Supplies[i].Color) + 1 // 0: none
	},
	4: func(v *view, i int) (gosnmp.Asn1BER, any) {
		if v.o.Supplies[i].Receives {
			return gosnmp.Integer, 4
		}
		return gosnmp.Integer, 3
	},
	5: func(v *view, i int) (gosnmp.Asn1BER, any) {
		return gosnmp.Integer, enum(supplyTypes, v.o.Supplies[i].Type)
	},
	6: func(v *view, i int) (gosnmp.Asn1BER, any) { return gosnmp.OctetString, v.o.Supplies[i].Name },
	7: func(v *view, i int) (gosnmp.Asn1BER, any) {
		return gosnmp.Integer, enum(supplyUnits, v.o.Supplies[i].Unit)
	},
	8: func(v *view, i int) (gosnmp.Asn1BER, any) { return gosnmp.Integer, int(integer(v.o.Supplies[i].Max)) },
	9: func(v *view, i int) (gosnmp.Asn1BER, any) { return gosnmp.Integer, int(integer(v.levels[i])) },
}

// alertColumns are prtAlertTable's, without the index, which is not accessible.
var alertColumns = map[int]func(v *view, i int) (gosnmp.Asn1BER, any){
	2: func(v *view, i int) (gosnmp.Asn1BER, any) { _, _, s := alert(v.reasons[i]); return gosnmp.Integer, s },
	4: func(v *view, i int) (gosnmp.Asn1BER, any) {
		_, c, _ := alert(v.reasons[i])
		return gosnmp.Integer, c.group
	},
	5: func(*view, int) (gosnmp.Asn1BER, any) { return gosnmp.Integer, 1 },
	7: func(v *view, i int) (gosnmp.Asn1BER, any) {
		_, c, _ := alert(v.reasons[i])
		return gosnmp.Integer, c.code
	},
	8: func(v *view, i int) (gosnmp.Asn1BER, any) {
		keyword, _, _ := alert(v.reasons[i])
		return gosnmp.OctetString, sentence(keyword)
	},
	9: func(v *view, _ int) (gosnmp.Asn1BER, any) { return gosnmp.TimeTicks, hundredths(v.stateAt) },
}

// supplyTypes is PrtMarkerSuppliesTypeTC, from 1.
var supplyTypes = []string{
	"other", "unknown", "toner", "wasteToner", "ink", "inkCartridge", "inkRibbon", "wasteInk", "opc", "developer", "fuserOil", "solidWax",
	"ribbonWax", "wasteWax", "fuser", "coronaWire", "fuserOilWick", "cleanerUnit", "fuserCleaningPad", "transferUnit", "tonerCartridge",
	"fuserOiler", "water", "wasteWater", "glueWaterAdditive", "wastePaper", "bindingSupply", "bandingSupply", "stitchingWire", "shrinkWrap",
	"paperWrap", "staples", "inserts", "covers",
}

// supplyUnits is PrtMarkerSuppliesSupplyUnitTC, from 1; those without a name are not used.
var supplyUnits = []string{
	"other", "unknown", "tenThousandthsOfInches", "micrometers", "", "", "impressions", "sheets", "", "", "hours", "thousandthsOfOunces",
	"tenthsOfGrams", "hundrethsOfFluidOunces", "tenthsOfMilliliters", "feet", "meters", "items", "percent",
}

// enum is a keyword's number: 1, other, for one that is not in the list.
func enum(list []string, keyword string) int { return max(1, slices.Index(list, keyword)+1) }

func integerOf(n int) valueOf {
	return func(*view) (gosnmp.Asn1BER, any) { return gosnmp.Integer, n }
}

func octetsOf(what func(*view) string) valueOf {
	return func(v *view) (gosnmp.Asn1BER, any) { return gosnmp.OctetString, what(v) }
}

func identifierOf(text string) valueOf {
	return func(*view) (gosnmp.Asn1BER, any) { return gosnmp.ObjectIdentifier, text }
}

func counterOf(what func(*view) int64) valueOf {
	return func(v *view) (gosnmp.Asn1BER, any) { return gosnmp.Counter32, uint32(what(v)) }
}

func hundredths(d time.Duration) uint32 { return uint32(d / (10 * time.Millisecond)) }

// colorants are the colours of its supplies, each once.
func (v *view) colorants() []string {
	var all []string
	for _, s := range v.o.Supplies {
		if s.Color != "" && !slices.Contains(all, s.Color) {
			all = append(all, s.Color)
		}
	}
	return all
}

func (v *view) has(keyword string) bool {
	return slices.ContainsFunc(v.reasons, func(r string) bool { k, _, _ := alert(r); return k == keyword })
}

func (v *view) hrDeviceStatus() int {
	switch {
	case v.state == mfpgate.PrinterStopped:
		return 5 // down
	case len(v.reasons) > 0:
		return 3 // warning
	}
	return 2 // running
}

func (v *view) hrPrinterStatus() int {
	switch v.state {
	case mfpgate.PrinterIdle:
		return 3
	case mfpgate.PrinterProcessing:
		return 4
	case mfpgate.PrinterStopped:
		return 1
	}
	return 2
}

// errorState is hrPrinterDetectedErrorState: one octet where the second is empty, as most agents have it.
func (v *view) errorState() []byte {
	var b [2]byte
	for _, reason := range v.reasons {
		_, c, _ := alert(reason)
		for _, bit := range c.bits {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
	}
	if b[1] == 0 {
		return b[:1]
	}
	return b[:]
}
