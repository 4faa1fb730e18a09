package control

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
)

// problem turns the devices' sentinels into statuses. 409 is for what the device's state forbids; what no device could
// take is 422 before it comes here.
func problem(err error) error {
	switch {
	case errors.Is(err, ErrNoDevice):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, ErrDevice):
		return huma.Error409Conflict(err.Error())
	}
	return err
}

// MaxDeviceName bounds a name that an administrator gives, in characters.
const MaxDeviceName = 128

type deviceIn struct {
	ID mfpgate.DeviceID `path:"id" maxLength:"64"`
}

type pinIn struct {
	ID   mfpgate.DeviceID `path:"id" maxLength:"64"`
	Body struct {
		Others []mfpgate.DeviceID `json:"others" minItems:"1" maxItems:"64" nullable:"false" doc:"They become the device in the path"`
	}
}

type splitIn struct {
	ID   mfpgate.DeviceID `path:"id" maxLength:"64"`
	Body struct {
		Sighting mfpgate.SightingID `json:"sightingId" minLength:"1" maxLength:"1024" doc:"It becomes a device of its own"`
	}
}

type nameIn struct {
	ID   mfpgate.DeviceID `path:"id" maxLength:"64"`
	Body struct {
		Name string `json:"name" maxLength:"128" doc:"Empty gives the device's own name back"`
	}
}

type split struct {
	Body struct {
		Device mfpgate.DeviceID `json:"deviceId"`
	}
}

func devices(api huma.API, g Gateway) {
	const one = "/api/v1/devices/{id}"
	get(api, "devices", "Every device that the gateway knows", func(ctx context.Context, _ *struct{}) (*list[mfpgate.Device], error) {
		return listOf(g.Devices(ctx)), nil
	})
	huma.Register(api, huma.Operation{OperationID: "get-device", Method: http.MethodGet, Path: one, Summary: "Everything about one device"},
		func(ctx context.Context, in *deviceIn) (*struct{ Body DeviceDetail }, error) {
			d, err := g.Device(ctx, in.ID)
			if err != nil {
				return nil, problem(err)
			}
			return &struct{ Body DeviceDetail }{d.filled()}, nil
		})
	huma.Register(api, huma.Operation{OperationID: "pin-devices", Method: http.MethodPost, Path: one + "/pin",
		Summary: "Say that others are this device too", DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *pinIn) (*struct{}, error) {
			return nil, problem(g.PinDevices(ctx, in.ID, in.Body.Others))
		})
	huma.Register(api, huma.Operation{OperationID: "split-device", Method: http.MethodPost, Path: one + "/split",
		Summary: "Say that a sighting is another device's", DefaultStatus: http.StatusCreated},
		func(ctx context.Context, in *splitIn) (*split, error) {
			id, err := g.SplitDevice(ctx, in.ID, in.Body.Sighting)
			if err != nil {
				return nil, problem(err)
			}
			out := &split{}
			out.Body.Device = id
			return out, nil
		})
	huma.Register(api, huma.Operation{OperationID: "rename-device", Method: http.MethodPut, Path: one + "/name",
		Summary: "Give a device a name, or its own back", DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *nameIn) (*struct{}, error) {
			return nil, problem(g.RenameDevice(ctx, in.ID, in.Body.Name))
		})
	huma.Register(api, huma.Operation{OperationID: "forget-device", Method: http.MethodDelete, Path: one,
		Summary: "Forget a device until it is seen again", DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *deviceIn) (*struct{}, error) {
			return nil, problem(g.ForgetDevice(ctx, in.ID))
		})
	huma.Register(api, huma.Operation{OperationID: "scan-devices", Method: http.MethodPost, Path: "/api/v1/devices/scan",
		Summary: "Ask every source for devices now", DefaultStatus: http.StatusAccepted},
		func(ctx context.Context, _ *struct{}) (*struct{ Body Scan }, error) {
			scan, err := g.ScanDevices(ctx)
			if err != nil {
				return nil, problem(err)
			}
			if scan.Sources == nil {
				scan.Sources = []string{}
			}
			return &struct{ Body Scan }{scan}, nil
		})
}

// filled has lists where the gateway left them out, as the API promises.
func (d DeviceDetail) filled() DeviceDetail {
	if d.Sightings == nil {
		d.Sightings = []SightingDetail{}
	}
	if d.Alerts == nil {
		d.Alerts = []mfpgate.Alert{}
	}
	return d
}
