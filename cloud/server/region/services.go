package region

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/region/holding"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/telemetry"
)

const (
	// drainRetry is what a device is told that may not change anything now. Of a thousand devices in one batch the slowest drain took
	// 3 s: a device that comes later than that comes once more, and not again and again.
	drainRetry = 10 * time.Second
	// transferRetry is what a region is told that sends more at once than is taken.
	transferRetry = 2 * time.Second
	// maxTransferBody is api.MaxTransfer as JSON has it (base64), with names.
	maxTransferBody = api.MaxTransfer/3*4 + 1<<20
	transferWithin  = 2 * time.Minute
	// maxTransfers bounds the memory that transfers take at once.
	maxTransfers = 4
	// transferPlace is how long one waits for its place: less than the caller waits for the whole step.
	transferPlace = 10 * time.Second
)

// ServicesOptions are what a region's services are made of. All are required but Connect.
type ServicesOptions struct {
	Region  string
	Store   store.Store // a view of their own
	Clock   mfpgate.Clock
	Log     telemetry.Logger
	Key     ed25519.PrivateKey // under which receipts are signed
	Offers  func() ([]mfpgate.ServiceOffer, error)
	Peers   func() ([]provision.Peer, error)
	At      map[string]Address
	Connect Connect // nil: nothing can be sent

	Door
}

// Services are a region's service role. They are safe for concurrent use.
type Services struct {
	ServicesOptions
	links     links
	book      *holding.Book
	transfers chan struct{}
}

// NewServices makes them.
func NewServices(o ServicesOptions) (*Services, error) {
	s := &Services{ServicesOptions: o, transfers: make(chan struct{}, maxTransfers)}
	s.links = links{region: o.Region, role: provision.PeerServices, clock: o.Clock, connect: o.Connect, peers: o.Peers, at: o.At}
	var err error
	s.book, err = holding.New(holding.Options{
		Clock: o.Clock, Store: o.Store, Region: o.Region, Send: s.send, Offers: o.Offers,
		Sign: func(r mfpgate.DeletionReceipt) (string, error) { return jws.Sign(o.Key, api.PurposeReceipt, r) },
	})
	if err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	return s, nil
}

// send is the book's way to another region's services.
func (s *Services) send(ctx context.Context, to string, t mfpgate.HoldingTransfer) (mfpgate.MoveAnswer, error) {
	link, err := s.links.to(to)
	if err != nil {
		return mfpgate.MoveAnswer{}, err
	}
	a, err := link.Send(ctx, t)
	return a, understood(to, err)
}

// holdingRefusal is the answer to what the book refuses, or nil.
func holdingRefusal(err error) *Refusal {
	if gone, ok := errors.AsType[*holding.Moved](err); ok {
		return refuse(http.StatusMisdirectedRequest, api.Moved, "%s", gone)
	}
	switch {
	case errors.Is(err, holding.ErrDraining):
		return refuse(http.StatusServiceUnavailable, api.Draining, "%s", err).retry(drainRetry)
	case errors.Is(err, holding.ErrNoItem):
		return refuse(http.StatusNotFound, ReasonNoItem, "%s", err)
	case errors.Is(err, holding.ErrFull):
		return refuse(http.StatusInsufficientStorage, ReasonFull, "%s", err)
	case errors.Is(err, holding.ErrInvalid):
		return refuse(http.StatusUnprocessableEntity, ReasonInvalid, "%s", err)
	}
	return nil
}

// Register mounts the services. Each operation names its callers.
func (s *Services) Register(a huma.API) {
	op := s.Operation
	huma.Register(a, op(http.MethodGet, api.RolloutPath, "get-rollout", "What the region offers in a country", RolePeerManagement), s.rollout)
	huma.Register(a, op(http.MethodGet, api.HoldingsPath, "list-holdings", "What is held of every device", RoleOperator), s.list)
	huma.Register(a, op(http.MethodGet, api.HoldingsPath+"/{mfp}", "get-holding", "What is held of a device", RolePeerManagement), s.holding)
	huma.Register(a, op(http.MethodPost, api.HoldingsPath, "register", "Enter a device, or one of another region under its id there; for the own management server", RolePeerManagement), s.register)
	huma.Register(a, op(http.MethodPost, api.HoldingsPath+"/{order}", "order", "Take a step of a move: {order} is the device, a colon and the step", RolePeerManagement), s.order)
	put := op(http.MethodPut, api.HoldingsPath+"/{mfp}", "transfer", "Take what a move copies", RolePeerServices)
	put.MaxBodyBytes, put.BodyReadTimeout = maxTransferBody, transferWithin
	put.Middlewares = append(put.Middlewares, s.few)
	huma.Register(a, put, s.transfer)
	huma.Register(a, op(http.MethodPost, api.ServiceDevices+"/{mfp}/check-ins", "service-check-in", "A device says that it is there", RoleDevice), s.checkIn)
	item := api.ServiceDevices + "/{mfp}/data/{class}/{item}"
	huma.Register(a, op(http.MethodGet, item, "get-item", "One datum of the device", RoleDevice), s.getItem)
	write := op(http.MethodPut, item, "put-item", "Keep one datum of the device", RoleDevice)
	write.MaxBodyBytes, write.DefaultStatus = api.MaxItem, http.StatusNoContent
	write.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}
	huma.Register(a, write, s.putItem)
	remove := op(http.MethodDelete, item, "delete-item", "Forget one datum of the device", RoleDevice)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(a, remove, s.deleteItem)
}

// few lets a few transfers in at once: each is held in memory whole. The others wait a while, unread; most take some milliseconds,
// and a device whose source is told to come again is drained for as long.
func (s *Services) few(ctx huma.Context, next func(huma.Context)) {
	late := s.Clock.NewTimer(transferPlace)
	defer late.Stop()
	select {
	case s.transfers <- struct{}{}:
		defer func() { <-s.transfers }()
		next(ctx)
	case <-ctx.Context().Done():
	case <-late.C():
		s.Door.Refuse(ctx, refuse(http.StatusServiceUnavailable, ReasonThrottled, "other transfers are being taken; send this one again").retry(transferRetry))
	}
}

// HoldingPath names a device of the services.
type HoldingPath struct {
	MFP string `path:"mfp" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
}

func (s *Services) rollout(_ context.Context, in *struct {
	Country string `query:"country" pattern:"^[a-z]{2}$" required:"true"`
}) (*struct{ Body api.Rollout }, error) {
	out := api.Rollout{Country: in.Country, Items: []mfpgate.ServiceOffer{}}
	if in.Country == s.Region {
		offers, err := s.Offers()
		if err != nil {
			return nil, answer(err)
		}
		out.Items = append(out.Items, offers...)
	}
	return &struct{ Body api.Rollout }{out}, nil
}

func (s *Services) list(ctx context.Context, in *struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Cursor string `query:"cursor" maxLength:"64" pattern:"^[A-Za-z0-9_-]*$" doc:"nextCursor of the page before"`
}) (*struct{ Body api.Page[mfpgate.Holding] }, error) {
	list, err := s.book.List(ctx, in.Cursor, in.Limit)
	if err != nil {
		return nil, answer(err)
	}
	page := api.Page[mfpgate.Holding]{Items: append([]mfpgate.Holding{}, list...)}
	if len(list) == in.Limit {
		page.NextCursor = list[len(list)-1].MFP
	}
	return &struct{ Body api.Page[mfpgate.Holding] }{page}, nil
}

func (s *Services) holding(ctx context.Context, in *HoldingPath) (*heldAnswer, error) {
	h, err := s.book.Holding(ctx, in.MFP)
	return holdingAnswer(h, err)
}

type heldAnswer struct{ Body mfpgate.Holding }

func holdingAnswer(h mfpgate.Holding, err error) (*heldAnswer, error) {
	if err != nil {
		return nil, answer(err)
	}
	h.Services, h.Data = held(h.Services), append([]mfpgate.HeldData{}, h.Data...)
	return &heldAnswer{h}, nil
}

func (s *Services) register(ctx context.Context, in *struct{ Body api.ServiceRegistration }) (*heldAnswer, error) {
	if caller := s.Caller(ctx); caller.ID != s.Region {
		return nil, refuse(http.StatusForbidden, ReasonNotYours, "only the management server of %s registers devices here", s.Region)
	}
	b := in.Body
	return holdingAnswer(s.book.Register(ctx, b.MFP, b.Registration, b.Epoch, b.Services, b.Foreign))
}

// order takes an order from the management server of the region that the device moves to, and from nobody else.
func (s *Services) order(ctx context.Context, in *struct {
	Order string `path:"order" maxLength:"96" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}:[a-z]{1,16}$"`
	Body  mfpgate.MoveOrder
}) (*ordered, error) {
	mfp, step, _ := strings.Cut(in.Order, ":")
	o := in.Body
	if mfp != o.MFP || step != string(o.Step) {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the path and the order name different devices or steps")
	}
	if caller := s.Caller(ctx); o.To != caller.ID || o.From == o.To || o.From != s.Region && o.To != s.Region {
		return nil, refuse(http.StatusForbidden, ReasonNotYours, "the management server of %s orders only moves to %[1]s, of regions that take part in them", caller.ID)
	}
	return orderAnswer(s.book.Order(ctx, o))
}

type ordered struct{ Body mfpgate.MoveAnswer }

func orderAnswer(a mfpgate.MoveAnswer, err error) (*ordered, error) {
	if err != nil {
		return nil, answer(err)
	}
	return &ordered{a}, nil
}

// transfer takes what is copied from the services of the region that the device leaves, and from nobody else.
func (s *Services) transfer(ctx context.Context, in *struct {
	HoldingPath
	Body mfpgate.HoldingTransfer
}) (*ordered, error) {
	o := in.Body.Order
	if in.MFP != o.MFP {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the path and the transfer name different devices")
	}
	if caller := s.Caller(ctx); o.From != caller.ID || o.To != s.Region || o.From == o.To {
		return nil, refuse(http.StatusForbidden, ReasonNotYours, "the services of %s send only moves from %[1]s to %s", caller.ID, s.Region)
	}
	if o.Step != mfpgate.StepCopy && o.Step != mfpgate.StepDelta {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "a transfer is of copy or delta")
	}
	size := 0
	for _, i := range in.Body.Items {
		size += len(i.Value)
	}
	if size > api.MaxTransfer {
		return nil, refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge, "a move copies %d bytes at most", api.MaxTransfer)
	}
	return orderAnswer(s.book.Receive(ctx, in.Body))
}

func (s *Services) checkIn(ctx context.Context, in *struct {
	HoldingPath
	Body api.ServiceCheckIn
}) (*registered, error) {
	h, err := s.book.CheckIn(ctx, in.MFP, in.Body.Epoch)
	if err != nil {
		return nil, answer(err)
	}
	return &registered{brief(h)}, nil
}

// ItemPath names one datum.
type ItemPath struct {
	HoldingPath
	Class string `path:"class" pattern:"^[a-z][a-z0-9-]{0,31}$"`
	Item  string `path:"item" pattern:"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"`
}

type itemAnswer struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (s *Services) getItem(ctx context.Context, in *ItemPath) (*itemAnswer, error) {
	value, err := s.book.Get(ctx, in.MFP, in.Class, in.Item)
	if err != nil {
		return nil, answer(err)
	}
	return &itemAnswer{"application/octet-stream", value}, nil
}

func (s *Services) putItem(ctx context.Context, in *struct {
	ItemPath
	RawBody []byte
}) (*struct{}, error) {
	if err := s.book.Put(ctx, in.MFP, in.Class, in.Item, in.RawBody); err != nil {
		return nil, answer(err)
	}
	return nil, nil
}

func (s *Services) deleteItem(ctx context.Context, in *ItemPath) (*struct{}, error) {
	if err := s.book.Delete(ctx, in.MFP, in.Class, in.Item); err != nil {
		return nil, answer(err)
	}
	return nil, nil
}
