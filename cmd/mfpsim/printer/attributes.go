package printer

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
)

// Groups of attributes that a request may name (RFC 8011 §4.2.5.1).
const (
	description = "printer-description"
	template    = "job-template"
	byName      = "" // too large for a group
)

// attribute is one thing that a printer says over IPP; ok is false where it has nothing to say.
type attribute struct {
	name, group string
	make        func(*view) (made goipp.Attribute, ok bool)
}

// attributes are all, in the order of their names' families.
var attributes = []attribute{
	{"charset-configured", description, fixed(goipp.TagCharset, "utf-8")},
	{"charset-supported", description, fixed(goipp.TagCharset, "utf-8")},
	{"natural-language-configured", description, fixed(goipp.TagLanguage, "en")},
	{"generated-natural-language-supported", description, fixed(goipp.TagLanguage, "en")},
	{"compression-supported", description, fixed(goipp.TagKeyword, "none")},
	{"document-format-default", description, fixed(goipp.TagMimeType, "application/octet-stream")},
	{"document-format-supported", description, fixed(goipp.TagMimeType, "application/octet-stream", "application/pdf", "image/pwg-raster", "image/urf")},
	{"ipp-versions-supported", description, fixed(goipp.TagKeyword, "1.1", "2.0")},
	{"operations-supported", description, func(*view) (goipp.Attribute, bool) {
		return several(goipp.TagEnum, []goipp.Integer{goipp.Integer(goipp.OpGetJobs), goipp.Integer(goipp.OpGetPrinterAttributes)})
	}},
	{"pdl-override-supported", description, fixed(goipp.TagKeyword, "not-attempted")},
	{"printer-kind", description, fixed(goipp.TagKeyword, "document")},
	{"color-supported", description, func(*view) (goipp.Attribute, bool) { return one(goipp.TagBoolean, goipp.Boolean(true)) }},

	{"printer-name", description, says(goipp.TagName, func(v *view) string { return v.o.Name })},
	{"printer-info", description, says(goipp.TagText, func(v *view) string { return v.o.Name })},
	{"printer-dns-sd-name", description, says(goipp.TagName, func(v *view) string { return label(v.o.Name) })},
	{"printer-location", description, says(goipp.TagText, func(v *view) string { return v.o.Location })},
	{"printer-make-and-model", description, says(goipp.TagText, (*view).makeAndModel)},
	{"printer-device-id", description, says(goipp.TagText, (*view).deviceID)},
	{"printer-serial-number", description, says(goipp.TagText, func(v *view) string { return v.o.Serial })},
	{"printer-uuid", description, says(goipp.TagURI, func(v *view) string { return "urn:uuid:" + v.o.UUID })},
	{"printer-more-info", description, says(goipp.TagURI, func(v *view) string { return v.uri("http", v.ports.ipp) })},
	{"printer-supply-info-uri", description, says(goipp.TagURI, func(v *view) string { return v.uri("http", v.ports.ipp) })},
	{"printer-uri-supported", description, each(goipp.TagURI, func(v *view) []string {
		uris := []string{v.uri("ipp", v.ports.ipp)}
		if v.ports.ipps != 0 {
			uris = append(uris, v.uri("ipps", v.ports.ipps))
		}
		return uris
	})},
	{"uri-authentication-supported", description, each(goipp.TagKeyword, func(v *view) []string { return []string{"none", "none"}[:v.uris()] })},
	{"uri-security-supported", description, each(goipp.TagKeyword, func(v *view) []string { return []string{"none", "tls"}[:v.uris()] })},

	{"printer-firmware-name", description, fixed(goipp.TagName, "System")},
	{"printer-firmware-string-version", description, says(goipp.TagText, func(v *view) string { return v.o.Firmware })},
	{"printer-firmware-version", description, octets(func(v *view) []string { return []string{v.o.Firmware} })},
	{"printer-firmware-patches", description, says(goipp.TagText, func(*view) string { return "" })},

	{"printer-state", description, func(v *view) (goipp.Attribute, bool) { return one(goipp.TagEnum, v.ippState()) }},
	{"printer-state-reasons", description, each(goipp.TagKeyword, func(v *view) []string {
		if len(v.reasons) == 0 {
			return []string{"none"}
		}
		return v.reasons
	})},
	{"printer-state-message", description, says(goipp.TagText, func(v *view) string { return v.console() })},
	{"printer-state-change-time", description, number(func(v *view) int64 { return seconds(v.stateAt) })},
	{"printer-config-change-time", description, number(func(v *view) int64 { return seconds(v.configAt) })},
	{"printer-config-changes", description, number(func(v *view) int64 { return int64(v.configChanges) })},
	{"printer-up-time", description, number(func(v *view) int64 { return seconds(v.up) })},
	{"printer-current-time", description, func(v *view) (goipp.Attribute, bool) {
		return one(goipp.TagDateTime, goipp.Time{Time: v.now})
	}},
	{"printer-is-accepting-jobs", description, func(v *view) (goipp.Attribute, bool) { return one(goipp.TagBoolean, goipp.Boolean(true)) }},
	{"queued-job-count", description, number(func(v *view) int64 {
		if v.state == mfpgate.PrinterProcessing {
			return 1
		}
		return 0
	})},
	{"printer-alert", description, octets(func(v *view) []string { return v.alerts(func(line, _ string) string { return line }) })},
	{"printer-alert-description", description, each(goipp.TagText, func(v *view) []string { return v.alerts(func(_, text string) string { return text }) })},

	{"printer-supply", description, octets((*view).supplyLines)},
	{"printer-supply-description", description, each(goipp.TagText, supplies(func(s mfpgate.Supply) string { return s.Name }))},
	{"marker-names", description, each(goipp.TagName, supplies(func(s mfpgate.Supply) string { return s.Name }))},
	{"marker-types", description, each(goipp.TagKeyword, supplies(func(s mfpgate.Supply) string { return hyphenated(s.Type) }))},
	{"marker-colors", description, each(goipp.TagName, supplies(markerColor))},
	{"marker-levels", description, levels(markerLevel)},
	{"marker-low-levels", description, levels(func(s mfpgate.Supply) int { return map[bool]int{false: 10, true: 0}[s.Receives] })},
	{"marker-high-levels", description, levels(func(s mfpgate.Supply) int { return map[bool]int{false: 100, true: 90}[s.Receives] })},

	{"printer-impressions-completed", description, number(func(v *view) int64 { return v.counters[Impressions] })},
	{"printer-impressions-completed-col", description, func(v *view) (goipp.Attribute, bool) {
		var c goipp.Collection
		c.Add(goipp.MakeAttribute("monochrome", goipp.TagInteger, integer(max(0, v.counters[Impressions]-v.counters[ImpressionsColor]))))
		c.Add(goipp.MakeAttribute("full-color", goipp.TagInteger, integer(v.counters[ImpressionsColor])))
		return one(goipp.TagBeginCollection, c)
	}},
	{"printer-media-sheets-completed", description, number(func(v *view) int64 { return v.counters[MediaSheets] })},
	{"printer-pages-completed", description, number(func(v *view) int64 { return v.counters[Pages] })},

	{"media-default", template, fixed(goipp.TagKeyword, a4)},
	{"media-supported", template, fixed(goipp.TagKeyword, a4)},
	{"media-ready", template, fixed(goipp.TagKeyword, a4)},
	{"media-col-default", template, media},
	{"media-col-ready", template, media},
	{"media-col-database", byName, media},
	{"copies-default", template, func(*view) (goipp.Attribute, bool) { return one(goipp.TagInteger, goipp.Integer(1)) }},
	{"sides-default", template, fixed(goipp.TagKeyword, "one-sided")},
	{"sides-supported", template, fixed(goipp.TagKeyword, "one-sided", "two-sided-long-edge", "two-sided-short-edge")},
}

const a4 = "iso_a4_210x297mm"

func media(*view) (goipp.Attribute, bool) {
	var size, col goipp.Collection
	size.Add(goipp.MakeAttribute("x-dimension", goipp.TagInteger, goipp.Integer(21000))) // hundredths of millimetres
	size.Add(goipp.MakeAttribute("y-dimension", goipp.TagInteger, goipp.Integer(29700)))
	col.Add(goipp.MakeAttribute("media-size", goipp.TagBeginCollection, size))
	return one(goipp.TagBeginCollection, col)
}

func one(tag goipp.Tag, value goipp.Value) (goipp.Attribute, bool) {
	return goipp.MakeAttribute("", tag, value), true
}

func several[V goipp.Value](tag goipp.Tag, values []V) (a goipp.Attribute, ok bool) {
	for _, value := range values {
		a.Values.Add(tag, value)
	}
	return a, len(values) > 0
}

func fixed(tag goipp.Tag, values ...goipp.String) func(*view) (goipp.Attribute, bool) {
	return func(*view) (goipp.Attribute, bool) { return several(tag, values) }
}

func says(tag goipp.Tag, what func(*view) string) func(*view) (goipp.Attribute, bool) {
	return func(v *view) (goipp.Attribute, bool) { return one(tag, goipp.String(what(v))) }
}

func each(tag goipp.Tag, what func(*view) []string) func(*view) (goipp.Attribute, bool) {
	return func(v *view) (a goipp.Attribute, ok bool) {
		for _, value := range what(v) {
			a.Values.Add(tag, goipp.String(value))
		}
		return a, len(a.Values) > 0
	}
}

func octets(what func(*view) []string) func(*view) (goipp.Attribute, bool) {
	return func(v *view) (a goipp.Attribute, ok bool) {
		for _, value := range what(v) {
			a.Values.Add(goipp.TagString, goipp.Binary(value))
		}
		return a, len(a.Values) > 0
	}
}

func number(what func(*view) int64) func(*view) (goipp.Attribute, bool) {
	return func(v *view) (goipp.Attribute, bool) { return one(goipp.TagInteger, integer(what(v))) }
}

func integer(n int64) goipp.Integer { return goipp.Integer(max(math.MinInt32, min(n, math.MaxInt32))) }

// seconds of up-time, which is 1 at the start (RFC 8011 §5.4.29).
func seconds(d time.Duration) int64 { return int64(d/time.Second) + 1 }

func supplies(what func(mfpgate.Supply) string) func(*view) []string {
	return func(v *view) []string {
		all := make([]string, len(v.levels))
		for i := range all {
			all[i] = what(v.supply(i))
		}
		return all
	}
}

func levels(what func(mfpgate.Supply) int) func(*view) (goipp.Attribute, bool) {
	return func(v *view) (a goipp.Attribute, ok bool) {
		for i := range v.levels {
			a.Values.Add(goipp.TagInteger, goipp.Integer(what(v.supply(i))))
		}
		return a, len(a.Values) > 0
	}
}

// uris is how many the printer has.
func (v *view) uris() int {
	if v.ports.ipps != 0 {
		return 2
	}
	return 1
}

func (v *view) ippState() goipp.Integer {
	switch v.state {
	case mfpgate.PrinterProcessing:
		return 4
	case mfpgate.PrinterStopped:
		return 5
	}
	return 3
}

// console is the text on its display.
func (v *view) console() string {
	switch {
	case v.message != "":
		return v.message
	case v.state == mfpgate.PrinterProcessing:
		return "Printing"
	case v.state == mfpgate.PrinterStopped:
		return "Stopped"
	case len(v.reasons) > 0:
		keyword, _, _ := alert(v.reasons[0])
		return sentence(keyword)
	}
	return "Ready"
}

// alerts are printer-alert's lines and printer-alert-description's texts (PWG 5100.9 §5.2).
func (v *view) alerts(which func(line, text string) string) []string {
	all := make([]string, len(v.reasons))
	for i, reason := range v.reasons {
		keyword, c, severity := alert(reason)
		words := map[int]string{1: "other", 3: "critical", 4: "warning"}
		all[i] = which(fmt.Sprintf("code=%d;index=%d;severity=%s;group=%d;groupindex=1;", c.code, i+1, words[severity], c.group), sentence(keyword))
	}
	return all
}

// supplyLines are printer-supply (PWG 5100.13 §5.6.36).
func (v *view) supplyLines() []string {
	return supplies(func(s mfpgate.Supply) string {
		class := "supplyThatIsConsumed"
		if s.Receives {
			class = "receptacleThatIsFilled"
		}
		line := "index=" + s.Index + ";class=" + class + ";type=" + s.Type + ";unit=" + s.Unit +
			";maxcapacity=" + strconv.FormatInt(s.Max, 10) + ";level=" + strconv.FormatInt(s.Level, 10) + ";"
		if s.Color != "" {
			line += "colorantname=" + s.Color + ";"
		}
		return line
	})(v)
}

// markerLevel is in per cent, or CUPS's -1 to -3.
func markerLevel(s mfpgate.Supply) int {
	if percent, ok := s.Percent(); ok {
		return percent
	}
	return int(max(-3, min(s.Level, -1)))
}

func markerColor(s mfpgate.Supply) string {
	if strings.HasPrefix(s.Color, "#") {
		return s.Color
	}
	if c, ok := map[string]string{"black": "#000000", "cyan": "#00FFFF", "magenta": "#FF00FF", "yellow": "#FFFF00"}[s.Color]; ok {
		return c
	}
	return "none"
}

// hyphenated writes the Printer MIB's wasteToner as IPP's waste-toner.
func hyphenated(word string) string {
	var b strings.Builder
	for _, r := range word {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
