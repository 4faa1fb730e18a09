package regiontest

import (
	"slices"
	"strings"

	"github.com/mfpgate/mfpgate"
)

// judge holds one moment against the rules.
func (c *check) judge(cut []int) {
	source, target := c.lines[c.source].now(cut[c.source]), c.lines[c.target].now(cut[c.target])
	manager := c.lines[c.manager].now(cut[c.manager])
	if cut[c.manager] == 0 {
		manager = nil // of another move
	}
	is := func(e *event, states ...mfpgate.HoldingState) bool {
		return e != nil && slices.Contains(states, mfpgate.HoldingState(e.State))
	}
	if is(source, mfpgate.HoldingActive) && is(target, mfpgate.HoldingActive) {
		c.report(RuleTwoActive, cut, "%s and %s are both active", c.move.From, c.move.To)
	}
	committed := manager != nil && mfpgate.MoveState(manager.State).Committed()
	if committed && c.own(target) && !is(target, mfpgate.HoldingActive) {
		c.report(RuleCommitted, cut, "the move is committed, and %s is %s", c.move.To, name(target))
	}
	c.routed(cut, source, target, committed)
	if source != nil && source.Move == c.move.ID && source.State == "" && cut[c.source] > 0 && !c.confirmed(cut) && !c.move.Lost && source.Seq >= 0 && c.had(cut) {
		c.report(RuleTombstone, cut, "%s has forgotten the device, which has not been seen in %s", c.move.From, c.move.To)
	}
	if c.own(target) && is(target, mfpgate.HoldingActive) {
		c.offered(cut, target)
		if target.Epoch != c.move.Epoch {
			c.report(RuleEpoch, cut, "%s is active in epoch %d, and the move leads to %d", c.move.To, target.Epoch, c.move.Epoch)
		}
	}
	switch {
	case manager == nil:
	case manager.State == string(mfpgate.MoveRolledBack):
		c.restored(cut, source, target)
	case manager.State == string(mfpgate.MoveDone):
		if c.own(target) && !is(target, mfpgate.HoldingActive) || c.own(source) && is(source, mfpgate.HoldingActive, mfpgate.HoldingDraining) {
			c.report(RuleHome, cut, "the move is done, %s is %s and %s is %s", c.move.From, name(source), c.move.To, name(target))
		}
	}
}

// own tells whether an event is of the move, or there was none: then nothing is known of another move either.
func (c *check) own(e *event) bool { return e == nil || e.Move == c.move.ID }

func name(e *event) string {
	if e == nil || e.State == "" {
		return "absent"
	}
	return e.State
}

// had tells whether the source held the device when the move began.
func (c *check) had(cut []int) bool {
	if b := c.lines[c.source].base; b != nil {
		return b.State == string(mfpgate.HoldingActive)
	}
	for _, e := range c.lines[c.source].events[:cut[c.source]] {
		if e.State != "" {
			return true
		}
	}
	return false
}

func (c *check) confirmed(cut []int) bool {
	return slices.ContainsFunc(c.lines[c.manager].events[:cut[c.manager]], func(e event) bool { return e.Move == c.move.ID && e.action == "move.confirmed" })
}

// routed holds where the device's connections are led against who answers there.
func (c *check) routed(cut []int, source, target *event, committed bool) {
	if !c.there[c.lines[c.router].writer] {
		return // no gateway was asked
	}
	region := c.move.From
	if e := c.lines[c.router].now(cut[c.router]); e != nil {
		region = e.Region
	}
	switch region {
	case c.move.From:
		if source != nil && c.own(source) && source.State != string(mfpgate.HoldingActive) && source.State != string(mfpgate.HoldingDraining) && c.had(cut) {
			c.report(RuleReachable, cut, "the device is led to %s, which is %s", region, name(source))
		}
	case c.move.To:
		if !committed {
			c.report(RuleReachable, cut, "the device is led to %s before the move is committed", region)
		}
		if c.own(target) && name(target) != string(mfpgate.HoldingActive) {
			c.report(RuleReachable, cut, "the device is led to %s, which is %s", region, name(target))
		}
	}
}

func (c *check) offered(cut []int, target *event) {
	offers, known := c.facts.Offers[c.move.To]
	if !known {
		return
	}
	for _, child := range target.Children {
		service, id, _ := strings.Cut(child, "/")
		if !slices.ContainsFunc(offers, func(o mfpgate.ServiceOffer) bool { return o.ID == service && slices.Contains(o.Children, id) }) {
			c.report(RuleChildren, cut, "%s is active with %s, which it does not offer", c.move.To, child)
		}
	}
}

// restored holds both regions against what they were before the move.
func (c *check) restored(cut []int, source, target *event) {
	if base := c.lines[c.source].base; base != nil && source != nil && c.own(source) && base.State == string(mfpgate.HoldingActive) {
		if source.State != base.State || source.Epoch != base.Epoch || !slices.Equal(source.Children, base.Children) {
			c.report(RuleRestored, cut, "%s was %s in epoch %d with %q, and is %s in epoch %d with %q", c.move.From, name(base), base.Epoch, base.Children,
				name(source), source.Epoch, source.Children)
		}
	}
	if base := c.lines[c.target].base; target != nil && target != base && target.Move == c.move.ID && (base == nil || base.State != target.State) {
		switch mfpgate.HoldingState(target.State) {
		case mfpgate.HoldingPrepared, mfpgate.HoldingActive, mfpgate.HoldingDraining:
			c.report(RuleRestored, cut, "%s is %s, and was %s", c.move.To, name(target), name(base))
		}
	}
}

// fences looks for steps of the services that are lower than earlier ones.
func (c *check) fences() {
	for _, l := range c.lines[:2] {
		highest := -1
		for i, e := range l.events {
			if e.Move != c.move.ID {
				continue
			}
			if e.Seq < highest {
				cut := make([]int, len(c.lines))
				cut[slices.Index(c.lines, l)] = i + 1
				c.report(RuleFence, cut, "%s has taken step %d after %d", l.writer, e.Seq, highest)
			}
			highest = max(highest, e.Seq)
		}
	}
}

// digests compares what is active at the target with what the source sent when it was drained.
func (c *check) digests() {
	for i, e := range c.lines[c.target].events {
		if e.Move != c.move.ID || e.Seq != mfpgate.StepActivate.Seq() || e.State != string(mfpgate.HoldingActive) {
			continue
		}
		sent := ""
		for _, s := range c.lines[c.source].events {
			if s.Move == c.move.ID && s.Seq == mfpgate.StepDelta.Seq() && s.n <= e.Seen[c.lines[c.source].writer] {
				sent = s.Digest
			}
		}
		if e.Digest != sent || sent == "" {
			cut := make([]int, len(c.lines))
			cut[c.target] = i + 1
			c.report(RuleDigest, cut, "%s is active with digest %.12q, and %s has sent %.12q when it was drained", c.move.To, e.Digest, c.move.From, sent)
		}
	}
}
