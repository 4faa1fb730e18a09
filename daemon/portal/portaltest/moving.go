package portaltest

import (
	"fmt"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Steps are those of a move before and at step n, each a minute after the one before it.
func steps(n int) (list []mfpgate.MoveStepTaken) {
	all := []mfpgate.MoveStep{mfpgate.StepCheck, mfpgate.StepUnlink, mfpgate.StepCopy, mfpgate.StepVerify, mfpgate.StepDrain, mfpgate.StepDelta, mfpgate.StepActivate,
		mfpgate.StepCommit, mfpgate.StepSwitch, mfpgate.StepNotify, mfpgate.StepRetire, mfpgate.StepRedirect, mfpgate.StepConfirm, mfpgate.StepDelete}
	for i, s := range all[:n] {
		list = append(list, mfpgate.MoveStepTaken{Step: s, At: ago(time.Duration(20-i) * time.Minute)})
	}
	return list
}

func held(class string, items int, bytes int64) mfpgate.HeldData {
	return mfpgate.HeldData{Class: class, Items: items, Bytes: bytes}
}

// receipt is a deletion receipt of the US; its signature is of the form alone.
func receipt(move mfpgate.MoveID) *mfpgate.DeletionReceipt {
	return &mfpgate.DeletionReceipt{ID: "rcp_" + strings.TrimPrefix(string(move), "mov_"), Region: "us", MFP: "ricoh:im-c6010:3081RC10237", Move: move, PurgedAt: ago(9 * time.Minute),
		Purged: []mfpgate.HeldData{held("address-book", 412, 1_204_331), held("settings", 31, 8_120)}, Left: []mfpgate.HeldData{held("billing", 96, 51_200)},
		Digest: strings.Repeat("c0ffee42", 8), Signed: "eyJhbGciOiJFZERTQSIsInR5cCI6ImRlbGV0aW9uLXJlY2VpcHQifQ.eyJyZWNlaXB0SWQiOiJyY3AifQ.c2lnbmF0dXJl"}
}

// Moving is a fleet in the region jp with a device in each state of residence, and a move in each of its states.
func Moving() *Gateway {
	g := Registering()
	for i, market := range []string{"jp", "us", "us", "de", "us", "", "us"} {
		d := &g.DevicesAre[i]
		d.Market, d.Home = market, market
		of := mfpgate.Residence{Device: d.ID, Name: d.Name, MFP: "ricoh:" + strings.ToLower(strings.ReplaceAll(d.Model, " ", "-")) + ":" + d.Serial, Market: market, Home: market,
			State: mfpgate.ResidenceAbroad, Registration: fmt.Sprintf("r1.%s.%d.01J9ZC3D4E5F6G7H8J9KABCDE%d.00112233aabbccdd", market, 1, i), Epoch: 1, Since: ago(400 * 24 * time.Hour),
			Services: []mfpgate.HeldService{{ID: "document-cloud", Children: []string{"translate", "whiteboard"}}, {ID: "usage-report"}},
			Data: []mfpgate.ResidentData{{HeldData: held("address-book", 412, 1_204_331), Region: market}, {HeldData: held("billing", 96, 51_200), Region: market},
				{HeldData: held("settings", 31, 8_120), Region: market}}}
		if market == "" {
			of = mfpgate.Residence{Device: d.ID, Name: d.Name, State: mfpgate.ResidenceUnknown, Reason: "id-unknown-here", Detail: "no region that was asked knows the device; set its market on its page"}
		}
		g.ResidencesAre = append(g.ResidencesAre, of)
	}
	r := g.ResidencesAre
	r[0].State = mfpgate.ResidenceHome
	// One that has moved here, and one whose connections do not come through the relay.
	done := receipt("mov_done")
	r[1].Home, r[1].State, r[1].Epoch, r[1].Since, r[1].Move, r[1].Enforcement = "jp", mfpgate.ResidenceHome, 2, ago(13*time.Minute), "mov_done", mfpgate.Enforced
	r[1].Registration, r[1].Receipts = "r1.jp.2.01J9ZC3D4E5F6G7H8J9KABCDE1.ddccbbaa33221100", []mfpgate.DeletionReceipt{*done}
	for _, moved := range []int{1, 6} {
		for i := range r[moved].Data {
			if r[moved].Data[i].Class != "billing" {
				r[moved].Data[i].Region = "jp"
			}
		}
	}
	g.DevicesAre[1].Home = "jp"
	r[3].State, r[3].Detail = mfpgate.ResidenceForeign, "registered here under its id of de"
	r[4].State, r[4].Move = mfpgate.ResidenceMoving, "mov_copy"
	r[6].Home, r[6].State, r[6].Move, r[6].Enforcement, r[6].Bypassed = "jp", mfpgate.ResidenceHome, "mov_stuck", mfpgate.Unenforced, "its connections do not come through the relay; set the relay as its proxy"
	g.hostileResidence()
	g.BlockersAre = map[mfpgate.DeviceID][]mfpgate.MoveBlocker{"dev_4": {{Reason: "service-not-offered", Detail: "document-cloud is not offered in jp; leave the device in de, or ask who runs jp to roll it out"}}}

	add := func(id mfpgate.MoveID, device int, state mfpgate.MoveState, step mfpgate.MoveStep, change func(*mfpgate.Move)) {
		of := r[device]
		plan, _ := g.plan(mfpgate.MoveRequest{Device: of.Device, To: "jp", Data: map[string]mfpgate.DataPolicy{"billing": mfpgate.DataLeave, "settings": mfpgate.DataReset}})
		plan.From, plan.Epoch = "us", 2
		m := mfpgate.Move{ID: id, Gateway: "osaka-1", Device: of.Device, MFP: of.MFP, From: "us", To: "jp", Epoch: 2, State: state, Step: step, Plan: plan,
			OldRegistration: fmt.Sprintf("r1.us.1.01J9ZC3D4E5F6G7H8J9KABCDE%d.00112233aabbccdd", device), NewRegistration: fmt.Sprintf("r1.jp.2.01J9ZC3D4E5F6G7H8J9KABCDE%d.ddccbbaa33221100", device),
			RequestedBy: "portal:mori", StartedAt: ago(21 * time.Minute), Since: ago(time.Minute), Steps: steps(max(step.Seq(), 0) % 50)}
		if m.State.Committed() {
			m.CommittedAt = ago(13 * time.Minute)
		}
		if change != nil {
			change(&m)
		}
		g.MovesAre = append(g.MovesAre, m)
	}
	probes := []mfpgate.NameProbe{{Name: "print.us.cloud.example", Host: "print.jp.cloud.example:443", Validated: true},
		{Name: "files.us.cloud.example", Host: "files.jp.cloud.example:443", Detail: "the certificate is valid for *.jp.cloud.example, not for files.us.cloud.example"}}
	add("mov_done", 1, mfpgate.MoveDone, mfpgate.StepDelete, func(m *mfpgate.Move) {
		m.Steps, m.Probes, m.Receipt, m.EndedAt, m.ConfirmedAt = steps(14), probes, done, ago(7*time.Minute), ago(8*time.Minute)
	})
	add("mov_copy", 4, mfpgate.MoveOpen, mfpgate.StepCopy, func(m *mfpgate.Move) {
		m.Attempts, m.NextTry, m.Deadline = 3, Now.Add(8*time.Second), Now.Add(9*time.Minute)
		m.Reason, m.Detail = "region-away", "the services of us do not answer; the move tries again by itself, and is taken back at its deadline"
	})
	add("mov_check", 0, mfpgate.MoveOpen, mfpgate.StepCheck, func(m *mfpgate.Move) { m.Deadline = Now.Add(29 * time.Minute) })
	add("mov_switch", 2, mfpgate.MoveCommitted, mfpgate.StepSwitch, func(m *mfpgate.Move) {
		m.Probes, m.Reason, m.Detail = probes, "switch-waits", "this gateway has not said yet that it leads the device to jp"
	})
	add("mov_stuck", 6, mfpgate.MoveStuck, mfpgate.StepConfirm, func(m *mfpgate.Move) {
		m.Receipt, m.StartedAt, m.Since = receipt("mov_stuck"), ago(31*24*time.Hour), ago(24*time.Hour)
		m.Reason, m.Detail = "device-away", "the device has not come to jp for 30 days; switch it on or, if it is gone, say that it is lost"
	})
	add("mov_back", 2, mfpgate.MoveCompensating, mfpgate.StepUndrain, func(m *mfpgate.Move) {
		m.Steps = append(steps(5), mfpgate.MoveStepTaken{Step: mfpgate.StepAbort, At: ago(2 * time.Minute), Attempts: 2})
		m.Reason, m.Detail = "digest", "what jp holds is not what us sent; the move is taken back"
	})
	add("mov_undone", 4, mfpgate.MoveRolledBack, mfpgate.StepRelink, func(m *mfpgate.Move) {
		m.Steps = append(steps(3), mfpgate.MoveStepTaken{Step: mfpgate.StepAbort, At: ago(3 * time.Hour)}, mfpgate.MoveStepTaken{Step: mfpgate.StepUndrain, At: ago(3 * time.Hour)},
			mfpgate.MoveStepTaken{Step: mfpgate.StepRelink, At: ago(3 * time.Hour)})
		m.StartedAt, m.EndedAt, m.Since, m.Reason, m.Detail = ago(4*time.Hour), ago(3*time.Hour), ago(3*time.Hour), "aborted", "mori took it back"
	})
	add("mov_hostile", 2, mfpgate.MoveOpen, Hostile, func(m *mfpgate.Move) {
		*m = mfpgate.Move{ID: m.ID, Device: Hostile, MFP: Hostile, From: Hostile, To: Hostile, State: m.State, Step: Hostile, Reason: Hostile, Detail: Hostile, OldRegistration: Hostile,
			NewRegistration: Hostile, RequestedBy: Hostile, StartedAt: m.StartedAt, Since: m.Since, Attempts: 1, Probes: []mfpgate.NameProbe{{Name: Hostile, Host: Hostile, Detail: Hostile}},
			Steps: []mfpgate.MoveStepTaken{{Step: Hostile, At: Now}}, Receipt: &r[2].Receipts[0],
			Plan: mfpgate.MovePlan{Services: []mfpgate.PlannedService{{ID: Hostile, Action: Hostile}}, Children: []mfpgate.PlannedChild{{Service: Hostile, ID: Hostile, Action: Hostile}},
				Data: []mfpgate.PlannedData{{Class: Hostile, Policy: Hostile}}, Blockers: []mfpgate.MoveBlocker{{Reason: Hostile, Detail: Hostile}}}}
	})
	return g
}

// hostileResidence makes the third device's residence one of hostile texts alone; its home is abroad.
func (g *Gateway) hostileResidence() {
	data := []mfpgate.HeldData{held(Hostile, 1, 1)}
	g.ResidencesAre[2] = mfpgate.Residence{Device: g.DevicesAre[2].ID, Name: Hostile, MFP: Hostile, Market: Hostile, Home: "us", State: mfpgate.ResidenceAbroad, Reason: Hostile, Detail: Hostile,
		Registration: Hostile, Epoch: 1, Services: []mfpgate.HeldService{{ID: Hostile, Children: []string{Hostile, Hostile}}}, Enforcement: Hostile, Bypassed: Hostile,
		Data:     []mfpgate.ResidentData{{HeldData: data[0], Region: "us"}, {HeldData: data[0], Region: Hostile}},
		Receipts: []mfpgate.DeletionReceipt{{ID: Hostile, Region: Hostile, MFP: Hostile, Move: Hostile, Purged: data, Left: data, Digest: Hostile, Signed: Hostile}}}
}
