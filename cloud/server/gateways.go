package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

// deviceRecord is a device as its gateway told it.
type deviceRecord struct {
	Version int64      `json:"version"`
	Device  api.Device `json:"device"`
}

// GatewayPath names a gateway.
type GatewayPath struct {
	Gateway string `path:"gw" maxLength:"64"`
}

// DevicePath names a device of a gateway.
type DevicePath struct {
	GatewayPath
	Device string `path:"id" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
}

func devicePrefix(gateway string) string      { return "device/" + gateway + "/" }
func deviceKey(gateway, device string) string { return devicePrefix(gateway) + device }

func (s *Server) registerGateways(a huma.API) {
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/contract", "get-contract",
		"What the customer bought for this gateway", roleGateway), s.getContract)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/devices", "list-devices",
		"The devices that the gateway has told of, by id", roleGateway, roleOperator), s.listDevices)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/devices/{id}", "get-device",
		"One device that the gateway has told of", roleGateway, roleOperator), s.getDevice)
	huma.Register(a, operation(a, http.MethodPut, "/v1/gateways/{gw}/devices/{id}", "put-device",
		"Tell of a device, under If-Match or If-None-Match: *", roleGateway), s.putDevice)
	remove := operation(a, http.MethodDelete, "/v1/gateways/{gw}/devices/{id}", "delete-device",
		"Forget a device with its readings, under If-Match, and free it for another gateway", roleGateway, roleOperator)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(a, remove, s.deleteDevice)
}

func (s *Server) getContract(_ context.Context, in *struct {
	GatewayPath
	Conditional
}) (*read[api.Contract], error) {
	c, tag, err := s.Folder.Contract(in.Gateway)
	if errors.Is(err, provision.ErrNotFound) {
		return nil, refuse(http.StatusNotFound, ReasonNoContract, "this gateway has no contract; `mfpcloud contract set` makes one")
	}
	if err != nil {
		return nil, internal(err)
	}
	return &read[api.Contract]{Status: in.answer(tag), ETag: tag, Body: c}, nil
}

func (s *Server) listDevices(ctx context.Context, in *struct {
	GatewayPath
	Conditional
	Paging
}) (*read[api.Page[api.DeviceEntry]], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	list, err := s.devices(ctx, in.Gateway, after, in.Limit)
	if err != nil {
		return nil, internal(err)
	}
	return listAnswer(in.Conditional, list)
}

func (s *Server) devices(ctx context.Context, gateway, after string, limit int) (api.Page[api.DeviceEntry], error) {
	found, next, err := page[deviceRecord](ctx, s.Store, devicePrefix(gateway), after, limit)
	if err != nil {
		return api.Page[api.DeviceEntry]{}, err
	}
	list := api.Page[api.DeviceEntry]{Items: make([]api.DeviceEntry, len(found)), NextCursor: next}
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		for i, r := range found {
			list.Items[i] = api.DeviceEntry{Device: r.Device, ETag: versionTag(r.Version)}
			if _, err := seen(at, gateway, &list.Items[i].Device); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// seen moves lastSeen forward to the device's last reading. The entity tag is that of what the gateway told: were it to change
// with each reading, the gateway could not change a device that it sends readings of.
func seen(at store.Getter, gateway string, d *api.Device) (moved bool, err error) {
	r, _, err := store.FindJSON[readingRecord](at, readingKey(gateway, d.DeviceID))
	if last := r.Reading.LastSeen; err == nil && last != nil && (d.LastSeen == nil || last.After(*d.LastSeen)) {
		d.LastSeen = last
		return true, nil
	}
	return false, err
}

func (s *Server) getDevice(ctx context.Context, in *struct {
	DevicePath
	Conditional
}) (*read[api.Device], error) {
	d, moved, err := s.device(ctx, in.Gateway, in.Device)
	if err != nil {
		return nil, err
	}
	out := &read[api.Device]{Status: in.answer(d.ETag), ETag: d.ETag, Body: d.Device}
	if moved {
		out.Status = http.StatusOK // the caller may not have this lastSeen
	}
	return out, nil
}

func (s *Server) device(ctx context.Context, gateway, id string) (d api.DeviceEntry, moved bool, err error) {
	var there bool
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		var r deviceRecord
		if r, there, err = store.FindJSON[deviceRecord](at, deviceKey(gateway, id)); err != nil || !there {
			return err
		}
		d = api.DeviceEntry{Device: r.Device, ETag: versionTag(r.Version)}
		moved, err = seen(at, gateway, &d.Device)
		return err
	})
	if err != nil {
		return d, false, internal(err)
	}
	if !there {
		return d, false, refuse(http.StatusNotFound, ReasonNoDevice, "the gateway has not told of this device")
	}
	return d, moved, nil
}

func (s *Server) putDevice(ctx context.Context, in *struct {
	DevicePath
	IfMatch     string `header:"If-Match" maxLength:"4096"`
	IfNoneMatch string `header:"If-None-Match" maxLength:"4096"`
	Body        api.Device
}) (*read[api.Device], error) {
	if in.Body.DeviceID != in.Device {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "deviceId differs from the address")
	}
	chain, known, release, err := s.scheduled(ctx, in.Gateway, in.Device)
	if err != nil {
		return nil, err
	}
	defer release()
	var status int
	record := deviceRecord{Device: in.Body}
	err = s.change(ctx, chain, func(tx store.Tx) error {
		current, there, err := store.FindJSON[deviceRecord](tx, deviceKey(in.Gateway, in.Device))
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
		if err := claim(tx, in.Gateway, current.Device, in.Body, s.Clock.Now().UTC()); err != nil {
			return err
		}
		if err := relink(tx, in.Gateway, current.Device, in.Body); err != nil {
			return err
		}
		if known && (!there || current.Device.MonitoringMode != in.Body.MonitoringMode || current.Device.Attachment != in.Body.Attachment) {
			if err := s.noteDevice(tx, chain, in.Device); err != nil {
				return err
			}
		}
		record.Version = current.Version + 1
		return put(tx, deviceKey(in.Gateway, in.Device), record)
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return &read[api.Device]{Status: status, ETag: versionTag(record.Version), Body: record.Device}, nil
}

func (s *Server) deleteDevice(ctx context.Context, in *struct {
	DevicePath
	IfMatch string `header:"If-Match" maxLength:"4096"`
}) (*struct{}, error) {
	return nil, s.DeleteDevice(ctx, in.Gateway, in.Device, in.IfMatch)
}

// DeleteDevice forgets a device, its readings and what is open of it, and frees its claims. Its alerts stay in the gateway's list.
// ifMatch must hold the device's entity tag. Its errors are the API's.
func (s *Server) DeleteDevice(ctx context.Context, gateway, device, ifMatch string) error {
	chain, known, release, err := s.scheduled(ctx, gateway, device)
	if err != nil {
		return err
	}
	defer release()
	err = s.change(ctx, chain, func(tx store.Tx) error {
		current, there, err := store.FindJSON[deviceRecord](tx, deviceKey(gateway, device))
		if err != nil {
			return err
		}
		if !there {
			return refuse(http.StatusNotFound, ReasonNoDevice, "the gateway does not tell of this device, or no longer")
		}
		if p := existingGuard(ifMatch, versionTag(current.Version)); p != nil {
			return p
		}
		for _, key := range []string{deviceKey(gateway, device), readingKey(gateway, device), historyKey(gateway, device), openKey(gateway, device)} {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		if err := relink(tx, gateway, current.Device, api.Device{}); err != nil {
			return err
		}
		if known {
			if err := s.noteDevice(tx, chain, device); err != nil {
				return err
			}
		}
		if err := forgetFetched(tx, gateway, current.Device); err != nil {
			return err
		}
		return unclaim(tx, gateway, current.Device)
	})
	if err != nil {
		return refusalOr500(err)
	}
	return nil
}

// refusalOr500 lets a refusal out of a transaction and hides every other error.
func refusalOr500(err error) error {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return internal(err)
}
