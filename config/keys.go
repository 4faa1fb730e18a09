package config

import (
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
)

// keys is the whole format: every key in the order of the shipped example, what may stand there, its default as an
// administrator would write it, and where in c it goes. Parser, defaults, schema.json and Diff all work from it.
//
//	must / may    the key is required, once its parent is there / may be left out
//	.restart()    a change takes a restart; it holds for all keys below
func keys(c *Config) object {
	return object{
		must("site", "where the gateway stands", object{
			must("name", "name of the gateway, unique at the customer", one(&c.Site.Name, siteName())).restart(),
			must("region", "country whose cloud serves the site, ISO 3166-1 alpha-2 in lower case", one(&c.Site.Region, region())),
			may("time_zone", "IANA zone of every local time in this file", one(&c.Site.TimeZone, zone()).or("UTC")),
			may("location", "where to find the box, for people", one(&c.Site.Location, line(200))),
		}),
		must("state_dir", "directory of everything that must survive a restart", one(&c.StateDir, path())).restart(),
		must("relay", "the proxy that devices use", object{
			may("listen", "addresses of the relay", many(&c.Relay.Listen, 1, 16, hostPort()).or(":3128")).restart(),
			must("clients", "networks that may use the relay; nobody else may", many(&c.Relay.Clients, 1, 1000, network())),
			may("accounts", "devices that identify themselves", object{
				must("file", "htpasswd file, bcrypt only", one(&c.Relay.Accounts.File, path())),
			}),
			may("gateways", "inner gateways that may name devices in a signed header", each(&c.Relay.Gateways, 1000, func(g *Gateway) kind {
				return object{
					must("account", "the inner gateway's account", one(&g.Account, account())),
					must("key", "the key that it signs with", secret(&g.Key)),
				}
			})),
			may("unknown_devices", "what happens to clients that are no configured device", one(&c.Relay.UnknownDevices, enum(Admit, Refuse)).or("admit")),
			must("allow", "where the relay may go; nowhere else", each(&c.Relay.Allow, 1000, func(a *mfpgate.AllowRule) kind {
				return object{
					must("host", "name, *.domain, address or network", one(&a.Host, hostPattern())),
					must("ports", "destination ports", many(&a.Ports, 1, 100, port())),
					may("idle", "overrides relay.timeouts.idle", one(&a.Idle, duration(100*time.Millisecond, 7*day))),
					may("sni", "whether the TLS server name must be the CONNECT's host", one(&a.AnySNI, either("match", "any")).or("match")),
					may("tls", "whether the client must speak TLS", one(&a.TLSOnly, either("optional", "required")).or("optional")),
					may("private", "whether the destination may have a private address", one(&a.Private, boolean()).or("false")),
				}
			}).min(1)),
			may("capacity", "how many devices are served at once", object{
				may("devices", "devices served at once, outside the calendar", one(&c.Relay.Capacity.Devices, whole(1, 100_000)).or("50")),
				may("calendar", "other figures by the local clock", each(&c.Relay.Capacity.Calendar, 100, func(s *calendar.CapacityStep) kind {
					return object{
						must("days", "mon, mon-fri, sat,sun or daily", one(&s.Days, days())),
						must("from", "local time of day", one(&s.From, timeOfDay("23:59"))),
						must("to", "local time of day; at or before from it is the next day's", one(&s.To, timeOfDay("24:00"))),
						must("devices", "devices served at once; 0 serves none", one(&s.Devices, whole(0, 100_000))),
					}
				})),
				may("queue_timeout", "how long a device waits for a slot", one(&c.Relay.Capacity.QueueTimeout, duration(time.Second, 10*time.Minute)).or("30s")),
				may("linger", "how long a silent device keeps its slot", one(&c.Relay.Capacity.Linger, duration(10*time.Millisecond, 10*time.Minute)).or("5s")),
			}),
			may("per_device", "bounds of one device", object{
				may("connections", "connections at once", one(&c.Relay.PerDevice.Connections, whole(1, 1000)).or("16")),
				may("rate", "bytes per second over all connections, both directions; 0 is unlimited", one(&c.Relay.PerDevice.Rate, rate()).or("0")),
			}),
			may("dns_servers", "name servers that the relay asks, in this order; by default those of /etc/resolv.conf", many(&c.Relay.DNSServers, 1, 4, dnsServer())),
			may("upstream", "the proxy through which the relay dials", object{
				must("url", "http://host:port", one(&c.Relay.Upstream.URL, proxyURL())),
				may("user", "name at the upstream; needs password", one(&c.Relay.Upstream.User, account())),
				may("password", "password at the upstream; needs user", secret(&c.Relay.Upstream.Password)),
				may("except", "hosts that are dialled directly", many(&c.Relay.Upstream.Except, 0, 1000, hostPattern())),
				may("device_key", "signs the header that names devices to an upstream mfpgate", secret(&c.Relay.Upstream.DeviceKey)),
			}),
			may("timeouts", "bounds of each phase", object{
				may("dial", "to reach the destination", one(&c.Relay.Timeouts.Dial, duration(100*time.Millisecond, 5*time.Minute)).or("10s")),
				may("idle", "without a byte in either direction", one(&c.Relay.Timeouts.Idle, duration(100*time.Millisecond, 7*day)).or("1h")),
				may("drain", "for open tunnels when the gateway stops", one(&c.Relay.Timeouts.Drain, duration(0, time.Hour)).or("60s")),
				may("head", "for a request's head to arrive", one(&c.Relay.Timeouts.Head, duration(100*time.Millisecond, 5*time.Minute)).or("10s")),
			}),
		}),
		may("devices", "how devices are found, and what is known of them beforehand", devices(&c.Devices)),
		may("usb", "printers on the gateway's own USB", usb(&c.USB)),
		may("schedule", "delivery schedules: what is fetched, looked at and done about overloads", schedule(&c.Schedule)),
		may("print_services", "cloud print services in which devices are registered", printServices(&c.PrintServices)),
		may("registration", "how devices are registered there, and who approves", registration(&c.Registration)),
		may("mail", "the server through which letters to administrators and users go", mail(&c.Mail)),
		may("region", "devices whose data live in another region than the site", regions(&c.Region)),
		may("portal", "the pages of administrators and users", object{
			may("listen", "address of the portal; empty is off", one(&c.Portal.Listen, orEmpty(hostPort())).or("")).restart(),
			may("url", "where browsers reach it, for the links in letters and on sheets", one(&c.Portal.URL, portalURL())),
			may("tls", "certificate of the portal; empty makes an own one", object{
				may("cert", "PEM file, leaf first", one(&c.Portal.TLS.Cert, orEmpty(path())).or("")),
				may("key", "PEM file", one(&c.Portal.TLS.Key, orEmpty(path())).or("")),
			}).restart(),
		}),
		may("metrics", "/metrics, /healthz and /readyz", object{
			may("listen", "address of the metrics; absent is off", one(&c.Metrics.Listen, hostPort())).restart(),
		}),
		may("cloud", "the region's cloud", object{
			must("url", "https://, or http:// on loopback", one(&c.Cloud.URL, cloudURL())),
			must("gateway_id", "this gateway's id in the cloud", one(&c.Cloud.GatewayID, id())),
			must("token", "this gateway's token", secret(&c.Cloud.Token)),
		}),
		may("log", "what is logged", object{
			may("level", "debug, info, warn or error", one(&c.Log.Level, enum("debug", "info", "warn", "error")).or("info")),
		}),
	}
}

func devices(d *Devices) object {
	return object{
		may("monitoring", "who brings a device's data to its cloud, where no range and no entry says otherwise", one(&d.Monitoring, monitoring()).or("proxy")),
		may("ranges", "other settings for the devices of a network; the longest prefix holds", each(&d.Ranges, 1000, func(g *DeviceRange) kind {
			return object{
				must("network", "their addresses", one(&g.Network, network())),
				may("monitoring", "proxy or polling", one(&g.Monitoring, monitoring())),
				may("market", "the region that they were built for", one(&g.Market, region())),
				may("registration", "agent: they register themselves, as the gateway tells them; delegate: the gateway does it for them", one(&g.Registration, registrationMode())),
			}
		})),
		may("dns_sd", "whether devices are found by DNS-SD", one(&d.DNSSD, boolean()).or("false")),
		may("snmp", "devices that are found and asked by SNMP", object{
			may("ranges", "addresses that are asked", many(&d.SNMP.Ranges, 0, 256, network())),
			may("communities", "communities of SNMPv1 and v2c, the likeliest first", many(&d.SNMP.Communities, 0, 8, community())),
			may("users", "users of SNMPv3, which are tried before communities", each(&d.SNMP.Users, 8, func(u *SNMPUser) kind {
				return object{
					must("name", "user name", one(&u.Name, line(32))),
					may("auth", "digest of the authentication", one(&u.Auth, enum("none", "md5", "sha", "sha224", "sha256", "sha384", "sha512")).or("none")),
					may("auth_password", "at least 8 characters", secret(&u.AuthPassword)),
					may("privacy", "cipher; needs auth", one(&u.Privacy, enum("none", "des", "aes", "aes192", "aes256")).or("none")),
					may("privacy_password", "at least 8 characters", secret(&u.PrivacyPassword)),
					may("context", "context name, where the agent has several", one(&u.Context, line(32))),
				}
			})),
			may("port", "UDP port of the agents", one(&d.SNMP.Port, port()).or("161")),
			may("scan_every", "time between two scans of the ranges", one(&d.SNMP.ScanEvery, duration(time.Minute, 7*day)).or("1h")),
		}),
		may("polling", "how often devices are asked, where the contract does not say", object{
			may("status", "state, of every device that can be asked", one(&d.Polling.Status, duration(time.Second, time.Hour)).or("60s")),
			may("supplies", "supplies, of every device that can be asked", one(&d.Polling.Supplies, duration(time.Second, day)).or("15m")),
			may("counters", "counters and firmware, of devices in mode polling", one(&d.Polling.Counters, duration(time.Second, 7*day)).or("1h")),
			may("heartbeat", "longest time without a report to the cloud, of devices in mode polling", one(&d.Polling.Heartbeat, duration(time.Second, 7*day)).or("6h")),
		}),
		may("static", "devices by address, account or both", each(&d.Static, 100_000, func(d *StaticDevice) kind {
			return object{
				may("address", "address, which is also the source address of its connections", one(&d.Address, address())),
				may("account", "account in relay.accounts", one(&d.Account, account())),
				must("name", "name for people, unique", one(&d.Name, line(200))),
				may("monitoring", "proxy or polling", one(&d.Monitoring, monitoring())),
				may("market", "the region that it was built for", one(&d.Market, region())),
				may("registration", "agent or delegate, as for ranges; delegate by default", one(&d.Registration, registrationMode())),
				may("uri", "where it is asked, if not at the usual ports of its address", one(&d.URI, printerURI())),
			}
		})),
	}
}
