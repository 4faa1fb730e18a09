package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// PrintServiceKind is a protocol that print services speak.
type PrintServiceKind string

// The kinds.
const (
	ServiceIPPSystem PrintServiceKind = "ipp-system"      // PWG 5100.22 and 5100.18
	ServiceUniversal PrintServiceKind = "universal-print" // Microsoft's
	ServiceReference PrintServiceKind = "reference"       // that of the reference cloud
)

// Completion is how the gateway hears that somebody decided.
type Completion string

// The ways. The one that pushes is asked at its interval, too: only an answer counts.
const (
	CompletionPush Completion = "push"
	CompletionPoll Completion = "poll"
)

// PrintService is a cloud print service in which devices are registered.
type PrintService struct {
	Name              string
	Kind              PrintServiceKind
	URL               *url.URL // https, or http on loopback; of ServiceIPPSystem ipps, or ipp on loopback
	ClientID          string
	Scope             string   // "" is the kind's own
	Authority         *url.URL // the authorization server; nil is the service, or the one that the service names
	CA                Authorities
	VerificationHosts []string // lower case; empty: see Hosts
	Completion        Completion
}

// universalHosts are those at which Microsoft has codes typed.
var universalHosts = []string{"microsoft.com", "www.microsoft.com", "login.microsoftonline.com", "aka.ms"}

// Hosts are those at which an administrator may be asked to type a code: what is configured, else the authorization server's own,
// else the service's.
func (s PrintService) Hosts() []string {
	at := strings.ToLower(s.URL.Hostname())
	switch {
	case len(s.VerificationHosts) > 0:
		return s.VerificationHosts
	case s.Kind == ServiceUniversal && strings.HasSuffix("."+at, ".microsoft.com"):
		return slices.Clone(universalHosts)
	case s.Authority != nil:
		return []string{strings.ToLower(s.Authority.Hostname())}
	}
	return []string{at}
}

// Authorities are the certificates that a peer's chain must lead to; the zero value is the system's.
type Authorities struct{ File, PEM string }

// Registration is how devices are entered in print services.
type Registration struct {
	Admin        string // mail address of who approves where Admins has nobody; "" is nobody
	Admins       []DeviceAdmin
	AdminDomains []string // lower case; empty: see Domains
	Retries      int      // new codes after the first
	Deadline     time.Duration
	Key          mfpgate.Secret // hex or base64, see SealKey; "": the one in state_dir
}

// KeySize is the length of registration.key, in bytes.
const KeySize = 32

// DeviceAdmin is who approves for some devices.
type DeviceAdmin struct {
	Devices []DeviceMatch
	Admin   string
}

// DeviceMatch is a network or, if that is not valid, a device's name.
type DeviceMatch struct {
	Network netip.Prefix
	Name    string
}

// Domains are those that an administrator's address may be of, wherever it was given: what is configured, else those of the
// addresses in the file.
func (r Registration) Domains() []string {
	if len(r.AdminDomains) > 0 {
		return r.AdminDomains
	}
	var all []string
	for _, a := range append([]DeviceAdmin{{Admin: r.Admin}}, r.Admins...) {
		if _, domain, ok := strings.Cut(a.Admin, "@"); ok && !slices.Contains(all, strings.ToLower(domain)) {
			all = append(all, strings.ToLower(domain))
		}
	}
	return all
}

// SealKey is the key that codes and tokens are sealed with, of KeySize bytes; nil is the one in state_dir.
func (r Registration) SealKey() []byte {
	key, err := sealKey(r.Key.Reveal())
	if err != nil {
		return nil // there is none: one that is wrong was refused
	}
	return key
}

// AdminOf is who approves for a device of an address and some names: by a name, by the nearest network, or by default; "" is nobody.
func (r Registration) AdminOf(address netip.Addr, names ...string) string {
	admin, bits := r.Admin, -1
	for _, a := range r.Admins {
		for _, m := range a.Devices {
			switch {
			case !m.Network.IsValid() && slices.Contains(names, m.Name):
				return a.Admin
			case m.Network.IsValid() && m.Network.Contains(address.Unmap()) && m.Network.Bits() > bits:
				admin, bits = a.Admin, m.Network.Bits()
			}
		}
	}
	return admin
}

// RegistrationOf says who registers a device: what its own entry says, else its nearest range that says something.
func (d Devices) RegistrationOf(address netip.Addr, names ...string) mfpgate.RegistrationMode {
	for _, s := range d.Static {
		if s.Registration != "" && (slices.Contains(names, s.Name) || s.Address.IsValid() && s.Address == address.Unmap()) {
			return s.Registration
		}
	}
	mode, bits := mfpgate.RegistrationDelegate, -1
	for _, g := range d.Ranges {
		if g.Registration != "" && g.Network.Contains(address.Unmap()) && g.Network.Bits() > bits {
			mode, bits = g.Registration, g.Network.Bits()
		}
	}
	return mode
}

// Mail is the server through which letters go; SMTP is "" when there is none.
type Mail struct {
	SMTP     string // host:port
	From     string
	User     string // with Password; From's where the file names none
	Password mfpgate.Secret
	TLS      MailTLS
	CA       Authorities
}

// MailTLS is how a connection to the mail server is secured.
type MailTLS string

// The ways.
const (
	MailStartTLS MailTLS = "starttls"
	MailImplicit MailTLS = "implicit"
	MailPlain    MailTLS = "none" // on loopback only
)

func printServices(to *[]PrintService) kind {
	return each(to, 16, func(s *PrintService) kind {
		return object{
			must("name", "its name for people, unique", one(&s.Name, id())),
			must("kind", "what it speaks", one(&s.Kind, enum(ServiceIPPSystem, ServiceUniversal, ServiceReference))),
			must("url", "https://, or ipps:// for ipp-system; in the clear on loopback only", one(&s.URL, serviceURL())),
			may("client_id", "as which it knows the gateway (RFC 6749)", one(&s.ClientID, line(128)).or("mfpgate")),
			may("scope", "what is asked of it; the kind's own by default", one(&s.Scope, line(512))),
			may("authority", "authorization server, where the service does not name it; for universal-print with the tenant", one(&s.Authority, authorityURL())),
			may("ca", "PEM file of those who sign its certificate, if the system does not know them", authorities{&s.CA}),
			may("verification_hosts", "where administrators may be sent to type a code; the service's own host by default", many(&s.VerificationHosts, 1, 16, hostName())),
			may("completion", "push: a decision is heard of at once, where the service tells; poll: at the next poll", one(&s.Completion, enum(CompletionPush, CompletionPoll)).or("push")),
		}
	})
}

func registration(g *Registration) object {
	return object{
		may("admin", "mail address of who approves registrations", one(&g.Admin, mailAddress())),
		may("admins", "who approves for some devices; a name goes before networks, the longest prefix holds", each(&g.Admins, 1000, func(a *DeviceAdmin) kind {
			return object{
				must("devices", "networks and names", many(&a.Devices, 1, 1000, deviceMatch())),
				must("admin", "mail address of who approves for them", one(&a.Admin, mailAddress())),
			}
		})),
		may("admin_domains", "domains that an administrator's address may be of, here or in a request; by default those of the addresses here",
			many(&g.AdminDomains, 1, 100, domain())),
		may("retries", "new codes after the first, if nobody answers", one(&g.Retries, whole(2, 10)).or("3")),
		may("deadline", "when a registration that nobody answered is given up", one(&g.Deadline, duration(time.Hour, 30*day)).or("24h")),
		may("key", "32 bytes in hex or base64 that seal codes and tokens; by default made in state_dir", secret(&g.Key)).restart(),
	}
}

func mail(m *Mail) object {
	return object{
		must("smtp", "host:port of the mail server", one(&m.SMTP, mailServer())),
		must("from", "sender of the letters", one(&m.From, mailAddress())),
		may("user", "account at the mail server; by default the sender, if there is a password", one(&m.User, line(255))),
		may("password", "of the account", secret(&m.Password)),
		may("tls", "starttls, implicit, or none on loopback", one(&m.TLS, enum(MailStartTLS, MailImplicit, MailPlain)).or("starttls")),
		may("ca", "PEM file of those who sign its certificate, if the system does not know them", authorities{&m.CA}),
	}
}
