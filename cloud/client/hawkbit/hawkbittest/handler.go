package hawkbittest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
)

type object map[string]any

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rest/v1/targets", s.getTargets)
	mux.HandleFunc("GET /rest/v1/targets/{target}/attributes", s.getAttributes)
	mux.HandleFunc("GET /rest/v1/targets/{target}/actions", s.getActions)
	mux.HandleFunc("GET /rest/v1/targets/{target}/actions/{action}", s.getAction)
	mux.HandleFunc("DELETE /rest/v1/targets/{target}/actions/{action}", s.cancel)
	mux.HandleFunc("POST /rest/v1/targets/{target}/assignedDS", s.postAssigned)
	mux.HandleFunc("GET /rest/v1/actions", s.getActions)
	mux.HandleFunc("GET /rest/v1/rollouts/{rollout}", s.getRollout)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != User || password != Password.Reveal() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.mu.Lock()
		before, after := s.before, s.after
		s.mu.Unlock()
		if before != nil && broken(w, before(r.Method, r.URL.Path)) { // it may call the server itself
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Method != http.MethodGet {
			s.writes = append(s.writes, r.Method+" "+r.URL.Path)
		}
		inner := http.ResponseWriter(w)
		if after != nil {
			if status := after(r.Method, r.URL.Path); status != 0 {
				defer broken(w, status)
				inner = deaf{http.Header{}}
			}
		}
		mux.ServeHTTP(inner, r)
	})
}

// broken answers in the place of what was asked.
func broken(w http.ResponseWriter, status int) bool {
	switch status {
	case 0:
		return false
	case 1:
		panic(http.ErrAbortHandler)
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "90")
	}
	refuse(w, status, "hawkbit.server.error.test")
	return true
}

type deaf struct{ h http.Header }

func (d deaf) Header() http.Header         { return d.h }
func (d deaf) Write(p []byte) (int, error) { return len(p), nil }
func (d deaf) WriteHeader(int)             {}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object{"exceptionClass": "x", "errorCode": code, "message": "refused for a test"})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/hal+json")
	_ = json.NewEncoder(w).Encode(v)
}

func (s *Server) getTargets(w http.ResponseWriter, r *http.Request) {
	var found []any
	list := slices.Clone(s.targets)
	slices.SortFunc(list, func(a, b *Target) int { return cmp.Compare(a.ID, b.ID) })
	for _, t := range list {
		ok, err := t.matches(r.URL.Query().Get("q"))
		if err != nil {
			refuse(w, http.StatusBadRequest, "hawkbit.server.error.rest.param.rsqlParamSyntax")
			return
		}
		if ok {
			found = append(found, object{"controllerId": t.ID, "name": t.ID, "targetTypeName": "SIM-100", "pollStatus": object{"overdue": false},
				"_links": object{"self": object{"href": s.URL + "/rest/v1/targets/" + url.PathEscape(t.ID)}}})
		}
	}
	s.page(w, r, found)
}

// matches knows the forms of RSQL that the adapter and its documentation use.
func (t *Target) matches(q string) (bool, error) {
	for part := range strings.SplitSeq(q, ";") {
		field, value, ok := strings.Cut(part, "==")
		if !ok || value == "" {
			return false, fmt.Errorf("syntax")
		}
		kind, key, _ := strings.Cut(field, ".")
		switch {
		case kind == "attribute" && t.Attributes[key] == value, kind == "metadata" && t.Metadata[key] == value,
			field == "tag" && slices.Contains(t.Tags, value), field == "controllerid" && t.ID == value:
		case kind == "attribute", kind == "metadata", field == "tag", field == "controllerid":
			return false, nil
		default:
			return false, fmt.Errorf("field %q", field)
		}
	}
	return true, nil
}

func (s *Server) page(w http.ResponseWriter, r *http.Request, all []any) {
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	limit = min(cmp.Or(limit, 50), cmp.Or(s.PageMax, 500))
	part := all[min(offset, len(all)):min(offset+limit, len(all))]
	if part == nil {
		part = []any{}
	}
	answer(w, object{"content": part, "total": len(all), "size": len(part)})
}

func (s *Server) getAttributes(w http.ResponseWriter, r *http.Request) {
	t := s.target(r.PathValue("target"))
	switch {
	case t == nil:
		refuse(w, http.StatusNotFound, "hawkbit.server.error.repo.entitiyNotFound")
	case len(t.Attributes) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(w, t.Attributes)
	}
}

func (s *Server) getActions(w http.ResponseWriter, r *http.Request) {
	target, query := r.PathValue("target"), r.URL.Query()
	if q := query.Get("q"); q != "active==true" {
		refuse(w, http.StatusBadRequest, "hawkbit.server.error.rest.param.rsqlParamSyntax")
		return
	}
	var found []any
	for _, a := range s.actions {
		if a.Active && (target == "" || a.Target == target) {
			found = append(found, s.show(a, target == "" && query.Get("representation") == "full"))
		}
	}
	if query.Get("sort") == "id:DESC" {
		slices.Reverse(found)
	}
	s.page(w, r, found)
}

func (s *Server) find(w http.ResponseWriter, r *http.Request) *Action {
	id, _ := strconv.ParseInt(r.PathValue("action"), 10, 64)
	a := s.action(id)
	if a == nil || a.Target != r.PathValue("target") {
		refuse(w, http.StatusNotFound, "hawkbit.server.error.repo.entitiyNotFound")
		return nil
	}
	return a
}

func (s *Server) getAction(w http.ResponseWriter, r *http.Request) {
	if a := s.find(w, r); a != nil {
		answer(w, s.show(a, true))
	}
}

func (s *Server) cancel(w http.ResponseWriter, r *http.Request) {
	switch a := s.find(w, r); {
	case a == nil:
	case !a.Active || a.Status == "canceling":
		refuse(w, http.StatusMethodNotAllowed, "hawkbit.server.error.action.notcancelable")
	default:
		a.Status = "canceling"
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) postAssigned(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID        int64           `json:"id"`
		Type      string          `json:"type"`
		ForceTime int64           `json:"forcetime"`
		Weight    *int            `json:"weight"`
		Window    *hawkbit.Window `json:"maintenanceWindow"`
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil || in.Window != nil && in.Window.NextStart != 0 {
		refuse(w, http.StatusBadRequest, "hawkbit.server.error.rest.body.notReadable")
		return
	}
	a, status, why := s.assign(r.PathValue("target"), in.ID, hawkbit.Order{Type: cmp.Or(in.Type, "forced"), ForceTime: in.ForceTime, Weight: in.Weight, Window: in.Window})
	switch {
	case why != "":
		refuse(w, status, why)
	case a == nil:
		answer(w, object{"alreadyAssigned": 1, "assigned": 0, "total": 1, "assignedActions": []any{}})
	default:
		answer(w, object{"alreadyAssigned": 0, "assigned": 1, "total": 1, "assignedActions": []any{object{"id": a.ID}}})
	}
}

func (s *Server) getRollout(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseInt(r.PathValue("rollout"), 10, 64)
	start, ok := s.rollouts[id]
	if !ok {
		refuse(w, http.StatusNotFound, "hawkbit.server.error.repo.entitiyNotFound")
		return
	}
	answer(w, object{"id": id, "status": "running", "startAt": start})
}

func (s *Server) show(a *Action, links bool) object {
	out := object{"id": a.ID, "type": "update", "createdAt": a.Created, "forceType": a.Order.Type}
	if s.Old {
		out["detailStatus"], out["status"] = a.Status, map[bool]string{true: "pending", false: "finished"}[a.Active]
	} else {
		out["active"], out["status"] = a.Active, a.Status
	}
	if a.Order.Type == "timeforced" {
		out["forceTime"] = a.Order.ForceTime
	}
	if a.Order.Weight != nil {
		out["weight"] = *a.Order.Weight
	}
	if a.Rollout != 0 {
		out["rollout"] = a.Rollout
	}
	if w := a.Order.Window; w != nil {
		m := object{"schedule": w.Schedule, "duration": w.Duration, "timezone": w.Timezone, "nextStartAt": 0}
		if next := s.next(w); !next.IsZero() {
			m["nextStartAt"] = next.UnixMilli()
		}
		out["maintenanceWindow"] = m
	}
	if links {
		out["_links"] = object{
			"target":          object{"href": s.URL + "/rest/v1/targets/" + url.PathEscape(a.Target), "name": a.Target},
			"distributionset": object{"href": fmt.Sprint(s.URL, "/rest/v1/distributionsets/", a.Set), "name": s.sets[a.Set]},
		}
	}
	return out
}

// next is hawkBit's: the first start after now less the duration. It knows daily and one-shot crons.
func (s *Server) next(w *hawkbit.Window) time.Time {
	length, err1 := time.Parse("15:04:05", w.Duration)
	zone, err2 := time.Parse("-07:00", w.Timezone)
	f := strings.Fields(w.Schedule)
	if err1 != nil || err2 != nil || len(f) < 6 || len(f) > 7 || f[5] != "?" {
		return time.Time{}
	}
	after := s.clock.Now().Add(-length.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
	number := func(i int) int { n, _ := strconv.Atoi(f[i]); return n }
	if f[3] == "*" && f[4] == "*" && len(f) == 6 {
		for day := after.In(zone.Location()).AddDate(0, 0, -1); ; day = day.AddDate(0, 0, 1) {
			if t := time.Date(day.Year(), day.Month(), day.Day(), number(2), number(1), number(0), 0, zone.Location()); t.After(after) {
				return t
			}
		}
	}
	if len(f) == 7 {
		if t := time.Date(number(6), time.Month(number(4)), number(3), number(2), number(1), number(0), 0, zone.Location()); t.After(after) {
			return t
		}
	}
	return time.Time{}
}
