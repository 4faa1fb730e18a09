package registration_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/tests/port"
	"github.com/mfpgate/mfpgate/tests/rig"
)

// device starts a simulated MFP that registers itself in a service.
func (h *house) deviceItself(t *testing.T, s *service, id, name, address string, flags ...string) {
	t.Helper()
	dir := rig.Dir(t)
	start(t, rig.Simulator(t), append([]string{"run", "--id", id, "--name", name, "--serial", serialOfItself(id), "--bind", address, "--cloud", s.url, "--ca", s.certificate,
		"--factory-key", filepath.Join(s.state, "factory.key"), "--poll", "1h", "--print", "--ipp-port", "17411", "--snmp-port", "17462", "--state", filepath.Join(dir, "state.json"), "--location", place,
		"--smtp", h.box.Address, "--smtp-ca", rig.WriteFile(t, dir, "mail.pem", string(h.box.PEM())), "--mail-from", fromOf(id)}, flags...)...)
}

func serialOfItself(id string) string { return "SELF-" + id }
func fromOf(id string) string         { return id + "." + fromDevice }

func (h *house) gatewayFlags() []string {
	return []string{"--agent", "https://" + h.Portal, "--agent-ca", filepath.Join(h.Dir, "state", "portal", "certificate.pem")}
}

func itself(t *testing.T, h *house) {
	h.registersItself(t, h.told, "told", 1, "kato", true)
}

func itselfInASession(t *testing.T, h *house) {
	panel := h.registersItself(t, h.asked, "asked", 2, "ito", false, "--agent-session")

	// Another user of it, whom the administrator does not want.
	user := h.member(t, "mori")
	asking, id := h.asks(t, h.linkOf(t, agent(2)), "asked", "mori")
	stays := asking.remember()
	letter := h.letter(t, 2, fromOf("agent-2"), boss, "Please approve", user)
	deciding := h.types(t, h.asked, boss, letter.Text)
	deciding.do(chromedp.Click("#deny"))
	deciding.await(`document.getElementById("outcome")`)
	deciding.picture("refused")
	asking.state("Failed")
	asking.says("The administrator said no. Speak to the administrator.", "Ask again")
	stays()
	asking.picture("denied")
	h.letter(t, 1, fromGateway, user, "Not registered", "The administrator said no. Speak to the administrator.", "https://"+h.Portal+"/registrations/"+id)
	h.asked.has(t, serialOfItself("agent-2"), "allowed", mailOf("ito"))
	h.audited(t, id, "requested", "denied")
	panel.says("Failed in")
	panel.picture("panel-denied")
}

// registersItself is the whole way of a device that registers itself for a gateway. It returns the device's panel.
func (h *house) registersItself(t *testing.T, s *service, service string, n int, name string, push bool, flags ...string) *tab {
	t.Helper()
	id := fmt.Sprintf("agent-%d", n)
	at := port.Free(t, agentAt(n))
	h.deviceItself(t, s, id, agent(n), agentAt(n), append(append(h.gatewayFlags(), "--panel", at,
		"--print-service", fmt.Sprintf("kind=reference,name=cloud,url=%s,ca=%s,push=%t", s.url, s.certificate, push)), flags...)...)
	panel := h.browser.person(t)
	await(t, "the panel shows the gateway's link", func() bool {
		panel.open("http://" + at + "/")
		return eval[bool](panel, `Boolean(document.querySelector('a[href*="/register?device="]'))`)
	}, func() string { return eval[string](panel, "document.body.innerText") })
	panel.picture("panel-" + service)

	user := h.member(t, name)
	asking, registration := h.asks(t, eval[string](panel, `document.querySelector('a[href*="/register?device="]').href`), service, name)
	stays := asking.remember()
	letter := h.letter(t, 1, fromOf(id), boss, "Please approve: "+agent(n), agent(n), serialOfItself(id), place, user)
	asking.state("Waiting for the administrator")
	asking.says("The printer has asked the administrator, and waits.")
	asking.picture("waiting-itself")
	panel.says("Waiting for the administrator")
	deciding := h.types(t, s, boss, letter.Text)
	deciding.says(agent(n), serialOfItself(id), place, user)
	deciding.picture("decide-itself")
	deciding.allows()
	asking.state("Registered, not ready to print yet")
	asking.says("Open the link in that letter, and confirm; then you can print.")
	stays()
	asking.picture("registered-itself")
	panel.says("Registered in")
	panel.picture("panel-registered")

	r := h.registration(t, registration)
	p := s.has(t, serialOfItself(id), "unconfirmed", user)
	if r.Mode != mfpgate.RegistrationAgent || r.Certificate != p.fingerprint || r.PrinterID != p.id {
		t.Errorf("the gateway has %+v, the service %+v", r, p)
	}
	h.confirms(t, asking, user)
	s.has(t, serialOfItself(id), "allowed", user)
	h.letter(t, 1, fromGateway, user, "One step to go: "+agent(n))
	all := h.box.Letters()
	if mine := letters(all, fromGateway, boss, "Please approve: "+agent(n)); len(mine) > 0 {
		t.Errorf("the gateway wrote to the administrator, too: %+v", mine)
	}
	if its := letters(all, fromOf(id), user, ""); len(its) > 0 {
		t.Errorf("the user was written to by the gateway and by the device: %+v", its)
	}
	h.audited(t, registration, "requested", "registered")
	return panel
}

// alone is a device without a gateway.
func alone(t *testing.T, h *house) {
	at := port.Free(t, "127.42.2.1")
	h.deviceItself(t, h.told, "alone-1", "Lobby", "127.42.2.1", "--panel", at,
		"--print-service", fmt.Sprintf("kind=reference,name=cloud,url=%s,ca=%s", h.told.url, h.told.certificate))
	panel := h.browser.person(t)
	await(t, "the panel answers", func() bool {
		return chromedp.Do(panel.ctx, chromedp.Navigate("http://"+at+"/")) == nil
	}, func() string { return "it does not" })
	user := mailOf("yamada")
	panel.do(chromedp.SendKeys("#user", user), chromedp.SendKeys("#admin", deputy))
	panel.picture("panel-form")
	panel.do(chromedp.Click("form[action='/register'] button"))
	panel.says("Waiting for the administrator", "A letter with the code went to "+deputy)
	stays := panel.remember()
	panel.picture("panel-waiting")
	letter := h.letter(t, 1, fromOf("alone-1"), deputy, "Please approve: Lobby", "Lobby", serialOfItself("alone-1"), place, user, "127.0.0.1")
	deciding := h.types(t, h.told, deputy, letter.Text)
	deciding.says("Lobby", serialOfItself("alone-1"), place, user)
	deciding.allows()
	panel.says("Registered in cloud for " + user)
	stays()
	panel.picture("panel-alone-registered")
	p := h.told.has(t, serialOfItself("alone-1"), "unconfirmed", user)
	panel.says(p.id)
	h.letter(t, 1, fromOf("alone-1"), user, "One step to go: Lobby")
	h.confirms(t, deciding, user)
	h.told.has(t, serialOfItself("alone-1"), "allowed", user)
}
