package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func TestWhatSchedulePrints(t *testing.T) {
	c := commands(t, portaltest.Scheduled())
	show := c.good("schedule", "show")
	golden(t, "schedule.txt", show)
	if short := c.good("schedule"); short != show {
		t.Errorf("schedule alone differs from show:\n%s", short)
	}
	golden(t, "schedule-overloads.txt", c.good("schedule", "overloads"))
	golden(t, "schedule-propose.txt", c.good("schedule", "propose"))
	if out, named := c.good("schedule", "apply"), c.good("schedule", "apply", "prop_1"); out != named {
		t.Errorf("apply without a name differs:\n%s", out)
	}
	golden(t, "schedule-idle.txt", commands(t, portaltest.Idle()).good("schedule", "show"))

	var s control.Schedule
	if err := json.Unmarshal([]byte(c.good("schedule", "--json")), &s); err != nil || s.ProposalID != "prop_1" {
		t.Errorf("%+v, %v", s, err)
	}
	var bands struct{ Items []api.Band }
	if err := json.Unmarshal([]byte(c.good("schedule", "overloads", "--json")), &bands); err != nil || len(bands.Items) != 2 {
		t.Errorf("%+v, %v", bands, err)
	}
	var p control.Proposal
	if err := json.Unmarshal([]byte(c.good("schedule", "propose", "--json")), &p); err != nil || len(p.Changes) != 5 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestHowScheduleFails(t *testing.T) {
	g := portaltest.Scheduled()
	c := commands(t, g)
	for _, e := range []struct {
		rule string
		args []string
		code int
		says string
	}{
		{"another proposal than the present one", []string{"schedule", "apply", "prop_0"}, refused, "no such open proposal: prop_0"},
		{"two proposals", []string{"schedule", "apply", "a", "b"}, usage, "accepts at most 1 arg"},
		{"an argument to show", []string{"schedule", "show", "x"}, usage, "unknown command"},
	} {
		if code, out, errs := c.run(e.args...); code != e.code || out != "" || !strings.Contains(errs, e.says) {
			t.Errorf("%s: exit code %d, want %d\n%s%s", e.rule, code, e.code, out, errs)
		}
	}
	g.ChangeFails = fmt.Errorf("%w: there is no new start to propose", control.ErrSchedule)
	if code, _, errs := c.run("schedule", "propose"); code != refused || !strings.Contains(errs, "there is no new start to propose") {
		t.Errorf("nothing to propose: %d %s", code, errs)
	}
	if code, _, errs := commands(t, portaltest.Idle()).run("schedule", "apply"); code != refused || !strings.Contains(errs, "make one with `mfpgate schedule propose`") {
		t.Errorf("no proposal: %d %s", code, errs)
	}
	if code, _, errs := (command{t, "/nonexistent/socket"}).run("schedule"); code != unreachable {
		t.Errorf("no daemon: %d %s", code, errs)
	}
}
