package registration_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

var (
	typed = regexp.MustCompile(`\b[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}\b`)
	link  = regexp.MustCompile(`https://\S+`)
)

func TestRegistrations(t *testing.T) {
	h := openHouse(t)
	t.Run("all", func(t *testing.T) {
		for name, story := range map[string]func(*testing.T, *house){
			"a device that the gateway registers, told by events, and a second user of it": byEvents,
			"a device that the gateway registers, asked by polls":                          byPolls,
			"a device that registers itself, asking by long polls":                         itself,
			"a device that registers itself, in an open session, and a refusal":            itselfInASession,
			"a device alone, at its panel":                                                 alone,
			"two users at the same moment":                                                 twoAtOnce,
			"an administrator who chooses others":                                          others,
			"codes that expire, and asking again":                                          expiry,
			"a mail server that is away":                                                   mailAway,
			"a print service that is away":                                                 serviceAway,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				story(t, h)
			})
		}
	})
	if out := h.command(t, "audit", "verify"); !strings.Contains(out, "approval: ") {
		t.Errorf("audit verify says %q", out)
	}
}

// asks is a user who opens the link of a device's QR code, logs in and submits the form.
func (h *house) asks(t *testing.T, link, service, name string) (page *tab, id string) {
	t.Helper()
	page = h.browser.person(t)
	page.open(link)
	page.login(&h.door, name)
	page.await(`document.querySelector("button.primary") && location.pathname === "/register"`)
	page.do(chromedp.Click(`input[name=service][value=` + service + `]`))
	page.picture("register")
	page.do(chromedp.Click("main button.primary"))
	page.await(`location.pathname.startsWith("/registrations/") && document.getElementById("state")`)
	_, id, _ = strings.Cut(eval[string](page, "location.pathname"), "/registrations/")
	return page, id
}

func (h *house) linkOf(t *testing.T, device string) string {
	t.Helper()
	return "https://" + h.Portal + "/register?" + url.Values{"device": {string(h.device(t, device).ID)}}.Encode()
}

// types is an administrator who logs in to the service and types the code of a letter, which names the page.
func (h *house) types(t *testing.T, s *service, administrator, letter string) *tab {
	t.Helper()
	if !strings.Contains(letter, s.url+"/device\n") {
		t.Errorf("the letter does not name the page %s/device:\n%s", s.url, letter)
	}
	page := h.browser.person(t)
	at, err := url.Parse(s.url + "/device")
	if err != nil {
		t.Fatal(err)
	}
	at.User = url.UserPassword(administrator, s.passwords[administrator])
	page.open(at.String())
	page.do(chromedp.SendKeys("#code", typed.FindString(letter)), chromedp.Click("#look"))
	page.await(`document.getElementById("decision")`)
	return page
}

// allows chooses the user who asked, and approves.
func (b *tab) allows() {
	b.t.Helper()
	b.do(chromedp.Click("#requester"), chromedp.Click("#approve"))
	b.await(`document.getElementById("outcome")`)
}

// confirms is a user who opens the link of the service's letter and presses the button.
func (h *house) confirms(t *testing.T, page *tab, user string) {
	t.Helper()
	letter := h.letter(t, 1, fromService, user, "Please confirm")
	page.open(link.FindString(letter.Text))
	page.says(user)
	page.picture("confirm")
	page.do(chromedp.Click("#confirm"))
	page.await(`document.getElementById("outcome")`)
	page.picture("confirmed")
}

// certified proves what stands in the end: the service, the gateway and the certificate agree.
func (h *house) certified(t *testing.T, s *service, r control.RegistrationDetail, p printer) {
	t.Helper()
	sum := sha256.Sum256(s.certified(t, r.Device.UUID))
	if print := hex.EncodeToString(sum[:]); r.Certificate != print || p.fingerprint != print {
		t.Errorf("the certificate is %s, for the gateway %s, for the service %s", print, r.Certificate, p.fingerprint)
	}
	if r.PrinterID != p.id || r.PrinterURI == "" {
		t.Errorf("the printer is %s at the service and %s (%s) at the gateway", p.id, r.PrinterID, r.PrinterURI)
	}
}

// audited wants these actions, in their order, in the gateway's record of a registration.
func (s *site) audited(t *testing.T, id string, want ...string) {
	t.Helper()
	var list struct{ Items []control.AuditEntry }
	if err := json.Unmarshal([]byte(s.command(t, "audit", "list", "--room", "approval", "--limit", "1000", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range slices.Backward(list.Items) {
		if e.Object == id {
			got = append(got, strings.TrimPrefix(e.Action, "registration."))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the record of %s is %q, want %q", id, got, want)
	}
}

func byEvents(t *testing.T, h *house) {
	h.delegated(t, h.told, "told", 1, "sato")
	if h.told.count("GET /oauth/device_events") == 0 {
		t.Error("nobody waited for the service's events")
	}
	h.secondUser(t, h.told, "told", 1, "sato", "suzuki")
}

func byPolls(t *testing.T, h *house) {
	h.delegated(t, h.asked, "asked", 2, "tanaka")
	if n := h.asked.count("POST /oauth/token"); n < 2 {
		t.Errorf("the service was polled %d times", n)
	}
}

// delegated is the whole way of a device that the gateway registers.
func (h *house) delegated(t *testing.T, s *service, service string, n int, name string) {
	user := h.member(t, name)
	asking, id := h.asks(t, h.linkOf(t, copier(n)), service, name)
	stays := asking.remember()
	letter := h.letter(t, 1, fromGateway, boss, "Please approve: "+copier(n),
		copier(n), serialOf(n), place, copierAt(n), user, "Asked by:      "+name, "Asked from:    127.0.0.1", "Asked at:      20")
	asking.state("Waiting for the administrator")
	asking.says("A letter went to the administrator")
	asking.picture("waiting-" + service)
	if text := eval[string](asking, "document.body.innerText"); strings.Contains(text, boss) || strings.Contains(text, typed.FindString(letter.Text)) {
		t.Errorf("the user is shown the code, or the administrator's address:\n%s", text)
	}

	deciding := h.types(t, s, boss, letter.Text)
	deciding.says(copier(n), serialOf(n), place, user, "e2e", h.registration(t, id).Device.UUID)
	if eval[bool](deciding, `document.getElementById("requester").checked`) {
		t.Error("the page has chosen a user by itself")
	}
	deciding.picture("decide-" + service)
	deciding.allows()
	deciding.says("is allowed", user)
	deciding.picture("decided")

	asking.state("Registered, not ready to print yet")
	asking.says("Open the link in that letter, and confirm; then you can print.")
	stays()
	asking.picture("registered-" + service)
	r := h.registration(t, id)
	h.certified(t, s, r, s.has(t, serialOf(n), "unconfirmed", user))
	h.confirms(t, asking, user)
	s.has(t, serialOf(n), "allowed", user)
	deciding.open(s.url + "/print/")
	deciding.picture("printers")
	h.letter(t, 1, fromGateway, user, "One step to go: "+copier(n), serialOf(n), place, "https://"+h.Portal+"/registrations/"+id)
	h.audited(t, id, "requested", "code-issued", "mail-sent", "approved", "registered")
}

// secondUser lets another user print on a device that is registered: the administrator is asked for that alone.
func (h *house) secondUser(t *testing.T, s *service, service string, n int, first, second string) {
	t.Helper()
	user := h.member(t, second)
	before := s.has(t, serialOf(n), "allowed", mailOf(first))
	asking, id := h.asks(t, h.linkOf(t, copier(n)), service, second)
	stays := asking.remember()
	letter := h.letter(t, 2, fromGateway, boss, "Please approve: "+copier(n), "let one more user print on a device that is registered", user)
	asking.state("Waiting for the administrator")
	asking.says("The print service lets the user in")
	deciding := h.types(t, s, boss, letter.Text)
	deciding.says("Allow another user?", "Allow these users", "Who may print on it now", mailOf(first), before.id)
	deciding.picture("decide-second")
	deciding.allows()
	asking.state("Registered, not ready to print yet")
	asking.says("Open the link in that letter, and confirm; then you can print.")
	stays()
	asking.picture("registered-second")
	h.confirms(t, asking, user)
	after := s.has(t, serialOf(n), "allowed", mailOf(first), user)
	if r := h.registration(t, id); r.Purpose != mfpgate.PurposeAllowUser || after.id != before.id || after.fingerprint != before.fingerprint || r.Certificate != after.fingerprint {
		t.Errorf("the printer was %+v and is %+v; the gateway says %+v", before, after, r)
	}
	h.letter(t, 1, fromGateway, user, "One step to go: "+copier(n))
	h.audited(t, id, "requested", "code-issued", "mail-sent", "approved", "user-granted")
}
