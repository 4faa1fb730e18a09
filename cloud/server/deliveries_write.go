package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/delivery"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

const (
	statePlanned   = string(mfpgate.DeliveryPlanned)
	stateRunning   = string(mfpgate.DeliveryRunning)
	stateDone      = string(mfpgate.DeliveryDone)
	stateFailed    = string(mfpgate.DeliveryFailed)
	stateCancelled = string(mfpgate.DeliveryCancelled)

	// maxDeliveries is how many deliveries a gateway may have. Those that ended go after a while (see Sweep).
	maxDeliveries = 200_000
	maxBatch      = 1000    // deliveries planned together
	maxBatchBody  = 2 << 20 // bytes
	// maxDelivery bounds one record, in bytes, so that a group of them fits into one transaction.
	maxDelivery = 24 << 10
	// deliveryGroup is how many deliveries one transaction creates: four keys each, beside the logs of a chain.
	deliveryGroup = 12
)

// DraftDelivery is a delivery to create. Without an id it is given one.
type DraftDelivery struct{ api.Delivery }

// TransformSchema takes the id from what is required.
func (DraftDelivery) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = slices.DeleteFunc(s.Required, func(name string) bool { return name == "deliveryId" })
	s.Properties["deliveryId"].MinLength = nil
	s.PrecomputeMessages()
	return s
}

// DeliveryBatch is deliveries to create together.
type DeliveryBatch struct {
	BatchID string          `json:"batchId,omitempty" maxLength:"64" doc:"Of those that name none"`
	Items   []DraftDelivery `json:"items" minItems:"1" maxItems:"1000"`
}

// Saving is the part of the query of what an operator saves.
type Saving struct {
	AllowOverload bool `query:"allowOverload" doc:"Plan it although the gateway is overloaded then"`
}

// savedDelivery answers a change of one delivery.
type savedDelivery struct {
	Status   int
	ETag     string `header:"ETag"`
	Location string `header:"Location"`
	Replayed string `header:"Idempotency-Replayed"`
	Body     api.Delivery
}

func (s *Server) getDelivery(ctx context.Context, in *struct {
	DeliveryPath
	Conditional
}) (*read[api.Delivery], error) {
	d, err := s.delivery(ctx, in.Gateway, in.Delivery, callOf(ctx).who.role == roleGateway)
	if err != nil {
		return nil, err
	}
	tag := `"` + string(d.Version) + `"`
	return &read[api.Delivery]{Status: in.answer(tag), ETag: tag, Body: d}, nil
}

// delivery returns one of the gateway's, or of those behind it.
func (s *Server) delivery(ctx context.Context, gateway, id string, relayedOnly bool) (d api.Delivery, err error) {
	vias, err := s.vias(gateway)
	if err != nil {
		return d, internal(err)
	}
	there := false
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		o, known, err := store.FindJSON[owned](at, deliveryOwnerKey(id))
		if err != nil || !known {
			return err
		}
		via, below := vias[o.Gateway]
		if !below {
			return nil
		}
		var r deliveryRecord
		if r, there, err = store.FindJSON[deliveryRecord](at, deliveryKey(o.Gateway, id)); err != nil || !there {
			return err
		}
		d = r.wire(via)
		if relayedOnly {
			there, err = s.relayed(at)(o.Gateway, d.DeviceID)
		}
		return err
	})
	if err != nil {
		return d, internal(err)
	}
	if !there {
		return d, noDelivery()
	}
	return d, nil
}

func noDelivery() *problem {
	return refuse(http.StatusNotFound, ReasonNoDelivery, "the gateway has no such delivery")
}

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$`)

func validID(id string) bool { return idPattern.MatchString(id) }

func itoa(n int) string { return strconv.Itoa(n) }

// draft is what a delivery is to become. Its rules see one instant and change nothing.
type draft struct {
	now      time.Time
	contract mfpgate.Contract
	device   func(id string) (model string, there bool, err error)
	pack     func(id string) (api.Package, error)
	by       string
}

func (s *Server) draft(gateway, by string) (draft, error) {
	c, tag, err := s.contract(gateway)
	if err != nil {
		return draft{}, err
	}
	return draft{now: s.Clock.Now().UTC(), contract: c.Root(strings.Trim(tag, `"`)), pack: s.Folder.Package, by: by}, nil
}

// on reads devices in a transaction, or a snapshot.
func (w draft) on(g store.Getter, gateway string) draft {
	w.device = func(id string) (string, bool, error) {
		r, there, err := store.FindJSON[deviceRecord](g, deviceKey(gateway, id))
		return r.Device.Model, there, err
	}
	return w
}

// next is the record that a save leads to, or why it is refused.
func (w draft) next(current deliveryRecord, there bool, body api.Delivery) (deliveryRecord, error) {
	next := current
	next.Delivery, next.By = body, w.by
	next.Version++
	d := &next.Delivery
	d.Version, d.ViaGatewayID = "", ""
	if err := w.complete(d); err != nil {
		return next, err
	}
	if d.Schedule.Local != "" && d.Schedule.TimeZone == "" {
		d.Schedule.TimeZone = w.contract.TimeZone
	}
	err := d.Check(calendar.Texts{})
	if err == nil {
		d.Schedule, err = delivery.Resolve(d.Schedule)
	}
	if err != nil {
		return next, faulty(http.StatusUnprocessableEntity, ReasonInvalid, "the delivery breaks a rule", err)
	}
	if data, err := json.Marshal(d); err != nil || len(data) > maxDelivery {
		return next, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the delivery is too long; write fewer blackouts")
	}
	if err := w.state(current, there, d); err != nil {
		return next, err
	}
	if there && d.DeviceID != current.Delivery.DeviceID {
		return next, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.deviceId: a delivery stays with its device; cancel it and plan another")
	}
	if d.State != statePlanned {
		next.EndedAt = w.now
		return next, nil
	}
	next.EndedAt = time.Time{}
	d.Reason = ""
	return next, w.window(current, there, *d)
}

// complete fills in what follows from the device and the package.
func (w draft) complete(d *api.Delivery) error {
	model, there, err := w.device(d.DeviceID)
	if err != nil {
		return err
	}
	if !there {
		return refuse(http.StatusNotFound, ReasonNoDevice, "the gateway has not told of device "+clip(d.DeviceID))
	}
	if d.Model == "" {
		d.Model = model
	}
	if d.PackageID == "" {
		return nil
	}
	p, err := w.pack(d.PackageID)
	if errors.Is(err, provision.ErrNotFound) {
		return refuse(http.StatusUnprocessableEntity, ReasonNoPackage, "body.packageId: names no package of this region")
	}
	if err != nil {
		return err
	}
	d.PackageVersion, d.Bytes = p.Version, p.Size
	return nil
}

// state sets the state that an operator may give: what is planned may be cancelled, what ended may be planned again.
func (w draft) state(current deliveryRecord, there bool, d *api.Delivery) error {
	was := current.Delivery.State
	if d.State == "" {
		d.State = statePlanned
		if there && was != "" {
			d.State = was
		}
	}
	switch {
	case d.State == statePlanned && was != stateRunning:
		return nil
	case d.State == stateCancelled && there && (was == statePlanned || was == stateCancelled):
		return nil
	case there && was == stateRunning:
		return refuse(http.StatusConflict, ReasonNotPlanned, "the device has begun; nothing of the delivery can be changed now")
	default:
		return refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.state: an operator plans or cancels; devices do the rest")
	}
}

// window holds a start that is new against the contract's lead time, and any start against the window.
func (w draft) window(current deliveryRecord, there bool, d api.Delivery) error {
	root := d.Root()
	start := *d.Schedule.StartUTC
	was := current.Delivery
	same := there && was.State == statePlanned && was.Schedule.StartUTC != nil && was.Schedule.StartUTC.Equal(start) && was.Schedule.RRule == d.Schedule.RRule
	if !same {
		if there && was.State == statePlanned && was.Schedule.StartUTC != nil && was.Schedule.RRule == "" {
			if err := delivery.LeadTime(w.contract, w.now, *was.Schedule.StartUTC); err != nil {
				return faulty(http.StatusUnprocessableEntity, ReasonLeadTime, "the device may have been told its start already", err)
			}
		}
		if err := delivery.LeadTime(w.contract, w.now, start); err != nil {
			return faulty(http.StatusUnprocessableEntity, ReasonLeadTime, "the device would learn of the start too late", err)
		}
	}
	if err := delivery.Window(root, start); err != nil {
		return faulty(http.StatusUnprocessableEntity, ReasonWindow, "the start is outside the delivery's window", err)
	}
	return nil
}

// faulty is a problem with a pointer for each fault.
func faulty(status int, reason mfpgate.Reason, detail string, err error) *problem {
	p := refuse(status, reason, detail)
	for _, f := range delivery.Faults(err) {
		p.Errors = append(p.Errors, api.ProblemError{Pointer: bodyPointer(f.Pointer), Code: f.Rule})
	}
	return p
}

// bodyPointer writes /window/blackouts/3/to as the other problems of this server write it: body.window.blackouts[3].to.
func bodyPointer(pointer string) string {
	out := "body"
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch _, err := strconv.Atoi(part); {
		case part == "":
		case err == nil:
			out += "[" + part + "]"
		default:
			out += "." + part
		}
	}
	return out
}

// keepDelivery writes a record with its indexes and its timer: four keys.
func keepDelivery(tx store.Tx, gateway string, r deliveryRecord, fresh bool) error {
	id := r.Delivery.DeliveryID
	if fresh {
		held, taken, err := store.FindJSON[owned](tx, deliveryOwnerKey(id))
		if err != nil {
			return err
		}
		if taken && held.Gateway != gateway {
			return refuse(http.StatusConflict, ReasonDeliveryTaken, "another gateway of the region has a delivery "+clip(id))
		}
		if err := put(tx, deliveryOwnerKey(id), owned{gateway}); err != nil {
			return err
		}
		if err := put(tx, deviceDeliveryPrefix(gateway, r.Delivery.DeviceID)+id, owned{gateway}); err != nil {
			return err
		}
	}
	switch w := r.Delivery.Window; {
	case r.ended():
		if err := arm(tx, r.EndedAt.Add(retention), timerDelivery, gateway, id); err != nil {
			return err
		}
	case w != nil && w.LatestEnd != nil:
		if err := arm(tx, *w.LatestEnd, timerDelivery, gateway, id); err != nil {
			return err
		}
	}
	return put(tx, deliveryKey(gateway, id), r)
}

// derived is an id that follows from a request's key, so that a request that is sent again names the same things.
func derived(prefix string, parts ...any) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(parts...)))
	return prefix + "_" + hex.EncodeToString(sum[:13])
}

func digestOf(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
