package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// movePage is what move.html shows; move-live.html is its part that follows the gateway.
type movePage struct {
	frame
	ID, Href, Name, DeviceHref, MFP string
	From, To                        string
	State                           look
	Ended                           bool
	Now, Why, Reason                string
	Since                           moment
	Steps                           []step
	Tries                           string
	NextTry, Deadline               moment
	Probes                          []probeRow
	Receipt                         *receiptRow
	Services, Children, Data        []planLine
	Facts                           []fact
	CanAbort, CanRetry, CanLose     bool
	AbortWords                      string
	Confirm                         string // what is typed to give the device up
}

type probeRow struct {
	Name, Host, Detail string
	State              look
}

// planLine is one line of what a move does with something.
type planLine struct {
	Name, What string
	Bad        bool
}

// receiptRow is a deletion receipt. Href is its signature's, "" without one.
type receiptRow struct {
	ID, Region, Href, Digest string
	At                       moment
	Purged, Left             []string
}

// moveOf is the one of the address, or false after an answer was written.
func (p *Portal) moveOf(w http.ResponseWriter, r *http.Request) (mfpgate.Move, bool) {
	m, err := p.Gateway.Move(r.Context(), mfpgate.MoveID(r.PathValue("id")))
	switch {
	case errors.Is(err, control.ErrNoMove):
		p.message(w, http.StatusNotFound, "No such move", "It ended more than 90 days ago, or was never made. Look for it among the moves.")
		return m, false
	case err != nil:
		p.failed(w, err)
		return m, false
	}
	return m, true
}

func (p *Portal) move(w http.ResponseWriter, r *http.Request) {
	if m, ok := p.moveOf(w, r); ok {
		page := p.movePage(r, m)
		page.Flash = p.flashed(r)
		p.render(w, http.StatusOK, "move.html", page)
	}
}

func (p *Portal) moveLive(w http.ResponseWriter, r *http.Request) {
	if m, ok := p.moveOf(w, r); ok {
		p.render(w, http.StatusOK, "move-live.html", p.movePage(r, m))
	}
}

func (p *Portal) movePage(r *http.Request, m mfpgate.Move) movePage {
	f := p.frame(r, "moves")
	f.Deeper = true
	when := func(t time.Time) moment { return at(t, f.now, f.zone) }
	names := p.deviceNames(r.Context())
	page := movePage{frame: f, ID: string(m.ID), Href: moveHref(m.ID), Name: moveName(m, names), MFP: m.MFP, From: regionName(m.From), To: regionName(m.To),
		State: moveLook(m), Ended: m.State.Ended(), Why: sentence(m.Detail), Reason: string(m.Reason), Since: when(m.Since), Steps: moveSteps(m, when),
		Tries: triesWords(m), CanAbort: m.State == mfpgate.MoveOpen, CanRetry: !m.State.Ended() && m.Attempts > 0, CanLose: awaitsDevice(m)}
	page.Confirm = lostName(m)
	page.Now = moveNow(m, page.Name)
	page.AbortWords = page.To + " throws away what was sent to it, " + page.From + " takes changes again, and child services that were unlinked are linked again. " +
		page.Name + " stays at home in " + page.From + "."
	if _, known := names[m.Device]; known {
		page.DeviceHref = deviceHref(m.Device)
	}
	if !page.Ended {
		page.NextTry = when(m.NextTry)
	}
	if m.State == mfpgate.MoveOpen {
		page.Deadline = when(m.Deadline)
	}
	for _, probe := range m.Probes {
		row := probeRow{probe.Name, probe.Host, sentence(probe.Detail), look{Sign: "✓", Word: "The device will not notice", Class: "good"}}
		if !probe.Validated {
			row.State = look{Sign: "▲", Word: "Cannot be led over unnoticed", Class: "warn"}
		}
		page.Probes = append(page.Probes, row)
	}
	if m.Receipt != nil {
		row := receiptOf(*m.Receipt, f, page.Href+"/receipt")
		page.Receipt = &row
	}
	page.Services, page.Children, page.Data = planLines(m.Plan, page.From, page.To)
	page.Facts = moveFacts(m, page.Name, when)
	return page
}

// awaitsDevice reports whether nothing is missing but the device, which may be gone for good.
func awaitsDevice(m mfpgate.Move) bool {
	return !m.Lost && (m.State == mfpgate.MoveStuck || m.State == mfpgate.MoveCommitted && (m.Step == mfpgate.StepRedirect || m.Step == mfpgate.StepConfirm))
}

func moveFacts(m mfpgate.Move, name string, when func(time.Time) moment) []fact {
	all := []fact{
		{Term: "Device", Text: name},
		{Term: "Named by its regions", Text: m.MFP, Fixed: true},
		{Term: "From", Text: regionName(m.From)},
		{Term: "To", Text: regionName(m.To)},
		{Term: "Asked for by", Text: m.RequestedBy},
		{Term: "Begun", Time: when(m.StartedAt)},
		{Term: "Committed", Time: when(m.CommittedAt)},
		{Term: "Routes switched", Time: when(m.SwitchedAt)},
		{Term: "Device told", Time: when(m.AckedAt)},
		{Term: "Device came", Time: when(m.ConfirmedAt)},
		{Term: "Ended", Time: when(m.EndedAt)},
		{Term: "Epoch", Text: fmt.Sprint(m.Epoch)},
		{Term: "Registration before", Text: m.OldRegistration, Fixed: true},
		{Term: "Registration after", Text: m.NewRegistration, Fixed: true},
		{Term: "Id", Text: string(m.ID), Fixed: true},
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.Text == "" && f.Time.Text == "" })
}

func planLines(plan mfpgate.MovePlan, from, to string) (services, children, data []planLine) {
	for _, s := range plan.Services {
		what, bad := "moves to "+to, false
		switch s.Action {
		case "move":
		case "block":
			what, bad = to+" does not offer it, so the device cannot move", true
		default:
			what = s.Action
		}
		services = append(services, planLine{s.ID, what, bad})
	}
	for _, c := range plan.Children {
		what := "stays linked"
		switch c.Action {
		case "keep":
		case "unlink":
			what = "is unlinked: " + to + " does not offer it"
		default:
			what = c.Action
		}
		children = append(children, planLine{c.Service + " / " + c.ID, what, c.Action == "unlink"})
	}
	for _, d := range plan.Data {
		data = append(data, planLine{d.Class + " (" + itemsWords(d.Items, d.Bytes) + ")", policyWords(d.Policy, from, to), false})
	}
	return services, children, data
}

// receiptOf shows a receipt with whole dates: it is kept, and printed.
func receiptOf(r mfpgate.DeletionReceipt, f frame, href string) receiptRow {
	row := receiptRow{ID: r.ID, Region: regionOr(r.Region, "a region that it does not name"), Digest: r.Digest, At: dated(r.PurgedAt, f.zone)}
	if r.Signed != "" {
		row.Href = href
	}
	for _, d := range r.Purged {
		row.Purged = append(row.Purged, heldWords(d))
	}
	for _, d := range r.Left {
		row.Left = append(row.Left, heldWords(d))
	}
	return row
}

func (p *Portal) moveReceipt(w http.ResponseWriter, r *http.Request) {
	m, ok := p.moveOf(w, r)
	if !ok {
		return
	}
	if m.Receipt == nil || m.Receipt.Signed == "" {
		p.message(w, http.StatusNotFound, "No receipt", "The region has not signed a deletion receipt of this move yet.")
		return
	}
	sendReceipt(w, *m.Receipt)
}

// sendReceipt answers the signed text alone: any tool that reads RFC 7515 checks it.
func sendReceipt(w http.ResponseWriter, r mfpgate.DeletionReceipt) {
	w.Header().Set("Content-Type", "application/jose")
	w.Header().Set("Content-Disposition", `attachment; filename="`+fileName("receipt-"+r.ID)+`.jws"`)
	_, _ = w.Write([]byte(r.Signed))
}

// fileName leaves of a name from outside what every system and every header takes.
func fileName(name string) string {
	safe := strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' {
			return c
		}
		return '_'
	}, name)
	return safe[:min(len(safe), 80)]
}

// actOnMove answers a form about one move: do does it, and says what to say.
func (p *Portal) actOnMove(what string, do func(*http.Request, mfpgate.Move) (said string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !p.parseForm(w, r) {
			return
		}
		m, ok := p.moveOf(w, r)
		if !ok {
			return
		}
		said, err := do(r, m)
		switch {
		case errors.Is(err, control.ErrMove), errors.Is(err, control.ErrNoMove):
			p.say(r, true, moveRefused(err))
		case err != nil:
			p.failed(w, err)
			return
		default:
			p.Log.Info().Str(field.User, p.user(r)).Str(field.Device, string(m.Device)).Str(field.Text, what+" "+string(m.ID)).Msg(event.PortalChanged)
			p.say(r, false, said)
		}
		http.Redirect(w, r, moveHref(m.ID), http.StatusSeeOther)
	}
}

func (p *Portal) abortMove(r *http.Request, m mfpgate.Move) (said string, err error) {
	_, err = p.Gateway.AbortMove(r.Context(), m.ID, p.user(r))
	return "The move is being taken back.", err
}

func (p *Portal) retryMove(r *http.Request, m mfpgate.Move) (said string, err error) {
	_, err = p.Gateway.RetryMove(r.Context(), m.ID, p.user(r))
	return "The step is tried again at once.", err
}

// loseMove wants the device's name typed: nobody waits for the device any more, and its old region forgets it.
func (p *Portal) loseMove(r *http.Request, m mfpgate.Move) (said string, err error) {
	if typed := strings.Join(strings.Fields(r.PostForm.Get("confirm")), " "); typed != strings.Join(strings.Fields(lostName(m)), " ") {
		return "", fmt.Errorf("%w: what you typed is not %s; nothing was changed", control.ErrMove, lostName(m))
	}
	_, err = p.Gateway.ConfirmLost(r.Context(), m.ID, p.user(r))
	return "The device is given up. The move is finished without it.", err
}

// lostName is what is typed to give a device up.
func lostName(m mfpgate.Move) string { return cmp.Or(m.MFP, string(m.Device)) }
