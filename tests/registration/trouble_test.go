package registration_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/tests/mailbox"
)

// twoAtOnce are two users who ask for the same device at the same moment.
func twoAtOnce(t *testing.T, h *house) {
	const n = 3
	users, ids := []string{mailOf("abe"), mailOf("goto")}, make([]string, 2)
	var asking sync.WaitGroup
	for i, user := range users {
		asking.Go(func() { ids[i] = h.request(t, copier(n), "asked", user) })
	}
	asking.Wait()
	first := h.letter(t, 1, fromGateway, boss, "Please approve: "+copier(n))
	later := 0
	if strings.Contains(first.Text, users[0]) {
		later = 1
	}
	h.comes(t, ids[later], "the other one waits, and says why", func(r mfpgate.Registration) bool {
		return r.State == mfpgate.RegistrationRequested && r.Reason == approval.DeviceBusy && strings.Contains(r.Detail, "goes on after it")
	})
	for i, purpose := range []mfpgate.RegistrationPurpose{mfpgate.PurposeRegister, mfpgate.PurposeAllowUser} {
		who := (later + 1 + i) % 2
		letter := h.letter(t, i+1, fromGateway, boss, "Please approve: "+copier(n), users[who])
		if status := h.asked.approve(t, boss, typed.FindString(letter.Text), users[who]); status != http.StatusOK {
			t.Fatalf("the decision is answered with %d", status)
		}
		if r := h.comes(t, ids[who], "registered", registered); r.Purpose != purpose {
			t.Errorf("%s got there by %s, want %s", users[who], r.Purpose, purpose)
		}
		h.letter(t, 1, fromGateway, users[who], "One step to go: "+copier(n))
	}
	h.asked.has(t, serialOf(n), "unconfirmed", users...)
}

// others is an administrator who lets the device in, and other users than the one who asked.
func others(t *testing.T, h *house) {
	const n = 7
	user := h.member(t, "okada")
	asking, id := h.asks(t, h.linkOf(t, copier(n)), "asked", "okada")
	letter := h.letter(t, 1, fromGateway, deputy, "Please approve: "+copier(n), user)
	if status := h.asked.approve(t, deputy, typed.FindString(letter.Text), mailOf("saito")); status != http.StatusOK {
		t.Fatalf("the decision is answered with %d", status)
	}
	asking.state("Registered, not ready to print yet")
	asking.says("did not choose this user. Ask the administrator to allow the user in the print service, or ask again.")
	asking.picture("others")
	h.letter(t, 1, fromGateway, user, "Registered, but not for you: "+copier(n), "did not choose this user")
	before := h.asked.has(t, serialOf(n), "unconfirmed", mailOf("saito"))

	asking.do(chromedp.Click(`form[action$="/retry"] button`))
	letter = h.letter(t, 2, fromGateway, deputy, "Please approve: "+copier(n), "let one more user print", user)
	if status := h.asked.approve(t, deputy, typed.FindString(letter.Text), user); status != http.StatusOK {
		t.Fatalf("the decision is answered with %d", status)
	}
	asking.await(`!location.pathname.endsWith(` + fmt.Sprintf("%q", id) + `)`)
	asking.state("Registered, not ready to print yet")
	if after := h.asked.has(t, serialOf(n), "unconfirmed", mailOf("saito"), user); after.id != before.id {
		t.Errorf("the printer was %s, and is %s", before.id, after.id)
	}
}

// expiry lets all codes of a registration expire, asks again, and approves.
func expiry(t *testing.T, h *house) {
	const n = 5
	user := h.member(t, "hayashi")
	asking, id := h.asks(t, h.linkOf(t, copier(n)), "brief", "hayashi")
	stays := asking.remember()
	codes := map[string]bool{}
	for i := range 3 {
		letter := h.letter(t, i+1, fromGateway, deputy, "Please approve: "+copier(n), fmt.Sprintf("this is code %d of 3", i+1))
		codes[typed.FindString(letter.Text)] = true
	}
	asking.state("Failed")
	asking.says("Nobody approved it before the last code expired. Speak to the administrator, and ask again.")
	stays()
	asking.picture("exhausted")
	if r := h.registration(t, id); r.Reason != approval.Exhausted || r.Attempt != 3 || r.Mails != 3 || len(codes) != 3 {
		t.Errorf("%d codes were mailed, and it ended as %+v", len(codes), r)
	}
	h.letter(t, 1, fromGateway, user, "Not registered: "+copier(n), "Nobody approved it before the last code expired. Speak to the administrator, and ask again.",
		"https://"+h.Portal+"/registrations/"+id)
	h.audited(t, id, "requested", "code-issued", "mail-sent", "expired", "retried", "code-issued", "mail-sent", "expired", "retried", "code-issued", "mail-sent", "expired", "failed")

	asking.do(chromedp.Click(`form[action$="/retry"] button`))
	asking.await(`location.pathname.startsWith("/registrations/") && !location.pathname.endsWith(` + fmt.Sprintf("%q", id) + `)`)
	asking.says("It is asked for again.")
	stays = asking.remember()
	h.inTime(t, h.site, h.brief, 3, copier(n), user)
	asking.state("Registered, not ready to print yet")
	stays()
	h.brief.has(t, serialOf(n), "unconfirmed", user)
}

// inTime approves by the next letter whose code is still good when it comes: codes are short-lived here.
func (h *house) inTime(t *testing.T, at *site, s *service, after int, device, user string) {
	t.Helper()
	for i := 1; i <= 3; i++ {
		letter := at.letter(t, after+i, fromGateway, deputy, "Please approve: "+device, user)
		switch status := s.approve(t, deputy, typed.FindString(letter.Text), user); status {
		case http.StatusOK:
			return
		case http.StatusGone:
		default:
			t.Fatalf("the decision is answered with %d", status)
		}
	}
	t.Fatal("three codes expired before they could be used")
}

// mailAway has the mail server away during all of a code's life.
func mailAway(t *testing.T, h *house) {
	const n = 6
	box := mailbox.Start(t)
	s := openSite(t, box, h.brief.entry("brief", "push"))
	box.Down()
	user := mailOf("kimura")
	id := s.request(t, copier(n), "brief", user)
	s.comes(t, id, "says that the letter waits", func(r mfpgate.Registration) bool {
		return r.State == mfpgate.RegistrationAwaitingAdmin && r.MailError != "" && r.Mails == 0
	})
	r := s.comes(t, id, "the code has expired unseen", func(r mfpgate.Registration) bool { return r.Reason == approval.LetterWaits })
	if r.Attempt != 0 || !strings.Contains(r.Detail, "It does not count. Check the mail settings.") {
		t.Errorf("it stands as %+v, want no code counted", r)
	}
	box.Up(t)
	s.letter(t, 1, fromGateway, deputy, "Please approve: "+copier(n), "this is code 1 of 3")
	h.inTime(t, s, h.brief, 0, copier(n), user)
	s.comes(t, id, "registered", registered)
	s.letter(t, 1, fromGateway, user, "One step to go: "+copier(n))
	h.brief.has(t, serialOf(n), "unconfirmed", user)
	if out := s.command(t, "audit", "verify"); !strings.Contains(out, "approval: ") {
		t.Errorf("audit verify says %q", out)
	}
}

// serviceAway has the print service away in each phase: first nobody listens, then a front answers with a page for people.
func serviceAway(t *testing.T, h *house) {
	const n = 4
	s := h.shaky
	user := h.member(t, "inoue")
	s.down()
	asking, id := h.asks(t, h.linkOf(t, copier(n)), "shaky", "inoue")
	stays := asking.remember()

	// Nobody gives a code.
	h.recovers(t, s, id, mfpgate.RegistrationRequestingCode, "GET /.well-known/oauth-authorization-server", func() {
		asking.says("The print service gave no usable answer. It is asked again.")
		if text := eval[string](asking, `document.getElementById("why").textContent`); strings.Contains(text, "dial") {
			t.Errorf("the user is told what the network says: %s", text)
		}
		asking.picture("away")
	}, nil)
	letter := h.letter(t, 1, fromGateway, boss, "Please approve: "+copier(n), user)

	// Nobody says whether it was approved.
	s.down()
	h.recovers(t, s, id, mfpgate.RegistrationAwaitingAdmin, "POST /oauth/token", nil, nil)
	h.comes(t, id, "what was wrong is over", func(r mfpgate.Registration) bool { return r.Reason == "" })

	// Nobody enters the device, and then nobody says whether it is entered.
	s.when(leaveAfter("POST /oauth/token"))
	if status := s.approve(t, boss, typed.FindString(letter.Text), user); status != http.StatusOK {
		t.Fatalf("the decision is answered with %d", status)
	}
	h.recovers(t, s, id, mfpgate.RegistrationCertifying, "POST /print/v1/printers", nil, leaveAfter("POST /print/v1/printers"))
	h.recovers(t, s, id, mfpgate.RegistrationCertifying, "GET /print/v1/operations/*", nil, nil)
	r := h.comes(t, id, "registered", registered)
	if r.Attempt != 1 || r.Mails != 1 {
		t.Errorf("it took %d codes and %d letters", r.Attempt, r.Mails)
	}
	asking.state("Registered, not ready to print yet")
	stays()
	h.certified(t, s, h.registration(t, id), s.has(t, serialOf(n), "unconfirmed", user))
	h.letter(t, 1, fromGateway, user, "One step to go: "+copier(n))

	// Nobody lets the second user in.
	second := mailOf("shimizu")
	other := h.request(t, copier(n), "shaky", second)
	letter = h.letter(t, 2, fromGateway, boss, "Please approve: "+copier(n), second)
	s.when(leaveAfter("POST /oauth/token"))
	if status := s.approve(t, boss, typed.FindString(letter.Text), second); status != http.StatusOK {
		t.Fatalf("the decision is answered with %d", status)
	}
	h.recovers(t, s, other, mfpgate.RegistrationCertifying, "POST /print/v1/printers/*/users", nil, nil)
	h.comes(t, other, "registered", registered)
	s.has(t, serialOf(n), "unconfirmed", user, second)
}

func leaveAfter(call string) func(string) verdict {
	return func(c string) verdict {
		if c == call {
			return passLast
		}
		return pass
	}
}

// recovers takes a service that refuses connections through a time of bad answers to a call, and mends it. Each must be met.
func (h *house) recovers(t *testing.T, s *service, id string, state mfpgate.RegistrationState, call string, see func(), then func(string) verdict) {
	t.Helper()
	h.comes(t, id, "the service refuses connections", func(r mfpgate.Registration) bool {
		return r.State == state && r.Reason == approval.Unreached && strings.Contains(r.Detail, "connection refused")
	})
	if see != nil {
		see()
	}
	s.when(func(c string) verdict {
		if c == call {
			return badPage
		}
		return pass
	})
	before := s.count(call)
	s.up()
	await(t, call+" is answered with a bad page", func() bool { return s.count(call) > before }, func() string { return "it is not asked" })
	h.comes(t, id, "the service gives no usable answer", func(r mfpgate.Registration) bool { return r.State == state && r.Reason == approval.Unreached })
	s.when(then)
}
