package config_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/config"
)

func TestDiff(t *testing.T) {
	design := string(source(t, "testdata/good/design.yaml"))
	old := parse(t, design)
	for _, tc := range []struct {
		rule, from, to string
		want           config.Changes
	}{
		{"nothing", "", "", nil},
		{"another way to write the same", "idle: 2h", "idle: 120m", nil},
		{"a default that is written out", "drain: 60s}", "drain: 60s, head: 10s}", nil},
		{"the site's name takes a restart", "osaka-branch", "osaka-main", config.Changes{{Key: "site.name", Restart: true}}},
		{"a zone does not", "Asia/Tokyo", "Asia/Seoul", config.Changes{{Key: "site.time_zone"}}},
		{"the state directory", "/var/lib/mfpgate", "/srv/mfpgate", config.Changes{{Key: "state_dir", Restart: true}}},
		{"the relay's address", `[":3128"]`, `[":8080"]`, config.Changes{{Key: "relay.listen", Restart: true}}},
		{"the portal's address", `":8443"`, `":9443"`, config.Changes{{Key: "portal.listen", Restart: true}}},
		{"the metrics' address", ":9631", ":9632", config.Changes{{Key: "metrics.listen", Restart: true}}},
		{
			"the portal's certificate", `cert: "", key: ""`, "cert: /etc/mfpgate/portal.crt, key: /etc/mfpgate/portal.key",
			config.Changes{{Key: "portal.tls.cert", Restart: true}, {Key: "portal.tls.key", Restart: true}},
		},
		{"a list changes as a whole", "ports: [80]", "ports: [80, 8080]", config.Changes{{Key: "relay.allow"}}},
		{"a step of the calendar", "devices: 30", "devices: 20", config.Changes{{Key: "relay.capacity.calendar"}}},
		{"a URL", "corp-proxy:8080", "corp-proxy:3128", config.Changes{{Key: "relay.upstream.url"}}},
		{"a secret", "{credential: cloud-token}", "{file: /etc/mfpgate/secret}", config.Changes{{Key: "cloud.token"}}},
		{"the mode of schedules", "mode: propose", "mode: auto", config.Changes{{Key: "schedule.mode"}}},
		{"which devices a background brings", "devices: all}", "devices: [2F copier]}", config.Changes{{Key: "schedule.background"}}},
		{"when schedules are fetched", `"17 * * * *"`, `"47 * * * *"`, config.Changes{{Key: "schedule.fetch"}}},
		{"a print service changes as a whole", "print.example/ipp", "other.example/ipp", config.Changes{{Key: "print_services"}}},
		{"who approves", "admin: b@", "admin: c@", config.Changes{{Key: "registration.admins"}}},
		{"the mail server", "smtp.example.co.jp:587", "smtp.example.co.jp:465", config.Changes{{Key: "mail.smtp"}}},
		{"the key that seals", "deadline: 24h", "deadline: 24h, key: {file: /etc/mfpgate/seal-key}", config.Changes{{Key: "registration.key", Restart: true}}},
		{"who moves devices", "policy: ask", "policy: never, follow_redirects: [P 502]", config.Changes{{Key: "region.policy"}, {Key: "region.follow_redirects"}}},
		{"whether regions are enforced", "enforce: true", "enforce: false", config.Changes{{Key: "region.enforce"}}},
		{"who resolves names", "clients: ", "dns_servers: [10.0.0.53]\n  clients: ", config.Changes{{Key: "relay.dns_servers"}}},
		{"where browsers reach the portal", `portal: {`, `portal: {url: "https://p.example", `, config.Changes{{Key: "portal.url"}}},
		{"USB goes off and on", "enabled: true, share: off", "enabled: false", config.Changes{{Key: "usb.enabled"}}},
		{"who prints on USB", "share: off", "share: lan, quirks: /etc/mfpgate/usb.quirks", config.Changes{{Key: "usb.share"}, {Key: "usb.quirks"}}},
		{"a part that goes", `static: [{address: 10.1.0.9, name: "2F copier"}]`, "static: []", config.Changes{{Key: "devices.static"}}},
		{
			"several, in the order of the table", "level: info", "level: warn}\nmetrics: {listen: \"127.0.0.1:1\"",
			config.Changes{{Key: "metrics.listen", Restart: true}, {Key: "log.level"}},
		},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			src := design
			if strings.Contains(tc.to, "metrics:") { // a key stands once
				src = strings.Replace(src, "metrics: {listen: \"127.0.0.1:9631\"}", "", 1)
			}
			if !strings.Contains(src, tc.from) {
				t.Fatalf("%q is not in the file", tc.from)
			}
			next := parse(t, strings.Replace(src, tc.from, tc.to, 1))
			got := config.Diff(old, next)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Diff (-want +got):\n%s", diff)
			}
			var keys, restart []string
			for _, c := range tc.want {
				keys = append(keys, c.Key)
				if c.Restart {
					restart = append(restart, c.Key)
				}
			}
			if !slices.Equal(got.Keys(), keys) || !slices.Equal(got.Restart(), restart) {
				t.Errorf("Keys, Restart = %v, %v; want %v, %v", got.Keys(), got.Restart(), keys, restart)
			}
		})
	}
}

// The file says the same, but what it names holds another secret.
func TestDiffSeesRotatedSecret(t *testing.T) {
	src := source(t, "testdata/good/smallest.yaml")
	src = append(src, "cloud: {url: https://a.example, gateway_id: g, token: {file: /token}}\n"...)
	with := func(token string) *config.Config {
		files := fstest.MapFS{"token": {Mode: 0o600, Data: []byte(token)}}
		c, err := config.Parse("f", src, config.Lookups{
			Open: func(path string) (fs.File, error) { return files.Open(strings.TrimPrefix(path, "/")) },
			Env:  func(string) string { return "" },
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if diff := cmp.Diff(config.Changes{{Key: "cloud.token"}}, config.Diff(with("a\n"), with("b\n"))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := config.Diff(with("a\n"), with("a")); got != nil {
		t.Errorf("the trailing newline is a change: %v", got)
	}
}
