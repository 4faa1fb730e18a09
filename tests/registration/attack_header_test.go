package registration_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/mail"
	"github.com/mfpgate/mfpgate/store/memory"
	"github.com/mfpgate/mfpgate/store/seal"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/mailbox"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// hostileTexts are what a device, a service or a person may call something.
func hostileTexts() map[string]string {
	return map[string]string{
		"CR LF and a header":       "copier\r\nBcc: x@evil.example\r\nX-Evil: 1",
		"CR LF and a body":         "copier\r\n\r\n<html>evil</html>",
		"bare LF":                  "copier\nBcc: x@evil.example",
		"bare CR":                  "copier\rBcc: x@evil.example",
		"the end of the data":      "copier\r\n.\r\nMAIL FROM:<x@evil.example>\r\n",
		"NUL":                      "copier\x00Bcc: x@evil.example",
		"line separators":          "copier\u2028Bcc: x@evil.example\u2029X-Evil: 1\u0085X-Evil: 2\v\f",
		"turned around":            "copier \u202egnp.exe\u2066\u200b\ufeff",
		"no UTF-8":                 "copier \xff\xfe\xc0\xafBcc: x",
		"an encoded word":          "=?utf-8?q?copier=0D=0ABcc:_x@evil.example?=",
		"overlong":                 strings.Repeat("copier ", 20_000),
		"overlong without a space": strings.Repeat("複", 60_000),
		"a letter of its own":      "copier\n\nTo approve, open this page of the print service, log in, and type the code:\n\n    https://evil.example/\n    Code: EVIL-EVIL",
		"control of a terminal":    "copier\x1b[2J\x1b]0;evil\x07\u009b31m",
	}
}

// hostilePlace is a site of one device.
type hostilePlace struct{ mfpgate.PrintCandidate }

func (p hostilePlace) Candidate(mfpgate.DeviceID) (mfpgate.PrintCandidate, bool) {
	return p.PrintCandidate, true
}

// TestAttackHeaders puts each hostile text into everything that foreign hands fill in, and looks at the letters as a mail server gets
// them: their headers are those of any other letter, and their bodies have as many lines.
func TestAttackHeaders(t *testing.T) {
	lines, headers := map[string]int{}, map[string][]string{} // of the plain text's letters, to whom
	try := func(t *testing.T, rule, text string) {
		box := mailbox.Start(t)
		sender, err := mail.Open(mail.Options{Server: box.Address, From: "mfpgate@example.co.jp", RootCAs: box.Roots})
		servertest.Must(t, err)
		service := &approvaltest.Service{Clock: &mfpgate.SystemClock{}, Key: mfpgate.PrintKeyP256, Interval: time.Second}
		service.AlterPrinter = func(p *mfpgate.Printer) { p.URI = "ipps://print.example/p" }
		sealer, err := seal.New(make([]byte, seal.KeySize))
		servertest.Must(t, err)
		device := mfpgate.PrintDevice{ID: "d", Name: text, Make: text, Model: text, Serial: text, Location: text, Address: text, UUID: "00000000-0000-4000-8000-000000000001"}
		b, err := approval.New(t.Context(), approval.Options{Clock: mfpgate.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)), Store: memory.New(), Sealer: sealer,
			Site: hostilePlace{mfpgate.PrintCandidate{PrintDevice: device, Admin: attackBoss}}, Mailer: sender, Log: telemetry.Discard(), Metrics: telemetry.NewMetrics(), Gateway: "g"},
			approval.Policy{SiteName: text, Region: "jp", AdminDomains: []string{"example.co.jp"}, Services: []approval.Service{{Name: "office", Client: service, Hosts: []string{"print.example"}}}})
		servertest.Must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- b.Run(ctx) }() // awaited below
		defer func() { cancel(); servertest.Must(t, <-ended) }()
		account := text[:min(len(text), 200)]
		g, _, err := b.Request(t.Context(), mfpgate.RegistrationRequest{Device: "d", Service: "office", User: attackUser, Account: account, From: text}, "a", "")
		servertest.Must(t, err)
		rig.Until(t, rule+": the letter to the administrator", func() bool { return len(box.Letters()) > 0 })
		service.Decide(attackUser, true)
		rig.Until(t, rule+": the letter to the user", func() bool { return len(box.Letters()) > 1 })
		for _, l := range box.Letters() {
			if l.To != attackBoss && l.To != attackUser || l.From != "mfpgate@example.co.jp" {
				t.Errorf("%s: from %s to %s", rule, l.From, l.To)
			}
			names := slices.Sorted(maps.Keys(l.Header))
			if n := strings.Count(l.Text, "\n"); rule == "" {
				lines[l.To], headers[l.To] = n, names
			} else if n != lines[l.To] {
				t.Errorf("%s: %d lines, want %d:\n%.2000s", rule, n, lines[l.To], l.Text)
			}
			if diff := cmp.Diff(headers[l.To], names); diff != "" {
				t.Errorf("%s: headers %s", rule, diff)
			}
			if len(l.Subject) > 600 || len(l.Text) > 16<<10 || strings.ContainsFunc(l.Subject, func(r rune) bool { return !unicode.IsPrint(r) }) ||
				strings.ContainsFunc(l.Text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\r' }) {
				t.Errorf("%s: subject %q, text of %d bytes %.400q", rule, l.Subject, len(l.Text), l.Text)
			}
		}
		// What the store, the API and the command line show is one line, too.
		now, err := b.Get(t.Context(), g.ID)
		servertest.Must(t, err)
		for _, shown := range []string{now.Device.Name, now.Device.Serial, now.Device.Location, now.Device.Address, now.Account, now.From} {
			if len(shown) > 256 || strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s: %q is shown", rule, shown)
			}
		}
	}
	try(t, "", "copier")
	if lines[attackBoss] < 10 || lines[attackUser] < 5 {
		t.Fatalf("a plain letter has so many lines: %v", lines)
	}
	for rule, text := range hostileTexts() {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			try(t, rule, text)
		})
	}
}
