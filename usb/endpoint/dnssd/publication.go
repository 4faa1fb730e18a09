package dnssd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/miekg/dns"

	"github.com/mfpgate/mfpgate"
)

// Bounds of what is published.
const (
	MaxName = 63   // bytes of an instance's name (RFC 6763 §4.1.1)
	MaxPair = 255  // bytes of one key=value of a TXT record (§6.1)
	MaxTXT  = 1300 // bytes of a TXT record, so that its answer fits into one packet of an Ethernet (§6.2)
)

// ErrInvalid is returned for what cannot be published.
var ErrInvalid = errors.New("cannot be published by DNS-SD")

// Publication is what one device offers, all under one name.
type Publication struct {
	// Name is for people, at most MaxName bytes of UTF-8. What is longer is cut, and what cannot be seen is left out.
	Name     string
	Services []Service
	// Named, if it is there, is told the name that the publication has once that is known to be its own, at first and after each change.
	// It is called by Run's goroutine.
	Named func(name string)
}

// Service is one way to reach the device.
type Service struct {
	Type     string   // _ipp._tcp
	Subtypes []string // _print
	Port     uint16   // 0: the device has no such service, and holds the name for it (Bonjour Printing 1.2.1 §4.2)
	// Text makes the key=value pairs, in their order, for the host name that the service is at: printers.local. nil: none.
	Text func(host string) []string
}

func (p Publication) check() error {
	if mfpgate.CleanText(p.Name, MaxName) == "" {
		return fmt.Errorf("name %q: %w", p.Name, ErrInvalid)
	}
	if len(p.Services) == 0 || len(p.Services) > 8 {
		return fmt.Errorf("%d services: %w; 1 to 8", len(p.Services), ErrInvalid)
	}
	for _, s := range p.Services {
		for _, name := range append([]string{s.Type}, s.Subtypes...) {
			if _, ok := dns.IsDomainName(name); !ok || !strings.HasPrefix(name, "_") || len(name) > 80 {
				return fmt.Errorf("service type %q: %w", name, ErrInvalid)
			}
		}
	}
	return nil
}

// Texts keeps of the pairs those that TXT records have room for, the first before the last.
func Texts(pairs []string) (kept []string) {
	room := MaxTXT
	for _, pair := range pairs {
		if len(pair) > 0 && len(pair) <= MaxPair && len(pair)+1 <= room {
			kept = append(kept, pair)
			room -= len(pair) + 1
		}
	}
	return kept
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n])
}

// numbered is the nth name that is tried (RFC 6762 §9, RFC 6763 appendix D): "Copier (2)".
func numbered(base string, n int) string {
	if n < 2 {
		return base
	}
	suffix := " (" + strconv.Itoa(n) + ")"
	return cut(base, MaxName-len(suffix)) + suffix
}

// parseNumber undoes numbered, so that a name that was kept goes on from its number.
func parseNumber(name string) (base string, n int) {
	if i := strings.LastIndex(name, " ("); i > 0 && strings.HasSuffix(name, ")") {
		if n, err := strconv.Atoi(name[i+2 : len(name)-1]); err == nil && n > 1 && n < 1_000_000 && numbered(name[:i], n) == name {
			return name[:i], n
		}
	}
	return name, 1
}

// numberedHost is the same of a host: "printers-2".
func numberedHost(base string, n int) string {
	if n < 2 {
		return base
	}
	suffix := "-" + strconv.Itoa(n)
	return cut(base, MaxName-len(suffix)) + suffix
}

// hostLabel makes a host's label of any text: letters, digits and hyphens (RFC 952).
func hostLabel(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(cut(b.String(), MaxName), "-")
}

// escape writes a label as the codec reads names (RFC 1035 §5.1).
func escape(label string) string {
	var b strings.Builder
	for i := range len(label) {
		if c := label[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return b.String()
}

// escapeText writes a string of a TXT record as the codec reads it.
func escapeText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '\\' && c != '"' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03d`, c)
		}
	}
	return b.String()
}
