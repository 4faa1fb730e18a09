package portal

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

var errNoDecision = fmt.Errorf("%w: say whether you approve or deny", control.ErrRegistration)

const (
	maxChoices = 50 // printers shown at once; a search finds the others
	fewChoices = 8  // printers that need no search
)

// registerPage is what register.html shows: the printers to choose from, or the form for the one that was chosen.
type registerPage struct {
	frame
	Services []serviceChoice
	Q        string
	Search   bool
	Printers []printerChoice
	Found    string
	Address  string // of what is shown
	Gone     bool   // the link names a printer that is not known
	Foreign  *foreign
	Chosen   *printerChoice
	Key      string // makes the form idempotent
	Email    string // for whom
	Approver string // instead of the configured administrator
	Retries  string
	Problem  string
}

type serviceChoice struct {
	Name, Kind string
	Chosen     bool
}

type printerChoice struct{ ID, Href, Name, Kind, Location, Serial string }

func (p *Portal) register(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	page := p.registerPage(r, mfpgate.DeviceID(q.Get("device")), q.Get("service"))
	if isPart(r) {
		p.render(w, http.StatusOK, "register-printers.html", page)
		return
	}
	p.render(w, http.StatusOK, "register.html", page)
}

func (p *Portal) registerPage(r *http.Request, device mfpgate.DeviceID, service string) registerPage {
	page := registerPage{frame: p.frame(r, "registrations"), Key: rand.Text(), Email: p.visitor(r).Email}
	page.Deeper = true
	services := p.Gateway.PrintServices(r.Context())
	for i, s := range services {
		chosen := s.Name == service || i == 0 && !slices.ContainsFunc(services, func(s control.PrintService) bool { return s.Name == service })
		page.Services = append(page.Services, serviceChoice{s.Name, serviceKind(s.Kind), chosen})
	}
	devices := p.Gateway.Devices(r.Context())
	if i := slices.IndexFunc(devices, func(d mfpgate.Device) bool { return device != "" && d.ID == device }); i >= 0 {
		choice := choiceOf(devices[i])
		page.Chosen = &choice
		page.Foreign = p.foreignOf(r.Context(), device)
		return page
	}
	page.Gone = device != ""
	asked := queryOf(r)
	page.Q, page.Search, page.Address = asked.Q, len(devices) > fewChoices, query{Q: asked.Q, Sort: "name", Page: 1}.address("/register")
	found := choices(devices, page.Q)
	page.Found = counted(len(found), "printer", "printers") + "."
	if len(found) == 0 {
		page.Found = "No printer matches."
	}
	if len(found) > maxChoices {
		page.Found = "The first " + count(maxChoices) + " of " + counted(len(found), "printer", "printers") + "; add a word to the search."
	}
	for _, d := range found[:min(len(found), maxChoices)] {
		page.Printers = append(page.Printers, choiceOf(d))
	}
	return page
}

// choices are the printers that have every word of the search in what a user is shown of them.
func choices(devices []mfpgate.Device, search string) (found []mfpgate.Device) {
	words := strings.Fields(strings.ToLower(search))
	for _, d := range devices {
		if matches(mfpgate.Device{Name: deviceName(d), Make: d.Make, Model: d.Model, Serial: d.Serial, Location: d.Location}, words) {
			found = append(found, d)
		}
	}
	slices.SortStableFunc(found, func(a, b mfpgate.Device) int {
		return cmp.Or(compareText(deviceName(a), deviceName(b)), cmp.Compare(a.ID, b.ID))
	})
	return found
}

func choiceOf(d mfpgate.Device) printerChoice {
	return printerChoice{string(d.ID), registerHref(d.ID), deviceName(d), kind(d), d.Location, d.Serial}
}

func registerHref(id mfpgate.DeviceID) string {
	return "/register?" + url.Values{"device": {string(id)}}.Encode()
}

func serviceKind(kind string) string {
	switch kind {
	case "universal-print":
		return "Universal Print"
	case "ipp-system":
		return "IPP print service"
	}
	return ""
}

// parseForm reads the form, or answers that it is none.
func (p *Portal) parseForm(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.message(w, http.StatusBadRequest, "Not done", "What was sent is no form of this page. Go back, and try again.")
		return false
	}
	return true
}

// formKey is what rand.Text makes.
var formKey = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func (p *Portal) registerAsked(w http.ResponseWriter, r *http.Request) {
	if !p.parseForm(w, r) {
		return
	}
	v, form := p.visitor(r), r.PostForm
	key := form.Get("key")
	if !formKey.MatchString(key) {
		p.message(w, http.StatusBadRequest, "Not done", "What was sent is no form of this page. Go back, and try again.")
		return
	}
	asked := mfpgate.RegistrationRequest{Device: mfpgate.DeviceID(form.Get("device")), Service: form.Get("service"), User: v.Email, Account: v.Name, From: addressOf(r)}
	var err error
	if v.administrator() { // a user asks for himself, and whom the configuration names decides
		asked.User, asked.Admin = strings.TrimSpace(form.Get("email")), strings.TrimSpace(form.Get("approver"))
		if text := strings.TrimSpace(form.Get("retries")); text != "" {
			if asked.Retries, err = strconv.Atoi(text); err != nil || asked.Retries < 2 || asked.Retries > 10 {
				err = fmt.Errorf("%w: new codes are 2 to 10; leave the field empty for what is configured", control.ErrRegistration)
			}
		}
	}
	if err == nil && asked.User == "" {
		err = fmt.Errorf("%w: give the mail address of who shall print", control.ErrRegistration)
	}
	var g mfpgate.Registration
	created := false
	if err == nil {
		g, created, err = p.Gateway.Register(r.Context(), asked, v.Name, "portal/"+v.Name+"/"+key)
	}
	switch {
	case errors.Is(err, control.ErrRegistration):
		page := p.registerPage(r, asked.Device, asked.Service)
		page.Problem = refusedText(err)
		if v.administrator() {
			page.Email, page.Approver, page.Retries = form.Get("email"), form.Get("approver"), form.Get("retries")
		}
		p.render(w, http.StatusUnprocessableEntity, "register.html", page)
		return
	case err != nil:
		p.failed(w, err)
		return
	case created:
		p.Log.Info().Str(field.User, v.Name).Str(field.Device, string(asked.Device)).Str(field.Text, "register "+g.ID).Msg(event.PortalChanged)
		p.say(r, false, "It is asked for. This page follows what becomes of it.")
	default:
		p.say(r, false, "This was asked for already. Here is how it stands.")
	}
	http.Redirect(w, r, registrationHref(g.ID), http.StatusSeeOther)
}

// addressOf is where a request came from, for an administrator to see.
func addressOf(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return from.Addr().Unmap().String()
}
