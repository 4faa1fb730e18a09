package hawkbittest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/client/hawkbit"
)

// The only user there is.
const (
	User     = `default\gateway`
	Password = mfpgate.Secret("hunter2")
)

// Action is an assignment and where it stands.
type Action struct {
	ID      int64
	Target  string
	Set     int64
	Status  string
	Active  bool
	Created int64 // milliseconds
	Rollout int64
	Order   hawkbit.Order
}

// Target is a device as hawkBit knows it.
type Target struct {
	ID         string
	Attributes map[string]string
	Metadata   map[string]string
	Tags       []string
	assigned   int64 // distribution set
	installed  int64
}

// Server is a hawkBit. Its fields are set before the first call.
type Server struct {
	URL     string
	PageMax int  // items of a page; 0: 500
	Old     bool // it says status and detailStatus as older versions do

	clock    mfpgate.Clock
	mu       sync.Mutex
	before   Hook
	after    Hook
	targets  []*Target
	actions  []*Action
	sets     map[int64]string
	rollouts map[int64]int64
	writes   []string
}

// Hook decides over a request: 0 lets it be, another status is the answer instead, and 1 breaks the connection.
type Hook func(method, path string) (status int)

// Hook sets what decides over requests before they are looked at, and after they have had their effect. nil: nothing.
func (s *Server) Hook(before, after Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// Start starts a server that ends with the test.
func Start(tb testing.TB, clock mfpgate.Clock) *Server {
	s := &Server{clock: clock, sets: map[int64]string{}, rollouts: map[int64]int64{}}
	web := httptest.NewServer(s.handler())
	tb.Cleanup(web.Close)
	s.URL = web.URL
	return s
}

// AddTarget adds a target.
func (s *Server) AddTarget(t Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = append(s.targets, &t)
}

// AddSet adds a distribution set, "name:version"; RemoveSet takes it away.
func (s *Server) AddSet(id int64, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sets[id] = name
}

// RemoveSet deletes a distribution set.
func (s *Server) RemoveSet(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sets, id)
}

// AddRollout adds a started rollout and an action of it that is scheduled.
func (s *Server) AddRollout(id int64, start time.Time, target string, set int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rollouts[id] = start.UnixMilli()
	a := s.add(target, set, hawkbit.Order{Type: "forced"})
	a.Rollout, a.Status = id, "scheduled"
	return a.ID
}

// Assign is what an operator does. It fails the test's goroutine with a panic if hawkBit would refuse.
func (s *Server) Assign(target string, set int64, o hawkbit.Order) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, status, why := s.assign(target, set, o)
	if a == nil {
		panic(fmt.Sprint("assign: ", status, " ", why))
	}
	return a.ID
}

// Cancel is what an operator does.
func (s *Server) Cancel(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.action(id).Status = "canceling"
}

// Report is what a device says of an action: retrieved, download, downloaded, finished, or, of one that is being cancelled,
// canceled or running (it does not let go).
func (s *Server) Report(id int64, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.action(id)
	a.Status = status
	t := s.target(a.Target)
	switch status {
	case "finished":
		a.Active, t.installed = false, a.Set
	case "canceled":
		a.Active = false
		if !slices.ContainsFunc(s.actions, func(o *Action) bool { return o.Target == a.Target && o.Active }) {
			t.assigned = t.installed
		}
	}
}

// Confirm makes every device confirm its cancellations, and returns how many there were.
func (s *Server) Confirm() (n int) {
	for _, a := range s.Actions() {
		if a.Active && a.Status == "canceling" {
			s.Report(a.ID, "canceled")
			n++
		}
	}
	return n
}

// Actions returns all actions, as they are.
func (s *Server) Actions() []Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Action, len(s.actions))
	for i, a := range s.actions {
		out[i] = *a
	}
	return out
}

// Writes returns the method and path of every request that changed something.
func (s *Server) Writes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.writes)
}

func (s *Server) action(id int64) *Action {
	i := slices.IndexFunc(s.actions, func(a *Action) bool { return a.ID == id })
	if i < 0 {
		return nil
	}
	return s.actions[i]
}

func (s *Server) target(id string) *Target {
	i := slices.IndexFunc(s.targets, func(t *Target) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return s.targets[i]
}

func (s *Server) add(target string, set int64, o hawkbit.Order) *Action {
	a := &Action{ID: int64(len(s.actions)) + 11, Target: target, Set: set, Status: "running", Active: true, Created: s.clock.Now().UnixMilli(), Order: o}
	s.actions = append(s.actions, a)
	s.target(target).assigned = set
	return a
}

func (s *Server) assign(target string, set int64, o hawkbit.Order) (a *Action, status int, why string) {
	t := s.target(target)
	switch {
	case t == nil:
		return nil, http.StatusNotFound, "hawkbit.server.error.repo.entitiyNotFound"
	case s.sets[set] == "":
		return nil, http.StatusNotFound, "hawkbit.server.error.repo.entitiyNotFound"
	case o.Window != nil && s.next(o.Window).IsZero():
		return nil, http.StatusBadRequest, "hawkbit.server.error.maintenanceScheduleInvalid"
	case t.assigned == set:
		return nil, http.StatusOK, ""
	}
	for _, old := range s.actions {
		if old.Target == target && old.Active {
			old.Status = "canceling"
		}
	}
	return s.add(target, set, o), http.StatusOK, ""
}
