package describe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate/protocol/ieee1284"
	"github.com/mfpgate/mfpgate/protocol/ipp"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

// ErrNotIPP says that what answers knows no IPP printer.
var ErrNotIPP = errors.New("it is no IPP printer")

const (
	maxAnswer = 1 << 20 // bytes
	maxValues = 64      // of an attribute
	maxText   = 255     // bytes
)

// asked are the attributes that are published (RFC 8011, PWG 5100.13, PWG 5100.14, Apple's urf-supported).
func asked() []string {
	return []string{"printer-dns-sd-name", "printer-info", "printer-uuid", "printer-location", "document-format-supported", "urf-supported",
		"printer-kind", "color-supported", "sides-supported", "printer-more-info"}
}

// Printer asks the printer behind a transport. Make, Model and CommandSet are left to who knows them from USB.
func Printer(ctx context.Context, rt http.RoundTripper) (endpoint.About, error) {
	all, status, err := ask(ctx, rt, goipp.MakeVersion(2, 0))
	if err == nil && status == goipp.StatusErrorVersionNotSupported {
		all, status, err = ask(ctx, rt, goipp.MakeVersion(1, 1))
	}
	if err != nil {
		return endpoint.About{}, err
	}
	if status >= 0x0400 {
		return endpoint.About{}, fmt.Errorf("ask the USB printer for its attributes: it answers status 0x%04x", status)
	}
	a := endpoint.About{Name: all.text("printer-dns-sd-name", "printer-info"), UUID: all.text("printer-uuid"), Location: all.text("printer-location"),
		Formats: all["document-format-supported"], URF: all["urf-supported"], Kinds: all["printer-kind"],
		Color: known(all["color-supported"], func(v []string) bool { return v[0] == "true" }),
		Duplex: known(all["sides-supported"], func(v []string) bool {
			return slices.ContainsFunc(v, func(side string) bool { return side != "one-sided" })
		})}
	if more, err := url.Parse(all.text("printer-more-info")); err == nil {
		a.Admin = strings.TrimPrefix(more.EscapedPath(), "/")
	}
	return a, nil
}

func known(values []string, yes func([]string) bool) endpoint.Known {
	switch {
	case len(values) == 0:
		return endpoint.Unsaid
	case yes(values):
		return endpoint.Yes
	}
	return endpoint.No
}

// attributes are the texts of a printer's attributes, by name.
type attributes map[string][]string

// text is the first value of the first of these that has one.
func (a attributes) text(names ...string) string {
	for _, n := range names {
		if len(a[n]) > 0 {
			return a[n][0]
		}
	}
	return ""
}

func ask(ctx context.Context, rt http.RoundTripper, version goipp.Version) (attributes, goipp.Status, error) {
	m := goipp.NewRequest(version, goipp.OpGetPrinterAttributes, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String("ipp://localhost/ipp/print")))
	requested := goipp.Attribute{Name: "requested-attributes"}
	for _, name := range asked() {
		requested.Values.Add(goipp.TagKeyword, goipp.String(name))
	}
	m.Operation.Add(requested)
	b, err := m.EncodeBytes()
	if err != nil {
		return nil, 0, fmt.Errorf("ask the USB printer for its attributes: %w", err)
	}

	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/ipp/print", bytes.NewReader(b))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/ipp")
	text, resp, err := exchange(rt, req)
	if err != nil {
		return nil, 0, fmt.Errorf("ask the USB printer for its attributes: %w", err)
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed, resp.StatusCode == http.StatusNotImplemented:
		return nil, 0, fmt.Errorf("%w: it answers %s", ErrNotIPP, resp.Status)
	case resp.StatusCode != http.StatusOK:
		return nil, 0, fmt.Errorf("ask the USB printer for its attributes: it answers %s", resp.Status)
	case media != "application/ipp":
		return nil, 0, fmt.Errorf("%w: it answers %q", ErrNotIPP, media)
	}
	return parse(text)
}

// exchange sends a request and reads the answer, whole: printers on USB must be read to the end.
func exchange(rt http.RoundTripper, req *http.Request) ([]byte, *http.Response, error) {
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > maxAnswer {
		return nil, nil, fmt.Errorf("its answer has more than %d bytes", maxAnswer)
	}
	return text, resp, nil
}

// parse reads an answer: the status, and the texts of the printer's attributes.
func parse(b []byte) (attributes, goipp.Status, error) {
	m, err := ipp.Decode(b, ipp.Printer)
	if err != nil {
		return nil, 0, fmt.Errorf("what the USB printer says of itself: %w", err)
	}
	found, wanted := attributes{}, asked()
	for _, a := range m.Printer {
		if !slices.Contains(wanted, a.Name) {
			continue
		}
		for _, v := range a.Values[:min(len(a.Values), maxValues)] {
			if text := text(v.V); text != "" && len(found[a.Name]) < maxValues {
				found[a.Name] = append(found[a.Name], text)
			}
		}
	}
	return found, goipp.Status(m.Code), nil
}

func text(v goipp.Value) string {
	switch v := v.(type) {
	case goipp.Boolean:
		return v.String()
	case goipp.TextWithLang:
		return ieee1284.Text(v.Text, maxText)
	case goipp.String:
		return ieee1284.Text(string(v), maxText)
	}
	return ""
}
