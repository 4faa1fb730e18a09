package quirk

import (
	_ "embed"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate/usb/bus"
)

// Reset says how a printer is reset before the gateway first speaks with it.
type Reset string

// The resets.
const (
	ResetNone Reset = ""
	ResetSoft Reset = "soft" // SOFT_RESET of the printer class: its buffers and endpoints
	ResetHard Reset = "hard" // the port: it may come back under another address
)

// Quirks are what one device needs. The zero value is what most need.
type Quirks struct {
	Ignore bool // it is no printer that the gateway can drive, whatever its interfaces say

	// Of IPP over USB.
	NoIPP          bool          // its 7/1/4 interfaces do not work: it is driven raw
	VendorIPP      bool          // its 255/9/1 interfaces are 7/1/4 under another name
	Interfaces     int           // use no more interfaces than these at once; 0: all
	ZLP            bool          // a request that ends with a full packet is followed by an empty one
	ZLPEnds        bool          // an empty packet and silence end an answer whose body is shorter than said, while it starts
	Connection     string        // what it wants in the Connection field: "", keep-alive or close
	WriteDelay     time.Duration // between writes
	WriteDelayOver int           // bytes; only writes larger than these are followed by WriteDelay
	AnswerWithin   time.Duration // how long its first answer may take; 0: as others'

	// Of raw printing.
	VendorRaw      bool // an interface of a vendor's class takes what 7/1/1 does
	Unidirectional bool // it must not be read from, whatever its interface says
	ResetAfterJob  bool // it wants a soft reset after each job
	NoPJL          bool // it must not be asked how it is by PJL
	NoPortStatus   bool // nor for its port status

	// Of all.
	Reset       Reset
	NoSoftReset bool // it must not be sent SOFT_RESET where others are, to mend them
	RawPackage  bool // it takes a software package as a print job

	// Applied says which entries made this, the most special last; none of them is without effect.
	Applied []Applied
}

// Applied is an entry that made a difference.
type Applied struct {
	Words  []string // what it decided: unidirectional, "reset soft"
	Match  string   // what it is for: 03f0:7c12
	Reason string
	Place  string // file and line
}

// String is the entry in one line, for people.
func (a Applied) String() string {
	return strings.Join(a.Words, ", ") + " for " + a.Match + ": " + a.Reason
}

// Table is a list of entries. The zero value has none. It does not change once it is made.
type Table struct{ entries []entry }

// entry is what is said of some devices.
type entry struct {
	place   string
	matches []match
	words   []word
	reason  string
}

// match is one line of devices.
type match struct {
	text       string
	vendor     uint16
	product    uint16
	anyProduct bool
	from, to   uint16 // bcdDevice, inclusive
	name       string // a pattern in lower case; "" is every device
}

// word is one thing that is said of a device.
type word struct {
	key, text string
	set       func(*Quirks)
}

//go:embed quirks.txt
var known string

// Known is the table that comes with this program.
func Known() Table {
	t, err := Parse(strings.NewReader(known), "quirks.txt")
	if err != nil {
		panic(err) // a test parses it
	}
	return t
}

// Len is how many entries there are.
func (t Table) Len() int { return len(t.entries) }

// With returns the entries of both; where they differ about a device and are equally special, other's count.
func (t Table) With(other Table) Table {
	return Table{entries: slices.Concat(t.entries, other.entries)}
}

// Of returns what a device needs. names are what it calls itself: its product string, its model with and without the make. Without
// them, entries that are for names do not count: a device that has not been opened has none.
func (t Table) Of(d bus.Device, names ...string) Quirks {
	type decided struct {
		rank  int
		entry int
		match string
		word  word
	}
	final := map[string]decided{}
	for i, e := range t.entries {
		rank, by := 0, ""
		for _, m := range e.matches {
			if r := m.rank(d, names); r > rank {
				rank, by = r, m.text
			}
		}
		if rank == 0 {
			continue
		}
		for _, w := range e.words {
			if was, there := final[w.key]; !there || rank >= was.rank {
				final[w.key] = decided{rank, i, by, w}
			}
		}
	}

	var all []decided
	for _, f := range final {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b decided) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		if a.entry != b.entry {
			return a.entry - b.entry
		}
		return strings.Compare(a.word.key, b.word.key)
	})
	var q Quirks
	last := -1
	for _, f := range all {
		f.word.set(&q)
		if f.entry != last {
			e := t.entries[f.entry]
			q.Applied = append(q.Applied, Applied{Match: f.match, Reason: e.reason, Place: e.place})
			last = f.entry
		}
		a := &q.Applied[len(q.Applied)-1]
		a.Words = append(a.Words, f.word.text)
	}
	return q
}

// The ranks of what matched; 0 is nothing.
const (
	byVendor  = 1 + iota
	byName    // and one more for each character that is no wildcard
	byProduct = 1 << 20
)

func (m match) rank(d bus.Device, names []string) int {
	if m.vendor != d.Vendor || !m.anyProduct && m.product != d.Product || d.Release < m.from || d.Release > m.to {
		return 0
	}
	if m.name != "" && !slices.ContainsFunc(names, func(n string) bool { return like(m.name, strings.ToLower(n)) }) {
		return 0
	}
	rank := byVendor
	if m.name != "" {
		rank = byName + len(strings.ReplaceAll(m.name, "*", ""))
	}
	if !m.anyProduct {
		rank += byProduct
	}
	return rank
}

// like reports whether a text fits a pattern, in which * is any text.
func like(pattern, text string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	text, ok := strings.CutPrefix(text, head)
	if !ok || !wild {
		return ok && text == ""
	}
	for {
		part, more, wild := strings.Cut(rest, "*")
		if !wild {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], more
	}
}
