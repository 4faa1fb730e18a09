package mfp

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/mfpgate/mfpgate/cloud/api"
)

// tally counts what became of a device's requests, by outcome. A request that is made once more because the first had no answer, or
// was told to come again, is counted once, under what it came to.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	failed map[string]int // tries in a row that brought no answer of substance, by method and path
}

// The outcomes; refused and blocked have a status or the relay's reason behind them.
const (
	tallyAnswered = "answered" // at once
	tallyRetried  = "retried"  // at the first retry
	tallyLate     = "late"     // at a later one
	tallyMoved    = "moved"    // by services that say that another region has the device
	tallySilent   = "silent"   // a retry had no answer either, or not within the device's patience
	tallyRefused  = "refused "
	tallyBlocked  = "blocked " // by the relay, with a reason of regions
)

// note takes the outcome of one try.
func (t *tally) note(method, path string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts, t.failed = map[string]int{}, map[string]int{}
	}
	if method == http.MethodPut { // a device has one item in hand at a time
		path, _, _ = strings.Cut(path, "/data/")
	}
	what := method + " " + path
	var r *Refusal
	switch {
	case err == nil, errors.As(err, &r) && !r.Relay && r.Status == http.StatusNotFound && path == api.DirectivePath:
		t.counts[[]string{tallyAnswered, tallyRetried, tallyLate}[min(t.failed[what], 2)]]++
	case r == nil:
		if t.failed[what]++; t.failed[what] > 1 {
			t.counts[tallySilent]++
		}
		return
	case r.passing():
		t.failed[what]++
		return
	case r.Relay && r.Status == http.StatusForbidden && reasonOf(r.Detail) != "":
		t.counts[tallyBlocked+reasonOf(r.Detail)]++
	case r.Status == http.StatusMisdirectedRequest || r.Reason == api.Moved, r.Reason == api.NotRegistered, r.Reason == "registered-elsewhere":
		t.counts[tallyMoved]++
	default:
		t.counts[tallyRefused+http.StatusText(r.Status)]++
	}
	delete(t.failed, what)
}

// reasonOf is the reason of regions that a Proxy-Status has.
func reasonOf(detail string) string {
	for _, reason := range blocked {
		if strings.Contains(detail, string(reason)) {
			return string(reason)
		}
	}
	return ""
}

func (t *tally) event() Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Event{Kind: Tallied, Counts: t.counts, Text: "was answered as its counts say"}
}
