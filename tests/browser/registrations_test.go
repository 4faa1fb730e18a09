package browser_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/telemetry"
)

// registering is a portal with registrations whose streams work: their deadlines are the machine's, so its clock is, too.
func registering(b *tab, g *portaltest.Gateway) (url string) {
	b.t.Helper()
	clock := mfpgate.SystemClock{}
	p, err := portal.New(portal.Options{Gateway: g, Accounts: g, API: http.NotFoundHandler(), Clock: clock, URL: func() string { return "https://gate.example:8443" },
		Log: telemetry.NewLogger(io.Discard, clock, new(telemetry.Level), false)})
	if err != nil {
		b.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(p)
	server.EnableHTTP2 = true // as the daemon has it
	server.Config.WriteTimeout = time.Second
	server.StartTLS()
	b.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func TestAUserAsksForAPrinterAndSeesWhatBecomesOfIt(t *testing.T) {
	b := openTab(t)
	g := portaltest.Registering()
	url := registering(b, g)

	b.do(chromedp.Navigate(url + "/register?device=dev_2")) // what the code on the printer says
	b.await(`location.pathname === "/login"`)
	b.login("sato", "correct horse battery")
	b.await(`location.pathname === "/register" && document.querySelector("h2").textContent === "3F design room"`)
	b.check("register-user")
	b.do(chromedp.Click("button.primary"))
	b.await(`location.pathname === "/registrations/reg_new1" && document.getElementById("state").textContent.includes("Accepted")`)
	eval[bool](b, `window.mark = true`) // gone after a reload

	state := func(s mfpgate.RegistrationState, change func(*mfpgate.Registration)) {
		g.Change("reg_new1", func(r *mfpgate.Registration) {
			r.State = s
			if change != nil {
				change(r)
			}
		})
	}
	state(mfpgate.RegistrationAwaitingAdmin, func(r *mfpgate.Registration) {
		r.Attempt, r.Attempts, r.UserCode, r.Admin, r.Mails, r.MailedAt = 1, 4, portaltest.Code, portaltest.Administrator, 1, portaltest.Now
		r.VerificationURI, r.ExpiresAt = "https://print.example/device", portaltest.Now.Add(15*time.Minute)
	})
	b.await(`document.getElementById("state").textContent.includes("Waiting for the administrator") && document.querySelector("[aria-current=step]").textContent.includes("The administrator approves")`)
	// Beyond the server's time for an answer, the stream still tells.
	if err := mfpgate.Wait(t.Context(), mfpgate.SystemClock{}, 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	streams := g.Listeners()
	state(mfpgate.RegistrationCertifying, nil)
	b.await(`document.getElementById("state").textContent.includes("Approved")`)
	if streams != 1 || g.Listeners() != 1 {
		t.Errorf("%d and %d streams, want the same one", streams, g.Listeners())
	}
	state(mfpgate.RegistrationRegistered, func(r *mfpgate.Registration) { r.Since = portaltest.Now })
	b.await(`document.getElementById("state").textContent.includes("Ready to print")`)
	if !eval[bool](b, `window.mark === true && document.getElementById("stale").hidden`) {
		t.Error("the page was loaded anew, or says that the gateway is away")
	}
	b.check("registration-done")

	b.do(chromedp.Click(`form[action="/logout"] button`))
	b.await(`location.pathname === "/login"`)
	for g.Listeners() > 0 {
		if err := mfpgate.Wait(b.ctx, mfpgate.SystemClock{}, 20*time.Millisecond); err != nil {
			t.Fatal("the stream outlives the session")
		}
	}
}

func TestAnAdministratorSeesRequestsComeIn(t *testing.T) {
	b := openTab(t)
	g := portaltest.Registering()
	url := registering(b, g)
	b.do(chromedp.Navigate(url + "/registrations"))
	b.await(`location.pathname === "/login"`)
	b.login("mori", "correct horse battery")
	b.await(`location.pathname === "/registrations" && document.getElementById("open-count").textContent === "10"`)
	b.check("registrations-admin")
	if _, _, err := g.Register(t.Context(), mfpgate.RegistrationRequest{Device: "dev_4", Service: "office", User: "abe@example.co.jp"}, "abe", "k"); err != nil {
		t.Fatal(err)
	}
	b.await(`document.getElementById("open-count").textContent === "11" && document.querySelector('a[href="/registrations/reg_new1"]')`)

	b.do(chromedp.Click(`a[href="/registrations/reg_local"]`))
	b.await(`location.pathname === "/registrations/reg_local"`)
	b.check("registration-local")
	b.do(chromedp.Click(`button[value=approve]`))
	b.await(`document.getElementById("flash").textContent.includes("You have approved.") && document.getElementById("state").textContent.includes("Approved")`)

	// Another browser's logout, or a new password: the page goes to the login by itself, and comes back.
	b.do(chromedp.Navigate(url + "/registrations/reg_admin"))
	b.await(`document.getElementById("code").textContent === "` + portaltest.Code + `"`)
	u, _, _ := g.User(t.Context(), "mori")
	if err := g.AddUser(t.Context(), u, "another horse battery"); err != nil {
		t.Fatal(err)
	}
	g.Change("reg_admin", func(r *mfpgate.Registration) { r.Mails++ })
	b.await(`location.pathname === "/login"`)
	b.login("mori", "another horse battery")
	b.await(`location.pathname === "/registrations/reg_admin"`)
}

func TestTheRegistrationPagesAreAccessible(t *testing.T) {
	for _, who := range []string{"sato", "mori"} {
		b := openTab(t)
		g := portaltest.Registering()
		url := registering(b, g)
		b.do(chromedp.Navigate(url + "/registrations"))
		b.await(`location.pathname === "/login"`)
		b.login(who, "correct horse battery")
		b.await(`location.pathname === "/registrations"`)
		paths := map[string]string{"/registrations": "registrations", "/register": "register-printers", "/register?device=dev_1": "register"}
		for _, state := range []string{"requested", "admin", "unmailed", "device", "certifying", "registered", "failed", "cancelled", "hostile"} {
			paths["/registrations/reg_"+state] = "registration-" + state
		}
		if who == "mori" {
			paths["/devices/dev_1/sheet"] = "sheet"
		} else {
			paths["/devices"] = "forbidden"
		}
		for path, page := range paths {
			b.do(chromedp.Navigate(url + path))
			b.check(page + "-" + who)
			if title := eval[string](b, "document.title"); title == "broken" {
				t.Errorf("%s: a name ran as a script", page)
			}
		}
	}
}
