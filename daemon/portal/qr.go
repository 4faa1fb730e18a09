package portal

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"rsc.io/qr"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// sheetPage is what sheet.html shows: a page to print and to put up at the printer.
type sheetPage struct {
	frame
	printerChoice
	DeviceHref, Code string
	Link             string // "" where nobody knows by which address users reach the portal
}

// base is the address by which users reach the portal, without a slash at its end: the configured one or, where none is, the one
// that the administrator has come by, if the portal's certificate names that host literally. A Host header is the sender's to
// write; what it may choose here is one of our own names, and never the port.
func (p *Portal) base(r *http.Request) (string, bool) {
	if p.URL != nil {
		if configured := p.URL(); configured != "" {
			return strings.TrimRight(configured, "/"), true
		}
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	host := (&url.URL{Host: r.Host}).Hostname()
	if !ok || p.Certified == nil || toItself(host) || !p.Certified(host) {
		return "", false
	}
	at, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return "", false
	}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(at.Port())))}
	if at.Port() == 443 {
		u.Host = strings.TrimSuffix(u.Host, ":443")
	}
	return u.String(), true
}

// toItself reports whether a name leads to whoever reads it (RFC 6761 §6.3), and so to no portal.
func toItself(host string) bool {
	return mfpgate.Loopback(host) || strings.HasSuffix(strings.ToLower(host), ".localhost")
}

func (p *Portal) sheet(w http.ResponseWriter, r *http.Request) {
	d, ok := p.printed(w, r)
	if !ok {
		return
	}
	page := sheetPage{frame: p.frame(r, "devices"), printerChoice: choiceOf(d), DeviceHref: deviceHref(d.ID), Code: deviceHref(d.ID) + "/qr.svg"}
	page.Deeper = true
	if base, ok := p.base(r); ok {
		page.Link = base + registerHref(d.ID)
	}
	p.render(w, http.StatusOK, "sheet.html", page)
}

func (p *Portal) qrCode(w http.ResponseWriter, r *http.Request) {
	d, ok := p.printed(w, r)
	if !ok {
		return
	}
	base, ok := p.base(r)
	if !ok {
		p.message(w, http.StatusConflict, "No address", "The gateway does not know by which address users reach this portal. Write it as portal.url in the configuration.")
		return
	}
	picture, err := qrPicture(base + registerHref(d.ID))
	if err != nil {
		p.failed(w, err)
		return
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = w.Write(picture)
}

// printed is the device of the address, or false after an answer was written.
func (p *Portal) printed(w http.ResponseWriter, r *http.Request) (mfpgate.Device, bool) {
	d, err := p.Gateway.Device(r.Context(), mfpgate.DeviceID(r.PathValue("id")))
	switch {
	case errors.Is(err, control.ErrNoDevice):
		p.noDevice(w)
		return d.Device, false
	case err != nil:
		p.failed(w, err)
		return d.Device, false
	}
	return d.Device, true
}

// quietZone is the margin that readers need, in modules (ISO/IEC 18004 §6.3.8).
const quietZone = 4

// qrPicture is text as a QR code that may lose 15 % of itself, black on white in every colour scheme.
func qrPicture(text string) ([]byte, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return nil, fmt.Errorf("make a QR code: %w", err)
	}
	side := code.Size + 2*quietZone
	out := fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h%dv%dH0z"/><path d="`,
		side, side, 8*side, 8*side, side, side)
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			from := x
			for x < code.Size && code.Black(x, y) {
				x++
			}
			if x > from {
				out = fmt.Appendf(out, "M%d %dh%dv1h-%dz", from+quietZone, y+quietZone, x-from, x-from)
			}
		}
	}
	return append(out, `"/></svg>`...), nil
}
