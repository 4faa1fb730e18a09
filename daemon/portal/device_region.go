package portal

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

// deviceRegion is what a device's page says of its region.
type deviceRegion struct {
	residenceRow
	Site     string // the site's region
	Enrol    string // address of the form that registers it here under its own id; "" if it is, or cannot be
	Unasked  string // why nothing of it is known
	MoveOpen bool
}

// residenceOf is what is known of one device; that nothing can be asked costs no page.
func (p *Portal) residenceOf(ctx context.Context, id mfpgate.DeviceID) (of mfpgate.Residence, unasked string) {
	all, err := p.residences(ctx)
	switch {
	case errors.Is(err, control.ErrMove):
		return of, moveRefused(err)
	case err != nil:
		p.Log.Error().Err(err).Msg(event.PortalRefused)
		return of, "It cannot be read now; the gateway's log says why."
	}
	if i := slices.IndexFunc(all, func(of mfpgate.Residence) bool { return of.Device == id }); i >= 0 {
		return all[i], ""
	}
	return mfpgate.Residence{Device: id, State: mfpgate.ResidenceUnknown}, ""
}

func (p *Portal) deviceRegion(ctx context.Context, d mfpgate.Device, f frame) deviceRegion {
	site := p.Gateway.Status(ctx).Site.Region
	of, unasked := p.residenceOf(ctx, d.ID)
	out := deviceRegion{residenceRow: residenceRowOf(of, f), Site: regionName(site), Unasked: unasked, MoveOpen: of.State == mfpgate.ResidenceMoving}
	if of.State == mfpgate.ResidenceAbroad || of.State == mfpgate.ResidenceUnknown && d.Market != "" && d.Market != site {
		out.Enrol = deviceHref(d.ID) + "/enrol"
	}
	return out
}

// enrol registers a device of another market here, under the id that its market gave it.
func (p *Portal) enrol(w http.ResponseWriter, r *http.Request) {
	if !p.parseForm(w, r) {
		return
	}
	id := mfpgate.DeviceID(r.PathValue("id"))
	of, err := p.Gateway.EnrolDevice(r.Context(), id, p.user(r))
	switch {
	case errors.Is(err, control.ErrNoDevice):
		p.noDevice(w)
		return
	case errors.Is(err, control.ErrMove):
		p.say(r, true, moveRefused(err))
	case err != nil:
		p.failed(w, err)
		return
	default:
		p.Log.Info().Str(field.User, p.user(r)).Str(field.Device, string(id)).Str(field.Text, "enrol").Msg(event.PortalChanged)
		p.say(r, false, "The device is registered here under its id of "+regionOr(of.Home, "its own region")+". Its data stay there until it is moved.")
	}
	http.Redirect(w, r, deviceHref(id), http.StatusSeeOther)
}

// foreign is a device that was built for another region, in which its data are. nil for every other one.
type foreign struct {
	Market, Site, Plan string
	Registered         bool // it is registered here already, under its own id
}

// foreignOf says what somebody who asks for this device has to know of where its data are.
func (p *Portal) foreignOf(ctx context.Context, id mfpgate.DeviceID) *foreign {
	devices := p.Gateway.Devices(ctx)
	i := slices.IndexFunc(devices, func(d mfpgate.Device) bool { return d.ID == id })
	site := p.Gateway.Status(ctx).Site.Region
	if i < 0 || devices[i].Market == "" || devices[i].Market == site {
		return nil
	}
	of, _ := p.residenceOf(ctx, id)
	if of.State == mfpgate.ResidenceHome || of.State == mfpgate.ResidenceMoving { // its data are here, or on their way
		return nil
	}
	return &foreign{Market: regionName(devices[i].Market), Site: regionOr(site, "this site's region"), Plan: planHref(id), Registered: of.State == mfpgate.ResidenceForeign}
}
