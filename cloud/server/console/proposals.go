package console

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// How much of a proposal its page shows at once.
const (
	changesPage    = 100
	unresolvedPage = 50
)

type proposalRow struct {
	ID, Path string
	Created  moment
	State    mark
	By       string
	Changes  string
	Counts   []mark
}

func (d desk) proposalRow(s api.ProposalState) proposalRow {
	row := proposalRow{ID: s.ProposalID, Path: proposalsPath(d.gateway) + "/" + url.PathEscape(s.ProposalID), Created: d.passed(s.CreatedAt), By: s.By,
		Changes: plural(len(s.Changes), "change", "changes")}
	switch s.State {
	case "pending":
		row.State = mark{"warn", "▲", "Waits for a decision"}
	case "decided":
		row.State = mark{"good", "✓", "Decided"}
	case "withdrawn":
		row.State = mark{"quiet", "○", "Withdrawn by the gateway"}
	case "expired":
		row.State = mark{"quiet", "○", "Expired"}
	default:
		row.State = mark{"quiet", "○", sentence(spaced(s.State))}
	}
	counts := map[string]int{}
	for _, c := range s.Changes {
		counts[c.State]++
	}
	for _, state := range []string{api.ChangePending, api.ChangeApplied, api.ChangeRejected, api.ChangeConflict, api.ChangeExpired} {
		if n := counts[state]; n > 0 {
			m := changeStateOf(state)
			m.Word = count(int64(n)) + " " + strings.ToLower(m.Word)
			row.Counts = append(row.Counts, m)
		}
	}
	return row
}

func changeStateOf(state string) mark {
	switch state {
	case api.ChangePending, "":
		return mark{"plan", "◷", "Pending"}
	case api.ChangeApplied:
		return mark{"good", "✓", "Applied"}
	case api.ChangeRejected:
		return mark{"warn", "✕", "Rejected"}
	case api.ChangeConflict:
		return mark{"bad", "▲", "In conflict"}
	case api.ChangeExpired:
		return mark{"quiet", "○", "Expired"}
	default:
		return mark{"quiet", "○", sentence(spaced(state))}
	}
}

func (c *Console) proposals(w http.ResponseWriter, r *http.Request) {
	d, f, err := c.begin(r, "Proposals", "proposals")
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	list, err := c.Schedule.Proposals(r.Context(), d.gateway, proposalsKept)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	rows := make([]proposalRow, len(list))
	for i, s := range list {
		rows[i] = d.proposalRow(s)
	}
	c.render(w, r, http.StatusOK, "proposals.html", struct {
		frame
		List []proposalRow
		Kept int // if there may be more
	}{f, rows, map[bool]int{true: proposalsKept}[len(rows) == proposalsKept]})
}

// changeView is a change with what became of it.
type changeView struct {
	N            int
	ID, Delivery string
	Path         string
	Device       string
	From, To     moment
	Move         string
	Why, Text    string
	FreedBy      string
	FreedPath    string
	State        mark
	Told         string // why it was rejected, what it conflicts with
	Pending      bool
	Selected     bool
}

type unresolvedView struct {
	ID, Path, Reason string
	Certificate      *api.Certificate
	During           during // of the certificate
	NoStartFound     bool
	Options          []string
}

// proposalPage is one proposal.
type proposalPage struct {
	frame
	Row            proposalRow
	Path, List     string
	ETag           string
	Applied        bool // without a person's decision
	Quality        []string
	Best           mark
	Changes        []changeView
	Pages          pager
	AllShown       bool
	Waiting        int // changes
	Unresolved     []unresolvedView
	MoreUnresolved int
	Reason         string // that the operator typed
	Refused        string
	Page           string
}

func (c *Console) proposal(w http.ResponseWriter, r *http.Request) {
	page, err := c.proposalPage(r, nil)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.render(w, r, http.StatusOK, "proposal.html", page)
}

func (c *Console) proposalPage(r *http.Request, selected []string) (page proposalPage, err error) {
	id := r.PathValue("id")
	d, f, err := c.begin(r, "Proposal", "proposals")
	if err != nil {
		return page, err
	}
	p, state, etag, err := c.Schedule.Proposal(r.Context(), d.gateway, id)
	if err != nil {
		return page, err
	}
	page = proposalPage{frame: f, Row: d.proposalRow(state), List: proposalsPath(d.gateway), ETag: etag, Applied: p.Apply, Page: r.URL.Query().Get("page")}
	page.Path = page.Row.Path
	page.Best, page.Quality = quality(p.Quality)
	states := make(map[string]api.ChangeStatus, len(state.Changes))
	for _, s := range state.Changes {
		states[s.ChangeID] = s
		if s.State == api.ChangePending {
			page.Waiting++
		}
	}
	changes, pages, all := paged(p.Changes, changesPage, page.Path, url.Values{"page": {page.Page}})
	page.Pages, page.AllShown = pages, all
	devices := c.devicesOf(r.Context(), d, changes)
	for i, change := range changes {
		page.Changes = append(page.Changes, d.changeView(i, change, states[change.ChangeID], devices[change.DeliveryID], slices.Contains(selected, change.ChangeID)))
	}
	page.MoreUnresolved = max(0, len(p.Unresolved)-unresolvedPage)
	for _, u := range p.Unresolved[:len(p.Unresolved)-page.MoreUnresolved] {
		v := unresolvedView{ID: u.DeliveryID, Path: deliveryPath(d.gateway, u.DeliveryID), Reason: u.Reason, Certificate: u.Certificate, NoStartFound: u.NoStartFound}
		if u.Certificate != nil {
			v.During = d.during(u.Certificate.From, u.Certificate.To)
		}
		for _, o := range u.Options {
			v.Options = append(v.Options, optionOf(o))
		}
		page.Unresolved = append(page.Unresolved, v)
	}
	return page, nil
}

// devicesOf names the devices of changes, by delivery. A page without them is better than none.
func (c *Console) devicesOf(ctx context.Context, d desk, changes []api.Change) map[string]string {
	if len(changes) == 0 {
		return nil
	}
	from, to := changes[0].From, changes[0].To
	for _, v := range changes {
		from, to = earlier(from, earlier(v.From, v.To)), later(to, later(v.From, v.To))
	}
	found, err := c.Schedule.Deliveries(ctx, d.gateway, from, to.Add(time.Minute))
	if err != nil {
		return nil
	}
	devices := make(map[string]string, len(found))
	for _, v := range found {
		devices[v.DeliveryID] = v.DeviceID
	}
	return devices
}

func (d desk) changeView(n int, v api.Change, s api.ChangeStatus, device string, selected bool) changeView {
	out := changeView{N: n, ID: v.ChangeID, Delivery: v.DeliveryID, Path: deliveryPath(d.gateway, v.DeliveryID), Device: device, From: d.at(v.From), To: d.at(v.To),
		Move: moved(v.To.Sub(v.From)), Text: v.Reason.Text, State: changeStateOf(s.State), Told: s.Reason, Pending: s.State == api.ChangePending}
	out.Selected = selected && out.Pending
	switch v.Reason.Code {
	case "OVERLOAD":
		out.Why = "It is in the overload"
	case "SWAP":
		out.Why = "It makes room for one that can go nowhere else"
	case "CHAIN":
		out.Why = "It makes room for one that makes room"
	}
	if v.Reason.FreedBy != "" {
		out.FreedBy, out.FreedPath = v.Reason.FreedBy, deliveryPath(d.gateway, v.Reason.FreedBy)
	}
	switch {
	case s.State == api.ChangeConflict && s.CurrentVersion != "":
		out.Told = strings.TrimSpace(out.Told + " The delivery has version " + string(s.CurrentVersion) + " by now.")
	case s.State == api.ChangeApplied && s.NewVersion != "":
		out.Told = strings.TrimSpace(out.Told + " Version " + string(s.NewVersion))
	}
	return out
}

func optionOf(option string) string {
	switch option {
	case "widenWindow":
		return "widen its window"
	case "raiseCapacity":
		return "raise the capacity"
	case "dropPriority":
		return "give way to others by a lower priority"
	default:
		return strings.ToLower(hump.ReplaceAllString(spaced(option), "$1 $2"))
	}
}

// quality says how good a proposal is, in a sentence and in its three figures.
func quality(q api.Quality) (mark, []string) {
	figures := []string{
		plural(q.Moved, "delivery moves", "deliveries move") + bound(q.Moved == q.MovedLB, plural(q.MovedLB, "", "")),
		"moved by " + lasting(time.Duration(q.Displacement)) + " in sum" + bound(q.Displacement == q.DisplacementLB, lasting(time.Duration(q.DisplacementLB))),
		plural(q.Unresolved, "delivery stays", "deliveries stay") + " where there is an overload" + bound(q.Unresolved == q.UnresolvedLB, plural(q.UnresolvedLB, "", "")),
	}
	switch gap := math.Ceil(100*q.Gap - 1e-9); {
	case q.Status == "optimal" && q.Unresolved == 0:
		return mark{"good", "✓", "Proved best: nothing can move fewer, or less far"}, figures
	case q.Status == "optimal":
		return mark{"good", "✓", "Proved best: nothing can leave fewer in an overload, nor move fewer, or less far"}, figures
	case math.IsNaN(gap) || gap < 0 || gap > 1e6:
		return mark{"quiet", "○", "How far from the best it is, is not known"}, figures
	default:
		return mark{"plan", "●", "Not proved best: at most " + strconv.Itoa(int(gap)) + "\u00a0% above the bound that nothing can be below"}, figures
	}
}

func bound(met bool, least string) string {
	if met {
		return ", which is the least"
	}
	return fmt.Sprintf("; it cannot be below %s", strings.TrimSpace(least))
}

// decide accepts all, or accepts or rejects those that are selected.
func (c *Console) decide(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<18)
	if err := r.ParseForm(); err != nil || r.PostFormValue("etag") == "" {
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the proposal again and decide there.")
		return
	}
	selected, reason := r.PostForm["change"], strings.TrimSpace(r.PostFormValue("reason"))
	decision, status, text := api.Decision{Accept: api.AcceptList{}}, 0, ""
	switch do := r.PostFormValue("do"); {
	case do == "accept-all":
		decision.Accept = api.AcceptList{api.All}
	case do != "accept" && do != "reject":
		c.Message(w, r, http.StatusBadRequest, "The form was incomplete. Open the proposal again and decide there.")
		return
	case len(selected) == 0 || len(selected) > changesPage:
		status, text = http.StatusUnprocessableEntity, "Nothing was selected. Select the changes that you mean."
	case do == "accept":
		decision.Accept = selected
	case reason == "" || len(reason) > 256:
		status, text = http.StatusUnprocessableEntity, "Say why the changes are rejected, in up to 256 letters."
	default:
		for _, id := range selected {
			decision.Reject = append(decision.Reject, api.Rejection{ID: id, Reason: reason})
		}
	}
	path := proposalsPath(r.PathValue("gw")) + "/" + url.PathEscape(r.PathValue("id"))
	if status == 0 {
		_, err := c.Schedule.Decide(r.Context(), r.PathValue("gw"), r.PathValue("id"), r.PostFormValue("etag"), decision, c.Operator(r))
		if err == nil {
			if page := r.URL.Query().Get("page"); page != "" {
				path += "?" + url.Values{"page": {page}}.Encode()
			}
			http.Redirect(w, r, path, http.StatusSeeOther)
			return
		}
		refused, known := clock{zone: time.UTC}.refusedBy(err)
		if !known || refused.Status == http.StatusNotFound {
			c.refuse(w, r, err)
			return
		}
		status, text = refused.Status, refused.Text
		if status == http.StatusPreconditionFailed {
			text = "The proposal has changed since the page was shown. Look at the states below, and decide again if you still want to. Your selection is kept."
		}
	}
	page, err := c.proposalPage(r, selected)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	page.Reason, page.Refused = reason, text
	c.render(w, r, status, "proposal.html", page)
}
