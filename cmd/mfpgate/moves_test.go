package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

func TestWhatMovesPrints(t *testing.T) {
	g := portaltest.Moving()
	c := commands(t, g)
	list := c.good("moves")
	golden(t, "moves.txt", list)
	for _, text := range []string{list, c.good("moves", "residences")} {
		for line := range strings.Lines(text) {
			if n := width(strings.TrimSuffix(line, "\n")); n > tableWidth && strings.HasPrefix(text, "DEVICE") && !strings.HasPrefix(line, "  ") {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
	if again := c.good("moves", "list"); again != list {
		t.Errorf("list differs:\n%s", again)
	}
	for _, id := range []string{"mov_done", "mov_copy", "mov_stuck", "mov_hostile"} {
		golden(t, "move-"+strings.TrimPrefix(id, "mov_")+".txt", c.good("moves", "status", id))
	}
	golden(t, "residences.txt", c.good("moves", "residences"))
	golden(t, "move-plan.txt", c.good("moves", "plan", "dev_5", "--data", "=leave", "--data", "settings=reset"))

	var items struct{ Items []mfpgate.Move }
	if err := json.Unmarshal([]byte(c.good("moves", "list", "--open", "--json")), &items); err != nil || len(items.Items) != 6 {
		t.Errorf("%d open, %v", len(items.Items), err)
	}
	var one mfpgate.Move
	if err := json.Unmarshal([]byte(c.good("moves", "status", "mov_copy", "--json")), &one); err != nil || one.Step != mfpgate.StepCopy {
		t.Errorf("%v %+v", err, one)
	}
	var homes struct{ Items []mfpgate.Residence }
	if err := json.Unmarshal([]byte(c.good("moves", "residences", "--json")), &homes); err != nil || len(homes.Items) != len(g.ResidencesAre) {
		t.Errorf("%d residences, %v", len(homes.Items), err)
	}
	if rows, err := csv.NewReader(strings.NewReader(c.good("moves", "residences", "--csv"))).ReadAll(); err != nil || rows[0][0] != "deviceId" {
		t.Errorf("%v %v", rows, err)
	}
	if text := commands(t, portaltest.Idle()).good("moves", "--open", "--json"); text != `{"items":[]}`+"\n" {
		t.Errorf("none: %s", text)
	}
}

func TestAPlanIsStartedAsItWasShown(t *testing.T) {
	g := portaltest.Moving()
	c := commands(t, g)
	var plan mfpgate.MovePlan
	if err := json.Unmarshal([]byte(c.good("moves", "plan", "dev_5", "--to", "jp", "--data", "billing=leave", "--json")), &plan); err != nil {
		t.Fatal(err)
	}
	// The hint is what is to be typed: the same flags again, or it would be another plan.
	out := c.good("moves", "plan", "dev_5", "--to", "jp", "--data", "billing=leave")
	want := "mfpgate moves start dev_5 --plan " + plan.Hash + " --to jp --data billing=leave`"
	if !strings.Contains(out, want) {
		t.Errorf("it does not say how to begin:\n%s", out)
	}
	if code, _, errs := c.run("moves", "start", "dev_5", "--plan", plan.Hash); code != refused || !strings.Contains(errs, "the plan has changed since it was shown") {
		t.Errorf("other data than the plan's: %d %s", code, errs)
	}
	out = c.good("moves", "start", "dev_5", "--plan", plan.Hash, "--to", "jp", "--data", "billing=leave")
	if out != "mov_new1: open, check\nhint: `mfpgate moves status mov_new1` shows how far it is\n" {
		t.Errorf("%s", out)
	}
	started := []mfpgate.MoveRequest{{Device: "dev_5", To: "jp", Data: map[string]mfpgate.DataPolicy{"billing": "leave"}, Plan: plan.Hash}}
	if diff := cmp.Diff(started, g.StartsWere); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Two moves are two requests; a script that asks again with its own key gets the move that it has.
	g.StartsWere = nil
	begin := []string{"moves", "start", "dev_5", "--plan", plan.Hash, "--to", "jp", "--data", "billing=leave", "--json"}
	if c.good(begin...) == c.good(begin...) {
		t.Error("two commands have the same key")
	}
	begin = append(begin, "--key", "nightly-7")
	if c.good(begin...) != c.good(begin...) || len(g.StartsWere) != 3 {
		t.Errorf("%d moves were begun, want 3: the last two commands have the same key", len(g.StartsWere))
	}
	code, out, _ := c.run("moves", "plan", "dev_4")
	if code != refused || !strings.Contains(out, "CANNOT BE MADE (service-not-offered)") || strings.Contains(out, "moves start") {
		t.Errorf("a plan that cannot be carried out: %d\n%s", code, out)
	}
	if code, out, _ := c.run("moves", "plan", "dev_4", "--json"); code != refused || !strings.Contains(out, `"blockers":[{"reason":"service-not-offered"`) {
		t.Errorf("its JSON: %d\n%s", code, out)
	}
}

func TestWhatIsDoneToMoves(t *testing.T) {
	g := portaltest.Moving()
	c := commands(t, g)
	for _, each := range []struct{ verb, id, says string }{
		{"abort", "mov_copy", "mov_copy: compensating, abort: "},
		{"retry", "mov_switch", "mov_switch: committed, switch: "},
		{"confirm-lost", "mov_stuck", "mov_stuck: committed, delete: "},
	} {
		if out := c.good("moves", each.verb, each.id); !strings.HasPrefix(out, each.says) {
			t.Errorf("%s: %s", each.verb, out)
		}
		if each.verb == "retry" {
			var m mfpgate.Move
			if err := json.Unmarshal([]byte(c.good("moves", each.verb, each.id, "--json")), &m); err != nil || string(m.ID) != each.id {
				t.Errorf("%s: %v %+v", each.verb, err, m)
			}
		}
	}
	if out := c.good("moves", "enrol", "dev_4"); !strings.HasPrefix(out, "dev_4: registered here as r1.de.1.") || !strings.Contains(out, "hint: its data are in de; `mfpgate moves plan dev_4`") {
		t.Errorf("%s", out)
	}
}

func TestHowMovesFail(t *testing.T) {
	g := portaltest.Moving()
	c := commands(t, g)
	check := func(rule string, code int, says string, args ...string) {
		t.Helper()
		if got, _, errs := c.run(args...); got != code || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d, want %d\n%s", rule, got, code, errs)
		}
	}
	check("an id that is none", usage, "is no move's id", "moves", "status", "../devices")
	check("an id that nothing has", refused, "there is no such move", "moves", "status", "mov_0")
	check("a device that is not there", refused, "no device has the id or the name", "moves", "plan", "dev_0")
	check("data that are none", usage, "--data takes a class once", "moves", "plan", "dev_5", "--data", "billing")
	check("an abort that comes too late", refused, "the move is committed", "moves", "abort", "mov_switch")
	g.ChangeFails = fmt.Errorf("%w: %w: it does not answer", control.ErrMove, control.ErrAway)
	check("a cloud that is away", refused, "it does not answer", "moves", "retry", "mov_copy")
	if code, _, errs := (command{t, "/nonexistent/socket"}).run("moves"); code != unreachable {
		t.Errorf("no daemon: %d %s", code, errs)
	}
}

func TestAMoveIsFollowedByTheCommand(t *testing.T) {
	for _, c := range []struct {
		rule string
		end  mfpgate.MoveState
		code int
		says string
	}{
		{"to its good end", mfpgate.MoveDone, done, "mov_new1\n14:32:10  open, check\n14:33:10  done\n"},
		{"to one that was taken back", mfpgate.MoveRolledBack, refused, "mov_new1\n14:32:10  open, check\n14:33:10  rolled_back\n"},
	} {
		f := &ending{portaltest.Moving(), c.end}
		cmd := commands(t, f)
		var plan mfpgate.MovePlan
		if err := json.Unmarshal([]byte(cmd.good("moves", "plan", "dev_5", "--json")), &plan); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := cmd.run("moves", "start", "dev_5", "--plan", plan.Hash, "--wait"); code != c.code || out != c.says || errs != "" {
			t.Errorf("%s: %d\n%s%s", c.rule, code, out, errs)
		}
	}
}

// ending is a gateway whose new move ends as soon as it has been seen.
type ending struct {
	*portaltest.Gateway
	state mfpgate.MoveState
}

func (e *ending) Move(ctx context.Context, id mfpgate.MoveID) (mfpgate.Move, error) {
	m, err := e.Gateway.Move(ctx, id)
	if e.Listeners() > 0 && err == nil && m.State == mfpgate.MoveOpen {
		e.ChangeMove(id, func(m *mfpgate.Move) { m.State, m.Since = e.state, portaltest.Now.Add(time.Minute) })
	}
	return m, err
}
