package portal

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// maxAbroad bounds the cards of devices whose home is another region; the residency page has them all.
const maxAbroad = 24

// movesPage is what moves.html shows; moves-live.html is its part that follows the gateway. Moves and residency are for administrators
// alone: where a device's data are is the site's affair and not one user's, and both pages name every device and what it holds.
type movesPage struct {
	frame
	pager
	Rows       []moveRow
	Summary    string
	Region     string // of the site
	Abroad     []abroadCard
	MoreAbroad string
	Unasked    string // why it is not known which devices are abroad
}

type moveRow struct {
	Href, Device, DeviceHref, From, To string
	State                              look
	Step                               string
	Why                                string
	Tries                              string
	Started, Since                     moment
}

// abroadCard is a device whose home is another region than the site's.
type abroadCard struct {
	Name, Href, Plan, Home string
	State                  look
	Why                    string
}

// movesOf are those that the gateway remembers: those that need somebody first, then what is under way.
func (p *Portal) movesOf(ctx context.Context) ([]mfpgate.Move, error) {
	list, err := p.Gateway.Moves(ctx)
	slices.SortStableFunc(list, func(a, b mfpgate.Move) int {
		return cmp.Or(cmp.Compare(moveUrgency(a), moveUrgency(b)), b.StartedAt.Compare(a.StartedAt), cmp.Compare(b.ID, a.ID))
	})
	return list, err
}

func moveUrgency(m mfpgate.Move) int {
	switch {
	case m.State.Ended():
		return 3
	case m.State == mfpgate.MoveStuck:
		return 0
	case m.State == mfpgate.MoveCompensating || m.Attempts > 0:
		return 1
	}
	return 2
}

func (p *Portal) moves(w http.ResponseWriter, r *http.Request) {
	page, err := p.movesPage(r)
	if err != nil {
		p.failed(w, err)
		return
	}
	page.Flash = p.flashed(r)
	p.render(w, http.StatusOK, "moves.html", page)
}

func (p *Portal) movesLive(w http.ResponseWriter, r *http.Request) {
	page, err := p.movesPage(r)
	if err != nil {
		p.failed(w, err)
		return
	}
	p.render(w, http.StatusOK, "moves-live.html", page)
}

func (p *Portal) movesPage(r *http.Request) (movesPage, error) {
	list, err := p.movesOf(r.Context())
	if err != nil {
		return movesPage{}, err
	}
	page := movesPage{frame: p.frame(r, "moves"), pager: pagerOf(r, "/moves", len(list)), Region: regionName(p.Gateway.Status(r.Context()).Site.Region)}
	names := p.deviceNames(r.Context())
	open := 0
	for _, m := range list {
		if !m.State.Ended() {
			open++
		}
	}
	for _, m := range list[page.from:page.to] {
		row := moveRow{Href: moveHref(m.ID), Device: moveName(m, names), From: regionName(m.From), To: regionName(m.To), State: moveLook(m), Why: sentence(m.Detail),
			Tries: triesWords(m), Started: at(m.StartedAt, page.now, page.zone), Since: at(m.Since, page.now, page.zone)}
		if !m.State.Ended() {
			row.Step = stepNow(m)
		}
		page.Rows = append(page.Rows, row)
	}
	page.Summary = movesSummary(len(list), open)
	return page, p.abroad(r.Context(), &page)
}

// abroad fills in the devices that may be moved here. That they are not known costs no page.
func (p *Portal) abroad(ctx context.Context, page *movesPage) error {
	all, err := p.residences(ctx)
	if errors.Is(err, control.ErrMove) {
		page.Unasked = moveRefused(err)
		return nil
	}
	more := 0
	for _, of := range all {
		if of.State != mfpgate.ResidenceAbroad && of.State != mfpgate.ResidenceForeign {
			continue
		}
		if len(page.Abroad) == maxAbroad {
			more++
			continue
		}
		page.Abroad = append(page.Abroad, abroadCard{Name: residentName(of), Href: deviceHref(of.Device), Plan: planHref(of.Device), Home: regionName(of.Home),
			State: residenceLook(of.State), Why: sentence(of.Detail)})
	}
	if more > 0 {
		page.MoreAbroad = counted(more, "more device", "more devices")
	}
	return err
}

func movesSummary(all, open int) string {
	switch {
	case all == 0:
		return "No device was moved in the last 90 days."
	case open == 0:
		return "Nothing is under way; " + counted(all, "move", "moves") + " of the last 90 days."
	}
	return counted(open, "move is", "moves are") + " under way, of " + count(all) + " in the last 90 days."
}

func moveHref(id mfpgate.MoveID) string { return "/moves/" + url.PathEscape(string(id)) }

func planHref(id mfpgate.DeviceID) string {
	return "/moves/new?" + url.Values{"device": {string(id)}}.Encode()
}

func (p *Portal) deviceNames(ctx context.Context) map[mfpgate.DeviceID]string {
	names := map[mfpgate.DeviceID]string{}
	for _, d := range p.Gateway.Devices(ctx) {
		names[d.ID] = deviceName(d)
	}
	return names
}

// moveName is the device's; one that the gateway has forgotten is named as its regions name it.
func moveName(m mfpgate.Move, names map[mfpgate.DeviceID]string) string {
	return cmp.Or(names[m.Device], m.MFP, string(m.Device))
}

// moveEvents tells a page that something has changed: of any move, or of the one of the address.
func (p *Portal) moveEvents(w http.ResponseWriter, r *http.Request) {
	id := mfpgate.MoveID(r.PathValue("id"))
	if id != "" {
		if _, ok := p.moveOf(w, r); !ok {
			return
		}
	}
	p.stream(w, r, "moves", func(ctx context.Context, changed chan<- struct{}) {
		for which := range p.Gateway.MoveChanges(ctx) {
			if which == "" || id == "" || which == id {
				tell(changed)
			}
		}
	})
}

// moveRefused is what the gateway says of what it does not do, without the sentinel before it.
func moveRefused(err error) string {
	return sentence(strings.TrimPrefix(err.Error(), control.ErrMove.Error()+": "))
}
