package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/store"
)

// deliveryRecord is a delivery of a gateway.
type deliveryRecord struct {
	Version  int64        `json:"version"`
	Delivery api.Delivery `json:"delivery"` // without version and inner gateway
	Attempts int          `json:"attempts,omitempty"`
	RanAt    time.Time    `json:"ranAt,omitzero"` // of a recurring one: when it ended last
	BegunAt  time.Time    `json:"begunAt,omitzero"`
	EndedAt  time.Time    `json:"endedAt,omitzero"`
	Key      string       `json:"key,omitempty"` // of the request that created it
	By       string       `json:"by,omitempty"`
}

// ended reports whether the delivery is over.
func (r deliveryRecord) ended() bool {
	return r.Delivery.State != stateRunning && r.Delivery.State != statePlanned
}

func deliveryPrefix(gateway string) string  { return "delivery/" + gateway + "/" }
func deliveryKey(gateway, id string) string { return deliveryPrefix(gateway) + id }
func deliveryOwnerKey(id string) string     { return "delivery-owner/" + id }
func deviceDeliveryPrefix(gateway, device string) string {
	return "delivery-of/" + gateway + "/" + device + "/"
}

// owned says whose a delivery is. Ids are unique in the region, since a gateway sees those of gateways behind it too.
type owned struct {
	Gateway string `json:"gateway"`
}

// DeliveryPath names a delivery.
type DeliveryPath struct {
	GatewayPath
	Delivery string `path:"id" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"`
}

func (s *Server) registerDeliveries(a huma.API) {
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/deliveries", "list-deliveries",
		"What has changed of the deliveries since a delta token, of devices in mode proxy and of those on USB, also behind inner gateways", roleGateway, roleOperator), s.listDeliveries)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/deliveries/{id}", "get-delivery",
		"One delivery", roleGateway, roleOperator), s.getDelivery)
	huma.Register(a, created(operation(a, http.MethodPost, "/v1/gateways/{gw}/deliveries", "create-delivery",
		"Plan a delivery", roleOperator)), s.postDelivery)
	batch := created(operation(a, http.MethodPost, "/v1/gateways/{gw}/deliveries:batch", "create-deliveries",
		"Plan deliveries together: all, or none if one of them is refused", roleOperator))
	batch.MaxBodyBytes = maxBatchBody
	huma.Register(a, batch, s.postDeliveries)
	huma.Register(a, operation(a, http.MethodPut, "/v1/gateways/{gw}/deliveries/{id}", "put-delivery",
		"Plan a delivery, change it, or cancel it (state), under If-Match or If-None-Match: *", roleOperator), s.putDelivery)
	remove := operation(a, http.MethodDelete, "/v1/gateways/{gw}/deliveries/{id}", "delete-delivery",
		"Forget a delivery, under If-Match", roleOperator)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(a, remove, s.deleteDelivery)
}

// wire is the delivery as a gateway sees it, via the inner one that is named.
func (r deliveryRecord) wire(via string) api.Delivery {
	d := r.Delivery
	d.Version, d.ViaGatewayID = api.Version(strconv.FormatInt(r.Version, 10)), via
	return d
}

// place is where a page of the list ends. A list of changes goes by the log, a list of all by owner and id.
type place struct {
	whole     bool
	epoch     string
	seq       uint64 // of the log: where a list of changes is; where it stood when a list of all began
	owner, id string
}

func (p place) cursor() string {
	kind := "d"
	if p.whole {
		kind = "w"
	}
	return cursor(strings.Join([]string{kind, p.epoch, strconv.FormatUint(p.seq, 10), p.owner, p.id}, "|"))
}

func parsePlace(text string) (p place, ok bool) {
	part := strings.Split(text, "|")
	if len(part) != 5 || part[0] != "w" && part[0] != "d" {
		return p, false
	}
	seq, err := strconv.ParseUint(part[2], 10, 64)
	return place{part[0] == "w", part[1], seq, part[3], part[4]}, err == nil
}

func (s *Server) listDeliveries(ctx context.Context, in *struct {
	GatewayPath
	Conditional
	Paging
	Since    string    `query:"since" maxLength:"256" doc:"deltaToken of the list before; missing: all there is"`
	From     time.Time `query:"from" doc:"What the caller is interested in. The answer may hold more"`
	To       time.Time `query:"to"`
	Finished bool      `query:"finished" doc:"Of all there is: those too that are done, failed or cancelled"`
}) (*read[api.Deliveries], error) {
	if _, err := s.chain(in.Gateway); err != nil {
		return nil, err
	}
	text, err := in.after()
	if err != nil {
		return nil, err
	}
	var list api.Deliveries
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		h, err := s.head(at, in.Gateway)
		if err != nil {
			return err
		}
		var p place
		if text == "" {
			p.epoch, p.seq = h.Epoch, h.Seq
			if since, ok := parseDelta(h, in.Since); ok {
				p.seq = since
			} else {
				p.whole = true
			}
		} else {
			var ok bool
			if p, ok = parsePlace(text); !ok {
				return refuse(http.StatusBadRequest, ReasonCursor, "the cursor is not one of this list's; start again without one")
			}
			if p.epoch != h.Epoch || !h.reaches(p.seq) {
				return refuse(http.StatusConflict, ReasonStaleSnapshot, "too much has changed since the first page; start again without a cursor")
			}
		}
		if p.whole {
			list, err = s.allDeliveries(at, in.Gateway, p, in.Limit, in.Finished)
		} else {
			list, err = s.changedDeliveries(at, in.Gateway, p, in.Limit)
		}
		return err
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return listAnswer(in.Conditional, list)
}

// allDeliveries is a page of all there is. What changes while the pages are read is in the log after the place where the first page began,
// which the delta token of the last page names.
func (s *Server) allDeliveries(at store.Snapshot, gateway string, p place, limit int, finished bool) (api.Deliveries, error) {
	list := api.Deliveries{Items: []api.Delivery{}, Removed: []string{}, Whole: true}
	tree, err := s.Folder.Tree()
	if err != nil {
		return list, err
	}
	relayed, owner := s.relayed(at), "" // of the last item
	for _, below := range tree.Below(gateway) {
		if p.owner != "" && below.Gateway != p.owner {
			continue
		}
		after := ""
		if p.owner != "" {
			after = deliveryKey(p.owner, p.id)
			p.owner = ""
		}
		for more := true; more; {
			found, err := at.Scan(deliveryPrefix(below.Gateway), after, limit+1)
			if err != nil {
				return list, err
			}
			more = len(found) == limit+1
			for _, r := range found {
				d, err := decodeRecord[deliveryRecord](r)
				if err != nil {
					return list, err
				}
				after = r.Key
				if d.ended() && !finished {
					continue
				}
				if visible, err := relayed(below.Gateway, d.Delivery.DeviceID); err != nil || !visible {
					if err != nil {
						return list, err
					}
					continue
				}
				if len(list.Items) == limit {
					p.owner, p.id = owner, list.Items[limit-1].DeliveryID
					list.NextCursor = p.cursor()
					return list, nil
				}
				list.Items = append(list.Items, d.wire(below.Via))
				owner = below.Gateway
			}
		}
	}
	list.DeltaToken = deltaToken(scheduleHead{Epoch: p.epoch, Seq: p.seq})
	return list, nil
}

// relayed reports whether a gateway has told of a device whose deliveries pass it, with the memory of one list.
func (s *Server) relayed(at store.Getter) func(gateway, device string) (bool, error) {
	known := map[string]bool{}
	return func(gateway, device string) (bool, error) {
		key := deviceKey(gateway, device)
		yes, ok := known[key]
		if !ok {
			r, there, err := store.FindJSON[deviceRecord](at, key)
			if err != nil {
				return false, err
			}
			yes = there && scheduled(r.Device).Served()
			known[key] = yes
		}
		return yes, nil
	}
}

// logPage is how many entries of the log are read for one page; each is about a few deliveries.
const logPage = 64

// changedDeliveries is a page of what to look at again, as it is now.
func (s *Server) changedDeliveries(at store.Snapshot, gateway string, p place, limit int) (api.Deliveries, error) {
	list := api.Deliveries{Items: []api.Delivery{}, Removed: []string{}}
	vias, err := s.vias(gateway)
	if err != nil {
		return list, err
	}
	relayed, told := s.relayed(at), map[string]bool{}
	look := func(owner, id string) error {
		via, below := vias[owner]
		if told[id] || !below {
			return nil
		}
		told[id] = true
		r, there, err := store.FindJSON[deliveryRecord](at, deliveryKey(owner, id))
		if err != nil {
			return err
		}
		visible := false
		if there {
			if visible, err = relayed(owner, r.Delivery.DeviceID); err != nil {
				return err
			}
		}
		if visible {
			list.Items = append(list.Items, r.wire(via))
		} else {
			list.Removed = append(list.Removed, id)
		}
		return nil
	}
	for {
		found, last, err := entries(at, gateway, p.seq, logPage)
		if err != nil {
			return list, err
		}
		for i, e := range found {
			ids := e.Deliveries
			if e.Device != "" {
				if ids, err = deliveriesOf(at, e.Owner, e.Device); err != nil {
					return list, err
				}
			}
			for _, id := range ids {
				if err := look(e.Owner, id); err != nil {
					return list, err
				}
			}
			if len(list.Items)+len(list.Removed) >= limit && i < len(found)-1 {
				p.seq = last - uint64(len(found)-1-i)
				list.NextCursor = p.cursor()
				return list, nil
			}
		}
		p.seq = last
		if len(found) < logPage {
			break
		}
		if len(list.Items)+len(list.Removed) >= limit {
			list.NextCursor = p.cursor()
			return list, nil
		}
	}
	list.DeltaToken = deltaToken(scheduleHead{Epoch: p.epoch, Seq: p.seq})
	return list, nil
}

// vias says of the gateway and of each one behind it by which inner gateway it is reached.
func (s *Server) vias(gateway string) (map[string]string, error) {
	tree, err := s.Folder.Tree()
	if err != nil {
		return nil, err
	}
	vias := map[string]string{}
	for _, b := range tree.Below(gateway) {
		vias[b.Gateway] = b.Via
	}
	return vias, nil
}

// deliveriesOf returns the ids of a device's deliveries.
func deliveriesOf(at store.Snapshot, gateway, device string) (ids []string, err error) {
	prefix := deviceDeliveryPrefix(gateway, device)
	for r, err := range store.All(at, prefix) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, r.Key[len(prefix):])
	}
	return ids, nil
}
