package portal

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/telemetry/event"
	"github.com/mfpgate/mfpgate/telemetry/field"
)

var (
	errTooLong    = fmt.Errorf("%w: a name has at most %d characters", control.ErrDevice, control.MaxDeviceName)
	errNoneChosen = fmt.Errorf("%w: choose the device that is this one, too", control.ErrDevice)
)

const (
	flashKey    = "flash"
	flashBadKey = "flash-bad"
)

// flash is what came of a form, said once on the page that follows.
type flash struct {
	Text string
	Bad  bool
}

func (p *Portal) say(r *http.Request, bad bool, text string) {
	p.manager.Put(r.Context(), flashKey, text)
	p.manager.Put(r.Context(), flashBadKey, bad)
}

// flashed takes it, so that a page shows it once.
func (p *Portal) flashed(r *http.Request) *flash {
	text := p.manager.PopString(r.Context(), flashKey)
	bad := p.manager.PopBool(r.Context(), flashBadKey)
	if text == "" {
		return nil
	}
	return &flash{text, bad}
}

// failed is the page of a change or a question that broke: the log has the detail.
func (p *Portal) failed(w http.ResponseWriter, err error) {
	p.Log.Error().Err(err).Msg(event.PortalRefused)
	p.message(w, http.StatusInternalServerError, "Not done", "The gateway could not do it; its log says why.")
}

// change answers a form about one device: act does it, and says where to go and what to say there.
func (p *Portal) change(what string, act func(*http.Request, mfpgate.DeviceID) (to, said string, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := mfpgate.DeviceID(r.PathValue("id"))
		if !p.parseForm(w, r) {
			return
		}
		to, said, err := act(r, id)
		switch {
		case errors.Is(err, control.ErrNoDevice):
			p.noDevice(w)
			return
		case errors.Is(err, control.ErrDevice):
			p.say(r, true, sentence(err.Error()))
			to = deviceHref(id)
		case err != nil:
			p.failed(w, err)
			return
		default:
			p.Log.Info().Str(field.User, p.user(r)).Str(field.Device, string(id)).Str(field.Text, what).Msg(event.PortalChanged)
			p.say(r, false, said)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

func (p *Portal) rename(r *http.Request, id mfpgate.DeviceID) (to, said string, err error) {
	name := strings.TrimSpace(r.PostForm.Get("name"))
	if len([]rune(name)) > control.MaxDeviceName {
		return deviceHref(id), "", errTooLong
	}
	if name == "" {
		return deviceHref(id), "The device has its own name again.", p.Gateway.RenameDevice(r.Context(), id, "")
	}
	return deviceHref(id), "The device is called " + name + " now.", p.Gateway.RenameDevice(r.Context(), id, name)
}

func (p *Portal) pin(r *http.Request, id mfpgate.DeviceID) (to, said string, err error) {
	var others []mfpgate.DeviceID
	for _, other := range r.PostForm["other"] {
		others = append(others, mfpgate.DeviceID(other))
	}
	if len(others) == 0 {
		return deviceHref(id), "", errNoneChosen
	}
	return deviceHref(id), counted(len(others), "device is", "devices are") + " this one now.", p.Gateway.PinDevices(r.Context(), id, others)
}

func (p *Portal) split(r *http.Request, id mfpgate.DeviceID) (to, said string, err error) {
	made, err := p.Gateway.SplitDevice(r.Context(), id, mfpgate.SightingID(r.PostForm.Get("sighting")))
	return deviceHref(made), "This sighting is a device of its own now.", err
}

func (p *Portal) forget(r *http.Request, id mfpgate.DeviceID) (to, said string, err error) {
	name := string(id)
	if d, err := p.Gateway.Device(r.Context(), id); err == nil {
		name = deviceName(d.Device)
	}
	return "/devices", name + " is forgotten. It comes back when it is seen again.", p.Gateway.ForgetDevice(r.Context(), id)
}

func (p *Portal) scan(w http.ResponseWriter, r *http.Request) {
	scan, err := p.Gateway.ScanDevices(r.Context())
	switch {
	case errors.Is(err, control.ErrDevice):
		p.say(r, true, sentence(err.Error()))
	case err != nil:
		p.failed(w, err)
		return
	default:
		p.Log.Info().Str(field.User, p.user(r)).Str(field.Text, "scan").Msg(event.PortalChanged)
		p.say(r, false, sentence(scan.Text))
	}
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
}
