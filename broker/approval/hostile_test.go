package approval_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
)

// TestWhatServicesDo has bugs of services seen in the field, each a rule of ours.
func TestWhatServicesDo(t *testing.T) {
	page := func(text string) func(*gateway) {
		return func(g *gateway) { g.office.Page = text }
	}
	redeem := func(answer func(n int) error) func(*gateway) {
		return func(g *gateway) {
			n := 0
			g.office.Before = func(c approvaltest.Call, _ string) error {
				if c != approvaltest.Redeem {
					return nil
				}
				n++
				return answer(n)
			}
		}
	}
	always := func(err error) func(*gateway) { return redeem(func(int) error { return err }) }
	alter := func(fn func(*mfpgate.Code)) func(*gateway) {
		return func(g *gateway) { g.office.AlterCode = func(_ int, c *mfpgate.Code) { fn(c) } }
	}
	for _, c := range []struct {
		rule    string
		script  func(*gateway)
		approve bool
		after   time.Duration
		state   mfpgate.RegistrationState
		why     mfpgate.Reason
		attempt int
		letters int
	}{
		{"an expired code answers pending for ever", always(mfpgate.ErrPending), false, 62 * time.Minute, mfpgate.RegistrationFailed, approval.Exhausted, 4, 4},
		{"slow_down for ever", always(mfpgate.ErrSlowDown), false, 90 * time.Minute, mfpgate.RegistrationFailed, approval.Exhausted, 4, 4},
		{"502 for ever", always(errors.New("502 Bad Gateway: <html>")), false, 25 * time.Hour, mfpgate.RegistrationFailed, approval.Timeout, 1, 1},
		{"some 502s cost no attempt", redeem(func(n int) error {
			if n < 6 {
				return errors.New("502 Bad Gateway")
			}
			return nil
		}), true, 5 * time.Minute, mfpgate.RegistrationRegistered, "", 1, 1},
		{"an expired code is not known any more", func(g *gateway) {
			redeem(func(int) error {
				if time.Since(g.office.Codes()[len(g.office.Codes())-1].Issued) >= 15*time.Minute {
					return mfpgate.ErrInvalidGrant
				}
				return nil
			})(g)
		}, false, 62 * time.Minute, mfpgate.RegistrationFailed, approval.Exhausted, 4, 4},
		{"grants are lost for ever", always(mfpgate.ErrInvalidGrant), false, 10 * time.Minute, mfpgate.RegistrationFailed, approval.LostGrant, 1, 4},
		{"every code has expired at once", always(mfpgate.ErrCodeExpired), false, 10 * time.Minute, mfpgate.RegistrationFailed, approval.Exhausted, 4, 4},
		{"the client is not known", always(mfpgate.ErrRefused), false, time.Minute, mfpgate.RegistrationFailed, approval.RefusedBy, 1, 1},
		{"no interval is five seconds", alter(func(c *mfpgate.Code) { c.Interval = 0 }), true, 20 * time.Second, mfpgate.RegistrationRegistered, "", 1, 1},
		{"a negative interval and lifetime", alter(func(c *mfpgate.Code) { c.Interval, c.Lifetime = -1, -1 }), true, 20 * time.Second, mfpgate.RegistrationRegistered, "", 1, 1},
		{"a lifetime of a century", alter(func(c *mfpgate.Code) { c.Lifetime = 1<<63 - 1 }), true, 20 * time.Second, mfpgate.RegistrationRegistered, "", 1, 1},
		{"another host", page("https://evil.example/device"), false, time.Minute, mfpgate.RegistrationFailed, approval.HostChanged, 0, 0},
		{"a host behind a user", page("https://print.example@evil.example/device"), false, 5 * time.Minute, mfpgate.RegistrationFailed, approval.BadAnswer, 0, 0},
		{"no TLS", page("http://print.example/device"), false, time.Minute, mfpgate.RegistrationFailed, approval.HostChanged, 0, 0},
		{"a page that is a line more", page("https://print.example/\r\nBcc: x@evil.example"), false, 5 * time.Minute, mfpgate.RegistrationFailed, approval.BadAnswer, 0, 0},
		{"a script for a page", page("javascript:alert(1)"), false, 5 * time.Minute, mfpgate.RegistrationFailed, approval.BadAnswer, 0, 0},
		{"a code with a line break", alter(func(c *mfpgate.Code) { c.UserCode = "AB\r\nCD" }), false, 5 * time.Minute, mfpgate.RegistrationFailed, approval.BadAnswer, 0, 0},
		{"a code of a megabyte", alter(func(c *mfpgate.Code) { c.UserCode = mfpgate.Secret(strings.Repeat("A", 1<<20)) }), false, 5 * time.Minute, mfpgate.RegistrationFailed, approval.BadAnswer, 0, 0},
		{"a certificate for another key", func(g *gateway) {
			g.office.AlterPrinter = func(p *mfpgate.Printer) { p.Certificate = otherCertificate(t) }
		}, true, 20 * time.Second, mfpgate.RegistrationFailed, approval.BadCertificate, 1, 1},
		{"no certificate", func(g *gateway) { g.office.AlterPrinter = func(p *mfpgate.Printer) { p.Certificate = nil } }, true, 20 * time.Second,
			mfpgate.RegistrationFailed, approval.BadCertificate, 1, 1},
		{"a printer without an id", func(g *gateway) { g.office.AlterPrinter = func(p *mfpgate.Printer) { p.ID = "" } }, true, 20 * time.Second,
			mfpgate.RegistrationFailed, approval.BadAnswer, 1, 1},
		{"an operation that never ends", func(g *gateway) { g.office.Slow = 1 << 30 }, true, 25 * time.Hour, mfpgate.RegistrationFailed, approval.Timeout, 1, 1},
		{"slow_down to who is early", func(g *gateway) { g.office.Least = 12 * time.Second }, true, 40 * time.Second, mfpgate.RegistrationRegistered, "", 1, 1},
	} {
		t.Run(c.rule, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				c.script(g)
				g.start()
				r := g.ask("d1", user)
				g.pass(time.Second)
				if c.approve {
					g.office.Decide(user, true)
				}
				g.pass(c.after)
				end := g.want(r.ID, c.state, c.why, c.attempt)
				if n := len(g.mailer.Letters(admin)); n != c.letters {
					t.Errorf("%d letters, want %d", n, c.letters)
				}
				if end.State == mfpgate.RegistrationFailed && (end.Detail == "" || strings.ContainsAny(end.Detail, "\r\n")) {
					t.Errorf("the detail is %q", end.Detail)
				}
				if p := g.office.Printers(); len(p) > 1 {
					t.Errorf("printers: %+v", p)
				}
				g.leftovers(c.rule)
			})
		})
	}
}

func otherCertificate(t *testing.T) []byte {
	t.Helper()
	der, err := selfSigned()
	if err != nil {
		t.Error(err)
	}
	return der
}

// TestClockIsSet moves the wall clock while a code lives.
func TestClockIsSet(t *testing.T) {
	for _, step := range []time.Duration{-24 * time.Hour, -time.Minute, time.Minute, 12 * time.Hour, 24*time.Hour + time.Minute} {
		t.Run(step.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				g.policy.Deadline = 48 * time.Hour
				g.start()
				r := g.ask("d1", user)
				g.pass(20 * time.Second)
				g.clock.step(step)
				g.pass(2 * time.Minute)
				now := g.get(r.ID)
				if now.State != mfpgate.RegistrationAwaitingAdmin || now.Attempt > 2 || step <= time.Minute && now.Attempt != 1 {
					t.Errorf("after the step: %s, attempt %d, reason %s", now.State, now.Attempt, now.Reason)
				}
				g.office.Decide(user, true)
				g.pass(time.Minute)
				g.want(r.ID, mfpgate.RegistrationRegistered, "", now.Attempt)
			})
			bubble(t, func(t *testing.T, g *gateway) { // and nobody decides: it ends all the same
				g.start()
				r := g.ask("d1", user)
				g.pass(20 * time.Second)
				g.clock.step(step)
				g.pass(5 * 17 * time.Minute)
				if now := g.get(r.ID); !now.State.Ended() || now.Attempt > now.Attempts || len(g.office.Codes()) > 5 {
					t.Errorf("%s, attempt %d of %d, %d codes", now.State, now.Attempt, now.Attempts, len(g.office.Codes()))
				}
				g.leftovers(step.String())
			})
		})
	}
}
