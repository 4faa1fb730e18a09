package print

import (
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/throttle"
)

// wrongCodes bound how many codes are tried: with 1000 codes open and 60 tries a minute, somebody hits one of them in a quarter
// of an hour with a chance of 3.5e-5. Only administrators get to try at all.
type wrongCodes struct{ account, source, all *throttle.Throttle }

func newWrongCodes(clock mfpgate.Clock) wrongCodes {
	return wrongCodes{throttle.New(clock, 5, time.Minute), throttle.New(clock, 15, 15*time.Second), throttle.New(clock, 60, time.Second)}
}

// take takes one of each, or none and says how long to wait.
func (w wrongCodes) take(account, source string) time.Duration {
	for i, b := range []struct {
		*throttle.Throttle
		key string
	}{{w.account, account}, {w.source, source}, {w.all, ""}} {
		if wait := b.Take(b.key); wait > 0 {
			if i > 0 {
				w.account.GiveBack(account)
			}
			if i > 1 {
				w.source.GiveBack(source)
			}
			return wait
		}
	}
	return 0
}

// give puts back what was taken for a code that is one.
func (w wrongCodes) give(account, source string) {
	w.account.GiveBack(account)
	w.source.GiveBack(source)
	w.all.GiveBack("")
}
