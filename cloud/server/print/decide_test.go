package print_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate/cloud/server/print"
)

// User codes could be guessed without bound (keycloak #51275, MAS #5972), and a success forgave what was wrong before (Abblix #165).
func TestWrongCodesAreLimited(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	limited := 0
	for n := range 300 {
		d.from = fmt.Sprintf("192.0.2.%d:1", n%250)
		got := d.as(fmt.Sprintf("it%d@example.jp", n), "/device", url.Values{"code": {"BBBB-BBBB"}})
		switch got.status {
		case http.StatusUnprocessableEntity:
		case http.StatusTooManyRequests:
			limited++
			if got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "Too many wrong codes") {
				t.Errorf("%v %s", got.header, got.body)
			}
		default:
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if limited != 240 {
		t.Errorf("%d of 300 by 300 administrators at 250 addresses were refused, want all but 60", limited)
	}
	d.from = "203.0.113.1:1"
	if got := d.as(admin, "/device", url.Values{"code": {code.UserCode}}); got.status != http.StatusTooManyRequests {
		t.Errorf("the right code now: %d", got.status)
	}
	d.fake.Advance(time.Hour)
	try := func(rule, who, typed string, want int) {
		t.Helper()
		if got := d.as(who, "/device", url.Values{"code": {typed}}); got.status != want {
			t.Errorf("%s: %d, want %d", rule, got.status, want)
		}
	}
	code = d.code()
	for n := range 4 {
		try(fmt.Sprint("wrong ", n), admin, "BBBB-BBBB", 422)
	}
	for range 3 {
		try("a right one", admin, code.UserCode, 200)
	}
	try("the fifth wrong one", admin, "no code at all", 422)
	try("the sixth, whatever was right between", admin, code.UserCode, 429)
	try("another administrator at the same address", "ops@example.jp", code.UserCode, 200)
	for n := range 10 {
		try(fmt.Sprint("one address, another account, ", n), fmt.Sprintf("a%d@example.jp", n), "BBBB-BBBB", 422)
	}
	try("too many of one address", "b@example.jp", "BBBB-BBBB", 429)
	d.from = "203.0.113.2:1"
	try("another address", "b@example.jp", code.UserCode, 200)
	got := d.decide(admin, codeAnswer{UserCode: "BBBB-BBBB"}, "approve", hana)
	if got.status != http.StatusTooManyRequests {
		t.Errorf("the form of the decision lets guess: %d", got.status)
	}
}

// Scanners of mail (Safe Links, Barracuda, Gmail) open every address, and burned one-time links (supabase/auth #1214, emdash #3298,
// better-auth #9690).
func TestScannersChangeNothing(t *testing.T) {
	d := newDesk(t)
	d.run()
	code := d.code()
	der, _ := csr(t)
	op := d.register(d.granted(), "k", der)
	d.await("letters", func() bool { return len(d.mail.list()) == 2 && d.count("journal/intent/letter/") == 0 })
	before := d.dump()
	address := regexp.MustCompile(regexp.QuoteMeta(base) + `(/[^\s"<]*)`)
	paths := []string{"/device", "/device?user_code=" + code.UserCode, "/device?code=" + code.UserCode + "&do=approve&user=" + hana,
		"/device/decision?code=" + code.UserCode + "&do=approve&user=" + hana, "/print/", "/print/printers/" + op.PrinterID + "/unregister", "/oauth/device_authorization?" + about().Encode(),
		"/oauth/token?device_code=" + code.DeviceCode, "/print/v1/printers/" + op.PrinterID, "/.well-known/openid-configuration"}
	for _, l := range d.mail.list() {
		found := address.FindAllStringSubmatch(l.Text, -1)
		if len(found) != 1 {
			t.Errorf("%d addresses in %s", len(found), l.Text)
		}
		for _, m := range found {
			paths = append(paths, m[1], m[1]+"?confirm=yes")
		}
	}
	href := regexp.MustCompile(`(?:href|action)="(/[^"]*)"`)
	for _, shown := range []string{d.page(admin, "/device").body, d.page(admin, "/print/").body, d.as(admin, "/device", url.Values{"code": {code.UserCode}}).body} {
		for _, m := range href.FindAllStringSubmatch(shown, -1) {
			paths = append(paths, m[1])
		}
	}
	for _, path := range paths {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			for _, authorization := range []string{"", basic(admin, password)} { // a browser that previews links is logged in
				r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
				if authorization != "" {
					r.Header.Set("Authorization", authorization)
				}
				d.do(r)
			}
		}
	}
	if diff := cmp.Diff(before, d.dump()); diff != "" {
		t.Errorf("after %d addresses: %s", len(paths), diff)
	}
	if shown := d.page(admin, "/device?user_code="+code.UserCode+"&code="+code.UserCode).body; strings.Contains(shown, code.UserCode) || strings.Contains(shown, `id="code" name="code" value`) {
		t.Error("a link fills the code in")
	}
}

func TestForeignSitesDecideNothing(t *testing.T) {
	d := newDesk(t)
	d.run()
	code := d.code()
	der, _ := csr(t)
	op := d.register(d.granted(), "k", der)
	d.await("letters", func() bool { return len(d.mail.list()) == 2 && d.count("journal/intent/letter/") == 0 })
	_, link, _ := strings.Cut(d.mail.list()[0].Text, base)
	link, _, _ = strings.Cut(link, "\n")
	before := d.dump()
	for path, in := range map[string]url.Values{
		"/device/decision": {"code": {code.UserCode}, "do": {"approve"}, "user": {hana}},
		"/device":          {"code": {code.UserCode}},
		"/print/printers/" + op.PrinterID + "/unregister": {},
		"/print/printers/" + op.PrinterID + "/remove":     {"user": {hana}},
		link: {},
	} {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
			got := d.form(path, in, append(header, "Authorization", basic(admin, password))...)
			if got.status != http.StatusForbidden {
				t.Errorf("%s with %v: %d", path, header, got.status)
			}
		}
	}
	if diff := cmp.Diff(before, d.dump()); diff != "" {
		t.Error(diff)
	}
}

func TestOnlyAdministratorsDecide(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	form := url.Values{"code": {code.UserCode}, "do": {"approve"}, "user": {hana}}
	for rule, authorization := range map[string]string{"nobody": "", "a user": basic(hana, password), "a wrong password": basic(admin, "x"), "no mail address": basic("root", password)} {
		got := d.form("/device/decision", form, "Authorization", authorization, "Sec-Fetch-Site", "same-origin")
		if got.status != http.StatusUnauthorized || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: %d", rule, got.status)
		}
	}
	for range 5 {
		d.form("/device/decision", form, "Authorization", basic(admin, "x"))
	}
	if got := d.form("/device/decision", form, "Authorization", basic(admin, password)); got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("after wrong passwords: %d", got.status)
	}
}

func TestTheFirstAdministratorDecides(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct {
		first, second, word string
	}{{"approve", "deny", ""}, {"deny", "approve", "access_denied"}, {"approve", "approve", ""}, {"deny", "deny", "access_denied"}} {
		code := d.code()
		if got := d.decide(admin, code, c.first, hana); got.status != 200 {
			t.Errorf("%+v: %d %s", c, got.status, got.body)
		}
		if got := d.decide(admin, code, c.first, hana); got.status != 200 {
			t.Errorf("%+v: the same form twice: %d", c, got.status)
		}
		if got := d.decide("ops@example.jp", code, c.second, hana); got.status != http.StatusConflict || !strings.Contains(got.body, "by "+admin) {
			t.Errorf("%+v: the second administrator: %d %s", c, got.status, got.body)
		}
		if word, _ := d.poll(code, verifier); word != c.word {
			t.Errorf("%+v: %s", c, word)
		}
		d.fake.Advance(time.Minute)
	}
}

func TestTheAdministratorChoosesTheUsers(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	shown := d.as(admin, "/device", url.Values{"code": {code.UserCode}}).body
	if strings.Contains(shown, "checked") || !strings.Contains(shown, `value="`+hana+`"`) {
		t.Error("the requester must be offered, and not be ticked")
	}
	for _, c := range []struct {
		rule   string
		users  []string
		others string
		want   string
	}{
		{"nobody", nil, "", "Choose at least one user"},
		{"no address", nil, "ken", "“ken” is no mail address"},
		{"a second header", []string{"ken@example.jp\r\nBcc: all@example.jp"}, "", "is no mail address"},
		{"a display name", nil, "Ken<ken@example.jp>", "is no mail address"},
		{"an address to route by", []string{"ken%evil.example@example.jp"}, "", "is no mail address"},
		{"another one", []string{"evil.example!ken@example.jp"}, "", "is no mail address"},
		{"two in one", []string{"a@example.jp,b@example.jp"}, "", "is no mail address"},
		{"too many", nil, many(16), "At most 15 users"},
	} {
		got := d.as(admin, "/device/decision", url.Values{"code": {code.UserCode}, "do": {"approve"}, "user": c.users, "others": {c.others}})
		if got.status != http.StatusUnprocessableEntity || !strings.Contains(got.body, c.want) || !strings.Contains(got.body, "Nothing was allowed yet.") {
			t.Errorf("%s: %d %s", c.rule, got.status, got.body)
		}
	}
	got := d.as(admin, "/device/decision", url.Values{"code": {code.UserCode}, "do": {"approve"}, "user": {hana}, "others": {"Ken@Example.jp; " + hana + "\r\n yuki.a@example.jp"}})
	for _, mail := range []string{hana, "ken@example.jp", "yuki.a@example.jp"} {
		if strings.Count(got.body, "<li>"+mail+"</li>") != 1 {
			t.Errorf("%s: %d %s", mail, got.status, got.body)
		}
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "u%d@example.jp ", i)
	}
	return b.String()
}

// Each decision stands in the audit chain, with who, and what was shown.
func TestDecisionsAreAudited(t *testing.T) {
	d := newDesk(t)
	code := d.code()
	d.decide(admin, code, "approve", hana)
	d.poll(code, verifier)
	var actions []string
	for key, value := range d.dump() {
		if strings.HasPrefix(key, "audit/jp/print/0") {
			var e struct{ Actor, Action string }
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				t.Fatal(err)
			}
			actions = append(actions, e.Action+" by "+e.Actor)
		}
	}
	if len(actions) != 2 || !strings.Contains(strings.Join(actions, ", "), "code.approved by "+admin) {
		t.Error(actions)
	}
}

// Text that a client tells can neither leave its place on the page nor turn what stands around it.
func TestForeignTextStaysInItsPlace(t *testing.T) {
	d := newDesk(t)
	evil := "\"><script>alert(1)</script>\u202e\r\nSerial"
	var change []string
	for _, name := range []string{"device_name", "device_make", "device_model", "device_serial", "device_location", "device_address", "requester", "site"} {
		change = append(change, name, evil)
	}
	code := d.code(append(change, "client_id", `"><script>`)...)
	got := d.as(admin, "/device", url.Values{"code": {code.UserCode}})
	if got.status != 200 || strings.Contains(got.body, "<script") || strings.Contains(got.body, "\u202e") || strings.Contains(got.body, `checkbox`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if policy := got.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		t.Error(policy)
	}
}

func TestWhatIsOverIsForgotten(t *testing.T) {
	d := newDesk(t)
	d.run()
	der, _ := csr(t)
	d.register(d.granted(), "k", der)
	d.await("letters", func() bool { return d.count("journal/intent/letter/") == 0 })
	d.code()
	d.fake.Advance(print.DefaultLifetime + 24*time.Hour + time.Minute)
	d.await("the end of codes, tokens and operations", func() bool {
		return d.count("code/")+d.count("user-code/")+d.count("from/")+d.count("token/")+d.count("operation/")+d.count("journal/intent/") == 0
	})
	if d.count("printer/") != 1 || d.count("device/") != 1 || d.count("person/") != 2 {
		t.Errorf("%v", d.dump())
	}
}
