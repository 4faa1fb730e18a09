package portal_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func TestTheCookieIsForThisHostAlone(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	resp := d.login("mori", "correct horse battery")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		t.Fatalf("%s to %q", resp.Status, resp.Header.Get("Location"))
	}
	c := d.cookie
	if c == nil || c.Name != "__Host-mfpgate" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || len(c.Value) < 40 {
		t.Errorf("cookie %+v", c)
	}
	if !strings.Contains(d.log.String(), `"user":"mori"`) || !strings.Contains(d.log.String(), "portal.logged-in") {
		t.Errorf("log:\n%s", d.log)
	}
}

func TestALoginHasANewToken(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	d.enter()
	first := d.cookie
	d.enter()
	second := d.cookie
	if first.Value == second.Value {
		t.Error("the second login kept the first one's token")
	}
	d.cookie = first
	if resp := d.ask("GET", "/", ""); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the token before the login still works: %s", resp.Status)
	}
	d.cookie = &http.Cookie{Name: portal.CookieName, Value: "planted"}
	d.enter()
	if d.cookie.Value == "planted" {
		t.Error("a planted token became a session")
	}
}

func TestLogoutEndsTheSession(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	d.enter()
	kept := d.cookie
	if resp := d.ask("POST", "/logout", ""); resp.StatusCode != http.StatusSeeOther || d.cookie.MaxAge >= 0 {
		t.Errorf("%s, cookie %+v", resp.Status, d.cookie)
	}
	d.cookie = kept
	if resp := d.ask("GET", "/", ""); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("the token still works: %s", resp.Status)
	}
}

func TestSessionsEnd(t *testing.T) {
	for _, c := range []struct {
		rule  string
		path  string
		every time.Duration
		until time.Duration
		want  int
	}{
		{"what the user does keeps the session", "/", 59 * time.Minute, 11 * time.Hour, 200},
		{"not beyond its lifetime", "/", 59 * time.Minute, portal.Lifetime, 303},
		{"doing nothing ends it", "/", portal.IdleTimeout, portal.IdleTimeout, 303},
		{"the page's own refresh is doing nothing", "/live", 5 * time.Minute, portal.IdleTimeout, 303},
	} {
		d := newDoor(t, portaltest.Idle())
		d.enter()
		for at := c.every; at < c.until; at += c.every {
			d.clock.Advance(c.every)
			if resp := d.ask("GET", c.path, ""); resp.StatusCode != 200 {
				t.Fatalf("%s: %s after %v", c.rule, resp.Status, at)
			}
		}
		d.clock.Advance(c.until - (c.until-1)/c.every*c.every)
		if resp := d.ask("GET", "/", ""); resp.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.rule, resp.Status, c.want)
		}
	}
}

func TestAWrongNameAndAWrongPasswordAreAnsweredAlike(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	name, password := d.login("eve", "correct horse battery"), d.login("mori", "wrong")
	if name.StatusCode != http.StatusForbidden || password.StatusCode != name.StatusCode {
		t.Errorf("%s and %s", name.Status, password.Status)
	}
	if a, b := text(t, name), text(t, password); strings.ReplaceAll(a, "eve", "mori") != b {
		t.Errorf("the answers differ:\n%s\n%s", a, b)
	}
	if log := d.log.String(); strings.Contains(log, "horse") || strings.Count(log, `"reason":"wrong-login"`) != 2 {
		t.Errorf("log:\n%s", log)
	}
}

func TestLoginsAreThrottledBySource(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	for i := range 5 {
		if resp := d.login(fmt.Sprintf("guess%d", i), "wrong"); resp.StatusCode != http.StatusForbidden {
			t.Fatalf("guess %d: %s", i, resp.Status)
		}
	}
	resp := d.login("mori", "correct horse battery")
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if resp.StatusCode != http.StatusTooManyRequests || err != nil || after != 30 {
		t.Fatalf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	if page := text(t, resp); !strings.Contains(page, "Wait 30 s and try again.") {
		t.Errorf("the page does not say how long:\n%s", page)
	}
	d.clock.Advance(time.Duration(after-1) * time.Second)
	if resp := d.login("mori", "correct horse battery"); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("too early: %s", resp.Status)
	}
	d.from = "10.1.2.4:40000"
	d.enter() // another source is not concerned
	d.from = "10.1.2.3:50000"
	d.clock.Advance(time.Second)
	for range 3 {
		d.enter() // a right password costs nothing
	}
}

func TestLoginsAreThrottledByNameToo(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	for i := range 20 {
		d.from = fmt.Sprintf("10.1.3.%d:40000", i)
		if resp := d.login("mori", "wrong"); resp.StatusCode != http.StatusForbidden {
			t.Fatalf("guess %d: %s", i, resp.Status)
		}
	}
	d.from = "10.1.4.1:40000"
	if resp := d.login("mori", "correct horse battery"); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "6" {
		t.Errorf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	if resp := d.login("abe", "wrong"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("another name: %s", resp.Status)
	}
	d.clock.Advance(6 * time.Second)
	d.enter()
}

func TestAnIPv6NetworkIsOneSource(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	for i := range 5 {
		d.from = fmt.Sprintf("[2001:db8::%x%%eth0]:40000", i)
		d.login("mori", "wrong")
	}
	d.from = "[2001:db8::ffff]:40000"
	if resp := d.login("mori", "wrong"); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("another address of the same /64: %s", resp.Status)
	}
	d.from = "[2001:db8:0:1::1]:40000"
	if resp := d.login("mori", "wrong"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("another /64: %s", resp.Status)
	}
}

func TestALoginFormIsBounded(t *testing.T) {
	d := newDoor(t, portaltest.Idle())
	if resp := d.login(strings.Repeat("n", 9<<10), "x"); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("9 KiB: %s", resp.Status)
	}
	if resp := d.ask("POST", "/login", "%zz"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("no form: %s", resp.Status)
	}
	d.login(strings.Repeat("n", 4<<10), "x")
	if log := d.log.String(); strings.Contains(log, strings.Repeat("n", 65)) {
		t.Error("the log has a name of any length")
	}
}
