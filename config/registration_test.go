package config_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/config"
)

// authorities is the portal's certificate, as one who signs.
func authorities(t *testing.T) config.Authorities {
	t.Helper()
	const path = "/etc/mfpgate/portal.crt"
	f, err := machine().Open(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return config.Authorities{File: path, PEM: string(text)}
}

// registering is a file with more below the smallest one.
func registering(t *testing.T, more string) *config.Config {
	t.Helper()
	return parse(t, string(source(t, "testdata/good/smallest.yaml"))+more)
}

func TestWhoApproves(t *testing.T) {
	r := registering(t, `registration:
  admin: it@example.co.jp
  admins:
    - {devices: [10.1.0.0/16], admin: wide@example.co.jp}
    - {devices: [10.1.2.0/24, "10.1.3.3"], admin: near@example.co.jp}
    - {devices: ["2F copier"], admin: named@example.co.jp}
`).Registration
	for _, c := range []struct{ rule, name, address, want string }{
		{"a name goes before networks", "2F copier", "10.1.2.9", "named@example.co.jp"},
		{"the longest prefix holds", "x", "10.1.2.9", "near@example.co.jp"},
		{"one address is a network", "", "10.1.3.3", "near@example.co.jp"},
		{"an IPv4 address in IPv6 form is the same", "", "::ffff:10.1.3.3", "near@example.co.jp"},
		{"the wider network", "", "10.1.9.9", "wide@example.co.jp"},
		{"the site's", "", "10.2.0.1", "it@example.co.jp"},
		{"of a device without address", "", "", "it@example.co.jp"},
	} {
		address, _ := netip.ParseAddr(c.address)
		if got := r.AdminOf(address, "other", c.name); got != c.want {
			t.Errorf("%s: %s, want %s", c.rule, got, c.want)
		}
	}
	if got := registering(t, "registration: {admins: [{devices: [a], admin: a@b.example}]}").Registration.AdminOf(netip.Addr{}, "b"); got != "" {
		t.Errorf("who is nobody's: %q", got)
	}
}

func TestDomainsOfAdministrators(t *testing.T) {
	for _, c := range []struct {
		rule, more string
		want       []string
	}{
		{"nobody, none", "", nil},
		{"those of the addresses, once each", "registration: {admin: a@Example.com, admins: [{devices: [first], admin: b@example.com}, {devices: [second], admin: c@sub.example.com}]}",
			[]string{"example.com", "sub.example.com"}},
		{"what is written out", "registration: {admin: a@example.com, admin_domains: [Example.com, example.net]}", []string{"example.com", "example.net"}},
	} {
		if diff := cmp.Diff(c.want, registering(t, c.more).Registration.Domains()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestWhoRegistersADevice(t *testing.T) {
	d := registering(t, `devices:
  ranges:
    - {network: 10.1.0.0/16, registration: agent}
    - {network: 10.1.2.0/24, market: us}
    - {network: 10.1.3.0/24, registration: delegate}
  static:
    - {address: 10.1.3.9, name: copier, registration: agent}
    - {address: 10.1.4.9, name: other}
`).Devices
	for _, c := range []struct {
		rule, name, address string
		want                mfpgate.RegistrationMode
	}{
		{"delegate by default", "x", "10.2.0.1", mfpgate.RegistrationDelegate},
		{"its range's", "x", "10.1.4.1", mfpgate.RegistrationAgent},
		{"a range that says nothing leaves it to the wider one", "x", "10.1.2.1", mfpgate.RegistrationAgent},
		{"the longest prefix", "x", "10.1.3.1", mfpgate.RegistrationDelegate},
		{"its own entry's, by address", "x", "10.1.3.9", mfpgate.RegistrationAgent},
		{"its own entry's, by name", "copier", "", mfpgate.RegistrationAgent},
		{"an entry that says nothing leaves it to the range", "other", "10.1.4.9", mfpgate.RegistrationAgent},
	} {
		address, _ := netip.ParseAddr(c.address)
		if got := d.RegistrationOf(address, c.name); got != c.want {
			t.Errorf("%s: %s, want %s", c.rule, got, c.want)
		}
	}
}

func TestWhereCodesMayBeTyped(t *testing.T) {
	c := registering(t, `print_services:
  - {name: a, kind: ipp-system, url: "ipps://Print.example:8631/ipp/system"}
  - {name: b, kind: reference, url: "https://print.example", verification_hosts: [login.example]}
  - {name: c, kind: universal-print, url: "https://register.print.microsoft.com", client_id: x, authority: "https://login.microsoftonline.com/contoso"}
  - {name: d, kind: reference, url: "https://print.example", authority: "https://Id.example/realm"}
registration: {admin: it@example.co.jp}
mail: {smtp: "localhost:25", from: it@example.co.jp, tls: none}
`)
	got := [][]string{c.PrintServices[0].Hosts(), c.PrintServices[1].Hosts(), c.PrintServices[2].Hosts(), c.PrintServices[3].Hosts()}
	want := [][]string{{"print.example"}, {"login.example"}, {"microsoft.com", "www.microsoft.com", "login.microsoftonline.com", "aka.ms"}, {"id.example"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestThePortalWillDoWithoutMail(t *testing.T) {
	registering(t, `print_services: [{name: a, kind: reference, url: "https://print.example"}]
registration: {admins: [{devices: [10.1.0.0/16], admin: it@example.co.jp}]}
portal: {listen: ":8443"}
`)
}

func TestTheSenderIsTheAccount(t *testing.T) {
	with := registering(t, `mail: {smtp: "smtp.example.co.jp:587", from: it@example.co.jp, password: {file: /etc/mfpgate/secret}}`).Mail
	without := registering(t, `mail: {smtp: "smtp.example.co.jp:587", from: it@example.co.jp}`).Mail
	if with.User != "it@example.co.jp" || without.User != "" {
		t.Errorf("users %q and %q", with.User, without.User)
	}
}

func TestFormsOfTheKey(t *testing.T) {
	key := bytes.Repeat([]byte{0xfb, 0xff}, config.KeySize/2)
	for _, text := range []string{hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)), base64.StdEncoding.EncodeToString(key),
		base64.RawStdEncoding.EncodeToString(key), base64.URLEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key)} {
		files := fstest.MapFS{"key": {Mode: 0o600, Data: []byte(text + "\n")}}
		c, err := config.Parse("f", append(source(t, "testdata/good/smallest.yaml"), "registration: {key: {file: /key}}"...), config.Lookups{
			Open: func(path string) (fs.File, error) { return files.Open(strings.TrimPrefix(path, "/")) },
			Env:  func(string) string { return "" },
		})
		if err != nil || !bytes.Equal(c.Registration.SealKey(), key) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if key := registering(t, "").Registration.SealKey(); key != nil {
		t.Errorf("a key without one: %x", key)
	}
}
