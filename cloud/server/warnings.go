package server

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mfpgate/mfpgate/calendar"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/server/delivery"
	"github.com/mfpgate/mfpgate/store"
)

const (
	maxReport    = 8 << 20 // bytes
	warningGroup = 24      // warnings that one transaction writes
	// maxClosed is how many warnings of one gateway are kept that are closed, though they are younger than retention.
	maxClosed = 2000
)

// reportRecord is a report that has come.
type reportRecord struct {
	Body    string    `json:"body"` // SHA-256
	At      time.Time `json:"at"`
	Applied bool      `json:"applied"`
}

func overloadReportPrefix(gateway string) string  { return "overload-report/" + gateway + "/" }
func overloadReportKey(gateway, id string) string { return overloadReportPrefix(gateway) + id }
func warningPrefix(gateway string) string         { return "warning/" + gateway + "/" }
func warningKey(gateway, band string) string      { return warningPrefix(gateway) + band }

// WarningPath names a warning.
type WarningPath struct {
	GatewayPath
	Band string `path:"band" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"`
}

func (s *Server) registerWarnings(a huma.API) {
	report := operation(a, http.MethodPut, "/v1/gateways/{gw}/overload-reports/{report}", "put-overload-report",
		"Tell of overloads. Those of earlier reports that are not in it end", roleGateway)
	report.MaxBodyBytes = maxReport
	huma.Register(a, report, s.putReport)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/warnings", "list-warnings",
		"Reported overloads, by time", roleGateway, roleOperator), s.listWarnings)
	huma.Register(a, operation(a, http.MethodGet, "/v1/gateways/{gw}/warnings/{band}", "get-warning",
		"One reported overload", roleGateway, roleOperator), s.getWarning)
	huma.Register(a, operation(a, http.MethodPost, "/v1/gateways/{gw}/warnings/{band}/actions", "act-on-warning",
		"Acknowledge a warning, ignore it for a while, or ask the gateway for a proposal", roleOperator), s.postWarningAction)
}

func (s *Server) putReport(ctx context.Context, in *struct {
	GatewayPath
	Report string `path:"report" pattern:"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"`
	Body   api.OverloadReport
}) (*read[api.OverloadReport], error) {
	if in.Body.ReportID != in.Report {
		return nil, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "reportId differs from the address")
	}
	if p := checkReport(in.Body); p != nil {
		return nil, p
	}
	chain, err := s.chain(in.Gateway)
	if err != nil {
		return nil, err
	}
	body, err := digestOf(in.Body)
	if err != nil {
		return nil, internal(err)
	}
	now := s.Clock.Now().UTC()
	defer s.together(chain)()
	key := overloadReportKey(in.Gateway, in.Report)
	known, there, err := one[reportRecord](ctx, s.Store, key)
	if err != nil {
		return nil, internal(err)
	}
	out := &read[api.OverloadReport]{Status: http.StatusCreated, ETag: `"` + body[:24] + `"`, Body: in.Body}
	switch {
	case there && known.Body != body:
		return nil, refuse(http.StatusConflict, ReasonReportDiffers, "there is another report "+clip(in.Report)+"; an id stands for one content")
	case there && known.Applied:
		out.Status = http.StatusOK
		return out, nil
	}
	// From here on a report that is broken off is told again by the gateway, which has no answer, and applied anew.
	err = s.Store.Update(ctx, func(tx store.Tx) error {
		h, err := s.head(tx, in.Gateway)
		if err != nil {
			return err
		}
		late := h.Report != "" && h.Report != in.Report && h.Report != in.Body.Supersedes
		if late && in.Body.ComputedAt.Before(h.ReportedAt) && !h.ReportedAt.After(now) {
			return refuse(http.StatusConflict, ReasonStaleSnapshot, "a later report has come; compute a new one")
		}
		h.Report, h.ReportedAt = in.Report, in.Body.ComputedAt
		if err := put(tx, headKey(in.Gateway), h); err != nil {
			return err
		}
		if err := putSite(tx, in.Gateway, in.Body); err != nil {
			return err
		}
		if err := arm(tx, now.Add(retention), timerReport, in.Gateway, in.Report); err != nil {
			return err
		}
		return put(tx, key, reportRecord{Body: body, At: now})
	})
	if err != nil {
		return nil, refusalOr500(err)
	}
	if err := s.applyReport(ctx, in.Gateway, in.Body, now); err != nil {
		return nil, refusalOr500(err)
	}
	err = s.Store.Update(ctx, func(tx store.Tx) error { return put(tx, key, reportRecord{Body: body, At: now, Applied: true}) })
	if err != nil {
		return nil, internal(err)
	}
	return out, nil
}

func checkReport(r api.OverloadReport) *problem {
	var faults []api.ProblemError
	add := func(pointer, rule string) {
		faults = append(faults, api.ProblemError{Pointer: "body." + pointer, Code: rule})
	}
	for pointer, t := range map[string]time.Time{"computedAt": r.ComputedAt, "horizon.from": r.Horizon.From, "horizon.to": r.Horizon.To} {
		if !delivery.Plausible(t) {
			add(pointer, "must be a date from 2000 to 2099")
		}
	}
	seen := map[string]bool{}
	for i, b := range r.Bands {
		at := "bands[" + itoa(i) + "]."
		switch {
		case !validID(b.BandID) || seen[b.BandID]:
			add(at+"bandId", "must be letters, digits, '_', '.', ':' or '-', and stand once")
		case !b.From.Before(b.To) || !delivery.Plausible(b.From) || !delivery.Plausible(b.To):
			add(at+"to", "must be after from, both from 2000 to 2099")
		case b.Peak <= b.Capacity:
			add(at+"peak", "must be more than the capacity")
		}
		if seen[b.BandID] = true; len(faults) > 16 {
			break
		}
	}
	for i, c := range r.Capacity {
		if !delivery.Plausible(c.At) || i > 0 && !r.Capacity[i-1].At.Before(c.At) {
			add("capacity["+itoa(i)+"].at", "must be after the step before, from 2000 to 2099")
			break
		}
	}
	for i, b := range r.Background {
		if err := b.Check(calendar.Texts{}); err != nil {
			add("background["+itoa(i)+"]", clip(err.Error()))
			break
		}
	}
	if len(faults) == 0 {
		return nil
	}
	p := refuse(http.StatusUnprocessableEntity, ReasonInvalid, "the report breaks a rule")
	p.Errors = faults
	return p
}

// applyReport makes warnings of the bands. It may be run again.
func (s *Server) applyReport(ctx context.Context, gateway string, r api.OverloadReport, now time.Time) error {
	bands := map[string]api.Band{}
	for _, b := range r.Bands {
		bands[b.BandID] = shortened(b)
	}
	known, err := s.warnings(ctx, gateway)
	if err != nil {
		return err
	}
	var changed []string
	var over []api.Warning // closed before
	for _, w := range known {
		_, goes := bands[w.BandID]
		switch {
		case goes:
		case w.State != api.WarningClosed:
			changed = append(changed, w.BandID)
		default:
			over = append(over, w)
		}
	}
	if err := s.trimWarnings(ctx, gateway, over, len(changed)); err != nil {
		return err
	}
	for id := range bands {
		changed = append(changed, id)
	}
	slices.Sort(changed)
	for group := range slices.Chunk(changed, warningGroup) {
		err := s.Store.Update(ctx, func(tx store.Tx) error {
			for _, id := range group {
				w, there, err := store.FindJSON[api.Warning](tx, warningKey(gateway, id))
				if err != nil {
					return err
				}
				band, goes := bands[id]
				switch {
				case !goes && !there:
					continue
				case !goes:
					w.State, w.ClosedAt, w.IgnoredUntil = api.WarningClosed, &now, nil
					if err := arm(tx, now.Add(retention), timerWarning, gateway, id); err != nil {
						return err
					}
				case !there || w.State == api.WarningClosed:
					w = api.Warning{Band: band, ReportID: r.ReportID, State: api.WarningOpen, OpenedAt: now}
				default: // the operator's word on it stays
					w.Band, w.ReportID = band, r.ReportID
				}
				if err := put(tx, warningKey(gateway, id), w); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// warnings are all of a gateway, by time.
func (s *Server) warnings(ctx context.Context, gateway string) (list []api.Warning, err error) {
	now := s.Clock.Now()
	err = s.Store.View(ctx, func(at store.Snapshot) error {
		list = []api.Warning{}
		for r, err := range store.All(at, warningPrefix(gateway)) {
			if err != nil {
				return err
			}
			w, err := decodeRecord[api.Warning](r)
			if err != nil {
				return err
			}
			list = append(list, current(w, now))
		}
		return nil
	})
	slices.SortFunc(list, func(a, b api.Warning) int {
		return cmp.Or(a.From.Compare(b.From), strings.Compare(a.BandID, b.BandID))
	})
	return list, err
}

// current is the warning at a time: one that was to be ignored until then is open again.
func current(w api.Warning, now time.Time) api.Warning {
	if w.State == api.WarningIgnored && w.IgnoredUntil != nil && !now.Before(*w.IgnoredUntil) {
		w.State, w.IgnoredUntil = api.WarningOpen, nil
	}
	return w
}

func (s *Server) listWarnings(ctx context.Context, in *struct {
	GatewayPath
	Conditional
	Paging
	State string `query:"state" enum:"open,acknowledged,ignored,closed" doc:"Only those; missing: all"`
}) (*read[api.Page[api.Warning]], error) {
	after, err := in.after()
	if err != nil {
		return nil, err
	}
	all, err := s.warnings(ctx, in.Gateway)
	if err != nil {
		return nil, internal(err)
	}
	list := api.Page[api.Warning]{Items: []api.Warning{}}
	last := ""
	for _, w := range all {
		place := w.From.UTC().Format(time.RFC3339Nano) + "|" + w.BandID
		if in.State != "" && w.State != in.State || !later(w, after) {
			continue
		}
		if len(list.Items) == in.Limit {
			list.NextCursor = cursor(last)
			break
		}
		list.Items, last = append(list.Items, w), place
	}
	return listAnswer(in.Conditional, list)
}

// later reports whether a warning comes after a place in the list.
func later(w api.Warning, place string) bool {
	text, band, _ := strings.Cut(place, "|")
	from, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return true
	}
	return cmp.Or(w.From.Compare(from), strings.Compare(w.BandID, band)) > 0
}

func (s *Server) getWarning(ctx context.Context, in *struct {
	WarningPath
	Conditional
}) (*read[api.Warning], error) {
	w, err := s.warning(ctx, in.Gateway, in.Band)
	if err != nil {
		return nil, err
	}
	return listAnswer(in.Conditional, w)
}

func (s *Server) warning(ctx context.Context, gateway, band string) (api.Warning, error) {
	w, there, err := one[api.Warning](ctx, s.Store, warningKey(gateway, band))
	if err != nil {
		return w, internal(err)
	}
	if !there {
		return w, noWarning()
	}
	return current(w, s.Clock.Now()), nil
}

func noWarning() *problem {
	return refuse(http.StatusNotFound, ReasonNoWarning, "the gateway has reported no such overload")
}

func (s *Server) postWarningAction(ctx context.Context, in *struct {
	WarningPath
	Idempotent
	Body api.WarningAction
}) (*posted[api.Warning], error) {
	if err := in.need(); err != nil {
		return nil, err
	}
	w, replayed, err := s.actOnWarning(ctx, in.Gateway, in.Band, in.Body, callOf(ctx).who, in.Idempotent)
	if err != nil {
		return nil, err
	}
	return answered(w, replayed), nil
}

// actOnWarning does what an operator wants. A closed warning can only be asked about: a proposal is made of the schedule as it is.
func (s *Server) actOnWarning(ctx context.Context, gateway, band string, a api.WarningAction, who principal, in Idempotent) (w api.Warning, replayed bool, err error) {
	now := s.Clock.Now().UTC()
	if a.Action == "ignoreUntil" && (a.Until == nil || !a.Until.After(now) || !delivery.Plausible(*a.Until)) {
		return w, false, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.until: must be a time to come")
	}
	chain := []string{gateway}
	err = s.change(ctx, chain, func(tx store.Tx) error {
		var err error
		request := struct {
			Band   string
			Action api.WarningAction
		}{band, a}
		w, replayed, err = once(tx, who, "warning/"+gateway, in, request, func() (api.Warning, error) {
			w, there, err := store.FindJSON[api.Warning](tx, warningKey(gateway, band))
			if err != nil {
				return w, err
			}
			if !there {
				return w, noWarning()
			}
			w = current(w, now)
			if w.State == api.WarningClosed && a.Action != "requestProposal" {
				return w, refuse(http.StatusConflict, ReasonDecided, "the overload has ended")
			}
			w.By = who.id
			switch a.Action {
			case "acknowledge":
				w.State, w.IgnoredUntil = api.WarningAcknowledged, nil
			case "ignoreUntil":
				until := a.Until.UTC()
				w.State, w.IgnoredUntil = api.WarningIgnored, &until
			case "requestProposal":
				e := logEntry{Type: api.EventProposalRequested, Object: band, At: now}
				if err := s.note(tx, chain, e, nil); err != nil {
					return w, err
				}
			default:
				return w, refuse(http.StatusUnprocessableEntity, ReasonInvalid, "body.action: must be acknowledge, ignoreUntil or requestProposal")
			}
			return w, put(tx, warningKey(gateway, band), w)
		})
		return err
	})
	return w, replayed, err
}
