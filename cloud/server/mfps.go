package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/provision"
	"github.com/mfpgate/mfpgate/store"
)

// attempts is how often a package may fail on a device before it is offered no more.
const attempts = 3

// mfpRecord is a device as it told of itself.
type mfpRecord struct {
	Version int64   `json:"version"`
	MFP     api.MFP `json:"mfp"`
}

// MFPPath names a device by its factory id.
type MFPPath struct {
	MFP string `path:"mfp" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"`
}

func mfpKey(id string) string       { return "mfp/" + id }
func reportPrefix(id string) string { return "report/" + id + "/" }

func (s *Server) registerMFPs(a huma.API) {
	huma.Register(a, operation(a, http.MethodGet, "/v1/devices/{mfp}", "get-mfp",
		"What the region knows of a device from the device", roleDevice), s.getMFP)
	huma.Register(a, operation(a, http.MethodPost, "/v1/devices/{mfp}/check-ins", "check-in",
		"A device says how it is and asks for work", roleDevice), s.checkIn)
	huma.Register(a, operation(a, http.MethodGet, "/v1/devices/{mfp}/reports", "list-reports",
		"What the device reported, the oldest first", roleDevice), s.listReports)
	huma.Register(a, created(operation(a, http.MethodPost, "/v1/devices/{mfp}/reports", "report",
		"A device says what became of a package", roleDevice)), s.report)
	push := operation(a, http.MethodGet, "/v1/devices/{mfp}/push", "push",
		"A channel that stays open: heartbeats (comments) and events `"+api.PushOffer+"` and `"+api.PushBye+"`", roleDevice)
	push.Responses["200"] = &huma.Response{Description: "Server-sent events", Content: map[string]*huma.MediaType{"text/event-stream": {}}}
	huma.Register(a, push, s.push)
}

func created(op huma.Operation) huma.Operation {
	op.DefaultStatus = http.StatusCreated
	return op
}

// posted is the answer to a POST; Replayed is "true" if it is the first answer again.
type posted[T any] struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     T
}

func answered[T any](body T, replayed bool) *posted[T] {
	out := &posted[T]{Body: body}
	if replayed {
		out.Replayed = "true"
	}
	return out
}

func (s *Server) getMFP(ctx context.Context, in *struct {
	MFPPath
	Conditional
}) (*read[api.MFP], error) {
	var r mfpRecord
	var there bool
	err := s.Store.View(ctx, func(at store.Snapshot) (err error) {
		r, there, err = findMFP(at, in.MFP)
		return err
	})
	if err != nil {
		return nil, internal(err)
	}
	if !there {
		return nil, refuse(http.StatusNotFound, ReasonNoDevice, "the device has not checked in yet")
	}
	tag := versionTag(r.Version)
	return &read[api.MFP]{Status: in.answer(tag), ETag: tag, Body: r.MFP}, nil
}

func (s *Server) checkIn(ctx context.Context, in *struct {
	MFPPath
	Idempotent
	Body api.CheckIn
}) (*posted[api.CheckInAnswer], error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	target, err := s.target(in.Body.Model)
	if err != nil {
		return nil, internal(err)
	}
	work, err := s.workOf(ctx, in.Body.Model, in.Body.Serial)
	if err != nil {
		return nil, internal(err)
	}
	var answer api.CheckInAnswer
	var replayed bool
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		var err error
		answer, replayed, err = once(tx, callOf(ctx).who, "check-in", in.Idempotent, in.Body, func() (api.CheckInAnswer, error) {
			r, _, err := findMFP(tx, in.MFP)
			if err != nil {
				return api.CheckInAnswer{}, err
			}
			r.Version++
			m := &r.MFP
			m.DeviceID, m.Model, m.Serial, m.Name = in.MFP, in.Body.Model, in.Body.Serial, in.Body.Name
			m.Firmware, m.State, m.CheckedInAt = in.Body.Firmware, in.Body.State, s.Clock.Now().UTC()
			out := api.CheckInAnswer{Package: work.alone(offer(*m, target)), Delivery: work.planned, PollInterval: api.Duration(s.PollInterval)}
			if d := work.planned; d != nil && !d.StartUTC.After(s.Clock.Now()) && m.State != "stopped" {
				out.Package = &d.Package
			}
			return out, put(tx, mfpKey(in.MFP), r)
		})
		return err
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	return answered(answer, replayed), nil
}

// target is what devices of a model should run, or nil.
func (s *Server) target(model string) (*api.Package, error) {
	p, err := s.Folder.Target(model)
	if errors.Is(err, provision.ErrNotFound) {
		return nil, nil
	}
	return &p, err
}

// offer is the package that a device should install now, or nil.
func offer(m api.MFP, target *api.Package) *api.Package {
	if target == nil || target.Version == m.Firmware || m.State == "stopped" {
		return nil
	}
	if m.FailedPackage == target.PackageID && m.FailedAttempts >= attempts {
		return nil
	}
	return target
}

func (s *Server) report(ctx context.Context, in *struct {
	MFPPath
	Idempotent
	Body api.InstallReport
}) (*posted[api.StoredReport], error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	p, err := s.Folder.Package(in.Body.PackageID)
	if errors.Is(err, provision.ErrNotFound) {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonNoPackage, "packageId names no package of this region")
	}
	if err != nil {
		return nil, internal(err)
	}
	if in.Body.Outcome == api.OutcomeInstalled &&
		(in.Body.SHA256 != p.SHA256 || in.Body.Size != p.Size || in.Body.Version != p.Version) {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonDigest, "what was installed is not the package: sha256, size or version differ")
	}
	about, err := s.aboutDelivery(ctx, in.MFP, in.Body)
	if err != nil {
		return nil, err
	}
	stored := api.StoredReport{
		ReportID: mfpgate.NewID(s.Clock, "rep"), DeviceID: in.MFP, ReceivedAt: s.Clock.Now().UTC(), InstallReport: in.Body,
	}
	var replayed bool
	err = s.change(ctx, about.chain, func(tx store.Tx) error {
		var err error
		var answer api.StoredReport
		answer, replayed, err = once(tx, callOf(ctx).who, "report", in.Idempotent, in.Body, func() (api.StoredReport, error) {
			if err := s.outcome(tx, about, in.Body); err != nil {
				return stored, err
			}
			return stored, s.keepReport(tx, stored)
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

// keepReport writes the report and what it says of the device in one transaction.
func (s *Server) keepReport(tx store.Tx, stored api.StoredReport) error {
	r, there, err := findMFP(tx, stored.DeviceID)
	if err != nil {
		return err
	}
	if !there {
		return refuse(http.StatusConflict, ReasonNotCheckedIn, "check in before reporting")
	}
	r.Version++
	switch m := &r.MFP; {
	case stored.Outcome == api.OutcomeInstalled:
		m.Firmware, m.FailedPackage, m.FailedAttempts = stored.Version, "", 0
	case stored.DeliveryID != "": // the delivery says how often it is tried
	case m.FailedPackage == stored.PackageID:
		m.FailedAttempts++
	default:
		m.FailedPackage, m.FailedAttempts = stored.PackageID, 1
	}
	if err := put(tx, mfpKey(stored.DeviceID), r); err != nil {
		return err
	}
	// The version orders reports of one millisecond too, which ids do not.
	return put(tx, fmt.Sprintf("%s%016d", reportPrefix(stored.DeviceID), r.Version), stored)
}

func (s *Server) listReports(ctx context.Context, in *struct {
	MFPPath
	Conditional
	Paging
}) (*read[api.Page[api.StoredReport]], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	found, next, err := page[api.StoredReport](ctx, s.Store, reportPrefix(in.MFP), after, in.Limit)
	if err != nil {
		return nil, internal(err)
	}
	return listAnswer(in.Conditional, api.Page[api.StoredReport]{Items: found, NextCursor: next})
}
