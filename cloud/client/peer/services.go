package peer

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/client"
)

// Services are the region's service role.
type Services struct{ *Peer }

// Services returns the region's service role.
func (p *Peer) Services() *Services { return &Services{p} }

// Offers is what the region offers to devices in a country.
func (s *Services) Offers(ctx context.Context, country string) ([]mfpgate.ServiceOffer, error) {
	const what = "roll-out"
	var out api.Rollout
	err := s.ask(ctx, what, func(orders, _ *client.Endpoint) (*client.Endpoint, client.Call) {
		u := orders.Path(api.RolloutPath)
		u.RawQuery = url.Values{"country": {country}}.Encode()
		return orders, client.Call{Method: http.MethodGet, URL: u, Bound: maxDocument, Out: &out}
	})
	if err != nil {
		return nil, err
	}
	if out.Country != country {
		return nil, s.failed(what, answer("it is of country %q, not %q", clip(out.Country), country))
	}
	for _, offer := range out.Items {
		if offer.ID == "" || slices.Contains(offer.Children, "") {
			return nil, s.failed(what, answer("a service or a child without a name"))
		}
	}
	return out.Items, nil
}

// Holding is what the region holds of a device. A refusal with reason api.NotRegistered: nothing.
func (s *Services) Holding(ctx context.Context, mfp string) (mfpgate.Holding, error) {
	what := "holding of " + mfp
	if err := checkMFP(mfp); err != nil {
		return mfpgate.Holding{}, s.failed(what, err)
	}
	var out mfpgate.Holding
	err := s.ask(ctx, what, func(orders, _ *client.Endpoint) (*client.Endpoint, client.Call) {
		return orders, client.Call{Method: http.MethodGet, URL: orders.Path(api.HoldingsPath, mfp), Bound: maxHolding, Out: &out}
	})
	if err == nil {
		err = s.failed(what, s.checkHolding(out, mfp))
	}
	if err != nil {
		return mfpgate.Holding{}, err
	}
	return out, nil
}

// Register enters a device in the services: those of the caller's own region take it.
func (s *Services) Register(ctx context.Context, r api.ServiceRegistration) (mfpgate.Holding, error) {
	what := "registration of " + r.MFP
	if err := checkMFP(r.MFP); err != nil {
		return mfpgate.Holding{}, s.failed(what, err)
	}
	var out mfpgate.Holding
	err := s.ask(ctx, what, func(orders, _ *client.Endpoint) (*client.Endpoint, client.Call) {
		return orders, client.Call{Method: http.MethodPost, URL: orders.Path(api.HoldingsPath), Bound: maxHolding, In: r, Out: &out}
	})
	if err == nil {
		err = s.failed(what, s.checkHolding(out, r.MFP))
	}
	if err != nil {
		return mfpgate.Holding{}, err
	}
	return out, nil
}

// Order has the services take a step. A refusal with reason api.Fenced or api.OutOfTurn had no effect.
func (s *Services) Order(ctx context.Context, o mfpgate.MoveOrder) (mfpgate.MoveAnswer, error) {
	what := orderOf(o)
	if err := checkOrder(o); err != nil {
		return mfpgate.MoveAnswer{}, s.failed(what, err)
	}
	var out mfpgate.MoveAnswer
	err := s.ask(ctx, what, func(orders, _ *client.Endpoint) (*client.Endpoint, client.Call) {
		u := orders.Path(api.HoldingsPath, o.MFP+":"+string(o.Step))
		return orders, client.Call{Method: http.MethodPost, URL: u, Bound: maxAnswer, In: o, Out: &out}
	})
	return s.answered(what, o, out, err)
}

// Send gives the region's services what a move copies, as those of the caller.
func (s *Services) Send(ctx context.Context, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
	what := "transfer for " + orderOf(t.Order)
	if err := checkOrder(t.Order); err != nil {
		return mfpgate.MoveAnswer{}, s.failed(what, err)
	}
	var out mfpgate.MoveAnswer
	err := s.ask(ctx, what, func(_, sends *client.Endpoint) (*client.Endpoint, client.Call) {
		return sends, client.Call{Method: http.MethodPut, URL: sends.Path(api.HoldingsPath, t.Order.MFP), Bound: maxAnswer, In: t, Out: &out}
	})
	return s.answered(what, t.Order, out, err)
}

// ask makes one call to the services, wherever they are.
func (s *Services) ask(ctx context.Context, what string, call func(orders, sends *client.Endpoint) (*client.Endpoint, client.Call)) error {
	orders, sends, err := s.services(ctx)
	if err != nil {
		return err
	}
	endpoint, c := call(orders, sends)
	_, err = endpoint.Call(ctx, c)
	s.forget(err)
	return s.failed(what, err)
}
