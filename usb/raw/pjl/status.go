package pjl

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// Status is a message's printer state: of INFO STATUS, USTATUS DEVICE and USTATUS TIMED. ok is false where it says none.
func (m Message) Status() (status mfpgate.PrinterStatus, ok bool) {
	if !m.Is("INFO", "STATUS") && !m.Is("USTATUS", "DEVICE") && !m.Is("USTATUS", "TIMED") {
		return status, false
	}
	status.State = mfpgate.PrinterUnknown
	for _, line := range m.Lines {
		key, value, _ := strings.Cut(line, "=")
		key = strings.ToUpper(strings.TrimSpace(key))
		// Some printers have a second condition at once, as CODE2.
		if digit := strings.TrimPrefix(key, "CODE"); digit == key || len(digit) > 1 {
			continue
		}
		code, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || code < 10000 || code > 59999 {
			continue
		}
		c := meaning(code)
		if c.aside {
			continue
		}
		ok = true
		if c.reason != "" {
			status.Reasons = append(status.Reasons, c.reason)
		}
		if rank(c.state) > rank(status.State) {
			status.State = c.state
		}
	}
	online, told := m.Value("ONLINE")
	switch {
	case !told:
	case !strings.EqualFold(online, "FALSE"):
		ok = true
	case status.State != mfpgate.PrinterStopped:
		ok = true
		status.State = mfpgate.PrinterStopped
		if len(status.Reasons) == 0 {
			status.Reasons = []string{offline}
		}
	}
	slices.Sort(status.Reasons)
	status.Reasons = slices.Compact(status.Reasons)
	status.Message, _ = m.Value("DISPLAY")
	return status, ok
}

// rank orders the states of two conditions at once: what stops a printer stops it.
func rank(s mfpgate.PrinterState) int {
	return slices.Index([]mfpgate.PrinterState{mfpgate.PrinterUnknown, mfpgate.PrinterIdle, mfpgate.PrinterProcessing, mfpgate.PrinterStopped}, s)
}

// offline is said of a printer that somebody took off line.
const offline = "offline-report"

// condition is what a code says: the state, a keyword of printer-state-reasons with its suffix (RFC 8011 §5.4.12), or, aside,
// nothing about the printer: it is about a command.
type condition struct {
	state  mfpgate.PrinterState
	reason string
	aside  bool
}

func stops(reason string) condition { return condition{state: mfpgate.PrinterStopped, reason: reason} }

func warns(reason string) condition { return condition{state: mfpgate.PrinterUnknown, reason: reason} }

// meaning is the table of codes: first those that stand alone, then the groups.
func meaning(code int) condition {
	if c, ok := single(code); ok {
		return c
	}
	switch code / 1000 {
	case 10: // HP D "Informational Messages": no error
		return condition{state: mfpgate.PrinterUnknown}
	case 11: // HP D "Background Paper Mount", Lexmark 3-15 "Tray Empty": another source serves
		return warns("media-empty-warning")
	case 12: // HP D "Background Paper Tray Status": 12xyy, yy 01 open; Lexmark 3-15 "Tray Missing"
		if code%100 == 1 {
			return warns("input-tray-missing-warning")
		}
		return condition{state: mfpgate.PrinterUnknown}
	case 15: // HP D "Output Bin Status": 15xxy, y 1 full, 2 open, 3 broken; the printer goes offline
		switch code % 10 {
		case 1:
			return stops("output-area-full-error")
		case 2:
			return stops("output-tray-missing-error")
		}
		return stops("other-error")
	case 20, 25, 27, 32: // HP D: PJL parser errors and warnings, semantic errors, file system errors
		return condition{aside: true}
	case 30, 35: // HP D "Auto-Continuable Conditions", "Possible Operator Intervention": it may go on by itself
		return warns("other-warning")
	case 41: // HP D "Foreground Paper Mount": no source has the paper that the job wants; the printer is offline
		return stops("media-empty-error")
	case 42, 44: // HP 7 "USTATUS": paper jams
		return stops("media-jam-error")
	case 43: // HP D "Optional (External) Paper Handling Device": 43xyy, x from 1; Lexmark 3-15 "Insert Tray": 4300x
		if code < 43100 {
			return stops("input-tray-missing-error")
		}
		return stops("other-error")
	case 40, 50, 55: // HP D "Operator Intervention Required", "Hardware Errors", "Personality Errors"
		return stops("other-error")
	}
	return condition{aside: true}
}

// single are the codes whose meaning is narrower than their group's.
func single(code int) (condition, bool) {
	c, ok := map[int]condition{
		10000: {state: mfpgate.PrinterIdle},                              // HP D: power save
		10001: {state: mfpgate.PrinterIdle},                              // HP 7, Lexmark 3-12: ready
		10002: stops(offline),                                            // Lexmark 3-12: not ready; HP D: ready, off line
		10003: {state: mfpgate.PrinterProcessing},                        // HP D: warming up
		10004: {state: mfpgate.PrinterProcessing},                        // HP D: self test
		10005: {state: mfpgate.PrinterProcessing},                        // Lexmark 3-12: resetting
		10006: {state: mfpgate.PrinterIdle, reason: "toner-low-warning"}, // HP D, Lexmark 3-12: toner low
		10023: {state: mfpgate.PrinterProcessing},                        // HP D: processing a job
		30034: stops("media-needed-error"),                               // Lexmark 3-15: wrong paper size in a tray
		40000: {state: mfpgate.PrinterIdle},                              // HP D: sleep
		40010: stops("marker-supply-missing-error"),                      // HP D: no EP cartridge; Lexmark 3-14: insert PC cartridge
		40019: stops("output-area-full-error"),                           // HP D: output bin full; Lexmark 3-15: remove paper
		40021: stops("cover-open-error"),                                 // HP 7: printer open; Lexmark 3-14: close door or cover
		40022: stops("media-jam-error"),                                  // HP D, Lexmark 3-14: paper jam
		40027: stops("input-tray-missing-error"),                         // Lexmark 3-14: install tray
		40029: stops("output-tray-missing-error"),                        // Lexmark 3-14: reattach bin
		40038: stops("toner-low-error"),                                  // HP D, Lexmark 3-14: toner low, the printer waits
		40039: stops("toner-empty-error"),                                // Lexmark 3-14 (X940e): cartridge empty
		40096: stops("cover-open-error"),                                 // Lexmark 3-14: close duplex door
	}[code]
	return c, ok
}
