package daemon

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/mfpgate/mfpgate/daemon/control"
	"github.com/mfpgate/mfpgate/store"
	"github.com/mfpgate/mfpgate/store/journal"
)

// audited are the rooms that keep an audit, and where their views of the shared store stand.
var audited = []struct{ room, view string }{{"approval", approvalStore}, {"route", moveStore}}

// Audit implements control.Gateway.
func (g gateway) Audit(ctx context.Context, room string, before uint64, limit int) ([]control.AuditEntry, error) {
	var all []control.AuditEntry
	known := false
	for _, a := range audited {
		if room != "" && room != a.room {
			continue
		}
		known = true
		j, err := journal.New(store.Prefix(g.shared, a.view), journal.Options{Clock: g.Clock, Rand: rand.New(rand.NewPCG(0, 0)), // no call is made
			Gateway: gatewayID(g.config.Load()), Room: a.room})
		if err != nil {
			return nil, err
		}
		entries, err := j.ListAudit(ctx, before, limit)
		if err != nil {
			return nil, fmt.Errorf("audit of %s: %w", a.room, err)
		}
		for _, e := range entries {
			all = append(all, control.AuditEntry{Room: a.room, Entry: e})
		}
	}
	if !known {
		return nil, fmt.Errorf("%w: %s", control.ErrNoRoom, room)
	}
	slices.SortStableFunc(all, func(a, b control.AuditEntry) int { return b.Time.Compare(a.Time) })
	return all[:min(len(all), limit)], nil
}

// VerifyAudit implements control.Gateway.
func (g gateway) VerifyAudit(ctx context.Context) (control.AuditReport, error) {
	report := control.AuditReport{At: g.Clock.Now().UTC(), Right: true}
	for _, a := range audited {
		found, err := journal.VerifyAudit(ctx, store.Prefix(g.shared, a.view), "audit/")
		if err != nil {
			return report, fmt.Errorf("verify the audit of %s: %w", a.room, err)
		}
		for _, c := range found.Chains {
			report.Chains = append(report.Chains, control.AuditChain{Gateway: c.Gateway, Room: c.Room, Entries: c.Entries, Hash: c.Hash,
				Wrong: string(c.Wrong), Seq: c.Seq})
			report.Right = report.Right && c.Wrong == ""
		}
	}
	slices.SortFunc(report.Chains, func(a, b control.AuditChain) int {
		return cmp.Or(cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Room, b.Room))
	})
	return report, nil
}
