package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// RegionPolicy says who begins the move of a device whose data live in another region than the site.
type RegionPolicy string

// The policies.
const (
	RegionAsk       RegionPolicy = "ask"       // an administrator, whom the gateway tells
	RegionAutomatic RegionPolicy = "automatic" // the gateway
	RegionNever     RegionPolicy = "never"     // nobody; the gateway says where data are, and no more
)

// Region is how the gateway deals with the regions that devices' data live in.
type Region struct {
	Enforce         bool // whether the relay keeps devices from regions that are not theirs
	Policy          RegionPolicy
	FollowRedirects []string // models known to follow a redirect (RFC 9110 §15.4.9) of a plain request
}

func regions(g *Region) object {
	return object{
		may("enforce", "whether the relay keeps a device from the region that it has left", one(&g.Enforce, boolean()).or("true")),
		may("policy", "who moves a device whose data live in another region: ask tells an administrator, automatic moves it, never says where data are and no more",
			one(&g.Policy, enum(RegionAsk, RegionAutomatic, RegionNever)).or("ask")),
		may("follow_redirects", "models that are known to follow a redirect; the relay answers them with one, and forwards the plain requests of all others",
			many(&g.FollowRedirects, 0, 100, line(256))),
	}
}

// dnsPort is where name servers listen (RFC 1035 §4.2).
const dnsPort = 53

// dnsServer is the address of a name server, with its port if that is another than the usual one. A name would need a name server.
func dnsServer() form[netip.AddrPort] {
	return form[netip.AddrPort]{
		yaml: "string", pattern: textPattern, what: "the address of a name server, with or without a port", example: `one such as 10.0.0.53 or "127.0.0.1:5353"`,
		parse: func(s string) (netip.AddrPort, error) {
			at, err := netip.ParseAddrPort(s)
			if addr, plain := netip.ParseAddr(s); plain == nil {
				at, err = netip.AddrPortFrom(addr, dnsPort), nil
			}
			addr := at.Addr()
			switch {
			case err != nil || addr.Zone() != "":
				return netip.AddrPort{}, errForm
			case addr.IsUnspecified() || addr.IsMulticast():
				return netip.AddrPort{}, errors.New("is no address that answers; write the server's own")
			case at.Port() == 0:
				return netip.AddrPort{}, errors.New("has port 0; write the server's port, or none for " + strconv.Itoa(dnsPort))
			}
			return netip.AddrPortFrom(addr.Unmap(), at.Port()), nil
		},
	}
}

// checkRegion refuses what nobody could carry out.
func (r *reader) checkRegion(c *Config) {
	if c.Region.Policy == RegionAutomatic && c.Cloud.URL == nil && r.good("cloud") && r.good("cloud.url") {
		r.fail("region.policy", "needs cloud: moves are made by the region's own; add it, or write never")
	}
	once := r.once()
	for i, model := range c.Region.FollowRedirects {
		once(fmt.Sprintf("region.follow_redirects[%d]", i), model)
	}
	server := r.once()
	for i, at := range c.Relay.DNSServers {
		if at.IsValid() {
			server(fmt.Sprintf("relay.dns_servers[%d]", i), at.String())
		}
	}
}
