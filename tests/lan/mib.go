package lan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// row is one object of the agent's table.
type row struct {
	oid         []int
	kind, value string
}

// table writes the options as the agent's program reads them.
func (o SNMPOptions) table() (string, error) {
	var rows []row
	add := func(kind string, value any, base string, index ...int) {
		var oid []int
		for _, arc := range strings.Split(base, ".") {
			n := 0
			if _, err := fmt.Sscan(arc, &n); err != nil {
				panic(base)
			}
			oid = append(oid, n)
		}
		// A line is a value; an empty one would be no answer at all.
		text := strings.NewReplacer("\n", " ", "\t", " ").Replace(fmt.Sprint(value))
		if kind != "string" || text != "" {
			rows = append(rows, row{append(oid, index...), kind, text})
		}
	}
	const (
		device  = "1.3.6.1.2.1.25.3.2.1" // hrDeviceEntry, RFC 2790
		printer = "1.3.6.1.2.1.25.3.5.1" // hrPrinterEntry
		prt     = "1.3.6.1.2.1.43"       // printmib, RFC 3805
	)
	state, ok := map[mfpgate.PrinterState]int{"": 3, mfpgate.PrinterIdle: 3, mfpgate.PrinterProcessing: 4,
		mfpgate.PrinterStopped: 1, mfpgate.PrinterUnknown: 2}[o.State]
	if !ok {
		return "", fmt.Errorf("printer state %q is none", o.State)
	}
	deviceState := 2 // running
	if o.State == mfpgate.PrinterStopped {
		deviceState = 5 // down
	}
	add("integer", 1, device+".1", 1)
	add("objectid", ".1.3.6.1.2.1.25.3.1.5", device+".2", 1) // hrDevicePrinter
	add("string", o.Description, device+".3", 1)
	add("integer", deviceState, device+".5", 1)
	add("integer", state, printer+".1", 1)
	add("octet", fmt.Sprintf("%02X %02X", o.Errors[0], o.Errors[1]), printer+".2", 1)

	add("counter", 1, prt+".5.1.1.1", 1) // prtGeneralConfigChanges
	add("string", strings.TrimSpace(o.Make+" "+o.Model), prt+".5.1.1.16", 1)
	add("string", o.Serial, prt+".5.1.1.17", 1)
	add("integer", 7, prt+".10.2.1.3", 1, 1) // prtMarkerCounterUnit impressions
	add("counter", o.Impressions, prt+".10.2.1.4", 1, 1)
	add("string", o.Console, prt+".16.5.1.2", 1, 1)
	for i, s := range o.Supplies {
		n := i + 1
		kind, unit, class := slices.Index(supplyTypes, s.Type), supplyUnits[s.Unit], 3 // supplyThatIsConsumed
		if kind < 1 || unit == 0 {
			return "", fmt.Errorf("supply %q: type %q or unit %q is none", s.Name, s.Type, s.Unit)
		}
		if s.Receives {
			class = 4
		}
		colorant := 0
		if s.Color != "" {
			colorant = n
			add("string", s.Color, prt+".12.1.1.4", 1, n) // prtMarkerColorantValue
		}
		for column, value := range map[int]int64{2: 1, 3: int64(colorant), 4: int64(class), 5: int64(kind), 7: int64(unit), 8: s.Max, 9: s.Level} {
			add("integer", value, prt+".11.1.1", column, 1, n) // prtMarkerSuppliesEntry
		}
		add("string", s.Name, prt+".11.1.1.6", 1, n)
	}
	for i, a := range o.Alerts {
		for column, value := range map[int]int{2: a.Severity, 4: a.Group, 5: 1, 7: a.Code} {
			add("integer", value, prt+".18.1.1", column, 1, i+1) // prtAlertEntry
		}
		add("string", a.Text, prt+".18.1.1.8", 1, i+1)
	}
	if o.Make != "" {
		id := "MFG:" + o.Make + ";MDL:" + o.Model + ";CMD:PDF;"
		if o.Serial != "" {
			id += "SN:" + o.Serial + ";"
		}
		add("string", id, "1.3.6.1.4.1.2699.1.2.1.2.1.1.3", 1) // ppmPrinterIEEE1284DeviceId, PWG 5107.2
	}

	if o.Endless {
		add("endless", 1, prt+".11.1.1", 6) // prtMarkerSuppliesDescription
	}

	slices.SortFunc(rows, func(a, b row) int { return slices.Compare(a.oid, b.oid) })
	var b strings.Builder
	for _, r := range rows {
		for _, arc := range r.oid {
			fmt.Fprintf(&b, ".%d", arc)
		}
		fmt.Fprintf(&b, "\t%s\t%s\n", r.kind, r.value)
	}
	return b.String(), nil
}

// supplyTypes are PrtMarkerSuppliesTypeTC's keywords, each at its number; supplyUnits PrtMarkerSuppliesSupplyUnitTC's
// (IANA-PRINTER-MIB, RFC 3805).
var (
	supplyTypes = []string{1: "other", "unknown", "toner", "wasteToner", "ink", "inkCartridge", "inkRibbon", "wasteInk", "opc", "developer",
		"fuserOil", "solidWax", "ribbonWax", "wasteWax", "fuser", "coronaWire", "fuserOilWick", "cleanerUnit", "fuserCleaningPad",
		"transferUnit", "tonerCartridge", "fuserOiler"}
	supplyUnits = map[string]int{"other": 1, "unknown": 2, "tenThousandthsOfInches": 3, "micrometers": 4, "impressions": 7, "sheets": 8,
		"hours": 11, "thousandthsOfOunces": 12, "tenthsOfGrams": 13, "hundrethsOfFluidOunces": 14, "tenthsOfMilliliters": 15,
		"feet": 16, "meters": 17, "items": 18, "percent": 19}
)
