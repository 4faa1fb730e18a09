package describe_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/OpenPrinting/goipp"
	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/usb/describe"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

// device answers requests without a network.
type device struct{ http.HandlerFunc }

func (d device) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

func answering(status int, media string, body []byte) device {
	return device{func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}}
}

// printer is an IPP answer as a library that is not ours encodes it.
func printer(t *testing.T, status goipp.Status) []byte {
	m := goipp.NewResponse(goipp.DefaultVersion, status, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	add := func(name string, tag goipp.Tag, values ...goipp.Value) {
		a := goipp.Attribute{Name: name}
		for _, v := range values {
			a.Values.Add(tag, v)
		}
		m.Printer.Add(a)
	}
	inner := goipp.Collection{}
	inner.Add(goipp.MakeAttribute("printer-info", goipp.TagText, goipp.String("not this")))
	add("media-col-default", goipp.TagBeginCollection, inner)
	add("printer-dns-sd-name", goipp.TagName, goipp.String(""))
	add("printer-info", goipp.TagTextLang, goipp.TextWithLang{Lang: "en", Text: "Front\x07 desk"})
	add("printer-uuid", goipp.TagURI, goipp.String("urn:uuid:12345678-1234-4321-8888-123456789abc"))
	add("document-format-supported", goipp.TagMimeType, goipp.String("application/pdf"), goipp.String("image/urf"))
	add("urf-supported", goipp.TagKeyword, goipp.String("V1.4"), goipp.String("RS600"))
	add("color-supported", goipp.TagBoolean, goipp.Boolean(true))
	add("sides-supported", goipp.TagKeyword, goipp.String("one-sided"))
	add("printer-more-info", goipp.TagURI, goipp.String("http://HP123.local/hp/index.html"))
	add("printer-kind", goipp.TagKeyword, goipp.String("document"))
	b, err := m.EncodeBytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrinter(t *testing.T) {
	got, err := describe.Printer(t.Context(), answering(200, "application/ipp", printer(t, goipp.StatusOk)))
	want := endpoint.About{Name: "Front desk", UUID: "urn:uuid:12345678-1234-4321-8888-123456789abc", Formats: []string{"application/pdf", "image/urf"},
		URF: []string{"V1.4", "RS600"}, Kinds: []string{"document"}, Color: endpoint.Yes, Duplex: endpoint.No, Admin: "hp/index.html"}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestAnOlderVersionIsTried(t *testing.T) {
	var versions []goipp.Version
	_, err := describe.Printer(t.Context(), device{func(w http.ResponseWriter, r *http.Request) {
		var m goipp.Message
		if err := m.Decode(r.Body); err != nil {
			t.Errorf("what it asks is no IPP: %v", err)
		}
		versions = append(versions, m.Version)
		status := goipp.StatusOk
		if m.Version > goipp.MakeVersion(1, 1) {
			status = goipp.StatusErrorVersionNotSupported
		}
		w.Header().Set("Content-Type", "application/ipp")
		_, _ = w.Write(printer(t, status))
	}})
	if d := cmp.Diff([]goipp.Version{goipp.MakeVersion(2, 0), goipp.MakeVersion(1, 1)}, versions); d != "" || err != nil {
		t.Error(d, err)
	}
}

func TestNoPrinter(t *testing.T) {
	whole := printer(t, goipp.StatusOk)
	tests := []struct {
		rule string
		rt   device
		not  bool // for good
	}{
		{"404 is no IPP printer", answering(404, "text/html", []byte("no")), true},
		{"a page is no IPP printer", answering(200, "text/html", []byte("<html>")), true},
		{"503 is a printer that starts", answering(503, "text/html", nil), false},
		{"an IPP error is a printer's", answering(200, "application/ipp", printer(t, goipp.StatusErrorInternal)), false},
		{"an answer that breaks off", answering(200, "application/ipp", whole[:len(whole)-5]), false},
		{"an answer without end", answering(200, "application/ipp", bytes.Repeat([]byte{0x44, 0, 1, 'a', 0, 0}, 1<<19)), false},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if _, err := describe.Printer(t.Context(), tt.rt); err == nil || errors.Is(err, describe.ErrNotIPP) != tt.not {
				t.Errorf("%v", err)
			}
		})
	}
}

const caps = `<?xml version="1.0"?><scan:ScannerCapabilities xmlns:scan="http://schemas.hp.com/imaging/escl/2011/05/03" xmlns:pwg="http://www.pwg.org/schemas/2010/12/sm">
<pwg:Version>2.63</pwg:Version><scan:Platen><scan:PlatenInputCaps><scan:SettingProfiles><scan:SettingProfile>
<scan:ColorModes><scan:ColorMode>RGB24</scan:ColorMode><scan:ColorMode>Grayscale8</scan:ColorMode><scan:ColorMode>Thermal</scan:ColorMode></scan:ColorModes>
<scan:DocumentFormats><pwg:DocumentFormat>image/jpeg</pwg:DocumentFormat><scan:DocumentFormatExt>image/jpeg</scan:DocumentFormatExt></scan:DocumentFormats>
</scan:SettingProfile></scan:SettingProfiles></scan:PlatenInputCaps></scan:Platen>
<scan:Adf><scan:AdfSimplexInputCaps/><scan:AdfDuplexInputCaps/></scan:Adf></scan:ScannerCapabilities>`

func TestScanner(t *testing.T) {
	tests := []struct {
		rule  string
		rt    device
		want  *endpoint.Scanner
		fails bool
	}{
		{"what its document says", answering(200, "text/xml", []byte(caps)),
			&endpoint.Scanner{Version: "2.63", Formats: []string{"image/jpeg"}, Colors: []string{"color", "grayscale"}, Sources: []string{"platen", "adf"}, Duplex: endpoint.Yes}, false},
		{"404 is no scanner", answering(404, "text/html", nil), nil, false},
		{"503 is one that starts", answering(503, "text/html", nil), nil, true},
		{"another document is none", answering(200, "text/xml", []byte("<html/>")), nil, true},
		{"a document that breaks off is none", answering(200, "text/xml", []byte(caps[:300])), nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			got, err := describe.Scanner(t.Context(), tt.rt)
			if d := cmp.Diff(tt.want, got); d != "" || (err != nil) != tt.fails {
				t.Error(d, err)
			}
		})
	}
}

func FuzzPrinter(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 1, 4, 0x41, 0, 12, 'p', 'r', 'i', 'n', 't', 'e', 'r', '-', 'i', 'n', 'f', 'o', 0, 1, 'x', 3})
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 1, 4, 0x35, 0, 12, 'p', 'r', 'i', 'n', 't', 'e', 'r', '-', 'i', 'n', 'f', 'o', 0, 3, 0, 9, 'x', 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := describe.Printer(context.Background(), answering(200, "application/ipp", b))
		if err == nil && (len(a.Name) > 255 || len(a.Formats) > 64) {
			t.Errorf("unbounded: %+v", a)
		}
	})
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte(caps))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := describe.Scanner(context.Background(), answering(200, "text/xml", b)); err == nil && s != nil && len(s.Formats) > 64 {
			t.Errorf("unbounded: %+v", s)
		}
	})
}
