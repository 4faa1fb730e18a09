package portal

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// The names of a form's fields: what is chosen for a class of data, and what the plan that was shown says of it.
const (
	chosenField = "data-"
	shownField  = "shown-"
	maxClasses  = 64
)

// policies are the choices for a class of data.
var policies = []mfpgate.DataPolicy{mfpgate.DataMove, mfpgate.DataReset, mfpgate.DataLeave}

// planPage is what move-new.html shows.
type planPage struct {
	frame
	Device, Name, Kind, DeviceHref string
	From, To, Target               string // Target is To as the form sends it
	Services, Children             []planLine
	Unlinked                       int
	Data                           []dataChoice
	Blockers                       []blockerRow
	Hash, Key                      string
	Registration, Epoch            string
	Problem                        string // why there is no plan
}

type blockerRow struct{ Text, Reason string }

// dataChoice is a class of data with what may become of it.
type dataChoice struct {
	Class, Field, Shown, Policy, Size string
	Choices                           []policyRow
}

type policyRow struct {
	Value, Word, What string
	Chosen            bool
}

// moveRequest reads what is chosen from a query or a form.
func moveRequest(v url.Values) mfpgate.MoveRequest {
	r := mfpgate.MoveRequest{Device: mfpgate.DeviceID(v.Get("device")), To: v.Get("to"), Data: map[string]mfpgate.DataPolicy{}}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		class, ok := strings.CutPrefix(name, chosenField)
		if policy := mfpgate.DataPolicy(v.Get(name)); ok && slices.Contains(policies, policy) && len(r.Data) < maxClasses {
			r.Data[class] = policy
		}
	}
	return r
}

// planAddress is the plan's page with these choices.
func planAddress(r mfpgate.MoveRequest) string {
	v := url.Values{"device": {string(r.Device)}}
	if r.To != "" {
		v.Set("to", r.To)
	}
	for class, policy := range r.Data {
		v.Set(chosenField+class, string(policy))
	}
	return "/moves/new?" + v.Encode()
}

// movePlan shows what a move would do. It asks the cloud, and changes nothing.
func (p *Portal) movePlan(w http.ResponseWriter, r *http.Request) {
	asked := moveRequest(r.URL.Query())
	if asked.Device == "" {
		http.Redirect(w, r, "/moves", http.StatusSeeOther)
		return
	}
	devices := p.Gateway.Devices(r.Context())
	i := slices.IndexFunc(devices, func(d mfpgate.Device) bool { return d.ID == asked.Device })
	if i < 0 {
		p.noDevice(w)
		return
	}
	page := planPage{frame: p.frame(r, "moves"), Device: string(asked.Device), Name: deviceName(devices[i]), Kind: kind(devices[i]), DeviceHref: deviceHref(asked.Device),
		Target: asked.To, Key: rand.Text()}
	page.Deeper = true
	plan, err := p.Gateway.PlanMove(r.Context(), asked)
	switch {
	case errors.Is(err, control.ErrMove):
		page.Problem = moveRefused(err)
	case errors.Is(err, control.ErrNoDevice):
		p.noDevice(w)
		return
	case err != nil:
		p.failed(w, err)
		return
	default:
		page.plan(plan)
	}
	page.To = cmp.Or(page.To, regionName(asked.To), regionName(p.Gateway.Status(r.Context()).Site.Region))
	page.Flash = p.flashed(r)
	p.render(w, http.StatusOK, "move-new.html", page)
}

func (page *planPage) plan(plan mfpgate.MovePlan) {
	page.From, page.To, page.Target, page.Hash = regionName(plan.From), regionName(plan.To), plan.To, plan.Hash
	page.Registration, page.Epoch = plan.Registration, fmt.Sprint(plan.Epoch)
	page.Services, page.Children, _ = planLines(plan, page.From, page.To)
	for _, c := range page.Children {
		if c.Bad {
			page.Unlinked++
		}
	}
	for _, d := range plan.Data {
		choice := dataChoice{Class: d.Class, Field: chosenField + d.Class, Shown: shownField + d.Class, Policy: string(d.Policy), Size: itemsWords(d.Items, d.Bytes)}
		for _, policy := range policies {
			word, what := policyChoice(policy, page.From, page.To)
			choice.Choices = append(choice.Choices, policyRow{string(policy), word, what, policy == d.Policy})
		}
		page.Data = append(page.Data, choice)
	}
	for _, b := range plan.Blockers {
		page.Blockers = append(page.Blockers, blockerRow{sentence(cmp.Or(b.Detail, string(b.Reason))), string(b.Reason)})
	}
}

// moveAsked starts exactly the plan that was shown. With other choices than that plan's it shows the plan with those, and starts nothing.
func (p *Portal) moveAsked(w http.ResponseWriter, r *http.Request) {
	if !p.parseForm(w, r) {
		return
	}
	form, v := r.PostForm, p.visitor(r)
	asked := moveRequest(form)
	asked.Plan = form.Get("plan")
	key := form.Get("key")
	if asked.Device == "" || !formKey.MatchString(key) {
		p.message(w, http.StatusBadRequest, "Not done", "What was sent is no form of this page. Go back, and try again.")
		return
	}
	switch {
	case form.Get("do") != "start":
		http.Redirect(w, r, planAddress(asked), http.StatusSeeOther)
		return
	case otherChoices(form):
		p.say(r, true, "You chose otherwise than the plan that was shown, so nothing was started. This is the plan with your choices.")
		http.Redirect(w, r, planAddress(asked), http.StatusSeeOther)
		return
	case asked.Plan == "":
		p.say(r, true, "Nothing was started: the page had no plan that can be. Look at this one.")
		http.Redirect(w, r, planAddress(asked), http.StatusSeeOther)
		return
	}
	m, err := p.Gateway.StartMove(r.Context(), asked, v.Name, "portal/"+v.Name+"/"+key)
	switch {
	case errors.Is(err, control.ErrNoDevice):
		p.noDevice(w)
		return
	case errors.Is(err, control.ErrMove):
		p.say(r, true, moveRefused(err))
		http.Redirect(w, r, planAddress(asked), http.StatusSeeOther)
		return
	case err != nil:
		p.failed(w, err)
		return
	}
	p.Log.Info().Str(field.User, v.Name).Str(field.Device, string(asked.Device)).Str(field.Text, "move "+string(m.ID)).Msg(event.PortalChanged)
	p.say(r, false, "The move has begun. This page follows it.")
	http.Redirect(w, r, moveHref(m.ID), http.StatusSeeOther)
}

// otherChoices reports whether the form's choices are not those of the plan that it was shown with.
func otherChoices(form url.Values) bool {
	for name := range form {
		if class, ok := strings.CutPrefix(name, shownField); ok && form.Get(chosenField+class) != form.Get(name) {
			return true
		}
		if class, ok := strings.CutPrefix(name, chosenField); ok && !form.Has(shownField+class) {
			return true
		}
	}
	return false
}
