package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mfpgate/mfpgate"
)

func printMoves(out io.Writer, list []mfpgate.Move, names map[mfpgate.DeviceID]string, now time.Time) {
	rows := [][]string{{"DEVICE", "FROM", "TO", "STATE", "STEP", "SINCE", "ID"}}
	for _, m := range list {
		state := string(m.State)
		if m.Reason != "" {
			state += " (" + string(m.Reason) + ")"
		}
		rows = append(rows, []string{clean(cmp.Or(names[m.Device], string(m.Device))), clean(m.From), clean(m.To), clean(state), clean(string(m.Step)), ago(m.Since, now),
			clean(string(m.ID))})
	}
	printTable(out, rows, []narrowing{{0, 20}, {3, 24}, {1, 4}, {2, 4}, {4, 10}, {0, 12}, {3, 14}})
}

// moveProgress says in a line where a move stands.
func moveProgress(m mfpgate.Move) string {
	text := string(m.State)
	if !m.State.Ended() {
		text += ", " + string(m.Step)
	}
	if why := cmp.Or(m.Detail, string(m.Reason)); why != "" {
		text += ": " + why
	}
	return text
}

func printMovePlan(out io.Writer, p mfpgate.MovePlan, device string) {
	s := sheet{out: out}
	fmt.Fprintf(out, "%s: %s to %s\n", clean(device), clean(cmp.Or(p.From, "-")), clean(p.To))
	s.plan(p)
	for _, b := range p.Blockers {
		fmt.Fprintf(out, "\nCANNOT BE MADE (%s)\n  %s\n", clean(string(b.Reason)), clean(b.Detail))
	}
	if len(p.Blockers) == 0 {
		s.line("hash", "%s", p.Hash)
	}
}

// plan is what a move does, without its devices and hindrances.
func (s sheet) plan(p mfpgate.MovePlan) {
	s.line("device", "%s", p.MFP)
	s.line("registration", "%s", p.Registration)
	for _, v := range p.Services {
		what := map[string]string{"move": "moves", "block": "IS NOT OFFERED in " + p.To}[v.Action]
		s.line("service", "%s: %s", v.ID, cmp.Or(what, v.Action))
	}
	for _, v := range p.Children {
		what := map[string]string{"keep": "stays linked", "unlink": "is unlinked: not offered in " + p.To}[v.Action]
		s.line("child service", "%s/%s: %s", v.Service, v.ID, cmp.Or(what, v.Action))
	}
	for _, v := range p.Data {
		what := map[mfpgate.DataPolicy]string{mfpgate.DataMove: "are moved", mfpgate.DataReset: "are purged, and not copied", mfpgate.DataLeave: "stay in " + p.From}[v.Policy]
		s.line("data", "%s, %d items, %d bytes: %s", v.Class, v.Items, v.Bytes, cmp.Or(what, string(v.Policy)))
	}
}

func printMove(out io.Writer, m mfpgate.Move, now time.Time) {
	s := sheet{out, now}
	fmt.Fprintf(out, "%s\n", clean(string(m.ID)))
	s.line("state", "%s, since %s", m.State, s.at(m.Since))
	s.line("step", "%s", m.Step)
	s.line("why", "%s", cmp.Or(m.Detail, string(m.Reason)))
	s.line("from", "%s to %s, epoch %d", m.From, m.To, m.Epoch)
	s.line("device", "%s", m.Device)
	s.line("started", "%s by %s", s.at(m.StartedAt), m.RequestedBy)
	if m.State == mfpgate.MoveOpen {
		s.line("taken back", "%s", s.until(m.Deadline))
	}
	if m.Attempts > 0 {
		next := ""
		if !m.NextTry.IsZero() {
			next = ", the next " + s.until(m.NextTry)
		}
		s.line("failed tries", "%d in this step%s", m.Attempts, next)
	}
	s.line("old registration", "%s", m.OldRegistration)
	s.line("new registration", "%s", m.NewRegistration)
	for _, pair := range []struct {
		term string
		at   time.Time
	}{{"committed", m.CommittedAt}, {"routes switched", m.SwitchedAt}, {"directive acked", m.AckedAt}, {"device came", m.ConfirmedAt}, {"ended", m.EndedAt}} {
		s.line(pair.term, "%s", s.at(pair.at))
	}
	if m.Lost {
		s.line("given up", "an administrator confirmed that the device is lost")
	}

	s.title("Plan", time.Time{})
	s.plan(m.Plan)
	if len(m.Probes) > 0 {
		s.title("Certificates of the new hosts", time.Time{})
	}
	for _, n := range m.Probes {
		what := "good for " + n.Name
		if !n.Validated {
			what = "NOT good for " + n.Name + ": " + n.Detail
		}
		s.line(n.Host, "%s", what)
	}
	if len(m.Steps) > 0 {
		s.title("Steps", time.Time{})
	}
	for _, t := range m.Steps {
		tries := ""
		if t.Attempts > 0 {
			tries = fmt.Sprintf(", after %d failed tries", t.Attempts)
		}
		s.line(string(t.Step), "%s%s", s.at(t.At), tries)
	}
	if r := m.Receipt; r != nil {
		s.title("Receipt of deletion", time.Time{})
		s.line("id", "%s", r.ID)
		s.line("of region", "%s, %s", r.Region, s.at(r.PurgedAt))
		s.held("purged", r.Purged)
		s.held("left there", r.Left)
		s.line("digest", "%s", r.Digest)
		s.line("signed", "%s", r.Signed)
	}
}

func (s sheet) held(term string, list []mfpgate.HeldData) {
	for _, d := range list {
		s.line(term, "%s, %d items, %d bytes", d.Class, d.Items, d.Bytes)
	}
}

func printResidences(out io.Writer, list []mfpgate.Residence, now time.Time) {
	rows := [][]string{{"DEVICE", "HOME", "STATE", "SINCE", "REGISTRATION", "RECEIPT", "ENFORCEMENT", "ID"}}
	var bypassed []string
	for _, r := range list {
		receipt := "-"
		if len(r.Receipts) > 0 {
			receipt = r.Receipts[0].Region + " " + r.Receipts[0].ID
		}
		state := string(r.State)
		if r.Reason != "" {
			state += " (" + string(r.Reason) + ")"
		}
		rows = append(rows, []string{clean(cmp.Or(r.Name, "-")), clean(cmp.Or(r.Home, "-")), clean(state), ago(r.Since, now), clean(cmp.Or(r.Registration, "-")),
			clean(receipt), clean(cmp.Or(string(r.Enforcement), "-")), clean(string(r.Device))})
		if r.Bypassed != "" {
			bypassed = append(bypassed, fmt.Sprintf("%s: %s", clean(cmp.Or(r.Name, string(r.Device))), clean(r.Bypassed)))
		}
	}
	printTable(out, rows, []narrowing{{4, 14}, {0, 16}, {5, 14}, {2, 16}, {1, 4}, {0, 10}, {5, 10}, {2, 8}, {6, 10}})
	slices.Sort(bypassed)
	if len(bypassed) > 0 {
		fmt.Fprintf(out, "\nUNENFORCED\n  %s\n", strings.Join(bypassed, "\n  "))
	}
}
