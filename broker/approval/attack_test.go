package approval_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
	"github.com/mfpgate/mfpgate/store"
)

// TestServicesThatHangStopNoOther has two tarpits take all the calls that they may, and a third service that must not feel it.
func TestServicesThatHangStopNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		release := make(chan struct{})
		for n := range 2 {
			tarpit := &approvaltest.Service{Clock: &mfpgate.SystemClock{}, Interval: 5 * time.Second, Before: func(approvaltest.Call, string) error {
				<-release
				return errors.New("at last")
			}}
			g.policy.Services = append(g.policy.Services, approval.Service{Name: fmt.Sprint("tarpit", n), Client: tarpit, Hosts: []string{"print.example"}})
		}
		for n := range 100 {
			g.device(mfpgate.DeviceID(fmt.Sprint("x", n)))
		}
		g.start()
		for n := range 100 {
			q := mfpgate.RegistrationRequest{Device: mfpgate.DeviceID(fmt.Sprint("x", n)), Service: fmt.Sprint("tarpit", n%2), User: fmt.Sprintf("u%d@example.com", n)}
			if _, _, err := g.Request(t.Context(), q, "a", ""); err != nil {
				t.Fatal(err)
			}
		}
		g.pass(time.Second)
		r := g.ask("d1", user)
		g.pass(2 * time.Second)
		g.want(r.ID, mfpgate.RegistrationAwaitingAdmin, "", 1)
		if n := len(g.mailer.Letters(admin)); n != 1 {
			t.Errorf("%d letters within two seconds, want 1", n)
		}
		g.office.Decide(user, true)
		g.pass(12 * time.Second)
		g.want(r.ID, mfpgate.RegistrationRegistered, "", 1)
		close(release)
		g.pass(time.Second)
	})
}

// TestWhereAnAdministratorIsNotSent has pages that look like one on the pinned host.
func TestWhereAnAdministratorIsNotSent(t *testing.T) {
	for _, page := range []string{
		"https://evil.example/device", "https://print.example.evil.example/", "https://evilprint.example/", "https://a.print.example/",
		"https://print.example@evil.example/", "https://print.example:443@evil.example/", "https://evil.example#@print.example/",
		"https://evil.example/?https://print.example/", "https://evil.example\\@print.example/", "https:\\\\print.example/", "https:print.example/device",
		"https:///print.example/", "//print.example/", "https://print.example./device", "https://print.example:8443/device", "https://print.example:0443/device",
		"http://print.example/device", "HTTP://print.example/", "ftp://print.example/", "javascript://print.example/%0aalert(1)", "data:text/html,print.example",
		"https://xn--prnt-7na.example/", "https://pr\u0131nt.example/", "https://print\u3002example/", "https://PR\u0130NT.example/", "https://print.examp\u217ce/",
		"https://pr%69nt.example/", "https://print.example%00.evil.example/", "https://print.example%2eevil.example/",
		"https://[fe80::1%25print.example]/", "https://[::ffff:print.example]/", "https://[::1]/", "https://127.0.0.1/", "https://2130706433/",
		"https://print.example\t.evil.example/", "https://print.example\n/", "https://print.example/\r\nBcc: x@evil.example", "https://print.example/\x00",
		"https://print.example/\u2028", "https://print.example/\u202egpj.exe", "https://print.example/" + strings.Repeat("a", 4096), "https://", "https://:443/", "",
	} {
		t.Run(page[:min(len(page), 60)], func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				g.policy.Services[0].Hosts = []string{"print.example:443"}
				g.office.AlterCode = func(_ int, c *mfpgate.Code) { c.VerificationURI = page }
				g.start()
				r := g.ask("d1", user)
				g.pass(5 * time.Minute)
				end := g.get(r.ID)
				if end.State != mfpgate.RegistrationFailed || end.Reason != approval.HostChanged && end.Reason != approval.BadAnswer || end.Detail == "" {
					t.Errorf("%s, reason %s: %s", end.State, end.Reason, end.Detail)
				}
				if strings.ContainsFunc(end.Detail, func(c rune) bool { return c < ' ' || c == 0x2028 || c == 0x202e }) {
					t.Errorf("the detail is %q", end.Detail)
				}
				if l := g.mailer.Letters(admin); len(l) > 0 {
					t.Errorf("a letter went out: %s", l[0].Text)
				}
			})
		})
	}
	for _, page := range []string{"https://print.example/device", "https://PRINT.example/device", "https://print.example:443/device"} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.policy.Services[0].Hosts = []string{"print.example:443"}
			g.office.AlterCode = func(_ int, c *mfpgate.Code) { c.VerificationURI = page }
			g.start()
			r := g.ask("d1", user)
			g.pass(time.Second)
			g.want(r.ID, mfpgate.RegistrationAwaitingAdmin, "", 1)
		})
	}
}

// TestADomainThatIsTakenAwayIsNotWrittenTo has letters that wait while the domains are changed: one by one, and in a digest.
func TestADomainThatIsTakenAwayIsNotWrittenTo(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.policy.AdminDomains = []string{"example.com", "partner.example"}
		g.start()
		q := mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user, Admin: "it@partner.example"}
		r, _, err := g.Request(t.Context(), q, "a", "")
		if err != nil {
			t.Fatal(err)
		}
		g.pass(time.Second)
		g.policy.AdminDomains = []string{"example.com"}
		g.Reconfigure(g.policy)
		g.pass(time.Hour)
		if n := len(g.mailer.Letters("it@partner.example")); n != 1 {
			t.Errorf("%d letters, want the one before the change", n)
		}
		if now := g.get(r.ID); !now.State.Ended() && now.MailError == "" {
			t.Errorf("nobody is told: %+v", now)
		}
	})
	bubble(t, func(t *testing.T, g *gateway) {
		g.policy.AdminDomains = []string{"example.com", "partner.example"}
		g.office.Lifetime, g.office.Interval = 10*time.Hour, time.Minute // what is looked at is not the polls
		for n := range 20 {
			g.device(mfpgate.DeviceID(fmt.Sprint("x", n)))
		}
		g.start()
		for n := range 15 {
			q := mfpgate.RegistrationRequest{Device: mfpgate.DeviceID(fmt.Sprint("x", n)), Service: "office", User: fmt.Sprintf("u%d@example.com", n), Admin: "it@partner.example"}
			if _, _, err := g.Request(t.Context(), q, "a", ""); err != nil {
				t.Fatal(err)
			}
		}
		g.pass(time.Minute)
		g.policy.AdminDomains = []string{"example.com"}
		g.Reconfigure(g.policy)
		g.pass(2 * time.Hour)
		if n := len(g.mailer.Letters("it@partner.example")); n != approval.MaxLetters {
			t.Errorf("%d letters, want the %d before the change and no digest", n, approval.MaxLetters)
		}
	})
}

// TestLettersAreCountedInAnyCase has one mailbox written in many ways.
func TestLettersAreCountedInAnyCase(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		for n := range 20 {
			g.device(mfpgate.DeviceID(fmt.Sprint("x", n)))
		}
		g.start()
		for n := range 2 * approval.MaxLetters {
			spelled := []byte("administrator-of-it@example.com")
			for i := range 5 {
				if n>>i&1 == 1 {
					spelled[i] -= 'a' - 'A'
				}
			}
			q := mfpgate.RegistrationRequest{Device: mfpgate.DeviceID(fmt.Sprint("x", n)), Service: "office", User: fmt.Sprintf("u%d@example.com", n), Admin: string(spelled)}
			if _, _, err := g.Request(t.Context(), q, "a", ""); err != nil {
				t.Fatal(err)
			}
		}
		g.pass(time.Minute)
		if n := len(g.mailer.Letters("")); n != approval.MaxLetters {
			t.Errorf("%d letters, want %d", n, approval.MaxLetters)
		}
	})
}

// TestWhoAsksAgainIsNamed has a user ask again for what an administrator had asked for.
func TestWhoAsksAgainIsNamed(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.start()
		q := mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user, Account: "boss", From: "10.0.0.1"}
		r, _, err := g.Request(t.Context(), q, "boss", "")
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ actor, account, from string }{{"boss", "boss", "10.0.0.1"}, {"tanaka", "tanaka", ""}, {"cli:0", "", ""}} {
			if err := g.Cancel(t.Context(), r.ID, "boss"); err != nil {
				t.Fatal(err)
			}
			again, err := g.Retry(t.Context(), r.ID, c.actor)
			if err != nil {
				t.Fatal(err)
			}
			if again.Account != c.account || again.From != c.from {
				t.Errorf("%s asks again: account %q, from %q; want %q, %q", c.actor, again.Account, again.From, c.account, c.from)
			}
			if c.actor != "boss" {
				r = again
				continue
			}
			if err := g.Cancel(t.Context(), again.ID, "boss"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestADeviceThatReportsWithoutEnd must not fill the audit and the store.
func TestADeviceThatReportsWithoutEnd(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.change(func(c *mfpgate.PrintCandidate) { c.Mode = mfpgate.RegistrationAgent })
		g.start()
		r := g.ask("d1", user)
		refused := 0
		for n := range 3 * approval.MaxReports {
			err := g.Report(t.Context(), "d1", r.ID, approval.Result{State: mfpgate.RegistrationAwaitingAdmin, Detail: fmt.Sprint("still at it ", n)})
			if err != nil {
				refusal(t, "a report too many", err, approval.TooMany)
				refused++
			}
		}
		if refused != 2*approval.MaxReports {
			t.Errorf("%d reports were refused, want %d", refused, 2*approval.MaxReports)
		}
		if err := g.Cancel(t.Context(), r.ID, "a"); err != nil {
			t.Fatal(err)
		}
		before := g.audits()
		for n := range 50 {
			if err := g.Report(t.Context(), "d1", r.ID, approval.Result{State: mfpgate.RegistrationRegistered, PrinterID: fmt.Sprint("p", n)}); err != nil {
				t.Fatal(err)
			}
		}
		if n := g.audits() - before; n != 1 {
			t.Errorf("%d lines of audit of late reports, want 1", n)
		}
	})
}

// audits counts the lines of the audit.
func (g *gateway) audits() (n int) {
	g.t.Helper()
	err := g.store.View(g.t.Context(), func(s store.Snapshot) error {
		n = 0
		for _, err := range store.All(s, "audit/") {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

// TestCertificatesOfNoUse are for the right key, and refused all the same.
func TestCertificatesOfNoUse(t *testing.T) {
	for _, c := range []struct {
		rule  string
		alter func(*x509.Certificate)
		state mfpgate.RegistrationState
	}{
		{"as it should be", func(*x509.Certificate) {}, mfpgate.RegistrationRegistered},
		{"from a clock that is an hour ahead", func(c *x509.Certificate) { c.NotBefore = c.NotBefore.Add(2 * time.Hour) }, mfpgate.RegistrationRegistered},
		{"an authority's", func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }, mfpgate.RegistrationFailed},
		{"good in a month", func(c *x509.Certificate) { c.NotBefore = c.NotBefore.AddDate(0, 1, 0) }, mfpgate.RegistrationFailed},
		{"expired", func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(time.Minute) }, mfpgate.RegistrationFailed},
		{"another device's", func(c *x509.Certificate) {
			c.URIs = []*url.URL{{Scheme: "urn", Opaque: "uuid:00000000-0000-4000-8000-00000000ffff"}}
		}, mfpgate.RegistrationFailed},
	} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.office.AlterLeaf = c.alter
			g.start()
			r := g.ask("d1", user)
			g.pass(time.Second)
			g.office.Decide(user, true)
			g.pass(20 * time.Second)
			if end := g.get(r.ID); end.State != c.state || c.state == mfpgate.RegistrationFailed && end.Reason != approval.BadCertificate {
				t.Errorf("%s: %s, reason %s (%s)", c.rule, end.State, end.Reason, end.Detail)
			}
		})
	}
}

// TestTheUsersLetterHasNoForeignWords: what a service or a device says of its reasons is not sent on.
func TestTheUsersLetterHasNoForeignWords(t *testing.T) {
	const lure = "log in at https://evil.example/ now"
	bubble(t, func(t *testing.T, g *gateway) {
		g.office.Before = func(c approvaltest.Call, _ string) error {
			if c == approvaltest.RequestCode {
				return fmt.Errorf("%w: %s", mfpgate.ErrRefused, lure)
			}
			return nil
		}
		g.start()
		r := g.ask("d1", user)
		g.pass(time.Minute)
		if end := g.want(r.ID, mfpgate.RegistrationFailed, approval.RefusedBy, 0); !strings.Contains(end.Detail, lure) {
			t.Errorf("the administrator does not read why: %s", end.Detail)
		}
		g.noForeignWords()
	})
	bubble(t, func(t *testing.T, g *gateway) {
		g.change(func(c *mfpgate.PrintCandidate) { c.Mode = mfpgate.RegistrationAgent })
		g.start()
		r := g.ask("d1", user)
		if err := g.Report(t.Context(), "d1", r.ID, approval.Result{State: mfpgate.RegistrationFailed, Reason: "of-its-own", Detail: lure}); err != nil {
			t.Fatal(err)
		}
		g.pass(time.Minute)
		g.noForeignWords()
	})
}

func (g *gateway) noForeignWords() {
	g.t.Helper()
	l := g.mailer.Letters(user)
	if len(l) != 1 || strings.Contains(l[0].Text, "evil.example") || !strings.Contains(l[0].Text, "sk again.") && !strings.Contains(l[0].Text, "does not take") {
		g.t.Errorf("letters: %+v", l)
	}
}
