package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// The codes of alerts that no device says itself.
const (
	CodeOffline      = "offline"
	CodeCounterReset = "counter-reset"
)

// difference is what an answer changes.
type difference struct {
	any     bool
	after   *reported
	alerts  []mfpgate.Alert
	reading *mfpgate.Reading // the parts to report; nil is none
}

// compare says what is to be reported of an answer. It changes nothing.
func (r *Reporter) compare(before *reported, a answer) (d difference) {
	d.after = &reported{Schema: schema, Open: map[string]mfpgate.AlertSeverity{}}
	if before != nil {
		d.after.At, d.after.Reading, d.after.Open = before.At, before.Reading, maps.Clone(before.Open)
		d.after.Recent = before.Recent
		if d.after.Open == nil {
			d.after.Open = map[string]mfpgate.AlertSeverity{}
		}
	}
	r.conditions(&d, a)
	r.resets(&d, a)
	r.parts(&d, before, a)
	for _, alert := range d.alerts {
		d.after.Recent = append([]mfpgate.Alert{alert}, d.after.Recent[:min(len(d.after.Recent), recent-1)]...)
	}
	d.any = d.reading != nil || len(d.alerts) > 0
	return d
}

// parts reports what differs, or everything that is known when the heartbeat is due.
func (r *Reporter) parts(d *difference, before *reported, a answer) {
	last, now := &d.after.Reading, a.reading
	if now.At.IsZero() {
		return // no answer: the device's state says it, and nothing else is known
	}
	changed := mfpgate.Reading{At: now.At}
	some := before == nil
	if now.Status != nil && (last.Status == nil || last.Status.State != now.Status.State || !slices.Equal(last.Status.Reasons, now.Status.Reasons)) {
		changed.Status, some = now.Status, true
	}
	if now.Supplies != nil && !slices.EqualFunc(last.Supplies, now.Supplies, sameSupply) {
		changed.Supplies, some = now.Supplies, true
	}
	if now.Counters != nil && !slices.Equal(last.Counters, now.Counters) {
		changed.Counters, some = now.Counters, true
	}
	if now.Firmware != "" && now.Firmware != last.Firmware {
		changed.Firmware, some = now.Firmware, true
	}
	if now.Status != nil {
		last.Status = now.Status
	}
	if now.Supplies != nil {
		last.Supplies = now.Supplies
	}
	if now.Counters != nil {
		last.Counters = now.Counters
	}
	last.Firmware = cmp.Or(now.Firmware, last.Firmware)
	last.At = now.At
	switch {
	case before != nil && (now.At.Sub(before.At) >= r.Heartbeat() || now.At.Before(before.At)): // a clock that was ahead, too
		whole := *last
		whole.At = now.At
		d.reading = &whole
	case some:
		d.reading = &changed
	default:
		return
	}
	d.after.At = now.At
}

// sameSupply leaves out differences that nobody would draw: a bottle of 40,000 pages is not new after each.
func sameSupply(a, b mfpgate.Supply) bool {
	ap, aok := a.Percent()
	bp, bok := b.Percent()
	same := aok && bok && ap == bp
	if same {
		a.Level, b.Level = 0, 0
	}
	return a == b
}

// conditions compares what is wrong with what was.
func (r *Reporter) conditions(d *difference, a answer) {
	if a.device.State == mfpgate.DeviceOffline {
		// What else was wrong may still be: it says nothing.
		r.raise(d, a, CodeOffline, mfpgate.AlertError, string(a.device.Reason))
		return
	}
	if a.device.State == mfpgate.DeviceOnline {
		r.clear(d, a, CodeOffline)
	}
	if a.reading.Status == nil {
		return
	}
	now := map[string]mfpgate.AlertSeverity{}
	for _, reason := range a.reading.Status.Reasons {
		code, severity := splitReason(reason)
		if worse(severity, now[code]) {
			now[code] = severity
		}
	}
	for _, code := range slices.Sorted(maps.Keys(d.after.Open)) {
		if _, still := now[code]; !still && code != CodeOffline {
			r.clear(d, a, code)
		}
	}
	words := "" // the device has one message, which is about one of its conditions: nobody knows which
	if len(now) == 1 {
		words = a.reading.Status.Message
	}
	for _, code := range slices.Sorted(maps.Keys(now)) {
		r.raise(d, a, code, now[code], words)
	}
}

// splitReason parts a keyword from its severity. One without a suffix counts as an error (RFC 8011 §5.4.12).
func splitReason(reason string) (code string, severity mfpgate.AlertSeverity) {
	for _, s := range []mfpgate.AlertSeverity{mfpgate.AlertError, mfpgate.AlertWarning, mfpgate.AlertReport} {
		if code, ok := strings.CutSuffix(reason, "-"+string(s)); ok {
			return code, s
		}
	}
	return reason, mfpgate.AlertError
}

func worse(a, b mfpgate.AlertSeverity) bool {
	order := []mfpgate.AlertSeverity{"", mfpgate.AlertReport, mfpgate.AlertWarning, mfpgate.AlertError}
	return slices.Index(order, a) > slices.Index(order, b)
}

func (r *Reporter) raise(d *difference, a answer, code string, severity mfpgate.AlertSeverity, text string) {
	if d.after.Open[code] == severity {
		return
	}
	d.after.Open[code] = severity
	d.alerts = append(d.alerts, r.alert(a, code, severity, text, false))
}

func (r *Reporter) clear(d *difference, a answer, code string) {
	severity, open := d.after.Open[code]
	if !open {
		return
	}
	delete(d.after.Open, code)
	d.alerts = append(d.alerts, r.alert(a, code, severity, "", true))
}

// closing ends what is open of a device that is not reported any more: nobody else would.
func (r *Reporter) closing(before *reported, a answer) (alerts []mfpgate.Alert) {
	for _, code := range slices.Sorted(maps.Keys(before.Open)) {
		alerts = append(alerts, r.alert(a, code, before.Open[code], "", true))
	}
	return alerts
}

// resets tells of counters that fell: the device was reset, or its counting part replaced.
func (r *Reporter) resets(d *difference, a answer) {
	var fallen []string
	for _, now := range a.reading.Counters {
		for _, before := range d.after.Reading.Counters {
			if before.Name == now.Name && now.Value < before.Value {
				fallen = append(fallen, fmt.Sprintf("%s: %d, then %d", now.Name, before.Value, now.Value))
			}
		}
	}
	if len(fallen) > 0 {
		d.alerts = append(d.alerts, r.alert(a, CodeCounterReset, mfpgate.AlertWarning, strings.Join(fallen, "; "), false))
	}
}

func (r *Reporter) alert(a answer, code string, severity mfpgate.AlertSeverity, text string, cleared bool) mfpgate.Alert {
	at := a.reading.At
	if at.IsZero() {
		at = r.Clock.Now()
	}
	return mfpgate.Alert{ID: mfpgate.NewID(r.Clock, "alt"), Device: a.device.ID, At: at.UTC(), Code: code, Severity: severity, Cleared: cleared, Text: text}
}
