package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store"
)

const schema = 1

const (
	routePrefix     = "route/"
	movePrefix      = "move/"
	probesPrefix    = "probes/"
	candidatePrefix = "candidate/"
	residencePrefix = "residence/"
	hostsKey        = "hosts"
	cursorKey       = "cursor"
)

// maxRecord bounds what of the region's is written in one value, in bytes; the rest of store.MaxValue is for what is added.
const maxRecord = 36 << 10

// route is where a device goes since its last switch. Records in memory are replaced, never changed.
type route struct {
	Schema     int                 `json:"schema"`
	Device     mfpgate.DeviceID    `json:"deviceId"`
	MFP        string              `json:"mfp"`
	From       string              `json:"from"`
	To         string              `json:"to"`
	Epoch      uint64              `json:"epoch"`
	Move       mfpgate.MoveID      `json:"moveId"`
	SwitchedAt time.Time           `json:"switchedAt"`
	Probes     []mfpgate.NameProbe `json:"probes,omitempty"`
	AckedAt    time.Time           `json:"ackedAt,omitzero"`     // the device has acknowledged its directive
	Confirmed  time.Time           `json:"confirmedAt,omitzero"` // the region has seen it
	CheckedIn  time.Time           `json:"checkedIn,omitzero"`   // the relay has seen it on its way to the new region; it was reported
	Relayed    time.Time           `json:"relayed,omitzero"`     // first connection to the relay since the switch that was noticed
	Bypassed   time.Time           `json:"bypassed,omitzero"`    // since when it is unenforced; it was logged
	Left       []mfpgate.HeldData  `json:"left,omitempty"`       // at the old region, by policy
}

// openUntil is when the management hosts of the region that the device left are closed to it; zero: they are.
func (r *route) openUntil() time.Time {
	if !r.AckedAt.IsZero() {
		return time.Time{}
	}
	return r.SwitchedAt.Add(ManagementOpen)
}

// kept is a move as the region told of it last.
type kept struct {
	Schema int `json:"schema"`
	mfpgate.Move
	KeptAt time.Time `json:"keptAt"` // when it was told of
}

func (k *kept) endedAt() time.Time {
	if k.EndedAt.IsZero() || k.EndedAt.After(k.KeptAt) {
		return k.KeptAt
	}
	return k.EndedAt
}

// probed is what the target's certificates are good for.
type probed struct {
	Schema int                 `json:"schema"`
	Probes []mfpgate.NameProbe `json:"probes"`
}

// regions are the hosts of all regions, and when they were read.
type regions struct {
	Schema int                   `json:"schema"`
	At     time.Time             `json:"at"`
	Items  []mfpgate.RegionHosts `json:"items"`
}

// told is what the region said of a device last.
type told struct {
	Schema int       `json:"schema"`
	At     time.Time `json:"at"` // when it was first said in these words
	mfpgate.Residence
}

// position is how far the feed of moves was read.
type position struct {
	Schema int    `json:"schema"`
	Cursor string `json:"cursor"`
}

// safe reports whether a name may stand in a key: 1 to 64 letters, digits and "._-".
func safe(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// goodRegion reports whether a region's name is one: lower-case letters, digits and hyphens, 16 at most.
func goodRegion(s string) bool {
	return safe(s) && len(s) <= 16 && s == strings.ToLower(s) && !strings.ContainsAny(s, "_.")
}

// find reads a record. What is damaged is ErrDamaged, what is newer ErrNewerSchema.
func find[T any](g store.Getter, key string, schemaOf func(*T) int) (*T, error) {
	data, err := g.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decode(key, data, schemaOf)
}

func decode[T any](key string, data []byte, schemaOf func(*T) int) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("record %.80q: %w: %w", key, store.ErrDamaged, err)
	}
	switch n := schemaOf(v); {
	case n > schema:
		return nil, fmt.Errorf("record %.80q: schema %d: %w", key, n, store.ErrNewerSchema)
	case n < 1:
		return nil, fmt.Errorf("record %.80q: %w", key, store.ErrDamaged)
	}
	return v, nil
}

func routeSchema(r *route) int {
	if r.Device == "" || r.Epoch == 0 || r.To == "" || r.From == "" {
		return 0
	}
	return r.Schema
}
func keptSchema(k *kept) int           { return k.Schema }
func probedSchema(p *probed) int       { return p.Schema }
func regionsSchema(r *regions) int     { return r.Schema }
func toldSchema(t *told) int           { return t.Schema }
func positionSchema(p *position) int   { return p.Schema }
func candidateSchema(c *candidate) int { return c.Schema }

// unreadable reports whether an error says that a record is there and is of no use.
func unreadable(err error) bool {
	return errors.Is(err, store.ErrDamaged) || errors.Is(err, store.ErrNewerSchema)
}
