package endpoint

import (
	"crypto/sha1" //nolint:gosec // RFC 9562 §5.5 has it
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/usb/endpoint/dnssd"
)

// About is what is published of a printer. All but Make and Model may be empty; what it lets empty is not published. The attributes are
// those of Get-Printer-Attributes (RFC 8011, PWG 5100.13, 5100.14).
type About struct {
	Name        string   // what it is called on the network: printer-dns-sd-name, or printer-info; "": make and model
	Make, Model string   // as the 1284 id has them
	CommandSet  []string // its command sets
	UUID        string   // printer-uuid, without urn:uuid:; "": one that is made of the key
	Location    string   // printer-location

	Resource string   // the path of its printer-uri-supported, without the first slash; "": ipp/print
	Formats  []string // document-format-supported
	URF      []string // urf-supported
	Kinds    []string // printer-kind
	Color    Known    // color-supported
	Duplex   Known    // sides-supported has more than one-sided
	Admin    string   // the path of printer-more-info; "": /

	Scanner *Scanner // of its eSCL ScannerCapabilities; nil: it has none, or they are not known
}

// Known is a fact that a printer may not tell.
type Known string

// The facts, as TXT records have them.
const (
	Unsaid Known = ""
	Yes    Known = "T"
	No     Known = "F"
)

// Scanner is what is published of a scanner (Mopria eSCL, §3).
type Scanner struct {
	Resource string   // "": eSCL
	Version  string   // pwg:Version: 2.63
	Formats  []string // media types
	Colors   []string // color, grayscale, binary
	Sources  []string // platen, adf, camera
	Duplex   Known    // its feeder scans both sides
}

// name is what is wanted as the instance's name.
func (a About) name() string {
	if strings.TrimSpace(a.Name) != "" {
		return a.Name
	}
	if ty := a.ty(); ty != "" {
		return ty
	}
	return "USB printer"
}

func (a About) ty() string { return strings.TrimSpace(a.Make + " " + a.Model) }

// uuid is the printer's, or one of the key that stays as long as the key does (RFC 9562 §5.5).
func (a About) uuid(key string) string {
	if u := mfpgate.CleanUUID(a.UUID); u != "" {
		return u
	}
	sum := sha1.Sum([]byte("mfpgate/usb/endpoint\x00" + key)) //nolint:gosec // RFC 9562 §5.5 has it
	b := sum[:16]
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (a About) path(given, otherwise string) string {
	if p := strings.TrimLeft(given, "/"); p != "" {
		return p
	}
	return otherwise
}

// publication is what the printer is published as. Services: IPP; the name of LPD, which Bonjour Printing wants held (§4.2); the pages
// for people; the scanner.
func (a About) publication(key, name string, port uint16, named func(string)) dnssd.Publication {
	p := dnssd.Publication{Name: name, Named: named}
	admin := func(host string) string {
		return "http://" + host + ":" + strconv.Itoa(int(port)) + "/" + a.path(a.Admin, "")
	}
	subtypes := []string{"_print"}
	if len(a.URF) > 0 || slices.Contains(a.Formats, "image/urf") {
		subtypes = append(subtypes, "_universal") // AirPrint
	}
	p.Services = append(p.Services,
		dnssd.Service{Type: "_ipp._tcp", Subtypes: subtypes, Port: port, Text: func(host string) []string { return a.printing(key, admin(host)) }},
		dnssd.Service{Type: "_printer._tcp"},
		dnssd.Service{Type: "_http._tcp", Subtypes: []string{"_printer"}, Port: port, Text: func(string) []string {
			return pairs("path", "/"+a.path(a.Admin, ""))
		}})
	if a.Scanner != nil {
		p.Services = append(p.Services, dnssd.Service{Type: "_uscan._tcp", Port: port, Text: func(host string) []string { return a.scanning(key, admin(host)) }})
	}
	return p
}

// printing are the pairs of _ipp._tcp (Bonjour Printing 1.2.1 §9, PWG 5100.14 §4.2.2), the needed before the good to have.
func (a About) printing(key, admin string) []string {
	kinds := a.Kinds
	if len(kinds) == 0 {
		kinds = []string{"document"}
	}
	product := ""
	if a.Model != "" {
		product = "(" + a.ty() + ")"
	}
	return pairs("txtvers", "1", "qtotal", "1", "rp", a.path(a.Resource, "ipp/print"), "ty", a.ty(), "UUID", a.uuid(key),
		"pdl", list(a.Formats), "URF", list(a.URF), "Color", string(a.Color), "Duplex", string(a.Duplex), "note", a.Location,
		"adminurl", admin, "priority", "40", "product", product, "kind", list(kinds),
		"usb_MFG", a.Make, "usb_MDL", a.Model, "usb_CMD", list(a.CommandSet))
}

// scanning are the pairs of _uscan._tcp.
func (a About) scanning(key, admin string) []string {
	s := a.Scanner
	return pairs("txtvers", "1", "vers", s.Version, "rs", a.path(s.Resource, "eSCL"), "ty", a.ty(), "uuid", a.uuid(key),
		"pdl", list(s.Formats), "cs", list(s.Colors), "is", list(s.Sources), "duplex", string(s.Duplex), "note", a.Location, "adminurl", admin)
}

// list joins values as far as they fit beside a key of ten letters: half a media type helps nobody.
func list(values []string) string {
	var b strings.Builder
	for _, v := range values {
		if v = strings.TrimSpace(v); v == "" || strings.Contains(v, ",") || b.Len()+1+len(v) > dnssd.MaxPair-10 {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(v)
	}
	return b.String()
}

// pairs makes key=value of keys and values by turns, without those that say nothing. Text that is too long is cut.
func pairs(all ...string) (out []string) {
	for i := 0; i+1 < len(all); i += 2 {
		key, value := all[i], strings.TrimSpace(strings.ToValidUTF8(all[i+1], "\uFFFD"))
		if value == "" {
			continue
		}
		if room := dnssd.MaxPair - len(key) - 1; len(value) > room {
			value = strings.ToValidUTF8(value[:room], "")
		}
		out = append(out, key+"="+value)
	}
	return out
}
