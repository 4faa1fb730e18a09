package print

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// facts are what an administrator decides on.
type facts struct {
	Code    codeRecord
	Typed   string         // the user code
	Printer *printerRecord // what the device is entered as already, or nil
}

// find looks a typed code up. Wrong ones are counted before anything is looked at.
func (s *Service) find(ctx context.Context, typed, administrator, source string) (facts, error) {
	if wait := s.wrong.take(administrator, source); wait > 0 {
		return facts{}, refuse(http.StatusTooManyRequests, ReasonThrottled, "Too many wrong codes were typed. Wait, and type the code from the letter.").after(wait)
	}
	code, ok := typedCode(typed)
	if !ok {
		return facts{}, refuse(http.StatusUnprocessableEntity, ReasonCode, "A code has eight letters, like BCDF-GHJK. Type the one from the letter.")
	}
	var f facts
	err := s.Store.View(ctx, func(at store.Snapshot) error {
		hash, there, err := get[string](at, userCodeKey(s.userHash(code)))
		if err != nil {
			return err
		}
		if there {
			f.Code, there, err = get[codeRecord](at, codeKey(hash))
		}
		if err == nil && !there {
			return refuse(http.StatusUnprocessableEntity, ReasonCode, "No request has this code. Type the one from the letter; if it is old, a newer letter has another one.")
		}
		if err == nil {
			f.Printer, err = printerOf(at, f.Code.Asked)
		}
		return err
	})
	if err != nil {
		return facts{}, err
	}
	s.wrong.give(administrator, source) // this one was right; those before it stay counted
	f.Typed = code
	return f, f.Code.undecided(s.Clock.Now())
}

// undecided refuses a code that nothing is left to decide of.
func (c codeRecord) undecided(now time.Time) error {
	switch {
	case c.State == codeDenied:
		return refuse(http.StatusConflict, ReasonDecided, "This request was denied by "+c.DecidedBy+". Nothing is left to do.")
	case c.State != codePending:
		return refuse(http.StatusConflict, ReasonDecided, "This request was approved by "+c.DecidedBy+". Nothing is left to do.")
	case c.expired(now):
		return refuse(http.StatusGone, ReasonExpired, "This code has expired, and nothing was approved. Whoever asked gets a new code and sends you another letter.")
	}
	return nil
}

// decide is the administrator's word on a code: the first one counts, and the same again is no other.
func (s *Service) decide(ctx context.Context, hash, administrator string, approve bool, allowed []string) error {
	if len(allowed) > maxChosen {
		return refuse(http.StatusUnprocessableEntity, ReasonTooMany, "At most 15 users can be allowed at once. Allow the others afterwards.")
	}
	if approve && len(allowed) == 0 {
		return refuse(http.StatusUnprocessableEntity, ReasonChoice, "Choose at least one user who may print on the device.")
	}
	err := s.update(ctx, func(tx store.Tx) error {
		c, there, err := get[codeRecord](tx, codeKey(hash))
		if err != nil {
			return err
		}
		if !there {
			return refuse(http.StatusGone, ReasonExpired, "This code has expired, and nothing was approved.")
		}
		now := s.Clock.Now().UTC()
		wanted, action := codeDenied, "code.denied"
		if approve {
			wanted, action = codeApproved, "code.approved"
		}
		if c.DecidedBy == administrator && (c.State == wanted || approve && c.State == codeConsumed) && (!approve || slices.Equal(c.Allowed, allowed)) {
			return nil // the form was sent twice
		}
		if err := c.undecided(now); err != nil {
			return err
		}
		c.State, c.DecidedBy, c.DecidedAt = wanted, administrator, &now
		if approve {
			c.Allowed = allowed
		}
		after, err := json.Marshal(map[string]any{"device": c.Asked, "allowed": c.Allowed, "client": c.Client, "from": c.From})
		if err != nil {
			return err
		}
		return errors.Join(store.SetJSON(tx, codeKey(hash), c),
			s.journal.Audit(tx, journal.Entry{Actor: administrator, Action: action, Object: c.ID, After: after}))
	})
	if err != nil {
		return err
	}
	s.polls.drop(hash)
	s.streams.changed(hash)
	return nil
}
