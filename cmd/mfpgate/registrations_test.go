package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/store/journal"
)

// registrar is a fleet with a registration in each state that looks different.
func registrar() *portaltest.Gateway {
	at := func(d time.Duration) time.Time { return portaltest.Now.Add(d) }
	g := portaltest.Fleet(9)
	g.PrintServicesAre = []control.PrintService{{Name: "office", Kind: "reference", URL: "https://print.example"}}
	copier := mfpgate.PrintDevice{ID: "dev_1", Name: "2F copier", Make: "Ricoh", Model: "IM C4510", Serial: "3081RC10200", Location: "2F east", Address: "10.1.0.9",
		UUID: "4509a320-00a0-008f-00b6-002673123456"}
	g.RegistrationsAre = []mfpgate.Registration{
		{ID: "reg_01JNDVX0Q5W1Y8ZK3R6T9B0001", Device: copier, Service: "office", User: "sato@example.co.jp", Account: "mori", From: "10.1.9.7", Admin: "it@example.co.jp",
			Mode: mfpgate.RegistrationDelegate, Purpose: mfpgate.PurposeRegister, State: mfpgate.RegistrationAwaitingAdmin, Attempt: 2, Attempts: 4,
			RequestedAt: at(-time.Hour), Since: at(-12 * time.Minute), ExpiresAt: at(3 * time.Minute), Deadline: at(23 * time.Hour), MailedAt: at(-11 * time.Minute), Mails: 2,
			MailError: "", VerificationURI: "https://print.example/device", UserCode: "WDJB-MJHT"},
		{ID: "reg_01JNDVX0Q5W1Y8ZK3R6T9B0002", Device: copier, Service: "office", User: "ueda@example.co.jp", Admin: "it@example.co.jp", Mode: mfpgate.RegistrationAgent,
			Purpose: mfpgate.PurposeAllowUser, State: mfpgate.RegistrationRegistered, Attempt: 1, Attempts: 4, RequestedAt: at(-50 * time.Hour), Since: at(-49 * time.Hour),
			Deadline: at(-26 * time.Hour), PrinterID: "prn_7", PrinterURI: "ipps://print.example/ipp/print/prn_7", Certificate: strings.Repeat("ab", 32), CertificateExpires: at(300 * 24 * time.Hour)},
		{ID: "reg_01JNDVX0Q5W1Y8ZK3R6T9B0003", Device: mfpgate.PrintDevice{ID: "dev_3", Name: portaltest.Hostile}, Service: "office", User: portaltest.Hostile, Admin: portaltest.Hostile,
			State: mfpgate.RegistrationFailed, Reason: "denied", Detail: "The administrator said no. " + portaltest.Hostile, Attempt: 1, Attempts: 3, RequestedAt: at(-3 * time.Hour), Since: at(-2 * time.Hour)},
		{ID: "reg_01JNDVX0Q5W1Y8ZK3R6T9B0004", Device: copier, Service: "office", User: "abe@example.co.jp", Admin: "it@example.co.jp", State: mfpgate.RegistrationAwaitingAdmin,
			Local: true, Attempts: 4, RequestedAt: at(-time.Minute), Since: at(-time.Minute), Deadline: at(time.Hour), MailError: "the mail server does not answer"},
	}
	return g
}

func TestWhatRegistrationsPrints(t *testing.T) {
	g := registrar()
	c := commands(t, g)
	list := c.good("registrations")
	golden(t, "registrations.txt", list)
	for line := range strings.Lines(list) {
		if n := width(strings.TrimSuffix(line, "\n")); n > tableWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if again := c.good("registrations", "list"); again != list {
		t.Errorf("list differs:\n%s", again)
	}
	if open := c.good("registrations", "--open"); strings.Count(open, "\n") != 3 || strings.Contains(open, "registered") {
		t.Errorf("open:\n%s", open)
	}
	for i, name := range []string{"registration.txt", "registration-done.txt", "registration-hostile.txt", "registration-local.txt"} {
		golden(t, name, c.good("registrations", "show", g.RegistrationsAre[i].ID))
	}
	var items struct{ Items []mfpgate.Registration }
	text := c.good("registrations", "--json")
	if err := json.Unmarshal([]byte(text), &items); err != nil || len(items.Items) != 4 || strings.Contains(text, "WDJB") {
		t.Errorf("%v\n%s", err, text)
	}
	if text := c.good("registrations", "list", "--open", "--json"); strings.Count(text, "registrationId") != 2 {
		t.Errorf("open: %s", text)
	}
	if text := commands(t, portaltest.Idle()).good("registrations", "--open", "--json"); text != `{"items":[]}`+"\n" {
		t.Errorf("none: %s", text)
	}
	var one control.RegistrationDetail
	if err := json.Unmarshal([]byte(c.good("registrations", "show", g.RegistrationsAre[0].ID, "--json")), &one); err != nil || one.UserCode != "WDJB-MJHT" {
		t.Errorf("%v %+v", err, one)
	}
}

func TestARequestIsMade(t *testing.T) {
	g := registrar()
	c := commands(t, g)
	out := c.good("registrations", "request", "--device", "2F copier", "--user", "u@example.co.jp", "--admin", "b@example.co.jp", "--retries", "5")
	if out != "reg_new1: requested\nhint: `mfpgate registrations show reg_new1` shows how far it is\n" {
		t.Errorf("%s", out)
	}
	c.good("registrations", "request", "--device", "dev_2", "--user", "u@example.co.jp", "--service", "other", "--json")
	want := []mfpgate.RegistrationRequest{{Device: "dev_1", Service: "office", User: "u@example.co.jp", Admin: "b@example.co.jp", Retries: 5},
		{Device: "dev_2", Service: "other", User: "u@example.co.jp"}}
	if diff := cmp.Diff(want, g.RequestsWere); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	id := g.RegistrationsAre[0].ID
	for _, change := range []struct{ command, says string }{{"resend", "the letter is on its way again"}, {"cancel", "is cancelled"}, {"approve", "is approved"}, {"deny", "is denied"}} {
		if out := c.good("registrations", change.command, id); out != id+": "+change.says+"\n" {
			t.Errorf("%s: %s", change.command, out)
		}
		if out := c.good("registrations", change.command, id, "--json"); !strings.Contains(out, `"registrationId":"`+id) {
			t.Errorf("%s: %s", change.command, out)
		}
	}
	if out := c.good("registrations", "retry", id); !strings.HasPrefix(out, id+": requested\n") {
		t.Errorf("retry: %s", out)
	}
}

func TestHowRegistrationsFail(t *testing.T) {
	g := registrar()
	c := commands(t, g)
	request := func(more ...string) []string {
		return append([]string{"registrations", "request", "--device", "dev_1", "--user", "u@example.co.jp"}, more...)
	}
	check := func(rule string, code int, says string, args ...string) {
		t.Helper()
		if got, _, errs := c.run(args...); got != code || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d, want %d\n%s", rule, got, code, errs)
		}
	}
	check("no user", usage, `required flag(s) "user" not set`, "registrations", "request", "--device", "dev_1")
	check("retries out of bounds", usage, "--retries takes 2 to 10", request("--retries", "0")...)
	check("a device that is not there", refused, "no device has the id or the name", "registrations", "request", "--device", "dev_0", "--user", "u@example.co.jp")
	check("an id that is none", usage, "is no registration's id", "registrations", "show", "../devices")
	check("an id that nothing has", refused, "there is no such registration", "registrations", "show", "reg_0")
	g.ChangeFails = fmt.Errorf("%w: the code is good for 3 minutes still", control.ErrRegistration)
	check("a refusal", refused, "not done: the code is good for 3 minutes still", "registrations", "resend", "reg_1")
	g.PrintServicesAre = append(g.PrintServicesAre, control.PrintService{Name: "second", URL: "https://second.example"})
	check("several services", usage, "name one with --service:\n  office  https://print.example\n  second  https://second.example", request()...)
	g.PrintServicesAre = nil
	check("no service", refused, "name one in print_services", request()...)
	if code, _, errs := (command{t, "/nonexistent/socket"}).run("registrations"); code != unreachable {
		t.Errorf("no daemon: %d %s", code, errs)
	}
}

// followed is a gateway whose registration comes to an end when it is looked at.
type followed struct {
	*portaltest.Gateway
	states []mfpgate.Registration
}

func (f *followed) Register(context.Context, mfpgate.RegistrationRequest, string, string) (mfpgate.Registration, bool, error) {
	f.RegistrationsAre = f.states[:1]
	return f.states[0], true, nil
}

func (f *followed) RegistrationChanges(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, g := range f.states {
			f.RegistrationsAre = []mfpgate.Registration{g}
			if !yield(g.ID) {
				return
			}
		}
		<-ctx.Done()
	}
}

func TestARequestIsFollowedToItsEnd(t *testing.T) {
	step := func(after time.Duration, state mfpgate.RegistrationState) mfpgate.Registration {
		return mfpgate.Registration{ID: "reg_1", State: state, Attempt: 1, Attempts: 4, Admin: "it@example.co.jp", Since: portaltest.Now.Add(after)}
	}
	end, no := step(time.Minute, mfpgate.RegistrationRegistered), step(time.Minute, mfpgate.RegistrationFailed)
	end.PrinterID, no.Detail = "prn_7", "The administrator said no."
	f := &followed{registrar(), []mfpgate.Registration{step(0, mfpgate.RegistrationRequestingCode), step(time.Second, mfpgate.RegistrationAwaitingAdmin), end}}
	c := commands(t, f)
	args := []string{"registrations", "request", "--device", "dev_1", "--user", "u@example.co.jp", "--wait"}
	if out := c.good(args...); out != "reg_1\n14:32:10  requesting_code\n14:32:11  awaiting_admin: code 1 of 4, asks it@example.co.jp\n14:33:10  registered: printer prn_7\n" {
		t.Errorf("%s", out)
	}
	var g mfpgate.Registration
	if err := json.Unmarshal([]byte(c.good(append(args, "--json")...)), &g); err != nil || g.PrinterID != "prn_7" {
		t.Errorf("%v %+v", err, g)
	}
	f.states[2] = no
	if code, out, errs := c.run(args...); code != refused || !strings.HasSuffix(out, "14:33:10  failed: The administrator said no.\n") || errs != "" {
		t.Errorf("a bad end: %d\n%s%s", code, out, errs)
	}
}

func TestWhatAuditPrints(t *testing.T) {
	g := registrar()
	for i := range 3 {
		g.AuditIs = append(g.AuditIs, control.AuditEntry{Room: "approval", Entry: journal.Entry{Seq: uint64(3 - i), Time: portaltest.Now.Add(-time.Duration(i) * time.Minute),
			Actor: "cli:0", Action: "registration.requested", Object: "reg_01JNDVX0Q5W1Y8ZK3R6T9B0001", Detail: []string{"", portaltest.Hostile, "for u@example.co.jp"}[i]}})
	}
	g.ReportIs = control.AuditReport{Right: true, Chains: []control.AuditChain{{Gateway: "osaka-1", Room: "approval", Entries: 3, Hash: strings.Repeat("c0", 32)}}}
	c := commands(t, g)
	list := c.good("audit")
	golden(t, "audit.txt", list)
	if again := c.good("audit", "list"); again != list {
		t.Errorf("list differs:\n%s", again)
	}
	if out := c.good("audit", "list", "--room", "approval", "--before", "3", "--limit", "1"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "approval  2 ") {
		t.Errorf("%s", out)
	}
	if out := c.good("audit", "verify"); out != "osaka-1/approval: 3 entries, up to "+strings.Repeat("c0", 32)+"\n" {
		t.Errorf("%s", out)
	}
	var report control.AuditReport
	if err := json.Unmarshal([]byte(c.good("audit", "verify", "--json")), &report); err != nil || !report.Right {
		t.Errorf("%v %+v", err, report)
	}
	for _, bad := range [][]string{{"audit", "--before", "3"}, {"audit", "--limit", "0"}, {"audit", "--limit", "1001"}} {
		if code, _, errs := c.run(bad...); code != usage {
			t.Errorf("%q: %d %s", bad, code, errs)
		}
	}
	if code, _, errs := c.run("audit", "--room", "proxy"); code != refused || !strings.Contains(errs, "no room of this name") {
		t.Errorf("%d %s", code, errs)
	}
	g.ReportIs.Right, g.ReportIs.Chains[0].Wrong, g.ReportIs.Chains[0].Seq = false, "changed", 2
	if code, _, errs := c.run("audit", "verify"); code != refused || errs != "mfpgate: osaka-1/approval: entry 2: changed\n" {
		t.Errorf("%d %s", code, errs)
	}
	g.ReportIs = control.AuditReport{Right: true}
	if out := c.good("audit", "verify"); out != "no entries yet\n" {
		t.Errorf("%s", out)
	}
}
