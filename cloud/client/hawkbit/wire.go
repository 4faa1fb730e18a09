package hawkbit

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The words of hawkBit for where an action stands, as far as they matter here.
const (
	statusRunning    = "running" // assigned, and the device has said nothing
	statusRetrieved  = "retrieved"
	statusDownload   = "download"
	statusDownloaded = "downloaded"
	statusScheduled  = "scheduled"
	statusCanceling  = "canceling"
	statusCanceled   = "canceled"
	statusConfirm    = "wait_for_confirmation"

	typeTimeForced = "timeforced"
)

type link struct {
	Href string `json:"href"`
	Name string `json:"name"`
}

// action is hawkBit's MgmtAction in full representation.
type action struct {
	ID        int64   `json:"id"`
	Active    *bool   `json:"active"`       // newer servers
	Status    string  `json:"status"`       // of newer servers; older ones: pending or finished
	Detail    string  `json:"detailStatus"` // older servers
	ForceTime int64   `json:"forceTime"`    // milliseconds
	ForceType string  `json:"forceType"`
	Weight    *int    `json:"weight"`
	Window    *Window `json:"maintenanceWindow"`
	Rollout   int64   `json:"rollout"`
	CreatedAt int64   `json:"createdAt"` // milliseconds
	Links     struct {
		Target link `json:"target"`
		Set    link `json:"distributionset"`
	} `json:"_links"`

	target string // of its link
	set    int64
}

// check refuses what no hawkBit says, and fills what the links say. compact: it has no links.
func (a *action) check(compact bool) error {
	switch {
	case a.ID <= 0:
		return fmt.Errorf("%w: action %d", ErrAnswer, a.ID)
	case a.Weight != nil && (*a.Weight < 0 || *a.Weight > 1000):
		return fmt.Errorf("%w: action %d has weight %d", ErrAnswer, a.ID, *a.Weight)
	case a.Rollout < 0 || !instant(a.ForceTime) || !instant(a.CreatedAt):
		return fmt.Errorf("%w: action %d has a time, or a rollout, that cannot be", ErrAnswer, a.ID)
	}
	for _, s := range []string{a.Status, a.Detail, a.ForceType} {
		if err := word(s, 32); err != nil {
			return fmt.Errorf("action %d: %w", a.ID, err)
		}
	}
	if w := a.Window; w != nil {
		for _, s := range []string{w.Schedule, w.Duration, w.Timezone} {
			if err := word(s, 256); err != nil {
				return fmt.Errorf("action %d: %w", a.ID, err)
			}
		}
		if !instant(w.NextStart) {
			return fmt.Errorf("%w: action %d has a window in no year", ErrAnswer, a.ID)
		}
		if _, err := w.length(); err != nil {
			return err
		}
		if _, err := w.zone(); err != nil {
			return err
		}
	}
	if compact {
		return nil
	}
	var err error
	if a.target, err = last(a.Links.Target.Href); err != nil {
		return fmt.Errorf("action %d: its target: %w", a.ID, err)
	}
	if err := controller(a.target); err != nil {
		return fmt.Errorf("action %d: %w", a.ID, err)
	}
	set, err := last(a.Links.Set.Href)
	if err != nil {
		return fmt.Errorf("action %d: its distribution set: %w", a.ID, err)
	}
	if a.set, err = strconv.ParseInt(set, 10, 64); err != nil || a.set <= 0 {
		return fmt.Errorf("%w: action %d has distribution set %.20q", ErrAnswer, a.ID, set)
	}
	return word(a.Links.Set.Name, 1024)
}

// standing is where the action stands, in newer words.
func (a *action) standing() string {
	if a.Detail != "" {
		return strings.ToLower(a.Detail)
	}
	return strings.ToLower(a.Status)
}

func (a *action) active() bool {
	if a.Active != nil {
		return *a.Active
	}
	return a.Status == "pending"
}

func (a *action) order() Order {
	return Order{Type: a.ForceType, ForceTime: a.ForceTime, Weight: a.Weight, Window: a.Window}
}

// version is a digest of what says when the action runs and what it brings.
func (a *action) version() string {
	return digest(struct {
		ID, Set, Rollout int64
		Order            Order
	}{a.ID, a.set, a.Rollout, a.order()})
}

func (a *action) key() string { return strconv.FormatInt(a.ID, 10) }

// name splits the distribution set's name and version.
func (a *action) name() (name, version string) {
	if i := strings.LastIndexByte(a.Links.Set.Name, ':'); i >= 0 {
		return a.Links.Set.Name[:i], a.Links.Set.Name[i+1:]
	}
	return a.Links.Set.Name, ""
}

type target struct {
	ControllerID string `json:"controllerId"`
	TypeName     string `json:"targetTypeName"`
}

type rollout struct {
	ID      int64 `json:"id"`
	StartAt int64 `json:"startAt"` // milliseconds; 0: none
}

type assignment struct {
	ID        int64   `json:"id"`
	Type      string  `json:"type,omitempty"`
	ForceTime int64   `json:"forcetime,omitempty"`
	Weight    *int    `json:"weight,omitempty"`
	Window    *Window `json:"maintenanceWindow,omitempty"`
}

type assigned struct {
	Already int `json:"alreadyAssigned"`
	Actions []struct {
		ID int64 `json:"id"`
	} `json:"assignedActions"`
}

func controller(id string) error {
	if id == "" || id == "." || id == ".." {
		return fmt.Errorf("%w: target %q", ErrAnswer, id)
	}
	return word(id, 256)
}

func word(s string, longest int) error {
	if len(s) > longest || !utf8.ValidString(s) || strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return fmt.Errorf("%w: %.40q is too long, or no text", ErrAnswer, s)
	}
	return nil
}

// instant reports whether a number of milliseconds is none, or a time up to the year 9998.
func instant(ms int64) bool { return ms >= 0 && ms < 253_370_764_800_000 }

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// last returns the last segment of a link's path. Its host is not looked at: nothing is ever called by a link.
func last(href string) (string, error) {
	if len(href) > 2048 {
		return "", fmt.Errorf("%w: a link of %d bytes", ErrAnswer, len(href))
	}
	u, err := url.Parse(href)
	if err != nil {
		return "", fmt.Errorf("%w: a link that is none", ErrAnswer)
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	segment, err := url.PathUnescape(path[strings.LastIndexByte(path, '/')+1:])
	if err != nil || segment == "" {
		return "", fmt.Errorf("%w: a link that is none", ErrAnswer)
	}
	return segment, nil
}
