package approval_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/store/journal"
)

func refusal(t *testing.T, what string, err error, want mfpgate.Reason) {
	t.Helper()
	refused, ok := errors.AsType[mfpgate.Refused](err)
	if !ok || refused.Why() != want || !strings.HasSuffix(err.Error(), ".") {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestRefused(t *testing.T) {
	ok := mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user}
	for _, c := range []struct {
		rule   string
		change func(*mfpgate.RegistrationRequest, *gateway)
		why    mfpgate.Reason // "" is not refused
	}{
		{"as it should be", func(*mfpgate.RegistrationRequest, *gateway) {}, ""},
		{"an unknown device", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Device = "d9" }, approval.NoDevice},
		{"an unknown service", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Service = "x" }, approval.NoService},
		{"one retry", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Retries = 1 }, approval.BadRequest},
		{"eleven retries", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Retries = 11 }, approval.BadRequest},
		{"a user with a name", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.User = "T <t@example.com>" }, approval.BadRequest},
		{"an administrator of the domain", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "boss+mfp@EXAMPLE.com" }, ""},
		{"an administrator of a domain that ends alike", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "x@evilexample.com" }, approval.AdminDomain},
		{"an administrator of a domain below", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "x@a.example.com" }, approval.AdminDomain},
		{"two administrators", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "x@example.com, y@evil.example" }, approval.BadRequest},
		{"a quoted administrator", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = `"x@evil.example"@example.com` }, approval.BadRequest},
		{"an administrator behind a percent sign", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "y%evil.example@example.com" }, approval.BadRequest},
		{"an administrator behind a bang", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "evil.example!y@example.com" }, approval.BadRequest},
		{"a user behind a percent sign, who would get the end letter", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.User = "y%evil.example@example.com" }, approval.BadRequest},
		{"an administrator at an address", func(q *mfpgate.RegistrationRequest, g *gateway) {
			g.policy.AdminDomains, q.Admin = []string{"[10.0.0.1]"}, "it@[10.0.0.1]"
		}, approval.BadRequest},
		{"a domain with a dot at its end", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "it@example.com." }, approval.BadRequest},
		{"a domain before another", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "it@example.com@evil.example" }, approval.BadRequest},
		{"an administrator that is turned around", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "it\u202emoc.@example.com" }, approval.BadRequest},
		{"an administrator and a zero byte", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "it@example.com\x00.evil.example" }, approval.BadRequest},
		{"an administrator and a line separator", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "it\u2028x@example.com" }, approval.BadRequest},
		{"an administrator of 300 bytes", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = strings.Repeat("a", 300) + "@example.com" }, approval.BadRequest},
		{"an administrator and a header", func(q *mfpgate.RegistrationRequest, _ *gateway) { q.Admin = "x@example.com\r\nBcc: y@evil.example" }, approval.BadRequest},
		{"a domain that folds to the right one", func(q *mfpgate.RegistrationRequest, g *gateway) {
			g.policy.AdminDomains = []string{"kyoto.example"}
			q.Admin = "x@\u212Ayoto.example"
		}, approval.BadRequest},
		{"no administrator", func(_ *mfpgate.RegistrationRequest, g *gateway) {
			g.change(func(c *mfpgate.PrintCandidate) { c.Admin = "" })
		}, approval.NoAdmin},
		{"a configured administrator elsewhere", func(_ *mfpgate.RegistrationRequest, g *gateway) {
			g.change(func(c *mfpgate.PrintCandidate) { c.Admin = "it@partner.example" })
		}, approval.AdminDomain},
		{"a configured administrator, and no domains", func(_ *mfpgate.RegistrationRequest, g *gateway) {
			g.policy.AdminDomains = nil
			g.change(func(c *mfpgate.PrintCandidate) { c.Admin = "it@partner.example" })
		}, ""},
		{"another administrator, and no domains", func(q *mfpgate.RegistrationRequest, g *gateway) {
			g.policy.AdminDomains = nil
			q.Admin = "it@partner.example"
		}, approval.AdminDomain},
		{"another region", func(_ *mfpgate.RegistrationRequest, g *gateway) {
			g.change(func(c *mfpgate.PrintCandidate) { c.Market = "us" })
		}, approval.OtherRegion},
		{"a market that nobody knows", func(_ *mfpgate.RegistrationRequest, g *gateway) {
			g.change(func(c *mfpgate.PrintCandidate) { c.Market = "" })
		}, ""},
		{"no UUID", func(_ *mfpgate.RegistrationRequest, g *gateway) {
			g.change(func(c *mfpgate.PrintCandidate) { c.UUID = "0" })
		}, approval.NoDevice},
	} {
		bubble(t, func(t *testing.T, g *gateway) {
			q := ok
			c.change(&q, g)
			g.start()
			_, _, err := g.Request(t.Context(), q, "a", "")
			if c.why == "" && err != nil {
				t.Errorf("%s: %v", c.rule, err)
			} else if c.why != "" {
				refusal(t, c.rule, err, c.why)
			}
		})
	}
}

func (g *gateway) change(fn func(*mfpgate.PrintCandidate)) {
	c := g.devices["d1"]
	fn(&c)
	g.devices["d1"] = c
}

func TestServiceWithoutUsers(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.office.NoUsers = true
		g.start()
		g.ask("d1", user)
		waiting := g.ask("d1", "sato@example.com")
		g.pass(time.Second)
		g.office.Decide(user, true)
		g.pass(20 * time.Second)
		g.want(waiting.ID, mfpgate.RegistrationFailed, approval.NoUserList, 0)
		_, _, err := g.Request(t.Context(), mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: "abe@example.com"}, "a", "")
		refusal(t, "a third user", err, approval.NoUserList)
	})
}

func TestLimits(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.office.Interval = time.Minute
		for n := range 40 {
			g.device(mfpgate.DeviceID(fmt.Sprint("x", n)))
		}
		g.start()
		for n := range approval.MaxRequests {
			g.ask(mfpgate.DeviceID(fmt.Sprint("x", n)), user)
		}
		g.pass(time.Second)
		_, _, err := g.Request(t.Context(), mfpgate.RegistrationRequest{Device: "x9", Service: "office", User: user}, "a", "")
		refusal(t, "the sixth request of an hour", err, approval.TooMany)
		if d := delay(err); d != time.Hour-time.Second {
			t.Errorf("the first of five was a second ago: wait %s, want an hour less that", d)
		}
		for n := 10; n < 20; n++ {
			g.ask(mfpgate.DeviceID(fmt.Sprint("x", n)), fmt.Sprintf("u%d@example.com", n))
		}
		g.pass(time.Minute)
		if n := len(g.mailer.Letters(admin)); n != approval.MaxLetters {
			t.Errorf("%d letters in the first minutes, want %d", n, approval.MaxLetters)
		}
		g.pass(58 * time.Minute)
		if n := len(g.mailer.Letters(admin)); n != approval.MaxLetters {
			t.Errorf("%d letters within the hour, want %d", n, approval.MaxLetters)
		}
		g.pass(2 * time.Minute)
		digests := 0
		for _, l := range g.mailer.Letters(admin) {
			if strings.HasPrefix(l.ID, "digest.") {
				digests++
				if n := strings.Count(l.Text, "Code:"); n < 2 {
					t.Errorf("the digest has %d codes", n)
				}
			}
		}
		if digests != 1 {
			t.Errorf("%d digests", digests)
		}
		if _, _, err := g.Request(t.Context(), mfpgate.RegistrationRequest{Device: "x9", Service: "office", User: user}, "a", ""); err != nil {
			t.Errorf("after the hour: %v", err)
		}
	})
}

// TestAnAccountAsksForMany is an administrator who brings in a fleet.
func TestAnAccountAsksForMany(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.start()
		for n := range 4 * approval.MaxRequests {
			id := mfpgate.DeviceID(fmt.Sprint("x", n))
			g.device(id)
			q := mfpgate.RegistrationRequest{Device: id, Service: "office", User: fmt.Sprintf("u%d@example.com", n), Account: "mori"}
			if _, _, err := g.Request(t.Context(), q, "mori", ""); err != nil {
				t.Fatalf("request %d: %v", n, err)
			}
		}
	})
}

func delay(err error) time.Duration {
	later, _ := errors.AsType[interface {
		error
		Delay() time.Duration
	}](err)
	if later == nil {
		return 0
	}
	return later.Delay()
}

func TestResend(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.office.Lifetime = time.Hour
		g.start()
		r := g.ask("d1", user)
		err := g.Resend(t.Context(), r.ID, "a")
		refusal(t, "at once", err, approval.TooMany)
		if d := delay(err); d <= 0 || d > approval.ResendPause {
			t.Errorf("at once: wait %s", d)
		}
		for range approval.MaxResends {
			g.pass(approval.ResendPause)
			if err := g.Resend(t.Context(), r.ID, "a"); err != nil {
				t.Error(err)
			}
			g.pass(time.Second)
		}
		g.pass(approval.ResendPause)
		refusal(t, "once too often", g.Resend(t.Context(), r.ID, "a"), approval.TooMany)
		ids := map[string]bool{}
		for _, l := range g.mailer.Letters(admin) {
			ids[l.ID] = true
		}
		if len(ids) != 1+approval.MaxResends || len(g.mailer.Letters(admin)) != len(ids) {
			t.Errorf("letters %v", ids)
		}
		if err := g.Cancel(t.Context(), r.ID, "a"); err != nil {
			t.Error(err)
		}
		g.want(r.ID, mfpgate.RegistrationCancelled, "", 1)
		refusal(t, "after the end", g.Resend(t.Context(), r.ID, "a"), approval.NotNow)
		if err := g.Cancel(t.Context(), "reg_none", "a"); !errors.Is(err, approval.ErrNotFound) {
			t.Error(err)
		}
		g.leftovers("cancelled")
		g.pass(approval.KeepEnded + 2*time.Hour)
		if list, err := g.List(t.Context()); err != nil || len(list) != 0 {
			t.Errorf("kept for ever: %v, %v", list, err)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.start()
		q := mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user}
		a, created, err := g.Request(t.Context(), q, "a", "k1")
		if err != nil || !created {
			t.Fatal(created, err)
		}
		if err := g.Cancel(t.Context(), a.ID, "a"); err != nil {
			t.Fatal(err)
		}
		b, created, err := g.Request(t.Context(), q, "a", "k1")
		if err != nil || created || b.ID != a.ID {
			t.Errorf("again: %s, %v, %v", b.ID, created, err)
		}
		q.User = "sato@example.com"
		if _, _, err := g.Request(t.Context(), q, "a", "k1"); !errors.Is(err, journal.ErrDiffers) {
			t.Errorf("another request: %v", err)
		}
	})
}

func TestAgent(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.change(func(c *mfpgate.PrintCandidate) { c.Mode = mfpgate.RegistrationAgent })
		g.start()
		a, b := g.ask("d1", user), g.ask("d1", "sato@example.com")
		list, err := g.ForDevice(t.Context(), "d1")
		if err != nil || len(list) != 1 || list[0].ID != a.ID || list[0].Admin != admin || list[0].State != mfpgate.RegistrationAwaitingDevice {
			t.Fatalf("%+v, %v", list, err)
		}
		if err := g.Report(t.Context(), "other", a.ID, approval.Result{State: mfpgate.RegistrationFailed}); !errors.Is(err, approval.ErrNotFound) {
			t.Errorf("of another device: %v", err)
		}
		refusal(t, "no printer", g.Report(t.Context(), "d1", a.ID, approval.Result{State: mfpgate.RegistrationRegistered}), approval.BadRequest)
		if err := g.Report(t.Context(), "d1", a.ID, approval.Result{State: mfpgate.RegistrationAwaitingAdmin, Reason: "mailed"}); err != nil {
			t.Error(err)
		}
		g.want(a.ID, mfpgate.RegistrationAwaitingDevice, "mailed", 0)
		done := approval.Result{State: mfpgate.RegistrationRegistered, PrinterID: "p1", PrinterURI: "ipps://print.example/p1", Reason: approval.UserUnconfirmed}
		for range 2 {
			if err := g.Report(t.Context(), "d1", a.ID, done); err != nil {
				t.Error(err)
			}
		}
		g.pass(time.Second)
		g.want(a.ID, mfpgate.RegistrationRegistered, approval.UserUnconfirmed, 0)
		list, err = g.ForDevice(t.Context(), "d1")
		if err != nil || len(list) != 1 || list[0].ID != b.ID || list[0].Purpose != mfpgate.PurposeAllowUser || list[0].PrinterID != "p1" {
			t.Fatalf("%+v, %v", list, err)
		}
		if err := g.Report(t.Context(), "d1", b.ID, approval.Result{State: mfpgate.RegistrationFailed, Reason: "denied", Detail: "no"}); err != nil {
			t.Error(err)
		}
		g.want(b.ID, mfpgate.RegistrationFailed, "denied", 0)
		refusal(t, "after the end", g.Report(t.Context(), "d1", b.ID, approval.Result{State: mfpgate.RegistrationFailed}), approval.NotNow)
		if n := len(g.mailer.Letters(admin)); n != 0 {
			t.Errorf("the gateway mailed the administrator %d times", n)
		}
		g.pass(time.Second)
		g.leftovers("agent")
	})
}

// TestAQuietRequestEndsWithoutALetterToTheUser is that of a device which asks for its gateway: the gateway tells the user.
func TestAQuietRequestEndsWithoutALetterToTheUser(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.start()
		r, _, err := g.Request(t.Context(), mfpgate.RegistrationRequest{Device: "d1", Service: "office", User: user, Quiet: true}, "gateway", "")
		if err != nil {
			t.Fatal(err)
		}
		g.pass(time.Second)
		g.office.Decide(user, false)
		g.pass(time.Minute)
		g.want(r.ID, mfpgate.RegistrationFailed, approval.Denied, 1)
		if asked, told := len(g.mailer.Letters(admin)), len(g.mailer.Letters(user)); asked != 1 || told != 0 {
			t.Errorf("%d letters to the administrator and %d to the user, want 1 and none", asked, told)
		}
	})
}
