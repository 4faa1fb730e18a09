package approval_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/broker/approval/approvaltest"
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
