package portaltest

import (
	"context"

	"github.com/mfpgate/mfpgate/daemon/control"
)

// Audit implements control.Gateway.
func (g *Gateway) Audit(_ context.Context, room string, before uint64, limit int) ([]control.AuditEntry, error) {
	var list []control.AuditEntry
	known := room == ""
	for _, e := range g.AuditIs {
		known = known || e.Room == room
		if (room == "" || e.Room == room) && (before == 0 || e.Seq < before) && len(list) < limit {
			list = append(list, e)
		}
	}
	if !known {
		return nil, control.ErrNoRoom
	}
	return list, nil
}

// VerifyAudit implements control.Gateway.
func (g *Gateway) VerifyAudit(context.Context) (control.AuditReport, error) { return g.ReportIs, nil }
