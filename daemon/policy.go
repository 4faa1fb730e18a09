package daemon

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/discovery"
	"github.com/mfpgate/mfpgate/proxy"
	"github.com/mfpgate/mfpgate/proxy/account"
	"github.com/mfpgate/mfpgate/proxy/destination"
)

// relayPolicy is the relay's part of a configuration.
func relayPolicy(cfg *config.Config) (*proxy.Policy, error) {
	r := &cfg.Relay
	p := &proxy.Policy{
		Clients:      r.Clients,
		AdmitUnknown: r.UnknownDevices == config.Admit,
		Allow:        r.Allow,
		Capacity:     r.Capacity.InForce.At,
		QueueTimeout: r.Capacity.QueueTimeout,
		Linger:       r.Capacity.Linger,
		Connections:  r.PerDevice.Connections,
		Rate:         int64(r.PerDevice.Rate),
		DialTimeout:  r.Timeouts.Dial,
		Idle:         r.Timeouts.Idle,
		HeadTimeout:  r.Timeouts.Head,
		Gateways:     map[string]mfpgate.Secret{},
	}
	if len(r.DNSServers) > 0 {
		p.Resolver = destination.ResolverOf(r.DNSServers)
	}
	if r.Accounts.File != "" {
		accounts, err := account.Load(r.Accounts.File)
		if err != nil {
			return nil, err
		}
		p.Accounts = accounts
	}
	for _, g := range r.Gateways {
		p.Gateways[g.Account] = g.Key
	}
	if u := r.Upstream; u.URL != nil {
		p.Upstream = &proxy.Upstream{URL: u.URL, User: u.User, Password: u.Password, Except: u.Except, DeviceKey: u.DeviceKey}
	}
	return p, nil
}

// devicePolicy is what a configuration says of devices.
func devicePolicy(cfg *config.Config) *discovery.Policy {
	d := &cfg.Devices
	p := &discovery.Policy{Monitoring: d.Monitoring, SiteRegion: cfg.Site.Region, AskStatic: d.DNSSD || snmpOn(d), Agents: d.SNMP.Ranges}
	for _, g := range d.Ranges {
		p.Ranges = append(p.Ranges, discovery.Range{Network: g.Network, Monitoring: g.Monitoring, Market: g.Market})
	}
	for _, s := range d.Static {
		entry := discovery.Static{Name: s.Name, Address: s.Address, Account: s.Account, Monitoring: s.Monitoring, Market: s.Market}
		if s.URI != nil {
			entry.Endpoint = printerEndpoint(s.Address, s.URI)
		}
		p.Static = append(p.Static, entry)
	}
	return p
}

// printerEndpoint is where a configured URI leads. Its host is the address.
func printerEndpoint(address netip.Addr, u *url.URL) *mfpgate.Endpoint {
	port := uint16(631) // RFC 8011 §4.1.7 and RFC 7472 §4.2 give both schemes this one
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		port = uint16(n)
	}
	return &mfpgate.Endpoint{Protocol: mfpgate.Protocol(u.Scheme), Address: netip.AddrPortFrom(address, port), Path: strings.TrimPrefix(u.Path, "/")}
}

func snmpOn(d *config.Devices) bool { return len(d.SNMP.Communities)+len(d.SNMP.Users) > 0 }

// switchedOff names the features that the configuration leaves off.
func switchedOff(cfg *config.Config) (keys []string) {
	for _, f := range []struct {
		key string
		on  bool
	}{
		{"relay.accounts", cfg.Relay.Accounts.File != ""},
		{"relay.upstream", cfg.Relay.Upstream.URL != nil},
		{"relay.per_device.rate", cfg.Relay.PerDevice.Rate > 0},
		{"devices.dns_sd", cfg.Devices.DNSSD},
		{"devices.snmp", snmpOn(&cfg.Devices)},
		{"usb", cfg.USB.Enabled},
		{"devices.static", len(cfg.Devices.Static) > 0},
		{"print_services", len(cfg.PrintServices) > 0},
		{"mail", cfg.Mail.SMTP != ""},
		{"region.enforce", cfg.Region.Enforce},
		{"portal", cfg.Portal.Listen != ""},
		{"metrics", cfg.Metrics.Listen != ""},
		{"cloud", cfg.Cloud.URL != nil},
	} {
		if !f.on {
			keys = append(keys, f.key)
		}
	}
	return keys
}

// Check reads the configuration as New would, without starting anything.
func Check(file string) error {
	cfg, err := config.Load(file, Lookups())
	if err != nil {
		return err
	}
	if _, err = relayPolicy(cfg); err != nil {
		return err
	}
	if _, err = quirks(cfg); err != nil {
		return err
	}
	_, err = (&registration{daemon: &Daemon{}, reach: newReach(nil)}).prepare(cfg)
	return err
}
