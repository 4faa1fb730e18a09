package ipp

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// maxURI bounds a printer's URI in bytes: it is a sighting's name, which stores keep as a key. Real ones have some fifty.
const maxURI = 400

// target is an endpoint and its names on the wire.
type target struct {
	endpoint mfpgate.Endpoint
	uri      string  // for people: with the zone
	place    string  // for the sighting's id: with the address alone, for a name leads to all of a printer's addresses
	asked    string  // the printer-uri of requests: a zone means nothing to the printer (RFC 6874 §4)
	dial     url.URL // the address itself, so that nothing is resolved
	host     string  // the Host field
}

// newTarget checks an endpoint, whose host and path may be what a stranger announced.
func newTarget(e mfpgate.Endpoint) (target, error) {
	scheme := "http"
	switch e.Protocol {
	case mfpgate.ProtocolIPP:
	case mfpgate.ProtocolIPPS:
		scheme = "https"
	default:
		return target{}, fmt.Errorf("endpoint speaks %q; only ipp and ipps are asked", e.Protocol)
	}
	if !e.Address.IsValid() || e.Address.Port() == 0 {
		return target{}, fmt.Errorf("endpoint has no address and port: %s", e.Address)
	}
	address := netip.AddrPortFrom(e.Address.Addr().Unmap(), e.Address.Port())
	named, asked := literal(address.Addr()), literal(address.Addr().WithZone(""))
	if hostName(e.Host) {
		named, asked = e.Host, e.Host
	}
	path := resource(e.Path)
	port := ":" + strconv.Itoa(int(address.Port()))
	uri := func(host string) string { return string(e.Protocol) + "://" + host + port + path.RequestURI() }
	t := target{endpoint: e, uri: uri(named), place: uri(literal(address.Addr())), asked: uri(asked), host: asked + port}
	if len(t.uri) > maxURI || len(t.place) > maxURI {
		return target{}, fmt.Errorf("endpoint %s: its URI has %d bytes, more than %d", address, len(t.uri), maxURI)
	}
	path.Scheme, path.Host = scheme, address.String()
	t.dial = path
	return t, nil
}

// literal is an address as a URI has it, its zone escaped (RFC 6874 §2).
func literal(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return "[" + strings.Replace(a.String(), "%", "%25", 1) + "]"
}

// hostName reports whether s can stand in a URI and in a Host field as it is.
func hostName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		if !wordByte(s[i]) && s[i] != '.' {
			return false
		}
	}
	return true
}

// resource is an endpoint's path as a URL. Printers announce it escaped or not; what does not parse is taken literally.
func resource(path string) url.URL {
	path = "/" + strings.TrimLeft(path, "/")
	if u, err := url.Parse(path); err == nil {
		return url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
	}
	return url.URL{Path: path}
}
