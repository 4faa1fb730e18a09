package print_test

import (
	"context"
	"net/http"
	"net/http/httptest"
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

// timed is a connection of which the deadlines are seen.
type timed struct {
	*httptest.ResponseRecorder
	read, write time.Time
	until       time.Duration // that was left for the last write
	wrote       func()
}

func (w *timed) Write(p []byte) (int, error) {
	w.until = time.Until(w.write)
	if w.wrote != nil {
		w.wrote()
	}
	return w.ResponseRecorder.Write(p)
}

func (w *timed) SetReadDeadline(t time.Time) error  { w.read = t; return nil }
func (w *timed) SetWriteDeadline(t time.Time) error { w.write = t; return nil }

// TestNobodyHoldsAConnection has bodies that do not come, and a stream that nobody reads.
func TestNobodyHoldsAConnection(t *testing.T) {
	d := newDesk(t)
	for _, path := range []string{"/oauth/device_authorization", "/oauth/token", "/print/v1/printers", "/print/v1/printers/prn_1/users", "/ipp/system", "/device",
		"/device/decision", "/print/printers/prn_1/unregister", "/print/confirm/x"} {
		w := &timed{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil)
		r.RemoteAddr = d.from
		d.mux.ServeHTTP(w, r)
		if w.read.Sub(noon) <= 0 || w.read.Sub(noon) > time.Minute || w.Code == http.StatusNotFound && strings.Contains(w.Body.String(), "page not found") {
			t.Errorf("%s: %d, to be read until %v", path, w.Code, w.read)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &timed{ResponseRecorder: httptest.NewRecorder(), wrote: cancel}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/oauth/device_events", nil)
	r.Header.Set("Authorization", "Bearer "+d.code().DeviceCode)
	d.mux.ServeHTTP(w, r)
	if w.until <= 0 || w.until > time.Minute {
		t.Errorf("an event may be written for %v (%d %s)", w.until, w.Code, w.Body)
	}
}
