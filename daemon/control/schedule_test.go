package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
	"github.com/mfpgate/mfpgate/scheduler/plan"
)

func TestTheScheduleOverHTTP(t *testing.T) {
	g := portaltest.Scheduled()
	h := control.Handler(g, "test")
	type call struct {
		rule, method, path, body string
		status                   int
		says                     string
	}
	check := func(calls ...call) {
		t.Helper()
		for _, c := range calls {
			status, body := ask(t, h, c.method, c.path, c.body)
			if status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%s: %d, want %d and %s:\n%s", c.rule, status, c.status, c.says, body)
			}
		}
	}
	check(
		call{"how it stands", "GET", "schedule", "", 200, `{"mode":"propose","effectiveMode":"propose",`},
		call{"the overloads", "GET", "schedule", "", 200, `"bands":[{"bandId":"band_1","from":"2026-03-03T17:00:00Z"`},
		call{"what the plan does not count", "GET", "schedule/left-out", "", 200, `{"items":[{"deliveryId":"dlv_7"`},
		call{"no deliveries are an empty list", "GET", "schedule/deliveries", "", 200, `{"items":[]}`},
		call{"the load", "GET", "schedule/load", "", 200, `"capacity":8,"planned":`},
		call{"the proposal, flat", "GET", "schedule/proposal", "", 200, `"changes":[{"changeId":"chg_0","deliveryId":"dlv_0","from":"2026-03-03T17:00:00Z","to":"2026-03-03T17:30:00Z","moveBy":"PT30M"`},
		call{"propose", "POST", "schedule/propose", "", 200, `"proposalId":"prop_1"`},
		call{"apply", "POST", "schedule/apply", `{"proposalId":"prop_1"}`, 200, `"apply":true`},
		call{"apply another one", "POST", "schedule/apply", `{"proposalId":"prop_0"}`, 409, `"detail":"not done: no such open proposal: prop_0"`},
		call{"apply none", "POST", "schedule/apply", `{}`, 422, `"location":"body"`},
	)
	g.ChangeFails = fmt.Errorf("%w: the contract does not allow it", control.ErrSchedule)
	check(call{"a refusal", "POST", "schedule/propose", "", 409, `"detail":"not done: the contract does not allow it"`})
	g.ChangeFails = errors.New("disk on fire")
	check(call{"a defect", "POST", "schedule/propose", "", 500, `"status":500`})

	h = control.Handler(portaltest.Idle(), "test")
	check(
		call{"lists are never null", "GET", "schedule", "", 200, `"bands":[],"bandsAfter":[]`},
		call{"nor those of a proposal", "GET", "schedule/proposal", "", 200, `"changes":[],"unresolved":[]`},
		call{"the description", "GET", "openapi.json", "", 200, `"operationId":"get-schedule-left-out"`},
	)
}

func TestEveryReasonOfAPlanHasWords(t *testing.T) {
	for _, r := range []mfpgate.Reason{plan.ReasonFinished, plan.ReasonPast, plan.ReasonBeyond, plan.ReasonPolling, plan.ReasonUnknownDevice,
		plan.ReasonNotInContract, plan.ReasonNeverStarts, plan.ReasonNotReadable} {
		if !strings.Contains(control.LeftOutReason(r), " ") {
			t.Errorf("%s has no words", r)
		}
	}
	for _, r := range []mfpgate.Reason{"newer", ""} {
		if text := control.LeftOutReason(r); text != string(r) {
			t.Errorf("%q is said as %q", r, text)
		}
	}
}
