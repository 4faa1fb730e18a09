package reports_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate/tests/rig"
)

// TestEachReportArrivesOnce kills the gateway again and again: when a batch is on its way, when the region has it and the answer
// is lost, when the answer is there and may not be noted, and at any time. Conditions begin before each start and stay.
func TestEachReportArrivesOnce(t *testing.T) {
	const printers = 3
	s := newSite(t, printers)
	dir := rig.Dir(t)
	config := s.config(t, dir, "g-1", printers, "1s")
	cloud := s.cloud(t, "g-1")

	g := rig.StartIn(t, dir, config)
	rig.Until(t, "all devices are told", func() bool { return len(devices(t, cloud)) == printers && len(known(t, g)) == printers })
	ids := known(t, g)
	if code, _, stderr := rig.Run(t, "devices", "rename", string(ids["SER0000"].ID), "front desk", "--socket", g.Socket); code != 0 {
		t.Fatal(stderr)
	}
	g.Kill(t) // what an administrator was told is done is done

	steps := []string{"PUT devices/arriving", "PUT devices/taken", "POST alerts/arriving", "POST alerts/taken", "POST alerts/answered",
		"POST telemetry/arriving", "POST telemetry/taken", "POST telemetry/answered", "any", "any", "any", "any"}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var reasons []string
	for n, step := range steps {
		reasons = append(reasons, fmt.Sprintf("x-trouble-%d-warning", n))
		for _, p := range s.printers {
			p.SetReasons(reasons...)
		}
		if n < 2 { // something to be told of devices
			s.printers[1].SetFirmware(fmt.Sprintf("2.%d", n))
		}
		g := rig.Launch(t, dir, config)
		kill := sync.OnceFunc(func() { g.Signal(t, syscall.SIGKILL) })
		s.when(func(kind string, _ http.ResponseWriter, forward func() func()) {
			if step == kind+"/arriving" {
				kill()
			}
			answer := forward()
			if step == kind+"/taken" {
				kill()
			}
			answer()
			if step == kind+"/answered" {
				kill()
			}
		})
		var after *time.Timer
		if step == "any" {
			after = time.AfterFunc(time.Duration(random.IntN(700))*time.Millisecond, kill)
		}
		if code, stderr := g.Exit(t); code != -1 {
			t.Fatalf("step %s: the gateway ended by itself with %d: %s", step, code, stderr)
		}
		if after != nil {
			after.Stop()
		}
		s.when(nil)
	}

	g = rig.StartIn(t, dir, config)
	begun := len(steps) * printers
	rig.Until(t, "every begin is told", func() bool { return len(alerts(t, cloud)) >= begun })
	for _, p := range s.printers {
		p.SetReasons()
	}
	rig.Until(t, "every end is told", func() bool { return len(alerts(t, cloud)) >= 2*begun })
	got, seen, times := map[string]int{}, map[string]bool{}, map[string]time.Time{}
	for _, a := range alerts(t, cloud) {
		got[fmt.Sprintf("%s %s %v", a.DeviceID, a.Code, a.Cleared)]++
		if seen[a.AlertID] {
			t.Errorf("alert %s is there twice", a.AlertID)
		}
		seen[a.AlertID] = true
		if a.At.Before(times[a.DeviceID]) {
			t.Errorf("alert %s of %s is older than the one before it", a.AlertID, a.DeviceID)
		}
		times[a.DeviceID] = a.At
	}
	now := known(t, g)
	for serial, before := range ids {
		if now[serial].ID != before.ID {
			t.Errorf("%s was %s, and is %s", serial, before.ID, now[serial].ID)
		}
		for n := range steps {
			for _, cleared := range []bool{false, true} {
				what := fmt.Sprintf("%s x-trouble-%d %v", before.ID, n, cleared)
				if got[what] != 1 {
					t.Errorf("%s arrived %d times", what, got[what])
				}
				delete(got, what)
			}
		}
	}
	if len(got) > 0 {
		t.Errorf("besides: %v", got)
	}
	if name := now["SER0000"].Name; name != "front desk" {
		t.Errorf("the name given is %q", name)
	}
	g.Stop(t)

	// Nothing has changed: a restart tells nothing again. The first may tell what was on its way at the stop.
	again := 0
	for range 2 {
		puts, contracts, answered := s.count("PUT devices"), s.count("GET contract"), s.printers[0].Stats().IPP
		g = rig.StartIn(t, dir, config)
		rig.Until(t, "it is at work", func() bool { return s.count("GET contract") > contracts && s.printers[0].Stats().IPP > answered+6 })
		g.Stop(t)
		again = s.count("PUT devices") - puts
	}
	if again > 0 {
		t.Errorf("%d devices were told again", again)
	}
}
