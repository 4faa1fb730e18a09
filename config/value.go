package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
)

// The patterns are of the part of regular expressions that Go and ECMA 262 (JSON Schema) share.
var (
	siteNamePattern   = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	idPattern         = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	accountPattern    = regexp.MustCompile(`^[!-9;-~]{1,255}$`)
	credentialPattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}$`)
	pathPattern       = regexp.MustCompile(`^/`)
	regionPattern     = regexp.MustCompile(`^[a-z]{2}$`)
	hostPortPattern   = regexp.MustCompile(`^.*:[0-9]{1,5}$`)
	durationPattern   = regexp.MustCompile(`^([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?([0-9]{1,6}ms)?$`)
	timePattern       = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$`)
	ratePattern       = regexp.MustCompile(`^([1-9][0-9]{0,5})(B|kB|MB|GB|KiB|MiB|GiB)/s$`)
	communityPattern  = regexp.MustCompile(`^[!-~]{1,64}$`)
	printerPattern    = regexp.MustCompile(`^ipps?://[^/?#@]+(/[!-~]*)?$`)
	textPattern       = regexp.MustCompile(`^.+$`)
)

func siteName() form[string] {
	return matching(siteNamePattern, "lower-case letters, digits and hyphens, at most 63", "a name such as osaka-branch")
}

func id() form[string] {
	return matching(idPattern, "letters, digits, dots, hyphens and underscores, at most 64", "an id such as osaka-1")
}

func account() form[string] {
	return matching(accountPattern, "a user name of ASCII without spaces and colons", "a name such as copier-2f")
}

func credential() form[string] {
	return matching(credentialPattern, "the name of a systemd credential, not a path", "a name such as cloud-token")
}

// path is an absolute path, cleaned: the daemon's working directory is nobody's business.
func path() form[string] {
	f := matching(pathPattern, "an absolute path", "it from the root, such as /etc/mfpgate/name")
	f.parse = func(s string) (string, error) {
		if !filepath.IsAbs(s) || len(s) > 4095 || strings.ContainsFunc(s, unicode.IsControl) {
			return "", errForm
		}
		return filepath.Clean(s), nil
	}
	return f
}

// line is text for people.
func line(most int) form[string] {
	f := matching(textPattern, fmt.Sprintf("one line of 1 to %d characters", most), "a short text")
	f.parse = func(s string) (string, error) {
		if strings.TrimSpace(s) == "" || utf8.RuneCountInString(s) > most || strings.ContainsFunc(s, unicode.IsControl) {
			return "", errForm
		}
		return s, nil
	}
	return f
}

func region() form[string] {
	f := matching(regionPattern, "an ISO 3166-1 alpha-2 code in lower case", "a code such as jp")
	f.parse = func(s string) (string, error) {
		switch lower := strings.ToLower(s); {
		case lower == "uk":
			return "", errors.New("is not the ISO 3166-1 code of the United Kingdom; write gb")
		case len(s) != 2 || !slices.Contains(strings.Fields(countries), lower):
			return "", errForm
		case lower != s:
			return "", fmt.Errorf("must be in lower case; write %s", lower)
		}
		return s, nil
	}
	return f
}

// countries are the officially assigned codes of ISO 3166-1.
const countries = `ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bl bm bn bo bq br bs bt bv bw by bz
ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg eh er es et fi fj fk fm fo fr ga gb gd ge gf
gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw
ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mf mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl
no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st
sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug um us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw`

func zone() form[*time.Location] {
	return form[*time.Location]{yaml: "string", what: "an IANA time zone", example: "a name such as Asia/Tokyo", pattern: textPattern, parse: calendar.ParseZone}
}

func days() form[calendar.Days] {
	return form[calendar.Days]{yaml: "string", what: "days of the week", example: "mon, mon-fri, sat,sun or daily", pattern: textPattern, parse: calendar.ParseDays}
}

func timeOfDay(latest string) form[calendar.TimeOfDay] {
	return form[calendar.TimeOfDay]{
		yaml: "string", what: "a time of day from 00:00 to " + latest, example: `hours and minutes such as "08:00"`,
		pattern: timePattern,
		parse: func(s string) (calendar.TimeOfDay, error) {
			t, err := calendar.ParseTimeOfDay(s)
			if err != nil || t.String() > latest {
				return 0, errForm
			}
			return t, nil
		},
	}
}

const day = 24 * time.Hour

// duration is a time between two bounds, written with its units from days to milliseconds.
func duration(low, high time.Duration) form[time.Duration] {
	return form[time.Duration]{
		yaml: "string", pattern: durationPattern,
		what: fmt.Sprintf("a duration from %s to %s", durationText(low), durationText(high)), example: "it with its unit, such as 30s or 1h30m",
		parse: func(s string) (time.Duration, error) {
			if len(s) <= 6 && decimal.MatchString(s) {
				return 0, fmt.Errorf("must have a unit; write %ss, or h or m for s", s)
			}
			parts := durationPattern.FindStringSubmatch(s)
			if s == "" || parts == nil {
				return 0, errForm
			}
			var sum time.Duration
			for i, unit := range []time.Duration{day, time.Hour, time.Minute, time.Second, time.Millisecond} {
				n, _ := strconv.Atoi(strings.TrimRight(parts[i+1], "dhms"))
				sum += time.Duration(min(n, int(high/unit)+1)) * unit // over the bound, and within 64 bits
			}
			if sum < low || sum > high {
				return 0, errForm
			}
			return sum, nil
		},
	}
}

func durationText(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if d >= u.unit && d%u.unit == 0 {
			return strconv.Itoa(int(d/u.unit)) + u.name
		}
	}
	return strconv.Itoa(int(d/time.Millisecond)) + "ms"
}

func rate() form[ByteSize] {
	return form[ByteSize]{
		yaml: "string", zero: true, pattern: ratePattern,
		what: "bytes per second from 1kB/s to 100GB/s, or 0 for unlimited", example: "it with its unit, such as 20MB/s",
		parse: func(s string) (ByteSize, error) {
			if s == "0" {
				return 0, nil
			}
			parts := ratePattern.FindStringSubmatch(s)
			if parts == nil {
				return 0, errForm
			}
			n, _ := strconv.ParseInt(parts[1], 10, 64)
			switch parts[2] {
			case "kB":
				n *= 1e3
			case "MB":
				n *= 1e6
			case "GB":
				n *= 1e9
			case "KiB":
				n <<= 10
			case "MiB":
				n <<= 20
			case "GiB":
				n <<= 30
			}
			if n < 1e3 || n > 100e9 {
				return 0, errForm
			}
			return ByteSize(n), nil
		},
	}
}

// hostPort is an address to listen on.
func hostPort() form[string] {
	f := matching(hostPortPattern, "host:port", `an address such as "127.0.0.1:9631" or ":8443"`)
	f.parse = func(s string) (string, error) {
		if validPort(s) {
			return "", fmt.Errorf("must be host:port; write \":%s\"", s)
		}
		host, port, err := net.SplitHostPort(s)
		if err != nil || !decimal.MatchString(port) {
			return "", errForm
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return "", errForm
		}
		if host != "" {
			if _, err := mfpgate.ParseHost(host); err != nil {
				return "", errForm
			}
		}
		return s, nil
	}
	return f
}

func hostPattern() form[mfpgate.HostPattern] {
	return form[mfpgate.HostPattern]{
		yaml: "string", pattern: textPattern, what: "a name, *.domain, an address or a network", example: `a host such as "*.cloud.example"`,
		parse: func(s string) (mfpgate.HostPattern, error) {
			if len(s) > 255 || strings.Contains(s, "@") {
				return mfpgate.HostPattern{}, errForm
			}
			if s == "*" {
				return mfpgate.HostPattern{}, errors.New("names every host; write the names and domains that are meant")
			}
			return mfpgate.ParseHostPattern(s)
		},
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

// network is a network or one address. A mapped IPv4 address would never match: the relay compares what it has unmapped.
func network() form[netip.Prefix] {
	return form[netip.Prefix]{
		yaml: "string", pattern: textPattern, what: "a network in CIDR form or an address", example: "10.0.0.0/8 or 10.1.2.3",
		parse: func(s string) (netip.Prefix, error) {
			if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
				addr = addr.Unmap()
				return netip.PrefixFrom(addr, addr.BitLen()), nil
			}
			prefix, err := netip.ParsePrefix(s)
			switch {
			case err != nil:
				return netip.Prefix{}, errForm
			case prefix.Addr().Is4In6():
				return netip.Prefix{}, errors.New("is an IPv4 network in IPv6 form; write it as IPv4")
			case prefix != prefix.Masked():
				return netip.Prefix{}, fmt.Errorf("has bits set behind its mask; write %s, or %s for the one address", prefix.Masked(), prefix.Addr())
			}
			return prefix, nil
		},
	}
}

func address() form[netip.Addr] {
	return form[netip.Addr]{
		yaml: "string", pattern: textPattern, what: "the IP address of one device", example: "an address such as 10.1.0.9",
		parse: func(s string) (netip.Addr, error) {
			addr, err := netip.ParseAddr(s)
			if err != nil || addr.Zone() != "" || addr.IsUnspecified() || addr.IsMulticast() {
				return netip.Addr{}, errForm
			}
			return addr.Unmap(), nil
		},
	}
}

func registrationMode() form[mfpgate.RegistrationMode] {
	return enum(mfpgate.RegistrationAgent, mfpgate.RegistrationDelegate)
}

func monitoring() form[mfpgate.MonitoringMode] {
	return enum(mfpgate.MonitoringProxy, mfpgate.MonitoringPolling)
}

// community is an SNMP community: no secret worth the name, for it is sent in the clear with every question.
func community() form[string] {
	return matching(communityPattern, "an SNMP community", `a word such as "public"`)
}

// printerURI is an IPP printer at an address.
func printerURI() form[*url.URL] {
	return form[*url.URL]{
		yaml: "string", what: "an IPP printer's URI", example: "ipp://10.1.0.9:631/ipp/print", pattern: printerPattern,
		parse: func(s string) (*url.URL, error) {
			u, err := url.Parse(s)
			if err != nil || !printerPattern.MatchString(s) || u.RawQuery != "" || u.Fragment != "" || u.Port() != "" && !validPort(u.Port()) {
				return nil, errForm
			}
			if _, err := netip.ParseAddr(u.Hostname()); err != nil {
				return nil, errors.New("must hold the printer's address; write the address in the place of its name")
			}
			return u, nil
		},
	}
}

// proxyURL and webURL repeat no more than the host of what they refuse, because people put passwords into URLs.
func proxyURL() form[*url.URL] {
	f := form[*url.URL]{yaml: "string", pattern: textPattern, what: "http://host:port and nothing more", example: `a URL such as "http://corp-proxy:8080"`}
	f.parse = func(s string) (*url.URL, error) {
		u, err := url.Parse(s)
		if err == nil && u.User != nil {
			return nil, errors.New("must not hold a user or a password; write them in user and password")
		}
		if err != nil || u.Scheme != "http" || !validPort(u.Port()) || (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return nil, errForm
		}
		if _, err := mfpgate.ParseHost(u.Hostname()); err != nil {
			return nil, errForm
		}
		return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
	}
	return f
}

func cloudURL() form[*url.URL] { return webURL("the token identifies the gateway") }

func portalURL() form[*url.URL] { return webURL("users log in at the portal") }

func authorityURL() form[*url.URL] { return webURL("client_id identifies the gateway") }

// webURL says with why that a URL needs no password.
func webURL(why string) form[*url.URL] {
	f := form[*url.URL]{yaml: "string", pattern: textPattern, what: "an https:// URL", example: `a URL such as "https://jp.cloud.example"`}
	f.parse = func(s string) (*url.URL, error) {
		if host, err := mfpgate.ParseHost(s); err == nil {
			return nil, fmt.Errorf("must start with https://; write \"https://%s\"", host)
		}
		u, err := url.Parse(s)
		switch {
		case err != nil || (u.Port() != "" && !validPort(u.Port())):
			return nil, errForm
		case u.User != nil:
			return nil, fmt.Errorf("must not hold a user or a password; %s", why)
		case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
			return nil, errors.New("must not have a query or a fragment; write it up to the path")
		}
		if _, err := mfpgate.ParseHost(u.Hostname()); err != nil {
			return nil, errForm
		}
		if u.Scheme != "https" && !(u.Scheme == "http" && mfpgate.Loopback(u.Hostname())) {
			return nil, fmt.Errorf("must start with https://; write \"https://%s\"", u.Host)
		}
		return u, nil
	}
	return f
}

func validPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 1 && n <= 65535
}
