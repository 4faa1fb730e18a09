package moves_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// The devices of the site whose people use the portal.
const (
	borrowed = iota + 1 // of us, where it is registered
	unheard             // of us, which has never heard of it
)

// aUserRegisters plays claims 3 and 4, embodiment 1, in a browser: the site's region asks the market's for the
// device's id, and registers it under that; no data move before an administrator wants it so.
func aUserRegisters(t *testing.T) {
	const boss = "it@example.co.jp"
	s := open(t, options{network: "127.46", devices: unheard, region: "{policy: never}", more: func(s *scene) string {
		if _, err := s.JP.Local(t.Context(), "administrator", "add", boss); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("print_services: [{name: office, kind: reference, url: %q, ca: %s}]\nregistration: {admin: %s}\n", s.JP.URL, s.JP.Certificate, boss)
	}, begin: func(s *scene) {
		s.start(t, borrowed)
		s.launch(t, unheard, "--cloud", "https://mgmt.nowhere.mfp.test:8443")
	}})
	d := s.device(mfp(borrowed))
	person := browser(t)
	s.account(t, "sato", "--role", "user", "--email", "sato@example.co.jp")
	s.account(t, "mori")
	id, other := s.known(t, borrowed), s.known(t, unheard)
	d.seen(t, "it is registered in us", func(e map[string]any) bool { return e["event"] == "used" && e["region"] == "us" })
	of := s.resides(t, id, "abroad", func(r mfpgate.Residence) bool { return r.State == mfpgate.ResidenceAbroad })
	if !strings.HasPrefix(of.Registration, "r1.us.1.") {
		t.Errorf("its residence is %+v", of)
	}
	at := "https://" + s.Portal

	// What no region has heard of is refused, with what to do; so is what is asked for while nobody answers.
	user := person()
	user.login(at+"/register?device="+string(other), "sato")
	user.ask()
	user.says("d unknown here: neither us", "Have it registered in us first")
	user.picture("move-unknown")

	// The user registers the other one, and need not know of any of this.
	user.do(chromedp.Navigate(at + "/register?device=" + string(id)))
	user.picture("move-register")
	user.ask()
	user.await(`location.pathname.startsWith("/registrations/")`)
	user.says("Waiting for the administrator")
	var registrations struct{ Items []mfpgate.Registration }
	eventually(t, "the print service has the administrator asked", func() bool {
		s.API(t, "registrations", &registrations)
		return len(registrations.Items) == 1 && registrations.Items[0].State == mfpgate.RegistrationAwaitingAdmin
	}, func() any { return registrations })
	foreign := s.resides(t, id, "registered here under its own id", func(r mfpgate.Residence) bool { return r.State == mfpgate.ResidenceForeign })
	if foreign.Home != "us" || foreign.Registration != of.Registration || len(foreign.Receipts) != 0 {
		t.Errorf("its residence is %+v", foreign)
	}
	for _, data := range foreign.Data {
		if data.Region != "us" {
			t.Errorf("data of class %s are in %s", data.Class, data.Region)
		}
	}
	// Nothing has been moved, nor would be: the policy is never. With ask it is suggested, and nothing more.
	if n := s.Log.Count(event.MoveSuggested); n != 0 {
		t.Errorf("%d moves were suggested", n)
	}
	var moves struct{ Items []mfpgate.Move }
	if err := s.ctl(t, &moves, "moves"); err != nil || len(moves.Items) != 0 {
		t.Errorf("there are moves: %+v %v", moves.Items, err)
	}
	stored := d.count("stored")
	eventually(t, "its data go to us as before", func() bool { return d.count("stored") > stored }, func() any { return d.told() })
	s.holds(t, d, of.Registration)

	// An administrator moves it.
	admin := person()
	admin.login(at+"/devices/"+string(id), "mori")
	admin.says("Built for", "Registration", "r1.us.1.")
	admin.picture("move-device")
	admin.do(chromedp.Navigate(at + "/residency"))
	admin.says("Plan a move")
	admin.picture("move-foreign")
	admin.do(chromedp.Click(`a[href^="/moves/new"]`))
	admin.await(`document.querySelector('button[value="start"]')`)
	admin.says("document-cloud", "whiteboard", "address-book")
	admin.picture("move-plan")
	admin.do(chromedp.Click(`button[value="start"]`))
	admin.await(`/^\/moves\/mov_/.test(location.pathname)`)
	admin.await(`document.querySelector("#live [data-ended]")`)
	admin.await(`document.getElementById("state").textContent.includes("Moved")`)
	admin.says("Deletion receipt of US")
	admin.picture("move-done")
	s.resides(t, id, "at home in jp", func(r mfpgate.Residence) bool { return r.State == mfpgate.ResidenceHome && len(r.Receipts) == 1 })
	admin.do(chromedp.Navigate(at + "/residency?q=" + strings.ReplaceAll(name(borrowed), " ", "+")))
	admin.says("JP", "since", "purged", "r1.jp.2.", "Enforced")
	admin.picture("move-residency")
	if m := d.count("redirected"); m != 1 {
		t.Errorf("it was redirected %d times", m)
	}
	s.check(t, false)

	// With its market away nobody can tell, and that is said.
	s.US.Kill()
	s.unreached(t, other)
	if err := s.US.Start(t.Context()); err != nil {
		t.Error(err)
	}
}

// ask sends the form of the page /register.
func (b *tab) ask() {
	b.t.Helper()
	b.await(`document.querySelector("form.ask button[type=submit]")`)
	b.do(chromedp.Click("form.ask button[type=submit]"))
}

// holds wants the services of jp to have the device under us's id, without data.
func (s *scene) holds(t *testing.T, d *device, registration string) {
	t.Helper()
	h := s.hand(t, d)
	status, text := h.services(t, "jp", http.MethodPost, "check-ins", map[string]any{"epoch": 1})
	var brief struct {
		Registration string
		State        mfpgate.HoldingState
	}
	if err := json.Unmarshal(text, &brief); err != nil || status != http.StatusOK || brief.State != mfpgate.HoldingForeign || brief.Registration != registration {
		t.Errorf("jp's services say: %d %s %v", status, text, err)
	}
	if status, text := h.services(t, "jp", http.MethodGet, "data/address-book/item-0", nil); status < 400 {
		t.Errorf("jp's services have data: %d %s", status, text)
	}
}

// unreached asks for a registration as a program does, and wants to be told why there is none.
func (s *scene) unreached(t *testing.T, id mfpgate.DeviceID) {
	t.Helper()
	client := control.Client(s.Socket)
	defer client.CloseIdleConnections()
	resp, err := client.Post("http://mfpgate/api/v1/registrations", "application/json",
		strings.NewReader(fmt.Sprintf(`{"deviceId":%q,"service":"office","user":"sato@example.co.jp"}`, id)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var problem struct{ Detail string }
	if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || resp.StatusCode < 400 || !strings.Contains(problem.Detail, "us") {
		t.Errorf("a registration while us is away: %s %+v %v", resp.Status, problem, err)
	}
	t.Log("while us is away:", resp.Status, problem.Detail)
}
