package daemon_test

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/mailbox"
)

const (
	boss = "it@example.co.jp"
	sato = "sato@example.co.jp"
)

// desk is a gateway that registers devices in a real region, and writes to a real mail server.
type desk struct {
	*gateway
	t        *testing.T
	dir      string
	region   *servertest.Region
	box      *mailbox.Box
	password mfpgate.Secret
	device   mfpgate.DeviceID
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), region: servertest.Start(t), box: mailbox.Start(t)}
	d.password = d.region.Administrator(t, boss)
	servertest.Must(t, os.WriteFile(filepath.Join(d.dir, "mail.pem"), d.box.PEM(), 0o600))
	d.start()
	t.Cleanup(func() { d.stop(t) })
	var list struct{ Items []mfpgate.Device }
	d.control(t, "GET", "devices", "", &list)
	d.device = list.Items[0].ID
	return d
}

func (d *desk) start() { d.gateway = startIn(d.t, d.dir, "1", d.config("")) }

func (d *desk) config(more string) string {
	return fmt.Sprintf(`devices: {static: [{address: 127.0.0.2, name: "2F copier"}]}
print_services: [{name: office, kind: reference, url: %q, ca: %s}]
registration: {admin: %s, retries: 2%s}
mail: {smtp: %q, from: mfpgate@example.co.jp, ca: %s}
`, d.region.URL, d.region.Folder.CertificatePath(), boss, more, d.box.Address, filepath.Join(d.dir, "mail.pem"))
}

// reload has the gateway read another configuration, and waits for what comes of it.
func (d *desk) reload(change func(string) string, says string) {
	d.t.Helper()
	file := filepath.Join(d.dir, "mfpgate.yaml")
	text, err := os.ReadFile(file)
	servertest.Must(d.t, err)
	servertest.Must(d.t, os.WriteFile(file, []byte(change(string(text))), 0o600))
	d.signals <- syscall.SIGHUP
	reached(d.t, "the reload", func() bool {
		var status control.Status
		d.control(d.t, "GET", "status", "", &status)
		if says == "" {
			return status.Config.LastError == "" && !status.Config.LoadedAt.Equal(status.StartedAt)
		}
		return strings.Contains(status.Config.LastError, says)
	})
}

// ask asks for a registration.
func (d *desk) ask(user string, want int) mfpgate.Registration {
	d.t.Helper()
	var g mfpgate.Registration
	if status := d.control(d.t, "POST", "registrations", fmt.Sprintf(`{"deviceId":%q,"service":"office","user":%q}`, d.device, user), &g); status != want {
		d.t.Fatalf("asked for %s: %d, want %d", user, status, want)
	}
	return g
}

func (d *desk) get(id string) (g control.RegistrationDetail) {
	d.t.Helper()
	d.control(d.t, "GET", "registrations/"+id, "", &g)
	return g
}

// code waits until the administrator has the present code of a registration.
func (d *desk) code(id string) (code string) {
	d.t.Helper()
	reached(d.t, "the letter with the code", func() bool {
		code = d.get(id).UserCode
		for _, l := range d.box.Letters() {
			if code != "" && l.To == boss && strings.Contains(l.Text, code) {
				return true
			}
		}
		return false
	})
	return code
}

// follow reads the registration's events to their end.
func (d *desk) follow(id string) (last mfpgate.Registration) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, "http://mfpgate/api/v1/registrations/"+id+"/events", nil)
	servertest.Must(d.t, err)
	resp, err := control.Client(d.Control).Do(req)
	servertest.Must(d.t, err)
	defer resp.Body.Close()
	err = control.Follow(bufio.NewReader(resp.Body), func(g mfpgate.Registration) bool {
		last = g
		return !g.State.Ended()
	})
	if err != nil {
		d.t.Fatalf("in state %s: %v", last.State, err)
	}
	return last
}

// TestADeviceIsRegistered is the way of a registration: asked for over the API, approved by an administrator who had a letter, with
// a reload and a restart between.
func TestADeviceIsRegistered(t *testing.T) {
	d := newDesk(t)
	asked := d.ask(sato, 202)
	if again := d.ask(sato, 200); again.ID != asked.ID {
		t.Errorf("asked again: %s, want %s", again.ID, asked.ID)
	}
	if who := asked.Device; who.Name != "2F copier" || who.Address != "127.0.0.2" || len(who.UUID) != 36 || asked.Admin != boss || asked.Attempts != 3 {
		t.Errorf("%+v", asked)
	}
	code := d.code(asked.ID)

	d.reload(func(text string) string { return strings.Replace(text, "retries: 2", "retries: 5, deadline: 2h", 1) }, "")
	if g := d.get(asked.ID); g.State != mfpgate.RegistrationAwaitingAdmin || g.UserCode != code || g.Attempts != 3 {
		t.Errorf("after a reload: %+v", g)
	}
	d.stop(t)
	d.start()
	if g := d.get(asked.ID); g.State.Ended() || g.UserCode != code {
		t.Errorf("after a restart: %+v", g)
	}

	if status, page := d.region.Decide(t, boss, d.password, code, sato); status >= 400 {
		t.Fatalf("%d %s", status, page)
	}
	end := d.follow(asked.ID)
	if end.State != mfpgate.RegistrationRegistered || end.PrinterID == "" || len(end.Certificate) != 64 {
		t.Fatalf("%+v", end)
	}
	d.box.AwaitTo(t, sato)

	var entries struct{ Items []control.AuditEntry }
	d.control(t, "GET", "audit", "", &entries)
	var report control.AuditReport
	d.control(t, "GET", "audit/verify", "", &report)
	if !report.Right || len(report.Chains) != 1 || report.Chains[0].Entries != uint64(len(entries.Items)) {
		t.Errorf("%+v", report)
	}
	if first := entries.Items[len(entries.Items)-1]; first.Actor != fmt.Sprintf("cli:%d", os.Getuid()) || first.Object != asked.ID || first.Room != "approval" {
		t.Errorf("%+v", first)
	}
	reached(t, "the metric", func() bool {
		return strings.Contains(d.metrics(t, "/metrics"), `mfpgate_registration_state{state="registered"} 1`)
	})
}

func TestWhatIsRefused(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		rule, method, path, body string
		status                   int
	}{
		{"another service", "POST", "registrations", fmt.Sprintf(`{"deviceId":%q,"service":"other","user":%q}`, d.device, sato), 422},
		{"a device that is not there", "POST", "registrations", fmt.Sprintf(`{"deviceId":"dev_0","service":"office","user":%q}`, sato), 422},
		{"a user that is none", "POST", "registrations", fmt.Sprintf(`{"deviceId":%q,"service":"office","user":"sato"}`, d.device), 422},
		{"a friend as administrator", "POST", "registrations", fmt.Sprintf(`{"deviceId":%q,"service":"office","user":%q,"admin":"me@example.com"}`, d.device, sato), 422},
		{"nothing to resend", "POST", "registrations/reg_0/resend", "", 404},
		{"a room without an audit", "GET", "audit?room=proxy", "", 404},
	} {
		var problem struct{ Detail string }
		path, query, _ := strings.Cut(c.path, "?")
		if query != "" {
			path += "?" + query
		}
		if status := d.control(t, c.method, path, c.body, &problem); status != c.status || problem.Detail == "" {
			t.Errorf("%s: %d %q, want %d", c.rule, status, problem.Detail, c.status)
		}
	}
	for i := range 5 {
		d.ask(fmt.Sprintf("user-%d@example.co.jp", i), 202)
	}
	if after := d.tooSoon(d.get(d.ask("user-0@example.co.jp", 200).ID).ID); after < 60 || after > 120 {
		t.Errorf("a letter again at once: Retry-After %d", after)
	}
	g := d.get(d.ask("user-0@example.co.jp", 200).ID)
	var problem struct{ Detail string }
	if status := d.control(t, "POST", "registrations/"+g.ID+"/decide", `{"approve":true}`, &problem); status != 409 {
		t.Errorf("a decision that is the print service's: %d %+v", status, problem)
	}
	if status := d.control(t, "POST", "registrations/"+g.ID+"/retry", "", &problem); status != 409 {
		t.Errorf("a retry of what is open: %d %+v", status, problem)
	}
}

// tooSoon asks for the letter again once it went out, and returns the seconds after which that may be asked.
func (d *desk) tooSoon(id string) (seconds int) {
	d.t.Helper()
	d.code(id)
	client := control.Client(d.Control)
	defer client.CloseIdleConnections()
	reached(d.t, "the refusal of a letter", func() bool {
		resp, err := client.Post("http://mfpgate/api/v1/registrations/"+id+"/resend", "application/json", nil)
		servertest.Must(d.t, err)
		defer resp.Body.Close()
		seconds, err = strconv.Atoi(resp.Header.Get("Retry-After"))
		return resp.StatusCode == http.StatusTooManyRequests && err == nil
	})
	return seconds
}

func TestMailThatIsDownIsTold(t *testing.T) {
	d := newDesk(t)
	d.box.Down()
	id := d.ask(sato, 202).ID
	degraded := func() (reasons []mfpgate.Reason) {
		var status control.Status
		d.control(t, "GET", "status", "", &status)
		for _, x := range status.Degraded {
			reasons = append(reasons, x.Reason)
		}
		return reasons
	}
	reached(t, "the mail server is missed", func() bool { return cmp.Equal(degraded(), []mfpgate.Reason{"mail-failed"}) })
	d.box.Up(t)
	d.code(id)
	reached(t, "the mail server is back", func() bool { return len(degraded()) == 0 })

	d.reload(func(text string) string {
		before, _, _ := strings.Cut(text, "mail: {")
		return before + `portal: {listen: ""}` + "\n"
	}, "print_services: has requests for approval of which nobody would hear")
	d.reload(func(text string) string { return strings.Replace(text, "print_services:", "#", 1) }, "mail was added or removed, which needs a restart")
}
