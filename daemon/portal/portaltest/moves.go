package portaltest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// Moves implements control.Gateway.
func (g *Gateway) Moves(context.Context) ([]mfpgate.Move, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.MovesAre), nil
}

// Move implements control.Gateway.
func (g *Gateway) Move(_ context.Context, id mfpgate.MoveID) (mfpgate.Move, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.move(id)
	if i < 0 {
		return mfpgate.Move{}, control.ErrNoMove
	}
	return g.MovesAre[i], nil
}

func (g *Gateway) move(id mfpgate.MoveID) int {
	return slices.IndexFunc(g.MovesAre, func(m mfpgate.Move) bool { return m.ID == id })
}

// PlanMove implements control.Gateway. Its hash is of the plan, as the cloud's is.
func (g *Gateway) PlanMove(_ context.Context, r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.plan(r)
}

func (g *Gateway) plan(r mfpgate.MoveRequest) (mfpgate.MovePlan, error) {
	i := slices.IndexFunc(g.ResidencesAre, func(of mfpgate.Residence) bool { return of.Device == r.Device })
	switch {
	case g.ChangeFails != nil:
		return mfpgate.MovePlan{}, g.ChangeFails
	case i < 0 || g.ResidencesAre[i].Home == "":
		return mfpgate.MovePlan{}, fmt.Errorf("%w: no region knows this device; register it in its own region first", control.ErrMove)
	}
	of := g.ResidencesAre[i]
	plan := mfpgate.MovePlan{Device: r.Device, MFP: of.MFP, From: of.Home, To: cmp.Or(r.To, g.StatusIs.Site.Region), Epoch: of.Epoch + 1, Registration: of.Registration,
		Services: []mfpgate.PlannedService{}, Children: []mfpgate.PlannedChild{}, Data: []mfpgate.PlannedData{}, Blockers: []mfpgate.MoveBlocker{}}
	for _, s := range of.Services {
		plan.Services = append(plan.Services, mfpgate.PlannedService{ID: s.ID, Available: true, Action: "move"})
		for n, child := range s.Children {
			action := []string{"keep", "unlink"}[n%2]
			plan.Children = append(plan.Children, mfpgate.PlannedChild{Service: s.ID, ID: child, Available: n%2 == 0, Action: action})
		}
	}
	for _, d := range of.Data {
		if d.Region == of.Home {
			plan.Data = append(plan.Data, mfpgate.PlannedData{Class: d.Class, Items: d.Items, Bytes: d.Bytes, Policy: cmp.Or(r.Data[d.Class], r.Data[""], mfpgate.DataMove)})
		}
	}
	if blocks := g.BlockersAre[r.Device]; len(blocks) > 0 {
		plan.Blockers = blocks
		plan.Services[0].Available, plan.Services[0].Action = false, "block"
	}
	text, err := json.Marshal(plan)
	sum := sha256.Sum256(text)
	plan.Hash = hex.EncodeToString(sum[:])
	return plan, err
}

// StartMove implements control.Gateway. The same key is the same move.
func (g *Gateway) StartMove(_ context.Context, r mfpgate.MoveRequest, actor, key string) (mfpgate.Move, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if id, ok := g.keys[key]; ok && key != "" {
		return g.MovesAre[g.move(mfpgate.MoveID(id))], nil
	}
	plan, err := g.plan(r)
	if err != nil {
		return mfpgate.Move{}, err
	}
	if plan.Hash != r.Plan {
		return mfpgate.Move{}, fmt.Errorf("%w: the plan has changed since it was shown; look at it again", control.ErrMove)
	}
	g.StartsWere = append(g.StartsWere, r)
	m := mfpgate.Move{ID: mfpgate.MoveID(fmt.Sprintf("mov_new%d", len(g.StartsWere))), Device: r.Device, MFP: plan.MFP, From: plan.From, To: plan.To, Epoch: plan.Epoch,
		State: mfpgate.MoveOpen, Step: mfpgate.StepCheck, Plan: plan, OldRegistration: plan.Registration, RequestedBy: actor, StartedAt: Now, Since: Now, Deadline: Now.Add(30 * time.Minute)}
	if g.keys == nil {
		g.keys = map[string]string{}
	}
	g.keys[key] = string(m.ID)
	g.MovesAre = append(g.MovesAre, m)
	wake(g.followers, string(m.ID))
	return m, nil
}

// ChangeMove changes a move, as the broker does when something happens, and tells who listens.
func (g *Gateway) ChangeMove(id mfpgate.MoveID, change func(*mfpgate.Move)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.MovesAre[g.move(id)])
	wake(g.followers, string(id))
}

// moved notes what a page had done to a move, and does it.
func (g *Gateway) moved(what string, id mfpgate.MoveID, actor string, change func(*mfpgate.Move)) (mfpgate.Move, error) {
	if g.ChangeFails != nil {
		return mfpgate.Move{}, g.ChangeFails
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.move(id)
	if i < 0 {
		return mfpgate.Move{}, control.ErrNoMove
	}
	g.DoneWere = append(g.DoneWere, what+" "+string(id)+" by "+actor)
	change(&g.MovesAre[i])
	wake(g.followers, string(id))
	return g.MovesAre[i], nil
}

// AbortMove implements control.Gateway.
func (g *Gateway) AbortMove(_ context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	g.mu.Lock()
	i := g.move(id)
	late := i >= 0 && g.MovesAre[i].State.Committed()
	g.mu.Unlock()
	if late {
		return mfpgate.Move{}, fmt.Errorf("%w: the move is committed; plan another one to lead the device back", control.ErrMove)
	}
	return g.moved("abort", id, actor, func(m *mfpgate.Move) {
		m.State, m.Step, m.Reason = mfpgate.MoveCompensating, mfpgate.StepAbort, "aborted"
	})
}

// RetryMove implements control.Gateway.
func (g *Gateway) RetryMove(_ context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return g.moved("retry", id, actor, func(m *mfpgate.Move) { m.NextTry = time.Time{} })
}

// ConfirmLost implements control.Gateway.
func (g *Gateway) ConfirmLost(_ context.Context, id mfpgate.MoveID, actor string) (mfpgate.Move, error) {
	return g.moved("lost", id, actor, func(m *mfpgate.Move) { m.Lost, m.State, m.Step = true, mfpgate.MoveCommitted, mfpgate.StepDelete })
}

// Residences implements control.Gateway.
func (g *Gateway) Residences(context.Context) ([]mfpgate.Residence, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.ResidencesAre), g.ResidencesFail
}

// EnrolDevice implements control.Gateway.
func (g *Gateway) EnrolDevice(_ context.Context, device mfpgate.DeviceID, actor string) (mfpgate.Residence, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ChangeFails != nil {
		return mfpgate.Residence{}, g.ChangeFails
	}
	i := slices.IndexFunc(g.ResidencesAre, func(of mfpgate.Residence) bool { return of.Device == device })
	if i < 0 {
		return mfpgate.Residence{}, fmt.Errorf("%w: neither this region nor the one of its market knows the device", control.ErrMove)
	}
	g.DoneWere = append(g.DoneWere, "enrol "+string(device)+" by "+actor)
	g.ResidencesAre[i].State = mfpgate.ResidenceForeign
	return g.ResidencesAre[i], nil
}

// MoveChanges implements control.Gateway.
func (g *Gateway) MoveChanges(ctx context.Context) iter.Seq[mfpgate.MoveID] {
	return func(yield func(mfpgate.MoveID) bool) {
		g.listen(ctx, &g.followers, func(id string) bool { return yield(mfpgate.MoveID(id)) })
	}
}
