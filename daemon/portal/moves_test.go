package portal_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func moving(t *testing.T) *door {
	t.Helper()
	d := newDoor(t, portaltest.Moving())
	d.enter()
	return d
}

func TestTheMovesAreAsReviewed(t *testing.T) {
	d := moving(t)
	page := func(name, path string) {
		t.Helper()
		golden(t, name+".html", formKey.ReplaceAllString(d.page(path), `name="key" value="KEY"`))
	}
	page("moves", "/moves")
	page("move", "/moves/mov_copy")
	for _, state := range []string{"done", "check", "switch", "stuck", "back", "undone", "hostile"} {
		page("move-"+state, "/moves/mov_"+state+"/live")
	}
	page("move-new", "/moves/new?device=dev_5&data-billing=leave")
	page("move-new-blocked", "/moves/new?device=dev_4")
	page("move-new-hostile", "/moves/new?device=dev_3")
	page("move-new-none", "/moves/new?device=dev_6")
	page("residency", "/residency")
	page("device-abroad", "/devices/dev_4")
	d.gateway.MovesAre, d.gateway.ResidencesAre = nil, nil
	page("moves-none", "/moves/live")
	page("residency-none", "/residency?q=nothing")
	for _, who := range []string{"sato", "mori"} {
		d = newDoor(t, portaltest.Moving())
		d.enterAs(who)
		page("register-foreign-"+who, "/register?device=dev_5")
		d.gateway.Change("reg_registered", func(r *mfpgate.Registration) { r.Device.ID = "dev_4" })
		page("registration-foreign-"+who, "/registrations/reg_registered/live")
	}
}

func TestHostileMovesAreText(t *testing.T) {
	d := moving(t)
	d.gateway.BlockersAre["dev_3"] = []mfpgate.MoveBlocker{{Reason: portaltest.Hostile, Detail: portaltest.Hostile}}
	hostile := url.QueryEscape(portaltest.Hostile)
	for _, path := range []string{"/moves", "/moves/live", "/moves/mov_hostile", "/moves/mov_hostile/live", "/moves/new?device=dev_3&to=" + hostile + "&data-" + hostile + "=leave",
		"/residency?page=all", "/residency?q=" + hostile, "/devices/dev_3", "/register?device=dev_3"} {
		page := d.page(path)
		for _, markup := range []string{"<script>", `"broken"`, `href="javascript`, "<style", " style=", " onclick"} {
			if strings.Contains(page, markup) {
				t.Errorf("%s: %s", path, markup)
			}
		}
	}
}

func TestTheMovesThatNeedSomebodyComeFirst(t *testing.T) {
	d := moving(t)
	var list []string
	for _, m := range regexp.MustCompile(`<a href="/moves/mov_([a-z0-9]+)"`).FindAllStringSubmatch(d.page("/moves"), -1) {
		list = append(list, m[1])
	}
	if diff := cmp.Diff([]string{"stuck", "hostile", "copy", "back", "switch", "check", "done", "undone"}, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, want := range []string{"6 moves are under way, of 8 in the last 90 days.", "US sends a copy to JP", "3 tries of this step have failed", "switch it on or, if it is gone, say that it is lost.",
		`href="/moves/new?device=dev_4"`} {
		if !strings.Contains(d.page("/moves"), want) {
			t.Errorf("the list does not say %q", want)
		}
	}
	for range 150 {
		d.gateway.MovesAre = append(d.gateway.MovesAre, mfpgate.Move{ID: "mov_old", State: mfpgate.MoveDone, StartedAt: portaltest.Now.Add(-48 * time.Hour)})
	}
	if page := d.page("/moves?page=2"); strings.Count(page, `href="/moves/mov_old"`) != 58 || !strings.Contains(page, "Page 2 of 2") || strings.Contains(page, "mov_stuck") {
		t.Error("the second page is not the rest")
	}
}

// plan reads the form of a plan as a browser would send it.
func (d *door) plan(path string) url.Values {
	d.t.Helper()
	page, form := d.page(path), url.Values{"do": {"start"}}
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`).FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	for _, m := range regexp.MustCompile(`<input type="radio" name="([^"]+)" value="([^"]+)" checked`).FindAllStringSubmatch(page, -1) {
		form.Set(m[1], m[2])
	}
	return form
}

func TestExactlyTheShownPlanIsStarted(t *testing.T) {
	d := moving(t)
	form := d.plan("/moves/new?device=dev_4&data-billing=leave")
	delete(d.gateway.BlockersAre, "dev_4")
	to, page := d.send("/moves", form) // the blocker is gone, so the plan that was shown is not true any more
	if len(d.gateway.StartsWere) != 0 || to != "/moves/new?data-address-book=move&data-billing=leave&data-settings=move&device=dev_4&to=jp" || !strings.Contains(page, "The plan has changed since it was shown") {
		t.Errorf("another plan than the one shown: %d started, to %s", len(d.gateway.StartsWere), to)
	}

	form = d.plan(to)
	form.Set("data-settings", "reset")
	to, page = d.send("/moves", form)
	if len(d.gateway.StartsWere) != 0 || !strings.Contains(page, "nothing was started") || !strings.Contains(page, `name="shown-settings" value="reset"`) {
		t.Errorf("other choices than the plan's: %d started, to %s", len(d.gateway.StartsWere), to)
	}
	if page = d.page(to); strings.Contains(page, "nothing was started") {
		t.Error("it is said twice")
	}

	form = d.plan(to)
	to, page = d.send("/moves", form)
	want := []mfpgate.MoveRequest{{Device: "dev_4", To: "jp", Plan: form.Get("plan"),
		Data: map[string]mfpgate.DataPolicy{"address-book": mfpgate.DataMove, "billing": mfpgate.DataLeave, "settings": mfpgate.DataReset}}}
	if diff := cmp.Diff(want, d.gateway.StartsWere); diff != "" || to != "/moves/mov_new1" || !strings.Contains(page, "The move has begun") {
		t.Errorf("to %s (-want +got):\n%s", to, diff)
	}
	if to, _ = d.send("/moves", form); to != "/moves/mov_new1" || len(d.gateway.StartsWere) != 1 {
		t.Errorf("sent twice: to %s, %d started", to, len(d.gateway.StartsWere))
	}
}

func TestAPlanThatCannotBeStarted(t *testing.T) {
	d := moving(t)
	start := func(change func(url.Values)) *http.Response {
		form := d.plan("/moves/new?device=dev_5")
		change(form)
		return d.ask("POST", "/moves", form.Encode(), "Sec-Fetch-Site", "same-origin")
	}
	for _, c := range []struct {
		rule   string
		change func(url.Values)
		status int
		to     string
	}{
		{"only shown again", func(f url.Values) { f.Set("do", "plan") }, 303, "/moves/new?"},
		{"Enter in a field", func(f url.Values) { f.Del("do") }, 303, "/moves/new?"},
		{"no plan", func(f url.Values) { f.Del("plan") }, 303, "/moves/new?"},
		{"a class that the plan did not show", func(f url.Values) { f.Set("data-secrets", "leave") }, 303, "/moves/new?"},
		{"no key", func(f url.Values) { f.Del("key") }, 400, ""},
		{"no device", func(f url.Values) { f.Del("device") }, 400, ""},
		{"a form that is too long", func(f url.Values) { f.Set("data-x", strings.Repeat("x", 9000)) }, 400, ""},
	} {
		resp := start(c.change)
		if to := resp.Header.Get("Location"); resp.StatusCode != c.status || !strings.HasPrefix(to, c.to) || len(d.gateway.StartsWere) != 0 {
			t.Errorf("%s: %s to %q, %d started", c.rule, resp.Status, to, len(d.gateway.StartsWere))
		}
	}
	if resp := start(func(f url.Values) {}); resp.StatusCode != 303 || len(d.gateway.StartsWere) != 1 {
		t.Errorf("the form as it is: %s", resp.Status)
	}
	if page := d.page("/moves/new?device=dev_4"); strings.Contains(page, `value="start"`) || !strings.Contains(page, "Document-cloud is not offered in jp; leave the device in de") {
		t.Error("a blocked plan can be started, or does not say why not")
	}
	for path, want := range map[string]int{"/moves/new": 303, "/moves/new?device=dev_gone": 404, "/moves/new?device=dev_6": 200} {
		if resp := d.ask("GET", path, ""); resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
	}
	if resp := d.ask("POST", "/moves", d.plan("/moves/new?device=dev_5").Encode(), "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 || len(d.gateway.StartsWere) != 1 {
		t.Errorf("a move by another site: %s", resp.Status)
	}
}

func TestActingOnAMove(t *testing.T) {
	const mfp = "ricoh:im-c3010:3081RC10422"
	for _, c := range []struct {
		rule, path string
		form       url.Values
		done, says string
	}{
		{"an open one is taken back", "/moves/mov_copy/abort", nil, "abort mov_copy by mori", "The move is being taken back."},
		{"a committed one is not", "/moves/mov_switch/abort", nil, "", "The move is committed; plan another one to lead the device back."},
		{"a step is tried again", "/moves/mov_copy/retry", nil, "retry mov_copy by mori", "The step is tried again at once."},
		{"a lost device needs its name typed", "/moves/mov_stuck/lost", nil, "", "What you typed is not " + mfp},
		{"another name is not its", "/moves/mov_stuck/lost", url.Values{"confirm": {"yes"}}, "", "nothing was changed."},
		{"then it is given up", "/moves/mov_stuck/lost", url.Values{"confirm": {" " + mfp + " "}}, "lost mov_stuck by mori", "The device is given up."},
	} {
		d := moving(t)
		_, page := d.send(c.path, c.form)
		if !strings.Contains(page, c.says) || strings.Join(d.gateway.DoneWere, ",") != c.done {
			t.Errorf("%s: %q was done; the page says:\n%s", c.rule, d.gateway.DoneWere, page)
		}
	}
}

func TestOnlyWhatCanBeDoneIsOffered(t *testing.T) {
	d := moving(t)
	for id, want := range map[string]string{"check": "abort", "copy": "retry abort", "switch": "", "stuck": "lost", "back": "", "done": "", "undone": ""} {
		page, got := d.page("/moves/mov_"+id), []string{}
		for _, verb := range []string{"retry", "abort", "lost"} {
			if strings.Contains(page, `action="/moves/mov_`+id+"/"+verb+`"`) {
				got = append(got, verb)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

func TestALostDeviceHasNotCome(t *testing.T) {
	d := moving(t)
	d.gateway.ChangeMove("mov_done", func(m *mfpgate.Move) { m.Lost, m.ConfirmedAt = true, time.Time{} })
	page := d.page("/moves/mov_done")
	if !strings.Contains(page, `<li class="bad">`) || !strings.Contains(page, "given up by an administrator") || !strings.Contains(page, "Done, the device is lost") {
		t.Errorf("the page says that it came:\n%s", page)
	}
}

func TestADeviceIsRegisteredHereUnderItsOwnID(t *testing.T) {
	d := moving(t)
	d.gateway.ResidencesAre[4].State = mfpgate.ResidenceAbroad
	if page := d.page("/devices/dev_5"); !strings.Contains(page, `action="/devices/dev_5/enrol"`) {
		t.Error("the page does not offer it")
	}
	to, page := d.send("/devices/dev_5/enrol", nil)
	if to != "/devices/dev_5" || !strings.Contains(page, "The device is registered here under its id of US.") || strings.Contains(page, `/enrol"`) {
		t.Errorf("to %s:\n%s", to, page)
	}
	if page := d.page("/devices/dev_1"); strings.Contains(page, `/enrol"`) || strings.Contains(page, "Plan a move") {
		t.Error("a device that is at home here is to be registered or moved")
	}
}

func TestTheStreamOfAMove(t *testing.T) {
	onWire(t, func(t *testing.T, w *wire) {
		moves := portaltest.Moving().MovesAre
		w.gateway.MovesAre = moves
		w.enterAs("mori")
		one, _ := w.follow("/moves/mov_copy/events")
		all, _ := w.follow("/moves/events")
		e, every := listen(one), listen(all)
		if n, _ := e.hears(t, time.Second); n != 1 {
			t.Errorf("at first %d events", n)
		}
		every.hears(t, time.Second)
		for _, c := range []struct {
			id   mfpgate.MoveID
			want int
		}{{"mov_check", 0}, {"mov_copy", 1}} {
			w.gateway.ChangeMove(c.id, func(m *mfpgate.Move) { m.Attempts++ })
			if n, _ := e.hears(t, time.Second); n != c.want {
				t.Errorf("a change of %s: %d events, want %d", c.id, n, c.want)
			}
			if n, _ := every.hears(t, time.Second); n != 1 {
				t.Errorf("a change of %s: %d events for the list", c.id, n)
			}
		}
		w.gateway.Change("reg_admin", func(r *mfpgate.Registration) { r.Attempt++ })
		if n, _ := e.hears(t, time.Second); n != 0 {
			t.Errorf("a registration's change: %d events", n)
		}
		w.ask("POST", "/logout", "")
		if !e.ended() || !every.ended() {
			t.Error("the streams outlive the session")
		}
	})
}
