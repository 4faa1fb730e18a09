package snmp

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// Read asks a printer for parts of its state; each costs one exchange where its tables are short, once the device is known.
// Errors are those of Identify.
func (c *Client) Read(ctx context.Context, addr netip.Addr, parts mfpgate.Parts) (mfpgate.Reading, error) {
	s, err := c.open(ctx, addr.Unmap())
	defer s.close()
	if err == nil {
		err = s.locate()
	}
	var r mfpgate.Reading
	if err == nil && parts.Has(mfpgate.PartStatus) {
		r.Status, err = s.status()
	}
	if err == nil && parts.Has(mfpgate.PartSupplies) {
		r.Supplies, err = s.supplies()
	}
	if err == nil && parts.Has(mfpgate.PartCounters) {
		r.Counters, r.Firmware, err = s.counters()
	}
	if err != nil {
		return mfpgate.Reading{}, err
	}
	r.At = c.Clock.Now()
	return r, nil
}

func (s *session) status() (*mfpgate.PrinterStatus, error) {
	i := "." + s.know.index
	a, err := s.fetch(
		[]string{oidDeviceStatus + i, oidPrinterStatus + i, oidPrinterErrors + i},
		[]string{oidMarkerStatus + i, oidConsoleText + i, oidAlertSeverity + i, oidAlertCode + i},
	)
	if err != nil {
		return nil, err
	}
	if len(a.single)+len(a.columns) == 0 {
		s.know.index = "" // another device has the address by now: look for its index the next time
	}
	device, _ := a.number(oidDeviceStatus + i)
	printer, _ := a.number(oidPrinterStatus + i)
	var marker int64 = -1
	if rows := a.columns[oidMarkerStatus+i]; len(rows) > 0 {
		if n, ok := number(rows[0].value); ok {
			marker = n
		}
	}
	st := &mfpgate.PrinterStatus{State: state(device, printer, marker)}
	worst := map[string]string{} // keyword -> severity
	detected(octets(a.single[oidPrinterErrors+i]), st.State, worst)
	for _, c := range a.columns[oidAlertCode+i] {
		code, _ := number(c.value)
		severity, _ := number(a.row(oidAlertSeverity+i, c.index))
		if keyword := alertKeyword(code); keyword != "" {
			worse(worst, keyword, alertSuffix(severity))
		}
	}
	for keyword, suffix := range worst {
		st.Reasons = append(st.Reasons, keyword+suffix)
	}
	slices.Sort(st.Reasons)

	var lines []string
	for _, c := range a.columns[oidConsoleText+i] {
		if line := text(c.value); line != "" {
			lines = append(lines, line)
		}
	}
	st.Message = text([]byte(strings.Join(lines, " ")))
	return st, nil
}

// The values of hrDeviceStatus and hrPrinterStatus (RFC 2790 §4) that matter.
const (
	deviceRunning = 2
	deviceWarning = 3
	deviceTesting = 4
	deviceDown    = 5

	printerOther    = 1
	printerIdle     = 3
	printerPrinting = 4
	printerWarmup   = 5
)

// state follows the table of RFC 3805 §2.2.13.2: a device that is down is stopped whatever its printer does; idle is idle;
// printing and warming up are processing; other on a device that runs is standby, which is idle to a client. Where the
// agent has neither object, or says unknown, prtMarkerStatus (PrtSubUnitStatusTC, -1 if there is none) tells.
func state(device, printer, marker int64) mfpgate.PrinterState {
	switch {
	case device == deviceDown:
		return mfpgate.PrinterStopped
	case printer == printerIdle:
		return mfpgate.PrinterIdle
	case printer == printerPrinting, printer == printerWarmup, device == deviceTesting:
		return mfpgate.PrinterProcessing
	case printer == printerOther && (device == deviceRunning || device == deviceWarning):
		return mfpgate.PrinterIdle
	case marker < 0 || marker > 127:
		return mfpgate.PrinterUnknown
	case marker&32 != 0 || marker&7 == 3: // off-line; unavailable because broken
		return mfpgate.PrinterStopped
	}
	switch marker & 7 {
	case 0, 2: // available and idle; standby
		return mfpgate.PrinterIdle
	case 4, 6: // available and active; available and busy
		return mfpgate.PrinterProcessing
	}
	return mfpgate.PrinterUnknown
}

// The severities of a reason, as suffixes (RFC 8011 §5.4.12).
const (
	suffixReport  = "-report"
	suffixWarning = "-warning"
	suffixError   = "-error"
)

// worse keeps the graver of two severities for a keyword.
func worse(worst map[string]string, keyword, suffix string) {
	order := []string{"", suffixReport, suffixWarning, suffixError}
	if slices.Index(order, suffix) > slices.Index(order, worst[keyword]) {
		worst[keyword] = suffix
	}
}

// detected reads hrPrinterDetectedErrorState (RFC 2790): none, one or two octets, bit 0 the first octet's most significant.
// Each bit has the keyword of the IANA registry that says the same. What runs low warns; what stops a printer is an error
// when the printer has stopped, or does not say, and a warning while it goes on (another tray may serve). offline is
// paused by someone at the panel, or on the way there; serviceRequested and overduePreventMaint have no keyword of their
// own, so they are other.
func detected(raw []byte, state mfpgate.PrinterState, worst map[string]string) {
	stops, offline := suffixWarning, "moving-to-paused"
	if state == mfpgate.PrinterStopped || state == mfpgate.PrinterUnknown {
		stops, offline = suffixError, "paused"
	}
	set := bits(raw)
	for bit, r := range []struct{ keyword, suffix string }{
		{"media-low", suffixWarning},               // lowPaper(0)
		{"media-empty", stops},                     // noPaper(1)
		{"toner-low", suffixWarning},               // lowToner(2)
		{"toner-empty", stops},                     // noToner(3)
		{"door-open", stops},                       // doorOpen(4)
		{"media-jam", stops},                       // jammed(5)
		{offline, stops},                           // offline(6)
		{"other", stops},                           // serviceRequested(7)
		{"input-tray-missing", stops},              // inputTrayMissing(8)
		{"output-tray-missing", stops},             // outputTrayMissing(9)
		{"marker-supply-missing", stops},           // markerSupplyMissing(10)
		{"output-area-almost-full", suffixWarning}, // outputNearFull(11)
		{"output-area-full", stops},                // outputFull(12)
		{"media-empty", stops},                     // inputTrayEmpty(13)
		{"other", suffixWarning},                   // overduePreventMaint(14)
	} {
		if set&(1<<(31-bit)) != 0 {
			worse(worst, r.keyword, r.suffix)
		}
	}
}

// alertSuffix maps prtAlertSeverityLevel: critical(3) stops the printer, warning(4) does not, and the others are reports.
func alertSuffix(severity int64) string {
	switch severity {
	case 3:
		return suffixError
	case 4, 5: // warningBinaryChangeEvent(5)
		return suffixWarning
	}
	return suffixReport
}

// alertKeyword maps prtAlertCode (PrtAlertCodeTC of the IANA-PRINTER-MIB) to the keyword of the IANA registry of
// printer-state-reasons, as PWG 5100.9 does for those that a client acts on. Events that are over when they are told
// (a cover closed, a tray changed, ready to print) have none here: they are no reason for the present state.
func alertKeyword(code int64) string {
	return map[int64]string{
		3: "cover-open", 5: "interlock-open", 8: "media-jam",
		501: "door-open", 504: "power-down",
		801: "input-tray-missing", 807: "media-low", 808: "media-empty", 809: "media-needed", 810: "input-manual-input-request",
		811: "input-tray-position-failure", 812: "input-tray-elevation-failure",
		901: "output-tray-missing", 902: "output-area-almost-full", 903: "output-area-full", 904: "output-mailbox-select-failure",
		1001: "fuser-under-temp", 1002: "fuser-over-temp", 1003: "marker-fuser-timing-failure", 1004: "marker-fuser-thermistor-failure",
		1005: "marker-adjusting-print-quality",
		1101: "toner-empty", 1102: "marker-ink-empty", 1103: "marker-print-ribbon-empty", 1104: "toner-low", 1105: "marker-ink-almost-empty",
		1106: "marker-print-ribbon-almost-empty", 1107: "marker-waste-almost-full", 1108: "marker-waste-ink-receptacle-almost-full",
		1109: "marker-waste-full", 1110: "marker-waste-ink-receptacle-full", 1111: "opc-near-eol", 1112: "opc-life-over",
		1113: "developer-low", 1114: "developer-empty", 1115: "marker-toner-cartridge-missing", 1116: "marker-cleaner-missing",
		1117: "marker-developer-missing", 1118: "marker-fuser-missing", 1119: "marker-ink-missing", 1120: "marker-opc-missing",
		1121: "marker-print-ribbon-missing", 1122: "marker-supply-almost-empty", 1123: "marker-supply-empty", 1124: "marker-supply-missing",
		1125: "marker-waste-almost-full", 1126: "marker-waste-full", 1127: "marker-waste-missing",
		1301: "media-path-media-tray-missing", 1302: "media-path-media-tray-almost-full", 1303: "media-path-media-tray-full",
		1304: "media-path-cannot-duplex-media-selected", 1507: "interpreter-resource-unavailable",
	}[code]
}
