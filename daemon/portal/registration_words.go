package portal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/broker/approval"
)

// decidable reports whether an administrator of this gateway must say yes or no.
func decidable(r mfpgate.Registration) bool {
	return r.Local && r.State == mfpgate.RegistrationAwaitingAdmin
}

// userWaits reports whether the printer is registered but something is left to do for the user, which its reason says.
func userWaits(r mfpgate.Registration) bool {
	return r.State == mfpgate.RegistrationRegistered && r.Reason != ""
}

func registrationLook(r mfpgate.Registration, v visitor) look {
	switch r.State {
	case mfpgate.RegistrationRequested:
		return look{Sign: "○", Word: "Accepted", Class: "quiet"}
	case mfpgate.RegistrationRequestingCode:
		return look{Sign: "◔", Word: "Asking the print service", Class: "quiet"}
	case mfpgate.RegistrationAwaitingAdmin:
		switch {
		case !v.administrator():
			return look{Sign: "◑", Word: "Waiting for the administrator", Class: "quiet"}
		case r.Local:
			return look{Sign: "▲", Word: "Needs your decision", Class: "warn"}
		}
		return look{Sign: "◑", Word: "Waiting for approval", Class: "quiet"}
	case mfpgate.RegistrationAwaitingDevice:
		return look{Sign: "◑", Word: "The printer does it itself", Class: "quiet"}
	case mfpgate.RegistrationRedeeming:
		return look{Sign: "◑", Word: "Asking whether it was approved", Class: "quiet"}
	case mfpgate.RegistrationCertifying:
		return look{Sign: "◕", Word: "Approved, being set up", Class: "quiet"}
	case mfpgate.RegistrationRegistered:
		if userWaits(r) {
			return look{Sign: "▲", Word: "Registered, not ready to print yet", Class: "warn"}
		}
		return look{Sign: "✓", Word: "Ready to print", Class: "good"}
	case mfpgate.RegistrationFailed:
		return look{Sign: "✕", Word: "Failed", Class: "bad"}
	case mfpgate.RegistrationCancelled:
		return look{Sign: "–", Word: "Cancelled", Class: "quiet"}
	}
	return look{Sign: "·", Word: string(r.State), Class: "quiet"}
}

// whyOf is why a registration stands, failed or waits, and what to do. A user is not told the administrator's address.
func whyOf(r mfpgate.Registration, v visitor) string {
	text := r.Detail
	if !v.administrator() && r.Reason == approval.Unreached {
		text, _, _ = strings.Cut(text, " (") // what the network said is for administrators
	}
	if !v.administrator() && r.Admin != "" {
		text = strings.ReplaceAll(text, r.Admin, "the administrator")
	}
	return sentence(text)
}

// nowWords says what happens now, or what came of it.
func nowWords(r mfpgate.Registration, v visitor) string {
	allow := r.Purpose == mfpgate.PurposeAllowUser
	switch r.State {
	case mfpgate.RegistrationRequested:
		return "The gateway has written the request down, and will begin with it soon."
	case mfpgate.RegistrationRequestingCode:
		return "The gateway asks the print service for a code, with which the administrator approves."
	case mfpgate.RegistrationAwaitingAdmin:
		switch {
		case decidable(r) && v.administrator():
			return "The print service asks nobody. Compare the facts below, and decide whether this user may print here."
		case decidable(r):
			return "An administrator of this gateway decides."
		case r.Mode == mfpgate.RegistrationAgent:
			return "The printer has asked " + who(r, v) + ", and waits."
		case v.administrator():
			return "The code below must be typed at the print service, by somebody who may approve there."
		}
		return "The administrator has to approve. You need not keep this page open."
	case mfpgate.RegistrationAwaitingDevice:
		return "The printer asks the print service and the administrator itself, and will report what came of it."
	case mfpgate.RegistrationRedeeming:
		return "The gateway asks the print service what the administrator decided."
	case mfpgate.RegistrationCertifying:
		if allow {
			return "The administrator has approved. The print service lets the user in."
		}
		return "The administrator has approved. The print service enters the printer."
	case mfpgate.RegistrationRegistered:
		if userWaits(r) {
			return printName(r.Device) + " is in " + r.Service + " now. " + r.User + " cannot print on it before that is done."
		}
		return r.User + " can print on " + printName(r.Device) + " by " + r.Service + " now."
	case mfpgate.RegistrationFailed:
		if allow {
			return "The user was not let in."
		}
		return "The printer was not added."
	case mfpgate.RegistrationCancelled:
		return "The request was taken back."
	}
	return ""
}

// who was asked: his address is for administrators.
func who(r mfpgate.Registration, v visitor) string {
	if v.administrator() && r.Admin != "" {
		return r.Admin
	}
	return "the administrator"
}

// askedWords says who was asked, and how.
func askedWords(r mfpgate.Registration, v visitor, when func(time.Time) moment) string {
	switch {
	case r.Mode == mfpgate.RegistrationAgent: // what happens now says so
		return ""
	case r.Mails == 1:
		return fmt.Sprintf("A letter went to %s at %s.", who(r, v), when(r.MailedAt).Text)
	case r.Mails > 1:
		return fmt.Sprintf("%s letters went to %s, the last at %s.", count(r.Mails), who(r, v), when(r.MailedAt).Text)
	case r.State != mfpgate.RegistrationAwaitingAdmin: // there is no code yet, or no need of one any more
		return ""
	case r.Admin == "" && v.administrator():
		return "Nobody is mailed: no administrator's address is configured for this printer."
	case r.Admin == "":
		return "The administrators see it on their page."
	}
	return "A letter to " + who(r, v) + " is on its way."
}

// step is one of the way that a registration takes.
type step struct {
	Word  string
	State string // done, now, next or bad
	Sign  string
	Said  string // what the sign says
	Time  moment
	Note  string // more of it
	Last  bool   // after it there is no way back
}

func newStep(word, state string) step {
	s := step{Word: word, State: state}
	switch state {
	case "done":
		s.Sign, s.Said = "✓", "done"
	case "now":
		s.Sign, s.Said = "●", "now"
	case "bad":
		s.Sign, s.Said = "✕", "ended here"
	default:
		s.Sign, s.Said = "○", "to come"
	}
	return s
}

// asksNobody reports whether the print service gives no code, as far as that shows.
func asksNobody(r mfpgate.Registration) bool {
	approved := r.State == mfpgate.RegistrationCertifying || r.State == mfpgate.RegistrationRegistered
	return r.Mode != mfpgate.RegistrationAgent && (r.Local || r.Attempt == 0 && approved)
}

// stepsOf is the way of r, and how far it is. Of one that has ended badly only what has certainly happened is shown.
func stepsOf(r mfpgate.Registration) []step {
	words, states := []string{"Asked for", "The print service gives a code", "The administrator approves", "The print service enters the printer", "Ready to print"},
		[]mfpgate.RegistrationState{mfpgate.RegistrationRequested, mfpgate.RegistrationRequestingCode, mfpgate.RegistrationAwaitingAdmin, mfpgate.RegistrationCertifying, mfpgate.RegistrationRegistered}
	if r.Purpose == mfpgate.PurposeAllowUser {
		words[3] = "The print service lets the user in"
	}
	if r.Mode == mfpgate.RegistrationAgent {
		words, states = []string{"Asked for", "The printer takes the request", "The administrator approves", "Ready to print"},
			[]mfpgate.RegistrationState{mfpgate.RegistrationRequested, mfpgate.RegistrationAwaitingDevice, mfpgate.RegistrationAwaitingAdmin, mfpgate.RegistrationRegistered}
	}
	if asksNobody(r) {
		words, states = slices.Delete(words, 1, 2), slices.Delete(states, 1, 2)
		words[1] = "An administrator of this gateway approves"
	}
	if r.State == mfpgate.RegistrationFailed || r.State == mfpgate.RegistrationCancelled {
		steps := []step{newStep(words[0], "done")}
		if r.Attempt > 0 {
			steps = append(steps, newStep("The print service gave a code", "done"))
		}
		return append(steps, newStep(registrationLook(r, visitor{}).Word, "bad"))
	}
	if userWaits(r) {
		words[len(words)-1] = "Registered"
	}
	at := 0
	for i, s := range states {
		if s == r.State || s == mfpgate.RegistrationAwaitingAdmin && r.State == mfpgate.RegistrationRedeeming {
			at = i
		}
	}
	var steps []step
	for i, word := range words {
		state := "next"
		switch {
		case i < at || i == 0 || r.State == mfpgate.RegistrationRegistered:
			state = "done"
		case i == at:
			state = "now"
		}
		steps = append(steps, newStep(word, state))
	}
	return steps
}
