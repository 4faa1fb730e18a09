package discovery

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mfpgate/mfpgate"
)

// device is one device in memory. The registry's lock guards it, except for the part that look-ups share.
type device struct {
	id        mfpgate.DeviceID
	given     string // by an administrator; "" is none
	sightings map[mfpgate.SightingID]*sighted
	apart     map[mfpgate.DeviceID]struct{} // never this one
	static    *Static                       // the entry that names it; nil is none
	conflict  string                        // why its cloud refuses it; "" is none

	found     *found    // what look-ups of the relay see; new ones when its name or standing changes
	elsewhere *found    // the same at an address that the configuration does not give it
	seen      time.Time // the relay heard it last
	saved     time.Time // what is stored of seen
	heard     time.Time // since when without an absence

	asked    answerState
	suspect  bool             // what it said of itself, or where, is to be asked again
	readings *mfpgate.Reading // merged by part
	readAt   ReadAt

	state  mfpgate.DeviceState
	reason mfpgate.Reason
	since  time.Time
}

// found is what a look-up returns, immutable but for the mark.
type found struct {
	id      mfpgate.DeviceID
	name    string
	known   bool
	touched *atomic.Bool // a connection came; the registry clears it
}

// sighted is a sighting as the device has it.
type sighted struct {
	mfpgate.Sighting
	Pinned bool `json:"pinned,omitempty"`
	stored bool // of a printer on USB: it was plugged in before a restart, and nobody has looked since
}

// answerState is what asking the device has shown.
type answerState struct {
	at     time.Time // of the last answer, or failure
	since  time.Time // of the first in a row
	ok     bool
	reason mfpgate.Reason
}

// ReadAt is when each part of a device's reading was last answered.
type ReadAt struct{ Status, Supplies, Counters time.Time }

// words are all that the device's sources say, except is left out.
func (d *device) words(except mfpgate.SightingID) *words {
	w := &words{}
	for id, s := range d.sightings {
		if id != except {
			w.add(s.Identity)
		}
	}
	return w
}

// strong reports whether anything but an address or the configuration tells of the device.
func (d *device) strong() bool {
	for _, s := range d.sightings {
		if source := s.ID.Source(); source != mfpgate.SourceRelay && source != mfpgate.SourceStatic {
			return true
		}
	}
	return false
}

// announcedOnly reports whether it is known by announcements and nothing else: it never answered, and came from nowhere.
func (d *device) announcedOnly() bool {
	for _, s := range d.sightings {
		if s.ID.Source() != mfpgate.SourceDNSSD || s.Pinned {
			return false
		}
	}
	return true
}

// addresses are those at which it answered, from which it came, or that the configuration gives it.
func (d *device) addresses() []netip.Addr {
	var list []netip.Addr
	add := func(a netip.Addr) {
		if a.IsValid() && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	for _, s := range d.inOrder() {
		if s.Answered {
			for _, e := range network(s.Sighting) {
				add(e.Address.Addr())
			}
		}
	}
	if d.static != nil {
		add(d.static.Address)
	}
	return list
}

// precedence is whose word counts first where sources say different things for people.
var precedence = []mfpgate.Source{mfpgate.SourceIPP, mfpgate.SourceUSB, mfpgate.SourceSNMP, mfpgate.SourceDNSSD, mfpgate.SourceRelay, mfpgate.SourceStatic}

// inOrder returns the sightings by precedence, then by name.
func (d *device) inOrder() []*sighted {
	list := make([]*sighted, 0, len(d.sightings))
	for _, s := range d.sightings {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *sighted) int {
		return cmp.Or(cmp.Compare(slices.Index(precedence, a.ID.Source()), slices.Index(precedence, b.ID.Source())), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// name is what people call it: the administrator's word, the configuration's, its own, its address.
func (d *device) name() string {
	if d.given != "" {
		return d.given
	}
	if d.static != nil {
		return d.static.Name
	}
	own := ""
	for _, s := range d.inOrder() {
		if s.ID.Source() == mfpgate.SourceDNSSD && s.Name != "" && !s.Gone {
			return s.Name // the name under which people see it on the network
		}
		own = cmp.Or(own, s.Name)
	}
	return own
}

// identity is the first word of each kind.
func (d *device) identity() (i mfpgate.Identity) {
	for _, s := range d.inOrder() {
		o := s.Identity
		i.UUID, i.Make, i.Model = cmp.Or(i.UUID, o.UUID), cmp.Or(i.Make, o.Make), cmp.Or(i.Model, o.Model)
		i.Serial, i.SysObjectID = cmp.Or(i.Serial, o.Serial), cmp.Or(i.SysObjectID, o.SysObjectID)
		i.MAC, i.USB = cmp.Or(i.MAC, o.MAC), cmp.Or(i.USB, o.USB)
	}
	return i
}

// account is the relay's account that identifies it; "" is none.
func (d *device) accounts() (list []string) {
	for id := range d.sightings {
		if name, ok := strings.CutPrefix(string(id), accountPrefix); ok {
			list = append(list, name)
		}
	}
	if d.static != nil && d.static.Account != "" && !slices.Contains(list, d.static.Account) {
		list = append(list, d.static.Account)
	}
	return list
}

// accountPrefix tells the sightings of accounts from those of addresses.
const accountPrefix = string(mfpgate.SourceRelay) + ":account "
