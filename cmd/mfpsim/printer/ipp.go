package printer

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/OpenPrinting/goipp"
)

// maxRequest bounds an IPP request: those that we answer bring no document.
const maxRequest = 64 << 10 // bytes

const ippPath = "/ipp/print"

// serveIPP answers for the printer whose address was asked.
func (s *Site) serveIPP(w http.ResponseWriter, r *http.Request) {
	here, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	p := s.at(local(here))
	if p == nil {
		panic(http.ErrAbortHandler) // it has moved away
	}
	v := p.view()
	v.asked = local(here).Unmap().WithZone("")
	switch {
	case v.power == unplugged:
		p.unanswered()
		silence(w, r)
	case v.power == off:
		p.unanswered()
		panic(http.ErrAbortHandler)
	case r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "%s, a simulated %s, serial number %s, firmware %s\n", v.o.Name, v.makeAndModel(), v.o.Serial, v.o.Firmware)
		return
	case r.URL.Path != ippPath:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "IPP is POST", http.StatusMethodNotAllowed)
		return
	case !strings.HasPrefix(r.Header.Get("Content-Type"), goipp.ContentType):
		http.Error(w, "IPP is "+goipp.ContentType, http.StatusUnsupportedMediaType)
		return
	}
	p.stats.ipp.Add(1)
	s.stats.ipp.Add(1)
	var request goipp.Message
	if err := request.DecodeEx(http.MaxBytesReader(nil, r.Body, maxRequest), goipp.DecoderOptions{EnableWorkarounds: true}); err != nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4*maxRequest)) // who is cut off while it sends may not see the answer
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	data, err := answerIPP(v, &request).EncodeBytes()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", goipp.ContentType)
	_, _ = w.Write(data) // who asked has gone
}

// silence is what comes over a cable that is not plugged in: the request ends with its connection, whose end the server
// notices only once the body is read.
func silence(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(nil, r.Body, maxRequest)); err == nil {
		<-r.Context().Done()
	}
	panic(http.ErrAbortHandler)
}

// answerIPP is a printer's answer, or its refusal (RFC 8011 §4.1).
func answerIPP(v *view, request *goipp.Message) *goipp.Message {
	version := request.Version
	if version.Major() != 1 && version.Major() != 2 {
		return refuseIPP(goipp.DefaultVersion, request, goipp.StatusErrorVersionNotSupported)
	}
	o := request.Operation
	switch {
	case request.RequestID == 0 || len(o) < 2 || o[0].Name != "attributes-charset" || o[1].Name != "attributes-natural-language":
		return refuseIPP(version, request, goipp.StatusErrorBadRequest)
	case !strings.EqualFold(text(o, "attributes-charset"), "utf-8"):
		return refuseIPP(version, request, goipp.StatusErrorCharset)
	case text(o, "printer-uri") == "":
		return refuseIPP(version, request, goipp.StatusErrorBadRequest)
	}
	answer := refuseIPP(version, request, goipp.StatusOk)
	switch goipp.Op(request.Code) {
	case goipp.OpGetPrinterAttributes:
		answer.Printer = requested(v, o)
	case goipp.OpGetJobs: // it has none that others sent
	default:
		return refuseIPP(version, request, goipp.StatusErrorOperationNotSupported)
	}
	return answer
}

func refuseIPP(version goipp.Version, request *goipp.Message, status goipp.Status) *goipp.Message {
	answer := goipp.NewResponse(version, status, request.RequestID)
	answer.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	answer.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	return answer
}

// text is an attribute's first value, or "".
func text(all goipp.Attributes, name string) string {
	for _, a := range all {
		if a.Name == name && len(a.Values) > 0 {
			return a.Values[0].V.String()
		}
	}
	return ""
}

// requested makes the attributes that are asked for, and no others (RFC 8011 §4.2.5.1): by name, by group, or all.
func requested(v *view, operation goipp.Attributes) goipp.Attributes {
	wanted := map[string]bool{}
	for _, a := range operation {
		if a.Name != "requested-attributes" {
			continue
		}
		for _, value := range a.Values {
			wanted[value.V.String()] = true
		}
	}
	if len(wanted) == 0 {
		wanted["all"] = true
	}
	var all goipp.Attributes
	for _, a := range attributes {
		if wanted[a.name] || a.group != byName && (wanted["all"] || wanted[a.group]) {
			if made, ok := a.make(v); ok {
				made.Name = a.name
				all = append(all, made)
			}
		}
	}
	return all
}
