package registration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/mailbox"
	"github.com/mfpgate/mfpgate/tests/rig"
)

const (
	killCodeLife = time.Minute
	killInterval = time.Second
	killDomain   = "example.co.jp"
)

// killScene is a gateway that is killed, on one store all the time.
type killScene struct {
	*killer
	t       *testing.T
	dir     string
	config  string
	gateway *rig.Gateway
	users   int
	random  *rand.Rand
}

func newKillScene(t *testing.T, devices int) *killScene {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &killScene{killer: newKiller(t), t: t, dir: rig.Dir(t), random: rand.New(rand.NewPCG(seed, 0))}
	var config strings.Builder
	fmt.Fprintf(&config, "  allow: [{host: update.vendor.example, ports: [443]}]\nprint_services: [{name: office, kind: reference, url: %q}]\n", s.URL)
	fmt.Fprintf(&config, "registration: {admin: it@%s, admin_domains: [%s]}\n", killDomain, killDomain)
	fmt.Fprintf(&config, "mail: {smtp: %q, from: mfpgate@%s, ca: %s}\ndevices:\n  static:\n", s.box.Address, killDomain, rig.WriteFile(t, s.dir, "mail.pem", string(s.box.PEM())))
	for n := range devices {
		fmt.Fprintf(&config, "    - {name: \"copier %d\", address: 127.0.79.%d}\n", n+1, n+1)
	}
	s.config = config.String()
	s.gateway = rig.StartIn(t, s.dir, s.config)
	return s
}

// device is one of the configuration, by its number. One for which nobody has asked may have another id after each kill in its
// first second.
func (s *killScene) device(n int) (id mfpgate.DeviceID, name string, there bool) {
	s.t.Helper()
	var list struct{ Items []mfpgate.Device }
	name = fmt.Sprintf("copier %d", n+1)
	if !s.call(http.MethodGet, "devices", nil, &list) {
		return "", name, false
	}
	for _, d := range list.Items {
		if d.Name == name {
			return d.ID, name, true
		}
	}
	s.t.Fatalf("no device %q", name)
	return "", name, false
}

// call calls the gateway's API. False is a gateway that does not answer.
func (s *killScene) call(method, resource string, in, out any) bool {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	client := control.Client(s.gateway.Socket)
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(s.t.Context(), rig.Deadline)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://mfpgate/api/v1/"+resource, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return false
	}
	if resp.StatusCode > 299 {
		s.t.Fatalf("%s %s: %s: %s", method, resource, resp.Status, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		s.t.Fatal(err)
	}
	return true
}

// killedAt registers the device for a new user, kills the gateway at one moment of that, and wants all to be as if it had not died.
func (s *killScene) killedAt(at string, device int) {
	t := s.t
	t.Helper()
	s.users++
	user, admin := fmt.Sprintf("user-%d@%s", s.users, killDomain), fmt.Sprintf("it-%d@%s", s.users, killDomain)
	at = strings.NewReplacer("ADMIN", admin, "USER", user).Replace(at)
	password := s.region.Administrator(t, admin)
	s.arm(s.gateway.PID(), at)
	if at == "any" {
		defer time.AfterFunc(time.Duration(s.random.IntN(1300))*time.Millisecond, func() { s.strike("any", "") }).Stop()
		s.arm(s.gateway.PID(), "any/")
	}
	began, restarted := time.Now(), false
	var g mfpgate.Registration
	asked, typed := false, map[string]bool{}
	rig.Until(t, at+": the end of the registration, and of the gateway", func() bool {
		if s.hit() && !restarted {
			if code, stderr := s.gateway.Exit(t); code != -1 {
				t.Fatalf("%s: the gateway ended by itself with %d: %s", at, code, stderr)
			}
			s.gateway, restarted = rig.StartIn(t, s.dir, s.config), true
		}
		if !asked { // who got no answer asks again
			id, _, there := s.device(device)
			if !there {
				return false
			}
			ask := map[string]any{"deviceId": id, "service": "office", "user": user, "admin": admin}
			asked = s.call(http.MethodPost, "registrations", ask, &g)
			return false
		}
		for _, l := range s.lettersTo(admin) {
			early := strings.HasPrefix(at, "poll/") && !s.hit() // nobody has decided at that moment
			if code := killCode.FindStringSubmatch(l.Text); code != nil && !typed[code[1]] && !early {
				typed[code[1]] = true
				s.decide(t, admin, password, code[1], user)
			}
		}
		return s.call(http.MethodGet, "registrations/"+g.ID, nil, &g) && g.State.Ended() && len(s.lettersTo(user)) > 0 && restarted
	})
	if g.State != mfpgate.RegistrationRegistered || g.PrinterID == "" || g.Certificate == "" {
		t.Errorf("%s: %s, %s (%s), printer %q", at, g.State, g.Reason, g.Detail, g.PrinterID)
	}
	if strings.HasPrefix(at, "letter ") { // its letter goes once more, as nobody knows that it went
		to := strings.TrimSuffix(strings.TrimPrefix(at, "letter to "), "/taken")
		rig.Until(t, at+": the letter goes once more", func() bool { return len(s.lettersTo(to)) == 2 })
	}
	toAdmin, toUser := s.lettersTo(admin), s.lettersTo(user)
	if len(toAdmin)+len(toUser) > 2+1 {
		t.Errorf("%s: %d letters to the administrator, %d to the user: want one of each, and one more at most", at, len(toAdmin), len(toUser))
	}
	if ids := append(toAdmin, toUser...); len(typed) == 1 && len(slices.CompactFunc(ids, func(x, y mailbox.Letter) bool { return x.ID == y.ID })) != 2 {
		t.Errorf("%s: a letter that goes again must have the same Message-ID", at)
	}
	if id, name, _ := s.device(device); s.printers(admin, password, name) != 1 || id != g.Device.ID {
		t.Errorf("%s: the service has %d printers of device %s, whose id is %s now", at, s.printers(admin, password, name), g.Device.ID, id)
	}
	var report control.AuditReport
	if !s.call(http.MethodGet, "audit/verify", nil, &report) || !report.Right {
		t.Errorf("%s: the audit chain: %+v", at, report)
	}
	t.Logf("%s: %s, code %d of %d, %d and %d letters, %v", at, g.Purpose, g.Attempt, g.Attempts, len(toAdmin), len(toUser), time.Since(began).Round(10*time.Millisecond))
}

var killCode = regexp.MustCompile(`Code: (\S+)`)

func (s *killScene) lettersTo(who string) []mailbox.Letter {
	return slices.DeleteFunc(s.box.Letters(), func(l mailbox.Letter) bool { return l.To != who })
}

var killNext = regexp.MustCompile(`class="next"><a href="([^"]+)"`)

// printers counts those of a device on the service's pages.
func (s *killScene) printers(admin string, password mfpgate.Secret, device string) (n int) {
	s.t.Helper()
	for path := "/print/"; path != ""; {
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.region.URL+path, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		req.SetBasicAuth(admin, password.Reveal())
		resp, err := s.region.HTTP(s.t).Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		page, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			s.t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		n += strings.Count(string(page), "\">"+device+"</h2>") + strings.Count(string(page), "\">"+device+" <span class=\"quiet\">") // with its model
		path = ""
		if next := killNext.FindStringSubmatch(string(page)); next != nil {
			path = next[1]
		}
	}
	return n
}
