package portal

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// maxScheduleRows bounds each list of the page; the API has them whole.
const maxScheduleRows = 200

// schedulePage is what schedule.html shows.
type schedulePage struct {
	frame
	State                        look
	Mode                         string // what is done about overloads
	Error                        string
	Planned, Fetched, Next, Sent moment
	Every                        string // how many deliveries, and background
	Chart                        dayChart
	Bands, After                 []bandRow
	Proposal                     string // what became of it; "" if there was none
	Refused                      string
	Changes                      []changeRow
	Unresolved                   []unresolvedRow
	Quality                      string
	LeftOut                      []leftOutRow
	More                         struct{ Bands, After, Changes, Unresolved, LeftOut int }
}

type bandRow struct {
	Text, Proof string // with its times
	State       look
}

type changeRow struct {
	Device, Href, Delivery string
	From, To               moment
	By                     string
	State                  look
	Why                    string
}

type unresolvedRow struct{ Delivery, Why, Proof, Options string }

type leftOutRow struct{ Device, Href, Delivery, Why string }

func (p *Portal) schedule(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	s, page := p.Gateway.Schedule(ctx), schedulePage{frame: p.frame(r, "schedule")}
	known := map[mfpgate.DeviceID]bool{}
	for _, d := range p.Gateway.Devices(ctx) {
		known[d.ID] = true
	}
	shown := func(t time.Time) moment { return at(t, page.now, page.zone) }
	page.State, page.Mode = scheduleState(s), actionWords(s)
	page.Planned, page.Fetched, page.Next, page.Sent = shown(s.Planned), shown(s.Fetched), shown(s.Next), shown(s.Report.Sent)
	page.Every = fmt.Sprintf("%s and %s", counted(s.Deliveries, "delivery", "deliveries"), counted(s.Background, "background schedule", "background schedules"))
	if s.Error != "" {
		page.Error = sentence("the last run failed, and the plan before it stays: " + s.Error)
	}
	page.Chart = newDayChart(p.Gateway.Load(ctx), page.now, page.zone)
	page.Bands, page.After = bandRows(s.Bands), bandRows(s.BandsAfter)
	proposal := p.Gateway.Proposal(ctx)
	page.Proposal, page.Refused = proposalWords(proposal, page.frame), sentence(proposal.Refused)
	for _, c := range proposal.Changes {
		row := changeRow{Device: cmp.Or(c.DeviceName, string(c.Device), "a device that is gone"), Delivery: c.DeliveryID, From: shown(c.From), To: shown(c.To),
			By: moveWords(time.Duration(c.MoveBy)), State: changeLook(c.State), Why: sentence(cmp.Or(c.Outcome, c.Reason.Text))}
		if known[c.Device] {
			row.Href = deviceHref(c.Device)
		}
		page.Changes = append(page.Changes, row)
	}
	if proposal.ID != "" && len(proposal.Changes) > 0 {
		page.Quality = qualityWords(proposal.Quality)
	}
	for _, u := range proposal.Unresolved {
		row := unresolvedRow{Delivery: u.DeliveryID, Why: sentence(u.Reason), Options: optionWords(u.Options)}
		if u.Certificate != nil {
			row.Proof = u.Certificate.Text
		}
		page.Unresolved = append(page.Unresolved, row)
	}
	for _, l := range p.Gateway.LeftOut(ctx) {
		if l.Reason == "finished" || l.Reason == "past" {
			continue // that they do not count surprises nobody
		}
		row := leftOutRow{Device: cmp.Or(l.DeviceName, string(l.Device)), Delivery: l.Delivery, Why: sentence(l.Text)}
		if known[l.Device] {
			row.Href = deviceHref(l.Device)
		}
		page.LeftOut = append(page.LeftOut, row)
	}
	page.Bands, page.More.Bands = cut(page.Bands, maxScheduleRows)
	page.After, page.More.After = cut(page.After, maxScheduleRows)
	page.Changes, page.More.Changes = cut(page.Changes, maxScheduleRows)
	page.Unresolved, page.More.Unresolved = cut(page.Unresolved, maxScheduleRows)
	page.LeftOut, page.More.LeftOut = cut(page.LeftOut, maxScheduleRows)
	p.render(w, http.StatusOK, "schedule.html", page)
}

func scheduleState(s control.Schedule) look {
	overloads := counted(len(s.Bands), "overload", "overloads")
	switch {
	case s.Idle != "":
		return look{Sign: "◌", Word: strings.TrimSuffix(sentence("nothing to do: "+cmp.Or(s.IdleText, string(s.Idle))), "."), Class: "quiet"}
	case s.Planned.IsZero():
		return look{Sign: "▲", Word: "No plan was made yet", Class: "warn"}
	case len(s.Bands) == 0:
		return look{Sign: "✓", Word: "No overload is planned", Class: "good"}
	case len(s.BandsAfter) == 0 && s.ProposalID != "":
		return look{Sign: "▲", Word: overloads + " planned; the proposal removes all", Class: "warn"}
	case s.ProposalID != "":
		return look{Sign: "▲", Word: overloads + " planned; the proposal leaves " + count(len(s.BandsAfter)), Class: "warn"}
	}
	return look{Sign: "▲", Word: overloads + " planned", Class: "warn"}
}

// actionWords say what is done about overloads, and why it is not what was configured.
func actionWords(s control.Schedule) string {
	words := map[string]string{
		string(mfpgate.ScheduleNotify):  "Overloads are reported to the cloud",
		string(mfpgate.SchedulePropose): "Overloads are reported to the cloud, with new starts for a person to decide",
		string(mfpgate.ScheduleAuto):    "Overloads are reported to the cloud, and new starts are applied",
	}
	text := words[cmp.Or(s.Effective, string(s.Mode))] + "."
	if s.Why != "" {
		text += " " + sentence(s.Why)
	}
	return text
}

func bandRows(bands []api.Band) (rows []bandRow) {
	for _, b := range bands {
		row := bandRow{Text: sentence(b.Text), State: look{Sign: "✕", Word: "certain", Class: "bad"}}
		if b.Certainty == string(mfpgate.OverloadRisk) {
			row.State = look{Sign: "▲", Word: fmt.Sprintf("risk, %.0f\u202f%%", 100*b.Probability), Class: "warn"}
		}
		if b.Certificate != nil {
			row.Proof = b.Certificate.Text
		}
		rows = append(rows, row)
	}
	return rows
}

func changeLook(state string) look {
	switch state {
	case api.ChangePending:
		return look{"◐", "waits for a decision", "quiet", ""}
	case api.ChangeApplied:
		return look{"✓", "applied", "good", ""}
	case api.ChangeRejected:
		return look{"✕", "rejected", "bad", ""}
	case api.ChangeConflict:
		return look{"▲", "changed meanwhile", "warn", ""}
	case api.ChangeExpired:
		return look{"○", "too late", "quiet", ""}
	}
	return look{"·", state, "quiet", ""}
}

// proposalWords say what became of a proposal.
func proposalWords(p control.Proposal, f frame) string {
	if p.ID == "" {
		return ""
	}
	starts := counted(len(p.Changes), "new start", "new starts")
	switch p.State {
	case control.ProposalWaiting:
		return starts + " will be proposed when the cloud answers."
	case control.ProposalOpen:
		waiting := 0
		for _, c := range p.Changes {
			if c.State == api.ChangePending {
				waiting++
			}
		}
		return fmt.Sprintf("%s proposed %s; %s at the cloud for a decision.", starts, age(f.now.Sub(p.Handed)), counted(waiting, "waits", "wait"))
	case control.ProposalWithdrawn:
		return starts + " proposed, and withdrawn because the plan has changed."
	case control.ProposalRefused:
		return starts + " proposed, and the cloud did not take them."
	}
	return starts + " proposed, and all decided."
}

// moveWords say how far a start moves.
func moveWords(d time.Duration) string {
	if d < 0 {
		return duration(-d) + " earlier"
	}
	return duration(d) + " later"
}

func qualityWords(q api.Quality) string {
	if q.Status == "optimal" {
		return "No other proposal could move fewer deliveries, or move them less."
	}
	return fmt.Sprintf("It moves %s; no proposal could move fewer than %s.", counted(q.Moved, "delivery", "deliveries"), count(q.MovedLB))
}

func optionWords(options []string) string {
	words := map[string]string{"widenWindow": "widen its window", "raiseCapacity": "raise the capacity then", "dropPriority": "give others a lower priority"}
	var list []string
	for _, o := range options {
		list = append(list, cmp.Or(words[o], o))
	}
	return strings.Join(list, ", or ")
}

// scheduleLine is the overview's word on the schedules: "" while there is nothing to do.
func scheduleLine(s control.Schedule, now time.Time, zone *time.Location) string {
	if s.Idle != "" {
		return ""
	}
	text := counted(s.Deliveries, "delivery", "deliveries") + " planned, "
	if len(s.Bands) == 0 {
		text += "no overload"
	} else {
		first := slices.MinFunc(s.Bands, func(a, b api.Band) int { return a.From.Compare(b.From) })
		text += fmt.Sprintf("%s, the first at %s", counted(len(s.Bands), "overload", "overloads"), at(first.From, now, zone).Text)
	}
	if !s.Next.IsZero() {
		text += "; next look by " + at(s.Next, now, zone).Text
	}
	return text
}
