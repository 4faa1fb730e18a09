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

func TestRegistered(t *testing.T) {
	for _, key := range []mfpgate.PrintKey{mfpgate.PrintKeyP256, mfpgate.PrintKeyRSA, mfpgate.PrintKeyNone} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.office.Key, g.office.Slow = key, 2
			g.start()
			r := g.ask("d1", user)
			g.pass(time.Second)
			now := g.want(r.ID, mfpgate.RegistrationAwaitingAdmin, "", 1)
			if now.UserCode.Reveal() != "BCDF-0001" || now.VerificationURI == "" || now.Mails != 1 || now.Attempts != 4 {
				t.Errorf("%+v, code %s", now, now.UserCode.Reveal())
			}
			letters := g.mailer.Letters(admin)
			if len(letters) != 1 {
				t.Fatalf("%d letters to the administrator", len(letters))
			}
			for _, text := range []string{"BCDF-0001", "https://print.example/device", "SN1", "Osaka 2F", "10.1.0.9", user, "10.0.0.7", "UTC", "15"} {
				if !strings.Contains(letters[0].Text, text) {
					t.Errorf("the letter does not say %q:\n%s", text, letters[0].Text)
				}
			}
			g.office.Decide(user, true)
			g.pass(20 * time.Second)
			end := g.want(r.ID, mfpgate.RegistrationRegistered, "", 1)
			if end.PrinterID != "printer-1" || (end.Certificate == "") != (key == mfpgate.PrintKeyNone) || end.UserCode != "" {
				t.Errorf("%+v", end)
			}
			if l := g.mailer.Letters(user); len(l) != 1 || !strings.Contains(l[0].Text, "approved") {
				t.Errorf("letters to the user: %+v", l)
			}
			if p := g.office.Printers(); len(p) != 1 || p[0].Entered != 1 {
				t.Errorf("printers: %+v", p)
			}
		})
	}
}

func TestEveryCodeExpires(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.start()
		r := g.ask("d1", user)
		for n := 1; n <= 4; n++ {
			g.pass(time.Minute)
			g.want(r.ID, mfpgate.RegistrationAwaitingAdmin, "", n)
			g.pass(14*time.Minute + 10*time.Second)
		}
		g.want(r.ID, mfpgate.RegistrationFailed, approval.Exhausted, 4)
		if n, codes := len(g.mailer.Letters(admin)), g.office.Codes(); n != 4 || len(codes) != 4 {
			t.Errorf("%d letters, %d codes", n, len(codes))
		}
		if l := g.mailer.Letters(user); len(l) != 1 || !strings.Contains(l[0].Text, "came to nothing") {
			t.Errorf("letters to the user: %+v", l)
		}
	})
}

func TestDenied(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.start()
		r := g.ask("d1", user)
		g.pass(time.Second)
		g.office.Decide(user, false)
		g.pass(11 * time.Second)
		g.want(r.ID, mfpgate.RegistrationFailed, approval.Denied, 1)
		again, err := g.Retry(t.Context(), r.ID, "root")
		if err != nil || again.ID == r.ID {
			t.Fatal(again, err)
		}
		g.pass(time.Second)
		g.office.Decide(user, true)
		g.pass(15 * time.Second)
		g.want(again.ID, mfpgate.RegistrationRegistered, "", 1)
	})
}

func TestMailServerAwayForAnHour(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.mailer.Fail(errors.New("connection refused"))
		g.start()
		r := g.ask("d1", user)
		g.pass(time.Hour)
		if now := g.get(r.ID); now.State.Ended() || now.Attempt > 1 || now.Mails != 0 {
			t.Errorf("%+v", now)
		}
		codes := len(g.office.Codes())
		if codes < 2 || codes > 4 {
			t.Errorf("%d codes in an hour that nobody saw", codes)
		}
		g.mailer.Fail(nil)
		g.pass(15 * time.Minute)
		if len(g.mailer.Letters(admin)) == 0 {
			t.Fatal("no letter after the mail server came back")
		}
		for !g.office.Decide(user, true) {
			g.pass(time.Minute)
		}
		g.pass(time.Minute)
		g.want(r.ID, mfpgate.RegistrationRegistered, "", g.get(r.ID).Attempt)
	})
}

func TestTwoUsersOneDevice(t *testing.T) {
	for _, first := range []bool{true, false} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.start()
			a, b := g.ask("d1", user), g.ask("d1", "sato@example.com")
			if same := g.ask("d1", user); same.ID != a.ID {
				t.Error("the same request was opened twice")
			}
			g.want(b.ID, mfpgate.RegistrationRequested, approval.DeviceBusy, 0)
			g.pass(time.Second)
			g.office.Decide(user, first)
			g.pass(20 * time.Second)
			g.office.Decide("sato@example.com", true)
			g.pass(20 * time.Second)
			end := g.want(b.ID, mfpgate.RegistrationRegistered, "", 1)
			want := mfpgate.PurposeRegister
			if first {
				want = mfpgate.PurposeAllowUser
			}
			p := g.office.Printers()
			if end.Purpose != want || len(p) != 1 || p[0].Entered != 1 || first != (len(p[0].Users) == 2) {
				t.Errorf("%s, printers %+v", end.Purpose, p)
			}
		})
	}
}

func TestPrinterThatIsGoneIsRegisteredAnew(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.start()
		g.ask("d1", user)
		g.pass(time.Second)
		g.office.Decide(user, true)
		g.pass(20 * time.Second)
		b := g.ask("d1", "sato@example.com")
		g.pass(time.Second)
		g.office.Forget() // after the code was given
		g.office.Decide("sato@example.com", true)
		g.pass(20 * time.Second)
		g.want(b.ID, mfpgate.RegistrationAwaitingAdmin, "", 1)
		g.office.Decide("sato@example.com", true)
		g.pass(20 * time.Second)
		if end := g.want(b.ID, mfpgate.RegistrationRegistered, "", 1); end.Purpose != mfpgate.PurposeRegister {
			t.Errorf("%+v", end)
		}
	})
}

func TestPushIsFasterThanThePoll(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.office.Pushes, g.office.Interval, g.office.Lifetime = true, time.Minute, time.Hour
		g.start()
		r := g.ask("d1", user)
		g.pass(10 * time.Second)
		g.office.Decide(user, true)
		g.pass(time.Second)
		g.want(r.ID, mfpgate.RegistrationRegistered, "", 1)
	})
}

func TestServiceThatAsksNobody(t *testing.T) {
	for _, approve := range []bool{true, false} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.office.Before = func(c approvaltest.Call, _ string) error {
				if c == approvaltest.RequestCode {
					return mfpgate.ErrNobodyAsked
				}
				return nil
			}
			g.start()
			r := g.ask("d1", user)
			g.pass(time.Second)
			if now := g.want(r.ID, mfpgate.RegistrationAwaitingAdmin, "", 1); !now.Local {
				t.Error("not decided here")
			}
			if l := g.mailer.Letters(admin); len(l) != 1 || !strings.Contains(l[0].Text, "https://gateway.example:8443/registrations/"+r.ID) {
				t.Errorf("letters: %+v", l)
			}
			if err := g.Decide(t.Context(), r.ID, "root", approve); err != nil {
				t.Fatal(err)
			}
			g.pass(time.Second)
			if approve {
				g.want(r.ID, mfpgate.RegistrationRegistered, "", 1)
			} else {
				g.want(r.ID, mfpgate.RegistrationFailed, approval.Denied, 1)
			}
			if err := g.Decide(t.Context(), r.ID, "root", true); err == nil {
				t.Error("decided twice")
			}
		})
	}
}

func TestWhatBecameOfTheUser(t *testing.T) {
	for _, c := range []struct {
		became  mfpgate.PrintUser
		why     mfpgate.Reason
		says    string
		allowed mfpgate.RegistrationState // of one who asks for himself alone
	}{
		{mfpgate.PrintUserAllowed, "", "you can print", mfpgate.RegistrationRegistered},
		{mfpgate.PrintUserUnknown, "", "you can print", mfpgate.RegistrationRegistered},
		{mfpgate.PrintUserUnconfirmed, approval.UserUnconfirmed, "Open the link in that letter", mfpgate.RegistrationRegistered},
		{mfpgate.PrintUserNotAllowed, approval.UserNotAllowed, "Ask the administrator", mfpgate.RegistrationFailed},
	} {
		bubble(t, func(t *testing.T, g *gateway) {
			g.office.Becomes = c.became
			g.start()
			done := func(who string) mfpgate.Registration {
				r := g.ask("d1", who)
				g.pass(time.Second)
				g.office.Decide(who, true)
				g.pass(20 * time.Second)
				return g.get(r.ID)
			}
			first, second := done(user), done("sato@example.com")
			for _, r := range []mfpgate.Registration{first, second} {
				want := mfpgate.RegistrationRegistered
				if r.Purpose == mfpgate.PurposeAllowUser {
					want = c.allowed
				}
				letters := g.mailer.Letters(r.User)
				if r.State != want || r.Reason != c.why || (r.Detail == "") != (c.why == "") || len(letters) != 1 || !strings.Contains(letters[0].Text, c.says) {
					t.Errorf("%q, %s: %s, %q (%s), letters %+v", c.became, r.Purpose, r.State, r.Reason, r.Detail, letters)
				}
				if can := strings.HasPrefix(letters[0].Subject, "You can print"); can != (c.why == "") {
					t.Errorf("%q, %s: the letter is %q", c.became, r.Purpose, letters[0].Subject)
				}
			}
			if first.PrinterID == "" || second.Purpose != mfpgate.PurposeAllowUser {
				t.Errorf("%q: the device is not registered: %+v", c.became, first)
			}
		})
	}
}
