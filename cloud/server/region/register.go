package region

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
	broker "github.com/mfpgate/mfpgate/broker/region"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

// registered is the answer to a device.
type registered struct{ Body api.HoldingBrief }

// registerDevice enters a device in its region at its first start. It may be asked again, and goes on where it was.
func (m *Management) registerDevice(ctx context.Context, in *struct{ Body api.DeviceRegistration }) (*registered, error) {
	h, url, err := m.enter(ctx, m.Caller(ctx).ID, in.Body)
	if err != nil {
		return nil, answer(err)
	}
	out := brief(h)
	out.ServicesURL = url
	return &registered{out}, nil
}

func (m *Management) enter(ctx context.Context, mfp string, asked api.DeviceRegistration) (mfpgate.Holding, string, error) {
	defer m.turn(mfp)()
	r, there, err := m.read(ctx, mfp)
	if err != nil {
		return mfpgate.Holding{}, "", err
	}
	switch {
	case there && r.State == mfpgate.HoldingMoved:
		return mfpgate.Holding{}, "", refuse(http.StatusMisdirectedRequest, api.Moved, "region %s has the device; GET %s says more", r.Region, api.DirectivePath)
	case there && r.State == mfpgate.HoldingActive:
		h, err := ownServices{m}.Holding(ctx, mfp)
		return h, m.hosts.servicesURL(), err
	}
	if err := m.nowhereElse(ctx, mfp, asked); err != nil {
		return mfpgate.Holding{}, "", err
	}
	if err := m.offered(ctx, asked.Services); err != nil {
		return mfpgate.Holding{}, "", err
	}
	// The id is kept before the services are told of it, so that a device that asks again gets the same.
	err = m.update(ctx, func(tx store.Tx) error {
		before, _, err := store.FindJSON[registrant](tx, registrantKey(mfp))
		if err != nil {
			return err
		}
		r = before
		r.MFP, r.Model, r.Serial, r.Name, r.Services = mfp, asked.Model, asked.Serial, asked.Name, held(asked.Services)
		if r.Registration == "" || before.State != mfpgate.HoldingAbsent {
			r.Epoch = before.Epoch + 1
			r.Registration = Mint(m.Clock, m.IDKey, m.Region, r.Epoch)
		}
		r.Region, r.State, r.Since = m.Region, mfpgate.HoldingAbsent, m.now()
		if err := claim(tx, before, r); err != nil {
			return err
		}
		return store.SetJSON(tx, registrantKey(mfp), r)
	})
	if err != nil {
		return mfpgate.Holding{}, "", err
	}
	own, err := m.services()
	if err != nil {
		return mfpgate.Holding{}, "", err
	}
	h, err := own.Register(ctx, api.ServiceRegistration{MFP: mfp, Registration: r.Registration, Epoch: r.Epoch, Services: r.Services})
	if err != nil {
		return mfpgate.Holding{}, "", understood(m.Region, err)
	}
	if err := m.complete(ctx, r, mfpgate.HoldingActive); err != nil {
		return mfpgate.Holding{}, "", err
	}
	return h, m.hosts.servicesURL(), nil
}

// complete says that the services have what the registrant says.
func (m *Management) complete(ctx context.Context, r registrant, state mfpgate.HoldingState) error {
	defer m.asked.forget()
	return m.update(ctx, func(tx store.Tx) error {
		now, _, err := store.FindJSON[registrant](tx, registrantKey(r.MFP))
		if err != nil || now.Registration != r.Registration {
			return err
		}
		now.State, now.Since = state, m.now()
		return store.SetJSON(tx, registrantKey(r.MFP), now)
	})
}

// nowhereElse asks every peer whether it has the device: registered in two regions, it would have two homes. A peer that cannot be
// asked might have it, so that a device's first start waits for it.
func (m *Management) nowhereElse(ctx context.Context, mfp string, asked api.DeviceRegistration) error {
	if serialKey(asked.Model, asked.Serial) == "" {
		return refuse(http.StatusUnprocessableEntity, ReasonNoSerial, "model %.64q with serial number %.64q identifies no device", asked.Model, asked.Serial)
	}
	peers, err := m.links.names()
	if err != nil {
		return err
	}
	for _, name := range peers {
		link, err := m.links.to(name)
		if err != nil {
			return err
		}
		r, err := management{name, link.Management}.Find(ctx, clean(asked.Model), strings.TrimSpace(asked.Serial))
		switch {
		case errors.Is(err, broker.ErrNoHolding):
		case err != nil:
			return err
		case r.MFP == mfp && r.State != mfpgate.HoldingForeign && r.Region != m.Region:
			return refuse(http.StatusConflict, ReasonElsewhere, "region %s has the device; a move to %s brings it here", r.Region, m.Region)
		}
	}
	return nil
}

// offered refuses services that are not rolled out here.
func (m *Management) offered(ctx context.Context, services []mfpgate.HeldService) error {
	offers, err := ownServices{m}.Offers(ctx, m.Region)
	if err != nil {
		return err
	}
	if missing := without(services, offers); missing != "" {
		return refuse(http.StatusUnprocessableEntity, ReasonNotOffered, "%s is not rolled out in %s; `mfpcloud rollout add` does it", missing, m.Region)
	}
	return nil
}

// without names what is in none of the offers, or is "".
func without(services []mfpgate.HeldService, offers []mfpgate.ServiceOffer) string {
	for _, s := range services {
		kept := common([]mfpgate.HeldService{s}, offers)
		if len(kept) == 0 {
			return s.ID
		}
		for _, c := range s.Children {
			if !slices.Contains(kept[0].Children, c) {
				return s.ID + "/" + c
			}
		}
	}
	return ""
}

// common are the services, and their children, that are offered.
func common(services []mfpgate.HeldService, offers []mfpgate.ServiceOffer) []mfpgate.HeldService {
	list := []mfpgate.HeldService{}
	for _, s := range services {
		for _, o := range offers {
			if o.ID != s.ID {
				continue
			}
			kept := mfpgate.HeldService{ID: s.ID, Children: []string{}}
			for _, c := range s.Children {
				if slices.Contains(o.Children, c) {
					kept.Children = append(kept.Children, c)
				}
			}
			list = append(list, kept)
		}
	}
	return list
}

// enrolment is the way to where a registration id comes from.
type enrolment struct {
	found mfpgate.Registrant
	from  string // that was asked
}

// enrol registers a device of another market here under the id that its market gave it; no data move (claims 3 and 4).
func (m *Management) enrol(ctx context.Context, in *struct {
	GatewayPath
	Body api.EnrolRequest
}) (*struct{ Body mfpgate.Residence }, error) {
	r, err := m.enrolDevice(ctx, in.Gateway, in.Body)
	if err != nil {
		return nil, answer(err)
	}
	return &struct{ Body mfpgate.Residence }{r}, nil
}

func (m *Management) enrolDevice(ctx context.Context, gateway string, asked api.EnrolRequest) (mfpgate.Residence, error) {
	d, there, err := m.Device(ctx, gateway, asked.DeviceID)
	if err != nil {
		return mfpgate.Residence{}, err
	}
	if !there {
		return mfpgate.Residence{}, refuse(http.StatusNotFound, ReasonNoDevice, "the gateway does not tell of this device, or no longer")
	}
	if serialKey(d.Model, d.Serial) == "" {
		return mfpgate.Residence{}, refuse(http.StatusUnprocessableEntity, ReasonNoSerial,
			"the gateway knows no model and serial number of the device that identify it; switch it on, or let the gateway ask it over SNMP or IPP")
	}
	if r, there, err := m.known(ctx, d.Model, d.Serial); err != nil {
		return mfpgate.Residence{}, err
	} else if there && r.State == mfpgate.HoldingActive {
		return m.residence(ctx, gateway, d)
	}
	e, err := m.issuer(ctx, d, asked.Registration)
	if err != nil {
		return mfpgate.Residence{}, err
	}
	if err := m.enterForeign(ctx, d, e); err != nil {
		return mfpgate.Residence{}, err
	}
	return m.residence(ctx, gateway, d)
}

// issuer asks the device's market for its registration id; a given one says by its country whom to ask, and must be the one that this
// region has of the device.
func (m *Management) issuer(ctx context.Context, d mfpgate.Device, given string) (enrolment, error) {
	ask := d.Market
	if given != "" {
		id, err := ParseID(given)
		if err != nil {
			return enrolment{}, refuse(http.StatusUnprocessableEntity, ReasonForged, "%s", err)
		}
		ask = id.Region
		if ask == m.Region { // and the device is not registered here
			return enrolment{}, refuse(http.StatusUnprocessableEntity, ReasonForged, "%s did not issue this id, or has forgotten it; leave the id out, so that the device's market is asked", m.Region)
		}
	}
	unknown := func(who string) error {
		return refuse(http.StatusNotFound, api.UnknownHere,
			"%s knows no device of model %.64q with serial number %.64q: switch the device on so that it registers in its market, or correct its market at the gateway (devices.static: market)",
			who, d.Model, d.Serial)
	}
	if ask == "" || ask == m.Region {
		return enrolment{}, unknown("region " + m.Region)
	}
	link, err := m.links.to(ask)
	if err != nil {
		return enrolment{}, err
	}
	found, err := management{ask, link.Management}.Find(ctx, clean(d.Model), strings.TrimSpace(d.Serial))
	if errors.Is(err, broker.ErrNoHolding) {
		return enrolment{}, unknown("neither region " + m.Region + " nor " + ask)
	}
	if err != nil {
		return enrolment{}, err
	}
	id, err := ParseID(found.Registration)
	if err != nil || provision.CheckName(found.MFP) != nil || provision.CheckRegion(found.Region) != nil {
		return enrolment{}, refuse(http.StatusBadGateway, ReasonPeerRefused, "region %s says of the device what cannot be", ask)
	}
	if given != "" && given != found.Registration {
		return enrolment{}, refuse(http.StatusUnprocessableEntity, ReasonForged, "region %s did not issue this id for this device; leave it out, so that %[1]s is asked", ask)
	}
	if found.State == mfpgate.HoldingForeign || found.Region == m.Region || id.Region != ask {
		return enrolment{}, refuse(http.StatusConflict, ReasonElsewhere, "region %s has not issued the device's present id; move the device instead", ask)
	}
	return enrolment{found, ask}, nil
}

// enterForeign writes the registration down, has the services take it, and completes it.
func (m *Management) enterForeign(ctx context.Context, d mfpgate.Device, e enrolment) error {
	f := e.found
	defer m.turn(f.MFP)()
	offers, err := ownServices{m}.Offers(ctx, m.Region)
	if err != nil {
		return err
	}
	services := common(f.Services, offers) // what is not offered here is left out
	if len(services) == 0 {
		return refuse(http.StatusConflict, ReasonNotOffered, "no service of the device is rolled out in %s", m.Region)
	}
	r := registrant{
		MFP: f.MFP, Model: d.Model, Serial: d.Serial, Name: d.Name, Registration: f.Registration, Epoch: f.Epoch, Region: f.Region,
		State: mfpgate.HoldingAbsent, Since: m.now(), Services: services,
	}
	err = m.update(ctx, func(tx store.Tx) error {
		before, _, err := store.FindJSON[registrant](tx, registrantKey(r.MFP))
		if err != nil {
			return err
		}
		if before.State == mfpgate.HoldingActive || before.State == mfpgate.HoldingMoved && before.Epoch >= r.Epoch && before.Left != nil && before.Left.AckedAt.IsZero() {
			return refuse(http.StatusConflict, ReasonElsewhere, "device %s is in the midst of a move", r.MFP)
		}
		if before.State == mfpgate.HoldingForeign && before.Registration == r.Registration {
			r.State, r.Since = before.State, before.Since
		}
		if err := claim(tx, before, r); err != nil {
			return err
		}
		return store.SetJSON(tx, registrantKey(r.MFP), r)
	})
	if err != nil {
		return err
	}
	own, err := m.services()
	if err != nil {
		return err
	}
	_, err = own.Register(ctx, api.ServiceRegistration{MFP: r.MFP, Registration: r.Registration, Epoch: r.Epoch, Services: services, Foreign: f.Region})
	if err != nil {
		return understood(m.Region, err)
	}
	return m.complete(ctx, r, mfpgate.HoldingForeign)
}

func (m *Management) update(ctx context.Context, fn func(store.Tx) error) error {
	return store.UpdateUntilKnown(ctx, m.Store, fn)
}
