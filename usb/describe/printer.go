package describe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate/ieee1284"
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
	all, status, err := ask(ctx, rt, 2, 0)
	if err == nil && status == statusVersion {
		all, status, err = ask(ctx, rt, 1, 1)
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

// What IPP's encoding needs (RFC 8010 §3).
const (
	opGetPrinterAttributes = 0x000b
	statusVersion          = 0x0503 // server-error-version-not-supported
	groupOperation         = 0x01
	groupPrinter           = 0x04
	groupEnd               = 0x03
	lastGroup              = 0x0f
	tagBoolean             = 0x22
	tagTextLanguage        = 0x35
	tagNameLanguage        = 0x36
	firstString            = 0x41
	lastString             = 0x49
	tagURI, tagKeyword     = 0x45, 0x44
	tagCharset, tagLang    = 0x47, 0x48
)

func ask(ctx context.Context, rt http.RoundTripper, major, minor byte) (attributes, int, error) {
	b := []byte{major, minor, 0, opGetPrinterAttributes, 0, 0, 0, 1, groupOperation}
	add := func(tag byte, name, value string) {
		b = append(b, tag)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(name))), name...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
	}
	add(tagCharset, "attributes-charset", "utf-8")
	add(tagLang, "attributes-natural-language", "en")
	add(tagURI, "printer-uri", "ipp://localhost/ipp/print")
	for i, name := range asked() {
		add(tagKeyword, map[bool]string{true: "requested-attributes"}[i == 0], name)
	}
	b = append(b, groupEnd)

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

var errShort = errors.New("the answer breaks off")

// parse reads an answer: the status, and the texts of the printer's attributes. Collections have no texts that are asked for; their
// members pass as values of attributes without a name of ours, so that their depth does not matter.
func parse(b []byte) (attributes, int, error) {
	if len(b) < 8 {
		return nil, 0, errShort
	}
	status, found := int(binary.BigEndian.Uint16(b[2:])), attributes{}
	wanted := asked()
	group, name := byte(0), ""
	for b = b[8:]; len(b) > 0; {
		tag := b[0]
		b = b[1:]
		if tag == groupEnd {
			return found, status, nil
		}
		if tag <= lastGroup {
			group, name = tag, ""
			continue
		}
		var key, value []byte
		var ok bool
		if key, b, ok = field(b); !ok {
			return nil, 0, errShort
		}
		if value, b, ok = field(b); !ok {
			return nil, 0, errShort
		}
		if len(key) > 0 {
			name = string(key)
		}
		if group != groupPrinter || !slices.Contains(wanted, name) || len(found[name]) >= maxValues {
			continue
		}
		if text := text(tag, value); text != "" {
			found[name] = append(found[name], text)
		}
	}
	return nil, 0, errShort
}

// field is two bytes of length, and so many bytes.
func field(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}

func text(tag byte, value []byte) string {
	switch {
	case tag == tagBoolean && len(value) == 1:
		return map[bool]string{true: "true", false: "false"}[value[0] != 0]
	case tag == tagTextLanguage || tag == tagNameLanguage:
		_, rest, ok := field(value)
		if !ok {
			return ""
		}
		said, _, ok := field(rest)
		if !ok {
			return ""
		}
		return ieee1284.Text(string(said), maxText)
	case tag >= firstString && tag <= lastString:
		return ieee1284.Text(string(value), maxText)
	}
	return ""
}
