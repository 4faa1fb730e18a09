package portal_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func schedulePage(t *testing.T, g *portaltest.Gateway) string {
	t.Helper()
	d := newDoor(t, g)
	d.enter()
	resp := d.ask(http.MethodGet, "/schedule", "")
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	return text(t, resp)
}

func TestTheSchedule(t *testing.T) {
	page := schedulePage(t, portaltest.Scheduled())
	if strings.Contains(page, portaltest.Hostile) {
		t.Error("a text from outside is markup")
	}
	golden(t, "schedule.html", page)
	golden(t, "schedule-idle.html", schedulePage(t, portaltest.Idle()))
}

func TestTheScheduleNeedsALogin(t *testing.T) {
	d := newDoor(t, portaltest.Scheduled())
	if resp := d.ask(http.MethodGet, "/schedule", ""); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/login?next=%2Fschedule" {
		t.Errorf("%s to %s", resp.Status, resp.Header.Get("Location"))
	}
}

func TestTheScheduleSaysHowItStands(t *testing.T) {
	band := api.Band{Certainty: "certain", Text: "x"}
	for _, c := range []struct {
		rule   string
		change func(*portaltest.Gateway)
		want   []string
	}{
		{"no overload", func(g *portaltest.Gateway) {
			g.ScheduleIs.Bands, g.ScheduleIs.BandsAfter, g.ProposalIs = nil, nil, control.Proposal{}
		}, []string{"No overload is planned", "Never are more devices planned than can be served.", "Nothing is proposed."}},
		{"never planned", func(g *portaltest.Gateway) { g.ScheduleIs.Planned = time.Time{} }, []string{"No plan was made yet"}},
		{"idle", func(g *portaltest.Gateway) {
			g.ScheduleIs.Idle, g.ScheduleIs.IdleText = "modes-not-told", "the cloud has not acknowledged the devices' modes"
		}, []string{"Nothing to do: the cloud has not acknowledged the devices&#39; modes"}},
		{"all are repaired", func(g *portaltest.Gateway) { g.ScheduleIs.BandsAfter = nil }, []string{"2 overloads planned; the proposal removes all"}},
		{"only reported", func(g *portaltest.Gateway) {
			g.ScheduleIs.Bands, g.ScheduleIs.BandsAfter, g.ScheduleIs.ProposalID = []api.Band{band}, []api.Band{band}, ""
			g.ScheduleIs.Effective, g.ScheduleIs.Why = "notify", "the contract allows no more"
		}, []string{"1 overload planned</p>", "Overloads are reported to the cloud. The contract allows no more."}},
		{"a run that failed", func(g *portaltest.Gateway) { g.ScheduleIs.Error = "deliveries: the cloud is away" }, []string{
			"The last run failed, and the plan before it stays: deliveries: the cloud is away."}},
		{"a proposal that waits", func(g *portaltest.Gateway) { g.ProposalIs.State = control.ProposalWaiting }, []string{"5 new starts will be proposed when the cloud answers."}},
		{"a proposal that was refused", func(g *portaltest.Gateway) {
			g.ProposalIs.State, g.ProposalIs.Refused = control.ProposalRefused, "lead time violated"
		}, []string{"and the cloud did not take them.", "Lead time violated."}},
		{"a proposal that was withdrawn", func(g *portaltest.Gateway) { g.ProposalIs.State = control.ProposalWithdrawn }, []string{"withdrawn because the plan has changed"}},
		{"a proposal that is decided", func(g *portaltest.Gateway) { g.ProposalIs.State = control.ProposalDecided }, []string{"5 new starts proposed, and all decided."}},
		{"no plan", func(g *portaltest.Gateway) { g.LoadIs = nil }, []string{"Nothing was recorded in the last 24 hours. There is no plan for the next 24 hours."}},
		{"a plan within the capacity", func(g *portaltest.Gateway) {
			for i := range g.LoadIs {
				g.LoadIs[i].Planned = new(1)
			}
		}, []string{"Most planned at once in the next 24 hours: 1 of 6, at 14:30:00. The plan stays within the capacity."}},
	} {
		g := portaltest.Scheduled()
		c.change(g)
		page := schedulePage(t, g)
		for _, want := range c.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page does not say %q", c.rule, want)
			}
		}
	}
}

func TestLongListsOfTheScheduleAreCut(t *testing.T) {
	g := portaltest.Scheduled()
	for range 250 {
		g.LeftOutAre = append(g.LeftOutAre, g.LeftOutAre[1])
		g.ProposalIs.Changes = append(g.ProposalIs.Changes, g.ProposalIs.Changes[0])
	}
	page := schedulePage(t, g)
	for _, want := range []string{"and 53 more; /api/v1/schedule/left-out has them all", "and 55 more; /api/v1/schedule/proposal has them all"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestTheOverviewNamesTheSchedule(t *testing.T) {
	const link = `<a href="/schedule">Delivery schedule</a>: `
	g := portaltest.Scheduled()
	d := newDoor(t, g)
	d.enter()
	if page := text(t, d.ask(http.MethodGet, "/", "")); !strings.Contains(page, link+"42 deliveries planned, 2 overloads, the first at 2026-03-04 02:00; next look by 15:17:00") {
		t.Error("the overview does not say what is planned")
	}
	g.ScheduleIs.Idle = mfpgate.Reason("no-contract")
	if page := text(t, d.ask(http.MethodGet, "/", "")); strings.Contains(page, link) {
		t.Error("the overview speaks of a schedule although there is nothing to do")
	}
}
