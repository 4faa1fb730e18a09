package portaltest

import (
	"context"
	"iter"
	"slices"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// PrintServices implements control.Gateway.
func (g *Gateway) PrintServices(context.Context) []control.PrintService { return g.PrintServicesAre }

// Registrations implements control.Gateway.
func (g *Gateway) Registrations(context.Context) ([]mfpgate.Registration, error) {
	return g.RegistrationsAre, nil
}

// Registration implements control.Gateway.
func (g *Gateway) Registration(_ context.Context, id string) (mfpgate.Registration, error) {
	i := slices.IndexFunc(g.RegistrationsAre, func(r mfpgate.Registration) bool { return r.ID == id })
	if i < 0 {
		return mfpgate.Registration{}, control.ErrNoRegistration
	}
	return g.RegistrationsAre[i], nil
}

// Register implements control.Gateway.
func (g *Gateway) Register(_ context.Context, r mfpgate.RegistrationRequest, _, _ string) (mfpgate.Registration, bool, error) {
	if g.ChangeFails != nil {
		return mfpgate.Registration{}, false, g.ChangeFails
	}
	g.RequestsWere = append(g.RequestsWere, r)
	return mfpgate.Registration{ID: "reg_1", Service: r.Service, User: r.User, State: mfpgate.RegistrationRequested}, true, nil
}

// CancelRegistration implements control.Gateway.
func (g *Gateway) CancelRegistration(context.Context, string, string) error { return g.ChangeFails }

// ResendRegistration implements control.Gateway.
func (g *Gateway) ResendRegistration(context.Context, string, string) error { return g.ChangeFails }

// RetryRegistration implements control.Gateway.
func (g *Gateway) RetryRegistration(ctx context.Context, id, _ string) (mfpgate.Registration, error) {
	if g.ChangeFails != nil {
		return mfpgate.Registration{}, g.ChangeFails
	}
	return g.Registration(ctx, id)
}

// DecideRegistration implements control.Gateway.
func (g *Gateway) DecideRegistration(context.Context, string, string, bool) error {
	return g.ChangeFails
}

// RegistrationChanges implements control.Gateway.
func (g *Gateway) RegistrationChanges(ctx context.Context) iter.Seq[string] {
	return func(yield func(string) bool) {
		if yield("") {
			<-ctx.Done()
		}
	}
}

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
