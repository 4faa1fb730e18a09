package mail_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/mail"
	"github.com/mfpgate/mfpgate/tests/mailbox"
)

func open(t *testing.T, box *mailbox.Box, change func(*mail.Options)) *mail.Sender {
	t.Helper()
	o := mail.Options{Server: box.Address, From: "mfpgate@example.jp", RootCAs: box.Roots}
	if change != nil {
		change(&o)
	}
	s, err := mail.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func letter() mfpgate.Letter {
	return mfpgate.Letter{ID: "reg_01.1", To: "it@example.jp", Subject: "登録の承認: 2F copier", Date: time.Date(2026, 3, 3, 5, 32, 10, 0, time.UTC),
		Text: "A line of Latin and of 日本語.\n.\nA line that is " + strings.Repeat("very ", 300) + "long.\n"}
}

func TestALetterArrives(t *testing.T) {
	box := mailbox.Start(t)
	s := open(t, box, nil)
	for range 2 {
		if err := s.Send(t.Context(), letter()); err != nil {
			t.Fatal(err)
		}
	}
	got := box.Await(t, 2)
	if got[0].ID != "reg_01.1@example.jp" || got[1].ID != got[0].ID {
		t.Errorf("Message-IDs %q and %q, want the letter's own both times", got[0].ID, got[1].ID)
	}
	want := letter()
	if diff := cmp.Diff([]string{want.To, want.Subject, want.Text}, []string{got[0].To, got[0].Subject, strings.TrimSuffix(got[0].Text, "\n") + "\n"}); diff != "" {
		t.Errorf("the letter is not as it was sent:\n%s", diff)
	}
	if at, err := got[0].Header.Date(); err != nil || !at.Equal(want.Date) {
		t.Errorf("dated %v (%v), want %v", at, err, want.Date)
	}
	if auto := got[0].Header.Get("Auto-Submitted"); auto != "auto-generated" {
		t.Errorf("Auto-Submitted: %q", auto)
	}
}

func TestWhatIsRefusedForGood(t *testing.T) {
	box := mailbox.Start(t)
	s := open(t, box, nil)
	for name, change := range map[string]func(*mfpgate.Letter){
		"a second recipient":           func(l *mfpgate.Letter) { l.To = "it@example.jp, evil@example.org" },
		"a header in the address":      func(l *mfpgate.Letter) { l.To = "it@example.jp\r\nBcc: evil@example.org" },
		"a name beside the address":    func(l *mfpgate.Letter) { l.To = "Evil <it@example.jp>" },
		"no address":                   func(l *mfpgate.Letter) { l.To = "" },
		"a header in the subject":      func(l *mfpgate.Letter) { l.Subject = "hello\r\nBcc: evil@example.org" },
		"a bare line feed":             func(l *mfpgate.Letter) { l.Subject = "hello\nBcc: evil@example.org" },
		"a header in the id":           func(l *mfpgate.Letter) { l.ID = "a>\r\nBcc: evil@example.org" },
		"a text longer than MaxText":   func(l *mfpgate.Letter) { l.Text = strings.Repeat("x", mail.MaxText+1) },
		"a subject that is not UTF-8":  func(l *mfpgate.Letter) { l.Subject = "\xff" },
		"an address with a line break": func(l *mfpgate.Letter) { l.To = "\"it\r\n\"@example.jp" },
	} {
		l := letter()
		change(&l)
		if err := s.Send(t.Context(), l); !errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%s: %v, want ErrRefused", name, err)
		}
	}
	box.Refuse(550)
	if err := s.Send(t.Context(), letter()); !errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("the server says 550: %v, want ErrRefused", err)
	}
	if n := len(box.Letters()); n != 0 || box.Tries() != 1 {
		t.Errorf("%d letters came by %d tries, want none by 1", n, box.Tries())
	}
}

func TestWhatIsWorthAnotherTry(t *testing.T) {
	box := mailbox.Start(t)
	box.Account = mailbox.Account{User: "mfp", Password: "right"}
	good := func(o *mail.Options) { o.User, o.Password = "mfp", "right" }
	for name, c := range map[string]struct {
		before func()
		change func(*mail.Options)
	}{
		"a certificate that nobody trusts": {func() {}, func(o *mail.Options) { good(o); o.RootCAs = x509.NewCertPool() }},
		"a wrong password":                 {func() {}, func(o *mail.Options) { good(o); o.Password = "wrong" }},
		"TLS that the server has not":      {func() {}, func(o *mail.Options) { good(o); o.TLS = mail.Implicit }},
		"451":                              {func() { box.Refuse(451) }, good},
	} {
		c.before()
		err := open(t, box, c.change).Send(t.Context(), letter())
		if err == nil || errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%s: %v, want an error that is worth another try", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
		box.Refuse(0)
	}
	box.Down()
	if err := open(t, box, good).Send(t.Context(), letter()); err == nil || errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("nobody there: %v", err)
	}
	box.Up(t)
	if err := open(t, box, good).Send(t.Context(), letter()); err != nil {
		t.Errorf("all is well: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t, box, good).Send(ended, letter()); err == nil || errors.Is(err, mfpgate.ErrRefused) {
		t.Errorf("an ended context: %v", err)
	}
	if n := len(box.Letters()); n != 1 {
		t.Errorf("%d letters came, want 1", n)
	}
}

func TestWithoutTLS(t *testing.T) {
	box := mailbox.Start(t)
	box.Account = mailbox.Account{User: "mfp", Password: "right"}
	s := open(t, box, func(o *mail.Options) { o.TLS, o.User, o.Password = mail.None, "mfp", "right" })
	if err := s.Send(t.Context(), letter()); err != nil {
		t.Error(err)
	}
	if _, err := mail.Open(mail.Options{Server: "192.0.2.1:25", From: "a@example.jp", TLS: mail.None}); !errors.Is(err, mail.ErrPlain) {
		t.Errorf("a server elsewhere without TLS: %v, want ErrPlain", err)
	}
}

// TestASubjectIsNotDecoded has subjects that are written as though they were encoded (RFC 2047).
func TestASubjectIsNotDecoded(t *testing.T) {
	box := mailbox.Start(t)
	s := open(t, box, nil)
	for n, c := range []struct{ subject, want string }{
		{"=?utf-8?q?copier=0D=0ABcc:_x@evil.example?=", "= ?utf-8?q?copier=0D=0ABcc:_x@evil.example?="},
		{"複 =?utf-8?b?4oCu?= 合", "複 = ?utf-8?b?4oCu?= 合"},
		{"==?utf-8?q?=41?=", "== ?utf-8?q?=41?="},
	} {
		l := letter()
		l.Subject = c.subject
		if err := s.Send(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if got := box.Await(t, n+1)[n].Subject; got != c.want {
			t.Errorf("%q comes as %q, want %q", c.subject, got, c.want)
		}
	}
}
