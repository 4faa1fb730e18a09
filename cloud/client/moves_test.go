package client_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/cloud/api"
	"github.com/mfpgate/mfpgate/cloud/api/jws"
	"github.com/mfpgate/mfpgate/cloud/client"
	"github.com/mfpgate/mfpgate/cloud/server/servertest"
)

// moving is a region's management server that answers as told, by method and path without query, and notes what it was asked.
type moving struct {
	*testing.T
	*client.Moves
	answers map[string]any // an api.Problem is a refusal
	asked   []asked
}

type asked struct{ What, Query, Key, Body string }

func newMoving(t *testing.T, pinned ...ed25519.PublicKey) *moving {
	m := &moving{T: t, answers: map[string]any{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		what := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/v1/gateways/osaka-1")
		m.asked = append(m.asked, asked{what, r.URL.RawQuery, r.Header.Get("Idempotency-Key"), string(body)})
		answer := m.answers[what]
		if of, ok := answer.(func(asked) any); ok {
			answer = of(m.asked[len(m.asked)-1])
		}
		if p, ok := answer.(api.Problem); ok {
			w.WriteHeader(p.Status)
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(s.Close)
	m.Moves = connect(t, s.URL, nil, "osaka-1.secret", 20*time.Second).Moves("us", pinned)
	return m
}

func TestMovesAreAskedForOnce(t *testing.T) {
	m := newMoving(t)
	r := mfpgate.MoveRequest{Device: "dev_1", To: "us", Data: map[string]mfpgate.DataPolicy{"": mfpgate.DataMove}, Plan: "abc"}
	plan := mfpgate.MovePlan{Device: "dev_1", MFP: "mfp-50", From: "jp", To: "us", Epoch: 2, Hash: "abc"}
	move := mfpgate.Move{ID: "mov_1", Gateway: "osaka-1", Device: "dev_1", From: "jp", To: "us", Epoch: 2, State: mfpgate.MoveOpen, Plan: plan}
	m.answers["POST /moves"] = func(a asked) any {
		if strings.Contains(a.Body, `"dryRun":true`) {
			return plan
		}
		return move
	}
	gotPlan, err := m.Plan(t.Context(), r)
	if diff := cmp.Diff(plan, gotPlan); err != nil || diff != "" {
		t.Errorf("%v; %s", err, diff)
	}
	got, err := m.Start(t.Context(), r, "it@example.co.jp", "k1")
	if diff := cmp.Diff(move, got); err != nil || diff != "" {
		t.Errorf("%v; %s", err, diff)
	}
	_, err = m.Start(t.Context(), r, "it@example.co.jp", "")
	servertest.Must(t, err)
	if m.asked[0].Key == "" || m.asked[1].Key != "k1" || m.asked[2].Key == "" {
		t.Errorf("keys are %q, %q, %q", m.asked[0].Key, m.asked[1].Key, m.asked[2].Key)
	}
	var sent api.MoveStart
	servertest.Must(t, json.Unmarshal([]byte(m.asked[1].Body), &sent))
	if diff := cmp.Diff(api.MoveStart{MoveRequest: r, Actor: "it@example.co.jp"}, sent); diff != "" {
		t.Error(diff)
	}
}

func TestMovesAreActedUpon(t *testing.T) {
	m := newMoving(t)
	ctx, at, seen := t.Context(), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), mfpgate.Seen{"osaka-1/route": 4}
	probes := []mfpgate.NameProbe{{Name: "s.jp.example", Host: "s.us.example:443", Validated: true}}
	for _, c := range []struct {
		verb string
		call func() error
		want api.MoveAct
	}{
		{"abort", func() error { _, err := m.Abort(ctx, "mov_1", "a"); return err }, api.MoveAct{Actor: "a"}},
		{"retry", func() error { _, err := m.Retry(ctx, "mov_1", "a"); return err }, api.MoveAct{Actor: "a"}},
		{"confirm-lost", func() error { _, err := m.ConfirmLost(ctx, "mov_1", "a"); return err }, api.MoveAct{Actor: "a"}},
		{"probes", func() error { return m.Probed(ctx, "mov_1", probes, seen) }, api.MoveAct{Probes: probes, Seen: seen}},
		{"switch", func() error { return m.Switched(ctx, "mov_1", 2, seen) }, api.MoveAct{Epoch: 2, Seen: seen}},
		{"check-ins", func() error { return m.CheckedIn(ctx, "mov_1", 2, at, seen) }, api.MoveAct{Epoch: 2, At: at, Seen: seen}},
	} {
		what := "POST /moves/mov_1/" + c.verb
		m.answers[what] = mfpgate.Move{ID: "mov_1"}
		if err := c.call(); err != nil {
			t.Errorf("%s: %v", c.verb, err)
		}
		last := m.asked[len(m.asked)-1]
		var sent api.MoveAct
		servertest.Must(t, json.Unmarshal([]byte(last.Body), &sent))
		if diff := cmp.Diff(c.want, sent); diff != "" || last.What != what || last.Key == "" {
			t.Errorf("%s: asked %+v; %s", c.verb, last, diff)
		}
		m.answers[what] = mfpgate.Move{ID: "mov_2"}
		if err := c.call(); !errors.Is(err, client.ErrAnswer) {
			t.Errorf("%s, answered of another move: %v", c.verb, err)
		}
	}
}

func TestRefusedMovesSayWhyToPeople(t *testing.T) {
	m := newMoving(t)
	for _, c := range []struct {
		status int
		reason string
		final  bool
	}{{409, api.AfterCommit, true}, {404, "no-such-move", true}, {503, "", false}, {401, "token-refused", false}} {
		m.answers["POST /moves/mov_1/abort"] = api.Problem{Status: c.status, Type: api.ProblemType + c.reason, Title: "No", Detail: "The move is committed. Move the device back instead."}
		_, err := m.Abort(t.Context(), "mov_1", "a")
		var why mfpgate.Refused
		if got := errors.As(err, &why); err == nil || got != c.final || got != errors.Is(err, mfpgate.ErrRefused) {
			t.Errorf("%d: %v", c.status, err)
		} else if got && (string(why.Why()) != c.reason || why.Error() != "The move is committed. Move the device back instead.") {
			t.Errorf("%d: %q, because of %q", c.status, why.Error(), why.Why())
		}
		var refusal *client.Error
		if !errors.As(err, &refusal) || refusal.Problem.Status != c.status {
			t.Errorf("%d is no *Error: %v", c.status, err)
		}
	}
}

func TestChangesGoOnWhereTheyEnded(t *testing.T) {
	m := newMoving(t)
	move := mfpgate.Move{ID: "mov_1", Device: "dev_1"}
	m.answers["GET /moves"] = api.MovesPage{Items: []mfpgate.Move{move}, NextCursor: "c1"}
	got, next, err := m.Changes(t.Context(), "")
	if diff := cmp.Diff([]mfpgate.Move{move}, got); err != nil || diff != "" || next != "c1" {
		t.Errorf("%v, %q; %s", err, next, diff)
	}
	m.answers["GET /moves"] = api.MovesPage{NextCursor: "c1"}
	if got, next, err := m.Changes(t.Context(), "c1"); err != nil || len(got) > 0 || next != "c1" {
		t.Errorf("nothing new: %v, %q, %v", got, next, err)
	}
	if want := "after=c1&limit=100&wait=45"; m.asked[1].Query != want {
		t.Errorf("asked with %q, want %q", m.asked[1].Query, want)
	}
	for rule, page := range map[string]api.MovesPage{
		"no way on":         {Items: []mfpgate.Move{move}},
		"a way in a circle": {Items: []mfpgate.Move{move}, NextCursor: "c1"},
		"more than a page":  {Items: make([]mfpgate.Move, 101), NextCursor: "c2"},
		"a move of nothing": {Items: []mfpgate.Move{{ID: "mov_1"}}, NextCursor: "c2"},
	} {
		m.answers["GET /moves"] = page
		if got, next, err := m.Changes(t.Context(), "c1"); !errors.Is(err, client.ErrAnswer) || got != nil || next != "c1" {
			t.Errorf("%s: %v, %q, %v", rule, got, next, err)
		}
	}
}

// TestChangesMayBeHeldBack has a server that answers later than any other call may last.
func TestChangesMayBeHeldBack(t *testing.T) {
	released := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
			_ = json.NewEncoder(w).Encode(api.MovesPage{NextCursor: "c1"})
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	c := connect(t, s.URL, nil, "osaka-1.secret", 100*time.Millisecond)
	ended := make(chan error, 1)
	go func() { _, _, err := c.Moves("us", nil).Changes(t.Context(), ""); ended <- err }() // the test waits for ended
	if _, err := c.Moves("us", nil).Keys(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another call: %v, want a timeout", err)
	}
	close(released)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestResidencesComeInPages(t *testing.T) {
	m := newMoving(t)
	m.answers["GET /residences"] = func(a asked) any {
		switch a.Query {
		case "":
			return api.Page[mfpgate.Residence]{Items: []mfpgate.Residence{{Device: "dev_1"}}, NextCursor: "b"}
		default:
			return api.Page[mfpgate.Residence]{Items: []mfpgate.Residence{{Device: "dev_2"}}}
		}
	}
	got, err := m.Residences(t.Context())
	if err != nil || len(got) != 2 || got[1].Device != "dev_2" {
		t.Errorf("%v, %v", got, err)
	}
	m.answers["GET /residences"] = api.Page[mfpgate.Residence]{Items: []mfpgate.Residence{{Device: "dev_1"}}, NextCursor: "b"}
	if _, err := m.Residences(t.Context()); !errors.Is(err, client.ErrAnswer) {
		t.Errorf("pages without an end: %v", err)
	}
	m.answers["POST /registrations"] = mfpgate.Residence{Device: "dev_1", State: mfpgate.ResidenceForeign}
	if got, err := m.Enrol(t.Context(), "dev_1", "a"); err != nil || got.State != mfpgate.ResidenceForeign || !strings.Contains(m.asked[len(m.asked)-1].Body, `"actor":"a"`) {
		t.Errorf("enrolled %+v, %v", got, err)
	}
	if _, err := m.Enrol(t.Context(), "dev_2", "a"); !errors.Is(err, client.ErrAnswer) {
		t.Errorf("enrolled another one: %v", err)
	}
}

func TestHostsCountOnlyUnderThePinnedKey(t *testing.T) {
	public, key, _ := ed25519.GenerateKey(nil)
	peerPublic, peerKey, _ := ed25519.GenerateKey(nil)
	hosts := []mfpgate.RegionHosts{{Region: "us", Services: []string{"s.us.example:443"}}}
	sign := func(m *moving, key ed25519.PrivateKey, purpose string) {
		signed, err := jws.Sign(key, purpose, hosts)
		servertest.Must(t, err)
		m.answers["GET /v1/regions"] = api.SignedRegions{Signed: signed}
		text := base64.StdEncoding.EncodeToString
		m.answers["GET /v1/region-keys"] = api.RegionKeys{Keys: map[string][]string{"us": {text(public)}, "jp": {text(peerPublic)}}}
	}
	pinned, free := newMoving(t, public), newMoving(t)
	for _, c := range []struct {
		rule string
		of   *moving
		key  ed25519.PrivateKey
		what string
		good bool
	}{
		{"a peer's key, at first use", free, peerKey, api.PurposeRegions, false},
		{"the region's key, at first use", free, key, api.PurposeRegions, true},
		{"the pinned key", pinned, key, api.PurposeRegions, true},
		{"a peer's key", pinned, peerKey, api.PurposeRegions, false},
		{"a document of another purpose", pinned, key, api.PurposeDirective, false},
	} {
		sign(c.of, c.key, c.what)
		got, err := c.of.Hosts(t.Context())
		switch {
		case !c.good && (!errors.Is(err, client.ErrAnswer) || !errors.Is(err, jws.ErrSignature)):
			t.Errorf("%s: %v, %v", c.rule, got, err)
		case c.good && (err != nil || !cmp.Equal(hosts, got)):
			t.Errorf("%s: %v, %v", c.rule, got, err)
		}
	}
	if diff := cmp.Diff([]ed25519.PublicKey{public}, free.Pinned()); diff != "" {
		t.Error(diff)
	}
	_, key, _ = ed25519.GenerateKey(nil)
	sign(free, key, api.PurposeRegions)
	if _, err := free.Hosts(t.Context()); !errors.Is(err, jws.ErrSignature) {
		t.Errorf("the first key stays: %v", err)
	}
	free.answers["GET /v1/region-keys"] = api.RegionKeys{Keys: map[string][]string{"us": {"AAAA"}}}
	if _, err := free.Keys(t.Context()); !errors.Is(err, client.ErrAnswer) {
		t.Errorf("a key that is none: %v", err)
	}
}
