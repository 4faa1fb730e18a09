package daemon

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// What is wrong with moves.
const (
	// SwitchLate is the degradation while the region has not taken the word that routes were switched for switchLate: until it has, it
	// does not purge what the old region holds.
	SwitchLate mfpgate.Reason = "move-switch-late"
	// MoveIsStuck is the degradation while a device has not come to its new region for 30 days.
	MoveIsStuck mfpgate.Reason = "move-stuck"
	// MapUnreadable is the degradation while devices whose region was changed are let nowhere, because their routes or the hosts of their
	// regions cannot be read.
	MapUnreadable mfpgate.Reason = "region-map-unreadable"
	// DevicesUnenforced is the degradation while devices whose region was changed do not come through the relay.
	DevicesUnenforced mfpgate.Reason = "devices-unenforced"
	// RegionKeysChanged is the degradation while the site region signs under other keys than those that were pinned at the first contact.
	RegionKeysChanged mfpgate.Reason = "region-keys-changed"
)

// switchLate is how long an acknowledgement may take before somebody should look.
const switchLate = 5 * time.Minute

// named is how many things a degradation's text names; the others are counted.
const named = 5

// judge says what is wrong, by what the broker knows.
func (m *moves) judge(residences []mfpgate.Residence, list []mfpgate.Move) {
	d := m.daemon
	names := map[mfpgate.DeviceID]string{}
	for _, of := range d.registry.List() {
		names[of.ID] = of.Name
	}
	name := func(id mfpgate.DeviceID) string {
		if n := names[id]; n != "" {
			return n
		}
		return string(id)
	}
	var bypassed, closed []string
	for _, r := range residences {
		if r.Enforcement == mfpgate.Unenforced {
			bypassed = append(bypassed, fmt.Sprintf("%s (%s)", name(r.Device), r.Bypassed))
		}
		if r.Reason == mfpgate.RegionMap {
			closed = append(closed, name(r.Device))
		}
	}
	m.say(DevicesUnenforced, bypassed, "devices whose region was changed do not come through the relay, which cannot keep them from the region that they left; set it as their proxy: ")
	m.say(MapUnreadable, closed, "devices whose region was changed are let nowhere, because their routes or their regions' hosts cannot be read; restore the last backup, or move them again: ")

	now := d.Clock.Now()
	var late, stuck []string
	for _, move := range list {
		switch {
		case move.State == mfpgate.MoveStuck:
			stuck = append(stuck, fmt.Sprintf("%s (%s)", name(move.Device), move.ID))
		case move.State == mfpgate.MoveCommitted && move.SwitchedAt.IsZero() && !move.CommittedAt.IsZero() && now.Sub(move.CommittedAt) > switchLate:
			late = append(late, fmt.Sprintf("%s (%s, committed %s)", name(move.Device), move.ID, move.CommittedAt.In(d.config.Load().Site.TimeZone).Format("2006-01-02 15:04")))
		}
	}
	m.say(MoveIsStuck, stuck, "devices have not come to their new region for 30 days; switch them on or, if they are gone for good, use `mfpgate moves confirm-lost`: ")
	m.say(SwitchLate, late, "the region has not taken the word that routes lead to it, and the old region keeps its data until then; it is told again, look whether the cloud answers: ")
}

// say degrades the gateway while there is anything to name.
func (m *moves) say(reason mfpgate.Reason, things []string, text string) {
	if len(things) == 0 {
		m.daemon.health.clear(reason)
		return
	}
	slices.Sort(things)
	more := ""
	if n := len(things) - named; n > 0 {
		things, more = things[:named], fmt.Sprintf(", and %d more", n)
	}
	m.daemon.health.set(reason, text+strings.Join(things, ", ")+more)
}
