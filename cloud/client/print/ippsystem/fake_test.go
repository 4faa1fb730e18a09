package ippsystem_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate/cloud/client/print/ippsystem"
)

const host = "127.0.0.1"

// fake is a system that answers as a test says.
type fake struct {
	url    string // ipp://
	server *httptest.Server

	mu       sync.Mutex
	system   goipp.Attributes // of Get-System-Attributes
	printer  goipp.Attributes // of Register-Output-Device
	refuse   func(op goipp.Op, w http.ResponseWriter, id uint32) bool
	requests []*goipp.Message
	headers  []http.Header
}

func newFake(t testing.TB) *fake {
	t.Helper()
	f := &fake{system: goipp.Attributes{operations(goipp.OpGetSystemAttributes, goipp.OpRegisterOutputDevice)}, printer: printerAt("ipp://" + host + ":631/ipp/print/1")}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	f.url = "ipp" + strings.TrimPrefix(f.server.URL, "http") + "/ipp/system"
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	var m goipp.Message
	if err != nil || m.DecodeBytes(body) != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/ipp" {
		http.Error(w, "no IPP", http.StatusBadRequest)
		return
	}
	f.requests, f.headers = append(f.requests, &m), append(f.headers, r.Header)
	if f.refuse != nil && f.refuse(goipp.Op(m.Code), w, m.RequestID) {
		return
	}
	a := goipp.NewResponse(m.Version, goipp.StatusOk, m.RequestID)
	a.Operation.Add(text("attributes-charset", goipp.TagCharset, "utf-8"))
	a.Operation.Add(text("attributes-natural-language", goipp.TagLanguage, "en"))
	switch goipp.Op(m.Code) {
	case goipp.OpGetSystemAttributes:
		a.System = f.system
	case goipp.OpRegisterOutputDevice:
		a.Printer = f.printer
	}
	send(w, a)
}

// send writes a message as an answer.
func send(w http.ResponseWriter, m *goipp.Message) {
	data, err := m.EncodeBytes()
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/ipp")
	_, _ = w.Write(data)
}

// says sets a system attribute.
func (f *fake) says(all ...goipp.Attribute) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range all {
		kept := goipp.Attributes{a}
		for _, old := range f.system {
			if old.Name != a.Name {
				kept.Add(old)
			}
		}
		f.system = kept
	}
}

// asked are the operations so far.
func (f *fake) asked(op goipp.Op) (all []*goipp.Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.requests {
		if goipp.Op(m.Code) == op {
			all = append(all, m)
		}
	}
	return all
}

func (f *fake) open(t testing.TB) *ippsystem.Service {
	t.Helper()
	return open(t, ippsystem.Options{URL: f.url})
}

func text(name string, syntax goipp.Tag, values ...string) goipp.Attribute {
	a := goipp.Attribute{Name: name}
	for _, v := range values {
		a.Values.Add(syntax, goipp.String(v))
	}
	return a
}

func noValue(name string) goipp.Attribute {
	return goipp.MakeAttribute(name, goipp.TagNoValue, goipp.Void{})
}

func operations(all ...goipp.Op) goipp.Attribute {
	a := goipp.Attribute{Name: "operations-supported"}
	for _, op := range all {
		a.Values.Add(goipp.TagEnum, goipp.Integer(op))
	}
	return a
}

func issuer(uri string) goipp.Attribute {
	return text("oauth-authorization-server-uri", goipp.TagURI, uri)
}

// printerAt are the attributes of a printer that has these URIs.
func printerAt(uris ...string) goipp.Attributes {
	xri := goipp.Attribute{Name: "printer-xri-supported"}
	for _, uri := range uris {
		xri.Values.Add(goipp.TagBeginCollection, goipp.Collection{
			text("xri-authentication", goipp.TagKeyword, "none"), text("xri-security", goipp.TagKeyword, "none"), text("xri-uri", goipp.TagURI, uri),
		})
	}
	return goipp.Attributes{
		goipp.MakeAttribute("printer-id", goipp.TagInteger, goipp.Integer(7)),
		text("printer-uuid", goipp.TagURI, "urn:uuid:22222222-0000-4000-8000-00000000000a"),
		xri,
	}
}
