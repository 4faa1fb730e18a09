package control_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/daemon/portal/portaltest"
)

// mover notes who asks for moves, and with which keys.
type mover struct {
	*portaltest.Gateway
	actors, keys []string
}

func (m *mover) StartMove(ctx context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error) {
	m.actors, m.keys = append(m.actors, actor), append(m.keys, key)
	return m.Gateway.StartMove(ctx, r, actor, key)
}

// refusal is an error that brings its reason.
type refusal struct {
	text string
	why  mfpgate.Reason
}

func (r refusal) Error() string       { return r.text }
func (r refusal) Why() mfpgate.Reason { return r.why }

// planOf asks for a plan and returns its hash.
func planOf(t *testing.T, g control.Gateway, body string) mfpgate.MovePlan {
	t.Helper()
	status, text := ask(t, control.Handler(g, "test"), "POST", "moves", body)
	var plan mfpgate.MovePlan
	if err := json.Unmarshal([]byte(text), &plan); err != nil || status != 200 {
		t.Fatalf("plan: %d %v\n%s", status, err, text)
	}
	return plan
}

func TestTheMovesOverHTTP(t *testing.T) {
	g := portaltest.Moving()
	h := control.Handler(g, "test")
	hash := planOf(t, g, `{"deviceId":"dev_5","dryRun":true}`).Hash
	start := `{"deviceId":"dev_5","plan":"` + hash + `"}`
	away := fmt.Errorf("%w: %w: it does not answer; try again later", control.ErrMove, control.ErrAway)
	changed := fmt.Errorf("%w: %w", control.ErrMove, refusal{"The plan has changed; look at it again.", "plan-changed"})
	for _, c := range []struct {
		rule, method, path, body string
		fails                    error
		status                   int
		says                     string
	}{
		{"the list", "GET", "moves", "", nil, 200, `{"items":[{"moveId":"mov_done","gatewayId":"osaka-1",`},
		{"one", "GET", "moves/mov_copy", "", nil, 200, `"state":"open","step":"copy","reason":"region-away"`},
		{"lists are never null", "GET", "moves/mov_check", "", nil, 200, `"steps":[]`},
		{"one that is not there", "GET", "moves/mov_0", "", nil, 404, `"detail":"there is no such move"`},
		{"a plan", "POST", "moves", `{"deviceId":"dev_5","toRegion":"jp","data":{"":"move","billing":"leave"},"dryRun":true}`, nil, 200,
			`{"class":"billing","items":96,"bytes":51200,"policy":"leave"}`},
		{"a policy that is none", "POST", "moves", `{"deviceId":"dev_5","data":{"billing":"burn"},"dryRun":true}`, nil, 422, `"location":"body.data.billing"`},
		{"a region that is none", "POST", "moves", `{"deviceId":"dev_5","toRegion":"JP","dryRun":true}`, nil, 422, `"location":"body.toRegion"`},
		{"a move without a plan", "POST", "moves", `{"deviceId":"dev_5"}`, nil, 422, `ask with dryRun`},
		{"a plan of what nobody knows", "POST", "moves", `{"deviceId":"dev_6","dryRun":true}`, nil, 409, `register it in its own region first`},
		{"a stale plan", "POST", "moves", start, changed, 409, `"type":"https://mfpgate.dev/problems/plan-changed"`},
		{"a cloud that is away", "POST", "moves", start, away, 503, `it does not answer; try again later`},
		{"what cannot be", "POST", "moves", start, fmt.Errorf("%w: %w: no such key", control.ErrMove, control.ErrUnfit), 422, `no such key`},
		{"a defect", "POST", "moves", start, errors.New("disk on fire"), 500, `"status":500`},
		{"a move", "POST", "moves", start, nil, 201, `"state":"open","step":"check"`},
		{"abort", "POST", "moves/mov_copy/abort", "", nil, 200, `"state":"compensating"`},
		{"abort after the commit", "POST", "moves/mov_switch/abort", "", nil, 409, `the move is committed`},
		{"retry", "POST", "moves/mov_switch/retry", "", nil, 200, `"moveId":"mov_switch"`},
		{"retry what is not there", "POST", "moves/mov_0/retry", "", nil, 404, `there is no such move`},
		{"confirm that a device is lost", "POST", "moves/mov_stuck/confirm-lost", "", nil, 200, `"lost":true`},
		{"events of what is not there", "GET", "moves/mov_0/events", "", nil, 404, `there is no such move`},
		{"where data are", "GET", "residences", "", nil, 200, `{"items":[{"deviceId":"dev_1",`},
		{"of a device that no region knows", "GET", "residences", "", nil, 200, `"services":[],"data":[],"receipts":[],"moveId":""`},
		{"enrol", "POST", "residences/dev_3/enrol", "", nil, 200, `"state":"foreign"`},
		{"enrol what is not there", "POST", "residences/dev_0/enrol", "", fmt.Errorf("%w: dev_0", control.ErrNoDevice), 404, `no such device`},
		{"enrol what no region knows", "POST", "residences/dev_6/enrol", "", fmt.Errorf("%w: %w", control.ErrMove, refusal{"id unknown here", "id-unknown-here"}), 409,
			`problems/id-unknown-here`},
		{"the description of a start", "GET", "openapi.json", "", nil, 200, `"/api/v1/moves/{id}/confirm-lost"`},
	} {
		g.ChangeFails = c.fails
		status, body := ask(t, h, c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.says) {
			t.Errorf("%s: %d, want %d and %s:\n%s", c.rule, status, c.status, c.says, body)
		}
	}
	want := []string{"abort mov_copy by api", "retry mov_switch by api", "lost mov_stuck by api", "enrol dev_3 by api"}
	if diff := cmp.Diff(want, g.DoneWere); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAMoveIsStartedOnce(t *testing.T) {
	g := &mover{Gateway: portaltest.Moving()}
	body := `{"deviceId":"dev_5","toRegion":"jp","data":{"billing":"leave"}`
	hash := planOf(t, g, body+`,"dryRun":true}`).Hash
	h := control.Handler(g, "test")
	send := func() *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(control.WithCaller(t.Context(), control.Caller{Actor: "mori"}), "POST", "/api/v1/moves",
			strings.NewReader(body+`,"plan":"`+hash+`"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	first := send()
	if first.Code != 201 || first.Header().Get("Location") != "/api/v1/moves/mov_new1" || first.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d, %v", first.Code, first.Header())
	}
	if again := send(); again.Body.String() != first.Body.String() {
		t.Errorf("another answer:\n%s", again.Body)
	}
	if diff := cmp.Diff([][]string{{"mori", "mori"}, {"k1", "k1"}}, [][]string{g.actors, g.keys}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want := []mfpgate.MoveRequest{{Device: "dev_5", To: "jp", Data: map[string]mfpgate.DataPolicy{"billing": "leave"}, Plan: hash}}
	if diff := cmp.Diff(want, g.StartsWere); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAMoveIsFollowedToItsEnd(t *testing.T) {
	g := portaltest.Moving()
	server := httptest.NewServer(control.Handler(g, "test"))
	defer server.Close()
	resp, err := server.Client().Get(server.URL + "/api/v1/moves/mov_copy/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var steps []mfpgate.MoveStep
	err = control.Follow(resp.Body, func(m mfpgate.Move) bool {
		steps = append(steps, m.Step)
		switch m.Step {
		case mfpgate.StepCopy:
			g.ChangeMove("mov_check", func(m *mfpgate.Move) { m.Step = mfpgate.StepUnlink }) // another one
			g.ChangeMove("mov_copy", func(m *mfpgate.Move) { m.Step = mfpgate.StepVerify })
		case mfpgate.StepVerify:
			g.ChangeMove("mov_copy", func(m *mfpgate.Move) { m.State, m.Step = mfpgate.MoveRolledBack, mfpgate.StepRelink })
		}
		return !m.State.Ended()
	})
	if diff := cmp.Diff([]mfpgate.MoveStep{"copy", "verify", "relink"}, steps); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestResidencesForASpreadsheet(t *testing.T) {
	g := portaltest.Moving()
	g.ResidencesAre[2].Name = "=cmd()"
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/residences", nil)
	r.Header.Set("Accept", "text/csv")
	w := httptest.NewRecorder()
	control.Handler(g, "test").ServeHTTP(w, r)
	if kind := w.Header().Get("Content-Type"); w.Code != 200 || !strings.HasPrefix(kind, "text/csv") {
		t.Fatalf("%d %s", w.Code, kind)
	}
	rows, err := csv.NewReader(w.Body).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var records []map[string]string
	for _, row := range rows[1:] {
		cells := map[string]string{}
		for i, column := range rows[0] {
			cells[column] = row[i]
		}
		records = append(records, cells)
	}
	for _, want := range []map[string]string{
		{"deviceId": "dev_2", "record": "residence", "home": "jp", "state": "home", "epoch": "2", "moveId": "mov_done", "enforcement": "enforced"},
		{"deviceId": "dev_1", "record": "residence", "enforcement": "none"},
		{"deviceId": "dev_2", "record": "service", "service": "document-cloud", "children": "translate whiteboard"},
		{"deviceId": "dev_2", "record": "data", "class": "billing", "region": "us", "items": "96", "bytes": "51200"},
		{"deviceId": "dev_2", "record": "receipt", "receiptId": "rcp_done", "region": "us", "purgedAt": "2026-03-03T05:23:10Z", "signed": g.ResidencesAre[1].Receipts[0].Signed},
		{"deviceId": "dev_2", "record": "purged", "receiptId": "rcp_done", "class": "settings", "items": "31"},
		{"deviceId": "dev_2", "record": "left", "receiptId": "rcp_done", "class": "billing", "region": "us"},
		{"deviceId": "dev_3", "record": "residence", "name": "'=cmd()"},
	} {
		if !slices.ContainsFunc(records, func(r map[string]string) bool {
			for column, cell := range want {
				if r[column] != cell {
					return false
				}
			}
			return true
		}) {
			t.Errorf("there is no record %v", want)
		}
	}
}

func TestTheAPIDescribesMoves(t *testing.T) {
	_, body := ask(t, control.Handler(portaltest.Idle(), "test"), "GET", "openapi.json", "")
	type media map[string]struct {
		Schema map[string]any
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct{ Content media }
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	start := doc.Paths["/api/v1/moves"]["post"].Responses
	for status, schema := range map[string]string{"200": "MovePlan", "201": "Move"} {
		if ref := start[status].Content["application/json"].Schema["$ref"]; ref != "#/components/schemas/"+schema {
			t.Errorf("%s of a start is %v, want %s", status, ref, schema)
		}
	}
	table := doc.Paths["/api/v1/residences"]["get"].Responses["200"].Content
	if table["text/csv"].Schema["type"] != "string" || table["application/json"].Schema == nil {
		t.Errorf("residences are described as %v", table)
	}
}
