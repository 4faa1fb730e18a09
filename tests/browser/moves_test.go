package browser_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func TestAnAdministratorMovesADevice(t *testing.T) {
	b := openTab(t)
	g := portaltest.Moving()
	delete(g.BlockersAre, "dev_4")
	url := registering(b, g)
	b.do(chromedp.Navigate(url + "/moves"))
	b.await(`location.pathname === "/login"`)
	b.login("mori", "correct horse battery")
	b.await(`location.pathname === "/moves" && document.getElementById("summary").textContent.startsWith("6 moves are under way")`)
	b.do(chromedp.Click(`a[href="/moves/new?device=dev_4"]`))
	b.await(`location.pathname === "/moves/new" && document.querySelector("h1").textContent.startsWith("Plan a move of Reception")`)

	// Another choice than the plan's starts nothing; the plan with it is shown, and then carried out.
	b.do(chromedp.Click(`input[name="data-billing"][value=leave]`), chromedp.Click(`button[value=start]`))
	b.await(`document.getElementById("flash")?.textContent.includes("nothing was started") && document.querySelector('input[name="data-billing"][value=leave]').checked`)
	b.check("move-new-changed")
	b.do(chromedp.Click(`button[value=start]`))
	b.await(`location.pathname === "/moves/mov_new1" && document.getElementById("flash").textContent.includes("The move has begun")`)
	if n := len(g.StartsWere); n != 1 || g.StartsWere[0].Data["billing"] != mfpgate.DataLeave {
		t.Fatalf("%d moves were started: %+v", n, g.StartsWere)
	}

	// The page follows the move without a reload, and keeps what is open and half typed.
	eval[bool](b, `window.mark = true`)
	state := func(s mfpgate.MoveState, step mfpgate.MoveStep, done ...mfpgate.MoveStep) {
		g.ChangeMove("mov_new1", func(m *mfpgate.Move) {
			m.State, m.Step = s, step
			for _, of := range done {
				m.Steps = append(m.Steps, mfpgate.MoveStepTaken{Step: of, At: portaltest.Now})
			}
		})
	}
	state(mfpgate.MoveOpen, mfpgate.StepCopy, mfpgate.StepCheck, mfpgate.StepUnlink)
	b.await(`document.querySelector("[aria-current=step]").textContent.includes("DE sends a copy to JP")`)
	state(mfpgate.MoveStuck, mfpgate.StepConfirm, mfpgate.StepCommit)
	b.await(`document.getElementById("state").textContent.includes("Stuck") && document.getElementById("confirm") && !document.querySelector('form[action$="/abort"]')`)
	b.do(chromedp.Click("details summary"), chromedp.SendKeys("#confirm", "ricoh:im-370"))
	g.ChangeMove("mov_new1", func(m *mfpgate.Move) { m.Detail = "still away" })
	b.await(`document.getElementById("why").textContent.includes("Still away.")`)
	if !eval[bool](b, `document.querySelector("details").open && document.getElementById("confirm").value === "ricoh:im-370"`) {
		t.Error("an update closes what is open, or empties what is half typed")
	}
	b.check("move-stuck-typing")
	b.do(chromedp.SendKeys("#confirm", ":3081RC10311"), chromedp.Click("button.danger"))
	b.await(`document.getElementById("flash").textContent.includes("The device is given up.")`)
	state(mfpgate.MoveDone, mfpgate.StepDelete)
	b.await(`document.getElementById("state").textContent.includes("Done, the device is lost") && !document.getElementById("flash")`)
}

func TestTheMovesAreAccessible(t *testing.T) {
	b := openTab(t)
	url := registering(b, portaltest.Moving())
	b.do(chromedp.Navigate(url + "/residency"))
	b.await(`location.pathname === "/login"`)
	b.login("mori", "correct horse battery")
	b.await(`location.pathname === "/residency"`)
	paths := map[string]string{"/residency": "residency", "/moves": "moves", "/moves/new?device=dev_5": "move-new", "/moves/new?device=dev_4": "move-new-blocked",
		"/moves/new?device=dev_6": "move-new-none", "/moves/new?device=dev_3": "move-new-hostile", "/register?device=dev_4": "register-foreign", "/devices/dev_4": "device-abroad",
		"/devices/dev_7": "device-bypassing"}
	for _, state := range []string{"done", "copy", "stuck", "back", "hostile"} {
		paths["/moves/mov_"+state] = "move-" + state
	}
	for path, name := range paths {
		b.do(chromedp.Navigate(url + path))
		b.check(name)
		if title := eval[string](b, "document.title"); title == "broken" {
			t.Errorf("%s: a name ran as a script", name)
		}
	}
}

func TestTheResidencyIsPrinted(t *testing.T) {
	b := openTab(t)
	url := registering(b, portaltest.Moving())
	b.do(chromedp.Navigate(url + "/residency"))
	b.await(`location.pathname === "/login"`)
	b.login("mori", "correct horse battery")
	b.await(`location.pathname === "/residency"`)
	printed, err := chromedp.Call(b.ctx, page.PrintToPDF, page.PrintToPDFParams{PreferCSSPageSize: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	box := regexp.MustCompile(`/MediaBox \[0 0 ([0-9.]+) ([0-9.]+)\]`).FindSubmatch(printed.Data)
	if box == nil {
		t.Fatalf("%d bytes, no PDF", len(printed.Data))
	}
	wide, _ := strconv.ParseFloat(string(box[1]), 64)
	high, _ := strconv.ParseFloat(string(box[2]), 64)
	if wide <= high {
		t.Errorf("the paper is %.0f wide and %.0f high", wide, high)
	}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"}); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(1032, 730)) // what A4 leaves between its margins
	b.picture("residency-print")
	if wide := eval[int64](b, "document.documentElement.scrollWidth"); wide > 1032 {
		t.Errorf("the table is %d pixels wide on paper of 1032", wide)
	}
	for _, screen := range []string{"nav", ".search", ".refresh", ".unprinted"} {
		if eval[bool](b, `[...document.querySelectorAll("`+screen+`")].some(e => e.offsetParent)`) {
			t.Errorf("%s is printed", screen)
		}
	}
}
