package rig

import (
	"testing"
	"time"
)

// Deadline is what no wait on a working gateway meets, on two busy cores with the race detector.
const Deadline = 30 * time.Second

// Until waits for a state that nothing announces; what names it.
func Until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	late := time.NewTimer(Deadline)
	defer late.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !reached() {
		select {
		case <-again.C:
		case <-late.C:
			t.Fatalf("after %v still not: %s", Deadline, what)
		}
	}
}

// Wait waits for a channel to be closed or to give a value.
func Wait[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	late := time.NewTimer(Deadline)
	defer late.Stop()
	select {
	case v := <-c:
		return v
	case <-late.C:
		t.Fatalf("after %v still not: %s", Deadline, what)
		panic("not reached")
	}
}
