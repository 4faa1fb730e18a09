package printer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// view is what a printer is at one moment, for one answer.
type view struct {
	o             Options
	levels        []int64
	state         mfpgate.PrinterState
	message       string
	reasons       []string // sorted, each once
	counters      [meters]int64
	sinceOn       int64
	up            time.Duration // since it was switched on
	stateAt       time.Duration // of up
	configAt      time.Duration // of up
	configChanges uint32
	now           time.Time
	power         power
	ports         ports
	asked         netip.Addr // the address that the request came to
}

func (p *Printer) view() *view {
	now := p.site.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	v := &view{
		o: p.o, levels: slices.Clone(p.levels), state: p.state, message: p.message, counters: p.counters, sinceOn: p.sinceOn,
		up: now.Sub(p.started), stateAt: p.stateSince.Sub(p.started), configAt: p.configSince.Sub(p.started),
		configChanges: p.configChanges, now: now, power: p.power, ports: p.ports, asked: p.o.Addresses[0],
	}
	if p.site.shared != nil {
		v.ports = p.site.shared.ports
	}
	v.reasons = append(v.reasons, p.reasons...)
	if p.trouble != "" {
		v.reasons = append(v.reasons, p.trouble)
	}
	for i := range v.o.Supplies {
		if reason := wanting(v.supply(i)); reason != "" {
			v.reasons = append(v.reasons, reason)
		}
	}
	slices.Sort(v.reasons)
	v.reasons = slices.Compact(v.reasons)
	v.reasons = v.reasons[:min(len(v.reasons), maxReasons)]
	return v
}

// maxReasons bounds the alerts that one printer shows.
const maxReasons = 16

func (v *view) supply(i int) mfpgate.Supply {
	s := v.o.Supplies[i]
	s.Level = v.levels[i]
	return s
}

// wanting is the reason that a supply gives the printer, or "".
func wanting(s mfpgate.Supply) string {
	percent, ok := s.Percent()
	if !ok {
		return ""
	}
	kind := "marker-supply"
	switch {
	case s.Receives && percent >= 100:
		return "marker-waste-full-error"
	case s.Receives && percent >= 90:
		return "marker-waste-almost-full-warning"
	case s.Receives:
		return ""
	case s.Type == "toner" || s.Type == "tonerCartridge":
		kind = "toner"
	case s.Type == "opc" && percent == 0:
		return "opc-life-over-error"
	case s.Type == "opc" && percent <= 10:
		return "opc-near-eol-warning"
	}
	switch {
	case percent == 0:
		return kind + "-empty-error"
	case percent <= 10:
		return kind + "-low-warning"
	}
	return ""
}

func (v *view) makeAndModel() string { return v.o.Make + " " + v.o.Model }

// deviceID is IEEE 1284's.
func (v *view) deviceID() string {
	return fmt.Sprintf("MFG:%s;MDL:%s;CMD:PDF,PWGRaster,URF,PCL,PS;CLS:PRINTER;SN:%s;", v.o.Make, v.o.Model, v.o.Serial)
}

func (v *view) uri(scheme string, port uint16) string {
	path := "/ipp/print"
	if scheme == "http" {
		path = "/"
	}
	return scheme + "://" + netip.AddrPortFrom(v.asked, port).String() + path
}

// condition is what a reason means to the Printer MIB.
type condition struct {
	bits  []int // of hrPrinterDetectedErrorState
	group int   // PrtAlertGroupTC
	code  int   // PrtAlertCodeTC
}

// conditions by keyword without suffix (RFC 3805 §6, RFC 2790 hrPrinterDetectedErrorState).
var conditions = map[string]condition{
	"media-low":                {[]int{0}, 8, 807},
	"media-needed":             {[]int{1}, 8, 808},
	"media-empty":              {[]int{1, 13}, 8, 808},
	"input-tray-missing":       {[]int{8}, 8, 801},
	"output-tray-missing":      {[]int{9}, 9, 901},
	"output-area-almost-full":  {[]int{11}, 9, 902},
	"output-area-full":         {[]int{12}, 9, 903},
	"toner-low":                {[]int{2}, 11, 1104},
	"toner-empty":              {[]int{3}, 11, 1101},
	"marker-supply-low":        {[]int{2}, 11, 1105},
	"marker-supply-empty":      {[]int{3}, 11, 1102},
	"marker-waste-almost-full": {[]int{7}, 11, 1107},
	"marker-waste-full":        {[]int{7}, 11, 1109},
	"opc-near-eol":             {[]int{14}, 11, 1111},
	"opc-life-over":            {[]int{7}, 11, 1112},
	"cover-open":               {[]int{4}, 6, 3},
	"door-open":                {[]int{4}, 6, 501},
	"interlock-open":           {[]int{4}, 6, 5},
	"media-jam":                {[]int{5}, 13, 8},
	"offline":                  {[]int{6}, 5, 1},
	"paused":                   {[]int{6}, 5, 1},
	"shutdown":                 {[]int{6}, 5, 504},
}

// alert takes a reason apart: what it means, and how bad it is (PrtAlertSeverityLevelTC).
func alert(reason string) (keyword string, c condition, severity int) {
	severity = 3 // a reason without suffix is an error (RFC 8011 §5.4.12)
	keyword = reason
	for suffix, level := range map[string]int{"-error": 3, "-warning": 4, "-report": 1} {
		if k, ok := strings.CutSuffix(reason, suffix); ok {
			keyword, severity = k, level
		}
	}
	c, ok := conditions[keyword]
	if !ok {
		c = condition{nil, 5, 1} // generalPrinter, other
	}
	return keyword, c, severity
}

// sentence is a keyword for people: "media-low" is "Media low".
func sentence(keyword string) string {
	text := strings.ReplaceAll(keyword, "-", " ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
