package ipp

import (
	"slices"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// readingNames are the attributes of the parts. printer-state is always among them: every printer has it, so an answer
// without any attribute means that the printer did not understand the question, and not that it has no such part.
func readingNames(parts mfpgate.Parts) []string {
	names := []string{"printer-state"}
	if parts.Has(mfpgate.PartStatus) {
		names = append(names, "printer-state-reasons", "printer-state-message", "printer-alert-description")
	}
	if parts.Has(mfpgate.PartSupplies) {
		names = append(names, supplyNames()...)
	}
	if parts.Has(mfpgate.PartCounters) {
		for _, total := range totals() {
			names = append(names, total.attribute, total.attribute+"-col")
		}
		names = append(names, firmwareNames()...)
	}
	return names
}

// reading is what the parts say. Its At is the caller's.
func (a attributes) reading(parts mfpgate.Parts) mfpgate.Reading {
	var r mfpgate.Reading
	if parts.Has(mfpgate.PartStatus) {
		r.Status = &mfpgate.PrinterStatus{State: a.state(), Reasons: a.reasons(), Message: a.message()}
	}
	if parts.Has(mfpgate.PartSupplies) {
		r.Supplies = a.supplies()
	}
	if parts.Has(mfpgate.PartCounters) {
		r.Counters = a.counters()
		r.Firmware = a.firmware()
	}
	return r
}

// state is printer-state (RFC 8011 §5.4.11).
func (a attributes) state() mfpgate.PrinterState {
	switch state, _ := a.integer("printer-state"); state {
	case 3:
		return mfpgate.PrinterIdle
	case 4:
		return mfpgate.PrinterProcessing
	case 5:
		return mfpgate.PrinterStopped
	}
	return mfpgate.PrinterUnknown
}

// reasons are printer-state-reasons, sorted, each once, without none.
func (a attributes) reasons() []string {
	var out []string
	for _, text := range a.texts("printer-state-reasons") {
		if reason := keyword(text); reason != "" && reason != "none" {
			out = append(out, reason)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// message is the printer's own words for its state, else for its alerts.
func (a attributes) message() string {
	if text := a.text("printer-state-message"); text != "" {
		return text
	}
	alerts := slices.DeleteFunc(a.texts("printer-alert-description"), func(s string) bool { return s == "" })
	return mfpgate.CleanText(strings.Join(alerts, "; "), maxText)
}

// total is an attribute that counts over the printer's life, and the counter's name.
type total struct{ attribute, name string }

// totals are those of PWG 5100.7 §6.7: each an integer, and a collection of the same by kind.
func totals() []total {
	return []total{
		{"printer-impressions-completed", "impressions"},
		{"printer-media-sheets-completed", "sheets"}, // SNMP's word for the same
		{"printer-pages-completed", "pages"},
	}
}

// counters are the totals that the printer has, each followed by its kinds (impressions-monochrome).
func (a attributes) counters() []mfpgate.Counter {
	var out []mfpgate.Counter
	for _, total := range totals() {
		if n, ok := a.integer(total.attribute); ok && n >= 0 {
			out = append(out, mfpgate.Counter{Name: total.name, Value: n})
		}
		for _, kind := range a.kinds(total.attribute + "-col") {
			kind.Name = total.name + "-" + kind.Name
			out = append(out, kind)
		}
	}
	return out[:min(len(out), maxItems)]
}

// kinds are the counting members of a collection, each once.
func (a attributes) kinds(name string) []mfpgate.Counter {
	values := a.values[name]
	if len(values) == 0 {
		return nil
	}
	members, _ := values[0].V.(goipp.Collection)
	var out []mfpgate.Counter
	for _, member := range members[:min(len(members), maxItems)] {
		name := keyword(member.Name)
		if name == "" || len(member.Values) == 0 || slices.ContainsFunc(out, func(c mfpgate.Counter) bool { return c.Name == name }) {
			continue
		}
		if n, ok := member.Values[0].V.(goipp.Integer); ok && n >= 0 {
			out = append(out, mfpgate.Counter{Name: name, Value: int64(n)})
		}
	}
	return out
}
