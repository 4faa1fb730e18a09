package portal

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/telemetry/event"
)

// registrationsPage is what registrations.html shows; registrations-live.html is its part that follows the gateway.
type registrationsPage struct {
	frame
	pager
	Rows     []registrationRow
	Summary  string
	Services bool // there is one to register in
}

type registrationRow struct {
	Href, Device, Kind, Location, Service, User string
	State                                       look
	Why                                         string
	Asked, Since                                moment
}

// mine reports whether v may see and change r: an administrator every one, a user those for his address, whoever asked.
func (v visitor) mine(r mfpgate.Registration) bool {
	return v.administrator() || v.Email != "" && strings.EqualFold(r.User, v.Email)
}

// registrationsOf are those that v may see: what is open first and, of that, what waits for a decision here.
func (p *Portal) registrationsOf(ctx context.Context, v visitor) ([]mfpgate.Registration, error) {
	all, err := p.Gateway.Registrations(ctx)
	if err != nil {
		return nil, err
	}
	var list []mfpgate.Registration
	for _, r := range all {
		if v.mine(r) {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list, func(a, b mfpgate.Registration) int {
		return cmp.Or(cmp.Compare(urgencyOf(a), urgencyOf(b)), b.RequestedAt.Compare(a.RequestedAt), cmp.Compare(b.ID, a.ID))
	})
	return list, nil
}

func urgencyOf(r mfpgate.Registration) int {
	switch {
	case r.State.Ended():
		return 2
	case decidable(r):
		return 0
	}
	return 1
}

// open says in an administrator's bar how many requests are under way. That it is not known costs no page.
func (p *Portal) open(ctx context.Context, v visitor) int {
	if !v.administrator() {
		return 0
	}
	all, err := p.Gateway.Registrations(ctx)
	if err != nil {
		p.Log.Error().Err(err).Msg(event.PortalRefused)
	}
	n := 0
	for _, r := range all {
		if !r.State.Ended() {
			n++
		}
	}
	return n
}

func (p *Portal) registrations(w http.ResponseWriter, r *http.Request) {
	page, err := p.registrationsPage(r)
	if err != nil {
		p.failed(w, err)
		return
	}
	page.Flash = p.flashed(r)
	p.render(w, http.StatusOK, "registrations.html", page)
}

func (p *Portal) registrationsLive(w http.ResponseWriter, r *http.Request) {
	page, err := p.registrationsPage(r)
	if err != nil {
		p.failed(w, err)
		return
	}
	p.render(w, http.StatusOK, "registrations-live.html", page)
}

func (p *Portal) registrationsPage(r *http.Request) (registrationsPage, error) {
	v := p.visitor(r)
	list, err := p.registrationsOf(r.Context(), v)
	if err != nil {
		return registrationsPage{}, err
	}
	page := registrationsPage{frame: p.frame(r, "registrations"), pager: pagerOf(r, "/registrations", len(list)), Services: len(p.Gateway.PrintServices(r.Context())) > 0}
	open := 0
	for _, g := range list {
		if !g.State.Ended() {
			open++
		}
	}
	for _, g := range list[page.from:page.to] {
		page.Rows = append(page.Rows, registrationRow{Href: registrationHref(g.ID), Device: printName(g.Device), Kind: printKind(g.Device),
			Location: g.Device.Location, Service: g.Service, User: g.User, State: registrationLook(g, v), Why: whyOf(g, v),
			Asked: at(g.RequestedAt, page.now, page.zone), Since: at(g.Since, page.now, page.zone)})
	}
	page.Summary = registrationsSummary(len(list), open)
	return page, nil
}

func registrationsSummary(all, open int) string {
	switch {
	case all == 0:
		return "Nothing was asked for in the last 30 days."
	case open == 0:
		return "Nothing is under way; " + counted(all, "request", "requests") + " of the last 30 days."
	}
	return counted(open, "request is", "requests are") + " under way, of " + count(all) + " in the last 30 days."
}

func registrationHref(id string) string { return "/registrations/" + url.PathEscape(id) }

func printName(d mfpgate.PrintDevice) string { return cmp.Or(d.Name, d.Address, string(d.ID)) }

func printKind(d mfpgate.PrintDevice) string { return strings.TrimSpace(d.Make + " " + d.Model) }
