package daemon

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/config"
	"github.com/mfpgate/mfpgate/daemon/agent"
	"github.com/mfpgate/mfpgate/proxy/account"
)

// besidePortal serves the devices that register themselves on the portal's port, and the portal below every other path.
func (d *Daemon) besidePortal() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/device/v1/", agent.Handler(agent.Options{Requests: deviceRequests{d.registration}, Devices: deviceDoor{d}, Clock: d.Clock, Log: d.log}))
	mux.Handle("/", d.portal)
	return mux
}

// deviceRequests is the broker as devices in mode agent see it.
type deviceRequests struct{ *registration }

var _ agent.Requests = deviceRequests{}

// Report implements agent.Requests.
func (r deviceRequests) Report(ctx context.Context, device mfpgate.DeviceID, id string, result agent.Result) error {
	err := r.registration.Report(ctx, device, id, approval.Result(result))
	var no mfpgate.Refused
	switch {
	case errors.Is(err, approval.ErrNotFound):
		return agent.ErrNoRequest
	case errors.As(err, &no) && no.Why() == approval.NotNow:
		return agent.ErrEnded
	}
	return err
}

// deviceDoor says who asks at the devices' door.
type deviceDoor struct{ *Daemon }

var _ agent.Devices = deviceDoor{}

// Accounts implements agent.Devices.
func (d deviceDoor) Accounts() *account.File { return d.accounts.Load() }

// ByAccount implements agent.Devices. An inner gateway's account stands for many devices, and so for none.
func (d deviceDoor) ByAccount(name string) (mfpgate.DeviceID, bool) {
	if slices.ContainsFunc(d.config.Load().Relay.Gateways, func(g config.Gateway) bool { return g.Account == name }) {
		return "", false
	}
	id, _, _, ok := d.registry.Lookup(netip.Addr{}, name)
	return id, ok
}

// ByAddress implements agent.Devices.
func (d deviceDoor) ByAddress(address netip.Addr) (mfpgate.DeviceID, bool) {
	if !address.IsValid() || !slices.ContainsFunc(d.config.Load().Devices.Static, func(s config.StaticDevice) bool {
		return s.Address == address && s.Account == ""
	}) {
		return "", false
	}
	id, _, known, ok := d.registry.Lookup(address, "")
	return id, ok && known
}

// RegistersItself implements agent.Devices.
func (d deviceDoor) RegistersItself(id mfpgate.DeviceID) bool {
	c, ok := d.registration.Candidate(id)
	return ok && c.Mode == mfpgate.RegistrationAgent
}

// Service implements agent.Devices.
func (d deviceDoor) Service(name string) api.PrintService {
	for _, s := range d.config.Load().PrintServices {
		if s.Name == name {
			return api.PrintService{Name: s.Name, Kind: string(s.Kind), URL: s.URL.String(), ClientID: s.ClientID}
		}
	}
	return api.PrintService{Name: name}
}

// Site implements agent.Devices.
func (d deviceDoor) Site() string { return d.config.Load().Site.Name }
