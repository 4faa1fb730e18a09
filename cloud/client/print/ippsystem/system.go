package ippsystem

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/OpenPrinting/goipp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/protocol/ipp"
)

// system is what a system says of itself, as far as it matters here.
type system struct {
	issuer     string
	scope      string
	logins     []string // how it knows who asks (PWG 5100.22, xri-authentication-supported)
	mandatory  []string // attributes of a registration
	operations []int
}

// wanted are the attributes that parseSystem reads.
func wanted() []string {
	return []string{"oauth-authorization-server-uri", "oauth-authorization-scope", "uri-authentication-supported",
		"xri-authentication-supported", "system-mandatory-registration-attributes", "operations-supported"}
}

// parseSystem reads an answer to Get-System-Attributes. What cannot be read of who must be asked is an error, and never nobody.
func parseSystem(m *goipp.Message) (system, error) {
	group := m.System
	var out system
	if a, ok := ipp.Find(group, "oauth-authorization-server-uri"); ok && !outOfBand(a) {
		if out.issuer = ipp.Text(group, a.Name, goipp.TagURI); out.issuer == "" {
			return system{}, fmt.Errorf("%w: %s is no URI", errAnswer, a.Name)
		}
	}
	out.scope = strings.Join(ipp.Texts(group, "oauth-authorization-scope", goipp.TagKeyword, goipp.TagName, goipp.TagText), " ")
	for _, name := range []string{"uri-authentication-supported", "xri-authentication-supported"} {
		out.logins = append(out.logins, ipp.Texts(group, name, goipp.TagKeyword)...)
	}
	if a, ok := ipp.Find(group, "system-mandatory-registration-attributes"); ok && !outOfBand(a) {
		if out.mandatory = ipp.Texts(group, a.Name, goipp.TagKeyword); out.mandatory == nil {
			return system{}, fmt.Errorf("%w: %s are no keywords", errAnswer, a.Name)
		}
	}
	if out.operations = ipp.Integers(group, "operations-supported"); out.operations == nil {
		return system{}, fmt.Errorf("%w: without operations-supported; is the URL that of a system?", errAnswer)
	}
	if out.issuer == "" && slices.Contains(out.logins, "oauth") && !slices.ContainsFunc(out.logins, anybody) {
		return system{}, fmt.Errorf("%w: it wants OAuth, and names no authorization server", errAnswer)
	}
	return out, nil
}

// anybody reports whether a login is none.
func anybody(login string) bool { return login == "none" || login == "requesting-user-name" }

// outOfBand reports whether an attribute says only that there is no value (RFC 8011 §5.1).
func outOfBand(a goipp.Attribute) bool {
	return !slices.ContainsFunc(a.Values, func(v struct {
		T goipp.Tag
		V goipp.Value
	}) bool {
		return v.T != goipp.TagNoValue && v.T != goipp.TagUnknown && v.T != goipp.TagUnsupportedValue && v.T != goipp.TagDefault
	})
}

// check says what stands against a registration of the device, before anybody is asked. Its errors wrap mfpgate.ErrRefused.
func (s system) check(d mfpgate.PrintDevice) error {
	if !slices.Contains(s.operations, int(goipp.OpRegisterOutputDevice)) {
		return fmt.Errorf("%w: the system does not register output devices (PWG 5100.22)", mfpgate.ErrRefused)
	}
	if s.issuer == "" && len(s.logins) > 0 && !slices.ContainsFunc(s.logins, anybody) {
		return fmt.Errorf("%w: the system wants a login by %s, and names no authorization server", mfpgate.ErrRefused, strings.Join(s.logins, " or "))
	}
	if uuid := "urn:uuid:" + d.UUID; ipp.UUID(uuid) == "" {
		return fmt.Errorf("%w: the device has no UUID, by which a system would know it", mfpgate.ErrRefused)
	}
	var missing []string
	for _, name := range s.mandatory {
		if _, ok := described(d)[name]; !ok && !slices.Contains(always(), name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: the system wants to know of the device: %s; let its administrator drop it from system-mandatory-registration-attributes, or give the device one",
			mfpgate.ErrRefused, strings.Join(missing, ", "))
	}
	return nil
}

// always are the attributes of every registration.
func always() []string {
	return []string{"attributes-charset", "attributes-natural-language", "system-uri", "requesting-user-name", "output-device-uuid", "printer-service-type"}
}

// described are the printer attributes that tell of a device, as far as it is known. They are sent only to a system that wants them:
// the standard has none in a registration.
func described(d mfpgate.PrintDevice) map[string]goipp.Attribute {
	out := map[string]goipp.Attribute{}
	for name, of := range map[string]struct {
		syntax goipp.Tag
		text   string
	}{
		"printer-name":           {goipp.TagName, d.Name},
		"printer-info":           {goipp.TagText, d.Name},
		"printer-location":       {goipp.TagText, d.Location},
		"printer-make-and-model": {goipp.TagText, strings.TrimSpace(d.Make + " " + d.Model)},
		"printer-serial-number":  {goipp.TagText, d.Serial},
	} {
		if text := mfpgate.CleanText(of.text, ipp.MaxText); text != "" {
			out[name] = goipp.MakeAttribute(name, of.syntax, goipp.String(text))
		}
	}
	return out
}

// parsePrinter reads an answer to Register-Output-Device.
func (s *Service) parsePrinter(m *goipp.Message) (mfpgate.Printer, error) {
	var out mfpgate.Printer
	switch number := ipp.Integers(m.Printer, "printer-id"); {
	case len(number) == 1 && number[0] > 0:
		out.ID = strconv.Itoa(number[0])
	default:
		out.ID = ipp.UUID(ipp.Text(m.Printer, "printer-uuid", goipp.TagURI))
	}
	if out.ID == "" {
		return mfpgate.Printer{}, fmt.Errorf("%w: without printer-id and printer-uuid", errAnswer)
	}
	all := ipp.Collections(m.Printer, "printer-xri-supported")
	if len(all) == 0 {
		return mfpgate.Printer{}, fmt.Errorf("%w: without printer-xri-supported", errAnswer)
	}
	var refused []string
	for _, secure := range []bool{true, false} { // TLS first, whatever the order
		for _, xri := range all {
			text := ipp.Text(xri, "xri-uri", goipp.TagURI)
			u, err := url.Parse(text)
			if err != nil || (u.Scheme == "ipps" || u.Scheme == "https") != secure {
				continue
			}
			if why := s.printerAt(u); why != "" {
				refused = append(refused, fmt.Sprintf("%q: %s", text, why))
				continue
			}
			out.URI = text
			return out, nil
		}
	}
	if len(refused) == 0 {
		return mfpgate.Printer{}, fmt.Errorf("%w: no xri-uri in printer-xri-supported", errAnswer)
	}
	return mfpgate.Printer{}, fmt.Errorf("%w: the printer is where it may not be: %s", mfpgate.ErrRefused, strings.Join(refused[:min(len(refused), 3)], "; "))
}

// printerAt says why a printer may not be at a URI, or "".
func (s *Service) printerAt(u *url.URL) string {
	host := strings.ToLower(u.Hostname())
	switch {
	case !slices.Contains([]string{"ipps", "https", "ipp", "http"}, u.Scheme) || host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "":
		return "not the URI of an IPP printer"
	case !strings.EqualFold(host, s.http.Hostname()) && !slices.ContainsFunc(s.o.PrinterHosts, func(h string) bool { return strings.EqualFold(h, host) }):
		return "another host than the system's; allow it if it is meant"
	case (u.Scheme == "ipp" || u.Scheme == "http") && s.http.Scheme == "https":
		return "without TLS, and the system has it"
	}
	return ""
}
