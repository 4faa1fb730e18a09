package registration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/mailbox"
	"github.com/mfpgate/mfpgate/tests/rig"
)

const (
	fromGateway = "mfpgate@example.co.jp"
	fromService = "print@cloud.example"
	fromDevice  = "device@example.co.jp"
	boss        = "it@example.co.jp"
	deputy      = "deputy@example.co.jp" // approves for three copiers
	password    = "correct horse battery"
	place       = "3F east, beside the lift"
	copiers     = 7
)

var administrators = []string{boss, deputy}

// patience is longer than rig.Deadline: many programs share the machine here.
const patience = 100 * time.Second

// house is everything that the stories share: a gateway, the print services, a mail server, a browser, and copiers.
type house struct {
	*site
	box                       *mailbox.Box
	told, asked, brief, shaky *service // push, poll, with short codes, away at times
	browser                   *browser
	door                      sync.Mutex // of the portal
}

// site is a gateway with the mail server that it writes to.
type site struct {
	*rig.Gateway
	post *mailbox.Box
}

// openHouse starts everything and waits until the gateway knows the copiers.
func openHouse(t *testing.T) *house {
	t.Helper()
	h := &house{box: mailbox.Start(t)}
	var starting sync.WaitGroup
	begin := func(at **service, flags ...string) {
		starting.Go(func() { *at = startService(t, h, flags...) })
	}
	rig.Cloud(t)
	rig.Simulator(t)
	begin(&h.told, "--code-interval", "1m") // a poll would not tell within the time of a test
	begin(&h.asked, "--code-interval", "1s")
	begin(&h.brief, "--code-interval", "1s", "--code-lifetime", "8s")
	begin(&h.shaky, "--code-interval", "1s")
	starting.Go(func() { rig.Binary(t) })
	starting.Go(func() { h.browser = openBrowser(t) })
	starting.Wait()
	if t.Failed() || h.told == nil || h.asked == nil || h.brief == nil || h.shaky == nil || h.browser == nil {
		t.FailNow()
	}
	start(t, rig.Simulator(t), "fleet", "--count", fmt.Sprint(copiers), "--first", copierAt(1), "--cloud", h.told.url, "--ca", h.told.certificate,
		"--factory-key", filepath.Join(h.told.state, "factory.key"), "--poll", "1h", "--print", "--ipp-port", "17410", "--snmp-port", "17461", "--location", place)
	h.site = openSite(t, h.box, h.told.entry("told", "push")+h.asked.entry("asked", "poll")+h.brief.entry("brief", "push")+h.shaky.entry("shaky", "push"))
	rig.Until(t, "the gateway knows the copiers' serial numbers", func() bool {
		known := 0
		for _, d := range h.devices(t) {
			if d.Serial != "" && d.Location != "" {
				known++
			}
		}
		return known == copiers
	})
	return h
}

func copierAt(n int) string     { return fmt.Sprintf("127.42.0.%d", n) }
func copier(n int) string       { return fmt.Sprintf("Copier %d", n) }
func serialOf(n int) string     { return fmt.Sprintf("SIM%06d", n) }
func agentAt(n int) string      { return fmt.Sprintf("127.42.1.%d", n) }
func agent(n int) string        { return fmt.Sprintf("Agent %d", n) }
func mailOf(name string) string { return name + "@example.co.jp" }

// openSite starts a gateway that registers in services.
func openSite(t *testing.T, box *mailbox.Box, services string) *site {
	t.Helper()
	s := &site{post: box}
	dir := rig.Dir(t)
	trust := rig.WriteFile(t, dir, "mail.pem", string(box.PEM()))
	var b strings.Builder
	fmt.Fprintf(&b, `  allow: [{host: update.vendor.example, ports: [443]}]
print_services:
%sregistration:
  admin: %s
  admins: [{devices: [%q, %q, %q], admin: %s}]
  retries: 2
mail: {smtp: %q, from: %s, ca: %s}
devices:
  static:
`, services, boss, copier(5), copier(6), copier(7), deputy, box.Address, fromGateway, trust)
	for n := range copiers {
		fmt.Fprintf(&b, "    - {name: %q, address: %s, uri: \"ipp://%s:17410/ipp/print\"}\n", copier(n+1), copierAt(n+1), copierAt(n+1))
	}
	for n := range 2 {
		fmt.Fprintf(&b, "    - {name: %q, address: %s, uri: \"ipp://%s:17411/ipp/print\", registration: agent}\n", agent(n+1), agentAt(n+1), agentAt(n+1))
	}
	config := b.String()
	s.Gateway = rig.StartIn(t, dir, config+"portal: {listen: \"127.0.0.2:0\"}\n")
	s.Reload(t, config+fmt.Sprintf("portal: {listen: \"127.0.0.2:0\", url: \"https://%s\"}\n", s.Portal)) // its port is known now
	return s
}

// command runs mfpgate on the gateway.
func (s *site) command(t *testing.T, args ...string) string {
	t.Helper()
	code, out, complaint := rig.Run(t, append(args, "--socket", s.Socket)...)
	if code != 0 {
		t.Fatalf("mfpgate %s: %d: %s", strings.Join(args, " "), code, complaint)
	}
	return out
}

// member makes a portal account of role user, and returns its mail address.
func (s *site) member(t *testing.T, name string) (address string) {
	t.Helper()
	cmd := exec.Command(rig.Binary(t), "user", "add", name, "--role", "user", "--email", mailOf(name), "--socket", s.Socket)
	rig.Unprivileged(cmd)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("user add %s: %v: %s", name, err, out)
	}
	return mailOf(name)
}

func (s *site) devices(t *testing.T) []mfpgate.Device {
	t.Helper()
	var list struct{ Items []mfpgate.Device }
	s.API(t, "devices", &list)
	return list.Items
}

func (s *site) device(t *testing.T, name string) mfpgate.Device {
	t.Helper()
	for _, d := range s.devices(t) {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("the gateway has no device %q", name)
	panic("not reached")
}

// request asks for a registration as a program does.
func (s *site) request(t *testing.T, device, service, user string) (id string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"deviceId": s.device(t, device).ID, "service": service, "user": user})
	if err != nil {
		t.Fatal(err)
	}
	client := control.Client(s.Socket)
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://mfpgate/api/v1/registrations", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r mfpgate.Registration
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("register %s: %s, %v", device, resp.Status, err)
	}
	return r.ID
}

// registration is one as the command line shows it.
func (s *site) registration(t *testing.T, id string) (r control.RegistrationDetail) {
	t.Helper()
	text := s.command(t, "registrations", "show", id, "--json")
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// comes waits for a registration to be as wanted, and returns it.
func (s *site) comes(t *testing.T, id, what string, wanted func(mfpgate.Registration) bool) (r mfpgate.Registration) {
	t.Helper()
	await(t, id+": "+what, func() bool {
		s.API(t, "registrations/"+id, &r)
		return wanted(r)
	}, func() string { return fmt.Sprintf("%+v", r) })
	return r
}

func registered(r mfpgate.Registration) bool { return r.State == mfpgate.RegistrationRegistered }

// await waits for a state that nothing announces; now says how things stand.
func await(t *testing.T, what string, reached func() bool, now func() string) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !reached() {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("never: %s; now %s", what, now())
		}
	}
}

// letters are those of a sender to somebody, whose subject begins so.
func letters(all []mailbox.Letter, from, to, subject string) (some []mailbox.Letter) {
	for _, l := range all {
		if l.From == from && l.To == to && strings.HasPrefix(l.Subject, subject) {
			some = append(some, l)
		}
	}
	return some
}

// letter waits for the nth letter of a sender to somebody, which says all of these.
func (s *site) letter(t *testing.T, n int, from, to, subject string, says ...string) (l mailbox.Letter) {
	t.Helper()
	s.post.AwaitThat(t, func(all []mailbox.Letter) bool {
		some := letters(all, from, to, subject)
		if len(some) >= n {
			l = some[n-1]
		}
		return len(some) >= n
	})
	for _, text := range says {
		if !strings.Contains(l.Text, text) {
			t.Errorf("the letter %q to %s does not say %q:\n%s", l.Subject, to, text, l.Text)
		}
	}
	return l
}
