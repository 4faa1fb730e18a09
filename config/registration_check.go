package config

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/mfpgate/mfpgate"
)

var (
	mailPattern    = regexp.MustCompile(`^[!-?A-~]+@[A-Za-z0-9.-]+$`)
	domainPattern  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	networkLike    = regexp.MustCompile(`^[0-9.]+/[0-9]+$|^[0-9a-fA-F:.]+/[0-9]+$`)
	servicePattern = regexp.MustCompile(`^(https?|ipps?)://[^/?#@]+(/[!-~]*)?$`)
)

// mailAddress is an address and nothing else, as mfpgate.MailAddress takes it.
func mailAddress() form[string] {
	f := matching(mailPattern, "a mail address", "one such as it@example.co.jp")
	f.parse = func(s string) (string, error) {
		if _, err := mfpgate.MailAddress(s); err != nil {
			return "", errForm
		}
		return s, nil
	}
	return f
}

func domain() form[string] {
	f := matching(domainPattern, "a domain of mail addresses", "one such as example.co.jp")
	f.parse = func(s string) (string, error) {
		if strings.HasPrefix(s, "@") {
			return "", errors.New("is written without @; remove it")
		}
		if _, err := mfpgate.ParseHost(s); err != nil || !domainPattern.MatchString(s) {
			return "", errForm
		}
		return strings.ToLower(s), nil
	}
	return f
}

// hostName is a host without a scheme, a port or a path.
func hostName() form[string] {
	f := matching(textPattern, "the name of a host", "it alone, such as login.example")
	f.parse = func(s string) (string, error) {
		host, err := mfpgate.ParseHost(s)
		if err != nil {
			return "", errForm
		}
		return strings.ToLower(host.String()), nil
	}
	return f
}

func deviceMatch() form[DeviceMatch] {
	name, net := line(200), network()
	return form[DeviceMatch]{yaml: "string", pattern: textPattern, what: "a network, an address or a device's name", example: `10.1.2.0/24 or "2F copier"`,
		parse: func(s string) (DeviceMatch, error) {
			prefix, err := net.parse(s)
			switch {
			case err == nil:
				return DeviceMatch{Network: prefix}, nil
			case !errors.Is(err, errForm):
				return DeviceMatch{}, err // a network, and a wrong one
			case networkLike.MatchString(s):
				return DeviceMatch{}, errForm
			}
			text, err := name.parse(s)
			return DeviceMatch{Name: text}, err
		}}
}

// mailServer is where letters are handed in. Its port is never guessed: 25, 465 and 587 are three agreements.
func mailServer() form[string] {
	f := matching(hostPortPattern, "host:port of a mail server", `it such as "smtp.example.co.jp:587"`)
	f.parse = func(s string) (string, error) {
		host, port, err := net.SplitHostPort(s)
		if err != nil || !validPort(port) {
			return "", errForm
		}
		if _, err := mfpgate.ParseHost(host); err != nil {
			return "", errForm
		}
		return s, nil
	}
	return f
}

func serviceURL() form[*url.URL] {
	return form[*url.URL]{
		yaml: "string", pattern: servicePattern, what: "the URL of a print service", example: `one such as "https://print.example" or "ipps://print.example/ipp/system"`,
		parse: func(s string) (*url.URL, error) {
			u, err := url.Parse(s)
			switch {
			case err == nil && u.User != nil:
				return nil, errors.New("must not hold a user or a password; an administrator's approval is all that the gateway needs")
			case err != nil || !servicePattern.MatchString(s) || u.Port() != "" && !validPort(u.Port()):
				return nil, errForm
			}
			if _, err := mfpgate.ParseHost(u.Hostname()); err != nil {
				return nil, errForm
			}
			return u, nil
		},
	}
}

// authorities is the path of a PEM file, which is read at once: a reload that finds others in it is a change.
type authorities struct{ to *Authorities }

func (a authorities) fill() { *a.to = Authorities{} }

func (a authorities) read(r *reader, at string, node ast.Node) {
	var name string
	one(&name, path()).read(r, at, node)
	if !r.good(at) {
		return
	}
	text, err := r.look.read(name, maxPEM, false)
	switch {
	case err != nil:
		r.fail(at, "%s", err)
	case !x509.NewCertPool().AppendCertsFromPEM(text):
		r.fail(at, "%s has no certificate in PEM form; name the file with those who sign the server's certificate", name)
	default:
		*a.to = Authorities{File: name, PEM: string(text)}
	}
}

func (a authorities) schema() schema { return one(new(string), path()).schema() }

func (a authorities) differs(other kind) bool { return *a.to != *other.(authorities).to }

// Pool are the certificates; nil is the system's.
func (a Authorities) Pool() *x509.CertPool {
	if a.PEM == "" {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.PEM)) // what was read has one at least
	return pool
}

func (r *reader) checkRegistration(c *Config) {
	name := r.once()
	for i, s := range c.PrintServices {
		at := fmt.Sprintf("print_services[%d]", i)
		name(at+".name", s.Name)
		if s.URL != nil && s.Kind != "" {
			r.checkServiceURL(at+".url", s)
		}
		if s.Kind == ServiceUniversal && s.URL != nil && !r.has(at+".client_id") {
			r.fail(at, "needs client_id; add the application (client) ID of the app registration in your tenant")
		}
	}
	r.checkAdmins(c)
	r.checkMail(c)
	if len(c.PrintServices) > 0 && c.Mail.SMTP == "" && r.good("mail") && c.Portal.Listen == "" && r.good("portal.listen") {
		r.failAt(r.seen["print_services"], "print_services", "has requests for approval of which nobody would hear; add mail, or portal.listen for administrators who look there")
	}
	if r.has("portal.url") && c.Portal.Listen == "" && r.good("portal.listen") {
		r.fail("portal.url", "needs portal.listen; add it, or remove the URL")
	}
	if c.Registration.Key != "" {
		if _, err := sealKey(c.Registration.Key.Reveal()); err != nil {
			r.fail("registration.key", "%s", err)
		}
	}
}

func (r *reader) checkServiceURL(at string, s PrintService) {
	secure, clear := "https", "http"
	if s.Kind == ServiceIPPSystem {
		secure, clear = "ipps", "ipp"
	}
	if s.URL.Scheme == secure || s.URL.Scheme == clear && mfpgate.Loopback(s.URL.Hostname()) {
		return
	}
	r.fail(at, `must start with %s:// for %s; write "%s://%s%s"`, secure, s.Kind, secure, s.URL.Host, s.URL.EscapedPath())
}

// checkAdmins sees to it that somebody can approve, and that it is one of the house.
func (r *reader) checkAdmins(c *Config) {
	g := &c.Registration
	if len(c.PrintServices) > 0 && g.Admin == "" && len(g.Admins) == 0 && r.good("registration") {
		r.failAt(r.seen["print_services"], "print_services", "needs an administrator who approves; add registration: {admin: it@example.co.jp}")
	}
	within := func(key, address string) {
		if _, domain, ok := strings.Cut(address, "@"); ok && len(g.AdminDomains) > 0 && !slices.Contains(g.AdminDomains, strings.ToLower(domain)) {
			r.fail(key, "is of no domain in registration.admin_domains; add %s there, or correct the address", strings.ToLower(domain))
		}
	}
	within("registration.admin", g.Admin)
	named, networks := r.once(), r.once()
	for i, a := range g.Admins {
		at := fmt.Sprintf("registration.admins[%d]", i)
		within(at+".admin", a.Admin)
		for j, m := range a.Devices {
			key := fmt.Sprintf("%s.devices[%d]", at, j)
			if named(key, m.Name); m.Network.IsValid() {
				networks(key, m.Network.String())
			}
		}
	}
}

func (r *reader) checkMail(c *Config) {
	m := &c.Mail
	if !r.good("mail") || m.SMTP == "" {
		return
	}
	host, _, _ := net.SplitHostPort(m.SMTP) // its form was read
	if m.TLS == MailPlain && !mfpgate.Loopback(host) {
		r.fail("mail.tls", "sends letters and the password in the clear; write starttls or implicit, none is for a server on this machine")
	}
	switch {
	case m.User != "" && m.Password == "":
		r.fail("mail.user", "needs mail.password; add it")
	case m.User == "" && m.Password != "":
		m.User = m.From
	}
}

// sealKey decodes a key of KeySize bytes.
func sealKey(text string) ([]byte, error) {
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == KeySize {
			return key, nil
		}
	}
	return nil, fmt.Errorf("holds no key of %d bytes; write one with openssl rand -hex %d", KeySize, KeySize)
}
