package config_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/config"
)

// options compare what has no Equal of its own. The capacity in force is compared by its extremes.
var options = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
	cmp.Comparer(func(a, b mfpgate.HostPattern) bool { return a == b }),
	cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() }),
	cmp.Comparer(func(a, b *calendar.Capacity) bool {
		return a.Smallest() == b.Smallest() && a.Largest() == b.Largest()
	}),
}

func pattern(t *testing.T, s string) mfpgate.HostPattern {
	t.Helper()
	p, err := mfpgate.ParseHostPattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func capacity(t *testing.T, devices int, steps []calendar.CapacityStep, zone string) *calendar.Capacity {
	t.Helper()
	loc, err := calendar.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	c, err := calendar.NewCapacity(devices, steps, loc)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is not written is at the default that DESIGN and the schema name.
func cron(t *testing.T, line string, zone *time.Location) calendar.Recurrence {
	t.Helper()
	r, err := calendar.ParseCron(line, zone, calendar.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDefaults(t *testing.T) {
	got := parse(t, string(source(t, "testdata/good/smallest.yaml")))
	want := &config.Config{
		Site:     config.Site{Name: "osaka-branch", Region: "jp", TimeZone: time.UTC},
		StateDir: "/var/lib/mfpgate",
		Relay: config.Relay{
			Listen:         []string{":3128"},
			Clients:        []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
			UnknownDevices: config.Admit,
			Allow:          []mfpgate.AllowRule{{Host: pattern(t, "*.cloud.example"), Ports: []uint16{443}}},
			Capacity:       config.Capacity{Devices: 50, InForce: capacity(t, 50, nil, "UTC"), QueueTimeout: 30 * time.Second, Linger: 5 * time.Second},
			PerDevice:      config.PerDevice{Connections: 16},
			Timeouts:       config.Timeouts{Dial: 10 * time.Second, Idle: time.Hour, Drain: time.Minute, Head: 10 * time.Second},
		},
		USB: config.USB{Share: config.USBShareOff},
		Devices: config.Devices{
			Monitoring: mfpgate.MonitoringProxy,
			SNMP:       config.SNMP{Port: 161, ScanEvery: time.Hour},
			Polling:    config.Polling{Status: time.Minute, Supplies: 15 * time.Minute, Counters: time.Hour, Heartbeat: 6 * time.Hour},
		},
		Schedule: config.Schedule{Fetch: "17 * * * *", Due: cron(t, "17 * * * *", time.UTC), Horizon: 14 * 24 * time.Hour, Mode: mfpgate.SchedulePropose, Hawkbit: config.Hawkbit{Ahead: 5 * time.Minute, LeadTime: time.Hour}},
		Log:      config.Log{Level: "info"},

		Registration: config.Registration{Retries: 3, Deadline: 24 * time.Hour},
		Mail:         config.Mail{TLS: config.MailStartTLS},
		Region:       config.Region{Enforce: true, Policy: config.RegionAsk},
	}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("smallest file (-want +got):\n%s", diff)
	}
}

func TestEveryKey(t *testing.T) {
	oslo, err := calendar.ParseZone("Europe/Oslo")
	if err != nil {
		t.Fatal(err)
	}
	steps := []calendar.CapacityStep{{Days: calendar.Daily, From: 22 * 60, To: 24 * 60, Devices: 0}}
	got := parse(t, string(source(t, "testdata/good/everything.yaml")))
	want := &config.Config{
		Site:     config.Site{Name: "0", Region: "no", TimeZone: oslo, Location: "Oslo, kjeller"},
		StateDir: "/srv/mfpgate",
		Relay: config.Relay{
			Listen:         []string{"127.0.0.1:0", "[::1]:3129"},
			Clients:        []netip.Prefix{netip.MustParsePrefix("10.1.2.3/32"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("192.0.2.7/32")},
			Accounts:       config.Accounts{File: "/etc/mfpgate/devices.htpasswd"},
			Gateways:       []config.Gateway{{Account: "inner", Key: "s3cret"}},
			UnknownDevices: config.Refuse,
			Allow: []mfpgate.AllowRule{{
				Host: pattern(t, "10.9.0.0/16"), Ports: []uint16{80, 65535}, Idle: 7 * 24 * time.Hour, AnySNI: true, TLSOnly: true, Private: true,
			}},
			Capacity: config.Capacity{
				Devices: 100_000, Calendar: steps, InForce: capacity(t, 100_000, steps, "Europe/Oslo"),
				QueueTimeout: 90 * time.Second, Linger: 10 * time.Millisecond,
			},
			PerDevice: config.PerDevice{Connections: 1000, Rate: 1 << 20},
			DNSServers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("127.0.0.1:5353"), netip.MustParseAddrPort("[2001:db8::53]:53"),
				netip.MustParseAddrPort("[2001:db8::53]:5353")},
			Upstream: config.Upstream{
				URL: &url.URL{Scheme: "http", Host: "[2001:db8::1]:8080"}, User: "mfp", Password: "p4ss",
				Except:    []mfpgate.HostPattern{pattern(t, "intra.example"), pattern(t, "*.intra.example")},
				DeviceKey: "s3cret",
			},
			Timeouts: config.Timeouts{Dial: time.Second, Idle: 25 * time.Hour, Drain: 0, Head: 100 * time.Millisecond},
		},
		Devices: config.Devices{
			Monitoring: mfpgate.MonitoringPolling,
			Ranges: []config.DeviceRange{
				{Network: netip.MustParsePrefix("10.1.2.0/24"), Monitoring: mfpgate.MonitoringProxy, Market: "us", Registration: mfpgate.RegistrationAgent}},
			DNSSD: true,
			SNMP: config.SNMP{
				Ranges:      []netip.Prefix{netip.MustParsePrefix("10.1.0.0/17"), netip.MustParsePrefix("2001:db8::/113")},
				Communities: []string{"public", "pa55"},
				Users: []config.SNMPUser{{Name: "monitor", Auth: "sha256", AuthPassword: "s3cret-s3cret", Privacy: "aes256",
					PrivacyPassword: "s3cret-s3cret", Context: "copier"}},
				Port: 1161, ScanEvery: time.Minute,
			},
			Polling: config.Polling{Status: time.Second, Supplies: 24 * time.Hour, Counters: 7 * 24 * time.Hour, Heartbeat: time.Minute},
			Static: []config.StaticDevice{
				{Name: "2F copier", Address: netip.MustParseAddr("10.1.0.9"), Account: "copier-2f"},
				{Name: "3F copier", Address: netip.MustParseAddr("10.1.0.10"), Monitoring: mfpgate.MonitoringProxy, Market: "jp",
					URI: &url.URL{Scheme: "ipps", Host: "10.1.0.10:443", Path: "/ipp/print"}, Registration: mfpgate.RegistrationDelegate},
			},
		},
		USB: config.USB{Enabled: true, Share: config.USBShareLAN, Quirks: "/etc/mfpgate/usb.quirks"},
		Schedule: config.Schedule{
			Fetch: "*/20 6-22 * * mon-fri", Due: cron(t, "*/20 6-22 * * mon-fri", oslo), Horizon: 30 * 24 * time.Hour, Mode: mfpgate.ScheduleAuto,
			Background: []config.Background{
				{Name: "meter-read", Cron: "@daily", Duration: 10 * time.Minute, Devices: config.Selector{All: true}, Jitter: 90 * time.Second},
				{Name: "log-upload", RRule: "FREQ=WEEKLY;BYDAY=SU", Start: "2026-12-06T04:00:00", Duration: 90 * time.Minute,
					Devices: config.Selector{Named: []string{"2F copier", "10.1.0.10"}}},
				{Name: "backup", Start: "2026-12-24T22:00:00", Duration: 24 * time.Hour, Concurrency: 100_000},
			},
			Hawkbit: config.Hawkbit{URL: &url.URL{Scheme: "https", Host: "hawkbit.example:8443"}, User: `default\mfpgate`, Password: "p4ss", Targets: "attribute.gateway==oslo-1",
				DeviceAttribute: "deviceId", WindowAttribute: "window", LeadTime: 13 * time.Hour},
		},
		PrintServices: []config.PrintService{
			{Name: "office", Kind: config.ServiceIPPSystem, URL: &url.URL{Scheme: "ipps", Host: "print.example:8631", Path: "/ipp/system"}, ClientID: "mfpgate",
				Scope: "system-register", Completion: config.CompletionPush},
			{Name: "europe", Kind: config.ServiceReference, URL: &url.URL{Scheme: "http", Host: "127.0.0.1:18441", Path: "/base"}, ClientID: "oslo-1",
				CA: authorities(t), VerificationHosts: []string{"login.print.example", "127.0.0.1"}, Completion: config.CompletionPoll},
			{Name: "microsoft", Kind: config.ServiceUniversal, URL: &url.URL{Scheme: "https", Host: "register.print.microsoft.com"},
				Authority: &url.URL{Scheme: "https", Host: "login.microsoftonline.com", Path: "/contoso.example"},
				ClientID:  "00000000-0000-0000-0000-000000000001", Completion: config.CompletionPush},
		},
		Registration: config.Registration{
			Admin: "IT@Example.no",
			Admins: []config.DeviceAdmin{{Admin: "o'brien+mfp@print.example.no", Devices: []config.DeviceMatch{
				{Network: netip.MustParsePrefix("10.1.2.0/24")}, {Name: "2F copier"}, {Network: netip.MustParsePrefix("2001:db8::9/128")}}}},
			AdminDomains: []string{"example.no", "print.example.no"}, Retries: 10, Deadline: 30 * 24 * time.Hour,
			Key: mfpgate.Secret(strings.Repeat("5ea1", 16)),
		},
		Mail:    config.Mail{SMTP: "[2001:db8::25]:465", From: "mfpgate@example.no", User: "mfp", Password: "s3cret", TLS: config.MailImplicit, CA: authorities(t)},
		Region:  config.Region{Policy: config.RegionAutomatic, FollowRedirects: []string{"IM C4510", "P 502"}},
		Portal:  config.Portal{Listen: "localhost:8443", URL: &url.URL{Scheme: "https", Host: "mfpgate.example.no", Path: "/portal"}, TLS: config.TLS{Cert: "/etc/mfpgate/portal.crt", Key: "/etc/mfpgate/portal.key"}},
		Metrics: config.Metrics{Listen: ":9631"},
		Cloud:   config.Cloud{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:8080", Path: "/base"}, GatewayID: "oslo-1", Token: "t0ken"},
		Log:     config.Log{Level: "debug"},
	}
	if diff := cmp.Diff(want, got, options); diff != "" {
		t.Errorf("every key (-want +got):\n%s", diff)
	}
	if text := fmt.Sprintf("%+v %#v", got, got); strings.Contains(text, "s3cret") || strings.Contains(text, "t0ken") || strings.Contains(text, "5ea15ea1") {
		t.Errorf("a printed Config shows a secret: %s", text)
	}
}

func TestRates(t *testing.T) {
	for _, tc := range []struct {
		text string
		want config.ByteSize // per second; -1 is refused
	}{
		{"0", 0},
		{"1000B/s", 1000},
		{"1kB/s", 1000},
		{"1KiB/s", 1024},
		{"20MB/s", 20_000_000},
		{"3GiB/s", 3 << 30},
		{"100GB/s", 100_000_000_000},
		{"101GB/s", -1},
		{"999999GiB/s", -1},
		{"20MB", -1},
		{"20 MB/s", -1},
		{"-1kB/s", -1},
		{"1.5MB/s", -1},
	} {
		src := string(source(t, "testdata/good/smallest.yaml")) + "  per_device: {rate: " + tc.text + "}\n"
		c, err := config.Parse("f", []byte(src), machine())
		if tc.want < 0 {
			if err == nil {
				t.Errorf("rate %s is taken for %d", tc.text, c.Relay.PerDevice.Rate)
			}
		} else if err != nil || c.Relay.PerDevice.Rate != tc.want {
			t.Errorf("rate %s: %v, %v; want %d", tc.text, c, err, tc.want)
		}
	}
}

// The parser's time grows with the square of these, so what is far beyond any use is refused before it runs.
func TestBounds(t *testing.T) {
	small := string(source(t, "testdata/good/smallest.yaml"))
	devices := small + "devices:\n  static:\n"
	var keys strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	many := strings.Builder{}
	for i := range 3000 {
		fmt.Fprintf(&many, "    - name: copier %d\n      address: 2001:db8::%x\n", i, i)
	}
	const tooMany = "yaml: has too many keys or empty items; see the shipped example"
	for _, tc := range []struct{ rule, src, want string }{
		{"keys of one mapping", keys.String(), "f:1001:6: " + tooMany},
		{"empty items", devices + strings.Repeat("    -\n", 100_000), "f:1009:5: " + tooMany},
		{"keys of many mappings are as many as it takes", devices + many.String(), ""},
		{"sequences in one line", strings.Repeat("- ", 100_000), "f:1:33: yaml: is nested more than 16 deep; see the shipped example"},
		{"open brackets", strings.Repeat("[", 100_000), "f:1:17: yaml: is nested more than 16 deep; see the shipped example"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			_, err := config.Parse("f", []byte(tc.src), machine())
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
