package ipp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/OpenPrinting/goipp"
)

// The bounds of a message that is decoded. goipp recurses per level of collection and keeps some hundred bytes per value, so a
// body of 1 MiB could take a hundred times that; the largest answer of a real printer to what is asked here has some two
// thousand values and four levels.
const (
	maxValues = 16384
	maxDepth  = 8
)

// userName is the requesting-user-name, which RFC 8011 §4.2.5.1 wants and some printers insist on.
const userName = "mfpgate"

// encode makes a Get-Printer-Attributes request (RFC 8011 §4.2.5.1): charset, then language, then the target, in this order.
func encode(version goipp.Version, uri string, names []string) ([]byte, error) {
	m := goipp.NewRequest(version, goipp.OpGetPrinterAttributes, 1)
	m.Operation.Add(goipp.MakeAttribute("attributes-charset", goipp.TagCharset, goipp.String("utf-8")))
	m.Operation.Add(goipp.MakeAttribute("attributes-natural-language", goipp.TagLanguage, goipp.String("en")))
	m.Operation.Add(goipp.MakeAttribute("printer-uri", goipp.TagURI, goipp.String(uri)))
	m.Operation.Add(goipp.MakeAttribute("requesting-user-name", goipp.TagName, goipp.String(userName)))
	requested := goipp.Attribute{Name: "requested-attributes"}
	for _, name := range names {
		requested.Values.Add(goipp.TagKeyword, goipp.String(name))
	}
	m.Operation.Add(requested)
	return m.EncodeBytes()
}

// answer is a decoded message's part that matters here.
type answer struct {
	status goipp.Status
	attributes
}

// decode reads a response. Its error is ErrNotIPP.
func decode(body []byte) (answer, error) {
	if err := bounded(body); err != nil {
		return answer{}, fmt.Errorf("%w: %s", ErrNotIPP, err)
	}
	var m goipp.Message
	// The workarounds take collections as some printers send them, without member names.
	if err := m.DecodeBytesEx(body, goipp.DecoderOptions{EnableWorkarounds: true}); err != nil {
		return answer{}, fmt.Errorf("%w: %s", ErrNotIPP, err)
	}
	a := answer{status: goipp.Status(m.Code), attributes: attributes{values: make(map[string]goipp.Values, len(m.Printer))}}
	for _, attr := range m.Operation {
		if attr.Name == "attributes-charset" && len(attr.Values) > 0 {
			a.latin1 = strings.EqualFold(attr.Values[0].V.String(), "iso-8859-1")
		}
	}
	for _, attr := range m.Printer {
		if _, twice := a.values[attr.Name]; !twice { // RFC 8011 §3.1.1: an attribute occurs once; the first is kept
			a.values[attr.Name] = attr.Values
		}
	}
	return a, nil
}

// bounded walks over a message's values without decoding them (RFC 8010 §3.1) and says what is beyond the bounds.
func bounded(body []byte) error {
	const header, end = 8, 0x03
	if len(body) < header {
		return errors.New("shorter than its header")
	}
	if body[0] < 1 || body[0] > 2 {
		return fmt.Errorf("IPP version %d.%d", body[0], body[1])
	}
	values, depth := 0, 0
	for rest := body[header:]; ; {
		if len(rest) == 0 {
			return errors.New("ends early")
		}
		tag := goipp.Tag(rest[0])
		rest = rest[1:]
		if tag == end {
			return nil
		}
		if tag.IsDelimiter() {
			depth = 0
			continue
		}
		for range 2 { // name, value
			if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
				return errors.New("ends early")
			}
			rest = rest[2+int(binary.BigEndian.Uint16(rest)):]
		}
		switch tag {
		case goipp.TagBeginCollection:
			depth++
		case goipp.TagEndCollection:
			depth--
		}
		if values++; values > maxValues || depth > maxDepth {
			return fmt.Errorf("more than %d values or %d levels", maxValues, maxDepth)
		}
	}
}
