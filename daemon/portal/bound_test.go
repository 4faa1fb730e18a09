package portal

import (
	"fmt"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/fakeclock"
)

// TestSessionsAreBounded looks inside: the bound cannot be seen from outside.
func TestSessionsAreBounded(t *testing.T) {
	clock := fakeclock.New(time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC))
	s, _ := newSessions(clock)
	for i := range maxSessions + 10 {
		clock.Advance(time.Millisecond)
		if err := s.Commit(fmt.Sprint(i), nil, time.Time{}); err != nil {
			t.Fatal(err)
		}
		s.touch("0")
	}
	if len(s.byToken) != maxSessions {
		t.Errorf("holds %d, want %d", len(s.byToken), maxSessions)
	}
	for token, want := range map[string]bool{"0": true, "1": false, fmt.Sprint(maxSessions + 9): true} {
		if _, found, err := s.Find(token); found != want || err != nil {
			t.Errorf("session %s: found is %v, want %v; %v", token, found, want, err)
		}
	}
}
