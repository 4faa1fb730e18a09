package browser_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate/daemon/portal"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/telemetry"
	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

func TestAnAdministratorFollowsTheGateway(t *testing.T) {
	t.Parallel() // it waits for refreshes most of the time
	b := openTab(t)
	s := startSite(t)
	s.addUser("mori", "correct horse battery")

	b.do(chromedp.Navigate(s.portal() + "/"))
	b.await(`location.pathname === "/login"`)
	b.check("login")

	b.login("mori", "wrong horse battery")
	b.await(`document.querySelector("[role=alert]")?.innerText.includes("wrong")`)
	b.check("login-wrong")
	if got := eval[string](b, `document.activeElement.id + document.getElementById("password").value`); got != "" && got != "name" {
		t.Errorf("after a wrong login the page holds %q", got)
	}

	b.login("mori", "correct horse battery")
	b.await(`location.pathname === "/" && document.getElementById("served").textContent === "0"`)
	if cookies := eval[string](b, "document.cookie"); cookies != "" {
		t.Errorf("a script can read the cookies %q", cookies)
	}

	open := s.connect("127.0.1.1", s.origin)
	s.answered(open, 200)
	s.send(open, strings.Repeat("firmware", 4000))
	b.await(`document.getElementById("served").textContent === "1" && document.getElementById("tunnels").textContent === "1"`)

	waits := s.connect("127.0.1.2", s.origin)
	b.await(`document.getElementById("queued").textContent === "1"`)
	s.answered(s.connect("127.0.1.3", "198.51.100.7:443"), 403)
	b.await(`document.body.innerText.includes("No rule allows this destination.")`)

	b.do(chromedp.Click("summary"))
	before := eval[string](b, `document.getElementById("asof").textContent`)
	b.await(`document.getElementById("asof").textContent !== "` + before + `"`)
	if !eval[bool](b, `document.querySelector("details").open`) {
		t.Error("a refresh closes the table that the user opened")
	}
	text := eval[string](b, "document.body.innerText")
	for _, want := range []string{"1 of 1 slot in use, 1 device waits.", "2F copier", s.origin, "32.0 kB", "Unknown", "<img src=x onerror="} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if title := eval[string](b, "document.title"); title != "osaka-branch · mfpgate" {
		t.Errorf("title %q: a device's name ran as a script", title)
	}
	b.check("overview")

	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	_ = waits.Close()
	b.await(`document.getElementById("tunnels").textContent === "0" && document.getElementById("queued").textContent === "0"`)

	b.do(chromedp.Click("form[action='/logout'] button"))
	b.await(`location.pathname === "/login" && document.body.innerText.includes("logged out")`)
	b.do(chromedp.Navigate(s.portal() + "/"))
	b.await(`location.pathname === "/login"`)
}

func TestEveryStateIsAccessible(t *testing.T) {
	t.Parallel()
	b := openTab(t)
	g, clock := portaltest.Busy(), fakeclock.New(portaltest.Now)
	p, err := portal.New(portal.Options{Gateway: g, Accounts: g, API: http.NotFoundHandler(), Clock: clock,
		Log: telemetry.NewLogger(io.Discard, clock, new(telemetry.Level), false)})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.RWMutex // the page asks while the test changes what it is told
	var broken bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.RLock()
		defer mu.RUnlock()
		if broken {
			http.Error(w, "an intermediate's own page", http.StatusBadGateway)
			return
		}
		p.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	change := func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
	}
	b.do(chromedp.Navigate(server.URL + "/login"))
	b.login("mori", "correct horse battery")
	b.await(`location.pathname === "/"`)
	b.check("busy")
	change(func() { *g = *portaltest.Idle() })
	b.do(chromedp.Navigate(server.URL + "/?live=off"))
	b.check("idle")
	b.do(chromedp.Navigate(server.URL + "/nowhere"))
	b.check("message")

	b.do(chromedp.Navigate(server.URL + "/"))
	change(func() { broken = true })
	b.await(`!document.getElementById("stale").hidden`)
	if !strings.Contains(eval[string](b, "document.body.innerText"), "No device waits.") {
		t.Error("an error's page replaced the overview")
	}
	b.check("stale")
	change(func() { broken = false })
	b.await(`document.getElementById("stale").hidden`)

	clock.Advance(portal.Lifetime)
	b.await(`location.pathname === "/login"`) // by itself: nobody leaves the numbers on a screen
}
