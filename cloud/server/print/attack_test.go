package print_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mfpgate/mfpgate/cloud/server/print"
)

// TestCodesThatNobodyDecidedAreSoonForgotten: who asks and asks must not fill the table with what is over, and keep all others out.
func TestCodesThatNobodyDecidedAreSoonForgotten(t *testing.T) {
	d := newDesk(t)
	d.run()
	decided := d.code()
	if got := d.decide(admin, decided, "deny"); got.status != 200 {
		t.Fatal(got.body)
	}
	for range 20 {
		d.code()
	}
	d.fake.Advance(print.DefaultLifetime + time.Minute)
	if n := d.count("code/"); n != 21 { // a late poll is still told what is the matter
		t.Errorf("%d codes a minute after their end, want 21", n)
	}
	d.fake.Advance(15 * time.Minute)
	d.await("what nobody decided to be forgotten", func() bool { return d.count("code/") == 1 && d.count("from/") == 1 && d.count("user-code/") == 1 })
	if word, _ := d.poll(decided, verifier); word != "access_denied" {
		t.Errorf("what was decided: %q", word)
	}
	d.fake.Advance(24 * time.Hour)
	d.await("what was decided to be forgotten, too", func() bool { return d.count("code/")+d.count("journal/intent/") == 0 })
}

// TestASubjectIsOneLine has names with wide spaces, as they are usual in Japanese, and with what no header may hold.
func TestASubjectIsOneLine(t *testing.T) {
	for name, want := range map[string]string{
		"受付\u3000複合機":                      "受付 複合機",
		"copier\u00a02F":                   "copier 2F",
		"a\r\nBcc: all@evil.example":       "a Bcc: all@evil.example",
		"a\u2028b\u2029c\u0085d\ue000e\tf": "a b c d e f",
		"\u202eecila":                      "ecila",
	} {
		d := newDesk(t)
		d.run()
		c := d.code("device_name", name)
		if got := d.decide(admin, c, "approve", hana); got.status != 200 {
			t.Fatal(got.body)
		}
		der, _ := csr(t)
		d.register(d.redeemed(c), "k", der)
		d.await("the letter", func() bool { return len(d.mail.list()) == 1 })
		l := d.mail.list()[0]
		if !strings.HasSuffix(l.Subject, ": you may print on "+want) || strings.ContainsFunc(l.Subject, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: subject %q", name, l.Subject)
		}
		if strings.Contains(l.Text, "\nBcc") || strings.ContainsAny(l.Text, "\r\u2028\u202e") {
			t.Errorf("%q: text %q", name, l.Text)
		}
	}
}
