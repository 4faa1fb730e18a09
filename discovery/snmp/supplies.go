package snmp

import (
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// supplies walks prtMarkerSuppliesTable, which may have gaps, and names the colour of each by prtMarkerColorantTable.
func (s *session) supplies() ([]mfpgate.Supply, error) {
	i := "." + s.know.index
	a, err := s.fetch(nil, []string{
		oidSupplyLevel + i, oidSupplyMax + i, oidSupplyName + i, oidSupplyType + i, oidSupplyClass + i, oidSupplyUnit + i,
		oidSupplyColorant + i, oidColorant + i,
	})
	if err != nil {
		return nil, err
	}
	field := func(column, index string) int64 {
		n, _ := number(a.row(column+i, index))
		return n
	}
	var all []mfpgate.Supply
	for _, c := range a.columns[oidSupplyLevel+i] {
		level, ok := number(c.value)
		if !ok || strings.Contains(c.index, ".") {
			continue
		}
		capacity, ok := number(a.row(oidSupplyMax+i, c.index))
		if !ok {
			capacity = mfpgate.LevelUnknown
		}
		supply := mfpgate.Supply{
			Index: c.index, Name: text(a.row(oidSupplyName+i, c.index)),
			Type: supplyType(field(oidSupplyType, c.index)), Unit: unit(field(oidSupplyUnit, c.index)),
			Receives: field(oidSupplyClass, c.index) == receptacleThatIsFilled,
			Level:    max(level, mfpgate.LevelSome), Max: max(capacity, mfpgate.LevelUnknown),
		}
		if n := field(oidSupplyColorant, c.index); n > 0 {
			supply.Color = strings.ToLower(text(a.row(oidColorant+i, strconv.FormatInt(n, 10))))
		}
		if all = append(all, supply); len(all) == MaxSupplies {
			break
		}
	}
	return all, nil
}

// counters are the life counts of the markers, and the firmware's version. The first marker's count has its unit's name,
// that of another one its index behind it: impressions, impressions-2. They are not added up: markers of one engine count
// the same sheets in some devices, one a colour, and different ones in others, and RFC 3805 lets nobody tell them apart.
func (s *session) counters() ([]mfpgate.Counter, string, error) {
	i := "." + s.know.index
	a, err := s.fetch([]string{oidSysDescr, oidDeviceDescr + i}, []string{oidMarkerUnit + i, oidMarkerLifeCount + i})
	if err != nil {
		return nil, "", err
	}
	var all []mfpgate.Counter
	for _, c := range a.columns[oidMarkerLifeCount+i] {
		value, ok := number(c.value)
		if !ok || value < 0 || len(all) == MaxSupplies {
			continue
		}
		kind, _ := number(a.row(oidMarkerUnit+i, c.index))
		name := unit(kind)
		if name == "" || name == "other" || name == "unknown" {
			name = "units"
		}
		if len(all) > 0 {
			name += "-" + c.index
		}
		all = append(all, mfpgate.Counter{Name: name, Value: value})
	}
	return all, firmware(a.text(oidSysDescr), a.text(oidDeviceDescr+i)), nil
}

// receptacleThatIsFilled is the PrtMarkerSuppliesClassTC of what fills up; supplyThatIsConsumed is 3.
const receptacleThatIsFilled = 4

// supplyType names a PrtMarkerSuppliesTypeTC (IANA-PRINTER-MIB).
func supplyType(n int64) string {
	names := [...]string{
		1: "other", "unknown", "toner", "wasteToner", "ink", "inkCartridge", "inkRibbon", "wasteInk", "opc", "developer", "fuserOil",
		"solidWax", "ribbonWax", "wasteWax", "fuser", "coronaWire", "fuserOilWick", "cleanerUnit", "fuserCleaningPad", "transferUnit",
		"tonerCartridge", "fuserOiler", "water", "wasteWater", "glueWaterAdditive", "wastePaper", "bindingSupply", "bandingSupply",
		"stitchingWire", "shrinkWrap", "paperWrap", "staples", "inserts", "covers",
	}
	if n < 1 || n >= int64(len(names)) {
		return "unknown"
	}
	return names[n]
}

// unit names a PrtMarkerSuppliesSupplyUnitTC or a PrtMarkerCounterUnitTC (RFC 3805), whose numbers agree where both have
// one; empty for a number that neither has.
func unit(n int64) string {
	return map[int64]string{
		1: "other", 2: "unknown", 3: "tenThousandthsOfInches", 4: "micrometers", 5: "characters", 6: "lines", 7: "impressions",
		8: "sheets", 9: "dotRow", 11: "hours", 12: "thousandthsOfOunces", 13: "tenthsOfGrams", 14: "hundrethsOfFluidOunces",
		15: "tenthsOfMilliliters", 16: "feet", 17: "meters", 18: "items", 19: "percent",
	}[n]
}
