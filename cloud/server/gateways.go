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
		"The devices that the gateway has told of, by id", roleGateway), s.listDevices)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/devices/{id}", "get-device",
		"One device that the gateway has told of", roleGateway), s.getDevice)
	huma.Register(a, operation(a, http.MethodPut, "/v1/gateways/{gw}/devices/{id}", "put-device",
		"Tell of a device, under If-Match or If-None-Match: *", roleGateway), s.putDevice)
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
	found, next, err := page[deviceRecord](ctx, s.Store, devicePrefix(in.Gateway), after, in.Limit)
	if err != nil {
		return nil, internal(err)
	}
	list := api.Page[api.DeviceEntry]{Items: make([]api.DeviceEntry, len(found)), NextCursor: next}
	for i, r := range found {
		list.Items[i] = api.DeviceEntry{Device: r.Device, ETag: versionTag(r.Version)}
	}
	return listAnswer(in.Conditional, list)
}

func (s *Server) getDevice(ctx context.Context, in *struct {
	DevicePath
	Conditional
}) (*read[api.Device], error) {
	r, there, err := one[deviceRecord](ctx, s.Store, deviceKey(in.Gateway, in.Device))
	if err != nil {
		return nil, internal(err)
	}
	if !there {
		return nil, refuse(http.StatusNotFound, ReasonNoDevice, "the gateway has not told of this device")
	}
	tag := versionTag(r.Version)
	return &read[api.Device]{Status: in.answer(tag), ETag: tag, Body: r.Device}, nil
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
	var status int
	record := deviceRecord{Device: in.Body}
	err := s.Store.Update(ctx, func(tx store.Tx) error {
		current, there, err := get[deviceRecord](tx, deviceKey(in.Gateway, in.Device))
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
		record.Version = current.Version + 1
		return put(tx, deviceKey(in.Gateway, in.Device), record)
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return &read[api.Device]{Status: status, ETag: versionTag(record.Version), Body: record.Device}, nil
}

// refusalOr500 lets a refusal out of a transaction and hides every other error.
func refusalOr500(err error) error {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	return internal(err)
}
