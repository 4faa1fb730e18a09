package peer

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
)

// Management is the region's management server.
type Management struct{ *Peer }

// Management returns the region's management server.
func (p *Peer) Management() *Management { return &Management{p} }

// Find returns the device of a model and serial number. A refusal with reason api.NotRegistered or api.UnknownHere: it knows none.
func (m *Management) Find(ctx context.Context, model, serial string) (mfpgate.Registrant, error) {
	const what = "registrant"
	u := m.management.Path(api.RegistrantsPath)
	u.RawQuery = url.Values{"model": {model}, "serial": {serial}}.Encode()
	var out mfpgate.Registrant
	_, err := m.management.Call(ctx, client.Call{Method: http.MethodGet, URL: u, Bound: maxHolding, Out: &out})
	switch {
	case err != nil:
	case checkMFP(out.MFP) != nil:
		err = answer("%q names no device", clip(out.MFP))
	case !strings.EqualFold(out.Model, model) || !strings.EqualFold(out.Serial, serial):
		err = answer("it is %q %q, not %q %q", clip(out.Model), clip(out.Serial), model, serial)
	case out.Region == "" || !known(out.State):
		err = answer("it is %q in region %q", clip(string(out.State)), clip(out.Region))
	}
	if err != nil {
		return mfpgate.Registrant{}, m.failed(what, err)
	}
	return out, nil
}

// Order has the management server take a step: copy and delta return its own data of the device, notify tells it of the success,
// redirect asks whether the device has acknowledged its directive, delete has it forget the device.
func (m *Management) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	what := orderOf(o)
	if err := checkOrder(o); err != nil {
		return mfpgate.MoveAnswer{}, m.failed(what, err)
	}
	var out mfpgate.MoveAnswer
	_, err := m.management.Call(ctx, client.Call{Method: http.MethodPost, URL: m.management.Path(api.OrdersPath), Bound: maxAnswer, In: o, Out: &out})
	return m.answered(what, o, out, m.failed(what, err))
}
