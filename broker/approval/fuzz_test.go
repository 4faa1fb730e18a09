package approval_test

import (
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
)

// hostile are answers to begin with.
func hostile(f *testing.F) {
	for _, seed := range []string{"https://print.example/device", "https://print.example:8443/x?y#z", "https://evil.example/", "https://print.example@evil.example/",
		"https://print.example.evil.example/", "https://print.example\\@evil.example/", "HTTPS://PRINT.EXAMPLE/", "//print.example/", "http://127.0.0.1/", "https://print.example/\r\nx: y",
		"https://evil.example%2f@print.example/", "https://print.example%00.evil.example/", "https://[::1]/", "data:,x", "https://print.example/\u202e"} {
		f.Add(seed, "BCDF-GHJK", "device", int64(5), int64(900), "events")
	}
	f.Add("https://print.example/", "A\r\nB", "", int64(-1), int64(-1), strings.Repeat("e", 5000))
	f.Add("https://print.example/", "<b>", "d", int64(1<<62), int64(1<<62), "")
}

// FuzzCode has a service answer anything to the request for a code: what is taken is a page on the pinned host, a code that can be
// typed, and times within their bounds.
func FuzzCode(f *testing.F) {
	hostile(f)
	f.Fuzz(func(t *testing.T, page, code, device string, interval, lifetime int64, events string) {
		c, err := approval.Usable(mfpgate.Code{DeviceCode: mfpgate.Secret(device), UserCode: mfpgate.Secret(code), VerificationURI: page,
			Interval: time.Duration(interval), Lifetime: time.Duration(lifetime), Events: events}, []string{"print.example"})
		if err != nil {
			return
		}
		u, err := url.Parse(c.VerificationURI)
		if err != nil || u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "print.example") || u.User != nil || strings.ContainsAny(page, "\\\r\n\t ") {
			t.Errorf("sent to %q", c.VerificationURI)
		}
		if text := c.UserCode.Reveal(); text == "" || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("the code %q", text)
		}
		if c.DeviceCode == "" || c.Interval < time.Second || c.Interval > approval.MaxInterval || c.Lifetime < time.Second || c.Lifetime > approval.MaxLifetime {
			t.Errorf("a device code of %d bytes, every %s, for %s", len(c.DeviceCode.Reveal()), c.Interval, c.Lifetime)
		}
	})
}

// FuzzAnswer has a whole broker take the same answers. Whoever is mailed is sent to the pinned host alone, by a letter of printable lines, and
// it ends. Fuzz it with -fuzzminimizetime=1x: which goroutine runs first changes what is covered, so that the fuzzer would spend up
// to a minute, during which it counts nothing, on making small what it cannot have again.
func FuzzAnswer(f *testing.F) {
	hostile(f)
	f.Fuzz(func(t *testing.T, page, code, device string, interval, lifetime int64, events string) {
		bubble(t, func(t *testing.T, g *gateway) {
			g.office.AlterCode = func(_ int, c *mfpgate.Code) {
				*c = mfpgate.Code{DeviceCode: mfpgate.Secret(device), UserCode: mfpgate.Secret(code), VerificationURI: page, Interval: time.Duration(interval),
					Lifetime: time.Duration(lifetime), Events: events}
			}
			g.policy.Deadline = time.Minute
			g.start()
			r := g.ask("d1", user)
			g.pass(3 * time.Second)
			if now := g.get(r.ID); now.VerificationURI != "" {
				u, err := url.Parse(now.VerificationURI)
				if err != nil || u.Scheme != "https" || !strings.EqualFold(u.Hostname(), "print.example") || u.User != nil {
					t.Errorf("sent to %q", now.VerificationURI)
				}
			}
			for _, l := range g.mailer.Letters("") {
				for _, line := range strings.Split(l.Subject+"\n"+l.Text, "\n") {
					if strings.ContainsFunc(line, func(c rune) bool { return !unicode.IsPrint(c) }) || len(line) > 4096 {
						t.Errorf("a line of a letter: %q", line)
					}
				}
			}
			g.pass(2 * time.Minute)
			if now := g.get(r.ID); now.State != mfpgate.RegistrationFailed || now.Reason != approval.Timeout && now.Reason != approval.HostChanged &&
				now.Reason != approval.BadAnswer && now.Reason != approval.LostGrant && now.Reason != approval.Exhausted {
				t.Errorf("%s, %s", now.State, now.Reason)
			}
		})
	})
}
