package regiontest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/store/journal"
)

// Rule names what must hold.
type Rule string

// The rules. Where not said otherwise they hold at every moment.
const (
	RuleTrace     Rule = "trace"      // chains are complete, and nothing is before its cause
	RuleTwoActive Rule = "two-active" // the source and the target are never both active
	RuleReachable Rule = "reachable"  // where the gateway's routes lead, the device is answered; the target only after the commit
	RuleCommitted Rule = "committed"  // what is committed is active at the target
	RuleTombstone Rule = "tombstone"  // the source never forgets a device that has not been seen at the target
	RuleChildren  Rule = "children"   // an active target has no child that it does not offer
	RuleRestored  Rule = "restored"   // after a move was taken back the source is as before, and the target holds nothing of it
	RuleHome      Rule = "home"       // after a move is done the target is active, and the source is not
	RuleDigest    Rule = "digest"     // what is active at the target is what the drained source had
	RuleEpoch     Rule = "epoch"      // what is active at the target is of the move's epoch
	RuleFence     Rule = "fence"      // no services take a step that is lower than one they have taken
	RuleEnd       Rule = "end"        // in the end a move is done or taken back
)

// Violation is a rule that was broken.
type Violation struct {
	Move mfpgate.MoveID
	Rule Rule
	Text string
	At   map[string]uint64 // by writer: the last entry that had been written
}

func (v Violation) String() string {
	at := []string{}
	for _, w := range slices.Sorted(maps.Keys(v.At)) {
		at = append(at, fmt.Sprintf("%s:%d", w, v.At[w]))
	}
	return fmt.Sprintf("%s of %s: %s (at %s)", v.Rule, v.Move, v.Text, strings.Join(at, " "))
}

// Facts are what the chains do not say.
type Facts struct {
	Moves   []mfpgate.Move // of each: ID, Gateway, MFP, From, To, Epoch, Lost
	Offers  map[string][]mfpgate.ServiceOffer
	Running bool // moves may be under way: RuleEnd is not asked for
}

// Chains are the audit chains by writer ("jp/management", "jp/services", "osaka-1/route"), each from its first entry on.
type Chains map[string][]journal.Entry

// maxCuts bounds the moments of one move that are looked at.
const maxCuts = 1 << 20

// Check returns what was broken, each rule once for each move.
func Check(chains Chains, facts Facts) (broken []Violation) {
	parsed := map[string][]event{}
	last := map[string]uint64{}
	for writer, entries := range chains {
		for i, e := range entries {
			if e.Seq != uint64(i+1) {
				broken = append(broken, Violation{Rule: RuleTrace, Text: fmt.Sprintf("entry %d of %s has number %d", i+1, writer, e.Seq)})
			}
			last[writer] = e.Seq
			ev := event{n: e.Seq, action: e.Action}
			if json.Unmarshal(e.After, &ev.MoveTrace) == nil && ev.MFP != "" {
				parsed[writer] = append(parsed[writer], ev)
			}
		}
	}
	for _, m := range facts.Moves {
		c := newCheck(m, facts, parsed, last)
		c.walk()
		broken = append(broken, c.broken...)
	}
	return broken
}

// event is an entry that is of a device.
type event struct {
	mfpgate.MoveTrace
	n      uint64
	action string
}

// line is what one writer wrote of a device while a move went on.
type line struct {
	writer string
	base   *event // what was before; nil is not known
	events []event
	needs  [][]int // of each number of events: how many of each other line they have seen
}

// now is the last of the first n events.
func (l *line) now(n int) *event {
	if n == 0 {
		return l.base
	}
	return &l.events[n-1]
}

type check struct {
	move   mfpgate.Move
	facts  Facts
	broken []Violation

	lines                           []*line
	source, target, manager, router int // indexes of lines
	there                           map[string]bool
}

func newCheck(m mfpgate.Move, facts Facts, parsed map[string][]event, last map[string]uint64) *check {
	c := &check{move: m, facts: facts, there: map[string]bool{}}
	add := func(writer string) int {
		l := &line{writer: writer}
		first, end := -1, -1
		var all []event
		for _, e := range parsed[writer] {
			if e.MFP == m.MFP {
				all = append(all, e)
			}
		}
		for i, e := range all {
			if e.Move == m.ID {
				if first < 0 {
					first = i
				}
				end = i + 1
			}
		}
		switch {
		case first > 0:
			l.base = &all[first-1]
		case first < 0 && len(all) > 0:
			l.base = &all[len(all)-1]
		}
		if first >= 0 {
			l.events = all[first:end]
		}
		_, c.there[writer] = last[writer]
		c.lines = append(c.lines, l)
		return len(c.lines) - 1
	}
	c.source, c.target = add(m.From+"/services"), add(m.To+"/services")
	c.manager, c.router = add(m.To+"/management"), add(m.Gateway+"/route")
	add(m.From + "/management")
	for _, l := range c.lines {
		c.need(l, last)
	}
	if base := c.lines[c.router].base; base != nil && (base.Epoch >= m.Epoch || base.State != "routed") {
		c.lines[c.router].base = nil
	}
	c.fences()
	c.digests()
	return c
}

// need says how many events of each other line must have been before those of this one.
func (c *check) need(l *line, last map[string]uint64) {
	l.needs = [][]int{make([]int, len(c.lines))}
	for _, e := range l.events {
		needs := slices.Clone(l.needs[len(l.needs)-1])
		for i, other := range c.lines {
			seen := e.Seen[other.writer]
			if other == l {
				if seen >= e.n {
					c.report(RuleTrace, nil, "entry %d of %s has seen its own future", e.n, l.writer)
				}
				continue
			}
			if seen > last[other.writer] && c.there[other.writer] {
				c.report(RuleTrace, nil, "entry %d of %s has seen entry %d of %s, which is not there", e.n, l.writer, seen, other.writer)
			}
			n := 0
			for n < len(other.events) && other.events[n].n <= seen {
				n++
			}
			needs[i] = max(needs[i], n)
		}
		l.needs = append(l.needs, needs)
	}
}

// walk looks at every cut: how many events of each line had been written, if nothing is without its cause.
func (c *check) walk() {
	start := make([]int, len(c.lines))
	key := func(cut []int) string { return fmt.Sprint(cut) }
	seen := map[string]bool{key(start): true}
	for queue := [][]int{start}; len(queue) > 0; queue = queue[1:] {
		cut := queue[0]
		c.judge(cut)
		for i, l := range c.lines {
			if cut[i] == len(l.events) {
				continue
			}
			next := slices.Clone(cut)
			next[i]++
			if k := key(next); !seen[k] && c.consistent(next, i) {
				seen[k] = true
				queue = append(queue, next)
			}
		}
		if len(seen) > maxCuts {
			c.report(RuleTrace, nil, "more than %d moments", maxCuts)
			return
		}
	}
	end := make([]int, len(c.lines))
	for i, l := range c.lines {
		end[i] = len(l.events)
	}
	if !seen[key(end)] {
		c.report(RuleTrace, nil, "causes go in a circle")
	}
	if m := c.lines[c.manager].now(end[c.manager]); !c.facts.Running && (m == nil || !mfpgate.MoveState(m.State).Ended()) {
		c.report(RuleEnd, end, "the move is neither done nor taken back")
	}
}

// consistent tells whether all that the newest event of line i has seen is in the cut.
func (c *check) consistent(cut []int, i int) bool {
	for j, n := range c.lines[i].needs[cut[i]] {
		if cut[j] < n {
			return false
		}
	}
	return true
}

func (c *check) report(r Rule, cut []int, text string, args ...any) {
	if slices.ContainsFunc(c.broken, func(v Violation) bool { return v.Rule == r }) {
		return
	}
	v := Violation{Move: c.move.ID, Rule: r, Text: fmt.Sprintf(text, args...), At: map[string]uint64{}}
	for i, n := range cut {
		if e := c.lines[i].now(n); e != nil {
			v.At[c.lines[i].writer] = e.n
		}
	}
	c.broken = append(c.broken, v)
}
