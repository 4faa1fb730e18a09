package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/scheduler/plan"
	"github.com/mfpgate/mfpgate/store"
)

// maxBackground is how many schedules a gateway may have.
const maxBackground = 128

// backgroundRecord is the traffic of a service through a gateway.
type backgroundRecord struct {
	Version  int64                  `json:"version"`
	Schedule api.BackgroundSchedule `json:"schedule"`
}

func backgroundPrefix(gateway string) string       { return "background/" + gateway + "/" }
func backgroundKey(gateway, service string) string { return backgroundPrefix(gateway) + service }

// BackgroundPath names a background schedule.
type BackgroundPath struct {
	GatewayPath
	Service string `path:"service" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"`
}

func (s *Server) registerBackground(a huma.API) {
	const path = "/v1/gateways/{gw}/background-schedules"
	huma.Register(a, operation(a, http.MethodGet, path, "list-background-schedules",
		"Planned traffic of other services through the gateway, that of gateways behind it too", roleGateway, roleOperator), s.listBackground)
	huma.Register(a, operation(a, http.MethodGet, path+"/{service}", "get-background-schedule",
		"Planned traffic of one service", roleGateway, roleOperator), s.getBackground)
	huma.Register(a, operation(a, http.MethodPut, path+"/{service}", "put-background-schedule",
		"Say when a service's traffic comes, under If-Match or If-None-Match: *", roleOperator), s.putBackground)
	remove := operation(a, http.MethodDelete, path+"/{service}", "delete-background-schedule",
		"Forget a service's traffic, under If-Match", roleOperator)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(a, remove, s.deleteBackground)
}

func (s *Server) listBackground(ctx context.Context, in *struct {
	GatewayPath
	Conditional
}) (*read[api.Page[api.BackgroundSchedule]], error) {
	if _, err := s.chain(in.Gateway); err != nil {
		return nil, err
	}
	var list []api.BackgroundSchedule
	err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
		list, err = s.background(at, in.Gateway)
		return err
	})
	if err != nil {
		return nil, internal(err)
	}
	return listAnswer(in.Conditional, api.Page[api.BackgroundSchedule]{Items: list})
}

// background is all that passes the gateway's relay. What comes from a gateway behind it is named after that gateway, and its word "all"
// is spelled out: it means the inner one's devices.
func (s *Server) background(at store.Snapshot, gateway string) ([]api.BackgroundSchedule, error) {
	tree, err := s.Folder.Tree()
	if err != nil {
		return nil, err
	}
	list := []api.BackgroundSchedule{}
	for _, below := range tree.Below(gateway) {
		for r, err := range store.All(at, backgroundPrefix(below.Gateway)) {
			if err != nil {
				return nil, err
			}
			b, err := decodeRecord[backgroundRecord](r)
			if err != nil {
				return nil, err
			}
			w := b.Schedule
			if below.Via != "" {
				w.ServiceID = derived("svc", below.Gateway, "/", w.ServiceID)
				if w.Devices.Every() {
					if w.Devices, err = relayedDevices(at, below.Gateway); err != nil {
						return nil, err
					}
				}
				if w.TimeZone == "" {
					c, _, err := s.Folder.Contract(below.Gateway)
					if err != nil {
						return nil, err
					}
					w.TimeZone = c.TimeZone
				}
			}
			list = append(list, w)
		}
	}
	return list, nil
}

// relayedDevices are the ids of a gateway's devices in mode proxy.
func relayedDevices(at store.Snapshot, gateway string) (ids []string, err error) {
	for r, err := range store.All(at, devicePrefix(gateway)) {
		if err != nil {
			return nil, err
		}
		d, err := decodeRecord[deviceRecord](r)
		if err != nil {
			return nil, err
		}
		if d.Device.MonitoringMode == "proxy" {
			ids = append(ids, d.Device.DeviceID)
		}
	}
	return ids, nil
}

func (s *Server) getBackground(ctx context.Context, in *struct {
	BackgroundPath
	Conditional
}) (*read[api.BackgroundSchedule], error) {
	r, there, err := one[backgroundRecord](ctx, s.Store, backgroundKey(in.Gateway, in.Service))
	if err != nil {
		return nil, internal(err)
	}
	if !there {
		return nil, refuse(http.StatusNotFound, ReasonNoBackground, "the gateway has no such background schedule")
	}
	tag := versionTag(r.Version)
	return &read[api.BackgroundSchedule]{Status: in.answer(tag), ETag: tag, Body: r.Schedule}, nil
}

func (s *Server) putBackground(ctx context.Context, in *struct {
	BackgroundPath
	IfMatch     string `header:"If-Match" maxLength:"4096"`
	IfNoneMatch string `header:"If-None-Match" maxLength:"4096"`
	Body        api.BackgroundSchedule
}) (*read[api.BackgroundSchedule], error) {
	if in.Body.ServiceID != in.Service {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "serviceId differs from the address")
	}
	chain, err := s.chain(in.Gateway)
	if err != nil {
		return nil, err
	}
	if p := checkBackground(in.Body); p != nil {
		return nil, p
	}
	defer s.together(chain)()
	now, err := s.situation(ctx, in.Gateway, false)
	if err != nil {
		return nil, err
	}
	list := &now.snapshot.Background
	*list = slices.DeleteFunc(*list, func(b mfpgate.Background) bool { return b.ID == in.Service })
	*list = append(*list, in.Body.Root())
	if _, _, err := plan.Detect(now.snapshot); err != nil {
		return nil, unplannable(in.Gateway, err)
	}
	status, next := http.StatusOK, backgroundRecord{Schedule: in.Body}
	err = s.change(ctx, chain, func(tx store.Tx) error {
		current, there, err := store.FindJSON[backgroundRecord](tx, backgroundKey(in.Gateway, in.Service))
		if err != nil {
			return err
		}
		tag := ""
		status = http.StatusCreated
		if there {
			tag, status = versionTag(current.Version), http.StatusOK
		}
		if p := changeGuard(in.IfMatch, in.IfNoneMatch, tag); p != nil {
			return p
		}
		next.Version = current.Version + 1
		if err := put(tx, backgroundKey(in.Gateway, in.Service), next); err != nil {
			return err
		}
		return s.noteBackground(tx, chain, in.Service, func(h *scheduleHead) error {
			if !there {
				h.Background++
			}
			if h.Background > maxBackground {
				return refuse(http.StatusConflict, ReasonTooMany, "the gateway has all the background schedules that it may have; delete one")
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return &read[api.BackgroundSchedule]{Status: status, ETag: versionTag(next.Version), Body: next.Schedule}, nil
}

func (s *Server) noteBackground(tx store.Tx, chain []string, service string, edit func(*scheduleHead) error) error {
	return s.note(tx, chain, logEntry{Type: api.EventBackgroundChanged, Object: service, At: s.Clock.Now().UTC()}, edit)
}

// checkBackground refuses what does not say when, how long and for how many devices.
func checkBackground(b api.BackgroundSchedule) *problem {
	if err := b.Check(calendar.Texts{}); err != nil {
		return faulty(http.StatusUnprocessableEntity, ReasonInvalid, "the background schedule breaks a rule", err)
	}
	if len(b.Devices) > 0 && b.Concurrency > 0 {
		return refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.concurrency: say which devices come, or how many at once, not both")
	}
	return nil
}

func (s *Server) deleteBackground(ctx context.Context, in *struct {
	BackgroundPath
	IfMatch string `header:"If-Match" maxLength:"4096"`
}) (*struct{}, error) {
	chain, err := s.chain(in.Gateway)
	if err != nil {
		return nil, err
	}
	return nil, s.change(ctx, chain, func(tx store.Tx) error {
		current, there, err := store.FindJSON[backgroundRecord](tx, backgroundKey(in.Gateway, in.Service))
		if err != nil {
			return err
		}
		if !there {
			return refuse(http.StatusNotFound, ReasonNoBackground, "the gateway has no such background schedule")
		}
		if p := existingGuard(in.IfMatch, versionTag(current.Version)); p != nil {
			return p
		}
		if err := tx.Delete(backgroundKey(in.Gateway, in.Service)); err != nil {
			return err
		}
		return s.noteBackground(tx, chain, in.Service, func(h *scheduleHead) error { h.Background--; return nil })
	})
}
