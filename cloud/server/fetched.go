package server

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

// A printer on USB reaches no cloud: its gateway asks for its work, fetches packages and reports, with the gateway's own token.

// fetchedRecord is what a gateway said of such a device.
type fetchedRecord struct {
	CheckedInAt time.Time                `json:"checkedInAt"`
	Firmware    string                   `json:"firmware,omitempty"`
	State       string                   `json:"state,omitempty"`
	Reports     []api.StoredDeviceReport `json:"reports,omitempty"` // the oldest first, MaxDeviceReports at most
}

// fetchedKey goes by what claims the device: make, model and serial number, so that the record outlives the ids of a gateway that lost
// its state. A device that says too little is known by its gateway and id.
func fetchedKey(gateway string, d api.Device) string {
	for _, key := range claimKeys(d) {
		if serial, ok := strings.CutPrefix(key, "claim/serial/"); ok {
			return "fetched/serial/" + serial
		}
	}
	return "fetched/device/" + gateway + "/" + d.DeviceID
}

// forgetFetched removes the record with the device, unless the gateway tells of the same one under another id since.
func forgetFetched(tx store.Tx, gateway string, d api.Device) error {
	key := fetchedKey(gateway, d)
	if serial, ok := strings.CutPrefix(key, "fetched/serial/"); ok {
		held, there, err := store.FindJSON[claimRecord](tx, "claim/serial/"+serial)
		if err != nil || there && (held.Gateway != gateway || held.DeviceID != d.DeviceID) {
			return err
		}
	}
	return tx.Delete(key)
}

func (s *Server) registerFetched(a huma.API) {
	const path = "/v1/gateways/{gw}/devices/{id}/"
	huma.Register(a, operation(a, http.MethodPost, path+"check-ins", "check-in-device",
		"A gateway asks for the work of a device on its USB. The answer never has package alone: what is not planned is not sent to a printer",
		roleGateway), s.checkInDevice)
	huma.Register(a, operation(a, http.MethodGet, path+"reports", "list-device-reports",
		"What a gateway reported of deliveries to a device on its USB, the oldest first", roleGateway, roleOperator), s.listDeviceReports)
	huma.Register(a, created(operation(a, http.MethodPost, path+"reports", "report-device",
		"A gateway says what became of a delivery to a device on its USB", roleGateway)), s.reportDevice)
}

// onUSB finds a device that its gateway speaks for.
func onUSB(at store.Getter, gateway, device string) (d api.Device, err error) {
	r, there, err := store.FindJSON[deviceRecord](at, deviceKey(gateway, device))
	switch {
	case err != nil:
		return d, err
	case !there || r.Device.Attachment != string(mfpgate.AttachmentUSB):
		return d, refuse(http.StatusForbidden, ReasonNotUSB, "the gateway does not tell of this device as attached by usb; put the device first")
	}
	return r.Device, nil
}

func (s *Server) checkInDevice(ctx context.Context, in *struct {
	DevicePath
	Idempotent
	Body api.DeviceCheckIn
}) (*posted[api.CheckInAnswer], error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	w, err := s.workFor(ctx, named{in.Gateway, in.Device})
	if err != nil {
		return nil, internal(err)
	}
	var answer api.CheckInAnswer
	var replayed bool
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		d, err := onUSB(tx, in.Gateway, in.Device)
		if err != nil {
			return err
		}
		answer, replayed, err = once(tx, callOf(ctx).who, "check-in/"+in.Device, in.Idempotent, in.Body, func() (api.CheckInAnswer, error) {
			out := api.CheckInAnswer{PollInterval: api.Duration(s.PollInterval)}
			if gatewayFetches(d) {
				out.Delivery = w.planned
			}
			r, _, err := store.FindJSON[fetchedRecord](tx, fetchedKey(in.Gateway, d))
			if err != nil {
				return out, err
			}
			r.CheckedInAt, r.State, r.Firmware = s.Clock.Now().UTC(), in.Body.State, cmp.Or(in.Body.Firmware, r.Firmware)
			return out, put(tx, fetchedKey(in.Gateway, d), r)
		})
		return err
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return answered(answer, replayed), nil
}

func (s *Server) reportDevice(ctx context.Context, in *struct {
	DevicePath
	Idempotent
	Body api.DeviceReport
}) (*posted[api.StoredDeviceReport], error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	chain, err := s.chain(in.Gateway)
	if err != nil {
		return nil, err
	}
	stored := api.StoredDeviceReport{ReportID: mfpgate.NewID(s.Clock, "rep"), ReceivedAt: s.Clock.Now().UTC(), DeviceReport: in.Body}
	var replayed bool
	err = s.change(ctx, chain, func(tx store.Tx) error {
		d, err := onUSB(tx, in.Gateway, in.Device)
		if err != nil {
			return err
		}
		var answer api.StoredDeviceReport
		answer, replayed, err = once(tx, callOf(ctx).who, "report/"+in.Device, in.Idempotent, in.Body, func() (api.StoredDeviceReport, error) {
			if err := s.checkDone(in.Body); err != nil {
				return stored, err
			}
			if err := s.deviceOutcome(tx, chain, in.Device, in.Body); err != nil {
				return stored, err
			}
			r, _, err := store.FindJSON[fetchedRecord](tx, fetchedKey(in.Gateway, d))
			if err != nil {
				return stored, err
			}
			r.Reports = append(r.Reports, stored)
			r.Reports = r.Reports[max(0, len(r.Reports)-api.MaxDeviceReports):]
			r.Firmware = cmp.Or(in.Body.Firmware, r.Firmware)
			return stored, put(tx, fetchedKey(in.Gateway, d), r)
		})
		if replayed {
			stored = answer
		}
		return err
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return answered(stored, replayed), nil
}

// checkDone holds what a device took against the package.
func (s *Server) checkDone(r api.DeviceReport) error {
	p, err := s.Folder.Package(r.PackageID)
	if errors.Is(err, provision.ErrNotFound) {
		return refuse(http.StatusUnprocessableEntity, ReasonNoPackage, "packageId names no package of this region")
	}
	if err != nil {
		return err
	}
	if r.Outcome == api.OutcomeDone && (r.SHA256 != p.SHA256 || r.Size != p.Size) {
		return refuse(http.StatusUnprocessableEntity, ReasonDigest, "what the device took is not the package: sha256 or size differ")
	}
	return nil
}

// deviceOutcome writes a report into its delivery. One of a delivery that is gone is kept all the same; a start of it is refused, so that
// nothing is sent to the printer.
func (s *Server) deviceOutcome(tx store.Tx, chain []string, device string, r api.DeviceReport) error {
	d, known, err := store.FindJSON[deliveryRecord](tx, deliveryKey(chain[0], r.DeliveryID))
	if err != nil {
		return err
	}
	if !known || d.Delivery.DeviceID != device {
		if r.Outcome == api.OutcomeStarted {
			return refuse(http.StatusConflict, ReasonNotPlanned, "the device has no such delivery, or no longer; check in")
		}
		return nil
	}
	if r.Outcome == api.OutcomeFailed && r.Final && !d.ended() {
		d.Delivery.State, d.Delivery.Reason, d.EndedAt = stateFailed, cmp.Or(r.Reason, "failed"), s.Clock.Now().UTC()
		return s.keepOutcome(tx, chain, d)
	}
	return s.outcome(tx, about{chain, r.DeliveryID}, api.InstallReport{PackageID: r.PackageID, DeliveryID: r.DeliveryID, Outcome: r.Outcome, Reason: r.Reason})
}

func (s *Server) listDeviceReports(ctx context.Context, in *struct {
	DevicePath
	Conditional
}) (*read[api.Page[api.StoredDeviceReport]], error) {
	list := api.Page[api.StoredDeviceReport]{Items: []api.StoredDeviceReport{}}
	err := s.Store.View(ctx, func(at store.Snapshot) error {
		d, err := onUSB(at, in.Gateway, in.Device)
		if err != nil {
			return err
		}
		r, _, err := store.FindJSON[fetchedRecord](at, fetchedKey(in.Gateway, d))
		list.Items = append(list.Items[:0], r.Reports...)
		return err
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return listAnswer(in.Conditional, list)
}
