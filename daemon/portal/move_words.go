package portal

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// regionName is a region as people write its country: JP.
func regionName(code string) string { return strings.ToUpper(code) }

// regionOr names a region that may not be known.
func regionOr(code, without string) string { return cmp.Or(regionName(code), without) }

func moveLook(m mfpgate.Move) look {
	switch m.State {
	case mfpgate.MoveOpen:
		return look{Sign: "◑", Word: "Under way", Class: "quiet"}
	case mfpgate.MoveCompensating:
		return look{Sign: "▲", Word: "Being taken back", Class: "warn"}
	case mfpgate.MoveRolledBack:
		return look{Sign: "–", Word: "Taken back", Class: "quiet"}
	case mfpgate.MoveCommitted:
		return look{Sign: "◕", Word: "Committed, being finished", Class: "quiet"}
	case mfpgate.MoveStuck:
		return look{Sign: "▲", Word: "Stuck: the device does not come", Class: "warn"}
	case mfpgate.MoveDone:
		if m.Lost {
			return look{Sign: "▲", Word: "Done, the device is lost", Class: "warn"}
		}
		return look{Sign: "✓", Word: "Moved", Class: "good"}
	}
	return look{Sign: "·", Word: string(m.State), Class: "quiet"}
}

// moveNow says what happens now, or what came of it.
func moveNow(m mfpgate.Move, device string) string {
	from, to := regionName(m.From), regionName(m.To)
	switch m.State {
	case mfpgate.MoveOpen:
		return device + " is still at home in " + from + ". Until the commit the move can be taken back."
	case mfpgate.MoveCompensating:
		return "What was done is taken back, so that all is in " + from + " as it was before. " + device + " stays at home there."
	case mfpgate.MoveRolledBack:
		return "All is in " + from + " as it was before; nothing of " + device + " is in " + to + "."
	case mfpgate.MoveCommitted:
		return device + " is at home in " + to + " now. What is left is done until it succeeds; it cannot be taken back, but the device can be moved again."
	case mfpgate.MoveStuck:
		return device + " is at home in " + to + ", and has not come there for 30 days. If it comes, the move goes on by itself."
	case mfpgate.MoveDone:
		if m.Lost {
			return device + " was given up by an administrator before it came to " + to + "."
		}
		return device + " is at home in " + to + ", and uses its services there."
	}
	return ""
}

// stepWords are each step of m's way. What is done reads as well as what is to come.
func stepWords(m mfpgate.Move, s mfpgate.MoveStep) string {
	from, to := regionName(m.From), regionName(m.To)
	switch s {
	case mfpgate.StepCheck:
		return "Services are checked: does " + to + " offer them?"
	case mfpgate.StepUnlink:
		return "Child services that " + to + " does not offer are unlinked in " + from
	case mfpgate.StepCopy:
		return from + " sends a copy to " + to
	case mfpgate.StepVerify:
		return "Both copies are compared, and the certificates of " + to + " tried"
	case mfpgate.StepDrain:
		return from + " takes no more changes"
	case mfpgate.StepDelta:
		return "What has changed since is sent, and compared once more"
	case mfpgate.StepActivate:
		return to + " takes the device in"
	case mfpgate.StepCommit:
		return "Commit: " + to + " becomes the home"
	case mfpgate.StepSwitch:
		return "This gateway leads the device to " + to
	case mfpgate.StepNotify:
		return from + " hears that the device has moved"
	case mfpgate.StepRetire:
		return from + " purges what it held, and signs a receipt"
	case mfpgate.StepRedirect:
		return "The device gets its new addresses, signed by " + from
	case mfpgate.StepConfirm:
		return "The device comes to " + to
	case mfpgate.StepDelete:
		return from + " forgets the device"
	case mfpgate.StepAbort:
		return to + " throws away what was sent to it"
	case mfpgate.StepUndrain:
		return from + " takes changes again"
	case mfpgate.StepRelink:
		return "Child services that were unlinked are linked again in " + from
	}
	return string(s)
}

// stepNow is the step under way, for a list.
func stepNow(m mfpgate.Move) string { return stepWords(m, m.Step) }

// triesWords say that a step does not succeed at once.
func triesWords(m mfpgate.Move) string {
	if m.State.Ended() || m.Attempts == 0 {
		return ""
	}
	return counted(m.Attempts, "try of this step has failed", "tries of this step have failed")
}

// The steps of a move in their order, and those that take it back.
var (
	moveWay = []mfpgate.MoveStep{mfpgate.StepCheck, mfpgate.StepUnlink, mfpgate.StepCopy, mfpgate.StepVerify, mfpgate.StepDrain, mfpgate.StepDelta, mfpgate.StepActivate,
		mfpgate.StepCommit, mfpgate.StepSwitch, mfpgate.StepNotify, mfpgate.StepRetire, mfpgate.StepRedirect, mfpgate.StepConfirm, mfpgate.StepDelete}
	moveBack = []mfpgate.MoveStep{mfpgate.StepAbort, mfpgate.StepUndrain, mfpgate.StepRelink}
)

// moveSteps is the way of m, and how far it is. Of one that is taken back only what has happened is shown, and what takes it back.
func moveSteps(m mfpgate.Move, when func(time.Time) moment) (list []step) {
	back := m.State == mfpgate.MoveCompensating || m.State == mfpgate.MoveRolledBack
	taken := map[mfpgate.MoveStep]mfpgate.MoveStepTaken{}
	for _, t := range m.Steps {
		taken[t.Step] = t
	}
	add := func(of mfpgate.MoveStep, optional bool) {
		t, done := taken[of]
		state := "next"
		switch {
		case of == mfpgate.StepConfirm && m.Lost && m.ConfirmedAt.IsZero(): // the step is over, and has not happened
			state = "bad"
		case done:
			state = "done"
		case of == m.Step && !m.State.Ended():
			state = "now"
		case optional:
			return
		}
		s := newStep(stepWords(m, of), state)
		if state == "bad" {
			s.Said = "ended without it"
			s.Note = "given up by an administrator"
		}
		if done {
			s.Time = when(t.At)
			if t.Attempts > 0 && state == "done" {
				s.Note = "after " + counted(t.Attempts, "failed try", "failed tries")
			}
		}
		s.Last = of == mfpgate.StepCommit
		list = append(list, s)
	}
	for _, of := range moveWay {
		add(of, back)
	}
	if back {
		for _, of := range moveBack {
			add(of, m.State.Ended())
		}
	}
	for _, t := range m.Steps { // a newer cloud's
		if t.Step.Seq() < 0 {
			add(t.Step, true)
		}
	}
	if m.Step.Seq() < 0 && !slices.ContainsFunc(m.Steps, func(t mfpgate.MoveStepTaken) bool { return t.Step == m.Step }) {
		add(m.Step, true)
	}
	return list
}

// policyWords say what becomes of a class of data, and policyTo what to choose.
func policyWords(p mfpgate.DataPolicy, from, to string) string {
	switch p {
	case mfpgate.DataMove:
		return "moves to " + to + ", and is purged in " + from
	case mfpgate.DataReset:
		return "is purged in " + from + "; " + to + " begins without"
	case mfpgate.DataLeave:
		return "stays in " + from
	}
	return string(p)
}

func policyChoice(p mfpgate.DataPolicy, from, to string) (word, what string) {
	switch p {
	case mfpgate.DataMove:
		return "Move", "copied to " + to + ", then purged in " + from
	case mfpgate.DataReset:
		return "Begin anew", "purged in " + from + "; " + to + " begins without"
	case mfpgate.DataLeave:
		return "Leave", "stays in " + from + ", where the law may want it; " + to + " begins without"
	}
	return string(p), ""
}

func itemsWords(items int, bytes int64) string {
	return counted(items, "item", "items") + ", " + size(bytes)
}

func heldWords(d mfpgate.HeldData) string { return d.Class + ": " + itemsWords(d.Items, d.Bytes) }

func residenceLook(s mfpgate.ResidenceState) look {
	switch s {
	case mfpgate.ResidenceHome:
		return look{Sign: "✓", Word: "At home here", Class: "good"}
	case mfpgate.ResidenceAbroad:
		return look{Sign: "◇", Word: "In another region", Class: "quiet"}
	case mfpgate.ResidenceForeign:
		return look{Sign: "◈", Word: "Registered here, its data in another region", Class: "quiet"}
	case mfpgate.ResidenceMoving:
		return look{Sign: "◑", Word: "Being moved", Class: "quiet"}
	case mfpgate.ResidenceUnknown:
		return look{Sign: "?", Word: "Not known", Class: "warn"}
	}
	return look{Sign: "?", Word: string(s), Class: "warn"}
}

// enforcementLook never says that what is not known is enforced.
func enforcementLook(of mfpgate.Residence) look {
	switch of.Enforcement {
	case mfpgate.Enforced:
		return look{Sign: "✓", Word: "Enforced", Class: "good", Hint: "The relay keeps it from other regions."}
	case mfpgate.Unenforced:
		return look{Sign: "▲", Word: "Not enforced", Class: "warn", Hint: cmp.Or(sentence(of.Bypassed), "The gateway does not say why.")}
	case mfpgate.EnforcedNone:
		return look{Sign: "–", Word: "Nothing enforced", Class: "quiet", Hint: "Its region was never changed here, or region.enforce is off."}
	}
	return look{Sign: "?", Word: "Not known: " + string(of.Enforcement), Class: "warn", Hint: sentence(of.Bypassed)}
}
