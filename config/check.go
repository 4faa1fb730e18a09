package config

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"

	"github.com/mfpgate/mfpgate/calendar"
)

// check holds what must be true between keys. It runs also when single keys are wrong, and looks only at those that are not.
func (r *reader) check(c *Config) {
	r.checkListeners(c)
	r.checkCapacity(c)
	r.checkUpstream()
	accounts := r.checkAccounts(c)
	r.checkDevices(c, accounts)
	r.checkUSB(c.USB)
	r.checkSchedule(c)
	r.checkRegistration(c)
	r.checkRegion(c)
	r.checkNameServers(c)
	r.checkCertificate(c.Portal.TLS)
}

// checkListeners refuses two listeners that the kernel would.
func (r *reader) checkListeners(c *Config) {
	type listener struct{ key, host, port string }
	var all []listener
	add := func(key, address string) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" {
			return
		}
		if host == "0.0.0.0" || host == "::" {
			host = ""
		}
		for _, other := range all {
			if other.port == port && (other.host == host || other.host == "" || host == "") {
				r.fail(key, "is taken by %s; write another port", other.key)
				return
			}
		}
		all = append(all, listener{key, host, port})
	}
	for i, address := range c.Relay.Listen {
		add(fmt.Sprintf("relay.listen[%d]", i), address)
	}
	add("portal.listen", c.Portal.Listen)
	add("metrics.listen", c.Metrics.Listen)
}

func (r *reader) checkCapacity(c *Config) {
	if c.Site.TimeZone == nil || !r.good("relay.capacity") {
		return
	}
	var err error
	capacity := &c.Relay.Capacity
	if capacity.InForce, err = calendar.NewCapacity(capacity.Devices, capacity.Calendar, c.Site.TimeZone); err != nil {
		r.fail("relay.capacity.calendar", "%s", err)
	}
}

func (r *reader) checkUpstream() {
	user, password := r.has("relay.upstream.user"), r.has("relay.upstream.password")
	if user && !password {
		r.fail("relay.upstream.user", "needs relay.upstream.password; add it")
	}
	if password && !user {
		r.fail("relay.upstream.password", "needs relay.upstream.user; add it")
	}
}

func (r *reader) checkNameServers(c *Config) {
	once := r.once()
	for i, at := range c.Relay.DNSServers {
		if at.IsValid() {
			once(fmt.Sprintf("relay.dns_servers[%d]", i), at.String())
		}
	}
}

// checkAccounts returns the names in the accounts file, nil when there is none or it is not readable.
func (r *reader) checkAccounts(c *Config) map[string]bool {
	var names map[string]bool
	if c.Relay.Accounts.File != "" {
		if text, err := r.look.read(c.Relay.Accounts.File, maxAccounts, false); err != nil {
			r.fail("relay.accounts.file", "%s", err)
		} else {
			names = map[string]bool{}
			for entry := range bytes.Lines(text) {
				if name, _, ok := bytes.Cut(bytes.TrimSpace(entry), []byte(":")); ok {
					names[string(name)] = true
				}
			}
		}
	}
	if len(c.Relay.Gateways) > 0 && !r.has("relay.accounts") {
		r.failAt(r.seen["relay.gateways"], "relay.gateways", "needs relay.accounts; add it, for an inner gateway is known by its account")
	}
	once := r.once()
	for i, g := range c.Relay.Gateways {
		key := fmt.Sprintf("relay.gateways[%d].account", i)
		once(key, g.Account)
		r.checkAccount(key, g.Account, names)
	}
	return names
}

func (r *reader) checkAccount(key, name string, names map[string]bool) {
	if name != "" && names != nil && !names[name] {
		r.fail(key, "is not in relay.accounts.file; add it there with htpasswd -B, or correct the name")
	}
}

func (r *reader) checkDevices(c *Config, accounts map[string]bool) {
	name, address, account := r.once(), r.once(), r.once()
	for i, d := range c.Devices.Static {
		key := fmt.Sprintf("devices.static[%d]", i)
		if r.good(key) && d.Account == "" && !d.Address.IsValid() {
			r.fail(key, "says neither address nor account; add one, for nothing else tells which device it is")
		}
		name(key+".name", d.Name)
		account(key+".account", d.Account)
		if d.Address.IsValid() {
			address(key+".address", d.Address.String())
		}
		if d.Account != "" && !r.has("relay.accounts") {
			r.fail(key+".account", "needs relay.accounts; add it, or name the device by its address")
		}
		r.checkAccount(key+".account", d.Account, accounts)
		if d.URI != nil {
			if at, err := netip.ParseAddr(d.URI.Hostname()); err == nil && at.Unmap() != d.Address {
				r.fail(key+".uri", "is of another address than the entry; write that address in both")
			}
		}
	}
	network := r.once()
	for i, g := range c.Devices.Ranges {
		if g.Network.IsValid() {
			network(fmt.Sprintf("devices.ranges[%d].network", i), g.Network.String())
		}
	}
	r.checkSNMP(&c.Devices.SNMP)
}

// maxScan is how many addresses the ranges of SNMP may have together: a scan asks each.
const maxScan = 1 << 16

func (r *reader) checkSNMP(s *SNMP) {
	addresses := 0
	for i, p := range s.Ranges {
		if bits := p.Addr().BitLen() - p.Bits(); p.IsValid() && bits <= 16 {
			addresses += 1 << bits
		} else if p.IsValid() {
			addresses = maxScan + 1
		}
		if addresses > maxScan {
			r.fail(fmt.Sprintf("devices.snmp.ranges[%d]", i), "makes the ranges larger than %d addresses; name the networks in which printers are", maxScan)
			break
		}
	}
	if len(s.Ranges) > 0 && len(s.Communities) == 0 && len(s.Users) == 0 && r.good("devices.snmp") {
		r.fail("devices.snmp.ranges", "needs communities or users; add devices.snmp.communities, such as [public]")
	}
	name := r.once()
	for i, u := range s.Users {
		key := fmt.Sprintf("devices.snmp.users[%d]", i)
		name(key+".name", u.Name)
		if !r.good(key) {
			continue
		}
		switch {
		case u.Auth == "none" && u.Privacy != "none":
			r.fail(key+".privacy", "needs auth; add auth and auth_password (RFC 3414 §1.4.3)")
		case (u.Auth != "none") != (u.AuthPassword != ""):
			r.fail(key, "must have both auth and auth_password or neither; add the other")
		case (u.Privacy != "none") != (u.PrivacyPassword != ""):
			r.fail(key, "must have both privacy and privacy_password or neither; add the other")
		case len(u.AuthPassword.Reveal()) > 0 && len(u.AuthPassword.Reveal()) < 8:
			r.fail(key+".auth_password", "has fewer than 8 characters, which SNMPv3 refuses; take a longer one")
		case len(u.PrivacyPassword.Reveal()) > 0 && len(u.PrivacyPassword.Reveal()) < 8:
			r.fail(key+".privacy_password", "has fewer than 8 characters, which SNMPv3 refuses; take a longer one")
		}
	}
}

// once returns a function that refuses the value it has seen at an earlier key; the empty value is none.
func (r *reader) once() func(key, value string) {
	first := map[string]string{}
	return func(key, value string) {
		if earlier, twice := first[value]; twice && value != "" {
			r.fail(key, "is the same as %s; each may stand once", earlier)
			return
		}
		first[value] = key
	}
}

func (r *reader) checkCertificate(t TLS) {
	const at = "portal.tls"
	switch {
	case !r.good(at) || t == (TLS{}):
		return
	case t.Key == "":
		r.fail(at, "must have both cert and key or neither; add key")
		return
	case t.Cert == "":
		r.fail(at, "must have both cert and key or neither; add cert")
		return
	}
	cert, err := r.look.read(t.Cert, maxPEM, false)
	if err != nil {
		r.fail(at+".cert", "%s", err)
	}
	key, keyErr := r.look.read(t.Key, maxPEM, true)
	if keyErr != nil {
		r.fail(at+".key", "%s", keyErr)
	}
	if err != nil || keyErr != nil {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		r.fail(at+".cert", "is no PEM certificate that goes with its key; name a pair made together, leaf certificate first")
	}
}
