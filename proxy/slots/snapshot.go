package slots

import (
	"cmp"
	"slices"
	"time"
)

// State is what a device has of admission.
type State string

// The states; doc.go shows how they follow on each other.
const (
	StateHeld   State = "held"   // holds a slot: it is being served
	StateQueued State = "queued" // waits for its turn
	StateAway   State = "away"   // was told to come back; its place is kept
	StateIdle   State = "idle"   // has a connection open and nothing to move
)

// Snapshot is admission at one instant. Its JSON form is the API's.
type Snapshot struct {
	Capacity int      `json:"capacity"` // devices that may hold a slot now
	Served   int      `json:"served"`   // devices that do
	Queued   int      `json:"queued"`   // devices that wait
	Away     int      `json:"away"`     // places kept for devices that were told to come back
	Devices  []Device `json:"devices"`  // in order of the queue, then the others by key
}

// Device is one device in a Snapshot.
type Device struct {
	Key         Key       `json:"key"`
	State       State     `json:"state"`
	Connections int       `json:"connections"`
	Position    int       `json:"position,omitempty"`      // queued and away: 1 has the next turn; away devices do not count
	Planned     bool      `json:"planned,omitempty"`       // queued and away: it is in its planned slot
	Since       time.Time `json:"waitingSince,omitzero"`   // queued and away: when it took its place
	KeptUntil   time.Time `json:"placeKeptUntil,omitzero"` // away: when the place is lost
}

// Snapshot returns what is true now. It costs a look at every device.
func (a *Admission) Snapshot() Snapshot {
	a.mu.Lock()
	s := a.count()
	now := a.now()
	instant := func(own int64) time.Time { return a.wall.Add(time.Duration(own - now)) } // for people: the wall clock's
	s.Devices = make([]Device, 0, len(a.devices))
	position := 1
	for t := range a.inOrder() {
		d := Device{Key: t.device.key, State: StateAway, Connections: t.device.conns, Position: position, Since: instant(t.since),
			Planned: t.kind == planned}
		if t.present {
			d.State = StateQueued
			position++
		} else {
			d.KeptUntil = instant(t.promise)
		}
		s.Devices = append(s.Devices, d)
	}
	waiting := len(s.Devices)
	for _, d := range a.devices {
		if d.ticket != nil {
			continue
		}
		state := StateIdle
		if d.word.Load() != 0 {
			state = StateHeld
		}
		s.Devices = append(s.Devices, Device{Key: d.key, State: state, Connections: d.conns})
	}
	a.mu.Unlock()
	slices.SortFunc(s.Devices[waiting:], func(x, y Device) int { return cmp.Compare(x.Key, y.Key) })
	return s
}

// Count returns a Snapshot without its devices, at no cost worth naming, and brings the metrics up to date.
func (a *Admission) Count() Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.count()
}

func (a *Admission) count() Snapshot {
	a.settle(a.look())
	return Snapshot{Capacity: a.capacity, Served: a.held, Queued: a.queue.present, Away: len(a.kept)}
}
