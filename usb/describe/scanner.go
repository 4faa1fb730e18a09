package describe

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/mfpgate/mfpgate/protocol/ieee1284"
	"github.com/mfpgate/mfpgate/usb/endpoint"
)

// Scanner asks for the capabilities of the scanner behind a transport (Mopria eSCL §8.1). A device without one is nil, and no error.
func Scanner(ctx context.Context, rt http.RoundTripper) (*endpoint.Scanner, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/eSCL/ScannerCapabilities", nil)
	if err != nil {
		return nil, err
	}
	text, resp, err := exchange(rt, req)
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask the USB scanner for its capabilities: %w", err)
	case resp.StatusCode == http.StatusServiceUnavailable:
		return nil, fmt.Errorf("ask the USB scanner for its capabilities: it answers %s", resp.Status)
	case resp.StatusCode != http.StatusOK:
		return nil, nil
	}
	return capabilities(text)
}

var errNoCapabilities = errors.New("the USB scanner's capabilities are none")

// capabilities reads the document flatly: what its elements are called tells all that is published.
func capabilities(text []byte) (*endpoint.Scanner, error) {
	s := &endpoint.Scanner{}
	add := func(to *[]string, v string) {
		if v != "" && !slices.Contains(*to, v) && len(*to) < maxValues {
			*to = append(*to, v)
		}
	}
	root, element := "", ""
	for d := xml.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the USB scanner's capabilities: %w", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			element = token.Name.Local
			if root == "" {
				root = element
			}
			switch element {
			case "Platen":
				add(&s.Sources, "platen")
			case "Adf":
				add(&s.Sources, "adf")
			case "Camera":
				add(&s.Sources, "camera")
			case "AdfSimplexInputCaps":
				if s.Duplex == endpoint.Unsaid {
					s.Duplex = endpoint.No
				}
			case "AdfDuplexInputCaps":
				s.Duplex = endpoint.Yes
			}
		case xml.EndElement:
			element = ""
		case xml.CharData:
			value := ieee1284.Text(string(token), maxText)
			switch element {
			case "Version":
				if s.Version == "" {
					s.Version = value
				}
			case "DocumentFormat", "DocumentFormatExt":
				add(&s.Formats, value)
			case "ColorMode":
				add(&s.Colors, map[string]string{"BlackAndWhite1": "binary", "Grayscale8": "grayscale", "Grayscale16": "grayscale", "RGB24": "color", "RGB48": "color"}[value])
			}
		}
	}
	if root != "ScannerCapabilities" {
		return nil, errNoCapabilities
	}
	return s, nil
}
