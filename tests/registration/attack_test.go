package registration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// TestAttackScanners opens every address in every letter, of the gateway and of the print service, as scanners of mail do: with GET and
// HEAD, as a stranger and as somebody who is logged in. Nothing changes, and the approval works afterwards.
func TestAttackScanners(t *testing.T) {
	s := attackOn(t, 3, "")
	first := s.ask(1, "office", attackUser)
	if status, page := s.region.Decide(t, attackBoss, s.password, s.code(first.ID), attackUser); status != 200 {
		t.Fatal(page)
	}
	s.ends(first.ID, mfpgate.RegistrationRegistered)
	s.box.AwaitTo(t, attackUser)
	s.region.Mail.Await(t, 1)
	waits := s.ask(2, "office", attackOther)
	code := s.code(waits.ID)
	rig.Until(t, "everything at rest", func() bool { return s.get(waits.ID).Mails == 1 })

	var addresses []string
	for _, l := range s.box.Letters() {
		addresses = append(addresses, attackAddress.FindAllString(l.Text, -1)...)
	}
	confirm := ""
	for _, l := range s.region.Mail.Letters() {
		found := attackAddress.FindAllString(l.Text, -1)
		confirm = found[0]
		addresses = append(addresses, found...)
	}
	if len(addresses) < 5 { // page and portal twice, the end's portal, the confirmation
		t.Fatalf("only the addresses %q", addresses)
	}
	people := []*attackBrowser{s.browser(), s.login("sato"), s.login("mori")}
	before := s.state()
	for _, address := range addresses {
		for _, b := range people {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				for _, authorization := range []string{"", "it"} {
					var more []string
					if authorization != "" {
						r := &http.Request{Header: http.Header{}}
						r.SetBasicAuth(attackBoss, s.password.Reveal())
						more = []string{"Authorization", r.Header.Get("Authorization")}
					}
					for _, suffix := range []string{"", "?confirm=1&decision=approve&do=approve&code=" + code} {
						status, header, _ := b.do(method, address+suffix, nil, more...)
						if to := header.Get("Location"); status == 303 && !strings.HasPrefix(to, "/") {
							t.Errorf("%s leads to %s", address, to)
						}
					}
				}
			}
		}
	}
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(s.state(), "\n")); diff != "" {
		t.Errorf("after %d addresses: %s", len(addresses), diff)
	}
	if status, page := s.region.Decide(t, attackBoss, s.password, code, attackOther); status != 200 {
		t.Errorf("the approval afterwards: %d %s", status, page)
	}
	s.ends(waits.ID, mfpgate.RegistrationRegistered)
	if status, page := s.region.Form(t, "", "", strings.TrimPrefix(confirm, s.region.URL), nil); status != 200 || !strings.Contains(page, "is confirmed") {
		t.Errorf("the confirmation afterwards: %d %s", status, page)
	}
}

// TestAttackStrangers has everybody who can name an address try to have a stranger mailed.
func TestAttackStrangers(t *testing.T) {
	s := attackOn(t, 6, "")
	for _, stranger := range []string{"x@evil.example", "x@sub.example.co.jp", "x@evilexample.co.jp", "x@example.co.jp.evil.example", "x%evil.example@example.co.jp",
		"evil.example!x@example.co.jp", `"x@evil.example"@example.co.jp`, `"x"@example.co.jp`, "x@example.co.jp,y@evil.example", "<x@example.co.jp>", "X <x@example.co.jp>",
		"@evil.example:x@example.co.jp", "x@example.co.jp\\r\\nBcc: y@evil.example", "x@example.co.jp\\u2028", "x@ex\\u0430mple.co.jp", "x@[127.0.0.1]", "x@example.co.jp."} {
		stranger = strings.ReplaceAll(stranger, `"`, `\"`)
		body := fmt.Sprintf(`{"deviceId":%q,"service":"office","user":%q,"admin":"%s"}`, s.target(1), attackUser, stranger)
		if status, text := s.call("POST", "registrations", body); status != 422 {
			t.Errorf("administrator %s: %d %s", stranger, status, text)
		}
	}
	// A user of the portal asks for himself and for nobody else, and cannot name who approves.
	sato := s.login("sato")
	form := url.Values{"key": {strings.Repeat("A", 26)}, "device": {string(s.target(1))}, "service": {"office"}, "email": {"x@evil.example"},
		"approver": {"x@evil.example"}, "admin": {"x@evil.example"}, "user": {"x@evil.example"}, "retries": {"10"}}
	status, header, _ := sato.do("POST", "/register", form)
	id := strings.TrimPrefix(header.Get("Location"), "/registrations/")
	if g := s.get(id); status != 303 || g.User != attackUser || g.Admin != attackBoss || g.Account != "sato" || g.Attempts != 3 {
		t.Errorf("%d %+v", status, g)
	}
	s.code(id)
	// A user outside the domains gets no letter at the end, whatever it is.
	outside := s.ask(2, "office", "x@evil.example")
	if status, page := s.region.Decide(t, attackBoss, s.password, s.code(outside.ID)); status != 200 {
		t.Fatal(page)
	}
	s.ends(outside.ID, mfpgate.RegistrationFailed)
	// A device that registers itself names addresses in what it reports.
	agent := s.ask(0, "office", attackOther)
	device := s.agentAt("127.43.0.1")
	if status, text := device("POST", "/device/v1/registration-requests/"+agent.ID+"/result",
		`{"state":"failed","reason":"x","detail":"To: x@evil.example, Bcc: y@evil.example https://evil.example/"}`); status != 204 {
		t.Fatalf("%d %s", status, text)
	}
	s.ends(agent.ID, mfpgate.RegistrationFailed)
	s.box.AwaitTo(t, attackOther)
	for _, l := range s.box.Letters() {
		if !strings.HasSuffix(l.To, "@example.co.jp") || strings.Contains(l.To, ",") {
			t.Errorf("a letter to %s: %s", l.To, l.Subject)
		}
	}
}

// agentAt is a device that asks at the devices' door from its address.
func (s *attackScene) agentAt(address string) func(method, path, body string, more ...string) (int, string) {
	return func(method, path, body string, more ...string) (int, string) {
		s.t.Helper()
		b := s.browser()
		b.http.Transport = attackFrom(s.t, address)
		status, _, text := b.do(method, path, nil, append([]string{"Content-Type", "application/json", "Idempotency-Key", "k", "X-Body", body}, more...)...)
		return status, text
	}
}

// TestAttackOthersRegistrations has a user, a stranger, another site and a device reach for what is not theirs.
func TestAttackOthersRegistrations(t *testing.T) {
	s := attackOn(t, 3, "")
	g := s.ask(1, "office", attackUser)
	own := s.ask(0, "office", attackUser)
	code := s.code(g.ID)
	rig.Until(t, "everything at rest", func() bool { return s.get(g.ID).Mails == 1 })
	abe, sato, mori := s.login("abe"), s.login("sato"), s.login("mori")
	before := s.state()
	one := "/registrations/" + g.ID
	for _, path := range []string{one, one + "/live", one + "/events", "/registrations", "/registrations/live"} {
		status, _, page := abe.do("GET", path, nil)
		if strings.HasPrefix(path, one) != (status == 404) || strings.Contains(page, g.ID) || strings.Contains(page, attackUser) || strings.Contains(page, code) {
			t.Errorf("abe reads %s: %d %s", path, status, page)
		}
	}
	if _, _, page := sato.do("GET", one, nil); strings.Contains(page, code) || !strings.Contains(page, "target 1") {
		t.Errorf("sato reads his own: %s", page)
	}
	for _, path := range []string{one + "/cancel", one + "/resend", one + "/retry", one + "/decide"} {
		form := url.Values{"decision": {"approve"}}
		if status, _, page := abe.do("POST", path, form); status != 404 && status != 403 {
			t.Errorf("abe: %s: %d %s", path, status, page)
		}
		if status, _, page := s.browser().do("POST", path, form); status != 303 {
			t.Errorf("a stranger: %s: %d %s", path, status, page)
		}
		for _, foreign := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "", "Origin", "null"}} {
			if status, _, page := mori.do("POST", path, form, foreign...); status != 403 || !strings.Contains(page, "another site") {
				t.Errorf("another site, %q: %s: %d %s", foreign, path, status, page)
			}
		}
	}
	if status, _, page := sato.do("POST", one+"/decide", url.Values{"decision": {"approve"}}); status != 403 {
		t.Errorf("sato decides himself: %d %s", status, page)
	}
	for _, path := range []string{"/api/v1/registrations", "/api/v1/registrations/" + g.ID, "/api/v1/registrations/" + g.ID + "/events", "/api/v1/audit", "/api/v1/users", "/devices", "/devices.csv", "/"} {
		if status, _, page := sato.do("GET", path, nil); status != 403 && path != "/" || strings.Contains(page, g.ID) {
			t.Errorf("sato reads %s: %d %s", path, status, page)
		}
	}
	// The devices' door.
	device, other := s.agentAt("127.43.0.1"), s.agentAt("127.43.0.2")
	if status, text := device("GET", "/device/v1/registration-requests", ""); status != 200 || !strings.Contains(text, own.ID) || strings.Contains(text, g.ID) || strings.Contains(text, code) {
		t.Errorf("the device reads: %d %s", status, text)
	}
	for _, id := range []string{g.ID, own.ID} {
		for who, from := range map[string]func(string, string, string, ...string) (int, string){"another device": other, "a stranger": s.agentAt("127.43.9.9")} {
			if status, text := from("POST", "/device/v1/registration-requests/"+id+"/result", `{"state":"failed","reason":"x"}`, "X-Forwarded-For", "127.43.0.1", "Forwarded", "for=127.43.0.1",
				"X-Real-Ip", "127.43.0.1"); status != 404 && status != 401 && status != 403 {
				t.Errorf("%s reports about %s: %d %s", who, id, status, text)
			}
		}
	}
	if status, text := device("POST", "/device/v1/registration-requests/"+g.ID+"/result", `{"state":"registered","printerId":"p"}`); status != 404 {
		t.Errorf("the device reports about another's: %d %s", status, text)
	}
	// Where the portal leads, and under which name.
	for _, next := range []string{"//evil.example/", "/\\evil.example", "https://evil.example/", "/%09/evil.example", "/%5cevil.example", "/%2f%2fevil.example", "javascript:alert(1)", "/.//evil.example", "/login?next=//evil.example"} {
		status, header, _ := s.browser().do("POST", "/login", url.Values{"name": {"mori"}, "password": {attackPassword}, "next": {next}})
		if to := header.Get("Location"); status != 303 || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\t") || strings.Contains(to, "%5c") {
			t.Errorf("after the login, next=%s: %d %q", next, status, to)
		}
	}
	_, _, page := mori.do("GET", "/devices/"+string(s.target(1))+"/sheet", nil, "Host", "evil.example")
	_, _, picture := mori.do("GET", "/devices/"+string(s.target(1))+"/qr.svg", nil)
	if _, _, other := mori.do("GET", "/devices/"+string(s.target(1))+"/qr.svg", nil, "Host", "evil.example"); strings.Contains(page, "evil.example") || other != picture {
		t.Errorf("the Host header chooses where a QR code leads:\n%s\n%s\n%s", page, picture, other)
	}
	if diff := cmp.Diff(strings.Split(before, "\n"), strings.Split(s.state(), "\n")); diff != "" {
		t.Error(diff)
	}
	// Who is made a user while he is logged in is one with the next request.
	s.want("PUT", "users/mori", fmt.Sprintf(`{"password":%q,"email":"mori@example.co.jp","role":"user"}`, attackPassword), 204)
	for _, path := range []string{one, "/api/v1/registrations/" + g.ID, one + "/events"} {
		if status, _, page := mori.do("GET", path, nil); status == 200 || strings.Contains(page, code) {
			t.Errorf("mori reads %s still: %d", path, status)
		}
	}
}

// TestAttackKeysOfOthers has two callers use one idempotency key: neither may be given what is the other's.
func TestAttackKeysOfOthers(t *testing.T) {
	s := attackOn(t, 4, "")
	mori := s.login("mori")
	const key = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
	first := s.want("POST", "registrations", attackBody(s.target(1), "office", attackUser), 202, "Idempotency-Key", key)
	if status, again := s.call("POST", "registrations", attackBody(s.target(1), "office", attackUser), "Idempotency-Key", key); status >= 300 || idOf(t, again) != idOf(t, first) {
		t.Errorf("the same again: %d %s, want %s", status, again, first)
	}
	s.want("POST", "registrations", attackBody(s.target(2), "office", attackUser), 422, "Idempotency-Key", key)
	status, header, page := mori.do("POST", "/register", url.Values{"key": {key}, "device": {string(s.target(3))}, "service": {"office"}, "email": {attackOther}})
	if id := strings.TrimPrefix(header.Get("Location"), "/registrations/"); status != 303 || id == idOf(t, first) {
		t.Errorf("another caller: %d %s %s", status, id, page)
	} else if g := s.get(id); g.User != attackOther || g.Device.ID != s.target(3) || g.Account != "mori" {
		t.Errorf("another caller has %+v", g)
	}
}

func idOf(t *testing.T, text string) string {
	t.Helper()
	var g control.RegistrationDetail
	servertest.Must(t, json.Unmarshal([]byte(text), &g))
	return g.ID
}

// TestAttackOneDeviceAtOnce has many users ask for one device at the same time: it becomes one printer, for all of them.
func TestAttackOneDeviceAtOnce(t *testing.T) {
	s := attackOn(t, 2, "")
	const users = 6
	type answer struct {
		id  string
		err string
	}
	answers := make(chan answer, 3*users)
	for n := range 3 * users { // each asks three times at once
		go func() { // the loop below waits for all
			status, text := s.call("POST", "registrations", attackBody(s.target(1), "office", fmt.Sprintf("u%d@example.co.jp", n%users)))
			a := answer{err: fmt.Sprint(status, " ", text)}
			if status == 202 || status == 200 {
				var g mfpgate.Registration
				_ = json.Unmarshal([]byte(text), &g)
				a = answer{id: g.ID}
			}
			answers <- a
		}()
	}
	ids := map[string]bool{}
	for range 3 * users {
		if a := <-answers; a.err != "" {
			t.Error(a.err)
		} else {
			ids[a.id] = true
		}
	}
	if len(ids) != users {
		t.Fatalf("%d registrations of %d users", len(ids), users)
	}
	done := map[string]bool{}
	rig.Until(t, "all are registered", func() bool {
		open := 0
		for id := range ids {
			g := s.get(id)
			if g.State.Ended() {
				continue
			}
			open++
			if g.UserCode != "" && !done[g.UserCode] {
				done[g.UserCode] = true
				if status, page := s.region.Decide(t, attackBoss, s.password, g.UserCode, g.User); status != 200 {
					t.Errorf("%d %s", status, page)
				}
			}
		}
		return open == 0
	})
	printers := map[string]bool{}
	for id := range ids {
		g := s.ends(id, mfpgate.RegistrationRegistered)
		printers[g.PrinterID] = true
	}
	state := s.state()
	if n := strings.Count(state, "\"printer.registered\""); len(printers) != 1 || n != 1 {
		t.Errorf("%d printers, registered %d times", len(printers), n)
	}
}
