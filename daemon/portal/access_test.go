package portal_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

// enterAs logs in as another account.
func (d *door) enterAs(name string) {
	d.t.Helper()
	if resp := d.login(name, "correct horse battery"); resp.StatusCode != http.StatusSeeOther {
		d.t.Fatalf("login of %s: %s", name, resp.Status)
	}
}

// routes are all addresses of the portal, and what each answers to a stranger, to a user and to an administrator.
var routes = []struct {
	pattern, path        string
	stranger, user, boss int
}{
	{"GET /{$}", "/", 303, 303, 200}, // a user is led to what is his
	{"GET /live", "/live", 401, 403, 200},
	{"GET /devices", "/devices", 303, 403, 200},
	{"GET /devices.csv", "/devices.csv", 303, 403, 200},
	{"POST /devices/scan", "/devices/scan", 303, 403, 303},
	{"GET /devices/{id}", "/devices/dev_1", 303, 403, 200},
	{"POST /devices/{id}/name", "/devices/dev_1/name", 303, 403, 303},
	{"POST /devices/{id}/pin", "/devices/dev_1/pin", 303, 403, 303},
	{"POST /devices/{id}/split", "/devices/dev_1/split", 303, 403, 303},
	{"POST /devices/{id}/forget", "/devices/dev_7/forget", 303, 403, 303},
	{"GET /devices/{id}/sheet", "/devices/dev_1/sheet", 303, 403, 200},
	{"GET /devices/{id}/qr.svg", "/devices/dev_1/qr.svg", 303, 403, 409}, // nobody knows the portal's address
	{"POST /devices/{id}/enrol", "/devices/dev_2/enrol", 303, 403, 303},
	{"GET /moves", "/moves", 303, 403, 200},
	{"GET /moves/live", "/moves/live", 401, 403, 200},
	{"GET /moves/events", "/moves/events", 401, 403, 200},
	{"GET /moves/new", "/moves/new?device=dev_4", 303, 403, 200},
	{"POST /moves", "/moves", 303, 403, 400}, // without a key
	{"GET /moves/{id}", "/moves/mov_copy", 303, 403, 200},
	{"GET /moves/{id}", "/moves/mov_none", 303, 403, 404},
	{"GET /moves/{id}/live", "/moves/mov_copy/live", 401, 403, 200},
	{"GET /moves/{id}/events", "/moves/mov_copy/events", 401, 403, 200},
	{"GET /moves/{id}/events", "/moves/mov_none/events", 401, 403, 404},
	{"GET /moves/{id}/receipt", "/moves/mov_done/receipt", 303, 403, 200},
	{"POST /moves/{id}/abort", "/moves/mov_copy/abort", 303, 403, 303},
	{"POST /moves/{id}/retry", "/moves/mov_copy/retry", 303, 403, 303},
	{"POST /moves/{id}/lost", "/moves/mov_stuck/lost", 303, 403, 303},
	{"GET /residency", "/residency", 303, 403, 200},
	{"GET /residency.json", "/residency.json", 303, 403, 200},
	{"GET /residency.csv", "/residency.csv", 303, 403, 200},
	{"GET /residency/{device}/receipts/{id}", "/residency/dev_2/receipts/rcp_done", 303, 403, 200},
	{"GET /schedule", "/schedule", 303, 403, 200},
	{"GET /register", "/register?device=dev_2", 303, 200, 200},
	{"POST /register", "/register", 303, 400, 400}, // without a key
	{"GET /registrations", "/registrations", 303, 200, 200},
	{"GET /registrations/live", "/registrations/live", 401, 200, 200},
	{"GET /registrations/events", "/registrations/events", 401, 200, 200},
	{"GET /registrations/{id}", "/registrations/reg_admin", 303, 200, 200},
	{"GET /registrations/{id}", "/registrations/reg_abe", 303, 404, 200},
	{"GET /registrations/{id}", "/registrations/reg_none", 303, 404, 404},
	{"GET /registrations/{id}/live", "/registrations/reg_admin/live", 401, 200, 200},
	{"GET /registrations/{id}/live", "/registrations/reg_abe/live", 401, 404, 200},
	{"GET /registrations/{id}/events", "/registrations/reg_admin/events", 401, 200, 200},
	{"GET /registrations/{id}/events", "/registrations/reg_abe/events", 401, 404, 200},
	{"POST /registrations/{id}/cancel", "/registrations/reg_admin/cancel", 303, 303, 303},
	{"POST /registrations/{id}/cancel", "/registrations/reg_abe/cancel", 303, 404, 303},
	{"POST /registrations/{id}/resend", "/registrations/reg_admin/resend", 303, 303, 303},
	{"POST /registrations/{id}/resend", "/registrations/reg_abe/resend", 303, 404, 303},
	{"POST /registrations/{id}/retry", "/registrations/reg_failed/retry", 303, 303, 303},
	{"POST /registrations/{id}/retry", "/registrations/reg_abe/retry", 303, 404, 303},
	{"POST /registrations/{id}/decide", "/registrations/reg_local/decide", 303, 403, 303},
	{"/api/v1/", "/api/v1/users", 401, 403, 200},
	{"GET /login", "/login", 200, 303, 303},
	{"POST /login", "/login", 403, 403, 403}, // without a password
	{"POST /logout", "/logout", 303, 303, 303},
	{"GET /assets/{name}", "/assets/portal.css", 200, 200, 200},
	{"/", "/nowhere", 404, 404, 404},
}

func TestEveryRouteIsForWhomItShouldBe(t *testing.T) {
	var listed []string
	for _, c := range routes {
		if !slices.Contains(listed, c.pattern) {
			listed = append(listed, c.pattern)
		}
		for who, want := range map[string]int{"": c.stranger, "sato": c.user, "mori": c.boss} {
			d := newDoor(t, portaltest.Moving())
			if who != "" {
				d.enterAs(who)
			}
			method, _, ok := strings.Cut(c.pattern, " ")
			if !ok {
				method = http.MethodGet
			}
			body := ""
			if method == http.MethodPost {
				body = "decision=approve"
			}
			resp := d.ask(method, c.path, body)
			if resp.StatusCode != want {
				t.Errorf("%s %s as %q: %s, want %d", method, c.path, who, resp.Status, want)
			}
			if want != 200 && want != 303 && len(d.gateway.DoneWere)+len(d.gateway.RequestsWere) > 0 {
				t.Errorf("%s %s as %q: %q was done", method, c.path, who, d.gateway.DoneWere)
			}
			if page := text(t, resp); resp.StatusCode >= 300 && strings.Contains(page, "2F copier") || d.calls > 0 && who != "mori" {
				t.Errorf("%s %s as %q: the gateway answered:\n%s", method, c.path, who, page)
			}
		}
	}
	served := newDoor(t, portaltest.Idle()).portal.Patterns()
	slices.Sort(listed)
	slices.Sort(served)
	if !slices.Equal(listed, served) {
		t.Errorf("the table has the routes\n%q, the portal\n%q", listed, served)
	}
}

func TestAnAccountCountsAsItIsNow(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		rule   string
		change func(*portaltest.Gateway) error
		want   int
		to     string
	}{
		{"nothing has changed", func(*portaltest.Gateway) error { return nil }, 200, ""},
		{"who is no administrator any more sees no devices", func(g *portaltest.Gateway) error {
			g.AccountsAre["mori"] = control.User{Role: control.RoleUser, Email: "mori@example.co.jp"}
			return nil
		}, 403, ""},
		{"a role that is none may nothing", func(g *portaltest.Gateway) error {
			g.AccountsAre["mori"] = control.User{Role: "owner"}
			return nil
		}, 403, ""},
		{"an account that is removed has no login", func(g *portaltest.Gateway) error { return g.RemoveUser(ctx, "mori") }, 303, "/login?next=%2Fdevices"},
		{"a new password ends the logins", func(g *portaltest.Gateway) error {
			return g.AddUser(ctx, control.User{Name: "mori", Role: control.RoleAdministrator}, "correct horse battery")
		}, 303, "/login?next=%2Fdevices"},
	} {
		d := newDoor(t, portaltest.Fleet(8))
		d.enter()
		if err := c.change(d.gateway); err != nil {
			t.Fatal(err)
		}
		resp := d.ask("GET", "/devices", "")
		if resp.StatusCode != c.want || resp.Header.Get("Location") != c.to {
			t.Errorf("%s: %s to %q, want %d, %q", c.rule, resp.Status, resp.Header.Get("Location"), c.want, c.to)
		}
		if c.want == 303 {
			if resp := d.ask("GET", "/login", ""); resp.StatusCode != 200 {
				t.Errorf("%s: then the login form is %s", c.rule, resp.Status)
			}
		}
	}
}

func TestALoginLeadsToThePageFirstWanted(t *testing.T) {
	for _, c := range []struct{ rule, wanted, to string }{
		{"a page", "/devices/dev_1?other=x%20y", "/devices/dev_1?other=x%20y"},
		{"nothing", "", "/"},
		{"another host", "//evil.example/", "/"},
		{"another host behind a backslash", `/\evil.example`, "/"},
		{"another host behind an escaped backslash", "/%5Cevil.example", "/"},
		{"another host behind a tab, which browsers drop", "/\t/evil.example", "/"},
		{"another host behind an escaped slash", "/%2F/evil.example", "/"},
		{"an address with its scheme", "https://evil.example/", "/"},
		{"a script", "javascript:alert(1)", "/"},
		{"a header", "/devices\r\nSet-Cookie: a=b", "/"},
		{"the login itself", "/login?next=/login", "/"},
		{"what is too long", "/" + strings.Repeat("x", 600), "/"},
	} {
		d := newDoor(t, portaltest.Idle())
		page := text(t, d.ask("GET", "/login?"+url.Values{"next": {c.wanted}}.Encode(), ""))
		if got := strings.Contains(page, `name="next"`); got != (c.to != "/") {
			t.Errorf("%s: the form carries it: %v", c.rule, got)
		}
		wrong := d.ask("POST", "/login", url.Values{"name": {"mori"}, "password": {"no"}, "next": {c.wanted}}.Encode())
		if got := strings.Contains(text(t, wrong), `name="next"`); got != (c.to != "/") {
			t.Errorf("%s: the form carries it after a wrong password: %v", c.rule, got)
		}
		form := url.Values{"name": {"mori"}, "password": {"correct horse battery"}, "next": {c.wanted}}
		if to := d.ask("POST", "/login", form.Encode()).Header.Get("Location"); to != c.to {
			t.Errorf("%s: the login leads to %q, want %q", c.rule, to, c.to)
		}
		if to := d.ask("GET", "/login?"+url.Values{"next": {c.wanted}}.Encode(), "").Header.Get("Location"); to != c.to {
			t.Errorf("%s: who has logged in is led to %q, want %q", c.rule, to, c.to)
		}
	}
}

func TestALinkOnAnotherSiteLeadsToThePageOfWhoHasLoggedIn(t *testing.T) {
	d := newDoor(t, portaltest.Registering())
	const linked = "/registrations/reg_admin"
	page := text(t, d.ask("GET", linked, "", "Sec-Fetch-Site", "cross-site")) // the browser keeps a strict cookie back
	if !strings.Contains(page, `content="0; url=`+linked+`"`) || strings.Contains(page, "2F copier") {
		t.Errorf("no way on:\n%s", page)
	}
	hostile := text(t, d.ask("GET", `/devices/x?"><script>'`+"%22%3E%3Cscript%3E", "", "Sec-Fetch-Site", "cross-site"))
	if strings.Contains(hostile, "<script>") {
		t.Errorf("an address is markup:\n%s", hostile)
	}
	if to := d.ask("GET", linked, "", "Sec-Fetch-Site", "same-origin").Header.Get("Location"); to != "/login?next=%2Fregistrations%2Freg_admin" {
		t.Errorf("then a stranger comes to %q", to)
	}
	if resp := d.ask("POST", linked+"/cancel", "x=1", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a change is %s", resp.Status)
	}
}
