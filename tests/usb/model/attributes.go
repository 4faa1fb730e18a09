package model

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/OpenPrinting/goipp"
)

// Marker is one of the printer's supplies.
type Marker struct {
	Name, Type, Color string
	Level             int // per cent
}

// DefaultMarkers are a new printer's.
func DefaultMarkers() []Marker {
	return []Marker{{"Black Toner", "toner", "#000000", 80}, {"Cyan Toner", "toner", "#00FFFF", 60}, {"Waste Toner", "waste-toner", "none", 10}}
}

// Markers sets the printer's supplies.
func (s *IPP) Markers(markers ...Marker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.supplies = slices.Clone(markers)
}

const printerURI = "ipp://localhost/ipp/print"

func jobURI(id int) string { return fmt.Sprintf("%s/%d", printerURI, id) }

// formats are the documents that it takes.
func formats() []string {
	return []string{"application/octet-stream", "application/pdf", "image/urf", "image/pwg-raster", "image/jpeg", "application/PCLm", "application/vnd.hp-pcl", "text/plain"}
}

// operate carries out one IPP request.
func (s *IPP) operate(body io.Reader, pad int) (operation string, out []byte, status int) {
	var m goipp.Message
	if err := m.Decode(body); err != nil {
		_, _ = io.Copy(io.Discard, body) // the host sends it whole all the same
		return "", []byte(err.Error()), http.StatusBadRequest
	}
	op := goipp.Op(m.Code)
	response := goipp.NewResponse(m.Version, goipp.StatusOk, m.RequestID)
	response.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	response.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	format := text(m.Operation, "document-format")
	switch {
	case m.Version.Major() > 2:
		response.Code = goipp.Code(goipp.StatusErrorVersionNotSupported)
	case (op == goipp.OpPrintJob || op == goipp.OpValidateJob) && format != "" && !slices.Contains(formats(), format):
		response.Code = goipp.Code(goipp.StatusErrorDocumentFormatNotSupported)
	case op == goipp.OpPrintJob:
		s.printJob(m, body, response)
	case op == goipp.OpValidateJob:
	case op == goipp.OpGetPrinterAttributes:
		response.Printer = s.wanted(m)
	case op == goipp.OpGetJobAttributes:
		s.getJob(m, response)
	case op == goipp.OpCancelJob:
		s.cancelJob(m, response)
	default:
		response.Code = goipp.Code(goipp.StatusErrorOperationNotSupported)
	}
	_, _ = io.Copy(io.Discard, body) // of a request that was refused
	if pad > 0 {
		response.Printer.Add(padding(pad))
	}
	out, err := response.EncodeBytes()
	if err != nil {
		return op.String(), []byte(err.Error()), http.StatusInternalServerError
	}
	return op.String(), out, http.StatusOK
}

// padding is an attribute of about so many bytes.
func padding(n int) goipp.Attribute {
	const most = 1000 // bytes of a text
	a := goipp.Attribute{Name: "rig-padding"}
	for ; n > 0; n -= most {
		a.Values.Add(goipp.TagText, goipp.String(strings.Repeat("x", min(n, most))))
	}
	return a
}

// wanted are the printer's attributes that a request asks for (RFC 8011 §4.2.5.1).
func (s *IPP) wanted(m goipp.Message) goipp.Attributes {
	all := s.attributes()
	var names []string
	for _, a := range m.Operation {
		if a.Name == "requested-attributes" {
			for _, v := range a.Values {
				names = append(names, v.V.String())
			}
		}
	}
	if len(names) == 0 || slices.Contains(names, "all") || slices.Contains(names, "printer-description") {
		return all
	}
	return slices.DeleteFunc(all, func(a goipp.Attribute) bool { return !slices.Contains(names, a.Name) })
}

// UUID is the printer's, made of what else tells it from others.
func (p *Printer) UUID() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", p.options.Make, p.options.Model, p.options.Serial))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// state is printer-state and its reasons (RFC 8011 §5.4.11 and 12). mu is held.
func (s *IPP) state(code int) (state int, reasons []string, message string) {
	if code == CodePaperOut {
		return 5, []string{"media-empty-error", "media-needed-error"}, "Load paper."
	}
	for _, j := range s.jobs {
		if j.State == JobProcessing || j.State == JobPending {
			return 4, []string{"none"}, "Printing."
		}
	}
	return 3, []string{"none"}, "Ready."
}

func (s *IPP) attributes() goipp.Attributes {
	code := s.printer.Code()
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.printer.options
	state, reasons, message := s.state(code)
	completed := 0
	for _, j := range s.jobs {
		if j.State == JobCompleted {
			completed++
		}
	}
	var all goipp.Attributes
	add := func(name string, tag goipp.Tag, values ...goipp.Value) {
		a := goipp.Attribute{Name: name}
		for _, v := range values {
			a.Values.Add(tag, v)
		}
		all.Add(a)
	}
	add("printer-uri-supported", goipp.TagURI, goipp.String(printerURI))
	add("uri-authentication-supported", goipp.TagKeyword, goipp.String("none"))
	add("uri-security-supported", goipp.TagKeyword, goipp.String("none"))
	add("printer-name", goipp.TagName, goipp.String(o.Model))
	add("printer-dns-sd-name", goipp.TagName, goipp.String(o.Make+" "+o.Model))
	add("printer-info", goipp.TagText, goipp.String(o.Make+" "+o.Model))
	add("printer-location", goipp.TagText, goipp.String("By the window"))
	add("printer-make-and-model", goipp.TagText, goipp.String(o.Make+" "+o.Model))
	add("printer-uuid", goipp.TagURI, goipp.String("urn:uuid:"+s.printer.UUID()))
	add("printer-device-id", goipp.TagText, goipp.String(s.printer.DeviceID()))
	if o.Serial != "" {
		add("printer-serial-number", goipp.TagText, goipp.String(o.Serial))
	}
	add("printer-firmware-name", goipp.TagName, goipp.String("rig"))
	add("printer-firmware-string-version", goipp.TagText, goipp.String("1.2.3"))
	add("printer-state", goipp.TagEnum, goipp.Integer(state))
	all.Add(keywords("printer-state-reasons", reasons))
	add("printer-state-message", goipp.TagText, goipp.String(message))
	add("printer-is-accepting-jobs", goipp.TagBoolean, goipp.Boolean(true))
	add("queued-job-count", goipp.TagInteger, goipp.Integer(0))
	add("printer-up-time", goipp.TagInteger, goipp.Integer(1))
	add("printer-impressions-completed", goipp.TagInteger, goipp.Integer(1000+completed))
	add("charset-configured", goipp.TagCharset, goipp.String("utf-8"))
	add("charset-supported", goipp.TagCharset, goipp.String("utf-8"))
	add("natural-language-configured", goipp.TagLanguage, goipp.String("en"))
	add("generated-natural-language-supported", goipp.TagLanguage, goipp.String("en"))
	all.Add(keywords("ipp-versions-supported", []string{"1.1", "2.0"}))
	add("operations-supported", goipp.TagEnum, goipp.Integer(goipp.OpPrintJob), goipp.Integer(goipp.OpValidateJob), goipp.Integer(goipp.OpCancelJob),
		goipp.Integer(goipp.OpGetJobAttributes), goipp.Integer(goipp.OpGetPrinterAttributes))
	add("compression-supported", goipp.TagKeyword, goipp.String("none"))
	add("document-format-default", goipp.TagMimeType, goipp.String("application/octet-stream"))
	var types []goipp.Value
	for _, f := range formats() {
		types = append(types, goipp.String(f))
	}
	add("document-format-supported", goipp.TagMimeType, types...)
	add("pdl-override-supported", goipp.TagKeyword, goipp.String("attempted"))
	for _, m := range []struct {
		name string
		tag  goipp.Tag
		of   func(Marker) goipp.Value
	}{
		{"marker-names", goipp.TagName, func(m Marker) goipp.Value { return goipp.String(m.Name) }},
		{"marker-types", goipp.TagKeyword, func(m Marker) goipp.Value { return goipp.String(m.Type) }},
		{"marker-colors", goipp.TagName, func(m Marker) goipp.Value { return goipp.String(m.Color) }},
		{"marker-levels", goipp.TagInteger, func(m Marker) goipp.Value { return goipp.Integer(m.Level) }},
	} {
		var values []goipp.Value
		for _, supply := range s.supplies {
			values = append(values, m.of(supply))
		}
		if len(values) > 0 {
			add(m.name, m.tag, values...)
		}
	}
	return all
}

// text is the first value of an attribute, or empty.
func text(attributes goipp.Attributes, name string) string {
	for _, a := range attributes {
		if a.Name == name && len(a.Values) > 0 {
			return a.Values[0].V.String()
		}
	}
	return ""
}

func keywords(name string, values []string) goipp.Attribute {
	a := goipp.Attribute{Name: name}
	for _, v := range values {
		a.Values.Add(goipp.TagKeyword, goipp.String(v))
	}
	return a
}
