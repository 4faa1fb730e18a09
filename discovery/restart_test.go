package discovery_test

import (
	"context"
	"testing"
	"time"
)

func TestTheLastConnectionOutlivesARestart(t *testing.T) {
	s := newSite(t)
	r, stop := s.open(static)
	id, _, _ := r.Identify(copierAt, "")
	r.Sweep()
	if err := r.Rename(context.Background(), id, "Lobby"); err != nil { // which stores what is queued
		t.Fatal(err)
	}
	for range 30 { // a device that comes every minute is never silent for as long as a write is put off
		s.clock.Advance(time.Minute)
		r.Identify(copierAt, "")
		r.Sweep()
	}
	want := s.clock.Now()
	stop()
	s.clock.Advance(time.Minute)
	r, stop = s.open(static)
	defer stop()
	got := r.Details()[0]
	if !got.Device.LastSeen.Equal(want) || got.Device.State != "online" {
		t.Errorf("after a restart it was seen at %s and is %s %s, want %s and online", got.Device.LastSeen, got.Device.State, got.Device.Reason, want)
	}
}
