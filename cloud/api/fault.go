package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Fault is a rule that a document breaks.
type Fault struct {
	Pointer string // where, as RFC 6901 has it: /deliveries/3/window/latestEnd; empty: the whole document
	Rule    string // what is wrong and what to write
}

// Error says where and what.
func (f Fault) Error() string {
	if f.Pointer == "" {
		return "the document: " + f.Rule
	}
	return f.Pointer + ": " + f.Rule
}

// Faults are all that is wrong with a document, in the order in which it is read, the first hundred of them.
type Faults []Fault

// maxFaults is how many are told.
const maxFaults = 100

// Error says one a line.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i := range f {
		lines[i] = f[i].Error()
	}
	return strings.Join(lines, "\n")
}

// place is where in a document something stands. A million of them cost nothing but the one that is told.
type place struct {
	in    *place
	name  string
	index int // of a list, if name is empty
}

func (p *place) field(name string) *place { return &place{in: p, name: name} }

func (p *place) at(index int) *place { return &place{in: p, index: index} }

var escaper = strings.NewReplacer("~", "~0", "/", "~1")

// String writes the JSON pointer.
func (p *place) String() string {
	switch {
	case p == nil:
		return ""
	case p.name == "":
		return p.in.String() + "/" + strconv.Itoa(p.index)
	}
	return p.in.String() + "/" + escaper.Replace(clip(p.name))
}

// checker collects faults.
type checker struct {
	calendar Calendar
	faults   Faults
	more     int
	layout   layouts
	zones    map[string]*time.Location
}

func newChecker(cal Calendar) *checker {
	return &checker{calendar: cal, layout: layouts{}, zones: map[string]*time.Location{}}
}

func (c *checker) add(p *place, format string, args ...any) {
	if len(c.faults) == maxFaults {
		c.more++
		return
	}
	c.faults = append(c.faults, Fault{p.String(), fmt.Sprintf(format, args...)})
}

// err returns what was found, or nil.
func (c *checker) err() error {
	switch {
	case len(c.faults) == 0:
		return nil
	case c.more > 0:
		return append(c.faults, Fault{"", fmt.Sprintf("has %d more faults", c.more)})
	}
	return c.faults
}
