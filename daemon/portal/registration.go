package portal

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// registrationPage is what registration.html shows; registration-live.html is its part that follows the gateway.
type registrationPage struct {
	frame
	ID, Href, Name, Kind, Service string
	DeviceHref                    string // "" for who may not see the device
	State                         look
	Now, Why                      string
	Since                         moment
	Steps                         []step
	Asked                         string // who was, and how
	MailError                     string
	Attempt                       string
	LastCode                      bool
	Expires, Deadline             moment // of the code, and of everything
	Code, Page, PageText          string // for administrators: what is typed, and where
	Decide                        bool
	Facts                         []fact
	CanCancel, CanResend, CanAsk  bool
	Foreign                       *foreign // the printer is registered, and its data are in another region
}

// ownRegistration is the one of the address, or false after an answer was written. One that is another user's does not exist.
func (p *Portal) ownRegistration(w http.ResponseWriter, r *http.Request) (mfpgate.Registration, bool) {
	g, err := p.Gateway.Registration(r.Context(), r.PathValue("id"))
	switch {
	case errors.Is(err, control.ErrNoRegistration) || err == nil && !p.visitor(r).mine(g):
		p.message(w, http.StatusNotFound, "No such request", "It ended more than 30 days ago, or was never made. Look for it among the registrations.")
		return g, false
	case err != nil:
		p.failed(w, err)
		return g, false
	}
	return g, true
}

func (p *Portal) registration(w http.ResponseWriter, r *http.Request) {
	if g, ok := p.ownRegistration(w, r); ok {
		page := p.registrationPage(r, g)
		page.Flash = p.flashed(r)
		p.render(w, http.StatusOK, "registration.html", page)
	}
}

func (p *Portal) registrationLive(w http.ResponseWriter, r *http.Request) {
	if g, ok := p.ownRegistration(w, r); ok {
		p.render(w, http.StatusOK, "registration-live.html", p.registrationPage(r, g))
	}
}

func (p *Portal) registrationPage(r *http.Request, g mfpgate.Registration) registrationPage {
	f, v := p.frame(r, "registrations"), p.visitor(r)
	f.Deeper = true
	when := func(t time.Time) moment { return at(t, f.now, f.zone) }
	open := !g.State.Ended()
	page := registrationPage{frame: f, ID: g.ID, Href: registrationHref(g.ID), Name: printName(g.Device), Kind: printKind(g.Device), Service: g.Service,
		State: registrationLook(g, v), Now: nowWords(g, v), Why: whyOf(g, v), Since: when(g.Since), Steps: stepsOf(g), Asked: askedWords(g, v, when),
		CanCancel: open, CanAsk: approval.CanRetry(g), Decide: v.administrator() && decidable(g),
		CanResend: g.State == mfpgate.RegistrationAwaitingAdmin && g.Mode != mfpgate.RegistrationAgent && g.Admin != ""}
	page.Steps[0].Time = when(g.RequestedAt)
	if last := &page.Steps[len(page.Steps)-1]; !open {
		last.Time = when(g.Since)
	}
	if g.Attempt > 0 && g.Attempts > 0 {
		page.Attempt, page.LastCode = "Code "+count(g.Attempt)+" of "+count(g.Attempts)+".", g.Attempt >= g.Attempts
	}
	if open {
		page.Deadline = when(g.Deadline)
	}
	waits := g.State == mfpgate.RegistrationAwaitingAdmin
	if waits && !g.Local {
		page.Expires = when(g.ExpiresAt)
	}
	if g.State == mfpgate.RegistrationRegistered {
		page.Foreign = p.foreignOf(r.Context(), g.Device.ID)
	}
	if v.administrator() {
		page.DeviceHref = deviceHref(g.Device.ID)
		if open {
			page.MailError = sentence(g.MailError)
		}
		if waits && !g.Local {
			page.Code, page.PageText = g.UserCode.Reveal(), g.VerificationURI
			if u, err := url.Parse(g.VerificationURI); err == nil && u.Scheme == "https" && u.Host != "" {
				page.Page = g.VerificationURI
			}
		}
	} else if g.MailError != "" && open {
		page.MailError = "The letter to the administrator could not be sent yet; the gateway goes on trying."
	}
	page.Facts = registrationFacts(g, v, when)
	return page
}

// registrationFacts are what an administrator compares before he approves and, of these, what a user may know.
func registrationFacts(g mfpgate.Registration, v visitor, when func(time.Time) moment) []fact {
	all := []fact{
		{Term: "Printer", Text: printName(g.Device)},
		{Term: "Make and model", Text: printKind(g.Device)},
		{Term: "Serial number", Text: g.Device.Serial, Fixed: true},
		{Term: "Place", Text: g.Device.Location},
		{Term: "Print service", Text: g.Service},
		{Term: "For", Text: g.User, Fixed: true},
		{Term: "Asked at", Time: when(g.RequestedAt)},
	}
	if v.administrator() {
		all = append(all,
			fact{Term: "Asked by", Text: cmp.Or(g.Account, "the command line")},
			fact{Term: "Asked from", Text: g.From, Fixed: true},
			fact{Term: "Printer's address", Text: g.Device.Address, Fixed: true},
			fact{Term: "Wanted", Text: purposeWords(g.Purpose)},
			fact{Term: "Done by", Text: modeOfRegistration(g.Mode)},
			fact{Term: "Administrator", Text: g.Admin, Fixed: true},
			fact{Term: "Printer's id there", Text: g.PrinterID, Fixed: true},
			fact{Term: "Jobs come from", Text: g.PrinterURI, Fixed: true},
			fact{Term: "Certificate", Text: g.Certificate, Fixed: true},
			fact{Term: "It expires", Time: when(g.CertificateExpires)},
			fact{Term: "Id", Text: g.ID, Fixed: true})
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.Text == "" && f.Time.Text == "" })
}

func purposeWords(p mfpgate.RegistrationPurpose) string {
	switch p {
	case mfpgate.PurposeRegister:
		return "the printer entered, and the user allowed"
	case mfpgate.PurposeAllowUser:
		return "one more user allowed"
	}
	return string(p)
}

func modeOfRegistration(m mfpgate.RegistrationMode) string {
	if m == mfpgate.RegistrationAgent {
		return "the printer itself"
	}
	return "the gateway, for the printer"
}

// act answers a form about one registration: do does it, and says where to go and what to say there.
func (p *Portal) act(what string, do func(*http.Request, mfpgate.Registration) (to, said string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !p.parseForm(w, r) {
			return
		}
		g, ok := p.ownRegistration(w, r)
		if !ok {
			return
		}
		to, said, err := do(r, g)
		switch {
		case errors.Is(err, control.ErrRegistration), errors.Is(err, control.ErrNoRegistration):
			to = registrationHref(g.ID)
			p.say(r, true, refusedText(err))
		case err != nil:
			p.failed(w, err)
			return
		default:
			p.Log.Info().Str(field.User, p.user(r)).Str(field.Text, what+" "+g.ID).Msg(event.PortalChanged)
			p.say(r, false, said)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

// refusedText is what the gateway says of what it does not do, without the sentinel before it.
func refusedText(err error) string {
	return sentence(strings.TrimPrefix(err.Error(), control.ErrRegistration.Error()+": "))
}

func (p *Portal) cancelRegistration(r *http.Request, g mfpgate.Registration) (to, said string, err error) {
	return registrationHref(g.ID), "The request is cancelled.", p.Gateway.CancelRegistration(r.Context(), g.ID, p.user(r))
}

func (p *Portal) resendRegistration(r *http.Request, g mfpgate.Registration) (to, said string, err error) {
	return registrationHref(g.ID), "The administrator gets another letter.", p.Gateway.ResendRegistration(r.Context(), g.ID, p.user(r))
}

func (p *Portal) retryRegistration(r *http.Request, g mfpgate.Registration) (to, said string, err error) {
	again, err := p.Gateway.RetryRegistration(r.Context(), g.ID, p.user(r))
	return registrationHref(again.ID), "It is asked for again.", err
}

func (p *Portal) decideRegistration(r *http.Request, g mfpgate.Registration) (to, said string, err error) {
	switch r.PostForm.Get("decision") {
	case "approve":
		return registrationHref(g.ID), "You have approved.", p.Gateway.DecideRegistration(r.Context(), g.ID, p.user(r), true)
	case "deny":
		return registrationHref(g.ID), "You have denied it.", p.Gateway.DecideRegistration(r.Context(), g.ID, p.user(r), false)
	}
	return "", "", errNoDecision
}
