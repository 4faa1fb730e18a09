package api

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
)

// The limits of the schema, as FromReading and FromAlert keep to them.
const (
	maxReasons, maxSupplies, maxCounters    = 32, 40, 32
	maxKeyword, maxShortKeyword, maxUnit    = 128, 64, 32
	maxSupplyName, maxFirmware, maxFreeText = 128, 128, 512
)

// FromReading is the wire form of a root reading. It is total: what a device said beyond the schema's limits is clipped, and
// characters that a keyword cannot have become dashes, so that no device's words can make the server refuse a batch. What
// is within the limits comes back from Root as it was, with its time in UTC.
func FromReading(r mfpgate.Reading) Reading {
	out := Reading{At: wireTime(r.At), Firmware: text(r.Firmware, maxFirmware)}
	if r.Status != nil {
		out.Status = &Status{State: oneOf(string(r.Status.State), states...), Message: text(r.Status.Message, maxFreeText)}
		for _, reason := range r.Status.Reasons {
			if reason = name(reason, maxKeyword); reason != "" && len(out.Status.Reasons) < maxReasons {
				out.Status.Reasons = append(out.Status.Reasons, reason)
			}
		}
	}
	for _, s := range r.Supplies[:min(len(r.Supplies), maxSupplies)] {
		out.Supplies = append(out.Supplies, Supply{
			Index: text(s.Index, 32), Name: text(s.Name, maxSupplyName), Type: keyword(s.Type, maxShortKeyword, ""),
			Color: keyword(s.Color, maxShortKeyword, "#"), Receives: s.Receives, Unit: keyword(s.Unit, maxUnit, ""),
			Level: max(s.Level, mfpgate.LevelSome), Max: max(s.Max, mfpgate.LevelSome),
		})
	}
	for _, c := range r.Counters {
		if n := name(c.Name, maxShortKeyword); n != "" && c.Value >= 0 && len(out.Counters) < maxCounters {
			out.Counters = append(out.Counters, Counter{Name: n, Value: c.Value})
		}
	}
	return out
}

// states are the values of the schema; the last is what stands for others.
var states = []string{
	string(mfpgate.PrinterIdle), string(mfpgate.PrinterProcessing), string(mfpgate.PrinterStopped), string(mfpgate.PrinterUnknown),
}

var severities = []string{string(mfpgate.AlertError), string(mfpgate.AlertWarning), string(mfpgate.AlertReport)}

// Root is the reading in the root's terms.
func (r Reading) Root() mfpgate.Reading {
	out := mfpgate.Reading{At: r.At, Firmware: r.Firmware}
	if r.Status != nil {
		out.Status = &mfpgate.PrinterStatus{
			State: mfpgate.PrinterState(r.Status.State), Reasons: slices.Clone(r.Status.Reasons), Message: r.Status.Message,
		}
	}
	for _, s := range r.Supplies {
		out.Supplies = append(out.Supplies, s.Root())
	}
	for _, c := range r.Counters {
		out.Counters = append(out.Counters, mfpgate.Counter(c))
	}
	return out
}

// Root is the supply in the root's terms.
func (s Supply) Root() mfpgate.Supply { return mfpgate.Supply(s) }

// FromAlert is the wire form of a root alert, total as FromReading is. Its ids must be ids.
func FromAlert(a mfpgate.Alert) Alert {
	out := Alert{
		AlertID: a.ID, DeviceID: string(a.Device), At: wireTime(a.At), Code: name(a.Code, maxKeyword), Cleared: a.Cleared,
		Severity: oneOf(string(a.Severity), severities...), Text: text(a.Text, maxFreeText),
	}
	if out.Code == "" {
		out.Code = "unknown"
	}
	return out
}

// Root is the alert in the root's terms.
func (a Alert) Root() mfpgate.Alert {
	return mfpgate.Alert{
		ID: a.AlertID, Device: mfpgate.DeviceID(a.DeviceID), At: a.At, Code: a.Code,
		Severity: mfpgate.AlertSeverity(a.Severity), Cleared: a.Cleared, Text: a.Text,
	}
}

// wireTime keeps a clock that is far off within what RFC 3339 can write.
func wireTime(t time.Time) time.Time {
	t = t.UTC().Round(0)
	if year := t.Year(); year < 1 || year > 9999 {
		return time.Time{}
	}
	return t
}

func oneOf(v string, values ...string) string {
	if slices.Contains(values, v) {
		return v
	}
	return values[len(values)-1]
}

// text is s as one line of at most limit characters.
func text(s string, limit int) string {
	s = mfpgate.CleanText(s, 4*limit)
	if utf8.RuneCountInString(s) > limit {
		s = strings.TrimSuffix(string([]rune(s)[:limit]), " ")
	}
	return s
}

// keyword is s with a dash for each character that is no letter, digit, dot, dash or underscore, nor one of also.
func keyword(s string, limit int, also string) string {
	s = s[:min(len(s), limit)]
	return strings.Map(func(r rune) rune {
		if wordCharacter(r) || strings.ContainsRune("._-"+also, r) {
			return r
		}
		return '-'
	}, s)
}

// name is a keyword that begins with a letter or digit; "" if nothing is left.
func name(s string, limit int) string {
	return keyword(strings.TrimLeftFunc(s, func(r rune) bool { return !wordCharacter(r) }), limit, "")
}

func wordCharacter(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
