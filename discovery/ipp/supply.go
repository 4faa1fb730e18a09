package ipp

import (
	"strconv"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// supplyNames are the supplies as PWG 5100.13 has them and as CUPS has them, which many printers copied. The thresholds
// (marker-high-levels, marker-low-levels) are not asked for: what they say is in printer-state-reasons.
func supplyNames() []string {
	return []string{
		"printer-supply", "printer-supply-description",
		"marker-names", "marker-types", "marker-colors", "marker-levels",
	}
}

// supplies prefers printer-supply, which has units and indexes.
func (a attributes) supplies() []mfpgate.Supply {
	out := a.printerSupplies()
	if len(out) == 0 {
		out = a.markers()
	}
	seen := map[string]bool{}
	for _, supply := range out {
		seen[supply.Index] = true
	}
	if len(seen) < len(out) { // indexes that are not the printer's own names of its supplies: their places are
		for i := range out {
			out[i].Index = strconv.Itoa(i + 1)
		}
	}
	return out
}

// printerSupplies reads printer-supply (PWG 5100.13 §5.6.30): index=1;class=supplyThatIsConsumed;type=toner;…
func (a attributes) printerSupplies() []mfpgate.Supply {
	var out []mfpgate.Supply
	descriptions := a.texts("printer-supply-description")
	for i, text := range a.texts("printer-supply") {
		fields := map[string]string{}
		for pair := range strings.SplitSeq(text, ";") {
			if key, value, ok := strings.Cut(pair, "="); ok {
				fields[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
			}
		}
		supply := mfpgate.Supply{
			Index:    fields["index"],
			Type:     word(fields["type"]),
			Unit:     word(fields["unit"]),
			Color:    color(fields["colorantname"]),
			Receives: strings.EqualFold(fields["class"], "receptacleThatIsFilled"),
			Level:    amount(fields["level"], mfpgate.LevelSome),
			Max:      amount(fields["maxcapacity"], mfpgate.LevelUnknown),
		}
		if supply.Type == "" && len(fields) < 2 {
			continue // an empty value, or one of another form
		}
		if _, said := fields["maxcapacity"]; !said && supply.Unit == "percent" {
			supply.Max = 100
		}
		if n, err := strconv.ParseUint(supply.Index, 10, 31); err != nil {
			supply.Index = strconv.Itoa(i + 1)
		} else {
			supply.Index = strconv.FormatUint(n, 10)
		}
		if i < len(descriptions) {
			supply.Name = descriptions[i]
		}
		out = append(out, named(supply))
	}
	return out
}

// markers reads the parallel marker attributes of CUPS, whose levels are per cent.
func (a attributes) markers() []mfpgate.Supply {
	var out []mfpgate.Supply
	names, types, colors, levels := a.texts("marker-names"), a.texts("marker-types"), a.texts("marker-colors"), a.values["marker-levels"]
	for i := range min(max(len(names), len(types)), maxItems) {
		supply := mfpgate.Supply{Index: strconv.Itoa(i + 1), Unit: "percent", Level: mfpgate.LevelUnknown, Max: 100}
		if i < len(names) {
			supply.Name = names[i]
		}
		if i < len(types) {
			supply.Type = camel(types[i])
		}
		if i < len(colors) {
			supply.Color = color(colors[i])
		}
		if i < len(levels) {
			supply.Level = markerLevel(levels[i].V)
		}
		supply.Receives = strings.HasPrefix(supply.Type, "waste")
		out = append(out, named(supply))
	}
	return out
}

// named gives a supply without a description the words of its color and type.
func named(s mfpgate.Supply) mfpgate.Supply {
	if s.Name == "" {
		s.Name = strings.TrimSpace(s.Color + " " + s.Type)
	}
	return s
}

// amount reads a level or a maximum: a number, or one of RFC 3805's from LevelOther down to least. All else is unknown.
func amount(s string, least int64) int64 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < least {
		return mfpgate.LevelUnknown
	}
	return n
}

// markerLevel is a value of marker-levels: 0 to 100, -2 and -3 as in RFC 3805. -1 is "unavailable" to CUPS, which is unknown here:
// RFC 3805's -1 promises that the supply has no limit.
func markerLevel(value goipp.Value) int64 {
	n, ok := value.(goipp.Integer)
	switch {
	case ok && n == mfpgate.LevelSome:
		return mfpgate.LevelSome
	case !ok || n < 0:
		return mfpgate.LevelUnknown
	}
	return min(int64(n), 100)
}

// word is a name of the Printer MIB's textual conventions (tonerCartridge, tenthsOfGrams), or empty.
func word(s string) string {
	for i := range len(s) {
		if !wordByte(s[i]) {
			return ""
		}
	}
	return s
}

// camel turns a marker type (waste-toner) into the Printer MIB's word for it (wasteToner).
func camel(s string) string {
	first, rest, _ := strings.Cut(word(s), "-")
	var b strings.Builder
	b.WriteString(first)
	for part := range strings.SplitSeq(rest, "-") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// color is a colorant's name or #RRGGBB, several of them for one supply of several inks; "none" and its like are empty.
func color(s string) string {
	switch lower := strings.ToLower(s); lower {
	case "none", "unknown", "other", "no-color":
		return ""
	default:
		if strings.HasPrefix(s, "#") {
			return strings.ToUpper(s)
		}
		return lower
	}
}
