package ipp

import (
	"fmt"
	"strings"

	"github.com/OpenPrinting/goipp"

	message "github.com/mfpgate/mfpgate/protocol/ipp"
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
	m, err := message.Decode(body, message.Printer)
	if err != nil {
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
