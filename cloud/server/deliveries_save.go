package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

// keyRecord remembers a request that takes more than one transaction, until Sweep forgets it.
type keyRecord struct {
	Body   string    `json:"body"`
	Object string    `json:"object,omitempty"`
	Done   bool      `json:"done,omitempty"`
	At     time.Time `json:"at"`
}

func requestKey(gateway, op string, who principal, key string) string {
	return "schedule-key/" + gateway + "/" + derived(op, who.role, "\x00", who.id, "\x00", key)
}

func (s *Server) postDelivery(ctx context.Context, in *struct {
	GatewayPath
	Idempotent
	Saving
	Body DraftDelivery
}) (*savedDelivery, error) {
	list, replayed, err := s.createDeliveries(ctx, in.Gateway, callOf(ctx).who, in.Idempotent, in.AllowOverload, []api.Delivery{in.Body.Delivery})
	if err != nil {
		return nil, err
	}
	out := saved(http.StatusCreated, in.Gateway, list[0])
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}

func saved(status int, gateway string, d api.Delivery) *savedDelivery {
	return &savedDelivery{Status: status, ETag: `"` + string(d.Version) + `"`, Body: d,
		Location: "/v1/gateways/" + gateway + "/deliveries/" + d.DeliveryID}
}

func (s *Server) postDeliveries(ctx context.Context, in *struct {
	GatewayPath
	Idempotent
	Saving
	Body DeliveryBatch
}) (*posted[api.Page[api.Delivery]], error) {
	if len(in.Body.Items) == 0 {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.items: there is nothing in it")
	}
	list := make([]api.Delivery, len(in.Body.Items))
	for i, d := range in.Body.Items {
		if list[i] = d.Delivery; d.BatchID == "" {
			list[i].BatchID = in.Body.BatchID
		}
	}
	list, replayed, err := s.createDeliveries(ctx, in.Gateway, callOf(ctx).who, in.Idempotent, in.AllowOverload, list)
	if err != nil {
		return nil, err
	}
	return answered(api.Page[api.Delivery]{Items: list}, replayed), nil
}

// createDeliveries plans deliveries, all or none: they are checked together before the first is written, and what a crash leaves half
// done the same request does to its end. A delivery without an id has one that follows from the request's key.
func (s *Server) createDeliveries(ctx context.Context, gateway string, who principal, in Idempotent, allow bool, list []api.Delivery) ([]api.Delivery, bool, error) {
	if err := in.need(); err != nil {
		return nil, false, err
	}
	chain, err := s.chain(gateway)
	if err != nil {
		return nil, false, err
	}
	key := requestKey(gateway, "deliveries", who, in.Key)
	body, err := digestOf(list)
	if err != nil {
		return nil, false, internal(err)
	}
	ids := map[string]bool{}
	for i := range list {
		if list[i].DeliveryID == "" {
			list[i].DeliveryID = derived("dlv", key, i)
		}
		if ids[list[i].DeliveryID] || !validID(list[i].DeliveryID) {
			return nil, false, refuse(http.StatusUnprocessableEntity, ReasonInvalid,
				"deliveryId "+clip(list[i].DeliveryID)+": must be letters, digits, '_', '.', ':' or '-', and stand once")
		}
		ids[list[i].DeliveryID] = true
	}
	defer s.together(chain)()
	known, there, err := one[keyRecord](ctx, s.Store, key)
	switch {
	case err != nil:
		return nil, false, internal(err)
	case there && known.Body != body:
		return nil, false, keyReused()
	case !there:
		known = keyRecord{Body: body, At: s.Clock.Now().UTC()}
	case known.Done:
		out, err := s.created(ctx, gateway, list)
		return out, true, err
	}
	records, err := s.draftAll(ctx, gateway, who.id, key, list)
	if err != nil {
		return nil, false, err
	}
	if !there {
		if p := s.recheck(ctx, chain, records, allow); p != nil {
			return nil, false, p
		}
	}
	if !there { // from here on the request goes to its end
		if err := s.change(ctx, nil, func(tx store.Tx) error {
			if err := arm(tx, known.At.Add(retention), timerKey, gateway, key); err != nil {
				return err
			}
			return put(tx, key, known)
		}); err != nil {
			return nil, false, err
		}
	}
	for rest := records; len(rest) > 0; {
		group := rest[:min(len(rest), deliveryGroup)]
		rest = rest[len(group):]
		if err := s.createGroup(ctx, chain, key, group); err != nil {
			return nil, false, err
		}
	}
	known.Done = true
	if err := s.change(ctx, nil, func(tx store.Tx) error { return put(tx, key, known) }); err != nil {
		return nil, false, err
	}
	out, err := s.created(ctx, gateway, list)
	return out, false, err
}

func keyReused() *problem {
	return refuse(http.StatusUnprocessableEntity, ReasonKeyReuse, "the key was used for another body; send a new one")
}

// draftAll checks deliveries to create at one instant.
func (s *Server) draftAll(ctx context.Context, gateway, by, key string, list []api.Delivery) (records []deliveryRecord, err error) {
	w, err := s.draft(gateway, by)
	if err != nil {
		return nil, err
	}
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		h, err := s.head(at, gateway)
		if err != nil {
			return err
		}
		if h.Deliveries+len(list) > maxDeliveries {
			return refuse(http.StatusConflict, ReasonTooMany, "the gateway has all the deliveries that it may have; delete some")
		}
		w := w.on(at, gateway)
		for i, d := range list {
			was, there, err := store.FindJSON[deliveryRecord](at, deliveryKey(gateway, d.DeliveryID))
			if err != nil {
				return err
			}
			if there && was.Key == key { // of the same request, before a crash
				records = append(records, was)
				continue
			}
			o, taken, err := store.FindJSON[owned](at, deliveryOwnerKey(d.DeliveryID))
			if err != nil {
				return err
			}
			if there || taken {
				if o.Gateway != gateway {
					return refuse(http.StatusConflict, ReasonDeliveryTaken, "another gateway of the region has a delivery "+clip(d.DeliveryID))
				}
				return refuse(http.StatusConflict, ReasonDeliveryTaken, "there is a delivery "+clip(d.DeliveryID)+" already; change it with PUT")
			}
			r, err := w.next(deliveryRecord{}, false, d)
			if err != nil {
				return inItem(err, len(list), i)
			}
			r.Key = key
			records = append(records, r)
		}
		return nil
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return records, nil
}

// inItem says in which of several deliveries the fault is.
func inItem(err error, count, n int) error {
	var p *problem
	if !errors.As(err, &p) || count == 1 {
		return err
	}
	at := "item " + itoa(n) + ": "
	p.Detail = at + p.Detail
	for i := range p.Errors {
		p.Errors[i].Pointer = "body.items[" + itoa(n) + "]" + p.Errors[i].Pointer[len("body"):]
	}
	return p
}

func (s *Server) createGroup(ctx context.Context, chain []string, key string, group []deliveryRecord) error {
	return s.change(ctx, chain, func(tx store.Tx) error {
		e := logEntry{Type: api.EventDeliveryChanged, At: s.Clock.Now().UTC(), Owner: chain[0]}
		for _, r := range group {
			was, there, err := store.FindJSON[deliveryRecord](tx, deliveryKey(chain[0], r.Delivery.DeliveryID))
			if err != nil {
				return err
			}
			if there && was.Key == key {
				continue
			}
			if err := keepDelivery(tx, chain[0], r, true); err != nil {
				return err
			}
			e.Deliveries = append(e.Deliveries, r.Delivery.DeliveryID)
		}
		if len(e.Deliveries) == 0 {
			return nil
		}
		if len(group) == 1 {
			e.Object = group[0].Delivery.DeliveryID
		}
		return s.note(tx, chain, e, func(h *scheduleHead) error { h.Deliveries += len(e.Deliveries); return nil })
	})
}

func (s *Server) created(ctx context.Context, gateway string, list []api.Delivery) (out []api.Delivery, err error) {
	out = []api.Delivery{}
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		for _, d := range list {
			r, there, err := store.FindJSON[deliveryRecord](at, deliveryKey(gateway, d.DeliveryID))
			if err != nil {
				return err
			}
			if there {
				out = append(out, r.wire(""))
			}
		}
		if len(out) == 0 {
			return noDelivery() // a request that is sent again after its deliveries were deleted
		}
		return nil
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return out, nil
}

func (s *Server) putDelivery(ctx context.Context, in *struct {
	DeliveryPath
	Saving
	IfMatch     string `header:"If-Match" maxLength:"4096"`
	IfNoneMatch string `header:"If-None-Match" maxLength:"4096"`
	Body        api.Delivery
}) (*savedDelivery, error) {
	if in.Body.DeliveryID != in.Delivery {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "deliveryId differs from the address")
	}
	d, status, err := s.saveDelivery(ctx, in.Gateway, in.Body, saveOptions{in.IfMatch, in.IfNoneMatch, callOf(ctx).who.id, in.AllowOverload})
	if err != nil {
		return nil, err
	}
	return saved(status, in.Gateway, d), nil
}

type saveOptions struct {
	ifMatch, ifNoneMatch, by string
	allowOverload            bool
}

// saveDelivery creates or replaces a delivery in an operator's name.
func (s *Server) saveDelivery(ctx context.Context, gateway string, d api.Delivery, o saveOptions) (api.Delivery, int, error) {
	chain, err := s.chain(gateway)
	if err != nil {
		return d, 0, err
	}
	w, err := s.draft(gateway, o.by)
	if err != nil {
		return d, 0, err
	}
	defer s.together(chain)()
	var next deliveryRecord
	var fresh bool
	decide := func(g store.Getter) error {
		current, there, err := store.FindJSON[deliveryRecord](g, deliveryKey(gateway, d.DeliveryID))
		if err != nil {
			return err
		}
		tag := ""
		if fresh = !there; there {
			tag = versionTag(current.Version)
		}
		if p := changeGuard(o.ifMatch, o.ifNoneMatch, tag); p != nil {
			return p
		}
		next, err = w.on(g, gateway).next(current, there, d)
		return err
	}
	if err := s.Store.View(ctx, func(at store.Snapshot) error { return decide(at) }); err != nil {
		return d, 0, refusalOr500(err)
	}
	if next.Delivery.State == statePlanned {
		if p := s.recheck(ctx, chain, []deliveryRecord{next}, o.allowOverload); p != nil {
			return d, 0, p
		}
	}
	err = s.change(ctx, chain, func(tx store.Tx) error {
		if err := decide(tx); err != nil { // a device may have begun meanwhile
			return err
		}
		if err := keepDelivery(tx, gateway, next, fresh); err != nil {
			return err
		}
		return s.noteDelivery(tx, chain, d.DeliveryID, func(h *scheduleHead) error {
			if fresh {
				h.Deliveries++
			}
			if h.Deliveries > maxDeliveries {
				return refuse(http.StatusConflict, ReasonTooMany, "the gateway has all the deliveries that it may have; delete some")
			}
			return nil
		})
	})
	status := http.StatusOK
	if fresh {
		status = http.StatusCreated
	}
	return next.wire(""), status, err
}

func (s *Server) noteDelivery(tx store.Tx, chain []string, id string, edit func(*scheduleHead) error) error {
	e := logEntry{Type: api.EventDeliveryChanged, Object: id, At: s.Clock.Now().UTC(), Owner: chain[0], Deliveries: []string{id}}
	return s.note(tx, chain, e, edit)
}

func (s *Server) deleteDelivery(ctx context.Context, in *struct {
	DeliveryPath
	IfMatch string `header:"If-Match" maxLength:"4096"`
}) (*struct{}, error) {
	chain, err := s.chain(in.Gateway)
	if err != nil {
		return nil, err
	}
	defer s.together(chain)()
	return nil, s.change(ctx, chain, func(tx store.Tx) error {
		current, there, err := store.FindJSON[deliveryRecord](tx, deliveryKey(in.Gateway, in.Delivery))
		if err != nil {
			return err
		}
		if !there {
			return noDelivery()
		}
		if p := existingGuard(in.IfMatch, versionTag(current.Version)); p != nil {
			return p
		}
		if current.Delivery.State == stateRunning {
			return refuse(http.StatusConflict, ReasonNotPlanned, "the device has begun; wait for what it reports")
		}
		return s.forgetDelivery(tx, chain, current)
	})
}

// forgetDelivery removes a delivery with its indexes.
func (s *Server) forgetDelivery(tx store.Tx, chain []string, r deliveryRecord) error {
	id := r.Delivery.DeliveryID
	for _, key := range []string{deliveryKey(chain[0], id), deliveryOwnerKey(id), deviceDeliveryPrefix(chain[0], r.Delivery.DeviceID) + id} {
		if err := tx.Delete(key); err != nil {
			return err
		}
	}
	return s.noteDelivery(tx, chain, id, func(h *scheduleHead) error { h.Deliveries--; return nil })
}

// contract is the gateway's, as far as schedules go.
func (s *Server) contract(gateway string) (api.Contract, string, error) {
	c, tag, err := s.Folder.Contract(gateway)
	if errors.Is(err, provision.ErrNotFound) {
		return c, "", refuse(http.StatusNotFound, ReasonNoContract, "this gateway has no contract; `mfpcloud contract set` makes one")
	}
	if err != nil {
		return c, "", internal(err)
	}
	return c, tag, nil
}
