package approval

import (
	"context"
	"fmt"
	"testing"

	"github.com/mfpgate/mfpgate"
)

// TestASlowReaderIsToldToLookAtAll holds what Changes promises of a reader that falls behind, and what it keeps for it.
func TestASlowReaderIsToldToLookAtAll(t *testing.T) {
	v := newView()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	change := func(n int) {
		v.put(&record{Registration: mfpgate.Registration{ID: fmt.Sprint("reg_", n), State: mfpgate.RegistrationRequested}})
	}
	var seen []string
	for id := range v.changes(ctx) {
		seen = append(seen, id)
		switch len(seen) {
		case 1: // it is slow now
			change(1)
			change(1)
		case 2:
			for n := range maxMissed + 1 {
				change(n)
			}
			for r := range v.readers {
				if len(r.missed) > maxMissed {
					t.Errorf("%d ids are kept", len(r.missed))
				}
			}
		case 3:
			change(7)
		case 4:
			cancel()
		}
	}
	if want := []string{"", "reg_1", "", "reg_7"}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("it was told %q, want %q", seen, want)
	}
	if len(v.readers) != 0 || v.open() != maxMissed+1 {
		t.Errorf("%d readers are left, %d are open", len(v.readers), v.open())
	}
}
