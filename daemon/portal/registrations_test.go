package portal_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

// formKey is what makes a form idempotent: another one on each page.
var formKey = regexp.MustCompile(`name="key" value="([A-Z2-7]{26})"`)

func registering(t *testing.T, who string) *door {
	t.Helper()
	d := newDoor(t, portaltest.Registering())
	d.enterAs(who)
	return d
}

func TestTheRegistrationsAreAsReviewed(t *testing.T) {
	for _, who := range []string{"sato", "mori"} {
		d := registering(t, who)
		page := func(name, path string) {
			t.Helper()
			golden(t, name+"-"+who+".html", formKey.ReplaceAllString(d.page(path), `name="key" value="KEY"`))
		}
		page("registrations", "/registrations")
		page("register", "/register?device=dev_2")
		page("register-printers", "/register")
		for _, state := range []string{"requested", "code", "admin", "unmailed", "local", "device", "redeeming", "certifying", "registered", "failed", "cancelled", "hostile"} {
			page("registration-"+state, "/registrations/reg_"+state+"/live")
		}
		page("registration", "/registrations/reg_admin")
		d.gateway.RegistrationsAre, d.gateway.PrintServicesAre = nil, nil
		page("registrations-none", "/registrations")
	}
}

func TestAUserIsNotToldWhatIsForAdministrators(t *testing.T) {
	user, boss := registering(t, "sato"), registering(t, "mori")
	told := false
	for _, r := range user.gateway.RegistrationsAre {
		path := "/registrations/" + r.ID
		page := boss.page(path)
		told = told || strings.Contains(page, portaltest.Code) && strings.Contains(page, portaltest.Administrator)
		if r.User != "sato@example.co.jp" {
			continue
		}
		page = user.page(path)
		for _, secret := range []string{portaltest.Code, portaltest.Administrator, "https://print.example/device", "/decide", "10.1.2.3", "10.1.0.9", "smtp.example"} {
			if strings.Contains(page, secret) {
				t.Errorf("%s tells a user %q", path, secret)
			}
		}
	}
	if !told {
		t.Error("nor is an administrator")
	}
	list := user.page("/registrations")
	for _, secret := range []string{"abe@example.co.jp", portaltest.Administrator, portaltest.Code} {
		if strings.Contains(list, secret) {
			t.Errorf("the list tells a user %q", secret)
		}
	}
}

func TestHostileRegistrationsAreText(t *testing.T) {
	for _, who := range []string{"sato", "mori"} {
		d := registering(t, who)
		d.gateway.PrintServicesAre = []control.PrintService{{Name: portaltest.Hostile, Kind: portaltest.Hostile}, {Name: "b"}}
		d.gateway.DevicesAre = append(d.gateway.DevicesAre, mfpgate.Device{ID: portaltest.Hostile, Name: portaltest.Hostile, Location: portaltest.Hostile, Model: portaltest.Hostile})
		for _, path := range []string{"/registrations", "/registrations/live", "/registrations/reg_hostile", "/register", "/register?q=" + url.QueryEscape(portaltest.Hostile),
			"/register?device=" + url.QueryEscape(portaltest.Hostile), "/register?device=" + url.QueryEscape("x"+portaltest.Hostile)} {
			page := d.page(path)
			for _, markup := range []string{"<script>", `"broken"`, `href="javascript`, "<style", " style=", " onclick"} {
				if strings.Contains(page, markup) {
					t.Errorf("%s as %s: %s", path, who, markup)
				}
			}
		}
	}
}

func TestTheListHasWhatIsOpenFirst(t *testing.T) {
	d := registering(t, "mori")
	rows := func(path string) (list []string) {
		for _, m := range regexp.MustCompile(`<a href="/registrations/reg_([a-z0-9]+)"`).FindAllStringSubmatch(d.page(path), -1) {
			list = append(list, m[1])
		}
		return list
	}
	want := []string{"local", "requested", "code", "admin", "unmailed", "device", "redeeming", "certifying", "hostile", "abe", "registered", "failed", "cancelled"}
	if diff := cmp.Diff(want, rows("/registrations")); diff != "" {
		t.Errorf("an administrator's (-want +got):\n%s", diff)
	}
	for _, page := range []string{"/", "/devices", "/schedule", "/registrations", "/registrations/live"} {
		if page == "/registrations/live" {
			if got := d.page(page); !strings.Contains(got, `<span id="open-now" hidden>10</span>`) {
				t.Errorf("%s does not say how many are open:\n%s", page, got)
			}
		} else if got := d.page(page); !strings.Contains(got, `id="open"><span id="open-count">10</span>`) {
			t.Errorf("%s does not say how many are open", page)
		}
	}
	for i := range 600 {
		d.gateway.RegistrationsAre = append(d.gateway.RegistrationsAre, mfpgate.Registration{ID: fmt.Sprintf("reg_z%d", i), User: "abe@example.co.jp", State: mfpgate.RegistrationAwaitingAdmin, RequestedAt: portaltest.Now.Add(-time.Hour)})
	}
	seen := map[string]bool{}
	for n := 1; n <= 7; n++ {
		for _, id := range rows(fmt.Sprintf("/registrations?page=%d", n)) {
			seen[id] = true
		}
	}
	if len(seen) != 613 || len(rows("/registrations?page=99")) != 13 {
		t.Errorf("the pages show %d", len(seen))
	}
	d.enterAs("sato")
	if diff := cmp.Diff([]string{"requested", "code", "admin", "unmailed", "device", "redeeming", "certifying", "hostile", "registered", "failed", "cancelled"},
		slices.DeleteFunc(rows("/registrations"), func(id string) bool { return id == "local" })); diff != "" {
		t.Errorf("a user's (-want +got):\n%s", diff)
	}
	if page := d.page("/registrations"); strings.Contains(page, `id="open"`) {
		t.Error("a user is told how many are open in all")
	}
}

// ask fills in the form for a printer and sends it, with what is given instead of what the page has.
func (d *door) request(device string, instead url.Values) *http.Response {
	d.t.Helper()
	m := formKey.FindStringSubmatch(d.page("/register?device=" + device))
	if m == nil {
		d.t.Fatal("the page has no form")
	}
	form := url.Values{"key": {m[1]}, "device": {device}, "service": {"office"}}
	for key, value := range instead {
		form[key] = value
	}
	return d.ask(http.MethodPost, "/register", form.Encode(), "Sec-Fetch-Site", "same-origin")
}

func TestAsking(t *testing.T) {
	for _, c := range []struct {
		rule, who string
		instead   url.Values
		want      *mfpgate.RegistrationRequest
		status    int
		says      string
	}{
		{"a user asks for himself", "sato", nil,
			&mfpgate.RegistrationRequest{Device: "dev_2", Service: "office", User: "sato@example.co.jp", Account: "sato", From: "10.1.2.3"}, 303, ""},
		{"a user cannot ask for another one, or choose who approves", "sato", url.Values{"email": {"abe@example.co.jp"}, "approver": {"sato@example.co.jp"}, "retries": {"10"}},
			&mfpgate.RegistrationRequest{Device: "dev_2", Service: "office", User: "sato@example.co.jp", Account: "sato", From: "10.1.2.3"}, 303, ""},
		{"an administrator can", "mori", url.Values{"email": {" abe@example.co.jp "}, "approver": {"b@example.co.jp"}, "retries": {"5"}},
			&mfpgate.RegistrationRequest{Device: "dev_2", Service: "office", User: "abe@example.co.jp", Account: "mori", Admin: "b@example.co.jp", Retries: 5, From: "10.1.2.3"}, 303, ""},
		{"he says for whom", "mori", nil, nil, 422, "Give the mail address of who shall print."},
		{"the number of codes is bounded", "mori", url.Values{"email": {"abe@example.co.jp"}, "retries": {"11"}}, nil, 422, "New codes are 2 to 10;"},
		{"a form without its key is none", "sato", url.Values{"key": {"x"}}, nil, 400, "no form of this page"},
	} {
		d := registering(t, c.who)
		resp := d.request("dev_2", c.instead)
		page := text(t, resp)
		if resp.StatusCode != c.status || !strings.Contains(page, c.says) {
			t.Errorf("%s: %s, want %d and %q\n%s", c.rule, resp.Status, c.status, c.says, page)
		}
		var want []mfpgate.RegistrationRequest
		if c.want != nil {
			want = append(want, *c.want)
		}
		if diff := cmp.Diff(want, d.gateway.RequestsWere); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.rule, diff)
		}
	}
}

func TestAFormCountsOnce(t *testing.T) {
	d := registering(t, "sato")
	key := url.Values{"key": {strings.Repeat("K", 26)}}
	first, second := d.request("dev_1", key), d.request("dev_1", key)
	if a, b := first.Header.Get("Location"), second.Header.Get("Location"); a != "/registrations/reg_new1" || a != b || len(d.gateway.RequestsWere) != 1 {
		t.Errorf("sent twice: %s, %s and %d requests", a, b, len(d.gateway.RequestsWere))
	}
	if page := d.page("/registrations/reg_new1"); !strings.Contains(page, "This was asked for already.") {
		t.Error("the page does not say so")
	}
	d.enterAs("mori")
	d.request("dev_1", url.Values{"key": {strings.Repeat("K", 26)}, "email": {"sato@example.co.jp"}})
	if len(d.gateway.RequestsWere) != 2 {
		t.Error("another account's key counts")
	}
}

func TestWhatTheGatewayRefusesIsSaid(t *testing.T) {
	d := registering(t, "mori")
	d.gateway.ChangeFails = fmt.Errorf("%w: sato@example.co.jp asked 5 times in the last hour; try again at 15:10", control.ErrRegistration)
	resp := d.request("dev_2", url.Values{"email": {"abe@example.co.jp"}, "approver": {"b@example.co.jp"}})
	page := text(t, resp)
	for _, want := range []string{"sato@example.co.jp asked 5 times in the last hour; try again at 15:10.", `value="abe@example.co.jp"`, `value="b@example.co.jp"`} {
		if resp.StatusCode != 422 || !strings.Contains(page, want) {
			t.Errorf("%s: no %q in\n%s", resp.Status, want, page)
		}
	}
	if _, page := d.send("/registrations/reg_admin/resend", nil); !strings.Contains(page, "try again at 15:10.") {
		t.Error("nor when a letter is asked for")
	}
	d.gateway.ChangeFails = errors.New("disk on fire")
	if resp := d.request("dev_2", url.Values{"email": {"abe@example.co.jp"}}); resp.StatusCode != 500 || strings.Contains(text(t, resp), "on fire") || !strings.Contains(d.log.String(), "on fire") {
		t.Errorf("what breaks: %s", resp.Status)
	}
}

func TestActing(t *testing.T) {
	for _, c := range []struct{ who, path, form, want string }{
		{"sato", "/registrations/reg_admin/cancel", "", "cancel reg_admin by sato"},
		{"sato", "/registrations/reg_admin/resend", "", "resend reg_admin by sato"},
		{"sato", "/registrations/reg_failed/retry", "", "retry reg_failed by sato"},
		{"mori", "/registrations/reg_abe/cancel", "", "cancel reg_abe by mori"},
		{"mori", "/registrations/reg_local/decide", "decision=approve", "approve reg_local by mori"},
		{"mori", "/registrations/reg_local/decide", "decision=deny", "deny reg_local by mori"},
		{"mori", "/registrations/reg_local/decide", "decision=perhaps", ""},
	} {
		d := registering(t, c.who)
		if resp := d.ask("POST", c.path, c.form+"&", "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 || len(d.gateway.DoneWere) > 0 {
			t.Errorf("%s by another site: %s, %q", c.path, resp.Status, d.gateway.DoneWere)
		}
		if resp := d.ask("GET", c.path+"?"+c.form, ""); resp.StatusCode != 404 || len(d.gateway.DoneWere) > 0 {
			t.Errorf("%s by GET: %s, %q", c.path, resp.Status, d.gateway.DoneWere)
		}
		form, _ := url.ParseQuery(c.form)
		d.send(c.path, form)
		if got := strings.Join(d.gateway.DoneWere, "; "); got != c.want {
			t.Errorf("%s as %s: %q was done, want %q", c.path, c.who, got, c.want)
		}
	}
	d := registering(t, "sato")
	if resp := d.ask("POST", "/register", "key="+strings.Repeat("K", 26), "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 || len(d.gateway.RequestsWere) > 0 {
		t.Errorf("a request by another site: %s", resp.Status)
	}
}

func TestChoosingAPrinter(t *testing.T) {
	d := registering(t, "sato")
	chosen := func(path string) (list []string) {
		for _, m := range regexp.MustCompile(`<a href="/register\?device=([^"]+)"`).FindAllStringSubmatch(d.page(path), -1) {
			list = append(list, m[1])
		}
		return list
	}
	if got := len(chosen("/register")); got != 24 {
		t.Errorf("%d printers to choose from, want 24", got)
	}
	if diff := cmp.Diff([]string{"dev_1"}, chosen("/register?q=lift+COPIER")); diff != "" {
		t.Errorf("by place and name (-want +got):\n%s", diff)
	}
	if got := chosen("/register?q=10.1.0"); len(got) != 1 { // the printer whose name is its address
		t.Errorf("a user finds printers by address: %q", got)
	}
	if page := d.page("/register?device=dev_gone"); !strings.Contains(page, "is not known here any more") || !strings.Contains(page, "2F copier") {
		t.Error("a link to a printer that is gone leads nowhere")
	}
	if page := text(t, d.ask("GET", "/register?q=copier", "", "HX-Request", "true")); strings.Contains(page, "<html") || !strings.Contains(page, "dev_1") {
		t.Errorf("the search's part:\n%s", page)
	}
	d.gateway.PrintServicesAre = append(d.gateway.PrintServicesAre, control.PrintService{Name: "lab", Kind: "reference"})
	if page := d.page("/register?device=dev_1&service=lab"); !strings.Contains(page, `value="lab" checked`) || strings.Contains(page, `value="office" checked`) {
		t.Error("the service of the link is not chosen")
	}
}

func TestARegisteredPrinterThatItsUserCannotUseYet(t *testing.T) {
	for _, who := range []string{"sato", "mori"} {
		d := registering(t, who)
		at := slices.IndexFunc(d.gateway.RegistrationsAre, func(r mfpgate.Registration) bool { return r.ID == "reg_registered" })
		r := &d.gateway.RegistrationsAre[at]
		r.Reason, r.Detail = "user-unconfirmed", "open the link in the print service's letter"
		page := d.page("/registrations/reg_registered/live")
		if !strings.Contains(page, "Open the link in the print service&#39;s letter.") || !strings.Contains(page, "not ready to print yet") || strings.Contains(page, "Ready to print") {
			t.Errorf("%s sees:\n%s", who, page)
		}
	}
}
